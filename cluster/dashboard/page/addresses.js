// The panel of addresses.

import { h, text } from "./dom.js";
import { count, plural, rate, span } from "./format.js";
import { ask, live, listen } from "./live.js";
import { board, table } from "./table.js";

const names = {
  sent: "sent", settled: "settled", bounced: "sent back", unknown: "unknown: lost with a link", rerouted: "rerouted", dead_letters: "no consumer until the deadline", skipped: "skipped: the consumer lags",
  late_replies: "replies that came late", handled: "handled", failed: "handler failed", failed_requests: "requests whose handler failed", panics: "handler panicked", expired: "expired before a handler", canceled: "given up by the caller", undecodable: "not to be decoded",
  dropped: "dropped at a close", cut_off: "cut off", forgotten: "never answered",
};
const losses = ["unknown", "dead_letters", "skipped", "late_replies", "failed", "failed_requests", "panics", "expired", "undecodable", "dropped", "cut_off", "forgotten"];

export function addresses({ rest }) {
  const b = board({
    path: "addresses",
    title: "Addresses",
    search: "Search addresses",
    label: "Addresses",
    one: "address",
    many: "addresses",
    empty: "No address is used yet: nobody consumes, and nobody sends.",
    sort: "pain",
    key: (a) => a.address,
    tools: h("span", { class: "told" }),
    columns: [
      { id: "address", label: "Address", head: true, kind: "address", full: true, show: (a) => a.address, up: true },
      { id: "consumers", label: "Consumers", number: true, show: (a) => (a.consumers ? a.consumers + (a.nodes > 1 ? " on " + a.nodes : "") : "none"), mood: (a) => !a.consumers && a.sent_rate > 0 && "bad" },
      { id: "sent", label: "Sent/s", number: true, show: (a) => rate(a.sent_rate) },
      { id: "handled", label: "Handled/s", number: true, wide: 1, show: (a) => rate(a.handled_rate) },
      { id: "p50", label: "p50", number: true, wide: 2, show: (a) => span(a.p50_seconds), hint: "half of the requests of late took no longer, as their callers see it" },
      { id: "p99", label: "p99", number: true, wide: 1, show: (a) => span(a.p99_seconds), hint: "99 of 100 requests of late took no longer, as their callers see it" },
      { id: "waiting", label: "Waiting", number: true, wide: 1, show: (a) => count(a.waiting), mood: (a) => a.waiting && "bad", hint: "for room at a consumer: it is slower than what is sent to it" },
      { id: "queued", label: "Queued", number: true, wide: 2, show: (a) => count(a.queued), hint: "at consumers, behind others" },
      { id: "running", label: "Running", number: true, wide: 3, show: (a) => count(a.running) },
      { id: "wrong", label: "Wrong/s", number: true, show: (a) => rate(a.wrong_rate), mood: (a) => a.wrong_rate && "bad", hint: "failed or lost, a second" },
      { id: "failed", label: "Failed", number: true, wide: 2, show: (a) => count(a.failed), mood: (a) => a.failed && "warn" },
      { id: "lost", label: "Lost", number: true, wide: 2, show: (a) => count(a.lost), mood: (a) => a.lost && "warn" },
      { id: "pain", label: "Pain", number: true, wide: 3, show: (a) => (a.wrong_rate || a.waiting ? "●●●" : a.queued > 10 ? "●●" : a.failed + a.lost ? "●" : "·"), mood: (a) => (a.wrong_rate || a.waiting) && "bad", hint: "what goes wrong now, then what waits, then what went wrong" },
    ],
    detail,
  });
  const told = b.element.querySelector(".bar .told:last-of-type");
  const stop = listen((what) => what === "frame" && left());
  function left() {
    text(told, live.frame?.addresses_left_out ? `${plural(live.frame.addresses_left_out, "more is", "more are")} not told of` : "");
  }
  left();
  if (rest) b.search(rest);
  return {
    element: b.element,
    escape: b.escape,
    close() {
      stop();
      b.close();
    },
  };
}

// detail shows what each node tells of an address.
function detail(cell, row) {
  const t = table({
    label: "By node",
    key: (p) => p.boot,
    columns: [
      { id: "node", label: "Node", head: true, sort: false, show: (p) => p.node },
      { id: "local", label: "Consumers here", sort: false, number: true, show: (p) => p.local },
      { id: "knows", label: "It knows", sort: false, number: true, wide: 1, show: (p) => p.knows },
      { id: "sent", label: "Sent/s", sort: false, number: true, show: (p) => rate(p.sent_rate) },
      { id: "handled", label: "Handled/s", sort: false, number: true, show: (p) => rate(p.handled_rate) },
      { id: "waiting", label: "Waiting", sort: false, number: true, wide: 1, show: (p) => count(p.waiting ?? 0) },
      { id: "queued", label: "Queued", sort: false, number: true, wide: 1, show: (p) => count(p.queued ?? 0) },
      { id: "counts", label: "Ever", sort: false, wide: 1, show: (p) => Object.entries(p.counts).map(([k, n]) => `${count(n)} ${k.replace("_", " ")}`).join(", ") },
    ],
  });
  const wrong = h("p", { class: "kinds-of-loss" });
  cell.append(h("p", { class: "whole address" }, row.address), wrong, t.element);
  let busy = false;
  async function refresh() {
    if (busy) return;
    busy = true;
    try {
      const { rows } = await ask("address", { name: row.address });
      t.update(rows);
      const sums = {};
      for (const p of rows) for (const k of losses) if (p.counts[k]) sums[k] = (sums[k] ?? 0) + p.counts[k];
      const parts = Object.entries(sums).map(([k, n]) => `${count(n)} ${names[k]}`);
      text(wrong, parts.length ? "Went wrong since the nodes started: " + parts.join("; ") + "." : "Nothing went wrong since the nodes started.");
    } catch {
      /* nobody knows it any more, or the stream tells */
    }
    busy = false;
  }
  refresh();
  return { update: refresh };
}
