// A table whose rows are changed in place, sorted and searched by the server, and opened
// to show more.

import { attr, h, keyed, text } from "./dom.js";
import { ask, live, listen } from "./live.js";
import { plural } from "./format.js";

// table makes one. A column has an id, a label, show(row, put) which returns a text, and
// may have: sort, number, wide (hidden where there is no room for it), mood(row), kind
// (a class), draw(cell, row) instead of show, and hint.
export function table({ label, columns, key, detail, sort, onsort }) {
  const order = { by: sort, up: false };
  const heads = columns.map((c) => {
    const button = c.sort !== false && h("button", { type: "button", class: "sort", title: c.hint ?? null, onclick: () => turn(c) }, c.label);
    return h("th", { scope: "col", class: names(c), title: button ? null : (c.hint ?? null) }, button || c.label);
  });
  const body = h("tbody");
  const box = h("div", { class: "scroll", role: "region", "aria-label": label + ", as a table", tabindex: "0" }, h("table", null, h("thead", null, h("tr", null, heads)), body));
  const opened = new Map(); // by key: what shows more of it

  function turn(c) {
    if (order.by === c.id) order.up = !order.up;
    else Object.assign(order, { by: c.id, up: c.up === true });
    mark();
    onsort?.();
  }
  function mark() {
    columns.forEach((c, i) => attr(heads[i], "aria-sort", order.by === c.id ? (order.up ? "ascending" : "descending") : null));
  }
  mark();

  function make(row) {
    const id = key(row);
    const cells = columns.map((c) => h(c.head ? "th" : "td", { class: names(c), scope: c.head ? "row" : null }));
    const line = h("tr", { class: detail ? "opens" : null }, cells);
    line.cells_ = cells;
    if (detail) {
      const toggle = h("button", { type: "button", class: "toggle", "aria-expanded": "false" });
      cells[columns.findIndex((c) => c.head)].append(toggle);
      line.toggle = toggle;
      line.addEventListener("click", (e) => {
        if (e.target.closest("button, a") && !e.target.closest(".toggle")) return;
        if (getSelection().toString()) return;
        open(id, line);
      });
    }
    return line;
  }
  function update(line, row) {
    line.row = row;
    columns.forEach((c, i) => {
      const cell = line.cells_[i];
      if (c.draw) c.draw(cell, row);
      else {
        const target = c.head && line.toggle ? line.toggle : cell;
        const value = c.show(row);
        text(target, value);
        if (c.full) attr(target, "title", target.textContent);
      }
      if (c.mood) attr(cell, "data-mood", c.mood(row) || null);
    });
    opened.get(key(row))?.update(row);
  }
  function open(id, line) {
    const was = opened.get(id);
    if (was) return shut(id, line, was);
    const cell = h("td", { colspan: columns.length });
    const more = h("tr", { class: "more" }, cell);
    const shown = detail(cell, line.row);
    opened.set(id, { more, line, ...shown });
    line.after(more);
    attr(line.toggle, "aria-expanded", "true");
    return undefined;
  }
  function shut(id, line, was) {
    opened.delete(id);
    was.more.remove();
    was.close?.();
    attr(line.toggle, "aria-expanded", "false");
  }

  return {
    element: box,
    order,
    update(rows) {
      for (const o of opened.values()) o.more.remove();
      keyed(body, rows, key, make, update);
      for (const [id, o] of opened) {
        if (o.line.isConnected) o.line.after(o.more);
        else shut(id, o.line, o);
      }
    },
    shutAll: () => [...opened].forEach(([id, o]) => shut(id, o.line, o)),
    close: () => opened.forEach((o) => o.close?.()),
  };
}

const names = (c) => [c.number && "number", c.wide && "wide" + c.wide, c.kind].filter(Boolean).join(" ") || null;

// board is a table with a search, that asks the server for its rows with each frame.
export function board({ path, title, search, empty, tools, ...options }) {
  const t = table({ ...options, onsort: refresh });
  const input = h("input", { type: "search", placeholder: search, "aria-label": search, spellcheck: "false", autocomplete: "off", "data-search": "", oninput: refresh });
  const told = h("span", { class: "told", role: "status" });
  const more = h("button", { type: "button", hidden: true, onclick: () => ((most += 400), refresh()) }, "Show more");
  const none = h("p", { class: "none", hidden: true });
  const element = h("section", { class: "board card", "aria-label": title }, h("div", { class: "bar" }, h("h2", null, title), told, h("span", { class: "space" }), tools, input), t.element, none, more);
  let most = 100;
  let asking = null;
  let again = false;

  async function refresh() {
    if (asking) {
      again = true;
      return;
    }
    asking = new AbortController();
    try {
      const params = { most, match: input.value };
      if (t.order.by) params.sort = t.order.by;
      if (t.order.up) params.up = "1";
      show(await ask(path, params, asking.signal));
    } catch {
      /* the stream tells what is wrong */
    }
    asking = null;
    if (again) {
      again = false;
      refresh();
    }
  }
  function show({ rows, all }) {
    t.update(rows);
    text(told, rows.length < all ? rows.length + " of " + all : plural(all, options.one, options.many));
    more.hidden = rows.length >= all;
    none.hidden = rows.length > 0;
    t.element.hidden = rows.length === 0;
    text(none, input.value ? "Nothing has “" + input.value + "” in it." : empty);
  }
  const stop = listen((what) => what === "frame" && refresh());
  if (live.frame) refresh();
  return {
    element,
    search(value) {
      input.value = value;
      refresh();
    },
    close() {
      stop();
      asking?.abort();
      t.close();
    },
    escape: t.shutAll,
  };
}

// facts is a list of names and values, of which those that are not known are left out.
export function facts(list, entries) {
  keyed(
    list,
    entries.filter(([, value]) => value !== undefined && value !== null && value !== ""),
    ([name]) => name,
    () => h("div", null, h("dt"), h("dd")),
    (line, [name, value, mood]) => {
      text(line.firstChild, name);
      text(line.lastChild, value);
      attr(line, "data-mood", mood || null);
    },
  );
}
