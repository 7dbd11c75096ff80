// The feed of events.

import { attr, h, keyed, plain, text } from "./dom.js";
import { clock, count, plural } from "./format.js";
import { live, listen } from "./live.js";

const moods = { failed: "bad", unlinked: "bad", refused: "warn", conflict: "bad", unreached: "bad", messages: "warn", joined: "good", linked: "good", left: "calm", forgotten: "calm" };
const losses = {
  failed: "handlers failed", failed_requests: "handlers refused", panics: "handlers panicked", unknown: "lost with a link", dead_letters: "found no consumer", skipped: "publishes skipped",
  late_replies: "replies came late", expired: "expired", undecodable: "could not be decoded", dropped: "dropped", cut_off: "cut off", forgotten: "never answered",
};

// named is the name in an ID, which is name and boot.
const named = (id) => plain(String(id ?? "").replace(/[ (@/#-]*[0-9a-f]{16}\)?$/, "") || id || "");

function moodOf(e) {
  if (e.kind === "verticle") return e.state === "failed" || e.error ? "bad" : e.state === "restarting" ? "warn" : "calm";
  if (e.kind === "unlinked" && !e.error) return "calm";
  return moods[e.kind] ?? "calm";
}

// sentence says what happened.
export function sentence(e) {
  const [node, member] = [named(e.node), named(e.member)];
  switch (e.kind) {
    case "joined": return `${member} is there`;
    case "failed": return `${member} has failed`;
    case "left": return `${member} has left`;
    case "forgotten": return `${member} is no longer listed`;
    case "linked": return `${member} is linked with ${node}`;
    case "unlinked": return `${member} is no longer linked with ${node}`;
    case "refused": return `${node} and another refused each other`;
    case "conflict": return `${member} has the address of another`;
    case "unreached": return `${node} is not reached by others`;
    case "verticle": return `${plain(e.name)} on ${node} is ${e.state}`;
    case "messages": return `${plural(e.count, "message")} on ${node}: ${losses[e.name] ?? e.name}`;
  }
  return `${e.kind} ${member || node}`;
}

// line is one event in a list.
export function line(e) {
  const said = h("span", { class: "said" }, sentence(e));
  if (e.error) said.append(h("span", { class: "why" }, e.error));
  return h("li", { "data-mood": moodOf(e), title: e.time }, h("time", { datetime: e.time }, clock(e.time)), h("span", { class: "kind" }, e.kind), said);
}

export function events() {
  const feed = h("ol", { class: "feed", reversed: "" });
  const none = h("p", { class: "none", hidden: true });
  const told = h("span", { class: "told", role: "status" });
  const pause = h("button", { type: "button", "aria-pressed": "false", title: "p", onclick: turn }, "Pause");
  const copy = h("button", { type: "button", onclick: copyAll }, "Copy as JSON");
  const input = h("input", { type: "search", placeholder: "Filter", "aria-label": "Filter the events", spellcheck: "false", autocomplete: "off", "data-search": "", oninput: show });
  const kinds = h("div", { class: "kinds", role: "group", "aria-label": "Kinds" });
  const off = new Set();
  let held = null; // the events at the moment of the pause

  function turn() {
    held = held ? null : [...live.events];
    attr(pause, "aria-pressed", String(Boolean(held)));
    text(pause, held ? "Go on" : "Pause");
    show();
  }
  function shown() {
    const wanted = input.value.toLowerCase();
    return (held ?? live.events).filter((e) => !off.has(e.kind) && (!wanted || (sentence(e) + " " + e.kind + " " + (e.error ?? "")).toLowerCase().includes(wanted)));
  }
  function show() {
    const list = shown();
    keyed(feed, list.toReversed(), (e) => e.id, line);
    const all = held ?? live.events;
    const newer = held ? live.events.filter((e) => e.id > (held.at(-1)?.id ?? 0)).length : 0;
    text(told, (list.length < all.length ? list.length + " of " : "") + plural(all.length, "event") + (newer ? `, ${newer} more since the pause` : ""));
    none.hidden = list.length > 0;
    text(none, all.length ? "None of the events is like that." : "Nothing has happened yet.");
    showKinds(all);
  }
  function showKinds(all) {
    const counts = new Map();
    for (const e of all) counts.set(e.kind, (counts.get(e.kind) ?? 0) + 1);
    keyed(kinds, [...counts].sort(), ([kind]) => kind, ([kind]) => h("button", {
      type: "button", class: "pill", "aria-pressed": "true", onclick: (e) => {
        off.has(kind) ? off.delete(kind) : off.add(kind);
        attr(e.currentTarget, "aria-pressed", String(!off.has(kind)));
        show();
      },
    }), (button, [kind, n]) => text(button, kind + " " + count(n)));
  }
  async function copyAll() {
    const json = JSON.stringify(shown().map(({ id, ...e }) => e), null, 2);
    try {
      await navigator.clipboard.writeText(json);
    } catch { // not a secure context
      const area = h("textarea", { class: "unseen", "aria-hidden": "true" });
      area.value = json;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    text(copy, "Copied");
    setTimeout(() => text(copy, "Copy as JSON"), 1500);
  }
  const stop = listen((what) => what === "events" && show());
  show();
  return {
    element: h("section", { class: "card board", "aria-label": "Events" }, h("div", { class: "bar" }, h("h2", null, "Events"), told, h("span", { class: "space" }), pause, copy, input), kinds, h("div", { class: "scroll", role: "region", "aria-label": "The events", tabindex: "0" }, feed), none),
    pause: turn,
    close: stop,
  };
}
