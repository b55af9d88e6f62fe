// Log lines as they are written: a window of the newest, a filter, a pause.

import { api, objects, whileSeen } from "./api.js";
import { h, put, set } from "./dom.js";
import { count, NOTHING } from "./format.js";

const KEPT = 3000; // lines in memory
const SHOWN = 600; // of those that match, in the page
const SHORT = { WARNING: "WARN", CRITICAL: "CRIT" };
const LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR"];
const DRAW_MS = 120; // a burst of lines is one change of the page

export function logsTab({ name, listeners, api: first, signal }) {
  const lines = [];
  const waiting = []; // arrived while paused
  const items = h("ol");
  const list = h("div", { class: "log", tabindex: "0", "aria-label": "Log lines, newest last", role: "log", "aria-live": "off" }, items);
  const search = h("input", { type: "search", placeholder: "Filter by text, replica or request id", "aria-label": "Filter lines", spellcheck: "false", oninput: () => draw(true) });
  const level = h("select", { "aria-label": "Lowest level", onchange: () => draw(true) }, [["", "All levels"], ["INFO", "Info and above"], ["WARNING", "Warnings and errors"], ["ERROR", "Errors"]].map(([value, text]) => h("option", { value }, text)));
  const replica = h("select", { "aria-label": "Replica", onchange: () => draw(true) }, h("option", { value: "" }, "All replicas"));
  const pause = h("button", { class: "button", type: "button", "aria-pressed": "false", onclick: () => toggle() }, "Pause");
  const told = h("span", { class: "quiet", role: "status" });
  const jump = h("button", { class: "jump", type: "button", hidden: true, onclick: () => follow() }, "Newest lines ↓");
  const empty = h("p", { class: "quiet none" }, "No lines of the last ten minutes. New ones appear here.");
  const node = h(
    "section",
    { class: "logs" },
    h("div", { class: "tools" }, search, level, replica, pause, told),
    h("div", { class: "log-box" }, list, empty, jump),
  );
  let isPaused = false;
  let isFollowing = true;
  let newest = null; // the moment of the newest line, to go on from after a gap
  let seenAt = new Set(); // lines of that very moment, so that none is shown twice
  let timer = 0;
  let drawn = []; // {line, node}

  function matches(line) {
    const least = LEVELS.indexOf(level.value);
    if (least > 0 && LEVELS.indexOf(line.level) < least && !(line.level === "CRITICAL")) return false;
    if (replica.value && line.replica !== replica.value) return false;
    const query = search.value.trim().toLowerCase();
    return !query || `${line.message} ${line.replica} ${line.request_id ?? ""} ${line.level}`.toLowerCase().includes(query);
  }

  function draw(isAnew = false) {
    timer = 0;
    if (isAnew) {
      drawn = [];
      items.replaceChildren();
    }
    const last = drawn.at(-1)?.line;
    const from = last ? lines.indexOf(last) + 1 : 0;
    const fresh = lines.slice(from).filter(matches).slice(-SHOWN);
    const nodes = fresh.map((line) => ({ line, node: toRow(line) }));
    items.append(...nodes.map((one) => one.node));
    drawn.push(...nodes);
    for (const old of drawn.splice(0, Math.max(0, drawn.length - SHOWN))) old.node.remove();
    empty.hidden = drawn.length > 0;
    put(empty, lines.length ? "No line matches." : "No lines of the last ten minutes. New ones appear here.");
    const hidden = waiting.length;
    put(told, isPaused ? `Paused, ${count(hidden)} new` : `${count(drawn.length)} of ${count(lines.length)} lines`);
    if (isFollowing && !isPaused) list.scrollTop = list.scrollHeight;
  }

  function later() {
    timer ||= setTimeout(draw, DRAW_MS);
  }

  function take(line) {
    if (line.error) return;
    const mark = `${line.replica} ${line.message}`;
    if (newest !== null && line.time < newest) return;
    if (line.time === newest && seenAt.has(mark)) return;
    if (line.time !== newest) seenAt = new Set();
    newest = line.time;
    seenAt.add(mark);
    (isPaused ? waiting : lines).push(line);
    if (waiting.length > KEPT) waiting.shift();
    if (lines.length > KEPT) lines.splice(0, lines.length - KEPT);
    later();
  }

  function toggle() {
    isPaused = !isPaused;
    set(pause, "aria-pressed", String(isPaused));
    put(pause, isPaused ? "Go on" : "Pause");
    if (!isPaused) {
      lines.push(...waiting.splice(0));
      if (lines.length > KEPT) lines.splice(0, lines.length - KEPT);
    }
    draw();
  }

  function follow() {
    isFollowing = true;
    jump.hidden = true;
    list.scrollTop = list.scrollHeight;
  }

  list.addEventListener("scroll", () => {
    isFollowing = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    jump.hidden = isFollowing;
  });

  function showReplicas(found) {
    const ids = found.replica_list.map((one) => one.id);
    const known = [...replica.options].map((one) => one.value);
    for (const id of ids) if (!known.includes(id)) replica.append(h("option", { value: id }, id));
  }

  function since() {
    const gap_s = newest === null ? 600 : Math.max(1, (Date.now() - Date.parse(newest)) / 1000 + 1);
    return `${api(name, "/logs")}?follow=1&since=${Math.ceil(gap_s)}s`;
  }

  listeners.add(showReplicas);
  showReplicas(first);
  whileSeen((seen) => objects(since, { object: take }, seen), signal);
  signal.addEventListener("abort", () => clearTimeout(timer));

  return {
    node,
    find: () => search.focus(),
    key: (event) => {
      if (event.key === "p") toggle();
      else if (event.key === "/") search.focus();
      else return false;
      return true;
    },
  };
}

function toRow(line) {
  const at = new Date(line.time);
  const when = Number.isNaN(at.getTime()) ? NOTHING : at.toTimeString().slice(0, 8);
  return h(
    "li",
    { "data-level": line.level },
    h("time", { datetime: line.time, title: line.time }, when),
    h("span", { class: "level" }, SHORT[line.level] ?? line.level.slice(0, 5)),
    h("span", { class: "from", title: `${line.replica}, revision ${line.revision}${line.request_id ? `, request ${line.request_id}` : ""}` }, line.replica),
    h("span", { class: "message" }, line.message, line.request_id ? h("span", { class: "request-id" }, line.request_id.slice(0, 8)) : null),
  );
}
