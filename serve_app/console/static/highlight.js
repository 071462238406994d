// Marks the words of a question in a text. Words match as in the endpoint's snippets: upper and lower case are
// equal, and words may have different endings (sleep, sleeps, sleeping).
//
//   element("p", {}, highlighted(result.snippet, question))

import { element } from "./elements.js";

const WORD = /[\p{L}\p{M}\p{N}]+/gu;
/** Minimum number of equal first characters of two matching words. Shorter words must be equal. */
const LEAST_COMMON = 4;
/** Maximum number of characters at the end by which two matching words may differ. */
const LONGEST_ENDING = 3;

const normalised = (word) => word.normalize("NFKC").toLowerCase();

/** Return the nodes of the text, with a mark around each word that matches a word of the question. */
export function highlighted(text, question) {
  const words = wordsOf(question);
  const nodes = [];
  let from = 0;
  for (const match of text.matchAll(WORD)) {
    if (!matches(normalised(match[0]), words)) continue;
    nodes.push(text.slice(from, match.index), element("mark", {}, match[0]));
    from = match.index + match[0].length;
  }
  nodes.push(text.slice(from));
  return nodes;
}

/**
 * Return the words of a question that are compared. Latin words of up to three letters, such as "the", are left
 * out if the question has another word.
 */
function wordsOf(question) {
  const words = [...new Set((question.match(WORD) ?? []).map(normalised))];
  const long = words.filter((word) => word.length >= LEAST_COMMON || /\P{Script=Latin}/u.test(word));
  return long.length ? long : words;
}

function matches(word, words) {
  return words.some((one) => one === word || alike(one, word));
}

function alike(one, other) {
  const longer = Math.max(one.length, other.length);
  const common = Math.max(LEAST_COMMON, longer - LONGEST_ENDING);
  return Math.min(one.length, other.length) >= common && one.slice(0, common) === other.slice(0, common);
}
