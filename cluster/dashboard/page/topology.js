// Nodes and their links: a ring of up to thirty, and a matrix of more.

import { attr, h, keyed, plain, s, text } from "./dom.js";
import { bytesRate, fit, plural, rate, span } from "./format.js";

const mostInRing = 30;
const mostMoving = 45; // pairs, over which none is seen to move
const [up, slow, oneWay, down] = [0, 1, 2, 3];
const pairNames = ["up", "slow", "one way only", "down"];
const pairMoods = ["up", "slow", "bad", "bad"];

// moodOf is what becomes of a node, for its colour.
export function moodOf(n) {
  if (n.status === "failed") return n.replaced ? "gone" : "bad";
  if (n.status === "left") return "gone";
  if (n.silent) return "bad";
  if (n.status === "leaving" || n.state === "leaving") return "leaving";
  if (n.state === "degraded" || n.state === "joining") return "warn";
  return "good";
}

// stateOf is that in words.
export function stateOf(n) {
  if (n.status === "failed") return n.replaced ? "failed, replaced" : "failed";
  if (n.silent && n.status === "alive") return "silent";
  return n.status === "alive" ? n.state || "alive" : n.status;
}

const lingers = 20; // seconds for which a node that was replaced is shown

// present are the nodes that are drawn, with their places in the frame.
function present(frame) {
  return frame.nodes
    .map((n, at) => ({ ...n, at, mood: moodOf(n) }))
    .filter((n) => n.mood !== "gone" || (n.status === "failed" && n.failed && (Date.parse(frame.time) - Date.parse(n.failed)) / 1000 < lingers));
}

export function topology(choose) {
  const element = h("div", { class: "topology" });
  let shown = null;
  return {
    element,
    update(frame) {
      const nodes = present(frame);
      const wanted = nodes.length > mostInRing ? "matrix" : "ring";
      if (shown?.kind !== wanted) {
        shown = wanted === "ring" ? ring(choose) : matrix(choose);
        element.replaceChildren(shown.element);
      }
      shown.update(frame, nodes);
    },
  };
}

// widthOf is how thick a link is drawn, by what goes over it.
const widthOf = (bytes) => (bytes > 0 ? Math.min(7, 1.4 + Math.log2(1 + bytes / 512) * 0.45) : 1.2);

function ring(choose) {
  const links = s("g", { class: "links" });
  const labels = s("g", { class: "labels" });
  const spots = s("g", { class: "spots" });
  const drawing = s("svg", { class: "ring", role: "group", "aria-label": "Nodes and links" }, links, labels, spots);
  const still = h("p", { class: "none", hidden: true });
  const element = h("div", null, drawing, still);

  function update(frame, nodes) {
    still.hidden = nodes.length > 1;
    text(still, nodes.length === 1 ? "One node, and nobody else: start another, and it is seen here." : "");
    const n = nodes.length;
    const radius = n <= 1 ? 0 : n <= 6 ? 135 : n <= 12 ? 165 : 215;
    const size = n <= 6 ? 27 : n <= 12 ? 22 : n <= 20 ? 15 : 11;
    const tight = n > 12;
    const narrow = !tight && element.clientWidth > 0 && element.clientWidth < 520; // names are below their nodes then
    const wide = (angle) => radius * Math.abs(Math.cos(angle)) + (tight ? 105 : isBeside(angle) && !narrow ? size + 150 : 70);
    const side = Math.max(...nodes.map((_, i) => wide((i / n) * 2 * Math.PI - Math.PI / 2)), narrow ? 150 : 230);
    const above = n <= 1 ? 130 : radius * (n === 3 ? 0.55 : 1) + size + (tight ? 40 : 46);
    const top = n === 3 ? radius + size + 46 : above;
    attr(drawing, "viewBox", [-side, -top, 2 * side, top + above + (narrow ? 12 : 0)].join(" "));
    const places = new Map();
    nodes.forEach((node, i) => {
      const angle = (i / n) * 2 * Math.PI - Math.PI / 2;
      const place = { x: radius * Math.cos(angle), y: radius * Math.sin(angle), angle, size, tight, narrow };
      places.set(node.at, place);
      node.place = place;
    });
    const pairs = frame.pairs.filter((p) => places.has(p[0]) && places.has(p[1])).map((p) => pairOf(p, frame, places));
    for (const dead of nodes.filter((d) => d.mood === "bad" && d.status === "failed")) {
      for (const other of nodes) {
        if (other.mood === "bad" || other.mood === "gone") continue;
        pairs.push(pairOf([dead.at, other.at, down, -1, 0], frame, places));
      }
    }
    const moving = pairs.length <= mostMoving;
    keyed(links, pairs, (p) => p.key, makeLink, (g, p) => updateLink(g, p, moving));
    keyed(labels, n <= 6 ? pairs.filter((p) => p.rtt > 0 && p.state <= slow) : [], (p) => p.key, makeLabel, updateLabel);
    keyed(spots, nodes, (node) => node.boot, (node) => makeSpot(node, choose), updateSpot);
  }
  return { kind: "ring", element, update };
}

// isBeside tells whether a name is beside its node, and not above or below.
const isBeside = (angle) => Math.abs(Math.cos(angle)) > 0.35;

function pairOf([i, k, state, bytes, rtt], frame, places) {
  const a = frame.nodes[i];
  const b = frame.nodes[k];
  const [from, to] = [places.get(i), places.get(k)];
  const pull = places.size <= 3 ? 0.12 : 0.3; // towards the middle
  const mid = { x: ((from.x + to.x) / 2) * (1 - pull), y: ((from.y + to.y) / 2) * (1 - pull) };
  const path = `M${from.x.toFixed(1)} ${from.y.toFixed(1)}Q${mid.x.toFixed(1)} ${mid.y.toFixed(1)} ${to.x.toFixed(1)} ${to.y.toFixed(1)}`;
  const middle = { x: from.x / 4 + mid.x / 2 + to.x / 4, y: from.y / 4 + mid.y / 2 + to.y / 4 };
  return { key: a.boot + b.boot, a, b, state, bytes, rtt, path, middle };
}

function makeLink() {
  return s("g", null, s("path", { class: "link" }), s("path", { class: "flow" }), s("path", { class: "hit" }, s("title")));
}

function updateLink(g, p, moving) {
  const [line, flow, hit] = g.children;
  attr(g, "data-mood", pairMoods[p.state]);
  for (const path of [line, flow, hit]) attr(path, "d", p.path);
  attr(line, "stroke-width", widthOf(p.bytes).toFixed(2));
  attr(flow, "stroke-width", Math.min(5, widthOf(p.bytes) + 0.8).toFixed(2));
  const speed = moving && p.state <= slow && p.bytes > 0 ? Math.max(1, 6 - Math.round(Math.log2(1 + p.bytes / 256) / 2)) : 0;
  attr(flow, "data-speed", speed || null);
  text(hit.firstChild, `${p.a.name} – ${p.b.name}: ${pairNames[p.state]}` + (p.bytes >= 0 ? `, ${bytesRate(p.bytes)}` : "") + (p.rtt ? `, round trip ${span(p.rtt)}` : ""));
}

const makeLabel = () => s("text", { class: "trip", "text-anchor": "middle", dy: "0.35em" });

function updateLabel(label, p) {
  attr(label, "x", p.middle.x.toFixed(1));
  attr(label, "y", p.middle.y.toFixed(1));
  text(label, span(p.rtt));
}

const signs = { bad: "✕", leaving: "↗", warn: "!", gone: "✕" };

function makeSpot(node, choose) {
  const go = () => choose(node.boot);
  return s(
    "g",
    { class: "spot", onclick: go },
    s("circle", { class: "halo" }),
    s("circle", { class: "body" }),
    s("text", { class: "name", "aria-hidden": "true" }),
    s("text", { class: "where", "aria-hidden": "true" }),
    s("text", { class: "figure", "aria-hidden": "true", "text-anchor": "middle", dy: "0.36em" }),
    s("circle", { class: "handle", tabindex: "0", role: "link", onkeydown: (e) => (e.key === "Enter" || e.key === " ") && (e.preventDefault(), go()) }),
    s("title", { "aria-hidden": "true" }),
  );
}

function updateSpot(g, node) {
  const { x, y, angle, size, tight, narrow } = node.place;
  const [halo, body, name, where, figure, handle, title] = g.children;
  attr(g, "data-mood", node.mood);
  attr(g, "transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})`);
  attr(halo, "r", size + 7);
  attr(body, "r", size);
  attr(handle, "r", size);
  text(figure, signs[node.mood] ?? (size < 20 ? "" : rate(node.handled_rate)));
  attr(figure, "font-size", node.mood in signs ? size * 0.8 : size * 0.56);
  const cos = Math.cos(angle);
  const beside = (isBeside(angle) && !narrow) || tight;
  const above = Math.sin(angle) < -0.3;
  attr(name, "text-anchor", beside ? (cos > 0 ? "start" : "end") : "middle");
  attr(where, "text-anchor", name.getAttribute("text-anchor"));
  const out = size + 10;
  if (beside) {
    const lift = tight ? Math.sin(angle) * 10 : 0;
    for (const [t, dy] of [[name, tight ? 4 : -2], [where, 13]]) {
      attr(t, "x", (Math.sign(cos || 1) * out * (tight ? Math.max(0.5, Math.abs(cos)) : 1)).toFixed(1));
      attr(t, "y", (dy + lift * 1.6).toFixed(1));
    }
  } else {
    attr(name, "x", 0);
    attr(where, "x", 0);
    attr(name, "y", above ? -out - 15 : out + 9);
    attr(where, "y", above ? -out : out + 24);
  }
  text(name, fit(plain(node.name), tight ? 13 : 16));
  const said = node.mood === "good" ? node.address : stateOf(node);
  text(where, tight && node.mood === "good" ? "" : fit(plain(said), 21));
  const more = [plain(node.id), plain(node.address), stateOf(node) + (node.silent ? ": " + plain(node.silent) : "")];
  for (const [k, v] of Object.entries(node.tags ?? {})) more.push(plain(k + " = " + v));
  text(title, more.join(" · "));
  attr(handle, "aria-label", `${plain(node.name)} at ${plain(node.address)}, ${stateOf(node)}`);
}

// matrix is a field for each two nodes, drawn at once: fifty have 2,500.
function matrix(choose) {
  const canvas = h("canvas", { tabindex: "0", role: "img" });
  const told = h("p", { class: "told", role: "status" });
  const legend = h("p", { class: "legend" }, ["up", "slow", "bad"].map((m) => h("span", { "data-mood": m }, m === "bad" ? "down, or one way" : m)), h("span", { "data-mood": "busy" }, "the darker, the more goes over it"));
  const element = h("div", { class: "matrix" }, canvas, told, legend);
  let at = null; // row and column that are looked at
  let state = null;
  let cell = 1;
  const edge = 92;

  function pick(e) {
    const box = canvas.getBoundingClientRect();
    const place = (v) => Math.floor((v - edge) / cell);
    at = [place(e.clientY - box.top), place(e.clientX - box.left)];
    tell();
  }
  canvas.addEventListener("mousemove", pick);
  canvas.addEventListener("mouseleave", () => ((at = null), tell()));
  canvas.addEventListener("click", () => at && state.nodes[at[0]] && choose(state.nodes[at[0]].boot));
  canvas.addEventListener("keydown", (e) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[e.key];
    if (e.key === "Enter" && at) choose(state.nodes[at[0]].boot);
    if (!step) return;
    e.preventDefault();
    at = (at ?? [0, 0]).map((v, i) => Math.max(0, Math.min(state.nodes.length - 1, v + (at ? step[i] : 0))));
    tell();
  });

  function tell() {
    draw();
    const [a, b] = (at ?? []).map((i) => state.nodes[i]);
    if (!a && !b) return text(told, state.told);
    if (!a || !b || a === b) return text(told, `${plain((a ?? b).name)} at ${(a ?? b).address}: ${stateOf(a ?? b)}`);
    const p = state.pairs.get(a.at + ":" + b.at);
    return text(told, `${plain(a.name)} – ${plain(b.name)}: ` + (p ? pairNames[p[2]] + (p[3] >= 0 ? ", " + bytesRate(p[3]) : "") + (p[4] ? ", round trip " + span(p[4]) : "") : "nothing is known"));
  }

  function draw() {
    const width = Math.min(element.clientWidth || 600, 1100);
    const n = state.nodes.length;
    cell = Math.max(3, Math.floor((width - edge - 4) / n));
    const total = edge + cell * n + 4;
    const dots = devicePixelRatio || 1;
    if (canvas.width !== Math.round(total * dots)) {
      canvas.width = canvas.height = Math.round(total * dots);
      canvas.style.width = canvas.style.height = total + "px";
    }
    const g = canvas.getContext("2d");
    g.setTransform(dots, 0, 0, dots, 0, 0);
    g.clearRect(0, 0, total, total);
    const style = getComputedStyle(canvas);
    const colour = (name) => style.getPropertyValue(name).trim();
    const colours = { good: colour("--data"), bad: colour("--bad"), warn: colour("--warn"), leaving: colour("--warn"), gone: colour("--line") };
    const gap = cell > 6 ? 1 : 0;
    const field = (row, column, fill, alpha = 1) => {
      g.globalAlpha = alpha;
      g.fillStyle = fill;
      g.fillRect(edge + column * cell, edge + row * cell, cell - gap, cell - gap);
    };
    for (const [row, a] of state.nodes.entries()) {
      field(row, row, colours[a.mood] ?? colours.good, a.mood === "good" ? 0.9 : 1);
      for (const [column, b] of state.nodes.entries()) {
        if (row === column) continue;
        const p = state.pairs.get(a.at + ":" + b.at);
        if (!p) field(row, column, a.mood === "bad" || b.mood === "bad" ? colours.bad : colour("--line"), a.mood === "bad" || b.mood === "bad" ? 0.28 : 1);
        else if (p[2] >= oneWay) field(row, column, colours.bad);
        else if (p[2] === slow) field(row, column, colours.warn);
        else field(row, column, colours.good, 0.13 + 0.62 * Math.min(1, Math.log2(1 + Math.max(0, p[3]) / 256) / 14));
      }
    }
    g.globalAlpha = 1;
    g.font = Math.min(11, Math.max(7, cell - 1)) + "px " + style.fontFamily;
    const every = Math.ceil(8 / cell);
    for (const [i, node] of state.nodes.entries()) {
      const on = at?.includes(i);
      if (i % every && node.mood === "good" && !on) continue;
      g.fillStyle = node.mood === "good" ? colour(on ? "--ink" : "--soft") : colours[node.mood];
      const name = fit(plain(node.name), 13);
      g.textAlign = "right";
      g.textBaseline = "middle";
      g.fillText(name, edge - 6, edge + i * cell + cell / 2, edge - 8);
      g.save();
      g.translate(edge + i * cell + cell / 2, edge - 6);
      g.rotate(-Math.PI / 2);
      g.textAlign = "left";
      g.fillText(name, 0, 0, edge - 8);
      g.restore();
    }
    if (at && at.every((i) => i >= 0 && i < n)) {
      g.strokeStyle = colour("--ink");
      g.lineWidth = 1.5;
      g.strokeRect(edge + at[1] * cell - 1, edge + at[0] * cell - 1, cell + 1, cell + 1);
    }
  }

  function update(frame, nodes) {
    const pairs = new Map();
    const counts = [0, 0, 0, 0];
    for (const p of frame.pairs) {
      pairs.set(p[0] + ":" + p[1], p);
      pairs.set(p[1] + ":" + p[0], p);
      counts[p[2]]++;
    }
    state = { nodes, pairs };
    state.told = `${plural(nodes.length, "node")}, ${plural(counts[up] + counts[slow], "link")} up` + (counts[slow] ? `, ${counts[slow]} of them slow` : "") + (counts[oneWay] + counts[down] ? `, ${counts[oneWay] + counts[down]} missing` : "");
    attr(canvas, "aria-label", "Links between the nodes: " + state.told);
    tell();
  }
  return { kind: "matrix", element, update };
}
