// Draws charts as SVG: stacked bars over days, and points in a plane. Every chart can be read with the keyboard
// and with a screen reader, which says the text of the chosen bar or point. The colours are in style/plots.css.
//
//   stackedBars({ label: "Tokens by day", columns: ["1 Nov", "2 Nov"], series: [{ name: "search", values: [3, 4] }],
//                 format: short })
//   scatter({ label: "Map", points: [{ x: 0.1, y: -2, series: 0, lines: ["Herons ..."] }], names: [], onOpen })

import { element, replace, svg } from "./elements.js";

/** Number of colours for series. If there are more series, the last colour, grey, is used several times. */
export const COLOURS = 8;
const WIDTH = 960;
const BARS = { height: 280, left: 64, right: 12, top: 12, bottom: 34 };
const POINTS = { height: 560, padding: 24 };
/** Width that the name of a column needs, in the units of the drawing. Narrower columns do not all show a name. */
const NAME_WIDTH = 56;

/** Return the CSS class of the colour of a series. */
export const colour = (series) => `series-${Math.min(series, COLOURS - 1)}`;

/** Return round numbers from 0 to at least `largest`, for the lines of a scale: 0, 20, 40, ... */
export function scale(largest, lines = 4) {
  if (!(largest > 0)) return [0, 1];
  const rough = largest / lines;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= rough * 0.999);
  const steps = Math.ceil(largest / step - 1e-9);
  return Array.from({ length: steps + 1 }, (_, number) => number * step);
}

/**
 * A chart of stacked bars, one bar for each column.
 *
 * `series` holds `{ name, values }` with one value for each column; `format` turns a value into text.
 */
export function stackedBars({ label, columns, series, format = String }) {
  const totals = columns.map((_, at) => series.reduce((sum, one) => sum + one.values[at], 0));
  const ticks = scale(Math.max(0, ...totals));
  const { height, left, right, top, bottom } = BARS;
  const step = (WIDTH - left - right) / Math.max(1, columns.length);
  const y = (value) => top + (height - top - bottom) * (1 - value / ticks.at(-1));
  const lines = ticks.map((tick) => svg("g", { class: "line" },
    svg("line", { x1: left, x2: WIDTH - right, y1: y(tick), y2: y(tick) }),
    svg("text", { x: left - 8, y: y(tick), "text-anchor": "end", dy: "0.32em" }, format(tick))));
  const each = Math.max(1, Math.ceil(NAME_WIDTH / step));
  const bars = columns.map((name, at) => {
    let below = 0;
    const parts = series.map((one, number) => {
      const from = y(below);
      below += one.values[at];
      return one.values[at] > 0 && svg("rect", {
        class: colour(number), x: left + step * (at + 0.12), width: step * 0.76, y: y(below), height: from - y(below),
      });
    });
    const middle = left + step * (at + 0.5);
    return svg("g", { class: "bar-column" },
      svg("rect", { class: "hit", x: left + step * at, width: step, y: top, height: height - top - bottom }), parts,
      at % each === 0 && svg("text", { x: middle, y: height - 12, "text-anchor": "middle" }, name));
  });
  const described = (at) => [columns[at], series.length > 1 ? `total ${format(totals[at])}` : format(totals[at]),
    ...(series.length > 1 ? series.filter((one) => one.values[at] > 0).map((one) => `${one.name} ${format(one.values[at])}`) : [])];
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img" }, lines, bars);
  return chart({
    kind: "bars", label, drawing, marks: bars, described,
    place: (at) => [left + step * (at + 0.5), y(totals[at])],
    legend: series.length > 1 && legend(series.map((one) => one.name)),
  });
}

/**
 * Points in a plane, drawn with equal scales on both axes. `points` holds `{ x, y, series, lines }`, where
 * `lines` are the texts about the point. `onOpen(point)` is called for a click, or for Enter on the chosen point.
 */
export function scatter({ label, points, names, onOpen = () => {} }) {
  const { height, padding } = POINTS;
  const [x, y] = axes(points, WIDTH - 2 * padding, height - 2 * padding);
  // The arrow keys visit the points from left to right. The points are drawn in the given order and not by colour,
  // so that no colour covers all other colours.
  const order = points.map((_, at) => at).sort((one, other) => points[one].x - points[other].x);
  const marks = points.map((point) => svg("circle", {
    class: `point ${colour(point.series)}`, cx: padding + x(point.x), cy: padding + y(point.y), r: 5,
  }));
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img" }, marks);
  return chart({
    kind: "points", label, drawing,
    marks: order.map((at) => marks[at]),
    described: (at) => points[order[at]].lines,
    place: (at) => [padding + x(points[order[at]].x), padding + y(points[order[at]].y)],
    open: (at) => onOpen(points[order[at]]),
    legend: names.length > 0 && legend(names),
  });
}

/** Return functions that place x and y on a surface of this size. Both axes have the same scale. */
function axes(points, width, height) {
  const range = (values) => [Math.min(...values), Math.max(...values)];
  const [left, right] = range(points.map((point) => point.x));
  const [low, high] = range(points.map((point) => point.y));
  const unit = Math.min(width / (right - left || 1), height / (high - low || 1));
  return [
    (value) => width / 2 + (value - (left + right) / 2) * unit,
    (value) => height / 2 - (value - (low + high) / 2) * unit,
  ];
}

/** Return a list of the names of series, each with its colour. */
export function legend(names) {
  return element("ul", { class: "legend" }, names.map((name, number) =>
    element("li", {}, element("span", { class: `swatch ${colour(number)}` }), name)));
}

/**
 * A drawing whose marks can be chosen with the pointer or with the arrow keys. The texts about the chosen mark
 * are shown beside the mark, and a screen reader says them.
 */
function chart({ kind, label, drawing, marks, described, place, open = null, legend: below = null }) {
  const tip = element("div", { class: "tip", hidden: true });
  const spoken = element("p", { class: "visually-hidden", "aria-live": "polite" });
  const keys = open ? "Use the arrow keys to choose, Enter to open." : "Use the arrow keys to choose.";
  const frame = element("div", { class: "drawing", tabindex: "0", role: "application", "aria-label": `${label}. ${keys}` },
    element("div", { class: "canvas" }, drawing, tip));
  drawing.setAttribute("aria-hidden", "true");
  let chosen = -1;
  const choose = (at, say) => {
    if (at === chosen) return;
    marks[chosen]?.classList.remove("chosen");
    chosen = at;
    marks[at]?.classList.add("chosen");
    tip.hidden = at < 0;
    if (at < 0) return;
    const lines = described(at);
    replace(tip, lines.map((line, number) => element(number ? "div" : "strong", {}, line)));
    const [left, top] = place(at);
    const box = drawing.viewBox.baseVal;
    tip.style.left = `${Math.min(84, Math.max(16, (left / box.width) * 100))}%`;
    tip.style.top = `${(top / box.height) * 100}%`;
    tip.classList.toggle("under", top < box.height * 0.4);
    if (say) spoken.textContent = lines.join(", ");
  };
  const numbers = new Map(marks.map((mark, at) => [mark, at]));
  const under = (event) => numbers.get(event.target) ?? numbers.get(event.target.parentNode) ?? -1;
  drawing.addEventListener("pointermove", (event) => choose(under(event), false));
  drawing.addEventListener("pointerleave", () => choose(-1, false));
  if (open) drawing.addEventListener("click", (event) => under(event) >= 0 && open(under(event)));
  frame.addEventListener("blur", () => choose(-1, false));
  frame.addEventListener("keydown", (event) => {
    const last = marks.length - 1;
    const to = { ArrowRight: Math.min(last, chosen + 1), ArrowLeft: chosen < 0 ? last : Math.max(0, chosen - 1), Home: 0, End: last, Escape: -1 }[event.key];
    if (event.key === "Enter" && open && chosen >= 0) open(chosen);
    else if (to !== undefined) choose(to, true);
    else return;
    event.preventDefault();
  });
  return element("figure", { class: `chart ${kind}` }, frame, spoken, below);
}
