// The panel of links.

import { h, text } from "./dom.js";
import { age, bytes, bytesRate, count, span } from "./format.js";
import { live } from "./live.js";
import { board, facts } from "./table.js";

export function links({ rest }) {
  const b = board({
    path: "links",
    title: "Links",
    search: "Search nodes",
    label: "Links, each from both ends",
    one: "end",
    empty: "There are no links: no node has found another.",
    sort: "pain",
    key: (l) => l.from + "\n" + l.boot,
    columns: [
      { id: "from", label: "From", head: true, full: true, show: (l) => l.from, up: true },
      { id: "to", label: "To", sort: false, show: (l) => l.to },
      { id: "rtt", label: "Round trip", number: true, show: (l) => span(l.round_trip_seconds) },
      { id: "out", label: "Out", number: true, show: (l) => bytesRate(l.out_rate) },
      { id: "in", label: "In", number: true, wide: 1, show: (l) => bytesRate(l.in_rate) },
      { id: "queued", label: "Queued", number: true, draw: queue, hint: "bytes that wait to be written, of what may wait" },
      { id: "unsettled", label: "Unsettled", number: true, wide: 2, show: (l) => count(l.unsettled), hint: "messages that the other end has not handled yet" },
      { id: "requests", label: "Requests", number: true, wide: 2, show: (l) => count(l.requests), hint: "that wait for a reply" },
      { id: "stalls", label: "Stalls", number: true, wide: 1, show: (l) => count(l.stalls), mood: (l) => l.slow_since && "bad", hint: "how often a message found no room in the link" },
      { id: "pain", label: "Slow", wide: 1, show: (l) => (l.slow_since ? "for " + age(l.slow_since, live.frame.time) : ""), mood: (l) => l.slow_since && "bad" },
      { id: "silent", label: "Silent", number: true, wide: 3, show: (l) => span(l.silent_seconds), mood: (l) => l.silent_seconds > 2.5 && "bad" },
      { id: "since", label: "Up for", number: true, wide: 2, show: (l) => age(l.since, live.frame.time) },
    ],
    detail(cell, row) {
      const list = h("dl", { class: "facts" });
      cell.append(list);
      const update = (l) =>
        facts(list, [
          ["to", l.id], ["address", l.address], ["up for", age(l.since, live.frame.time)], ["round trip", span(l.round_trip_seconds)], ["written", bytes(l.bytes_out)], ["read", bytes(l.bytes_in)], ["messages sent", count(l.sent)],
          ["not handled there yet", count(l.unsettled)], ["not handled here yet", count(l.unsettled_in)], ["requests that wait", count(l.requests)], ["queued", bytes(l.queued_bytes)], ["may be queued", l.queue_limit_bytes && bytes(l.queue_limit_bytes)],
          ["stalls", count(l.stalls)], ["slow for", l.slow_since && age(l.slow_since, live.frame.time)], ["silent for", span(l.silent_seconds)],
        ]);
      update(row);
      return { update };
    },
  });
  if (rest) b.search(rest);
  return b;
}

// queue draws how full a link's queue is.
function queue(cell, l) {
  if (!cell.firstChild) cell.append(h("span"), h("meter", { min: "0", max: "1", "aria-label": "of what may be queued" }));
  text(cell.firstChild, bytes(l.queued_bytes));
  const meter = cell.lastChild;
  meter.hidden = !l.queue_limit_bytes;
  if (l.queue_limit_bytes) meter.value = Math.min(1, (l.queued_bytes ?? 0) / l.queue_limit_bytes);
}
