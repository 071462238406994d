// The parts that every page is made of. The classes are in style/components.css.

import { element, svg } from "./elements.js";
import { ago, time } from "./format.js";

/** The CSS class for each state of a job, of a file, of a schedule and of the endpoint. */
const LOOKS = {
  queued: "", running: "busy", succeeded: "good", failed: "bad", cancelled: "",
  in_progress: "busy", completed: "good", retried: "warn", lost: "bad", paused: "warn", active: "good",
  ok: "good", short: "warn", unavailable: "bad",
};

/** The heading of a page with its controls. */
export function pageHead(title, ...controls) {
  return element("div", { class: "page-head" },
    element("h1", { tabindex: "-1" }, title), element("span", { class: "spacer" }), controls);
}

/** A framed section. `controls` are at the right of the heading. */
export function panel(title, content, ...controls) {
  const id = `panel-${title.toLowerCase().replace(/[^a-z0-9]+/g, "-")}`;
  return element("section", { class: "panel", "aria-labelledby": id },
    element("header", {}, element("h2", { id }, title), element("span", { class: "spacer" }), controls),
    content);
}

/** A number with its name in a frame. With `href`, the whole tile is a link. */
export function tile({ name, figure, note = "", look = "", href = null }) {
  return element(href ? "a" : "div", { class: `tile ${look}`, href },
    element("span", { class: "name" }, name),
    element("span", { class: "figure" }, figure),
    note && element("span", { class: "note" }, note));
}

/** A state as a coloured label, such as "failed". */
export function stateLabel(state, look = LOOKS[state] ?? "") {
  return element("span", { class: `state ${look}` }, String(state).replaceAll("_", " "));
}

/** A bar that shows `done` of `total`; empty while the total is unknown. */
export function bar(done, total, label) {
  const share = total ? Math.min(1, done / total) : 0;
  const inside = element("span");
  inside.style.width = `${share * 100}%`;
  return element("div", {
    class: "bar", role: "progressbar", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100,
    "aria-valuenow": total ? Math.round(share * 100) : null,
  }, inside);
}

/** A list of names and values. Rows whose value is null or empty are left out. */
export function facts(rows) {
  return element("dl", { class: "facts" },
    rows.filter(([, value]) => value !== null && value !== undefined && value !== "")
      .map(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

/** A time as "5 s ago", with the exact time as the tooltip. */
export function moment(seconds) {
  if (seconds === null || seconds === undefined) return element("span", { class: "quiet" }, "–");
  return element("time", { datetime: new Date(seconds * 1000).toISOString(), title: time(seconds) }, ago(seconds));
}

/** A paragraph in a frame. `look` is "bad", "warn", "good" or empty. */
export function message(text, look = "") {
  return element("p", { class: `message ${look}` }, text);
}

/** A sentence that is shown in place of a table without rows. */
export function empty(...text) {
  return element("p", { class: "empty" }, text);
}

/** A table with few rows. A column is `{ title, cell(row), number }`; `number` is true for numbers. */
export function plainTable(label, columns, rows) {
  return element("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": label },
    element("table", {},
      element("thead", {}, element("tr", {},
        columns.map((column) => element("th", { scope: "col", class: column.number ? "number" : null }, column.title)))),
      element("tbody", {}, rows.map((row) => element("tr", {},
        columns.map((column) => element("td", { class: column.number ? "number" : null }, column.cell(row))))))));
}

/** A field with its label. */
export function field(label, input) {
  return element("label", { class: "field" }, element("span", {}, label), input);
}

/** A drop-down list. `options` holds values, or pairs of a value and its text. */
export function choice(options, value, onchange, attributes = {}) {
  const select = element("select", { ...attributes, onchange: () => onchange(select.value) },
    options.map((option) => {
      const [one, text] = Array.isArray(option) ? option : [option, option];
      return element("option", { value: one }, text);
    }));
  select.value = value ?? "";
  return select;
}

/** A row of buttons, of which at most one is chosen. */
export function segments(label, options, value, onchange) {
  const group = element("div", { class: "segments", role: "group", "aria-label": label });
  for (const [one, text] of options) {
    group.append(element("button", {
      type: "button", "aria-pressed": String(one === value),
      onclick: (event) => {
        for (const button of group.children) button.setAttribute("aria-pressed", String(button === event.currentTarget));
        onchange(one);
      },
    }, text));
  }
  return group;
}

/** A label that shows whether a stream is connected. Call `set("on")` or `set("off")` to change the label. */
export function liveLabel() {
  const label = element("span", { class: "live" }, "Connecting");
  return {
    element: label,
    set(state) {
      label.className = `live ${state}`;
      label.textContent = state === "on" ? "Live" : "Connecting again";
    },
    /** Show this text, because the stream has ended and is not connected again. */
    end(text) {
      label.className = "live";
      label.textContent = text;
    },
  };
}

/** An icon that is drawn with lines. `path` is the attribute `d` of an SVG path in a square of 24 units. */
export function icon(path) {
  return svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true", fill: "none", stroke: "currentColor",
    "stroke-width": "1.8", "stroke-linecap": "round", "stroke-linejoin": "round" }, svg("path", { d: path }));
}
