// The panel of verticles.

import { attr, h, text } from "./dom.js";
import { age, percent } from "./format.js";
import { live } from "./live.js";
import { board, facts } from "./table.js";

const moods = { running: "good", starting: "warn", restarting: "bad", stopping: "warn", failed: "bad" };

export function verticles({ rest }) {
  const b = board({
    path: "verticles",
    title: "Verticles",
    search: "Search verticles",
    label: "Verticles by node",
    one: "verticle",
    empty: "No verticle is deployed.",
    sort: "",
    key: (v) => v.boot + v.id,
    columns: [
      { id: "name", label: "Verticle", head: true, sort: false, kind: "tree", full: true, show: (v) => " ".repeat(4 * v.depth) + v.name },
      { id: "node", label: "Node", sort: false, show: (v) => v.node },
      { id: "state", label: "State", sort: false, draw: state },
      { id: "busy", label: "Busy", sort: false, number: true, draw: busy, hint: "share of the last second for which its turn was held" },
      { id: "restarts", label: "Restarts", sort: false, number: true, wide: 1, show: (v) => v.restarts ?? 0, mood: (v) => v.restarts && "warn" },
      { id: "consumers", label: "Consumers", sort: false, number: true, wide: 1, show: (v) => v.consumers?.length ?? 0 },
      { id: "since", label: "Up for", sort: false, number: true, wide: 2, show: (v) => age(v.since, live.frame.time) },
      { id: "failure", label: "Last failure", sort: false, wide: 2, kind: "failure", show: (v) => (v.failure ? age(v.failed, live.frame.time) + " ago: " + v.failure : ""), mood: (v) => v.failure && "bad" },
    ],
    detail(cell, row) {
      const list = h("dl", { class: "facts" });
      const failure = h("div", { class: "stack", hidden: true }, h("p"), h("pre", { tabindex: "0" }));
      cell.append(list, failure);
      const update = (v) => {
        facts(list, [
          ["node", v.node], ["deployed", age(v.deployed, live.frame.time) + " ago"], ["up for", age(v.since, live.frame.time)], ["restarts", v.restarts ?? 0], ["busy, all of its time", percent(v.busy)], ["consumes", v.consumers?.join(", ")],
        ]);
        failure.hidden = !v.failure;
        text(failure.firstChild, v.failure ? "Failed " + age(v.failed, live.frame.time) + " ago: " + v.failure : "");
        showStack(failure.lastChild, v.stack);
      };
      update(row);
      return { update };
    },
  });
  if (rest) b.search(rest);
  return b;
}

// showStack keeps the lines of a stack.
function showStack(pre, stack) {
  pre.hidden = !stack;
  if (!stack || pre.stack === stack) return;
  pre.stack = stack;
  pre.replaceChildren(...stack.split("\n").map((line) => h("div", null, line.replaceAll("\t", "    "))));
}

function state(cell, v) {
  if (!cell.firstChild) cell.append(h("span", { class: "state" }));
  text(cell.firstChild, v.state);
  attr(cell.firstChild, "data-mood", moods[v.state] ?? "calm");
}

function busy(cell, v) {
  if (!cell.firstChild) cell.append(h("span"), h("meter", { min: "0", max: "1", low: "0.6", high: "0.85", optimum: "0", "aria-label": "share of its time" }));
  const share = Math.min(1, v.busy_now ?? v.busy);
  text(cell.firstChild, percent(share));
  cell.lastChild.value = share;
}

