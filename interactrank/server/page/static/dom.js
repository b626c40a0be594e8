// Elements. Text becomes text nodes alone: nothing of a log or a request is ever read as HTML.

/** Return an element; `attributes` may hold class, dataset, on… handlers and properties such as hidden. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(
    ...children.flat().filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

/** Return text that only screen readers say. */
export const said = (text) => h("span", { class: "sr" }, text);

export const byId = (id) => document.getElementById(id);

/** Return a number for people, with `digits` behind the point. */
export function number(value, digits = 2) {
  const options = { maximumFractionDigits: digits, minimumFractionDigits: digits, signDisplay: "negative" };
  return value.toLocaleString("en", options).replace("-", "\u2212");
}

/** Return a number with its sign; none for what rounds to zero. */
export function signed(value, digits = 2) {
  const text = number(value, digits);
  return value > 0 && Number(text.replaceAll(",", "")) > 0 ? `+${text}` : text;
}

/** Return a time as a text in UTC, to the second. */
export const moment = (milliseconds) => new Date(milliseconds).toISOString().slice(0, 19).replace("T", " ");
