// What goes in and comes out, against the baseline: a distribution a field, and what the tests say of it.

import { api, ApiError, ask, poll } from "./api.js";
import { histogram } from "./chart.js";
import { h, keyed, put, set, skeleton, svg } from "./dom.js";
import { count, moment, NOTHING, number, percent, span as words } from "./format.js";

const WINDOWS = ["15m", "1h", "6h", "24h"];
const REPORT_S = 10;
const VERDICTS = {
  ok: ["good", "As the baseline"],
  drift: ["warn", "Drift"],
  too_few: ["", "Too few to judge"],
  no_baseline: ["", "No baseline yet"],
  disabled: ["", "Switched off"],
};
const SOURCES = {
  data: "training data", first_period: "the first period of this revision", previous_revision: "the previous revision",
  accepted: "what was accepted as normal",
};
const SHAPES = { small: { width: 168, height: 36 }, large: { width: 520, height: 172 } };

let span = "1h"; // kept while other pages are shown

export function predictionsTab({ name, signal }) {
  const verdict = h("b", { class: "badge" });
  const told = h("p");
  const spans = WINDOWS.map((id) => h("button", { type: "button", class: "chip", "aria-pressed": String(id === span), onclick: () => choose(id) }, id));
  const classes = h("div", { class: "classes" });
  const fields = h("ul", { class: "fields-list" }, skeleton(4, "li", "skeleton block"));
  const none = h("p", { class: "quiet none", hidden: true });
  const key = h("p", { class: "key-line quiet", hidden: true }, h("i", { class: "swatch now" }), "now", h("i", { class: "swatch then" }), "baseline");
  const node = h(
    "section",
    null,
    h("div", { class: "bar" }, h("div", { class: "verdict" }, verdict, told), h("div", { class: "chips", role: "group", "aria-label": "Window" }, spans)),
    classes,
    key,
    fields,
    none,
  );
  let show = null;
  let round = new AbortController();

  function choose(id) {
    span = id;
    spans.forEach((one, index) => set(one, "aria-pressed", String(WINDOWS[index] === id)));
    round.abort();
    round = new AbortController();
    follow(round.signal);
  }

  function follow(ended) {
    poll(async () => {
      try {
        update(await ask(`${api(name, "/monitoring")}?window=${span}`, { signal: ended }));
      } catch (error) {
        if (error instanceof ApiError && error.status === 404) nothing("This engine keeps no figures of predictions.");
        else throw error;
      }
    }, REPORT_S, ended);
  }

  function nothing(text) {
    fields.replaceChildren();
    show = null;
    key.hidden = true;
    none.hidden = false;
    put(none, text);
  }

  function update(report) {
    const [tone, word] = VERDICTS[report.verdict] ?? ["", report.verdict];
    put(verdict, word);
    set(verdict, "class", `badge ${tone}`);
    const drifted = report.fields.filter((one) => one.drift?.verdict === "drift").length;
    const source = report.baseline?.source ? ` against ${SOURCES[report.baseline.source] ?? report.baseline.source} (${count(report.baseline.count)} records)` : "";
    put(told, `${count(report.sampled)} records of the last ${words(report.window_s)}${source}${drifted ? `: ${drifted} of ${report.fields.length} fields differ` : ""}.`);
    showModel(classes, report.model);
    none.hidden = report.fields.length > 0;
    key.hidden = !none.hidden;
    put(none, report.verdict === "disabled" ? "monitoring.enabled is false for this API." : "No predictions in this window. Each request that is answered adds to it.");
    if (!show) {
      fields.replaceChildren();
      show = keyed(fields, (one) => one.name, fieldRow);
    }
    const weight = (one) => (one.drift?.verdict === "drift" ? 0 : 1);
    show([...report.fields].sort((one, other) => weight(one) - weight(other) || one.name.localeCompare(other.name, "en")));
  }

  signal.addEventListener("abort", () => round.abort());
  follow(round.signal);
  return { node };
}

function showModel(node, model) {
  if (!model?.classes) {
    node.replaceChildren();
    return;
  }
  const total = Object.values(model.classes).reduce((sum, each) => sum + each, 0) || 1;
  const entries = Object.entries(model.classes).sort(([, one], [, other]) => other - one).slice(0, 8);
  node.replaceChildren(
    h("h2", null, "Classes predicted"),
    h("div", { class: "class-bars" }, entries.map(([value, n]) => shareBar(value, n / total, null, n))),
  );
}

// One value's share now as a bar, and in the baseline as a mark on it.
function shareBar(value, share, before, n) {
  const picture = svg("svg", { class: "share", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" }, svg("rect", { class: "rest", width: 100, height: 8 }), svg("rect", { class: "bar", width: (share * 100).toFixed(2), height: 8 }));
  if (before !== null) picture.append(svg("rect", { class: "before", x: Math.max(0, before * 100 - 0.5).toFixed(2), width: 1, height: 8 }));
  return h("div", { class: "share-line" }, h("span", { class: "value-name", title: value }, value), picture, h("span", { class: "number" }, percent(share)), h("span", { class: "quiet number" }, before === null ? count(n) : percent(before)));
}

function fieldRow(first) {
  const title = h("span", { class: "field-name" });
  const kind = h("span", { class: "quiet" });
  const picture = svg("svg", { class: "mini", viewBox: `0 0 ${SHAPES.small.width} ${SHAPES.small.height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const figures = h("span", { class: "field-figures" });
  const badge = h("span", { class: "badge" });
  const more = h("div", { class: "field-more" });
  const details = h("details", { ontoggle: () => fill() }, h("summary", null, title, kind, picture, figures, badge), more);
  let now = first;
  const fill = () => details.open && more.replaceChildren(...evidence(now));
  return {
    node: h("li", null, details),
    update(field) {
      now = field;
      put(title, field.name);
      put(kind, field.kind);
      const [tone, word] = VERDICTS[field.drift?.verdict] ?? ["", ""];
      put(badge, word);
      set(badge, "class", `badge ${tone}`);
      badge.hidden = !word;
      put(figures, summary(field));
      picture.replaceChildren(...miniature(field));
      fill();
    },
  };
}

function summary(field) {
  const missing = field.count ? field.missing / field.count : 0;
  const told = field.mean === null || field.mean === undefined ? (field.distinct === null || field.distinct === undefined ? "" : `${count(field.distinct)} distinct`) : `mean ${number(field.mean)}`;
  return [told, missing > 0 ? `${percent(missing)} missing` : ""].filter(Boolean).join(", ");
}

function miniature(field) {
  if (field.histogram?.counts?.length) return histogram(field.histogram, SHAPES.small).parts;
  if (!field.top?.length) return [];
  const entries = field.top.slice(0, 12);
  const baseline = entries.every(([, , before]) => before !== null) ? entries.map(([, , before]) => before) : null;
  return histogram({ edges: Array.from({ length: entries.length + 1 }, (_, index) => index), counts: entries.map(([, n]) => n), baseline }, SHAPES.small).parts;
}

function evidence(field) {
  const parts = [];
  if (field.drift?.explanation) parts.push(h("p", { class: "explanation" }, field.drift.explanation));
  if (field.histogram?.counts?.length) parts.push(largeHistogram(field));
  if (field.top?.length) parts.push(topValues(field));
  const drift = field.drift;
  const rows = [
    ["records", count(field.count)], ["missing", count(field.missing)], ["distinct", count(field.distinct)],
    ["min", number(field.min)], ["max", number(field.max)], ["mean", number(field.mean)], ["sd", number(field.sd)],
    ...(field.quantiles ?? []).map(([q, value]) => [`p${number(q * 100)}`, number(value)]),
    ...Object.entries(field.types ?? {}).map(([type, n]) => [`type ${type}`, count(n)]),
    ...(drift?.test ? verdictFacts(drift) : []),
  ].filter(([, value]) => value !== NOTHING);
  parts.push(h("dl", { class: "facts" }, rows.map(([term, value]) => h("div", null, h("dt", null, term), h("dd", null, value)))));
  return parts;
}

function verdictFacts(drift) {
  const isShare = drift.effect !== undefined; // of the values: how many moved, at least
  return [
    ["test", drift.test], ["statistic", number(drift.statistic)], ["p", number(drift.p_value)],
    ["moved", isShare ? percent(drift.effect) : NOTHING], ["threshold", isShare ? percent(drift.threshold) : number(drift.threshold)],
    ["since", drift.since ? moment(drift.since) : NOTHING],
  ];
}

function largeHistogram(field) {
  const shape = SHAPES.large;
  const made = histogram(field.histogram, shape);
  const tip = h("p", { class: "tip-line quiet" }, "Point at a bar to read it.");
  const { edges, counts, baseline } = field.histogram;
  const labels = [0, 0.25, 0.5, 0.75, 1].map((part) => h("span", null, number(edges[0] + part * (edges.at(-1) - edges[0]))));
  const picture = svg(
    "svg",
    {
      class: "distribution", viewBox: `0 0 ${shape.width} ${shape.height}`, role: "img",
      "aria-label": `Distribution of ${field.name}: ${count(field.count)} records between ${number(edges[0])} and ${number(edges.at(-1))}${baseline ? ", with the baseline as an outline" : ""}`,
      onpointermove: (event) => {
        const box = picture.getBoundingClientRect();
        const at = edges[0] + ((event.clientX - box.left) / box.width) * (edges.at(-1) - edges[0]);
        const index = Math.max(0, edges.findLastIndex((edge) => edge <= at));
        if (index >= counts.length) return;
        put(tip, `${number(edges[index])} to ${number(edges[index + 1])}: ${percent(made.shares.now[index])} now${made.shares.then ? `, ${percent(made.shares.then[index])} in the baseline` : ""}`);
      },
    },
    made.parts,
  );
  return h("div", null, picture, h("div", { class: "axis", "aria-hidden": "true" }, labels), tip);
}

function topValues(field) {
  const total = field.top.reduce((sum, [, n]) => sum + n, 0) || 1;
  const before = field.top.reduce((sum, [, , n]) => sum + (n ?? 0), 0);
  return h("div", { class: "class-bars" }, field.top.slice(0, 12).map(([value, n, base]) => shareBar(value, n / total, base === null || !before ? null : base / before, n)));
}
