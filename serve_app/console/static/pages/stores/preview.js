// A page, which is shown for a search result or for a point of the map. The found passage is marked. A page of a PDF
// is shown as a picture or as text, and every other page as text.
//
//   const preview = pagePreview({ store, signal });
//   await preview.open({ file_id, filename, page, start, end, text }, question);

import * as api from "../../api.js";
import { element, replace } from "../../elements.js";
import { highlighted } from "../../highlight.js";
import { acting } from "../../notices.js";
import { message } from "../../parts.js";
import { pagePictures } from "./picture.js";

/**
 * Make a panel that shows one page at a time. `open(place, question)` shows a place. A place has `file_id`,
 * `filename`, `page`, and the positions at which the passage begins and ends (`start`, `end`). For a place without
 * a page, the panel shows its `text`.
 */
export function pagePreview({ store, signal }) {
  const title = element("h2", { tabindex: "-1" }, "Page");
  const controls = element("div", { class: "row" });
  const text = element("div", { class: "page-text", tabindex: "0", role: "region", "aria-label": "Text of the page" });
  const picture = element("div", { class: "page-picture", tabindex: "0", role: "region", "aria-label": "Picture of the page", hidden: true });
  const drawn = pagePictures({ store, signal });
  const panel = element("section", { class: "panel preview", "aria-label": "Preview of a page", hidden: true },
    element("header", {}, title, element("span", { class: "spacer" }), controls), picture, text);
  const close = element("button", { type: "button", class: "plain", onclick: () => (panel.hidden = true) }, "Close");
  let opened = 0;
  let asText = false;

  async function open(place, question = "", { focus = true } = {}) {
    const number = (opened += 1);
    panel.hidden = false;
    title.textContent = place.page === null ? place.filename || place.file_id : `${place.filename || place.file_id}, page ${place.page}`;
    replace(controls, close);
    turn(false);
    if (focus) title.focus();
    if (place.page === null) return replace(text, element("p", {}, highlighted(place.text, question)));
    replace(text, element("p", { class: "quiet" }, "Loading"));
    try {
      const page = await read(place, 0);
      if (number !== opened) return undefined;
      fill(page, place, question);
      if (page.has_picture && !asText) await draw(place, page, number);
    } catch (error) {
      if (!signal.aborted && number === opened) replace(text, message(error.message, "bad"));
    }
    return undefined;
  }

  /** Show the picture, or the text. */
  function turn(toPicture) {
    picture.hidden = !toPicture;
    text.hidden = toPicture;
  }

  /** Show the picture of the page. If it cannot be drawn, the text stays, and a sentence says why. */
  async function draw(place, page, number = opened) {
    try {
      const image = await drawn({ ...place, page: page.page });
      if (number !== opened || asText) return;
      replace(picture, image);
      turn(true);
    } catch (error) {
      if (!signal.aborted && number === opened) text.prepend(message(error.message, "bad"));
    }
  }

  /** A button that changes between picture and text. The choice is kept for the next pages. */
  function choice(place, page) {
    const button = element("button", {
      type: "button", class: "plain", "aria-pressed": String(asText),
      onclick: () => acting(button, async () => {
        asText = !asText;
        button.setAttribute("aria-pressed", String(asText));
        if (asText) turn(false);
        else await draw(place, page);
      }),
    }, "Text");
    return button;
  }

  const read = (place, start) => api.get(
    `v1/vector_stores/${store.id}/files/${encodeURIComponent(place.file_id)}/pages/${place.page}`, { start }, { signal });

  function fill(page, place, question) {
    const to = (number, name) => element("button", {
      type: "button", disabled: number === null, "aria-label": `${name} page`,
      onclick: () => open({ file_id: page.file_id, filename: page.filename, page: number, start: null }, question),
    }, name);
    replace(controls, to(page.previous_page, "Previous"), to(page.next_page, "Next"), page.has_picture && choice(place, page), close);
    title.textContent = `${page.filename || page.file_id}, page ${page.page}`;
    const passage = place.start === null || place.start === undefined ? null : [place.start, place.end];
    replace(text, passages(page.data, passage, question), page.next_start !== null && rest(page, place, question));
    const found = text.querySelector(".passage");
    if (found) text.scrollTop = Math.max(0, found.offsetTop - text.offsetTop - 48);
  }

  function rest(page, place, question) {
    const more = element("button", {
      type: "button",
      onclick: () => acting(more, async () => {
        const next = await read({ ...place, page: page.page }, page.next_start);
        more.replaceWith(...passages(next.data, null, question), ...(next.next_start !== null ? [rest(next, place, question)] : []));
      }),
    }, "Show the rest of the page");
    return more;
  }

  return { element: panel, open };
}

/** Return the nodes of the parts of a page. `passage` holds the positions between which the text is marked. */
function passages(parts, passage, question) {
  let before = null;
  return parts.flatMap((part) => {
    const gap = before !== null && part.start > before ? "\n" : "";
    before = part.end;
    const [from, to] = passage ?? [0, 0];
    const first = Math.min(part.text.length, Math.max(0, from - part.start));
    const last = Math.min(part.text.length, Math.max(first, to - part.start));
    return [gap, part.text.slice(0, first),
      last > first ? element("span", { class: "passage" }, highlighted(part.text.slice(first, last), question)) : null,
      part.text.slice(last)].filter(Boolean).map((one) => (typeof one === "string" ? document.createTextNode(one) : one));
  });
}
