// Drives headless Chromium through the dashboard, for TestBrowser and others, which say
// what to do by the first argument. It asks the test to do something by a line "do NAME",
// and goes on when it gets a line. It prints what is wrong, a line each, as "wrong: ...".

import { createRequire } from "node:module";
import readline from "node:readline";
import { mkdirSync } from "node:fs";

const require = createRequire(process.env.RUNRIG_BROWSER + "/");
const { chromium } = require("playwright-core");
const axe = require.resolve("axe-core/axe.min.js");
const [scenario, url, extra] = process.argv.slice(2);
const given = extra ? JSON.parse(extra) : {};

const input = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const ask = async (what) => {
  console.log("do " + what);
  return (await input.next()).value;
};
const wrong = (text) => console.log("wrong: " + String(text).replaceAll("\n", " | "));
const figure = (name, value) => console.log("figure: " + name + " " + value);

const browser = await chromium.launch({ executablePath: process.env.RUNRIG_CHROMIUM, args: ["--no-sandbox", "--headless=new"] });

// page opens one, and tells of all that goes wrong on it.
async function page({ width = 1280, height = 900, scheme = "light", bypass = false, motion = "no-preference" } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, bypassCSP: bypass, reducedMotion: motion });
  const p = await context.newPage();
  const expected = new Set();
  p.expect = (text) => expected.add(text);
  p.on("console", (m) => {
    if (["error", "warning"].includes(m.type()) && ![...expected].some((e) => m.text().includes(e))) wrong("console: " + m.text());
  });
  p.on("pageerror", (e) => wrong("script: " + e.stack));
  p.on("dialog", (d) => (wrong("a dialog: " + d.message()), d.dismiss()));
  await p.addInitScript(() => {
    addEventListener("securitypolicyviolation", (e) => console.error("policy: " + e.violatedDirective + " " + e.blockedURI));
  });
  await p.goto(url);
  await p.waitForSelector('#live[data-is="live"]');
  return p;
}

const panels = ["overview", "addresses", "links", "verticles", "events", "nodes", "try"];

async function show(p, panel) {
  await p.click(`#nav a[href="#${panel}"]`);
  await p.waitForFunction((panel) => document.querySelector(`#nav a[href="#${panel}"]`).getAttribute("aria-current") === "page", panel);
  await p.waitForTimeout(400); // its rows come at once
}

async function accessible(p, what) {
  await p.addScriptTag({ path: axe });
  const { violations } = await p.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  for (const v of violations) wrong(`${what}: axe: ${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + " " + (n.any[0]?.message ?? "")).join(" ;; ")}`);
}

const fits = async (p, what) => {
  const [has, room] = await p.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  if (has > room) wrong(`${what}: ${has} wide of ${room}`);
};

// opened shows the first row's details, where there are some.
async function opened(p) {
  const toggle = await p.$(".board .toggle");
  if (!toggle) return;
  await toggle.click();
  await p.waitForTimeout(600);
}

// film takes pictures of what happens, until what it returns is called.
function film(p, folder) {
  mkdirSync(folder, { recursive: true });
  let going = true;
  const clip = { x: 0, y: 0, width: 744, height: 640 };
  const taken = (async () => {
    for (let i = 100; going; i++) {
      const next = p.waitForTimeout(200);
      await p.screenshot({ path: `${folder}/${i}.png`, clip });
      await next;
    }
  })();
  return async () => {
    await p.waitForTimeout(2500);
    going = false;
    await taken;
  };
}

const scenarios = {
  // Every panel, in light and dark, narrow and wide, by mouse and by keys.
  async panels() {
    for (const scheme of ["light", "dark"]) {
      const p = await page({ scheme, bypass: true });
      for (const panel of panels) {
        await show(p, panel);
        await opened(p);
        await accessible(p, `${panel}, ${scheme}`);
      }
      await p.context().close();
    }
    for (const width of [360, 1280, 2560]) {
      const p = await page({ width, height: Math.round(width * 0.7) });
      for (const panel of panels) {
        await show(p, panel);
        await opened(p);
        await fits(p, `${panel} at ${width}`);
      }
      await p.context().close();
    }
    const p = await page();
    await p.keyboard.press("2");
    await p.waitForSelector(".board .toggle");
    await p.keyboard.press("/");
    await p.keyboard.type("order");
    await p.waitForFunction(() => [...document.querySelectorAll("tbody .toggle")].every((e) => e.textContent.includes("order")) && document.querySelector("tbody .toggle"));
    await p.keyboard.press("Escape");
    await p.focus("tbody .toggle");
    await p.keyboard.press("Enter");
    await p.waitForSelector("tr.more");
    await p.keyboard.press("Escape");
    await p.waitForSelector("tr.more", { state: "detached" });
    await p.keyboard.press("?");
    await p.waitForSelector("dialog[open]");
    await p.keyboard.press("Escape");
    const before = await p.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await p.keyboard.press("t");
    if ((await p.evaluate(() => getComputedStyle(document.body).backgroundColor)) === before) wrong("t does not change the theme");
    await p.keyboard.press("1");
    await p.focus(".spot .handle");
    await p.keyboard.press("Enter");
    await p.waitForSelector(".one h2");
    await p.keyboard.press("5");
    await p.waitForSelector(".kinds");
    await p.keyboard.press("p");
    await p.waitForSelector('button[aria-pressed="true"][title="p"]');
  },

  // Messages are sent and heard, where that is allowed.
  async trying() {
    const p = await page();
    await show(p, "try");
    const [send, watch] = [p.locator('section[aria-label="Send a message"]'), p.locator('section[aria-label="Watch an address"]')];
    await send.locator('[name="address"]').fill("audit");
    await send.locator('[name="body"]').fill("17");
    await send.locator("button").click();
    await p.waitForSelector(".waterfall li");
    if ((await send.locator(".said-message pre").textContent()).trim() !== "17") wrong("the reply: " + (await send.textContent()));
    await send.locator('[name="address"]').fill("nobody.is.here");
    await send.locator("button").click();
    await p.waitForSelector('.answer p[data-mood="bad"]');
    await watch.locator('[name="watched"]').fill("news");
    await watch.locator("button").click();
    await p.waitForFunction(() => document.querySelector('section[aria-label="Watch an address"] .told').textContent.startsWith("Hearing"));
    await send.locator('[name="verb"]').selectOption("publish");
    await send.locator('[name="address"]').fill("news");
    await send.locator('[name="body"]').fill("<b>late</b>");
    await send.locator("button").click();
    await p.waitForSelector(".heard pre");
    if ((await watch.locator(".heard pre").textContent()).trim() !== '"<b>late</b>"') wrong("heard: " + (await watch.textContent()));
    if (given.pictures) await p.screenshot({ path: given.pictures + "/tried.png" });
    await watch.locator("button").click();
  },

  // What others have named is text, wherever it is shown.
  async hostile() {
    const p = await page();
    for (const panel of ["addresses", "verticles"]) {
      await show(p, panel);
      const texts = await p.$$eval("tbody .toggle", (all) => all.map((e) => e.textContent));
      for (const name of given.names) if (!texts.includes(name)) wrong(`${panel} lacks ${JSON.stringify(name)}: ${JSON.stringify(texts)}`);
      if (await p.$("tbody img, tbody script, tbody iframe, tbody b")) wrong(`${panel}: a name has become an element`);
      for (const toggle of await p.$$(".board .toggle")) await toggle.click();
      await p.waitForTimeout(800);
      await fits(p, panel);
    }
    await show(p, "overview");
    await fits(p, "overview");
    await p.setViewportSize({ width: 360, height: 740 });
    for (const panel of panels) {
      await show(p, panel);
      await fits(p, `${panel} at 360`);
    }
  },

  // A node is killed: it is red, and the cluster well again when another has come. Then
  // the server of the page is killed, and comes back.
  async kill() {
    const p = await page({ scheme: given.scheme ?? "light" });
    await p.waitForFunction(() => document.querySelectorAll('.spot[data-mood="good"]').length === 3);
    if (given.film) await p.waitForTimeout(4000); // so that the chart has begun
    const cut = given.film ? film(p, given.film) : () => {};
    if (given.film) await p.waitForTimeout(1500);
    await ask("kill");
    const began = Date.now();
    await p.waitForSelector('.spot[data-mood="bad"]', { timeout: 5000 });
    figure("red_ms", Date.now() - began);
    await p.waitForSelector('.verdict[data-mood="warn"], .verdict[data-mood="bad"]', { timeout: 20000 });
    if (given.pictures) await p.screenshot({ path: given.pictures + "/failure.png" });
    if (given.film) await p.waitForTimeout(1500);
    await ask("replace");
    await p.waitForFunction(() => document.querySelectorAll('.spot[data-mood="good"]').length === 3 && !document.querySelector('.spot[data-mood="bad"]') && document.querySelector('.verdict[data-mood="good"]'), null, { timeout: 30000 });
    await cut();
    p.expect("ERR_CONNECTION_REFUSED");
    p.expect("ERR_INCOMPLETE_CHUNKED_ENCODING");
    p.expect("ERR_CONNECTION_RESET");
    p.expect("ERR_EMPTY_RESPONSE");
    await ask("kill server");
    await p.waitForSelector('body[data-is="lost"] #banner:not([hidden])');
    if (!(await p.textContent("#banner")).includes("This is how it was at")) wrong("the banner does not say when");
    const opacity = await p.waitForFunction(() => Number(getComputedStyle(document.querySelector("main")).opacity) < 0.6);
    if (!opacity || (await p.$$(".spot")).length === 0) wrong("the last state is not kept, or not dimmed");
    await fits(p, "lost");
    if (given.pictures) await p.screenshot({ path: given.pictures + "/lost.png" });
    await ask("start server");
    await p.waitForSelector('body[data-is="live"]', { timeout: 15000 });
  },

  // What the page costs: first paint, script a second, and what it keeps.
  async figures() {
    const p = await page();
    const paint = await p.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
    figure("first_paint_ms", paint);
    figure("wire_bytes", await p.evaluate(() => [...performance.getEntriesByType("resource"), ...performance.getEntriesByType("navigation")].filter((e) => !e.name.endsWith("/stream")).reduce((sum, e) => sum + e.transferSize, 0)));
    const cdp = await p.context().newCDPSession(p);
    await cdp.send("Performance.enable");
    const metrics = async () => Object.fromEntries((await cdp.send("Performance.getMetrics")).metrics.map((m) => [m.name, m.value]));
    for (const panel of ["overview", "addresses", "links", "nodes"]) {
      await show(p, panel);
      await p.waitForTimeout(2000);
      const before = await metrics();
      await p.waitForTimeout(8000);
      const after = await metrics();
      const over = after.Timestamp - before.Timestamp;
      figure("script_ms_" + panel, ((after.ScriptDuration - before.ScriptDuration) * 1000) / over);
      figure("task_ms_" + panel, ((after.TaskDuration - before.TaskDuration) * 1000) / over);
    }
    for (let i = 0; i < 3; i++) {
      await cdp.send("HeapProfiler.collectGarbage");
      const m = await metrics();
      figure("heap_mib_" + i, m.JSHeapUsedSize / 2 ** 20);
      figure("elements_" + i, m.Nodes);
      await p.waitForTimeout(5000);
    }
  },

  // Pictures for people.
  async pictures() {
    mkdirSync(given.to, { recursive: true });
    for (const [name, panel, options] of given.of) {
      const p = await page({ motion: "reduce", ...options });
      await show(p, panel);
      if (options.open) await opened(p);
      await p.waitForTimeout(options.wait ?? 1500);
      await p.screenshot({ path: `${given.to}/${name}.png` });
      await p.context().close();
    }
  },
};

try {
  await scenarios[scenario]();
} catch (e) {
  wrong(e.stack);
}
await browser.close();
process.exit(0);
