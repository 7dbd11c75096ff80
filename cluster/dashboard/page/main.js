// The frame of the page: panels, the strip, keys, the theme.

import { attr, h, keyed, text } from "./dom.js";
import { clock, plural, span } from "./format.js";
import { listen, live, start } from "./live.js";
import { overview } from "./overview.js";
import { addresses } from "./addresses.js";
import { links } from "./links.js";
import { verticles } from "./verticles.js";
import { events } from "./events.js";
import { nodes } from "./nodes.js";
import { tryIt } from "./try.js";

const panels = [
  ["overview", "Overview", overview],
  ["addresses", "Addresses", addresses],
  ["links", "Links", links],
  ["verticles", "Verticles", verticles],
  ["events", "Events", events],
  ["nodes", "Nodes", nodes],
];
const by = (id) => document.getElementById(id);
const go = (panel, rest) => (location.hash = "#" + panel + (rest ? "/" + encodeURIComponent(rest) : ""));

let open = null;
let at = "";

function route() {
  const [name, rest] = location.hash.slice(1).split("/");
  const panel = panels.find(([id]) => id === name) ?? panels[0];
  if (at === location.hash && open) return;
  at = location.hash;
  open?.close?.();
  by("panel").replaceChildren();
  open = panel[2]({ go, rest: rest && decode(rest) });
  by("panel").append(open.element);
  open.opened?.();
  for (const a of by("nav").children) attr(a, "aria-current", a.hash === "#" + panel[0] ? "page" : null);
  entitle();
}

// entitle names the page after the cluster, with a mark where something is wrong.
function entitle() {
  const title = [live.frame?.findings.length ? "⚠ " + live.frame.cluster : live.frame?.cluster, "runrig"].filter(Boolean).join(" · ");
  if (document.title !== title) document.title = title;
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function nav() {
  by("nav").replaceChildren(...panels.map(([id, label], i) => h("a", { href: "#" + id, title: String(i + 1), class: id === "try" ? "danger" : null }, label)));
}

function setUp() {
  if (live.setup.try && !panels.some(([id]) => id === "try")) {
    panels.push(["try", "Try it", tryIt]);
    nav();
    at = "";
    route();
  }
  text(by("scope"), live.setup.host_only ? "no Authorize function is set: only this host may look" : "");
}

// The strip.
const verdict = h("p", { class: "verdict", role: "status" });
const findings = h("ul", { class: "findings" });
const chips = h("dl", { class: "chips" });
by("strip").append(h("div", null, verdict, chips), findings);

function strip(frame) {
  const worst = Math.max(0, ...frame.findings.map((f) => f.level));
  attr(verdict, "data-mood", ["good", "warn", "bad"][worst]);
  text(verdict, frame.findings.length ? plural(frame.findings.length, "thing is", "things are") + " wrong" : "All is well");
  const told = [...new Map(frame.findings.map((f) => [f.what + f.text, f])).values()].slice(0, 3);
  if (frame.findings.length > told.length) told.push({ level: 1, what: "", text: `and ${frame.findings.length - told.length} more` });
  keyed(findings, told, (f) => f.what + f.text, () => h("li", null, h("b"), h("span")), (item, f) => {
    attr(item, "data-mood", f.level > 1 ? "bad" : "warn");
    text(item.firstChild, f.what);
    text(item.lastChild, f.text);
  });
  findings.hidden = told.length === 0;
  const m = frame.members;
  const releases = Object.keys(frame.releases);
  const unlinked = frame.pairs.filter((p) => p[2] >= 2).length;
  const unreplaced = frame.nodes.filter((n) => n.status === "failed" && !n.replaced).length;
  const silent = frame.nodes.filter((n) => n.silent && n.status === "alive").length;
  const split = frame.findings.some((f) => f.what === "links") || (silent > 1 && silent * 2 >= m.alive);
  const entries = [
    ["nodes", [plural(m.alive ?? 0, "alive", "alive"), silent && "of them " + silent + " silent", m.leaving && m.leaving + " leaving", m.failed && m.failed + " failed", m.left && m.left + " left"].filter(Boolean).join(", "), unreplaced || silent ? "bad" : null],
    ["links", frame.pairs.length - unlinked + " up" + (unlinked ? ", " + unlinked + " missing" : ""), unlinked ? "bad" : null],
    ["split", split ? "suspected" : "none", split ? "bad" : null],
    ["release", releases.length > 1 ? releases.length + " of them" : (releases[0] ?? "–"), releases.length > 1 ? "warn" : null],
    ["security", frame.secured ? "secret, TLS 1.3" : "not secured", frame.secured ? null : "bad"],
    frame.discovery && ["discovery", discovered(frame), frame.discovery.error ? "bad" : null],
  ].filter(Boolean);
  keyed(chips, entries, ([name]) => name, () => h("div", null, h("dt"), h("dd")), (item, [name, value, mood]) => {
    text(item.firstChild, name);
    text(item.lastChild, value);
    attr(item, "data-mood", mood);
  });
  text(by("cluster"), frame.cluster);
  text(by("from"), `as ${frame.asker} sees it, asked in ${span(frame.took_seconds)}`);
}

function discovered({ discovery: d, time }) {
  if (d.error) return "fails: " + d.error;
  return plural(d.count ?? 0, "address", "addresses") + (d.time ? ", " + span(Math.max(0, (Date.parse(time) - Date.parse(d.time)) / 1000)) + " ago" : "");
}

function state() {
  document.body.dataset.is = live.is;
  attr(by("live"), "data-is", live.is);
  text(by("live"), { waiting: "connecting", live: "live", lost: "lost" }[live.is]);
  const banner = by("banner");
  banner.hidden = live.is !== "lost";
  if (live.is === "lost") {
    const last = live.frame ? ` This is how it was at ${clock(live.frame.time)}.` : "";
    text(banner, `No news since ${clock(live.since)}: ${live.why}.${last} Trying again …`);
  }
}

function theme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try {
    localStorage.setItem("runrig-theme", root.dataset.theme);
  } catch {
    /* storage is off: until the page is closed */
  }
}

function keys(e) {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  if (e.key === "Escape") {
    if (e.target.matches?.("input, textarea")) e.target.blur();
    else open?.escape?.();
    return;
  }
  if (e.target.matches?.("input, textarea, select")) return;
  const panel = panels[Number(e.key) - 1];
  if (panel) go(panel[0]);
  else if (e.key === "/") {
    const search = document.querySelector("[data-search]");
    if (!search) return;
    e.preventDefault();
    search.focus();
  } else if (e.key === "p") open?.pause?.();
  else if (e.key === "t") theme();
  else if (e.key === "?") by("keys").showModal();
}

nav();
addEventListener("hashchange", route);
addEventListener("keydown", keys);
by("theme").addEventListener("click", theme);
by("help").addEventListener("click", () => by("keys").showModal());
listen((what) => {
  if (what === "frame") {
    strip(live.frame);
    entitle();
  } else if (what === "state") state();
  else if (what === "setup") setUp();
});
route();
state();
start();
