// One API: its head, what can be done to it, and its tabs.

import { api, ask, events, whileSeen } from "./api.js";
import { confirm, copy, notice } from "./dialogs.js";
import { h, put, set, skeleton, status } from "./dom.js";
import { isWrong } from "./list-page.js";
import { logsTab } from "./logs-tab.js";
import { overviewTab } from "./overview-tab.js";
import { predictionsTab } from "./predictions-tab.js";
import { revisionsTab } from "./revisions-tab.js";
import { tryTab } from "./try-tab.js";

export const TABS = [
  { id: "overview", label: "Overview", make: overviewTab },
  { id: "predictions", label: "Predictions", make: predictionsTab },
  { id: "logs", label: "Logs", make: logsTab },
  { id: "revisions", label: "Revisions", make: revisionsTab },
  { id: "try", label: "Try it", make: tryTab },
];

const path = (name, tab) => `/apis/${encodeURIComponent(name)}${tab === TABS[0].id ? "" : `/${tab}`}`;

export function apiPage({ name, tab, go, signal }) {
  const title = h("h1", { tabindex: "-1" }, name);
  const state = status("");
  const why = h("p", { class: "reason", hidden: true });
  const endpoint = h("code");
  const copyButton = h("button", { class: "quiet-button", type: "button", onclick: () => copy(endpoint.textContent, copyButton) }, "Copy");
  const buttons = h("div", { class: "buttons" });
  const nav = h("nav", { class: "tabs", "aria-label": "Parts of this API" });
  const links = TABS.map((one) => h("a", { href: path(name, one.id) }, one.label));
  nav.append(...links);
  const body = h("div", { class: "tab-body" }, skeleton(3, "div", "skeleton block"));
  const node = h(
    "div",
    { class: "page" },
    h(
      "div",
      { class: "page-head" },
      h("div", { class: "names" }, h("div", { class: "title-line" }, title, state.node), h("div", { class: "endpoint" }, endpoint, copyButton)),
      buttons,
    ),
    why,
    nav,
    body,
  );
  const context = { name, api: null, go, listeners: new Set(), signal: null };
  let shown = null;
  let current = tab;
  let leaving = null;

  function open(id) {
    current = id;
    document.title = `${name} · ${TABS.find((one) => one.id === id).label} · Hatchway`;
    TABS.forEach((one, index) => set(links[index], "aria-current", one.id === id ? "page" : null));
    leaving?.abort();
    leaving = new AbortController();
    context.listeners.clear();
    if (!context.api) return;
    shown = TABS.find((one) => one.id === id).make({ ...context, signal: leaving.signal });
    body.replaceChildren(shown.node);
  }

  function update(found) {
    const isFirst = !context.api;
    context.api = found;
    state.update(found.status);
    put(endpoint, found.endpoint);
    const wrong = found.conditions.find(isWrong);
    const told = found.reason || found.message ? found : wrong;
    const reason = [told?.reason, told?.message].filter(Boolean).join(": ");
    put(why, reason);
    // While nothing is wrong, the state beside the name and the panel of the rollout say as much as a lone reason.
    why.hidden = !reason || (!found.message && !wrong && ["starting", "updating"].includes(found.status));
    set(why, "data-tone", found.status === "failed" ? "bad" : found.reason || wrong ? "warn" : null);
    const isResting = found.status === "stopped" || found.status === "failed";
    if (buttons.dataset.resting !== String(isResting)) buttons.replaceChildren(...actions(context, isResting));
    buttons.dataset.resting = String(isResting);
    if (isFirst) open(current);
    for (const listener of context.listeners) listener(found);
  }

  signal.addEventListener("abort", () => leaving?.abort());
  whileSeen((seen) => {
    events(
      api(name, "/watch"),
      {
        event: (event, data) => {
          if (event === "status") update(data);
          if (event === "deleted") gone(`${name} was deleted`);
        },
        end: (error) => error.status === 404 && gone(`There is no API named ${name}`),
      },
      seen,
    );
  }, signal);

  function gone(text) {
    leaving?.abort();
    node.replaceChildren(h("section", { class: "empty", role: "alert" }, h("h1", null, text), h("p", null, h("a", { href: "/" }, "All APIs"))));
  }

  return {
    node,
    focus: () => title.focus({ preventScroll: true }),
    update: (wanted) => {
      if (wanted.page !== "api" || wanted.name !== name) return false;
      if (wanted.tab !== current) open(wanted.tab);
      return true;
    },
    key: (event) => {
      if (shown?.key?.(event)) return true;
      if (event.key === "Escape") {
        go("/");
        return true;
      }
      const index = Number(event.key) - 1;
      if (!TABS[index]) return false;
      go(path(name, TABS[index].id));
      links[index].focus({ preventScroll: true });
      return true;
    },
  };
}

// `context.api` is read when a button is pressed: what is known then counts.
function actions(context, isResting) {
  const { name } = context;
  const button = (label, onclick) => h("button", { class: "button", type: "button", onclick }, label);
  const send = async (verb, body, told) => {
    await ask(api(name, `/${verb}`), { method: "POST", body });
    notice(told);
  };
  return [
    button("Scale", () => scaleDialog(context.api, send)),
    button("Restart", () =>
      confirm({
        title: `Restart ${name}?`,
        body: h("p", null, "New replicas of the same revision take over, each before an old one goes. No request is lost."),
        verb: "Restart",
        act: () => send("restart", undefined, `${name} is being restarted`),
      }),
    ),
    isResting
      ? button("Start", () => send("start", undefined, `${name} starts`).catch((error) => notice(error.message, "bad")))
      : button("Stop", () =>
          confirm({
            title: `Stop ${name}?`,
            body: h("p", null, "Its replicas finish their requests and end. Callers get 503 until it is started again."),
            verb: "Stop",
            isGrave: true,
            act: () => send("stop", undefined, `${name} stops`),
          }),
        ),
  ];
}

function scaleDialog(found, send) {
  const bounds = found.spec.autoscaling ?? {};
  const low = Math.max(bounds.min_replicas ?? 1, 0);
  const high = bounds.max_replicas ?? 100;
  const now = Math.min(Math.max(found.scaled?.replicas ?? found.replicas.desired, low), high);
  confirm({
    title: `Scale ${found.name}`,
    body: h(
      "div",
      { class: "fields" },
      h("p", { class: "quiet" }, `So many replicas for a while, whatever the load; autoscaling goes on after that. Bounds: ${low} to ${high}.`),
      h("label", null, "Replicas", h("input", { name: "replicas", type: "number", min: low, max: high, value: now, required: true })),
      h(
        "label",
        null,
        "For",
        h("select", { name: "for" }, [["600", "10 minutes"], ["3600", "1 hour"], ["14400", "4 hours"], ["86400", "1 day"]].map(([value, text]) => h("option", { value }, text))),
      ),
      found.scaled && h("label", { class: "check" }, h("input", { type: "checkbox", name: "end" }), `End what was set by ${found.scaled.by} instead`),
    ),
    verb: "Scale",
    act: (form) =>
      form.get("end")
        ? send("scale", { replicas: null, for_s: 0 }, `${found.name} is scaled by its requests again`)
        : send("scale", { replicas: Number(form.get("replicas")), for_s: Number(form.get("for")) }, `${found.name}: ${form.get("replicas")} ${form.get("replicas") === "1" ? "replica" : "replicas"}`),
  });
}
