// The frame: which page is shown, what is always there, the keyboard.

import { finder, help } from "./dialogs.js";
import { apiPage, TABS } from "./api-page.js";
import { h, put, set } from "./dom.js";
import { home, listen, sorted, start } from "./home.js";
import { listPage } from "./list-page.js";

const forEver = new AbortController().signal;
const THEMES = ["system", "light", "dark"];
const SAY_MS = 1000;
const SAID_AT_ONCE = 3;

// --- which page --------------------------------------------------------------------------------------------
let leaving = new AbortController();
let shown = null;

function route(path) {
  const parts = path.split("/").filter(Boolean).map(decodeURIComponent);
  if (parts.length === 0) return { page: "list" };
  if (parts[0] === "apis" && parts.length <= 3) {
    const tab = parts[2] ?? TABS[0].id;
    if (parts[1] && TABS.some((one) => one.id === tab)) return { page: "api", name: parts[1], tab };
  }
  return { page: "missing" };
}

export function go(path) {
  if (path !== location.pathname) history.pushState(null, "", path);
  show({ isMoving: true });
}

function show({ isMoving = false } = {}) {
  const wanted = route(location.pathname);
  if (shown?.update?.(wanted)) return;
  leaving.abort();
  leaving = new AbortController();
  const make = { list: listPage, api: apiPage, missing: missingPage }[wanted.page];
  shown = make({ ...wanted, go, signal: leaving.signal });
  main.replaceChildren(shown.node);
  set(crumb, "hidden", wanted.page === "list");
  scrollTo(0, 0);
  if (isMoving) shown.focus?.();
}

function missingPage() {
  document.title = "Hatchway";
  return {
    node: h("section", { class: "empty" }, h("h1", null, "There is no such page"), h("p", null, h("a", { href: "/" }, "All APIs"))),
  };
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  const url = new URL(link.href);
  if (url.origin !== location.origin || link.target || link.hasAttribute("download") || url.hash) return;
  event.preventDefault();
  go(url.pathname);
});
addEventListener("popstate", () => show({ isMoving: true }));

// --- the frame ---------------------------------------------------------------------------------------------
const main = h("main", { id: "main", tabindex: "-1" });
const crumb = h("a", { href: "/", class: "crumb", hidden: true }, "All APIs");
const where = h("span", { class: "where" });
const connection = h("span", { class: "connection" });
const lost = h("p", { class: "lost", role: "alert", hidden: true });
const announcer = h("div", { class: "hidden-text", "aria-live": "polite" });
const themeButton = h("button", { class: "icon-button", type: "button", onclick: nextTheme });

document.getElementById("app").replaceWith(
  h("a", { class: "skip", href: "#main" }, "Skip to the content"),
  h(
    "header",
    { class: "top" },
    h(
      "nav",
      { "aria-label": "Site" },
      h("a", { href: "/", class: "brand", "aria-label": "Hatchway, all APIs" }, h("span", { class: "logo", "aria-hidden": "true" }), h("span", null, "Hatchway")),
      crumb,
    ),
    where,
    connection,
    h("button", { class: "find", type: "button", onclick: find }, h("span", null, "Find an API"), h("kbd", null, "/")),
    themeButton,
    h("button", { class: "icon-button", type: "button", "aria-label": "Keyboard help", onclick: help }, "?"),
  ),
  lost,
  main,
  announcer,
);

// What is read aloud: of a page of one API only what happens to it, and many changes at once as one sentence.
let changes = new Map();
let saying = 0;

function say(name, text) {
  const open = route(location.pathname).name;
  if (open && open !== name) return;
  changes.set(name, text);
  saying ||= setTimeout(() => {
    const told = [...changes.values()];
    put(announcer, told.length > SAID_AT_ONCE ? `${told.length} APIs changed` : told.join(". "));
    changes = new Map();
    saying = 0;
  }, SAY_MS);
}

listen((what, detail) => {
  if (what === "phase") say(detail.name, `${detail.name} is ${detail.status}${detail.reason ? `: ${detail.reason}` : ""}`);
  if (what === "gone") say(detail, `${detail} is gone`);
  if (what === "status" && home.status) put(where, `${home.status.gateway.url.replace("http://", "")}`);
  if (what === "connection" || what === "all") {
    const isLost = home.connection === "lost";
    if (connection.dataset.state === "lost" && home.connection === "live") put(announcer, "The engine answers again");
    set(connection, "data-state", home.connection);
    put(connection, { live: "Live", lost: "Reconnecting", connecting: "Connecting" }[home.connection]);
    set(lost, "hidden", !isLost);
    put(lost, isLost ? "The engine does not answer. What you see is from before; this page comes back by itself." : "");
  }
}, forEver);

addEventListener("signed-out", () => {
  leaving.abort();
  main.replaceChildren(
    h(
      "section",
      { class: "empty", role: "alert" },
      h("h1", null, "This session is over"),
      h("p", null, "A link of the command line opens another one:"),
      h("pre", null, h("code", null, "hatchway dashboard")),
    ),
  );
});

// --- theme -------------------------------------------------------------------------------------------------
function theme() {
  const kept = localStorage.getItem("theme");
  return THEMES.includes(kept) ? kept : "system";
}

function applyTheme() {
  set(document.documentElement, "data-theme", theme() === "system" ? null : theme());
  put(themeButton, { system: "◐", light: "○", dark: "●" }[theme()]);
  set(themeButton, "aria-label", `Theme: ${theme()}. Change it`);
  set(themeButton, "title", `Theme: ${theme()}`);
}

function nextTheme() {
  localStorage.setItem("theme", THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length]);
  applyTheme();
}

// --- keyboard ----------------------------------------------------------------------------------------------
function find() {
  finder(sorted().map((one) => one.name), (name) => go(`/apis/${encodeURIComponent(name)}`));
}

const isTyping = (node) => node.matches?.("input, textarea, select, [contenteditable]");

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (shown?.key?.(event)) {
    event.preventDefault();
    return;
  }
  const act = { "/": () => (shown?.find ?? find)(), "?": help, t: nextTheme }[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
});

applyTheme();
start(forEver);
show();
