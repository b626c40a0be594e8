// A text field with suggestions: the editable combobox of the ARIA Authoring Practices.

import { h, said } from "./dom.js";

const PAUSE = 90;

/**
 * Give a text field suggestions.
 *
 * input: the field; its parent holds the list. ask(typed, signal): a promise of [{value, count}].
 * unit: what is counted, for screen readers. chosen(): called when a suggestion was taken.
 */
export function combobox(input, ask, unit, chosen) {
  const id = `${input.id}-options`;
  const list = h("ul", {
    id,
    class: "options",
    role: "listbox",
    "aria-label": `Suggestions: ${input.id}`,
    hidden: true,
  });
  input.parentElement.append(list);
  const attributes = {
    role: "combobox",
    "aria-controls": id,
    "aria-autocomplete": "list",
    "aria-expanded": "false",
  };
  for (const [name, value] of Object.entries(attributes)) input.setAttribute(name, value);
  let active = -1;
  let timer = 0;
  let pending = null;

  function close() {
    pending?.abort();
    clearTimeout(timer);
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function select(position) {
    const options = [...list.children];
    if (!options.length) return;
    active = (position + options.length) % options.length;
    options.forEach((option, n) => option.setAttribute("aria-selected", String(n === active)));
    options[active].scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", options[active].id);
  }

  function take(value) {
    input.value = value;
    close();
    chosen();
  }

  function show(suggestions) {
    list.replaceChildren(
      ...suggestions.map(({ value, count }, n) =>
        h(
          "li",
          {
            id: `${id}-${n}`,
            role: "option",
            "aria-selected": "false",
            onpointerdown: (event) => {
              event.preventDefault();
              take(value);
            },
          },
          h("span", { class: "value" }, value),
          h("span", { class: "count" }, count.toLocaleString("en"), said(` ${unit}`)),
        ),
      ),
    );
    active = -1;
    list.hidden = suggestions.length === 0;
    input.setAttribute("aria-expanded", String(!list.hidden));
    input.removeAttribute("aria-activedescendant");
  }

  async function refresh() {
    pending?.abort();
    const own = (pending = new AbortController());
    try {
      const suggestions = await ask(input.value, own.signal);
      if (!own.signal.aborted && document.activeElement === input) show(suggestions);
    } catch {
      if (!own.signal.aborted) close(); // suggestions help; a search works without them
    }
  }

  function later() {
    clearTimeout(timer);
    timer = setTimeout(refresh, PAUSE);
  }

  input.addEventListener("input", later);
  input.addEventListener("blur", close);
  input.addEventListener("click", () => {
    if (list.hidden) refresh();
  });
  input.addEventListener("keydown", async (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) await refresh();
      else select(event.key === "ArrowDown" ? active + 1 : active < 0 ? -1 : active - 1);
    } else if (event.key === "Enter" && !list.hidden && active >= 0) {
      event.preventDefault();
      take(list.children[active].querySelector(".value").textContent);
    } else if (event.key === "Enter") {
      close();
    } else if (event.key === "Escape" && !list.hidden) {
      event.preventDefault();
      close();
    }
  });
}
