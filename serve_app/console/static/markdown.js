// Shows a text in Markdown as elements. No text ever becomes HTML: the parser creates elements, and everything
// else becomes text nodes. A link is shown as a link only if it begins with http:// or https://.
//
//   replace(answer, markdown("Swifts **sleep** on the wing [1].", { citation: (number) => button(number) }))
//
// The parser knows the parts of Markdown that language models use: headings, paragraphs, lists, quotes, tables,
// code, emphasis and links. The time to parse a text grows only with its length, because each line is read once.

import { element } from "./elements.js";

/** Matches the parts of a line, such as code, emphasis and links. A part has at most 2,000 characters. */
const INLINE = /`([^`\n]{1,2000})`|\*\*([^*\n]{1,2000})\*\*|\*([^*\s][^*\n]{0,2000})\*|\[([^\[\]\n]{1,500})\]\((https?:\/\/[^\s()]{1,2000})\)|\[(\d{1,3})\]|(https?:\/\/[^\s<>()"'`]{1,2000}[^\s<>()"'`.,;:!?])/g;
const FENCE = /^\s{0,3}(```|~~~)/;
const HEADING = /^(#{1,6})\s+(.*)$/;
const ITEM = /^\s*(?:[-*+]|(\d{1,9})[.)])\s+(.*)$/;
const QUOTE = /^\s{0,3}>\s?(.*)$/;
const RULE = /^\s{0,3}([-*_])(?:\s*\1){2,}\s*$/;
const TABLE_RULE = /^\s*\|?\s*:?-{3,}:?\s*(\|\s*:?-{3,}:?\s*)*\|?\s*$/;

/**
 * Return the elements that show a text.
 *
 * `citation(number)` makes the element of a citation such as [1]. If it returns null, the citation stays text.
 */
export function markdown(text, { citation = () => null } = {}) {
  return blocks(text.split(/\r?\n/), citation);
}

function blocks(lines, citation) {
  const found = [];
  let at = 0;
  while (at < lines.length) {
    const [node, next] = block(lines, at, citation);
    if (node) found.push(node);
    at = next;
  }
  return found;
}

/** Return the element that begins in line `at`, and the number of the line after the element. */
function block(lines, at, citation) {
  const line = lines[at];
  if (!line.trim()) return [null, at + 1];
  if (FENCE.test(line)) return code(lines, at);
  const heading = HEADING.exec(line);
  if (heading) {
    // The page itself has headings h1 and h2, so the highest heading of a text is h3.
    return [element(`h${Math.min(6, heading[1].length + 2)}`, {}, inline(heading[2], citation)), at + 1];
  }
  if (RULE.test(line)) return [element("hr"), at + 1];
  if (QUOTE.test(line)) {
    const end = endOf(lines, at, (one) => QUOTE.test(one));
    const inside = lines.slice(at, end).map((one) => QUOTE.exec(one)[1]);
    // A quote inside a quote is shown as text, because a parser of inner quotes would read lines several times.
    return [element("blockquote", {}, element("p", {}, joined(inside, citation))), end];
  }
  if (ITEM.test(line)) return list(lines, at, citation);
  if (line.includes("|") && TABLE_RULE.test(lines[at + 1] ?? "")) return table(lines, at, citation);
  const end = endOf(lines, at + 1, (one) => one.trim() && ![FENCE, HEADING, RULE, QUOTE, ITEM].some((sign) => sign.test(one)));
  return [element("p", {}, joined(lines.slice(at, end), citation)), end];
}

/** Return the number of the first line, from line `at` on, for which the test is false. */
function endOf(lines, at, test) {
  let end = at;
  while (end < lines.length && test(lines[end])) end += 1;
  return end;
}

function code(lines, at) {
  const fence = FENCE.exec(lines[at])[1];
  const end = endOf(lines, at + 1, (one) => !one.trimStart().startsWith(fence));
  const text = lines.slice(at + 1, end).join("\n");
  return [element("pre", { class: "code", tabindex: "0" }, element("code", {}, text)), end + 1];
}

function list(lines, at, citation) {
  const ordered = ITEM.exec(lines[at])[1] !== undefined;
  const items = [];
  let end = at;
  while (end < lines.length) {
    const item = ITEM.exec(lines[end]);
    if (item && (item[1] !== undefined) === ordered) items.push([item[2]]);
    else if (!item && /^\s{2,}\S/.test(lines[end])) items.at(-1).push(lines[end].trim());
    else break;
    end += 1;
  }
  const start = ordered ? Number(ITEM.exec(lines[at])[1]) : 1;
  const attributes = ordered && start !== 1 ? { start } : {};
  return [element(ordered ? "ol" : "ul", attributes, items.map((item) => element("li", {}, joined(item, citation)))), end];
}

function table(lines, at, citation) {
  const end = endOf(lines, at + 2, (one) => one.includes("|") && one.trim());
  const cells = (one) => one.trim().replace(/^\||\|$/g, "").split("|").map((cell) => inline(cell.trim(), citation));
  const row = (name, one, attributes = {}) => element("tr", {}, cells(one).map((cell) => element(name, attributes, cell)));
  return [element("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Table" },
    element("table", {}, element("thead", {}, row("th", lines[at], { scope: "col" })),
      element("tbody", {}, lines.slice(at + 2, end).map((one) => row("td", one))))), end];
}

/** Return the nodes of several lines, with a line break between two lines. */
function joined(lines, citation) {
  return lines.flatMap((line, number) => [number ? element("br") : null, inline(line, citation)]);
}

/** Return the nodes of one line. */
function inline(line, citation) {
  const nodes = [];
  let from = 0;
  for (const match of line.matchAll(INLINE)) {
    const [whole, fixed, strong, emphasis, text, target, cited, bare] = match;
    nodes.push(line.slice(from, match.index));
    from = match.index + whole.length;
    if (fixed !== undefined) nodes.push(element("code", {}, fixed));
    else if (strong !== undefined) nodes.push(element("strong", {}, strong));
    else if (emphasis !== undefined) nodes.push(element("em", {}, emphasis));
    else if (cited !== undefined) nodes.push(citation(Number(cited)) ?? whole);
    else nodes.push(link(target ?? bare, text ?? bare));
  }
  nodes.push(line.slice(from));
  return nodes;
}

function link(target, text) {
  return element("a", { href: target, target: "_blank", rel: "noopener noreferrer" }, text);
}
