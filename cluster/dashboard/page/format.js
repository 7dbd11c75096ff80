// Figures as people read them. What is not known is a dash.

const dash = "–";
const known = (n) => n !== undefined && n !== null && Number.isFinite(n);

function short(n, units, step) {
  let unit = 0;
  while (Math.abs(n) >= step * 0.9995 && unit < units.length - 1) {
    n /= step;
    unit++;
  }
  const digits = unit === 0 || Math.abs(n) >= 99.95 ? 0 : Math.abs(n) >= 9.995 ? 1 : 2;
  return n.toFixed(digits) + units[unit];
}

export const count = (n) => (!known(n) ? dash : n < 10000 ? String(Math.round(n)) : short(n, ["", " k", " M", " G", " T"], 1000));

export function rate(n) {
  if (!known(n)) return dash;
  if (n === 0) return "0";
  if (n < 0.1) return "< 0.1";
  return n < 10 ? n.toFixed(1) : count(n);
}

export const bytes = (n) => (!known(n) ? dash : short(n, [" B", " KiB", " MiB", " GiB", " TiB"], 1024));

export const bytesRate = (n) => (known(n) ? bytes(n) + "/s" : dash);

export const percent = (n) => (known(n) ? (n * 100 < 10 ? (n * 100).toFixed(1) : (n * 100).toFixed(0)) + " %" : dash);

// span shows a length of time, of seconds.
export function span(n) {
  if (!known(n)) return dash;
  if (n < 0.001) return Math.round(n * 1e6) + " µs";
  if (n < 1) return (n * 1e3).toFixed(n < 0.01 ? 2 : n < 0.1 ? 1 : 0) + " ms";
  if (n < 10) return n.toFixed(1) + " s";
  if (n < 60) return Math.round(n) + " s";
  if (n < 3600) return Math.floor(n / 60) + " min" + (n < 600 ? " " + Math.floor(n % 60) + " s" : "");
  if (n < 86400) return Math.floor(n / 3600) + " h " + Math.floor((n % 3600) / 60) + " min";
  return Math.floor(n / 86400) + " d " + Math.floor((n % 86400) / 3600) + " h";
}

// age is how long before now, in whole seconds.
export function age(then, now) {
  if (!then) return dash;
  const n = Math.max(0, (Date.parse(now) - Date.parse(then)) / 1000);
  return n < 60 ? Math.floor(n) + " s" : span(n);
}

const times = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
export const clock = (time) => (time ? times.format(new Date(time)) : dash);

export const plural = (n, one, many) => n + " " + (n === 1 ? one : (many ?? one + "s"));

// fit shortens a name in its middle.
export function fit(name, most) {
  const parts = [...name];
  if (parts.length <= most) return name;
  const tail = Math.floor((most - 1) / 3);
  return parts.slice(0, most - 1 - tail).join("") + "…" + parts.slice(parts.length - tail).join("");
}
