// Scores as stacked bars around an axis: what adds to the right, what takes away to the left.

import { h, number, signed } from "./dom.js";

export const GROUPS = {
  dot: "dot product",
  query: "history of the query",
  words: "history of its words",
  all: "history of all searches",
  user: "own past",
  other: "other cross features",
  candidate: "comes with the candidate",
  lexical: "text match",
  network: "network",
  bias: "bias",
};

/** Return the parts of an item's score as they are drawn: [{part, value}]. */
export function drawn(item, parts, average, against) {
  return parts
    .map((part, n) => ({ part, value: item.values[n] - (against ? average[n] : 0) }))
    .filter(({ value }) => Math.abs(value) > 1e-9);
}

/** Return the ends of an axis on which all bars fit: [lowest, highest]. */
export function extent(bars) {
  let [low, high] = [0, 0];
  for (const bar of bars) {
    low = Math.min(
      low,
      bar.reduce((sum, { value }) => sum + Math.min(value, 0), 0),
    );
    high = Math.max(
      high,
      bar.reduce((sum, { value }) => sum + Math.max(value, 0), 0),
    );
  }
  return high > low ? [low, high] : [0, 1];
}

/** Return a bar. */
export function bar(values, [low, high], told) {
  const at = (value) => (100 * (value - low)) / (high - low);
  const element = h("div", { class: "bar", role: "img", "aria-label": told });
  let [left, right] = [0, 0];
  let [before, shade] = ["", 0];
  for (const { part, value } of values) {
    shade = part.group === before ? shade + 1 : 0;
    before = part.group;
    const from = value < 0 ? (left += value) : right;
    if (value >= 0) right += value;
    const segment = h("span", {
      class: `segment ${part.group}`,
      title: `${GROUPS[part.group]}, ${part.label}: ${signed(value)}`,
    });
    segment.style.left = `${at(from)}%`;
    segment.style.width = `${(100 * Math.abs(value)) / (high - low)}%`;
    segment.style.opacity = String(1 - 0.18 * (shade % 4));
    element.append(segment);
  }
  const axis = h("span", { class: "axis" });
  axis.style.left = `${at(0)}%`;
  element.append(axis);
  if (left < 0 && right > 0) {
    const total = h("span", { class: "total", title: `together ${signed(left + right)}` });
    total.style.left = `calc(${at(left + right)}% - 1px)`;
    element.append(total);
  }
  return element;
}

/** Return a bar in words: the sum of each group. */
export function told(values) {
  const sums = new Map();
  for (const { part, value } of values) sums.set(part.group, (sums.get(part.group) ?? 0) + value);
  return [...sums].map(([group, sum]) => `${GROUPS[group]} ${signed(sum)}`).join(", ");
}

/** Return the entries of a legend for the groups that there are. */
export function legend(parts, against) {
  const groups = [...new Set(parts.map((part) => part.group))].filter(
    (group) => !(against && group === "bias"),
  );
  return groups.map((group) => h("li", {}, h("span", { class: `swatch ${group}` }), GROUPS[group]));
}

/** Return what a part has seen: a share of a count, engagements of impressions, or a number. */
export function seen(part, item) {
  const [raw, support] = [item.raw[part.name], item.support[part.name]];
  if (raw === undefined || part.means === "none") return "";
  if (part.means === "share")
    return support ? `${number(100 * raw, 1)} % of ${number(support, 0)}` : "no engagement";
  if (part.means === "rate") return `${number(raw, 0)} of ${number(support, 0)} shown`;
  return Number.isFinite(raw) ? number(raw, 3) : "unknown";
}
