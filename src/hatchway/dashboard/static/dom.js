// Elements from data. Text is always a text node: what users' logs, labels and payloads contain can never become HTML.

const SVG = "http://www.w3.org/2000/svg";

export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

export function svg(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.setAttribute("class", value);
    else if (name === "value") node.value = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

// Writes only what differs, so that what is selected or read aloud is left alone.
export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function set(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value === true ? "" : String(value));
}

// Children of `parent` that stand for items, kept by key: make(item) -> {node, update(item)}.
export function keyed(parent, key, make) {
  const known = new Map();
  return (items) => {
    const wanted = new Set();
    let next = parent.firstChild;
    for (const item of items) {
      const id = key(item);
      wanted.add(id);
      if (!known.has(id)) known.set(id, make(item));
      const part = known.get(id);
      part.update(item);
      if (part.node === next) next = next.nextSibling;
      else parent.insertBefore(part.node, next);
    }
    for (const [id, part] of known) {
      if (wanted.has(id)) continue;
      part.node.remove();
      known.delete(id);
    }
  };
}

export function skeleton(count, tag = "div", className = "skeleton") {
  return Array.from({ length: count }, () => h(tag, { class: className, "aria-hidden": "true" }));
}

export function status(phase) {
  const dot = h("i", { class: "dot", "aria-hidden": "true" });
  const word = h("span");
  const node = h("span", { class: "status" }, dot, word);
  const update = (now) => {
    set(node, "data-phase", now);
    put(word, now);
  };
  update(phase);
  return { node, update };
}
