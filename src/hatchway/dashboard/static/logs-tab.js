// Log lines as they are written: the newest, older ones on demand, filters, a pause.
//
// The engine filters. Each answer is limited in size: of much that is new only the newest lines come, and what was left
// out is said.

import { api, ApiError, askLines, objects, whileSeen } from "./api.js";
import { notice } from "./dialogs.js";
import { h, put, set } from "./dom.js";
import { count, NOTHING } from "./format.js";

const KEPT = 1000; // lines in the page, while new ones come
const ANSWER_BYTES = 128 * 1024;
const OVERLAP_MS = 1000; // lines of several replicas come in the order of time only nearly
const SHORT = { WARNING: "WARN", CRITICAL: "CRIT" };
const LEVELS = [["", "All levels"], ["info", "Info and above"], ["warning", "Warnings and errors"], ["error", "Errors"]];
const DRAW_MS = 120; // a burst of lines is one change of the page
const TYPING_MS = 250; // how long a pause in typing is its end
const GAP = { gap: true };

export function logsTab({ name, listeners, api: first, signal }) {
  const items = h("ol");
  const older = h("button", { class: "older", type: "button", hidden: true, onclick: () => readOlder() }, "Older lines");
  const begin = h("p", { class: "quiet begin", hidden: true }, "Older lines are not kept, or there are none.");
  const list = h("div", { class: "log", tabindex: "0", "aria-label": "Log lines, newest last", role: "log", "aria-live": "off" }, older, begin, items);
  const search = h("input", { type: "search", placeholder: "Filter by text or request id", "aria-label": "Filter lines", spellcheck: "false", oninput: () => laterAnew() });
  const level = h("select", { "aria-label": "Lowest level", onchange: () => anew() }, LEVELS.map(([value, text]) => h("option", { value }, text)));
  const replica = h("select", { "aria-label": "Replica", onchange: () => anew() }, h("option", { value: "" }, "All replicas"));
  const pause = h("button", { class: "button", type: "button", "aria-pressed": "false", onclick: () => toggle() }, "Pause");
  const told = h("span", { class: "quiet told" });
  const jump = h("button", { class: "jump", type: "button", hidden: true, onclick: () => follow() }, "Newest lines ↓");
  const empty = h("p", { class: "quiet none", hidden: true });
  const node = h(
    "section",
    { class: "logs" },
    h("div", { class: "tools" }, search, level, replica, pause, told),
    h("div", { class: "log-box" }, list, empty, jump),
  );
  let rows = []; // {line, node}, oldest first: what is in the page
  let fresh = []; // lines that are not in the page yet
  let newest = null; // the moment of the newest line, to go on from after a gap
  let recent = new Map(); // lines of the last second and how often they came, so that none is shown twice
  let again = new Map(); // those that the present answer tells once more
  let isPaused = false;
  let isFollowing = true;
  let isAnswered = false;
  let timer = 0;
  let typing = 0;
  let round = new AbortController();

  const markOf = (line) => `${line.time} ${line.replica} ${line.message}`;

  function wanted(more) {
    const filters = { level: level.value, replica: replica.value, text: search.value.trim(), ...more, max_bytes: ANSWER_BYTES };
    return `${api(name, "/logs")}?${new URLSearchParams(Object.entries(filters).filter(([, value]) => value !== ""))}`;
  }

  // --- what comes ----------------------------------------------------------------------------------------
  function connect() {
    const ended = round.signal;
    let isFirst = false;
    whileSeen((seen) => {
      objects(
        () => wanted({ follow: 1, since: newest === null ? "" : new Date(Date.parse(newest) - OVERLAP_MS).toISOString() }),
        {
          open: () => {
            again = new Map(recent);
            isFirst = newest !== null;
            isAnswered = true;
            later();
          },
          object: (line) => {
            if (line.error || ended.aborted) return;
            if (isFirst && line.time > newest) fresh.push(GAP);
            isFirst = false;
            take(line);
          },
        },
        seen,
      );
    }, ended);
  }

  function take(line) {
    const mark = markOf(line);
    const left = again.get(mark) ?? 0;
    if (left > 0) {
      again.set(mark, left - 1);
      return;
    }
    // What a handler writes in our form may have any text as its time.
    if (isMoment(line) && (newest === null || line.time > newest)) {
      newest = line.time;
      const from = Date.parse(newest) - OVERLAP_MS;
      if (recent.size > 200) recent = new Map([...recent].filter(([known]) => Date.parse(known.slice(0, known.indexOf(" "))) >= from));
    }
    recent.set(mark, (recent.get(mark) ?? 0) + 1);
    fresh.push(line);
    if (fresh.length > KEPT) fresh.splice(0, fresh.length - KEPT, GAP);
    later();
  }

  function anew() {
    clearTimeout(typing);
    typing = 0;
    round.abort();
    round = new AbortController();
    rows = [];
    fresh = [];
    newest = null;
    recent = new Map();
    isAnswered = false;
    items.replaceChildren();
    older.hidden = true;
    begin.hidden = true;
    isFollowing = true;
    if (isPaused) toggle();
    connect();
    draw();
  }

  function laterAnew() {
    clearTimeout(typing);
    typing = setTimeout(anew, TYPING_MS);
  }

  async function readOlder() {
    const oldest = rows.find(({ line }) => line !== GAP && isMoment(line))?.line;
    if (!oldest) return;
    if (!isPaused) toggle();
    older.disabled = true;
    const ended = round.signal;
    try {
      const found = await askLines(wanted({ until: new Date(Date.parse(oldest.time) + 1).toISOString() }), ended);
      const known = new Set(rows.filter(({ line }) => line.time === oldest.time).map(({ line }) => markOf(line)));
      const lines = found.filter((line) => !line.error && !known.has(markOf(line)));
      const above = lines.map((line) => ({ line, node: toRow(line) }));
      const before = list.scrollHeight - list.scrollTop;
      items.prepend(...above.map((one) => one.node));
      rows.unshift(...above);
      list.scrollTop = list.scrollHeight - before;
      older.hidden = above.length === 0;
      begin.hidden = above.length > 0;
    } catch (error) {
      if (ended.aborted) return;
      if (!(error instanceof ApiError) && !(error instanceof TypeError)) throw error;
      notice(`Older lines: ${error.message}`, "bad");
    } finally {
      older.disabled = false;
    }
    draw();
  }

  // --- what is shown -------------------------------------------------------------------------------------
  function draw() {
    timer = 0;
    if (!isPaused && fresh.length) {
      const added = fresh.splice(0).map((line) => ({ line, node: toRow(line) }));
      items.append(...added.map((one) => one.node));
      rows.push(...added);
      for (const { line } of added) if (line !== GAP) nameReplica(line.replica);
      if (isFollowing && rows.length > KEPT) {
        for (const old of rows.splice(0, rows.length - KEPT)) old.node.remove();
        begin.hidden = true;
      }
      older.hidden = !begin.hidden;
    }
    empty.hidden = rows.length > 0 || !isAnswered;
    const isFiltered = search.value.trim() || level.value || replica.value;
    put(empty, isFiltered ? "No line matches. New ones that do appear here." : "Nothing was logged yet. New lines appear here.");
    put(told, isPaused ? `Paused, ${count(fresh.length)}${fresh[0] === GAP ? "+" : ""} new` : rows.length ? `${count(rows.length)} lines` : "");
    if (isFollowing && !isPaused) list.scrollTop = list.scrollHeight;
  }

  function later() {
    timer ||= setTimeout(draw, DRAW_MS);
  }

  function toggle() {
    isPaused = !isPaused;
    set(pause, "aria-pressed", String(isPaused));
    put(pause, isPaused ? "Go on" : "Pause");
    if (!isPaused) follow();
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

  // A request's id in a line: its lines alone.
  items.addEventListener("click", (event) => {
    const id = event.target.closest?.(".request-id")?.dataset.id;
    if (!id) return;
    search.value = id;
    anew();
    search.focus();
  });

  function nameReplica(id) {
    if (![...replica.options].some((one) => one.value === id)) replica.append(h("option", { value: id }, id));
  }

  const showReplicas = (found) => found.replica_list.forEach((one) => nameReplica(one.id));
  listeners.add(showReplicas);
  showReplicas(first);
  connect();
  signal.addEventListener("abort", () => {
    round.abort();
    clearTimeout(timer);
    clearTimeout(typing);
  });

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

const isMoment = (line) => !Number.isNaN(Date.parse(line.time));

function toRow(line) {
  if (line === GAP) return h("li", { class: "gap" }, h("span", { class: "message" }, "Lines were left out here: they came faster than a page can show them. hatchway logs has them all."));
  const at = new Date(line.time);
  const when = Number.isNaN(at.getTime()) ? NOTHING : at.toTimeString().slice(0, 8);
  const id = line.request_id;
  return h(
    "li",
    { "data-level": line.level },
    h("time", { datetime: line.time, title: line.time }, when),
    h("span", { class: "level" }, SHORT[line.level] ?? line.level.slice(0, 5)),
    h("span", { class: "from", title: `${line.replica}, revision ${line.revision}` }, line.replica),
    h(
      "span",
      { class: "message" },
      line.message,
      // Not a stop of the Tab key, or there would be a thousand: the filter takes the id, too.
      id && h("button", { class: "request-id", type: "button", tabindex: "-1", "data-id": id, title: `Only request ${id}` }, id.slice(0, 8)),
    ),
  );
}
