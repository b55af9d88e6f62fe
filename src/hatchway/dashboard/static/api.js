// The control API: questions, and streams that come back by themselves when the engine was away.

const FIRST_PAUSE_MS = 300;
const LONGEST_PAUSE_MS = 3000;
const SILENCE_MS = 7000; // the engine says something every two seconds

export class ApiError extends Error {
  constructor(status, error) {
    super(error?.message ?? `the engine answered ${status}`);
    this.status = status;
    this.kind = error?.kind ?? "error";
    this.hint = error?.hint ?? null;
  }
}

export const api = (name, rest = "") => `/v1/apis/${encodeURIComponent(name)}${rest}`;

export async function ask(path, { method = "GET", body, signal } = {}) {
  const headers = body === undefined ? {} : { "content-type": "application/json" };
  const answer = await fetch(path, {
    method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!answer.ok) throw await failure(answer);
  return answer.json();
}

// Lines of JSON that end: of an answer that does not go on.
export async function askLines(path, signal) {
  const answer = await fetch(path, { signal });
  if (!answer.ok) throw await failure(answer);
  return (await answer.text()).split("\n").filter(Boolean).map((line) => JSON.parse(line));
}

async function failure(answer) {
  const content = await answer.json().catch(() => null);
  if (answer.status === 401) dispatchEvent(new Event("signed-out"));
  return new ApiError(answer.status, content?.error);
}

// Asks again and again until `signal` aborts. `paths` may change with each connection. on.line(text), on.open(),
// on.lost(). Ends on an answer that will not get better (404, 401): on.end(error).
async function lines(path, on, signal) {
  let pause = FIRST_PAUSE_MS;
  while (!signal.aborted) {
    const quiet = new AbortController();
    const stop = () => quiet.abort();
    signal.addEventListener("abort", stop);
    let watchdog = setTimeout(stop, SILENCE_MS);
    try {
      const answer = await fetch(typeof path === "function" ? path() : path, { signal: quiet.signal });
      if (!answer.ok) throw await failure(answer);
      on.open?.();
      pause = FIRST_PAUSE_MS;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        clearTimeout(watchdog);
        watchdog = setTimeout(stop, SILENCE_MS);
        const found = (rest + value).split("\n");
        rest = found.pop();
        for (const line of found) on.line(line);
      }
    } catch (error) {
      if (error instanceof ApiError && error.status < 500) {
        on.end?.(error);
        return;
      }
    } finally {
      clearTimeout(watchdog);
      signal.removeEventListener("abort", stop);
    }
    if (signal.aborted || on.isOver?.()) return;
    on.lost?.();
    await sleep(pause, signal);
    pause = Math.min(pause * 1.6, LONGEST_PAUSE_MS);
  }
}

export function events(path, on, signal) {
  let name = "";
  let over = false;
  return lines(
    path,
    {
      ...on,
      isOver: () => over,
      line: (line) => {
        if (line.startsWith("event: ")) name = line.slice(7);
        else if (line.startsWith("data: ")) {
          over ||= name === "deleted";
          on.event(name, JSON.parse(line.slice(6)));
        }
      },
    },
    signal,
  );
}

export function objects(path, on, signal) {
  return lines(path, { ...on, line: (line) => line && on.object(JSON.parse(line)) }, signal);
}

export function sleep(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(done, milliseconds);
    function done() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    }
    signal?.addEventListener("abort", done);
  });
}

// Calls `look` now and every `seconds` while the page is seen; what fails is tried again the next time.
export async function poll(look, seconds, signal) {
  while (!signal.aborted) {
    if (document.visibilityState === "visible") {
      try {
        await look();
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof ApiError) && !(error instanceof TypeError)) throw error;
      }
    }
    await sleep((typeof seconds === "function" ? seconds() : seconds) * 1000, signal);
  }
}

// Runs `connect(signal)` while the page is seen: a browser has six connections to one server, for all its tabs.
export function whileSeen(connect, signal) {
  let running = null;
  const look = () => {
    const seen = document.visibilityState === "visible" && !signal.aborted;
    if (seen && !running) {
      running = new AbortController();
      connect(running.signal);
    } else if (!seen && running) {
      running.abort();
      running = null;
    }
  };
  document.addEventListener("visibilitychange", look);
  signal.addEventListener("abort", () => {
    document.removeEventListener("visibilitychange", look);
    running?.abort();
  });
  look();
}
