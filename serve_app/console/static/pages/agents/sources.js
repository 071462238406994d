// The sources of an answer, each with a link to its page. The sources that the answer cites come first.

import { element } from "../../elements.js";

/** Make the list of sources. `point(number)` opens the list, marks one source, and moves the focus there. */
export function sourceList(sources, answer) {
  const cited = new Set([...answer.matchAll(/\[(\d{1,3})\]/g)].map((match) => Number(match[1])));
  const ordered = [...sources].sort((one, other) => cited.has(other.number) - cited.has(one.number) || one.number - other.number);
  const items = new Map(ordered.map((source) => [source.number, item(source, cited.has(source.number))]));
  const used = ordered.filter((source) => cited.has(source.number)).length;
  const title = used > 0 && used < sources.length ? `${sources.length} sources, ${used} cited` : sources.length === 1 ? "1 source" : `${sources.length} sources`;
  const box = element("details", { class: "sources", open: true }, element("summary", {}, title), element("ol", {}, [...items.values()]));
  return {
    element: box,
    point(number) {
      box.open = true;
      box.querySelector(".chosen")?.classList.remove("chosen");
      const chosen = items.get(number);
      chosen.classList.add("chosen");
      chosen.scrollIntoView({ block: "nearest" });
      chosen.querySelector("a, strong").focus();
    },
  };
}

function item(source, isCited) {
  const name = source.filename || source.file_id;
  const title = source.page === null ? name : `${name}, page ${source.page}`;
  return element("li", { class: isCited ? "source cited" : "source" },
    element("span", { class: "badge", "aria-hidden": "true" }, source.number),
    element("div", {},
      source.page === null ? element("strong", { tabindex: "-1" }, title) : element("a", { href: pageAddress(source) }, title),
      element("p", { class: "quote" }, source.quote)));
}

function pageAddress(source) {
  const parts = ["stores", source.vector_store_id, "pages", source.file_id, source.page];
  const place = source.start === null ? "" : `?start=${source.start}&end=${source.end}`;
  return `#/${parts.map(encodeURIComponent).join("/")}${place}`;
}
