// Elements without HTML from text: whatever a node says is shown as text.

// plain shows what is no visible text, or would change the direction of what follows, as
// an escape.
const hidden = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

export function plain(text) {
  return String(text).replace(hidden, (c) => {
    const code = c.codePointAt(0);
    return code < 256 ? "\\x" + code.toString(16).padStart(2, "0") : "\\u" + code.toString(16).padStart(4, "0");
  });
}

const svgNames = "http://www.w3.org/2000/svg";

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value !== "string" && typeof value !== "number") element[name] = value;
    else element.setAttribute(name, value);
  }
  for (const child of children.flat()) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(plain(child)));
  }
  return element;
}

// h makes an element.
export const h = (name, props, ...children) => fill(document.createElement(name), props, children);

// s makes an element of a drawing.
export const s = (name, props, ...children) => fill(document.createElementNS(svgNames, name), props, children);

// text sets an element's text, and touches the page only where it has changed.
export function text(element, value) {
  value = plain(value);
  if (element.textContent !== value) element.textContent = value;
}

// attr sets an attribute, likewise; null removes it.
export function attr(element, name, value) {
  if (value === null || value === undefined) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else if (element.getAttribute(name) !== String(value)) {
    element.setAttribute(name, value);
  }
}

// keyed makes the children of a parent those of items, in their order: make(item) makes
// one that is new, update(element, item) all.
export function keyed(parent, items, key, make, update) {
  const known = (parent.known ??= new Map());
  const seen = new Set();
  let at = parent.firstElementChild;
  for (const item of items) {
    const id = key(item);
    if (seen.has(id)) continue;
    seen.add(id);
    let element = known.get(id);
    if (!element) known.set(id, (element = make(item)));
    update?.(element, item);
    if (element === at) at = at.nextElementSibling;
    else parent.insertBefore(element, at);
  }
  for (const [id, element] of known) {
    if (!seen.has(id)) {
      element.remove();
      known.delete(id);
    }
  }
}
