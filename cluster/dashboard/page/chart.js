// Charts over time, by uPlot (see uplot/LICENSE), in the page's colours.

import { attr, h } from "./dom.js";

const charts = new Set();
const resized = new ResizeObserver((entries) => entries.forEach((e) => e.target.chart?.fit()));
const themes = new MutationObserver(() => charts.forEach((c) => c.paint()));
themes.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach((c) => c.paint()));

// chart shows series, each { label, colour (a variable of the style sheet), fill, dash },
// of which show(value) makes a text; floor is the least that the axis reaches to.
export function chart({ label, series, show, floor = 4 }) {
  const box = h("div", { class: "chart", role: "img" });
  const legend = h("p", { class: "key", "aria-hidden": "true" }, series.map((one) => h("span", { "data-colour": one.colour }, one.label)));
  const element = h("figure", null, h("figcaption", null, h("span", null, label), legend), box);
  let plot = null;
  let data = [[], ...series.map(() => [])];

  function paint() {
    plot?.destroy();
    plot = null;
    if (box.clientWidth > 0) draw();
  }
  function draw() {
    const style = getComputedStyle(box);
    const colour = (name, alpha) => {
      const c = style.getPropertyValue("--" + name).trim();
      return alpha ? c + alpha : c;
    };
    const font = "11px " + style.fontFamily;
    const axis = { stroke: colour("soft"), font, ticks: { show: false }, grid: { stroke: colour("line"), width: 1 } };
    plot = new uPlot(
      {
        width: box.clientWidth,
        height: box.clientHeight,
        padding: [8, 26, 0, 0],
        legend: { show: false },
        cursor: { show: false },
        scales: { y: { range: (_, low, high) => [0, Math.max(high ?? 0, floor) * 1.12] } },
        axes: [
          { ...axis, grid: { show: false }, space: 76, size: 22, incrs: [1, 2, 5, 10, 15, 30, 60, 120], values: (_, ticks) => ticks.map((t) => new Date(t * 1000).toTimeString().slice(0, 8)) },
          { ...axis, space: Math.max(28, box.clientHeight / 6), size: 52, values: (_, ticks) => ticks.map(show) },
        ],
        series: [
          {},
          ...series.map((one) => ({
            label: one.label, stroke: colour(one.colour), fill: one.fill ? colour(one.colour, "22") : undefined, dash: one.dash,
            width: 1.75, points: { show: false }, spanGaps: false,
          })),
        ],
      },
      data,
      box,
    );
  }
  const own = { paint, fit: () => (plot ? plot.setSize({ width: box.clientWidth, height: box.clientHeight }) : paint()) };
  box.chart = own;
  charts.add(own);
  resized.observe(box);
  return {
    element,
    update(next) {
      data = next;
      const last = (list) => list.findLast((v) => v !== null);
      attr(box, "aria-label", label + ": " + series.map((one, i) => one.label + " " + show(last(next[i + 1]) ?? undefined)).join(", "));
      if (plot) plot.setData(data);
      else paint();
    },
    close() {
      charts.delete(own);
      resized.unobserve(box);
      plot?.destroy();
    },
  };
}
