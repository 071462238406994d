// A table of up to some ten thousand rows. Only the rows in view and a few more are elements of the page, so the
// work of an update does not grow with the number of rows.
//
//   const table = new DataTable({ label: "Jobs", key: (job) => job.id, columns: [...] });
//   root.append(table.element);
//   table.show(jobs);
//
// A column is `{ title, width, number, minor, cell(row) }`; a minor column is left out on a narrow screen. A
// button in a cell has the attribute `data-action` and no listener of its own, because the elements of a row are
// used again for the next state of the row. The table calls `onAction(action, row, button)`.

import { element, update } from "./elements.js";
import { count } from "./format.js";
import { empty } from "./parts.js";

/** Height of a row. style/table.css must have the same height. */
const ROW_PX = 44;
const ROWS_AROUND_VIEW = 8;

export class DataTable {
  #rows = [];
  #elements = new Map();
  #selected = new Set();
  #frame = 0;

  /**
   * @param selectable returns true if the row can be selected; null if no row can be selected.
   * @param onSelection is called when the selection changes.
   * @param onEnd is called when the reader comes near the last row.
   */
  constructor({ label, key, columns, selectable = null, onSelection = () => {}, onAction = () => {}, onEnd = () => {}, none = "There is nothing here." }) {
    Object.assign(this, { key, columns, selectable, onSelection, onAction, onEnd });
    this.body = element("tbody");
    this.above = element("tbody", { "aria-hidden": "true" }, element("tr", {}, element("td", { colspan: columns.length + (selectable ? 1 : 0) })));
    this.below = this.above.cloneNode(true);
    this.all = selectable && element("input", { type: "checkbox", "aria-label": "Select all rows that can be selected", onchange: () => this.#selectAll() });
    const heads = columns.map((column) => element("th", { scope: "col", class: look(column) }, column.title));
    const widths = columns.map(({ width, minor }) => {
      const column = element("col", { class: minor ? "minor" : null });
      if (width) column.style.width = width;
      return column;
    });
    this.table = element("table", { "aria-label": label },
      element("colgroup", {}, selectable && element("col", { class: "selection" }), widths),
      element("thead", {}, element("tr", { "aria-rowindex": "1" }, selectable && element("th", {}, this.all), heads)),
      this.above, this.body, this.below);
    this.scroller = element("div", { class: "table-scroll virtual", tabindex: "0", role: "region", "aria-label": label }, this.table);
    this.none = empty(none);
    this.element = element("div", {}, this.scroller, this.none);
    this.scroller.addEventListener("scroll", () => this.#later(), { passive: true });
    this.body.addEventListener("click", (event) => this.#clicked(event));
    this.body.addEventListener("change", (event) => this.#changed(event));
    this.body.addEventListener("keydown", (event) => this.#moved(event));
    new ResizeObserver(() => this.#later()).observe(this.scroller);
  }

  /** The present rows. Do not change the array. */
  get rows() {
    return this.#rows;
  }

  /** The selected rows that are still in the table. */
  get selected() {
    return this.#rows.filter((row) => this.#selected.has(this.key(row)));
  }

  /** Show these rows, in this order. A row whose object is the same as before is not drawn again. */
  show(rows) {
    this.#rows = rows;
    this.#later();
  }

  /** Remove the selection. */
  clearSelection() {
    this.#selected.clear();
    this.#elements.clear();
    this.body.replaceChildren();
    if (this.all) this.all.checked = false;
    this.#later();
    this.onSelection(this.selected);
  }

  #later() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  #draw() {
    const rows = this.#rows;
    this.none.hidden = rows.length > 0;
    this.scroller.hidden = rows.length === 0;
    const { scrollTop, clientHeight } = this.scroller;
    const first = Math.max(0, Math.floor(scrollTop / ROW_PX) - ROWS_AROUND_VIEW);
    const last = Math.min(rows.length, Math.ceil((scrollTop + clientHeight) / ROW_PX) + ROWS_AROUND_VIEW);
    this.above.firstChild.firstChild.style.height = `${first * ROW_PX}px`;
    this.below.firstChild.firstChild.style.height = `${(rows.length - last) * ROW_PX}px`;
    this.above.hidden = first === 0;
    this.below.hidden = last === rows.length;
    this.table.setAttribute("aria-rowcount", rows.length + 1);
    const shown = new Map();
    let place = this.body.firstChild;
    for (let index = first; index < last; index += 1) {
      const line = this.#line(rows[index], index);
      shown.set(this.key(rows[index]), line);
      if (line === place) place = place.nextSibling;
      else this.body.insertBefore(line, place);
    }
    for (const [key, line] of this.#elements) if (shown.get(key) !== line) line.remove();
    this.#elements = shown;
    if (last === rows.length) this.onEnd();
  }

  #line(row, index) {
    const key = this.key(row);
    const line = this.#elements.get(key) ?? element("tr", { "data-key": key });
    if (line.row !== row) {
      line.row = row;
      update(line, this.selectable && element("td", {}, this.#box(row)), this.columns.map((column) =>
        element("td", { class: look(column) }, column.cell(row))));
    }
    line.setAttribute("aria-rowindex", index + 2);
    return line;
  }

  #box(row) {
    if (!this.selectable(row)) return null;
    const box = element("input", { type: "checkbox", "aria-label": `Select ${this.key(row)}` });
    box.checked = this.#selected.has(this.key(row));
    return box;
  }

  #rowOf(target) {
    return target.closest("tr")?.row;
  }

  #clicked(event) {
    const button = event.target.closest("[data-action]");
    if (button) this.onAction(button.dataset.action, this.#rowOf(button), button);
  }

  #changed(event) {
    if (event.target.type !== "checkbox") return;
    const key = this.key(this.#rowOf(event.target));
    if (event.target.checked) this.#selected.add(key);
    else this.#selected.delete(key);
    this.onSelection(this.selected);
  }

  #selectAll() {
    this.#selected = new Set(this.all.checked ? this.#rows.filter(this.selectable).map(this.key) : []);
    for (const line of this.#elements.values()) {
      const box = line.querySelector("input[type=checkbox]");
      if (box) box.checked = this.all.checked;
    }
    this.onSelection(this.selected);
  }

  /** The arrow keys move the focus to the same link or button of the row above or below. */
  #moved(event) {
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const cell = event.target.closest("td");
    const line = cell?.parentElement;
    const other = event.key === "ArrowDown" ? line?.nextElementSibling : line?.previousElementSibling;
    const target = other?.children[cell.cellIndex]?.querySelector("a, button, input");
    if (!target) return;
    event.preventDefault();
    target.focus();
    target.scrollIntoView({ block: "nearest" });
  }
}

const look = ({ number, minor }) => [number && "number", minor && "minor"].filter(Boolean).join(" ") || null;

/** Return "500 jobs", "1 job", or "500+ jobs" if there are more jobs than the table has. */
export function rowCount(shown, more, name) {
  return `${count(shown)}${more ? "+" : ""} ${name}${shown === 1 ? "" : "s"}`;
}
