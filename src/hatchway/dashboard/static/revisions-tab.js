// Which revisions are kept, a way back to each, and who did what.

import { api, ask, poll } from "./api.js";
import { confirm, notice } from "./dialogs.js";
import { h, keyed, put, set } from "./dom.js";
import { ago, moment, NOTHING, span } from "./format.js";

const HISTORY_S = 5;
const ENTRIES_SHOWN = 30; // `hatchway history` has them all
const VERBS = {
  deployed: "Deployed", configured: "Configured", rolled_back: "Rolled back", restarted: "Restarted", scaled: "Scaled",
  stopped: "Stopped", started: "Started",
};

export function revisionsTab({ name, api: first, listeners, signal }) {
  const revisions = h("ul", { class: "revisions" });
  const entries = h("ol", { class: "history" });
  const node = h(
    "div",
    { class: "columns" },
    h("section", { class: "card" }, h("h2", null, "Revisions"), revisions),
    h("section", { class: "card" }, h("h2", null, "History"), entries),
  );

  const show = keyed(revisions, (one) => one.id, (one) => {
    const id = h("span", { class: "mono" });
    const when = h("span", { class: "quiet" });
    const badge = h("span", { class: "badge" });
    const back = h("button", { class: "button", type: "button", onclick: () => ask_rollback(one.id) }, "Roll back");
    set(back, "aria-label", `Roll back to ${one.id}`);
    return {
      node: h("li", null, h("div", null, id, badge, when), back),
      update: (now) => {
        put(id, now.id);
        put(badge, now.active ? "wanted" : "");
        badge.hidden = !now.active;
        const commit = now.git_commit ? `, commit ${now.git_commit.slice(0, 10)}` : "";
        put(when, `${now.live_at ? `live ${ago(now.live_at)}` : "never live"}, made ${ago(now.created_at)}${commit}`);
        back.hidden = now.active;
      },
    };
  });

  function ask_rollback(to) {
    confirm({
      title: `Roll back ${name}?`,
      body: h(
        "p",
        null,
        "Revision ",
        h("code", null, to),
        " comes back with its files, packages and secrets. Its replicas are ready before the present ones go. Settings that apply in place stay as they are.",
      ),
      verb: "Roll back",
      act: async () => {
        const result = await ask(api(name, "/rollback"), { method: "POST", body: { to } });
        notice(`${name}: ${result.message}`);
        look();
      },
    });
  }

  const tell = keyed(entries, (one) => `${one.at} ${one.action}`, (one) => {
    const outcome = h("span", { class: "outcome" });
    const why = h("p", { class: "why" });
    const when = h("time", { datetime: one.at, title: moment(one.at) });
    return {
      node: h(
        "li",
        null,
        h("div", null, h("b", null, VERBS[one.action] ?? one.action), " ", h("span", { class: "mono" }, one.revision.slice(0, 12)), " ", outcome, when),
        h("p", { class: "quiet" }, [one.by, one.git_commit && `commit ${one.git_commit.slice(0, 10)}`].filter(Boolean).join(", ") || NOTHING),
        one.changes.length ? h("ul", null, one.changes.map((change) => h("li", null, change))) : null,
        why,
      ),
      update: (now) => {
        put(outcome, now.outcome === "done" ? "" : now.took_s === null ? now.outcome : `${now.outcome} after ${now.took_s < 10 ? `${now.took_s.toFixed(1)}s` : span(now.took_s)}`);
        set(outcome, "data-outcome", now.outcome);
        put(when, ago(now.at));
        put(why, [now.reason, now.message].filter(Boolean).join(": "));
        why.hidden = !why.textContent;
      },
    };
  });

  const look = async () => tell(await ask(api(name, `/history?limit=${ENTRIES_SHOWN}`), { signal }));
  const update = (found) => show(found.revisions);
  listeners.add(update);
  update(first);
  poll(look, HISTORY_S, signal);
  return { node };
}
