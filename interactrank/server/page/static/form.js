// The form: the request's columns, and its values in the address, so that a search can be sent as a link.

import { byId, h } from "./dom.js";

const DAY = 86_400_000;

function field(id, label, control) {
  control.id = id;
  control.name = id;
  return h("div", { class: "field" }, h("label", { for: id }, label), control);
}

function options(values, empty) {
  return h(
    "select",
    {},
    h("option", { value: "" }, empty),
    values.map((value) => h("option", { value }, value)),
  );
}

/** Make the fields of a model's requests. */
export function build(about) {
  const fields = about.fields.map((f) => {
    const empty = f.file === "users" ? "as the log says" : "not known";
    const control =
      f.kind === "choice"
        ? options(f.choices, empty)
        : h("input", { type: "text", placeholder: empty, inputmode: f.kind === "number" ? "decimal" : null });
    return field(`field-${f.name}`, f.name, control);
  });
  const time = h("input", { type: "datetime-local", step: "1" });
  const old = Date.now() - about.event_time > 2 * DAY;
  if (old) time.value = local(about.event_time + 1000);
  const count = h(
    "select",
    {},
    [5, 10, 20, 50].map((k) => h("option", { value: k, selected: k === 10 }, String(k))),
  );
  const against = h(
    "select",
    {},
    h("option", { value: "average" }, "against the average item"),
    h("option", { value: "zero" }, "all parts from zero"),
  );
  const click = h(
    "select",
    {},
    Object.keys(about.events.engagements).map((name) => h("option", { value: name }, name)),
  );
  const model = h(
    "select",
    {},
    about.models.map((name) => h("option", { value: name }, name)),
  );
  byId("fields").replaceChildren(
    ...fields,
    field("time", "Time (UTC; now if empty)", time),
    field("click", "A click counts as", click),
    field("against", "Bars show", against),
    field("k", "Results", count),
    ...(about.models.length > 1 ? [field("model", "Model", model)] : []),
  );
  byId("user-field").hidden = !about.has_user;
}

/** Return milliseconds as the value of a time field, in UTC. */
export const local = (milliseconds) => new Date(milliseconds).toISOString().slice(0, 19);

/** Return the time of the next request: that of the field, or now. */
export function requestTime() {
  const typed = byId("time").value;
  return typed ? Date.parse(`${typed}Z`) : Date.now();
}

/** Return the search that the form holds. */
export function read(about) {
  const filled = about.fields
    .map((f) => [f.name, byId(`field-${f.name}`).value])
    .filter(([, value]) => value);
  return {
    query: byId("query").value,
    user: byId("user").value || null,
    time: requestTime(),
    fields: Object.fromEntries(filled),
    k: Number(byId("k").value),
    model: byId("model")?.value || null,
  };
}

/** Keep the values that the form holds in the address. */
export function remember() {
  const values = [...byId("form").elements]
    .filter((e) => e.name && e.value && !e.hidden)
    .map((e) => [e.name, e.value]);
  history.replaceState(null, "", `#${new URLSearchParams(values)}`);
}

/** Fill the form with the values of the address; return whether there is a query. */
export function recall() {
  const values = new URLSearchParams(location.hash.slice(1));
  for (const [name, value] of values) {
    const control = byId("form").elements.namedItem(name);
    if (control && "value" in control) control.value = value;
  }
  return Boolean(values.get("query"));
}
