// The user sequence as the model reads it.

import { byId, h, said } from "./dom.js";

const UNITS = [
  [24 * 365, "y"],
  [24 * 30, "mo"],
  [24, "d"],
  [1, "h"],
  [1 / 60, "min"],
];

/** Return how long ago something was. */
export function ago(hours) {
  const unit = UNITS.find(([length]) => hours >= length);
  return unit ? `${Math.floor(hours / unit[0])} ${unit[1]} ago` : "just now";
}

/** Show the sequence of a search. */
export function show(answer, about, user, fresh) {
  byId("sequence").hidden = false;
  const count = answer.sequence.length;
  const who = user ? `user ${user}` : "nobody";
  const unknown = user && !answer.known_user ? " (not in the log)" : "";
  const logged = Object.entries(answer.logged)
    .map(([name, value]) => `${name} ${value}`)
    .join(", ");
  const events =
    count === about.sequence ? `the last ${count} events` : `${count} ${count === 1 ? "event" : "events"}`;
  byId("sequence-title").textContent =
    about.sequence === null
      ? "The model reads no user sequence."
      : `Sequence of ${who}${unknown}${logged ? ` (${logged})` : ""}: ${events}`;
  byId("events").replaceChildren(
    ...answer.sequence.map((event, n) =>
      h(
        "li",
        { class: n < fresh ? "fresh" : null, title: event.id },
        h("span", { class: "name" }, event.title ?? event.id),
        h(
          "span",
          { class: "what" },
          `${event.engagement.replaceAll("_", " ")}, ${ago(event.hours)}`,
          event.query && ` after \u201c${event.query}\u201d`,
          n < fresh && said(" (from this page)"),
        ),
      ),
    ),
  );
  byId("events").hidden = count === 0;
}
