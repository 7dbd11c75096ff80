// Try it: a panel that is there only where the program allows it.

import { attr, h, keyed, plain, text } from "./dom.js";
import { bytes, clock, span } from "./format.js";
import { live } from "./live.js";

const keptMessages = 100;

async function post(path, document, signal) {
  const r = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(document), signal });
  if (!r.ok) throw new Error((await r.text()).trim());
  return r;
}

export function tryIt() {
  const caller = sender();
  const listener = watcher();
  return {
    element: h("div", { class: "try" }, h("p", { class: "danger", role: "note" }, "What is sent here is real: handlers of the running program get it."), caller.element, listener.element),
    close: listener.close,
  };
}

const field = (label, input) => h("label", null, h("span", null, label), input);

function sender() {
  const verb = h("select", { name: "verb" }, ["request", "send", "publish"].map((v) => h("option", { value: v }, v)));
  const address = h("input", { name: "address", required: true, spellcheck: "false", autocomplete: "off" });
  const body = h("textarea", { name: "body", rows: "4", spellcheck: "false", placeholder: '"text", {"json": 1}, or nothing' });
  const headers = h("textarea", { name: "headers", rows: "2", spellcheck: "false", placeholder: "key: value" });
  const timeout = h("input", { name: "timeout", type: "number", min: "0.1", max: "30", step: "0.1", value: "5" });
  const go = h("button", { class: "danger" }, "Send it");
  const told = h("div", { class: "answer", role: "status" });
  const form = h("form", { onsubmit: submit }, h("div", { class: "fields" }, field("Verb", verb), field("Address", address), field("Seconds", timeout)), field("Body, as JSON; other text goes as a string", body), field("Headers, one a line", headers), go);

  async function submit(e) {
    e.preventDefault();
    go.disabled = true;
    const call = { verb: verb.value, address: address.value, timeout_seconds: Number(timeout.value) };
    const given = body.value.trim();
    if (given) {
      try {
        call.json = JSON.parse(given);
      } catch {
        call.json = given;
      }
    }
    for (const line of headers.value.split("\n")) {
      const at = line.indexOf(":");
      if (at > 0) ((call.headers ??= {})[line.slice(0, at).trim().toLowerCase()] ??= []).push(line.slice(at + 1).trim());
    }
    const began = performance.now();
    try {
      const answer = await (await post("call", call)).json();
      show(call, answer, (performance.now() - began) / 1000);
    } catch (err) {
      told.replaceChildren(h("p", { "data-mood": "bad" }, err.message));
    }
    go.disabled = false;
  }
  function show(call, answer, took) {
    const parts = [];
    if (answer.error) parts.push(h("p", { "data-mood": "bad" }, (answer.class ? answer.class + ": " : "") + answer.error));
    else if (!answer.reply) parts.push(h("p", { "data-mood": "good" }, call.verb === "send" ? "Sent." : "Published."));
    if (answer.reply) parts.push(said(answer.reply));
    parts.push(waterfall(answer, took));
    told.replaceChildren(...parts);
  }
  return { element: h("section", { class: "card", "aria-label": "Send a message" }, h("div", { class: "bar" }, h("h2", null, "Send a message")), form, told) };
}

// waterfall shows where the time of a message went. What the link takes is by its own
// ping, and the way to the node what is left.
function waterfall(answer, took) {
  const frame = live.frame;
  const asked = frame?.nodes.findIndex((n) => n.id === answer.node) ?? -1;
  const by = frame?.nodes.findIndex((n) => n.name === answer.reply?.from) ?? -1;
  const pair = frame?.pairs.find((p) => (p[0] === asked && p[1] === by) || (p[0] === by && p[1] === asked));
  const inBus = Math.min(answer.took_seconds, took);
  const way = (took - inBus) / 2;
  const trip = answer.reply?.via === "link" && pair ? Math.min(pair[4], inBus) : 0;
  const name = (i) => (i >= 0 ? frame.nodes[i].name : "");
  const steps = [["page to " + (name(asked) || "the node"), way]];
  if (trip) steps.push(["link to " + name(by), trip / 2]);
  steps.push([answer.reply ? "queue and handler" + (by >= 0 ? " on " + name(by) : "") : "in the bus", inBus - trip]);
  if (trip) steps.push(["link back", trip / 2]);
  steps.push(["back to the page", way]);
  let at = 0;
  const list = h("ol", { class: "waterfall" });
  for (const [what, seconds] of steps) {
    const bar = h("span", { class: "bar-of-time" });
    bar.style.marginLeft = (at / took) * 100 + "%";
    bar.style.width = Math.max(0.6, (seconds / took) * 100) + "%";
    list.append(h("li", null, h("span", { class: "what" }, what), h("span", { class: "took" }, span(seconds)), h("span", { class: "track" }, bar)));
    at += seconds;
  }
  return h("figure", { class: "fall" }, h("figcaption", null, "Where its " + span(took) + " went (links by their ping)"), list);
}

// said shows a message.
function said(m) {
  const about = [m.from && "from " + m.from, m.via && "via " + m.via, bytes(m.size_bytes), m.cut && "only its beginning"].filter(Boolean).join(", ");
  const head = Object.entries(m.headers ?? {}).map(([k, vs]) => h("div", null, k + ": " + vs.join(", ")));
  return h("div", { class: "said-message" }, h("p", { class: "about" }, (m.time ? clock(m.time) + "  " : "") + about), head.length ? h("div", { class: "headers" }, head) : null, h("pre", { tabindex: "0" }, lines(m.text ?? m.base64 ?? "")));
}

const lines = (body) => body.split("\n").map((line) => h("div", null, line.replaceAll("\t", "    ") || " "));

function watcher() {
  const address = h("input", { name: "watched", required: true, spellcheck: "false", autocomplete: "off" });
  const turns = h("input", { type: "checkbox", name: "turns" });
  const go = h("button", { class: "danger" }, "Watch");
  const told = h("p", { class: "told", role: "status" });
  const list = h("ol", { class: "heard" });
  let watching = null;
  let messages = [];
  let id = 0;

  async function submit(e) {
    e.preventDefault();
    if (watching) return stop();
    const mine = (watching = new AbortController());
    text(go, "Stop");
    attr(go, "aria-pressed", "true");
    text(told, "Waiting until the nodes know …");
    try {
      const r = await post("watch", { address: address.value, turns: turns.checked }, mine.signal);
      text(told, "Hearing " + plain(address.value) + ".");
      let rest = "";
      for await (const chunk of r.body.pipeThrough(new TextDecoderStream())) {
        const parts = (rest + chunk).split("\n");
        rest = parts.pop();
        hear(parts.filter(Boolean).map((p) => JSON.parse(p)));
      }
      text(told, "The node has ended it.");
    } catch (err) {
      if (!mine.signal.aborted) text(told, err.message);
    }
    if (watching === mine) stop(false);
    return undefined;
  }
  function hear(all) {
    for (const m of all) messages.push({ ...m, id: ++id });
    messages = messages.slice(-keptMessages);
    keyed(list, messages.toReversed(), (m) => m.id, (m) => h("li", null, m.skipped ? h("p", { class: "told" }, m.skipped + " before it are not shown") : null, said(m.message)));
  }
  function stop(say = true) {
    watching?.abort();
    watching = null;
    text(go, "Watch");
    attr(go, "aria-pressed", null);
    if (say) text(told, "");
  }
  return {
    element: h("section", { class: "card", "aria-label": "Watch an address" }, h("div", { class: "bar" }, h("h2", null, "Watch an address")), h("form", { onsubmit: submit }, field("Address", address), h("label", { class: "check" }, turns, h("span", null, "take turns: what is heard here, no other consumer gets")), go), told, list),
    close: () => stop(),
  };
}
