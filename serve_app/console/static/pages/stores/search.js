// A search of a vector store. The words of the question are marked in the best passages. A click on the file name
// of a passage shows its page.

import * as api from "../../api.js";
import { element, replace } from "../../elements.js";
import { count } from "../../format.js";
import { highlighted } from "../../highlight.js";
import { announce, acting } from "../../notices.js";
import { choice, empty, field, message } from "../../parts.js";
import { storeAddress } from "../stores.js";
import { pagePreview } from "./preview.js";

const RANKINGS = [["auto", "Meaning, words and phrase"], ["none", "Meaning only"]];
const NUMBERS = [5, 10, 20, 50];

/** Show the search. If the address has a question, search for it immediately. */
export async function show(root, { store, parameters, signal }) {
  const preview = pagePreview({ store, signal });
  const results = element("div", { class: "stack" });
  const input = element("input", { type: "search", value: parameters.get("q") ?? "", required: true, autocomplete: "off", placeholder: "Ask a question, or quote a sentence" });
  const wanted = { ranker: "auto", max_num_results: 10 };
  const button = element("button", { class: "primary", type: "submit" }, "Search");
  const search = async () => {
    const query = input.value.trim();
    if (!query) return;
    history.replaceState(null, "", `${storeAddress(store.id, "search")}?q=${encodeURIComponent(query)}`);
    const found = await acting(button, () => ask(store, query, wanted, signal));
    if (found && !signal.aborted) showResults(results, found, query, preview);
  };
  replace(root,
    element("form", { class: "search-form", role: "search", onsubmit: (event) => (event.preventDefault(), search()) },
      element("label", { class: "field grow" }, element("span", {}, "Question"), input),
      field("Ranking", choice(RANKINGS, wanted.ranker, (value) => (wanted.ranker = value))),
      field("Results", choice(NUMBERS, String(wanted.max_num_results), (value) => (wanted.max_num_results = Number(value)))),
      button),
    store.embedding_model === null && message("The vectors of this store are given by its callers, so only its words are searched here."),
    element("div", { class: "results" }, results, preview.element));
  if (input.value) await search();
  else input.focus();
}

async function ask(store, query, { ranker, max_num_results }, signal) {
  const started = performance.now();
  const response = await api.post(`v1/vector_stores/${store.id}/search`,
    { query, max_num_results, ranking_options: { ranker } }, { signal });
  return { results: response.data, took: performance.now() - started };
}

function showResults(root, { results, took }, query, preview) {
  const summary = `${count(results.length)} ${results.length === 1 ? "result" : "results"} in ${Math.round(took)} ms`;
  announce(summary);
  if (results.length === 0) return replace(root, empty("No passage of this store answers the question."));
  return replace(root, element("p", { class: "small quiet" }, summary),
    element("ol", { class: "hits" }, results.map((result, at) => hit(result, at + 1, query, preview))));
}

function hit(result, number, query, preview) {
  const place = { ...result, text: result.content[0].text };
  const where = [result.page !== null && `page ${result.page}`, result.heading].filter(Boolean).join(" · ");
  const open = element("button", {
    type: "button", class: "link", "aria-label": `Show the page of result ${number}, ${result.filename}`,
    onclick: () => {
      open.closest("ol").querySelector(".chosen")?.classList.remove("chosen");
      open.closest("li").classList.add("chosen");
      preview.open(place, query);
    },
  }, result.filename || result.file_id);
  return element("li", { class: "hit" },
    element("div", { class: "row" }, open, element("span", { class: "quiet small" }, where), element("span", { class: "spacer" }),
      element("span", { class: "score", title: "Score: 0 to 1, higher is better" }, result.score.toFixed(3))),
    element("p", {}, highlighted(result.snippet, query)));
}
