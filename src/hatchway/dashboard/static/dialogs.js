// What stands over the page: questions before something is changed, notices after, help.

import { h } from "./dom.js";

// Asks before something is done. do() runs when the answer is yes; its failure is shown in the dialog.
export function confirm({ title, body, verb, isGrave = false, act }) {
  const wrong = h("p", { class: "wrong", role: "alert", hidden: true });
  const yes = h("button", { class: isGrave ? "button grave" : "button main", type: "submit" }, verb);
  const form = h(
    "form",
    {
      method: "dialog",
      onsubmit: async (event) => {
        event.preventDefault();
        yes.disabled = true;
        wrong.hidden = true;
        try {
          await act(new FormData(form));
          dialog.close();
        } catch (error) {
          wrong.textContent = [error.message, error.hint].filter(Boolean).join(". ");
          wrong.hidden = false;
        }
        yes.disabled = false;
      },
    },
    h("h2", { id: "dialog-title" }, title),
    body,
    wrong,
    h("div", { class: "buttons" }, h("button", { class: "button", type: "button", onclick: () => dialog.close() }, "Cancel"), yes),
  );
  const dialog = open(form, "dialog-title");
  return dialog;
}

function open(content, labelledby, className = "") {
  const dialog = h("dialog", { "aria-labelledby": labelledby, class: className }, content);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("pointerdown", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

const KEYS = [
  ["/", "find an API"],
  ["j k, ↓ ↑", "next and previous row"],
  ["Enter", "open"],
  ["Esc", "back, or close"],
  ["1 … 5", "the tabs of an API"],
  ["← →", "on a chart: single moments (with Shift: ten)"],
  ["p", "in logs: pause and go on"],
  ["t", "light, dark, as the system"],
  ["?", "this help"],
];

export function help() {
  open(
    h(
      "div",
      null,
      h("h2", { id: "help-title" }, "Keyboard"),
      h("dl", { class: "keys" }, KEYS.map(([key, what]) => [h("dt", null, key.split(/(?<=.), | /).map((one) => h("kbd", null, one))), h("dd", null, what)])),
      h("form", { method: "dialog", class: "buttons" }, h("button", { class: "button" }, "Close")),
    ),
    "help-title",
  );
}

// Finds an API by its name, from any page.
export function finder(names, choose) {
  const list = h("ul", { role: "listbox", id: "found", "aria-label": "APIs" });
  let found = [];
  let at = 0;
  const input = h("input", {
    type: "search", placeholder: "Find an API", "aria-label": "Find an API", role: "combobox", autocomplete: "off",
    "aria-expanded": "true", "aria-controls": "found", spellcheck: "false",
    oninput: () => {
      at = 0;
      show();
    },
    onkeydown: (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step) at = (at + step + found.length) % Math.max(1, found.length);
      else if (event.key === "Enter" && found[at]) pick(found[at]);
      else return;
      event.preventDefault();
      show();
    },
  });
  const dialog = open(h("div", { class: "finder" }, input, list), undefined, "palette");
  dialog.setAttribute("aria-label", "Find an API");
  function pick(name) {
    dialog.close();
    choose(name);
  }
  function show() {
    found = names.filter((name) => name.toLowerCase().includes(input.value.trim().toLowerCase())).slice(0, 12);
    list.replaceChildren(
      ...found.map((name, index) =>
        h("li", { role: "option", id: `found-${index}`, "aria-selected": String(index === at), onclick: () => pick(name) }, name),
      ),
    );
    if (!found.length) list.append(h("li", { role: "option", "aria-selected": "false", "aria-disabled": "true" }, "No API has this in its name"));
    input.setAttribute("aria-activedescendant", found.length ? `found-${at}` : "");
  }
  show();
  input.focus();
}

let notices = null;

export function notice(text, tone = "") {
  if (!notices) {
    notices = h("div", { class: "notices", role: "status", "aria-live": "polite" });
    document.body.append(notices);
  }
  const node = h("p", { class: `toast ${tone}` }, text);
  notices.append(node);
  setTimeout(() => node.remove(), tone === "bad" ? 9000 : 4500);
}

export async function copy(text, button) {
  await navigator.clipboard.writeText(text).catch(() => null);
  const before = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = before), 1500);
}
