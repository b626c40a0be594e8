// Clicks on results: recorded by the server as rows of the log's events file, or tried out in this page alone.

import { post } from "./api.js";
import { byId, h } from "./dom.js";

const REFUSED = [403, 404, 501]; // this server does not record

export class Clicks {
  /** changed(): called when the next search would find something else. */
  constructor(changed) {
    this.changed = changed;
    this.records = true;
    this.refusal = "";
    this.token = "";
    this.wantsToken = false;
    this.forget();
  }

  /** Forget what was tried, and what was counted for another user. */
  forget() {
    this.tried = [];
    this.recorded = 0;
  }

  /** Return how many of the newest events of the sequence are of this page. */
  get count() {
    return this.tried.length + this.recorded;
  }

  /** Engage with an item of a column, as found by a search; throws what is to be said. */
  async add(item, column, searched, about) {
    const engagement = byId("click").value;
    if (this.records && (searched.user || !about.has_user)) {
      try {
        return await this.record(rows(item, column, engagement, searched, about), engagement, about);
      } catch (error) {
        this.wantsToken = error.status === 401;
        if (!REFUSED.includes(error.status)) throw error;
        [this.records, this.refusal] = [false, error.message];
      }
    }
    if (!about.sequence_engagements.includes(engagement)) {
      const read = about.sequence_engagements.join(", ") || "none";
      throw new Error(`The user sequence does not read ${engagement}; engagements that it reads: ${read}.`);
    }
    this.tried.push({ item: item.id, engagement, time: searched.time, query: searched.query });
  }

  async record(events, engagement, about) {
    await post("/events", { events }, this.token ? { Authorization: `Bearer ${this.token}` } : {});
    this.wantsToken = false;
    if (about.sequence_engagements.includes(engagement)) this.recorded += 1;
  }

  /** Say what becomes of clicks, with the buttons that change it. */
  show(searched, about) {
    const records = this.records && (searched.user || !about.has_user);
    const number = (count) => (count ? `: ${count} so far.` : ".");
    const parts = records
      ? [
          `Click a result: it is recorded${searched.user ? ` for user ${searched.user}` : ""}`,
          number(this.recorded),
        ]
      : ["Click a result: it counts in this page alone", number(this.tried.length)];
    const why = this.refusal ? ` Not recorded: ${this.refusal}.` : "";
    const buttons = [
      records && button("Only try clicks", () => this.choose(false)),
      !records && this.tried.length > 0 && button("Forget them", () => this.choose(this.records)),
      !this.records && !this.refusal && button("Record clicks", () => this.choose(true)),
    ];
    byId("clicks").replaceChildren(...[...parts, why, ...buttons].filter(Boolean));
    if (this.wantsToken) byId("clicks").append(this.tokenField());
  }

  choose(records) {
    this.records = records;
    this.tried = [];
    byId("query").focus();
    this.changed();
  }

  tokenField() {
    const input = h("input", { type: "password", id: "token", autocomplete: "off" });
    input.addEventListener("input", () => (this.token = input.value));
    input.value = this.token;
    return h("span", { class: "token" }, h("label", { for: "token" }, "Token of this server"), input);
  }
}

const button = (text, onclick) => h("button", { type: "button", class: "plain", onclick }, text);

/** Return the rows of the events file: what was shown, with an engagement in the row of the item. */
function rows(item, column, engagement, searched, about) {
  const { events: e, fields } = about;
  const typed = e.columns.map((name) => [name, searched.fields[name] ?? null]);
  const given = typed.map(([name, text]) => [
    name,
    text !== null && isNumber(name, fields) ? Number(text) : text,
  ]);
  const request = crypto.randomUUID?.() ?? `page-${Date.now()}-${Math.random()}`;
  const shown = e.impressions ? column.results : column.results.filter((result) => result.id === item.id);
  return shown.map((result) => {
    const row = { [e.query]: searched.query, [e.item]: result.id, [e.time]: searched.time };
    if (e.user) row[e.user] = searched.user;
    if (e.request) row[e.request] = request;
    if (e.event_time && result.id === item.id) row[e.event_time] = searched.time;
    if (e.position) row[e.position] = column.results.indexOf(result) + 1;
    if (e.impression_column) row[e.impression_column] = 1;
    for (const [name, count] of Object.entries(e.engagements)) {
      row[count] = Number(result.id === item.id && name === engagement);
    }
    return { ...Object.fromEntries(given), ...row };
  });
}

const isNumber = (name, fields) => fields.some((f) => f.name === name && f.kind === "number");
