// A request by hand. The engine sends it through the gateway: a page may not ask another origin.

import { api, ApiError, ask } from "./api.js";
import { copy } from "./dialogs.js";
import { h, put, set } from "./dom.js";
import { bytes, ms } from "./format.js";

const JSON_TYPE = "application/json";
const METHODS = ["POST", "GET", "PUT", "PATCH", "DELETE"];
const kept = new Map(); // what was written for each API, while other pages are shown

export function tryTab({ name, api: found, signal }) {
  const handler = found.spec.handler ?? {};
  const written = kept.get(name) ?? {};
  const method = h("select", { "aria-label": "Method", onchange: changed }, METHODS.map((one) => h("option", { value: one }, one)));
  const path = h("input", { type: "text", "aria-label": "Path below the endpoint", placeholder: "/ and ? go below the endpoint", spellcheck: "false", oninput: changed });
  const type = h("input", { type: "text", "aria-label": "Content type", list: "types", spellcheck: "false", oninput: changed });
  const body = h("textarea", { "aria-label": "Body", rows: 12, spellcheck: "false", oninput: changed, onkeydown: (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && send() });
  const file = h("input", { type: "file", "aria-label": "Send a file as the body", onchange: changed });
  const note = h("p", { class: "wrong", role: "status" });
  const button = h("button", { class: "button main", type: "button", onclick: send }, "Send");
  const curl = h("code");
  const copyButton = h("button", { class: "quiet-button", type: "button", onclick: () => copy(curl.textContent, copyButton) }, "Copy");
  const answer = h("div", { class: "answer" }, h("p", { class: "quiet" }, "The answer appears here."));
  const outcome = h("div", { class: "outcome-line", role: "status", "aria-live": "polite" });

  method.value = written.method ?? (handler.app ? "GET" : "POST");
  path.value = written.path ?? (handler.app ? "/" : "");
  type.value = written.type ?? JSON_TYPE;
  const example = handler.example ?? handler.warmup ?? null;
  body.value = written.body ?? (example === null ? "" : JSON.stringify(example, null, 2));

  const node = h(
    "div",
    { class: "columns try" },
    h(
      "section",
      { class: "card" },
      h("h2", null, "Request"),
      h("div", { class: "address" }, method, h("code", { title: found.endpoint }, new URL(found.endpoint).pathname), path),
      h("div", { class: "line" }, h("label", null, "Content type", type, h("datalist", { id: "types" }, [JSON_TYPE, "text/plain", "text/csv", "application/octet-stream"].map((one) => h("option", { value: one })))), h("label", null, "or a file", file)),
      body,
      note,
      h("div", { class: "buttons" }, button, h("span", { class: "quiet" }, h("kbd", null, "Ctrl"), " ", h("kbd", null, "Enter"))),
      h("h3", null, "The same with curl"),
      h("div", { class: "copyable" }, h("pre", { tabindex: "0" }, curl), copyButton),
    ),
    h("section", { class: "card" }, h("h2", null, "Answer"), outcome, answer),
  );

  function request() {
    const hasBody = method.value !== "GET";
    return { method: method.value, path: path.value, headers: hasBody && type.value ? { "content-type": type.value } : {}, body: hasBody ? body.value : null };
  }

  function changed() {
    kept.set(name, { method: method.value, path: path.value, type: type.value, body: body.value });
    const hasBody = method.value !== "GET";
    body.disabled = !hasBody || file.files.length > 0;
    let wrong = "";
    if (hasBody && !file.files.length && type.value === JSON_TYPE && body.value.trim()) {
      try {
        JSON.parse(body.value);
      } catch (error) {
        wrong = `Not JSON: ${error.message}`;
      }
    }
    put(note, wrong);
    set(body, "aria-invalid", wrong ? "true" : null);
    put(curl, curlLine(found.endpoint, request(), file.files[0]?.name));
  }

  async function send() {
    button.disabled = true;
    put(outcome, "Sending …");
    try {
      const asked = request();
      if (file.files.length && asked.method !== "GET") {
        asked.body = null;
        asked.body_base64 = await toBase64(file.files[0]);
      }
      show(await ask(api(name, "/request"), { method: "POST", body: asked, signal }));
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError) && !(error instanceof TypeError)) throw error;
      outcome.replaceChildren(h("b", { class: "code-badge bad" }, "Not sent"));
      answer.replaceChildren(h("p", { class: "wrong" }, [error.message, error.hint].filter(Boolean).join(". ")));
    }
    button.disabled = false;
  }

  function show(got) {
    const tone = got.status < 300 ? "good" : got.status < 500 ? "warn" : "bad";
    const type = got.headers.find(([header]) => header === "content-type")?.[1] ?? "";
    const size = got.body === null ? (got.body_base64.length * 3) / 4 : new TextEncoder().encode(got.body).length;
    outcome.replaceChildren(
      h("b", { class: `code-badge ${tone}` }, String(got.status)),
      h("span", null, ms(got.took_ms)),
      h("span", { class: "quiet" }, `${bytes(size)}${got.is_cut ? ", cut here" : ""}`),
      h("span", { class: "quiet mono", title: "x-request-id" }, got.request_id),
    );
    answer.replaceChildren(
      toBody(got, type),
      h("details", null, h("summary", null, `Headers (${got.headers.length})`), h("dl", { class: "headers" }, got.headers.map(([header, value]) => [h("dt", null, header), h("dd", null, value)]))),
    );
  }

  changed();
  if (example === null && !written.body && !handler.app) prefill();

  async function prefill() {
    const got = await ask(api(name, "/request"), { method: "POST", body: { method: "GET", path: "/openapi.json" }, signal }).catch(() => null);
    if (!got || got.status !== 200 || got.is_cut || body.value) return;
    const value = exampleOf(got.body);
    if (value === undefined) return;
    body.value = JSON.stringify(value, null, 2);
    changed();
  }

  return { node };
}

function toBody(got, type) {
  if (got.body === null) {
    if (/^image\/(png|jpeg|webp|gif)/.test(type)) return h("img", { src: `data:${type.split(";")[0]};base64,${got.body_base64}`, alt: "The image that was answered" });
    return h("p", { class: "quiet" }, `${type || "Bytes"}, not shown.`);
  }
  let text = got.body;
  if (type.includes("json")) {
    try {
      text = JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      // Cut, or not what it says: shown as it came.
    }
  }
  return h("pre", { class: "body", tabindex: "0" }, text || "(empty)");
}

async function toBase64(file) {
  const content = new Uint8Array(await file.arrayBuffer());
  let text = "";
  for (let index = 0; index < content.length; index += 32768) text += String.fromCharCode(...content.subarray(index, index + 32768));
  return btoa(text);
}

const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`);

export function curlLine(endpoint, request, file) {
  const parts = ["curl", quoted(endpoint + request.path)];
  if (request.method !== (request.body === null ? "GET" : "POST")) parts.push("-X", request.method);
  for (const [header, value] of Object.entries(request.headers)) parts.push("-H", quoted(`${header}: ${value}`));
  if (file) parts.push("--data-binary", quoted(`@${file}`));
  else if (request.body !== null) parts.push(request.body.startsWith("@") ? "--data-raw" : "-d", quoted(compact(request.body)));
  return parts.join(" ");
}

function compact(text) {
  try {
    return JSON.stringify(JSON.parse(text));
  } catch {
    return text;
  }
}

// The payload that an API's OpenAPI document shows, else one made of its schema.
export function exampleOf(text) {
  let document;
  try {
    document = JSON.parse(text);
    const operation = Object.values(document.paths).find((one) => one.post)?.post;
    const content = operation?.requestBody?.content?.[JSON_TYPE];
    if (!content) return undefined;
    if (content.example !== undefined) return content.example;
    return content.schema ? sample(content.schema, document, 0) : undefined;
  } catch {
    return undefined;
  }
}

function sample(schema, document, depth) {
  if (depth > 6) return null;
  if (schema.$ref) {
    const target = schema.$ref.slice(2).split("/").reduce((node, part) => node?.[part], document);
    return target ? sample(target, document, depth + 1) : null;
  }
  if (schema.example !== undefined) return schema.example;
  if (schema.examples?.length) return schema.examples[0];
  if (schema.default !== undefined) return schema.default;
  if (schema.const !== undefined) return schema.const;
  if (schema.enum?.length) return schema.enum[0];
  const choice = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (choice?.length) return sample(choice[0], document, depth + 1);
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  if (type === "object" || schema.properties) {
    return Object.fromEntries(Object.entries(schema.properties ?? {}).map(([key, value]) => [key, sample(value, document, depth + 1)]));
  }
  if (type === "array") return schema.items ? Array.from({ length: Math.max(1, schema.minItems ?? 1) }, () => sample(schema.items, document, depth + 1)) : [];
  if (type === "integer" || type === "number") return schema.minimum ?? (schema.exclusiveMinimum === undefined ? 0 : schema.exclusiveMinimum + 1);
  return { string: "", boolean: false }[type] ?? null;
}
