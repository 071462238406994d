// The page "Stores" shows the vector stores. For each store, it shows the files, a search, the text of the pages,
// and a map of the vectors.
//
//   #/stores                             all stores
//   #/stores/vs_1                        the files of a store
//   #/stores/vs_1/search?q=pump          a search
//   #/stores/vs_1/map                    the map
//   #/stores/vs_1/pages/file-1/3         page 3 of a file

import * as api from "../api.js";
import { element, replace } from "../elements.js";
import { bytes, count } from "../format.js";
import { growingTable } from "../growing_table.js";
import { acting } from "../notices.js";
import { moment, pageHead, panel, stateLabel } from "../parts.js";

const VIEWS = [
  { name: "files", title: "Files", load: () => import("./stores/files.js") },
  { name: "search", title: "Search", load: () => import("./stores/search.js") },
  { name: "map", title: "Map", load: () => import("./stores/map.js") },
  { name: "pages", title: null, load: () => import("./stores/pages.js") },
];

/** Return the address of a view of a store. */
export const storeAddress = (id, ...rest) => `#/stores/${[id, ...rest].map(encodeURIComponent).join("/")}`;

/** Show the list of stores, or one store. */
export async function show(root, { path, parameters, signal, caller }) {
  const [id, view = "files", ...rest] = path;
  if (!id) return showList(root, { signal, caller });
  const store = await api.get(`v1/vector_stores/${encodeURIComponent(id)}`, {}, { signal });
  const chosen = VIEWS.find((one) => one.name === view) ?? VIEWS[0];
  const content = element("div", { class: "stack" });
  replace(root, storeHead(store), tabs(store, chosen), content);
  const { show: showView } = await chosen.load();
  if (!signal.aborted) await showView(content, { store, path: rest, parameters, signal, caller });
}

function storeHead(store) {
  const about = [
    store.embedding_model ?? "vectors of the caller", `${count(store.dimensions)} dimensions`,
    store.index, bytes(store.usage_bytes),
  ];
  return element("div", {},
    element("nav", { class: "small", "aria-label": "Way back" }, element("a", { href: "#/stores" }, "Stores"), " /"),
    pageHead(store.name || store.id, stateLabel(store.status)),
    element("p", { class: "store-facts quiet small" }, about.join(" · "), " · ", element("code", {}, store.id)),
    store.description && element("p", { class: "store-facts" }, store.description));
}

function tabs(store, chosen) {
  return element("nav", { class: "tabs", "aria-label": "Views of the store" }, VIEWS.filter((one) => one.title).map((one) =>
    element("a", { href: storeAddress(store.id, one.name), "aria-current": one === chosen ? "page" : null }, one.title)));
}

async function showList(root, { signal, caller }) {
  const table = growingTable({
    label: "Vector stores",
    signal,
    empty: "There is no vector store yet. A store is a set of documents that can be searched.",
    read: (after) => api.get("v1/vector_stores", { limit: 100, after }, { signal }),
    columns: [
      { title: "Name", look: "name", cell: (one) => element("a", { href: storeAddress(one.id), class: "break" }, one.name || one.id) },
      { title: "Status", cell: (one) => stateLabel(one.status) },
      { title: "Files", number: true, cell: (one) => count(one.file_counts.completed) },
      { title: "In progress", number: true, cell: (one) => count(one.file_counts.in_progress) },
      { title: "Failed", number: true, cell: failedFiles },
      { title: "Size", number: true, cell: (one) => bytes(one.usage_bytes) },
      { title: "Model", cell: (one) => one.embedding_model ?? element("span", { class: "quiet" }, "given vectors") },
      { title: "Last used", cell: (one) => moment(one.last_active_at) },
    ],
  });
  replace(root, pageHead("Stores", caller.scopes.includes("write") && newStoreForm()), panel("Vector stores", table.element));
  await table.refresh();
}

function failedFiles(store) {
  const failed = store.file_counts.failed;
  if (failed === 0) return "0";
  return element("a", { href: `${storeAddress(store.id)}?status=failed`, class: "bad-link" }, count(failed));
}

function newStoreForm() {
  const input = element("input", { id: "new-store", required: true, maxlength: 256, placeholder: "Name of a new store" });
  const button = element("button", { type: "submit" }, "Create");
  return element("form", {
    class: "row",
    onsubmit: async (event) => {
      event.preventDefault();
      const store = await acting(button, () => api.post("v1/vector_stores", { name: input.value.trim() }));
      if (store) location.hash = storeAddress(store.id);
    },
  }, element("label", { for: "new-store", class: "visually-hidden" }, "Name of a new store"), input, button);
}
