// The first panel: the cluster at a glance.

import { attr, h, keyed, text } from "./dom.js";
import { bytesRate, count, plural, rate, span } from "./format.js";
import { live, listen } from "./live.js";
import { topology } from "./topology.js";
import { chart } from "./chart.js";
import { line } from "./events.js";

function figure(label, hint) {
  const value = h("strong");
  const note = h("small");
  return { element: h("div", { class: "figure", title: hint ?? null }, h("span", null, label), value, note), value, note };
}

export function overview({ go }) {
  const map = topology((boot) => go("nodes", boot));
  const figures = {
    handled: figure("handled", "messages that consumers have handled, a second, on all nodes"),
    sent: figure("sent", "sends, publishes and requests, a second, from all nodes"),
    wrong: figure("failed or lost", "messages whose handler failed, or that reached none, a second"),
    ghosts: figure("ghosts", "pairs of nodes of which one knows other consumers of the other than that has"),
  };
  const traffic = chart({
    label: "Messages a second",
    series: [{ label: "handled", colour: "data", fill: true }, { label: "sent", colour: "data2", dash: [5, 4] }, { label: "failed or lost", colour: "bad" }],
    show: rate,
  });
  const worst = h("ul", { class: "worst" });
  const calm = h("p", { class: "none", hidden: true });
  const feed = h("ol", { class: "feed short", reversed: "" });
  const quiet = h("p", { class: "none", hidden: true }, "Nothing has happened yet.");
  const verticles = h("p", { class: "sum" });
  const element = h(
    "div",
    { class: "overview" },
    h("section", { class: "card map", "aria-label": "Topology" }, h("h2", { class: "unseen" }, "Topology"), map.element),
    h("section", { class: "card now", "aria-label": "Traffic" }, h("h2", { class: "unseen" }, "Traffic"), h("div", { class: "figures" }, Object.values(figures).map((f) => f.element)), traffic.element, verticles),
    h("section", { class: "card", "aria-label": "Addresses with the most trouble, then the most traffic" }, h("div", { class: "bar" }, h("h2", null, "Addresses"), h("span", { class: "space" }), h("a", { href: "#addresses" }, "all of them")), worst, calm),
    h("section", { class: "card", "aria-label": "What happened last" }, h("div", { class: "bar" }, h("h2", null, "Events"), h("span", { class: "space" }), h("a", { href: "#events" }, "all of them")), feed, quiet),
  );

  function update(what) {
    const frame = live.frame;
    if (!frame) return;
    if (what === "events" || what === undefined) {
      const last = live.events.slice(-7).reverse();
      keyed(feed, last, (e) => e.id, line);
      quiet.hidden = last.length > 0;
    }
    if (what === "events") return;
    map.update(frame);
    const t = frame.totals;
    text(figures.handled.value, rate(t.handled_rate));
    text(figures.handled.note, "/s");
    text(figures.sent.value, rate(t.sent_rate));
    text(figures.sent.note, "/s, " + bytesRate(t.bytes_rate) + " on links");
    const wrong = t.failed_rate === undefined ? undefined : t.failed_rate + t.lost_rate;
    text(figures.wrong.value, rate(wrong));
    text(figures.wrong.note, "/s, " + count(t.failed + t.lost) + " ever");
    attr(figures.wrong.element, "data-mood", wrong > 0 ? "bad" : null);
    text(figures.ghosts.value, frame.ghosts ?? "?");
    text(figures.ghosts.note, frame.ghosts === undefined ? "not all have told all" : frame.ghosts ? "see above" : "all routes are real");
    attr(figures.ghosts.element, "data-mood", frame.ghosts ? "bad" : null);
    const hst = live.history;
    traffic.update([hst.time, hst.handled, hst.sent, hst.wrong]);
    showWorst(frame);
    const states = Object.entries(frame.verticles);
    const all = states.reduce((sum, [, n]) => sum + n, 0);
    const deployed = all ? plural(all, "verticle") + ": " + states.map(([state, n]) => n + " " + state).join(", ") + "." : "No verticle is deployed.";
    text(verticles, deployed + (t.p99_seconds ? ` Requests take ${span(t.p50_seconds)} (p50), ${span(t.p99_seconds)} (p99).` : ""));
    attr(verticles, "data-mood", frame.verticles.failed || frame.verticles.restarting ? "bad" : null);
  }

  function showWorst(frame) {
    keyed(worst, frame.worst, (a) => a.address, () => h("li", null, h("a", { class: "address" }), h("span", { class: "note" }), h("span", { class: "rate" })), (item, a) => {
      const [name, note, speed] = item.children;
      text(name, a.address);
      attr(name, "title", name.textContent);
      attr(name, "href", "#addresses/" + encodeURIComponent(a.address));
      const trouble = [];
      if (a.wrong_rate > 0) trouble.push(rate(a.wrong_rate) + "/s go wrong");
      if (a.waiting) trouble.push(count(a.waiting) + " wait for room");
      if (a.queued > 10) trouble.push(count(a.queued) + " queued");
      if (!trouble.length && a.failed + a.lost) trouble.push(count(a.failed + a.lost) + " went wrong");
      attr(item, "data-mood", a.wrong_rate > 0 || a.waiting ? "bad" : null);
      text(note, trouble.join(", ") || (a.p99_seconds ? "p99 " + span(a.p99_seconds) : a.consumers ? plural(a.consumers, "consumer") : "no consumer"));
      text(speed, rate((a.handled_rate ?? 0) || a.sent_rate) + "/s");
    });
    calm.hidden = frame.worst.length > 0;
    text(calm, "No address is used yet: nobody consumes, and nobody sends.");
  }

  const stop = listen((what) => ["frame", "events"].includes(what) && update(what));
  return {
    element,
    opened: () => update(),
    close() {
      stop();
      traffic.close();
    },
  };
}

