// The numbers behind a score, as a table that is made when somebody opens it.

import { h, number, said, signed } from "./dom.js";
import { GROUPS, seen } from "./bars.js";

const tone = (value) => (value < -0.005 ? "minus" : value > 0.005 ? "plus" : "");

/** Return a button and the panel that it opens; `model` is the title of the model's column. */
export function why(item, id, answer, about, model) {
  const panel = h("div", { id, class: "why", hidden: true });
  const button = h(
    "button",
    { type: "button", class: "open", "aria-expanded": "false", "aria-controls": id },
    "why",
    said(` ${item.title ?? item.id} is there`),
  );
  button.addEventListener("click", () => {
    panel.hidden = !panel.hidden;
    button.setAttribute("aria-expanded", String(!panel.hidden));
    if (!panel.hasChildNodes()) {
      panel.append(
        h("p", { class: "quiet" }, describe(item, model)),
        h("div", { class: "scroll" }, table(item, answer, about)),
      );
    }
  });
  return { button, panel };
}

function describe(item, model) {
  const place = item.place === null ? "behind its first 1,000" : `place ${item.place.toLocaleString("en")}`;
  return `Item ${item.id}. ${model}: ${place}, score ${number(item.score, 3)}.`;
}

function table(item, answer, about) {
  const rows = about.parts.map((part, n) => ({ part, adds: item.values[n], average: answer.average[n] }));
  const groups = [...new Set(about.parts.map((part) => part.group))];
  const average = answer.average.reduce((sum, value) => sum + value, 0);
  return h(
    "table",
    {},
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        ["Part", "Seen", "Adds", "vs. average"].map((name) => h("th", { scope: "col" }, name)),
      ),
    ),
    groups.map((group) =>
      body(
        group,
        rows.filter((row) => row.part.group === group),
        item,
      ),
    ),
    h("tfoot", {}, h("tr", {}, h("th", { scope: "row" }, "Score"), h("td"), ...numbers(item.score, average))),
  );
}

/** Return the rows of a group; several of them have a line of their own above them. */
function body(group, rows, item) {
  const swatch = () => h("span", { class: `swatch ${group}` });
  const several = rows.length > 1;
  const sum = (name) => rows.reduce((total, row) => total + row[name], 0);
  return h(
    "tbody",
    {},
    several &&
      h(
        "tr",
        {},
        h("th", { scope: "rowgroup" }, swatch(), h("b", {}, GROUPS[group])),
        h("td"),
        ...numbers(sum("adds"), sum("average")),
      ),
    rows.map(({ part, adds, average }) =>
      h(
        "tr",
        { class: several ? "within" : null },
        h(
          "th",
          { scope: "row", title: part.name },
          several ? part.label : [swatch(), h("b", {}, GROUPS[group]), part.label && `, ${part.label}`],
        ),
        h("td", { class: "raw" }, seen(part, item)),
        ...numbers(adds, average),
      ),
    ),
  );
}

function numbers(adds, average) {
  const more = adds - average;
  return [h("td", {}, signed(adds)), h("td", { class: tone(more) }, signed(more))];
}
