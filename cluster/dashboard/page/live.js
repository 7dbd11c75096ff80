// What the server sends, and how far it can be relied on.

const keptEvents = 500;
const keptPoints = 300; // five minutes
const keptNodes = 64; // with a history
const staleAfter = 6000; // milliseconds without news

// live is what is known.
export const live = {
  setup: {},
  frame: null,
  events: [], // the oldest first, each with a number as its id
  is: "waiting", // or live, lost
  why: "",
  since: Date.now(), // that it is so
  history: { time: [], sent: [], handled: [], wrong: [], bytes: [] },
  nodes: new Map(), // by boot: { time, heap, goroutines, handled }
};

const listeners = new Set();

// listen calls f(what) when something has changed: "frame", "events" or "state".
export function listen(f) {
  listeners.add(f);
  return () => listeners.delete(f);
}

function tell(what) {
  for (const f of listeners) f(what);
}

function become(is, why = "") {
  if (live.is === is && live.why === why) return;
  if (live.is !== is) live.since = Date.now();
  live.is = is;
  live.why = why;
  tell("state");
}

function push(list, value) {
  list.push(value);
  if (list.length > keptPoints) list.shift();
}

function remember(frame) {
  const h = live.history;
  const t = frame.totals;
  const at = Date.parse(frame.time) / 1000;
  if (h.time.length && at <= h.time.at(-1)) return;
  push(h.time, at);
  push(h.sent, t.sent_rate ?? null);
  push(h.handled, t.handled_rate ?? null);
  push(h.wrong, t.failed_rate === undefined ? null : t.failed_rate + (t.lost_rate ?? 0));
  push(h.bytes, t.bytes_rate ?? null);
  const there = new Set();
  for (const n of frame.nodes.slice(0, keptNodes)) {
    if (!n.state) continue;
    there.add(n.boot);
    let own = live.nodes.get(n.boot);
    if (!own) live.nodes.set(n.boot, (own = { time: [], heap: [], goroutines: [], handled: [], sent: [] }));
    push(own.time, at);
    push(own.heap, n.heap_bytes ?? null);
    push(own.goroutines, n.goroutines ?? null);
    push(own.handled, n.handled_rate ?? null);
    push(own.sent, n.sent_rate ?? null);
  }
  for (const boot of live.nodes.keys()) if (!there.has(boot)) live.nodes.delete(boot);
}

let number = 0;

function happened(told) {
  if (told.afresh) live.events = [];
  for (const e of told.events) {
    e.id = ++number;
    live.events.push(e);
    foretell(e);
  }
  if (told.events.some((e, i) => i > 0 && e.time < told.events[i - 1].time) || told.events.length > 1) {
    live.events.sort((a, b) => Date.parse(a.time) - Date.parse(b.time) || a.id - b.id);
  }
  if (live.events.length > keptEvents) live.events.splice(0, live.events.length - keptEvents);
  tell("events");
}

// foretell shows at once that a member is gone; the next frame has it from the nodes.
function foretell(e) {
  const frame = live.frame;
  if (!frame || !["unlinked", "failed"].includes(e.kind) || Date.parse(e.time) < Date.parse(frame.time)) return;
  const n = frame.nodes.find((n) => n.id === e.member);
  if (!n || n.status !== "alive") return;
  n.silent = e.error || "its link has ended";
  n.state = undefined;
  tell("frame");
}

let source = null;
let heard = 0;
let retry = 0;

function open() {
  if (source || document.hidden) return;
  const mine = (source = new EventSource("stream"));
  heard = Date.now();
  mine.addEventListener("hello", () => {
    heard = Date.now();
    retry = 0;
  });
  mine.addEventListener("frame", (m) => {
    heard = Date.now();
    live.frame = JSON.parse(m.data);
    remember(live.frame);
    become("live");
    tell("frame");
  });
  mine.addEventListener("lost", (m) => {
    heard = Date.now();
    become("lost", JSON.parse(m.data));
  });
  mine.addEventListener("events", (m) => {
    heard = Date.now();
    happened(JSON.parse(m.data));
  });
  mine.onerror = () => {
    if (source !== mine) return;
    close();
    explain();
    setTimeout(open, Math.min(5000, 500 * 2 ** retry++));
  };
}

function close() {
  source?.close();
  source = null;
}

// explain finds out why there is no stream, which the browser does not tell.
async function explain() {
  try {
    const r = await fetch("setup");
    const said = r.ok ? "the server takes no more pages, or has just started again" : (await r.text()).trim();
    if (!source || live.is !== "live") become("lost", said);
  } catch {
    become("lost", "the server of this page cannot be reached");
  }
}

export async function start() {
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  setInterval(() => {
    if (source && live.is === "live" && Date.now() - heard > staleAfter) become("lost", "no news for some seconds");
  }, 1000);
  open();
  try {
    live.setup = await (await fetch("setup")).json();
    tell("setup");
  } catch {
    /* the stream tells */
  }
}

// ask gets what a table shows.
export async function ask(path, params, signal) {
  const r = await fetch(path + "?" + new URLSearchParams(params), { signal });
  if (!r.ok) throw Object.assign(new Error((await r.text()).trim()), { status: r.status });
  return r.json();
}
