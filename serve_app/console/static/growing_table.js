// A table of a list that the endpoint returns page by page. The table begins with the first page, and a button
// adds the next page. A refresh reads the first page again, and changes only the rows that differ, so that the
// focus and the scroll position stay.
//
//   const table = growingTable({ label, columns, read: (after) => api.get(...), empty: "...", signal });
//   await table.refresh();

import { element, replace } from "./elements.js";
import { count } from "./format.js";
import { acting } from "./notices.js";
import { empty as emptyNote } from "./parts.js";

/**
 * A column is `{ title, cell(row), number, look }`; `look` is a CSS class of the cells. `read(after)` returns the
 * page of the list that follows the row with the id `after`, or the first page if `after` is null.
 */
export function growingTable({ label, columns, read, empty, signal}) {
  const body = element("tbody");
  const more = element("button", { type: "button", hidden: true }, "Show more");
  const note = element("p", { class: "small quiet", hidden: true });
  const table = element("table", {},
    element("caption", { class: "visually-hidden" }, label),
    element("thead", {}, element("tr", {}, columns.map((column) =>
      element("th", { scope: "col", class: column.number ? "number" : null }, column.title)))), body);
  const scroll = element("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": label }, table);
  const none = emptyNote(empty);
  none.hidden = true;
  const rows = new Map();
  let last = null;

  const fill = (page) => {
    last = page.has_more ? page.last_id : null;
    more.hidden = last === null;
    none.hidden = rows.size > 0;
    scroll.hidden = rows.size === 0;
    note.hidden = last === null;
    note.textContent = `${count(rows.size)} shown`;
  };
  more.addEventListener("click", () => acting(more, async () => {
    const page = await read(last);
    for (const item of page.data) body.append(added(rows, columns, item));
    fill(page);
  }));
  return {
    element: element("div", {}, scroll, none, element("div", { class: "table-end" }, more, note)),
    /** Remove all rows, because the next refresh reads another list. */
    clear() {
      rows.clear();
      replace(body);
    },
    async refresh() {
      const page = await read(null);
      if (signal.aborted) return;
      if (rows.size > page.data.length && page.has_more && sameBeginning(rows, page.data)) {
        for (const item of page.data) changed(rows, columns, item); // keep the later rows that the reader added
        return;
      }
      const kept = new Set(page.data.map((item) => item.id));
      for (const [id, row] of rows) if (!kept.has(id)) (row.element.remove(), rows.delete(id));
      page.data.forEach((item, at) => {
        const row = rows.has(item.id) ? changed(rows, columns, item) : added(rows, columns, item);
        if (body.children[at] !== row) body.insertBefore(row, body.children[at] ?? null);
      });
      fill(page);
    },
  };
}

function sameBeginning(rows, items) {
  const known = rows.keys();
  return items.every((item) => known.next().value === item.id);
}

function added(rows, columns, item) {
  const row = element("tr");
  rows.set(item.id, { element: row, text: null });
  return changed(rows, columns, item);
}

/** Fill the row of the item again if the item differs from what the row shows. */
function changed(rows, columns, item) {
  const row = rows.get(item.id);
  const text = JSON.stringify(item);
  if (row.text !== text) {
    row.text = text;
    replace(row.element, columns.map((column) =>
      element("td", { class: column.number ? "number" : column.look ?? null }, column.cell(item))));
  }
  return row.element;
}
