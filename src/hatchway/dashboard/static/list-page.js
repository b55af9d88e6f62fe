// All APIs: a table that moves, a search, and what to do when there is none.

import { h, keyed, put, set, skeleton, status } from "./dom.js";
import { ago, count, NOTHING, percent, rate } from "./format.js";
import { sparkline } from "./chart.js";
import { followSparklines, home, listen, sorted } from "./home.js";

const FILTERS = [
  ["all", "All", () => true],
  ["live", "Live", (one) => one.status === "live"],
  ["moving", "Moving", (one) => ["starting", "updating", "deleting"].includes(one.status)],
  ["resting", "Idle or stopped", (one) => ["idle", "stopped"].includes(one.status)],
  ["failing", "Needs attention", isFailing],
];

function isFailing(one) {
  return one.status === "failed" || one.conditions.some(isWrong);
}

// Of all conditions only Drift is bad news when it is true.
export function isWrong(condition) {
  return condition.state === (condition.type === "Drift" ? "true" : "false");
}

const at = { filter: "all", query: "" }; // kept while other pages are shown

export const path = (name) => `/apis/${encodeURIComponent(name)}`;

// The mean of the newest steps: single ones jump.
export function recent(values, steps = 3) {
  const known = values?.slice(-steps) ?? [];
  return known.length ? known.reduce((sum, each) => sum + each, 0) / known.length : null;
}

export function listPage({ go, signal }) {
  document.title = "APIs · Hatchway";
  const title = h("h1", { tabindex: "-1" }, "APIs");
  const figures = ["APIs", "Requests/s", "Errors", "Replicas"].map((label) => {
    const value = h("b", null, NOTHING);
    return { value, node: h("div", { class: "figure" }, h("span", null, label), value) };
  });
  const search = h("input", {
    type: "search", placeholder: "Filter by name or reason", "aria-label": "Filter APIs", value: at.query, spellcheck: "false",
    oninput: () => {
      at.query = search.value;
      show();
    },
    onkeydown: (event) => {
      if (event.key === "Escape") {
        search.value = at.query = "";
        show();
        search.blur();
      } else if (event.key === "ArrowDown" || event.key === "Enter") {
        event.preventDefault();
        select(0);
      }
    },
  });
  const chips = FILTERS.map(([id, label]) => {
    const counter = h("span", { class: "count" });
    const node = h("button", { type: "button", class: "chip", onclick: () => choose(id) }, label, counter);
    return { id, node, counter };
  });
  const rows = h("div", { role: "rowgroup", class: "rows" }, skeleton(6, "div", "row skeleton"));
  const table = h(
    "div",
    { role: "table", class: "table apis", "aria-label": "APIs" },
    h(
      "div",
      { role: "rowgroup" },
      h(
        "div",
        { role: "row", class: "row head" },
        ["Name", "Status", "Endpoint", "Requests/s", "Errors", "Replicas", "Drift", "Revision"].map((label) =>
          h("span", { role: "columnheader" }, label),
        ),
      ),
    ),
    rows,
  );
  const none = h("p", { class: "quiet none", hidden: true }, "No API matches.");
  const whole = h(
    "section",
    null,
    h("div", { class: "page-head" }, title, h("div", { class: "figures" }, figures.map((one) => one.node))),
    h("div", { class: "tools" }, h("div", { class: "chips", role: "group", "aria-label": "Show" }, chips.map((one) => one.node)), search),
    table,
    none,
  );
  const node = h("div", { class: "page" }, whole);
  let update = null;
  let visible = [];

  function choose(id) {
    at.filter = id;
    show();
  }

  function show() {
    if (!home.isKnown) return;
    const all = sorted();
    if (!all.length) {
      if (node.firstChild === whole) node.replaceChildren(emptyHome());
      return;
    }
    if (node.firstChild !== whole) node.replaceChildren(whole);
    const query = at.query.trim().toLowerCase();
    const keep = FILTERS.find(([id]) => id === at.filter)[2];
    visible = all.filter((one) => keep(one) && (!query || `${one.name} ${one.reason} ${one.status}`.toLowerCase().includes(query)));
    for (const [index, [id, , test]] of FILTERS.entries()) {
      const n = all.filter(test).length;
      put(chips[index].counter, count(n));
      set(chips[index].node, "aria-pressed", String(id === at.filter));
      chips[index].node.hidden = n === 0 && !["all", at.filter].includes(id);
    }
    if (!update) {
      rows.replaceChildren();
      update = keyed(rows, (one) => one.name, (one) => row(one, go));
    }
    update(visible);
    none.hidden = visible.length > 0;
    totals(all);
  }

  function totals(all) {
    const sum = (read) => all.reduce((total, one) => total + (read(one) ?? 0), 0);
    const requests = sum((one) => recent(home.sparks[one.name]?.requests_per_s));
    const errors = sum((one) => recent(home.sparks[one.name]?.errors_per_s));
    const isKnown = Object.keys(home.sparks).length > 0;
    put(figures[0].value, count(all.length));
    put(figures[1].value, isKnown ? rate(requests) : NOTHING);
    put(figures[2].value, isKnown && requests > 0 ? percent(errors / requests) : NOTHING);
    set(figures[2].value, "class", errors > 0 ? "bad-text" : null);
    put(figures[3].value, count(sum((one) => one.replicas.ready)));
  }

  function links() {
    return [...rows.querySelectorAll("a.name")];
  }

  function select(index) {
    const all = links();
    if (all.length) all[Math.max(0, Math.min(all.length - 1, index))].focus();
  }

  listen((what) => ["all", "apis", "sparks"].includes(what) && show(), signal);
  followSparklines(signal);
  return {
    node,
    focus: () => title.focus({ preventScroll: true }),
    find: () => {
      search.focus();
      search.select();
    },
    update: (wanted) => wanted.page === "list",
    key: (event) => {
      const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key];
      if (!step) return false;
      const now = links().indexOf(document.activeElement);
      select(now === -1 ? (step > 0 ? 0 : links().length - 1) : now + step);
      return true;
    },
  };
}

function row(one, go) {
  const link = h("a", { class: "name", href: path(one.name) });
  const why = h("span", { class: "why" });
  const state = status(one.status);
  const spark = sparkline();
  const parts = Object.fromEntries(
    ["endpoint", "requests", "errors", "replicas", "drift", "revision"].map((name) => [name, h("span", { class: "value" })]),
  );
  const cell = (name, label, ...children) => h("span", { role: "cell", class: `cell ${name}`, "data-label": label }, children);
  const node = h(
    "div",
    { role: "row", class: "row", onclick: (event) => !event.defaultPrevented && !event.target.closest("a") && !getSelection().toString() && go(path(one.name)) },
    cell("of-name", "", link, why),
    cell("of-status", "", state.node),
    cell("of-endpoint", "Endpoint", parts.endpoint),
    cell("of-requests", "Requests/s", spark.node, parts.requests),
    cell("of-errors", "Errors", parts.errors),
    cell("of-replicas", "Replicas", parts.replicas),
    cell("of-drift", "Drift", parts.drift),
    cell("of-revision", "Revision", parts.revision),
  );
  return {
    node,
    update(now) {
      put(link, now.name);
      put(why, reasonOf(now));
      why.hidden = !why.textContent;
      set(why, "title", why.textContent);
      state.update(now.status);
      const line = home.sparks[now.name];
      spark.update(line);
      const requests = recent(line?.requests_per_s);
      const errors = recent(line?.errors_per_s);
      put(parts.requests, rate(requests));
      set(parts.requests, "data-none", requests === null);
      put(parts.errors, requests > 0 ? percent(errors / requests) : NOTHING);
      set(parts.errors, "class", errors > 0 ? "value bad-text" : "value");
      put(parts.endpoint, pathOf(now.endpoint));
      set(parts.endpoint, "title", now.endpoint);
      put(parts.replicas, `${now.replicas.ready} / ${now.replicas.desired}`);
      const drift = driftOf(now);
      put(parts.drift, drift.word);
      set(parts.drift, "class", `value ${drift.tone}`);
      put(parts.revision, now.revision.slice(0, 8));
      set(parts.revision, "title", now.updated_at ? `changed ${ago(now.updated_at)}` : null);
    },
  };
}

export function driftOf(one) {
  const found = one.conditions.find((each) => each.type === "Drift");
  if (!found || found.state === "unknown") return { word: NOTHING, tone: "quiet" };
  return isWrong(found) ? { word: "drift", tone: "warn-text" } : { word: "none", tone: "quiet" };
}

function pathOf(endpoint) {
  try {
    return new URL(endpoint).pathname;
  } catch {
    return endpoint;
  }
}

function reasonOf(one) {
  if (one.reason) return one.message && one.message !== one.reason ? `${one.reason}: ${one.message}` : one.reason;
  const wrong = one.conditions.find(isWrong);
  return wrong ? `${wrong.reason}: ${wrong.message}` : "";
}

function emptyHome() {
  const line = (text) => h("pre", null, h("code", null, text));
  return h(
    "section",
    { class: "empty" },
    h("h1", { tabindex: "-1" }, "Nothing is deployed yet"),
    h("p", null, "A model's file is enough:"),
    line("hatchway deploy model.joblib"),
    h("p", null, "Or start from an example, with a handler to change:"),
    line("hatchway init iris && cd iris\npython train.py\nhatchway deploy"),
    h("p", { class: "quiet" }, "This page shows it the moment it starts."),
  );
}
