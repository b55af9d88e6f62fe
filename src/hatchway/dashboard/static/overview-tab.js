// How an API is now and was in the last minutes: figures, charts, the rollout, why it was scaled, its replicas.

import { api, ask, poll } from "./api.js";
import { Cursor, timeChart } from "./chart.js";
import { h, keyed, put, set, status } from "./dom.js";
import { age, ago, bytes, count, moment, ms, NOTHING, number, percent, rate } from "./format.js";
import { recent } from "./list-page.js";
import { lastKnown } from "./scale.js";

const WINDOWS = [["5m", 2], ["15m", 2], ["1h", 10]]; // how far back, and how often it is asked for, in seconds
const SCALING_S = 5;
const STEPS_SHOWN = 8;

let span = "15m"; // kept while other pages are shown

export function overviewTab({ name, api: first, listeners, signal }) {
  const cursor = new Cursor();
  const charts = [
    timeChart({
      title: "Requests", cursor, format: rate, axis: number,
      series: [
        { label: "requests/s", name: "requests_per_s", kind: "area", tone: "accent" },
        { label: "errors/s", name: "errors_per_s", kind: "line", tone: "bad", isRare: true },
      ],
    }),
    timeChart({
      title: "Latency", cursor, format: ms, nothing: "No answers in this time", axis: (value) => (value ? ms(value).replace(".0 ", " ") : "0"),
      series: [
        { label: "p99", name: "p99_ms", kind: "line", tone: "third" },
        { label: "p95", name: "p95_ms", kind: "line", tone: "second" },
        { label: "p50", name: "p50_ms", kind: "line", tone: "accent" },
      ],
    }),
    timeChart({
      title: "In flight", cursor, format: count, isWhole: true,
      series: [
        { label: "in flight and queued", name: "in_flight", kind: "area", tone: "accent" },
        { label: "queued", name: "queued", kind: "line", tone: "second", isRare: true },
      ],
    }),
    timeChart({
      title: "Replicas", cursor, format: count, isWhole: true,
      series: [
        { label: "wanted", name: "replicas_wanted", kind: "step", tone: "second dashed" },
        { label: "ready", name: "replicas_ready", kind: "step", tone: "accent" },
      ],
    }),
  ];
  const replicasChart = charts[3];
  const figures = ["Requests/s", "Errors", "p50", "p95", "p99", "In flight", "Replicas"].map((label) => {
    const value = h("b", null, NOTHING);
    return { value, node: h("div", { class: "figure" }, h("span", null, label), value) };
  });
  const spans = WINDOWS.map(([id]) =>
    h("button", { type: "button", class: "chip", "aria-pressed": String(id === span), onclick: () => choose(id) }, id),
  );
  const rollout = rolloutPanel();
  const decisions = h("ol", { class: "decisions" });
  const noDecisions = h("p", { class: "quiet" }, "The autoscaler has decided nothing yet.");
  const replicas = replicaTable();
  const node = h(
    "div",
    { class: "overview" },
    h("div", { class: "bar" }, h("div", { class: "figures" }, figures.map((one) => one.node)), h("div", { class: "chips", role: "group", "aria-label": "Time span" }, spans)),
    rollout.node,
    h("div", { class: "charts" }, charts.map((one) => one.node)),
    h(
      "div",
      { class: "columns" },
      h("section", { class: "card" }, h("h2", null, "Scaling"), noDecisions, decisions),
      replicas.node,
    ),
  );
  let timeline = null;
  let marks = [];
  let round = new AbortController();

  function choose(id) {
    span = id;
    spans.forEach((one, index) => set(one, "aria-pressed", String(WINDOWS[index][0] === id)));
    round.abort();
    round = new AbortController();
    followTimeline(round.signal);
  }

  function followTimeline(ended) {
    const every = WINDOWS.find(([id]) => id === span)[1];
    poll(async () => {
      timeline = await ask(`${api(name, "/timeline")}?window=${span}`, { signal: ended });
      draw();
    }, every, ended);
  }

  function draw() {
    if (!timeline) return;
    for (const one of charts) one.update(timeline, one === replicasChart ? marks : []);
    const requests = recent(timeline.requests_per_s);
    const errors = recent(timeline.errors_per_s);
    put(figures[0].value, rate(requests));
    put(figures[1].value, requests > 0 ? percent(errors / requests) : NOTHING);
    set(figures[1].value, "class", errors > 0 ? "bad-text" : null);
    ["p50_ms", "p95_ms", "p99_ms"].forEach((column, index) => put(figures[2 + index].value, ms(lastKnown(timeline[column].slice(-30)))));
    put(figures[5].value, count(timeline.in_flight.at(-1)));
  }

  const showStep = keyed(decisions, (one) => `${one.at} ${one.message}`, (one) => {
    const when = h("time", { datetime: one.at, title: moment(one.at) });
    const [move, reason] = one.message.includes(": ") ? [one.message.slice(0, one.message.indexOf(": ")), one.message.slice(one.message.indexOf(": ") + 2)] : [one.message, ""];
    const node = h("li", { class: one.replicas === one.before ? "stays" : "moves" }, when, h("span", null, h("b", null, move), reason && h("span", { class: "quiet" }, ` · ${reason}`)));
    return { node, update: (now) => put(when, ago(now.at)) };
  });

  function update(found) {
    put(figures[6].value, `${found.replicas.ready} / ${found.replicas.desired}`);
    rollout.update(found);
    replicas.update(found);
  }

  signal.addEventListener("abort", () => round.abort());
  listeners.add(update);
  update(first);
  followTimeline(round.signal);
  poll(async () => {
    const steps = await ask(api(name, "/scaling"), { signal });
    noDecisions.hidden = steps.length > 0;
    // The newest decision and those that moved something; `hatchway why` has them all.
    showStep(steps.filter((one, index) => index === 0 || one.replicas !== one.before).slice(0, STEPS_SHOWN));
    marks = steps
      .filter((one) => one.replicas !== one.before)
      .map((one) => ({ at: Date.parse(one.at) / 1000, value: one.replicas, text: one.message }));
    draw();
  }, SCALING_S, signal);

  return { node };
}

// What an update has come to: one square a replica, the new ones first.
function rolloutPanel() {
  const text = h("p");
  const groups = h("div", { class: "groups" });
  const node = h("section", { class: "card rollout", "aria-label": "Rollout", hidden: true }, h("h2", null, "Rollout"), text, groups);
  const show = keyed(groups, (one) => one.revision, () => {
    const squares = h("div", { class: "squares" });
    const title = h("span", { class: "mono" });
    const told = h("span", { class: "quiet" });
    const fill = keyed(squares, (one) => one.id, () => {
      const square = h("i");
      return {
        node: square,
        update: (now) => {
          set(square, "data-state", now.state);
          set(square, "title", `${now.id}: ${now.state}`);
        },
      };
    });
    return {
      node: h("div", { class: "group" }, h("div", null, title, told), squares),
      update: (group) => {
        put(title, group.revision.slice(0, 12));
        put(told, ` ${group.isNew ? "new" : "old"}, ${group.replicas.filter((one) => one.state === "ready").length} ready of ${group.isNew ? group.wanted : group.replicas.length}`);
        fill(group.replicas);
      },
    };
  });
  return {
    node,
    update(found) {
      const isUpdating = found.status === "updating";
      node.hidden = !isUpdating;
      if (!isUpdating) return;
      const updated = found.conditions.find((one) => one.type === "Updated");
      put(text, updated?.message || `Revision ${found.revision.slice(0, 12)} takes over.`);
      const revisions = [...new Set([found.revision, ...found.replica_list.map((one) => one.revision)])];
      show(
        revisions.map((revision) => ({
          revision,
          isNew: revision === found.revision,
          wanted: found.replicas.desired,
          replicas: found.replica_list.filter((one) => one.revision === revision),
        })),
      );
    },
  };
}

function replicaTable() {
  const rows = h("div", { role: "rowgroup" });
  const none = h("p", { class: "quiet" }, "No replica runs.");
  const headings = ["Replica", "State", "Revision", "Memory", "Restarts", "Age", "Start"];
  const table = h(
    "div",
    { role: "table", class: "table replicas", "aria-label": "Replicas" },
    h("div", { role: "rowgroup" }, h("div", { role: "row", class: "row head" }, headings.map((label) => h("span", { role: "columnheader" }, label)))),
    rows,
  );
  const show = keyed(rows, (one) => one.id, (one) => {
    const state = status(one.state);
    const cells = headings.map((label, index) => h("span", { role: "cell", class: "cell", "data-label": index > 1 ? label : "" }));
    cells[1].append(state.node);
    const why = h("span", { class: "why" });
    const id = h("span", { class: "mono" });
    cells[0].append(id, why);
    return {
      node: h("div", { role: "row", class: "row" }, cells),
      update: (now) => {
        put(id, now.id);
        put(why, [now.reason, now.message].filter(Boolean).join(": "));
        why.hidden = !why.textContent;
        state.update(now.state);
        put(cells[2], now.revision.slice(0, 8));
        put(cells[3], bytes(now.rss_bytes));
        put(cells[4], count(now.restarts));
        put(cells[5], now.started_at ? age(now.started_at) : NOTHING);
        put(cells[6], now.start || NOTHING);
        set(cells[6], "title", now.start_reason);
      },
    };
  });
  return {
    node: h("section", { class: "card" }, h("h2", null, "Replicas"), table, none),
    update: (found) => {
      show(found.replica_list);
      none.hidden = found.replica_list.length > 0;
      table.hidden = !none.hidden;
    },
  };
}
