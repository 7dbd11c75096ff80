// The panel of nodes, and one of them.

import { attr, h, keyed, text } from "./dom.js";
import { age, bytes, count, percent, rate, span } from "./format.js";
import { ask, live, listen } from "./live.js";
import { chart } from "./chart.js";
import { facts } from "./table.js";
import { moodOf, stateOf } from "./topology.js";

export function nodes({ rest, go }) {
  const list = h("ul", { class: "list" });
  const input = h("input", { type: "search", placeholder: "Search nodes", "aria-label": "Search nodes", spellcheck: "false", autocomplete: "off", "data-search": "", oninput: show });
  const told = h("span", { class: "told" });
  const one = h("div", { class: "one" });
  const element = h("div", { class: "nodes" }, h("section", { class: "card", "aria-label": "Nodes" }, h("div", { class: "bar" }, h("h2", null, "Nodes"), told, h("span", { class: "space" }), input), list), one);
  let chosen = rest;
  let shown = null;

  function show() {
    const frame = live.frame;
    if (!frame) return;
    const wanted = input.value.toLowerCase();
    const weight = { bad: 0, warn: 1, leaving: 1, good: 2, gone: 3 };
    const all = frame.nodes.filter((n) => !wanted || [n.name, n.address, n.status, n.state, ...Object.values(n.tags ?? {})].join(" ").toLowerCase().includes(wanted));
    all.sort((a, b) => weight[moodOf(a)] - weight[moodOf(b)]);
    text(told, Object.entries(frame.members).map(([status, n]) => n + " " + status).join(", "));
    chosen ||= (frame.nodes.find((n) => n.name === frame.asker) ?? frame.nodes[0])?.boot;
    keyed(list, all, (n) => n.boot, (n) => h("li", null, h("button", { type: "button", onclick: () => go("nodes", n.boot) }, h("span", { class: "dot" }), h("span", { class: "name" }), h("span", { class: "at" }), h("span", { class: "doing" }))), item);
    if (shown?.boot !== chosen) {
      shown?.close();
      shown = oneNode(chosen);
      one.replaceChildren(shown.element);
    }
    shown.update(frame);
  }
  function item(li, n) {
    const [, name, at, doing] = li.firstChild.children;
    attr(li, "data-mood", moodOf(n));
    attr(li.firstChild, "aria-current", n.boot === chosen ? "true" : null);
    text(name, n.name);
    text(at, n.address);
    text(doing, n.state && !n.silent ? (moodOf(n) === "good" ? rate(n.handled_rate) + "/s" : stateOf(n)) : stateOf(n));
  }
  const stop = listen((what) => what === "frame" && show());
  return {
    element,
    opened: show,
    close() {
      stop();
      shown?.close();
    },
  };
}

// oneNode is all that is known of one.
function oneNode(boot) {
  const title = h("h2");
  const state = h("span", { class: "state" });
  const why = h("p", { class: "why" });
  const who = h("dl", { class: "facts" });
  const process = h("dl", { class: "facts" });
  const port = h("dl", { class: "facts" });
  const memory = chart({ label: "Heap", series: [{ label: "objects", colour: "data", fill: true }], show: bytes });
  const routines = chart({ label: "Goroutines", series: [{ label: "goroutines", colour: "data2" }], show: count });
  const traffic = chart({ label: "Messages a second", series: [{ label: "handled", colour: "data", fill: true }, { label: "sent", colour: "data2", dash: [5, 4] }], show: rate });
  const section = (name, ...children) => h("section", { "aria-label": name }, h("h3", null, name), children);
  const charts = h("div", { class: "charts" }, traffic.element, memory.element, routines.element);
  const element = h("section", { class: "card", "aria-label": "One node" }, h("div", { class: "bar" }, title, state), why, charts, h("div", { class: "sections" }, section("Who it is", who), section("Its process", process), section("Its port and bus", port)));
  let busy = false;

  async function more() {
    if (busy) return;
    busy = true;
    try {
      fill(await ask("node", { name: boot }));
    } catch {
      /* it does not answer any more: its last figures stay */
    }
    busy = false;
  }
  function fill(n) {
    const p = n.process;
    facts(process, [
      ["program", p.program], ["library", p.library], ["revision", p.revision], ["Go", p.go], ["platform", p.platform], ["CPUs", p.cpus], ["process", p.pid],
      ["goroutines", count(p.goroutines)], ["heap", bytes(p.heap_bytes)], ["memory of the system", bytes(p.memory_bytes)], ["collections", count(p.gc_cycles)],
      ...rest(p, ["program", "library", "revision", "go", "platform", "cpus", "pid", "goroutines", "heap_bytes", "memory_bytes", "gc_cycles"]),
    ]);
    const m = n.messages;
    facts(port, [
      ["listens at", n.self.bound], ["secured", n.self.secured ? "yes" : "no", n.self.secured ? null : "bad"], ["protocol", n.self.min_protocol === n.self.max_protocol ? n.self.max_protocol : n.self.min_protocol + " to " + n.self.max_protocol],
      ["messages sent", count(m.sent)], ["handled", count(m.handled)], ["failed", count(m.failed ?? 0), m.failed && "warn"], ["unknown", m.unknown && count(m.unknown), "warn"], ["dead letters", m.dead_letters && count(m.dead_letters), "warn"],
      ["gossip sent", count(n.gossip.sent)], ["gossip received", count(n.gossip.received)], ["dials that failed", count(n.network.dial_errors)], ["questions to discovery", count(n.network.questions)],
      ["discovery errors", count(n.network.discovery_errors), n.network.discovery_errors && "warn"], ["bad packets", count(n.network.bad_packets)], ["refused", sum(n.network.refused)], ["strangers", sum(n.network.strangers)],
      ...rest(n, ["version", "time", "self", "process", "links", "addresses", "verticles", "left_out", "messages", "gossip", "network", "changes"]),
    ]);
  }
  return {
    boot,
    element,
    update(frame) {
      const n = frame.nodes.find((n) => n.boot === boot);
      const own = live.nodes.get(boot);
      charts.hidden = !own;
      if (own) {
        traffic.update([own.time, own.handled, own.sent]);
        memory.update([own.time, own.heap]);
        routines.update([own.time, own.goroutines]);
      }
      if (!n) {
        text(state, "no longer listed");
        return;
      }
      text(title, n.name);
      text(state, stateOf(n));
      attr(state, "data-mood", moodOf(n));
      text(why, [n.silent, n.error].filter(Boolean).join("; "));
      facts(who, [
        ["address", n.address], ["boot id", n.boot], ["up for", n.started && age(n.started, frame.time)], ["failed", n.failed && age(n.failed, frame.time) + " ago", "bad"], ["links", n.state && n.links],
        ...Object.entries(n.tags ?? {}).map(([k, v]) => ["tag " + k, v]),
      ]);
      if (n.state) more();
    },
    close: () => [memory, routines, traffic].forEach((c) => c.close()),
  };
}

const sum = (counts) => (counts ? Object.entries(counts).map(([k, n]) => count(n) + " " + k.replace("_", " ")).join(", ") : "none");

// rest are figures that a newer node tells, by their names: whatever ends in _bytes or
// _seconds is shown as such.
function rest(of, known, prefix = "") {
  return Object.entries(of).flatMap(([name, value]) => {
    if (known.includes(name)) return [];
    const label = prefix + name.replace(/_(bytes|seconds)$/, "").replaceAll("_", " ");
    if (value && typeof value === "object" && !Array.isArray(value)) return rest(value, [], label + " ");
    if (typeof value === "number") return [[label, name.endsWith("_bytes") ? bytes(value) : name.endsWith("_seconds") ? span(value) : name.endsWith("_share") ? percent(value) : count(value)]];
    return typeof value === "string" || typeof value === "boolean" ? [[label, String(value)]] : [];
  });
}

