// Lines over time with a crosshair that all charts of a group share, and small pictures beside names and fields.
//
// Each chart says in words what it shows (aria-label), and with the focus on it the arrows move the crosshair.

import { h, put, set, svg } from "./dom.js";
import { time, timeSeconds } from "./format.js";
import { area, lastKnown, path, thin, ticks, timeTicks } from "./scale.js";

const HEIGHT = 168;
const SIDES = { left: 52, right: 12, top: 10, bottom: 22 };
const MARK_REACH = 7;

// What the charts of one page share: the moment that is looked at, in seconds, or null.
export class Cursor {
  #listeners = new Set();
  at = null;

  move(at) {
    if (at === this.at) return;
    this.at = at;
    for (const listener of this.#listeners) listener();
  }

  listen(listener) {
    this.#listeners.add(listener);
  }
}

// series: [{label, name, kind: "area" | "line" | "step", tone, isRare}]. `name` is the timeline's column; a rare one is
// drawn only where it is not always 0. `format` writes values, `axis` those beside the axis.
// `nothing` is said where no value is known.
export function timeChart({ title, series, format, axis = format, cursor, isWhole = false, nothing = "No figures yet" }) {
  const plot = svg("svg", { class: "plot", role: "img", tabindex: "0", height: HEIGHT });
  const tip = h("div", { class: "tip", hidden: true });
  const said = h("span", { class: "hidden-text", "aria-live": "polite" });
  const legend = series.map((one) => ({
    ...one,
    value: h("b"),
  }));
  const empty = h("p", { class: "empty-plot" }, "No figures yet");
  const isKnown = (values) => values.some((value) => value !== null && value !== undefined);
  const node = h(
    "figure",
    { class: "chart" },
    h(
      "figcaption",
      null,
      h("h2", null, title),
      h(
        "span",
        { class: "legend" },
        legend.map((one) =>
          h("span", null, h("i", { class: `key ${one.tone}`, "aria-hidden": "true" }), `${one.label} `, one.value),
        ),
      ),
    ),
    h("div", { class: "plot-box" }, plot, tip, empty),
    said,
  );
  let data = null;
  let view = null;

  function draw() {
    const width = plot.clientWidth;
    if (!data || !width) return;
    const columns = series.map((one) => data.columns[one.name] ?? []);
    const n = columns[0].length;
    empty.hidden = n > 1 && columns.some(isKnown);
    put(empty, n > 1 ? nothing : "No figures yet");
    const from = data.start;
    const to = data.start + data.step * Math.max(1, n - 1);
    const inner = { width: width - SIDES.left - SIDES.right, height: HEIGHT - SIDES.top - SIDES.bottom };
    const every = Math.max(1, Math.floor(n / inner.width));
    const highest = Math.max(0, ...columns.map((values) => values.reduce((most, each) => Math.max(most, each ?? 0), 0)));
    const marks = ticks(highest, isWhole);
    const top = marks.at(-1);
    const x = (index) => SIDES.left + (index * every * data.step * inner.width) / (to - from);
    const y = (value) => SIDES.top + inner.height * (1 - value / top);
    view = { x: (at) => SIDES.left + ((at - from) * inner.width) / (to - from), y, from, to, inner, columns, n };
    const parts = [];
    for (const value of marks) {
      parts.push(
        svg("line", { class: "grid", x1: SIDES.left, x2: width - SIDES.right, y1: y(value), y2: y(value) }),
        label(axis(value), SIDES.left - 8, y(value) + 4, "end"),
      );
    }
    const moments = timeTicks(from, to, Math.max(2, Math.floor(inner.width / 90)));
    for (const at of moments.at) {
      const left = view.x(at);
      if (left < SIDES.left + 14 || left > width - (moments.step < 60 ? 34 : 22)) continue;
      parts.push(label(moments.step < 60 ? timeSeconds(at) : time(at), left, HEIGHT - 5, "middle"));
    }
    for (const mark of data.marks ?? []) {
      if (mark.at < from || mark.at > to) continue;
      const left = view.x(mark.at).toFixed(1);
      parts.push(
        svg("line", { class: "mark", x1: left, x2: left, y1: SIDES.top, y2: HEIGHT - SIDES.bottom }),
        svg("circle", { class: "mark-dot", cx: left, cy: y(Math.min(mark.value, top)).toFixed(1), r: 3.5 }),
      );
    }
    series.forEach((one, index) => {
      const values = thin(columns[index], every);
      if (one.isRare && !values.some((value) => value > 0)) return;
      if (one.kind === "area") parts.push(svg("path", { class: `area ${one.tone}`, d: area(values, x, y) }));
      parts.push(svg("path", { class: `line ${one.tone}`, d: path(values, x, y, one.kind === "step") }));
    });
    cross = svg("g", { class: "cross" });
    parts.push(cross);
    plot.replaceChildren(...parts);
    set(plot, "viewBox", `0 0 ${width} ${HEIGHT}`);
    set(plot, "aria-label", describe());
    look();
  }

  let cross = null;

  function label(text, x, y, anchor) {
    const node = svg("text", { class: "tick", x, y, "text-anchor": anchor });
    node.textContent = text;
    return node;
  }

  function describe() {
    const minutes = Math.round((view.to - view.from) / 60);
    const told = series.map((one, index) => {
      const values = view.columns[index].filter((value) => value !== null);
      if (!values.length) return `${one.label}: none`;
      const low = Math.min(...values);
      const high = Math.max(...values);
      return `${one.label}: now ${format(values.at(-1))}, between ${format(low)} and ${format(high)}`;
    });
    return `${title}, the last ${minutes || 1} minutes. ${told.join(". ")}. Arrow keys read single moments.`;
  }

  const indexAt = (at) => Math.max(0, Math.min(view.n - 1, Math.round((at - view.from) / data.step)));

  function look() {
    if (!view || !cross) return;
    const isLooking = cursor.at !== null && view.n > 1 && cursor.at >= view.from - data.step && cursor.at <= view.to + data.step;
    const index = isLooking ? indexAt(cursor.at) : null;
    legend.forEach((one, number) => {
      const values = view.columns[number];
      put(one.value, format(isLooking ? values[index] : lastKnown(values)));
    });
    cross.replaceChildren();
    tip.hidden = true;
    if (!isLooking) return;
    const at = view.from + index * data.step;
    const left = view.x(at);
    cross.append(svg("line", { x1: left, x2: left, y1: SIDES.top, y2: HEIGHT - SIDES.bottom }));
    series.forEach((one, number) => {
      const value = view.columns[number][index];
      if (value === null || value === undefined || (one.isRare && value === 0)) return;
      cross.append(svg("circle", { class: `point ${one.tone}`, cx: left, cy: view.y(value), r: 3.5 }));
    });
    if (isHere) showTip(at, index, left);
  }

  let isHere = false; // whether the pointer or the focus is on this one of the charts

  function showTip(at, index, left) {
    const rows = series.map((one, number) =>
      h("div", null, h("i", { class: `key ${one.tone}` }), h("span", null, one.label), h("b", null, format(view.columns[number][index]))),
    );
    const near = (data.marks ?? []).filter((mark) => Math.abs(view.x(mark.at) - left) <= MARK_REACH);
    tip.replaceChildren(h("time", null, timeSeconds(at)), ...rows, ...near.map((mark) => h("p", null, mark.text)));
    tip.hidden = false;
    const room = plot.clientWidth;
    const width = tip.offsetWidth;
    tip.style.left = `${Math.max(0, left + width + 16 > room ? left - width - 12 : left + 12)}px`;
  }

  function point(event) {
    if (!view) return;
    isHere = true;
    const left = event.clientX - plot.getBoundingClientRect().left;
    cursor.move(view.from + ((left - SIDES.left) * (view.to - view.from)) / view.inner.width);
  }

  function leave() {
    isHere = false;
    tip.hidden = true;
    cursor.move(null);
  }

  plot.addEventListener("pointermove", point);
  plot.addEventListener("pointerdown", point);
  plot.addEventListener("pointerleave", leave);
  plot.addEventListener("blur", leave);
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !view || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    isHere = true;
    const now = cursor.at === null ? view.n : indexAt(cursor.at);
    const index = Math.max(0, Math.min(view.n - 1, now + step * (event.shiftKey ? 10 : 1)));
    cursor.move(view.from + index * data.step);
    const told = series.map((one, number) => `${one.label} ${format(view.columns[number][index])}`);
    put(said, `${timeSeconds(view.from + index * data.step)}: ${told.join(", ")}`);
  });
  cursor.listen(look);
  new ResizeObserver(draw).observe(plot);

  return {
    node,
    // timeline: {start, step_s, columns}; marks: [{at, value, text}]
    update(timeline, marks) {
      data = { start: timeline.start, step: timeline.step_s, columns: timeline, marks };
      draw();
    },
  };
}

const SPARK = { width: 132, height: 30 };

export function sparkline() {
  const filled = svg("path", { class: "area accent" });
  const line = svg("path", { class: "line accent" });
  const errors = svg("path", { class: "line bad" });
  const node = svg(
    "svg",
    { class: "spark", viewBox: `0 0 ${SPARK.width} ${SPARK.height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    filled, line, errors,
  );
  return {
    node,
    update(spark) {
      const values = spark?.requests_per_s ?? [];
      const wrong = spark?.errors_per_s ?? [];
      const top = Math.max(...values, 0.001);
      const x = (index) => (index * SPARK.width) / Math.max(1, values.length - 1);
      const y = (value) => SPARK.height - 2 - (value / top) * (SPARK.height - 4);
      set(filled, "d", values.length > 1 ? area(values, x, y) : "");
      const isFlat = values.length < 2 || values.every((value) => value === 0);
      set(line, "class", isFlat ? "line nothing" : "line accent");
      set(line, "d", isFlat ? `M0 ${y(0)}H${SPARK.width}` : path(values, x, y));
      set(errors, "d", wrong.some((value) => value > 0) ? path(wrong, x, y) : "");
    },
  };
}

// Bars of now, and the outline of the baseline, both as shares of their own total.
export function histogram({ edges, counts, baseline }, { width, height }) {
  const share = (values) => {
    const total = values.reduce((sum, each) => sum + each, 0) || 1;
    return values.map((value) => value / total);
  };
  const now = share(counts);
  const then = baseline ? share(baseline) : null;
  const top = Math.max(...now, ...(then ?? [0]), 0.0001);
  const bottom = height - 1;
  const y = (value) => bottom - (value / top) * (bottom - 3);
  const low = edges[0];
  const reach = edges.at(-1) - low || 1;
  const x = (edge) => ((edge - low) / reach) * width;
  const parts = now.map((value, index) =>
    svg("rect", {
      class: "bar",
      x: (x(edges[index]) + 0.5).toFixed(1),
      width: Math.max(0.6, x(edges[index + 1]) - x(edges[index]) - 1).toFixed(1),
      y: y(value).toFixed(1),
      height: Math.max(0, bottom - y(value)).toFixed(1),
    }),
  );
  if (then) {
    let line = `M0 ${bottom}`;
    then.forEach((value, index) => {
      line += `H${x(edges[index]).toFixed(1)}V${y(value).toFixed(1)}H${x(edges[index + 1]).toFixed(1)}`;
    });
    parts.push(svg("path", { class: "baseline", d: `${line}V${bottom}` }));
  }
  return { parts, x, y, bottom, shares: { now, then } };
}

export { SIDES };
