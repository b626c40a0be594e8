// The page: a form, the user sequence, and the rankings of a search.

import { get, post } from "./api.js";
import { legend } from "./bars.js";
import { Clicks } from "./clicks.js";
import { combobox } from "./combobox.js";
import { byId, h, moment } from "./dom.js";
import * as form from "./form.js";
import { columns, movement } from "./results.js";
import * as sequence from "./sequence.js";

const state = { about: null, answer: null, searched: null, turn: 0 };
const clicks = new Clicks(() => search());

const model = () => byId("model")?.value || null;

function fail(error) {
  byId("error").textContent = error.message;
}

async function load() {
  state.about = await get("/page/about", { model: model() });
  const { about } = state;
  byId("served").textContent =
    `${about.items.toLocaleString("en")} items, version ${about.version}, log until ${moment(about.event_time)} UTC`;
}

/** Search for what the form holds; mark what has moved since the last search for the same query. */
async function search({ keepsFocus = false } = {}) {
  const { about } = state;
  const turn = ++state.turn;
  const asked = form.read(about);
  byId("error").textContent = "";
  if (!asked.query.trim()) return fail(new Error("Type a query."));
  if (state.searched && state.searched.user !== asked.user) clicks.forget();
  byId("results").setAttribute("aria-busy", "true");
  try {
    const answer = await post("/page/search", { ...asked, clicks: clicks.tried });
    if (turn !== state.turn) return; // a later search has been asked for
    if (answer.version !== about.version) await load();
    const before = state.searched?.query === asked.query ? state.answer : null;
    form.remember();
    render(answer, before, asked, keepsFocus);
  } catch (error) {
    fail(error);
  } finally {
    byId("results").removeAttribute("aria-busy");
  }
}

function render(answer, before, asked, keepsFocus) {
  const { about } = state;
  const focused = keepsFocus ? document.activeElement?.closest(".result") : null;
  const place = focused && { item: focused.dataset.item, column: focused.closest(".column").className };
  Object.assign(state, { answer, searched: asked });
  const against = byId("against").value === "average";
  byId("welcome").hidden = true;
  byId("results").hidden = byId("skip").hidden = false;
  sequence.show(answer, about, asked.user, clicks.count);
  clicks.show(asked, about);
  byId("legend").replaceChildren(...legend(about.parts, against));
  byId("columns").replaceChildren(...columns(answer, before, about, { query: asked.query, against }, click));
  const found = answer.columns.find((column) => column.name === "model").results.length;
  byId("status").textContent =
    `${found} results for \u201c${asked.query}\u201d as of ${moment(answer.time)} UTC.` +
    movement(answer, before);
  if (place) {
    const column = [...byId("columns").children].find((c) => c.className === place.column);
    const same = [...(column?.querySelectorAll(".result") ?? [])].find((r) => r.dataset.item === place.item);
    (same?.querySelector(".title") ?? byId("results")).focus({ preventScroll: !same });
  }
}

/** Engage with a result: the next search knows it. */
async function click(item, column) {
  const { about, searched } = state;
  try {
    await clicks.add(item, column, searched, about);
  } catch (error) {
    clicks.show(searched, about);
    return fail(error);
  }
  tick();
  return search({ keepsFocus: true });
}

/** Let a second pass where the time is typed, so that what happened lies before the next request. */
function tick() {
  if (byId("time").value) byId("time").value = form.local(form.requestTime() + 1000);
}

/** Offer what the log has to begin with. */
async function welcome() {
  const [queries, users] = await Promise.all(
    ["queries", "users"].map((name) =>
      get(`/page/${name}`, { model: model() }).then((found) => found.suggestions),
    ),
  );
  const chips = (name, label, found) =>
    found.length
      ? [
          h("p", { class: "quiet" }, label),
          h(
            "div",
            { class: "chips" },
            found.slice(0, 8).map(({ value }) =>
              h(
                "button",
                {
                  type: "button",
                  class: "plain",
                  onclick: () => {
                    byId(name).value = value;
                    begin();
                  },
                },
                value,
              ),
            ),
          ),
        ]
      : [];
  const own = [
    ...chips("query", "Frequent queries of the log", queries),
    ...chips("user", "Users with long sequences", users),
  ];
  const none =
    "The export has no queries, users or texts to suggest: type a query, or export again with --browse.";
  const first = "Three rankings of the whole catalogue next to one another, and why an item is where it is.";
  byId("welcome").replaceChildren(h("p", {}, first), ...(own.length ? own : [h("p", {}, none)]));
  byId("welcome").hidden = false;
}

function begin() {
  if (byId("query").value) return search();
  return byId("query").focus();
}

/** Show another model: its requests may have other columns. */
async function change() {
  form.remember();
  await load();
  form.build(state.about);
  form.recall();
  clicks.forget();
}

async function start() {
  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (state.about) search();
  });
  await load();
  form.build(state.about);
  const ask = (name) => async (typed, signal) =>
    (await get(`/page/${name}`, { typed, model: model() }, signal)).suggestions;
  combobox(byId("query"), ask("queries"), "requests", search);
  combobox(byId("user"), ask("users"), "requests", () => byId("query").value && search());
  byId("fields").addEventListener("change", async (event) => {
    if (event.target.id === "model") await change();
    if (event.target.id !== "click" && state.answer) search();
  });
  if (form.recall()) await search();
  else await welcome();
}

start().catch(fail);
