// The text of a file of a store, one page at a time: #/stores/vs_1/pages/file-1/3?start=120&end=480

import { element, replace } from "../../elements.js";
import { storeAddress } from "../stores.js";
import { pagePreview } from "./preview.js";

/** Show the page that the address names. */
export async function show(root, { store, path, parameters, signal }) {
  const [file, page = "1"] = path;
  const preview = pagePreview({ store, signal });
  preview.element.classList.add("alone");
  const place = (name) => (parameters.has(name) ? Number(parameters.get(name)) : null);
  replace(root, element("p", { class: "small" }, element("a", { href: storeAddress(store.id) }, "All files of the store")), preview.element);
  await preview.open({ file_id: file, filename: "", page: Number(page), start: place("start"), end: place("end") }, parameters.get("q") ?? "");
}
