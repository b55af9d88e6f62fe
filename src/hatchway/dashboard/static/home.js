// What is known of all APIs, for whoever shows it: kept up to date by one stream, and told of on change.

import { ask, events, poll, whileSeen } from "./api.js";

const SPARKLINES_S = 4;

export const home = {
  apis: new Map(),
  sparks: {},
  status: null, // of the engine and the gateway
  isKnown: false, // whether the list was ever read
  connection: "connecting", // "live", "lost"
};

const listeners = new Set();

export function listen(listener, signal) {
  listeners.add(listener);
  signal.addEventListener("abort", () => listeners.delete(listener));
  listener("all");
}

function tell(what, detail) {
  for (const listener of listeners) listener(what, detail);
}

export function sorted() {
  return [...home.apis.values()].sort((one, other) => one.name.localeCompare(other.name, "en"));
}

function connection(state) {
  if (home.connection === state) return;
  home.connection = state;
  tell("connection");
}

function read(news) {
  const before = new Map(home.apis);
  if (news.is_all) home.apis.clear();
  for (const one of news.apis) home.apis.set(one.name, one);
  for (const name of news.gone) home.apis.delete(name);
  const first = !home.isKnown;
  home.isKnown = true;
  if (!first) {
    for (const one of news.apis) {
      if (before.get(one.name)?.status !== one.status) tell("phase", one);
    }
    for (const name of before.keys()) if (!home.apis.has(name)) tell("gone", name);
  }
  tell("apis");
}

export function start(signal) {
  whileSeen((seen) => {
    events(
      "/v1/watch",
      {
        open: async () => {
          connection("live");
          home.status = await ask("/v1/status").catch(() => home.status);
          tell("status");
        },
        event: (name, data) => name === "apis" && read(data),
        lost: () => connection("lost"),
      },
      seen,
    );
  }, signal);
}

export function followSparklines(signal) {
  poll(async () => {
    home.sparks = await ask("/v1/timelines", { signal });
    tell("sparks");
  }, SPARKLINES_S, signal);
}
