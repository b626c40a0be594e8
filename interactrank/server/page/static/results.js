// The rankings next to one another.

import { h, number, said } from "./dom.js";
import { bar, drawn, extent, told } from "./bars.js";
import { why } from "./why.js";

/**
 * Return the columns.
 *
 * answer: of a search. before: the answer that it is compared with, or null. about: of the model.
 * view: {query, against}: the text that was searched, and whether bars are differences from the average item.
 * click(item, column): called when somebody clicks a result.
 */
export function columns(answer, before, about, view, click) {
  const model = answer.columns.find((column) => column.name === "model");
  const best = new Set(model.results.map((result) => result.id));
  // The model comes first where columns stand below one another, for the eye as for the keyboard.
  const others = answer.columns.filter((column) => column !== model);
  const order = matchMedia("(max-width: 1080px)").matches ? [model, ...others] : answer.columns;
  return order.map((column) => {
    const old = before?.columns.find((other) => other.name === column.name)?.results ?? null;
    const places = old && new Map(old.map((result, n) => [result.id, n + 1]));
    const common = column.results?.filter((result) => best.has(result.id)).length;
    const shared =
      column === model || !column.results
        ? null
        : `${common} of ${column.results.length} in ${model.title} (# place)`;
    const id = `column-${column.name}`;
    return h(
      "section",
      { class: `column ${column.name}${column.results ? "" : " absent"}`, "aria-labelledby": id },
      h(
        "header",
        {},
        h("h3", {}, h("span", { id }, column.title), shared && h("span", { class: "common" }, shared)),
        column.results && h("p", { class: "note" }, column.note),
      ),
      list(column, model, answer, places, about, view, click),
    );
  });
}

function list(column, model, answer, places, about, view, click) {
  if (!column.results) return h("p", { class: "none" }, column.note);
  if (!column.results.length) return h("p", { class: "none" }, "No item matches.");
  const bars = column.results.map((result) => valuesOf(result, column, answer, about, view));
  const ends = extent(bars);
  return h(
    "ol",
    {},
    column.results.map((result, n) => {
      const item = answer.items[result.id] ?? { id: result.id, title: null, columns: {} };
      const moved = places && mark(places.get(result.id), n + 1);
      const explained = item.values && why(item, `why-${column.name}-${n}`, answer, about, model.title);
      return h(
        "li",
        {
          class: `result${moved ? " has-moved" : ""}`,
          dataset: { item: result.id },
          onpointerenter: () => light(result.id, true),
          onpointerleave: () => light(result.id, false),
          onfocusin: () => light(result.id, true),
          onfocusout: () => light(result.id, false),
        },
        h(
          "div",
          { class: "head" },
          h("span", { class: "place" }, String(n + 1)),
          h(
            "button",
            {
              type: "button",
              class: "title",
              title: "Engage with this item",
              onclick: () => click(item, column),
            },
            ...marked(item.title ?? item.id, view.query),
            said(`: engage, place ${n + 1} of ${column.title}`),
          ),
          moved,
          h("span", { class: "score" }, said("score "), number(result.score, 3)),
        ),
        meta(item, column, model, explained && explained.button),
        bar(bars[n], ends, `Score: ${told(bars[n])}`),
        explained && explained.panel,
      );
    }),
  );
}

/** Return what a column's bar is made of: one part, but for the model's. */
function valuesOf(result, column, answer, about, view) {
  if (column.name === "model")
    return drawn(answer.items[result.id], about.parts, answer.average, view.against);
  const part =
    column.name === "bm25" ? { group: "lexical", label: "score" } : { group: "dot", label: "score" };
  return [{ part, value: result.score }];
}

function meta(item, column, model, button) {
  const more = Object.entries(item.columns).map(([name, value]) =>
    h("span", { title: name }, said(`${name} `), Array.isArray(value) ? value.join(", ") : String(value)),
  );
  const place = column === model || !item.values ? null : item.place === null ? ">1,000" : `#${item.place}`;
  return h(
    "div",
    { class: "meta" },
    ...more,
    h(
      "span",
      { class: "right" },
      place && h("span", { title: `place in ${model.title}` }, said(`${model.title} `), place),
      button,
    ),
  );
}

/** Return how an item has moved; null if it has not. */
function mark(old, now) {
  if (old === now) return null;
  if (old === undefined) return h("span", { class: "moved-mark new" }, "new", said(" among these results"));
  const up = old > now;
  const by = Math.abs(old - now);
  return h(
    "span",
    { class: `moved-mark ${up ? "up" : "down"}` },
    h("span", { "aria-hidden": "true" }, `${up ? "\u25b2" : "\u25bc"}${by}`),
    said(`${up ? "up" : "down"} ${by}, was ${old}`),
  );
}

/** Return a text as nodes, in which words of the query are marked. */
function marked(text, query) {
  const words = new Set(query.toLowerCase().match(/\p{L}+|\d+/gu) ?? []);
  return text
    .split(/(\p{L}+|\d+)/u)
    .map((part) => (words.has(part.toLowerCase()) ? h("mark", {}, part) : part));
}

function light(id, on) {
  for (const result of document.querySelectorAll(".result")) {
    result.classList.toggle("same", on && result.dataset.item === id);
  }
}

/** Return what moved, in a sentence; empty if nothing is compared. */
export function movement(answer, before) {
  if (!before) return "";
  const changes = answer.columns.map((column) => {
    const old =
      before.columns.find((other) => other.name === column.name)?.results?.map((result) => result.id) ?? [];
    const moved = (column.results ?? []).filter((result, n) => old[n] !== result.id).length;
    return `${column.title} ${moved}`;
  });
  return ` Moved or new: ${changes.join(", ")}.`;
}
