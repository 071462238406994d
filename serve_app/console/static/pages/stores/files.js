// The files of a vector store, each with its status and with the reason if it cannot be searched. While files are
// in progress, the list is read again every two seconds.

import * as api from "../../api.js";
import { element, replace, setText } from "../../elements.js";
import { bytes, count } from "../../format.js";
import { growingTable } from "../../growing_table.js";
import { acting, agreed, notifyError } from "../../notices.js";
import { bar, moment, panel, segments, stateLabel } from "../../parts.js";
import { uploadArea } from "../../upload.js";
import { storeAddress } from "../stores.js";

const POLL_MS = 2_000;
/** Minimum number of milliseconds between two reads of the list, because many uploads can end in a short time. */
const PAUSE_MS = 500;
/** Milliseconds until the list is read again after an error of the endpoint or of the connection. */
const RETRY_MS = 5_000;
const STATUSES = ["", "completed", "in_progress", "failed", "cancelled"];
const TITLES = ["All", "Completed", "In progress", "Failed", "Cancelled"];

/** Show the files, and follow their status until the reader leaves. */
export async function show(root, { store, parameters, signal, caller }) {
  const mayWrite = caller.scopes.includes("write");
  const page = { store, signal, mayWrite, status: STATUSES.includes(parameters.get("status")) ? parameters.get("status") : "" };
  page.changed = () => {}; // replaced by `follow` before each read
  page.table = fileTable(page);
  const filter = statusFilter(page);
  replace(root,
    mayWrite && store.embedding_model !== null && uploadArea({ store: store.id, signal, onUploaded: () => page.changed() }),
    panel("Files", page.table.element, filter.element));
  await follow(page, filter);
}

/** Read the list repeatedly: every two seconds while files are in progress, and after each change. */
async function follow(page, filter) {
  const { store, signal } = page;
  const left = new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  while (!signal.aborted) {
    const changed = new Promise((resolve) => (page.changed = resolve));
    try {
      const [counted] = await Promise.all([api.get(`v1/vector_stores/${store.id}`, {}, { signal }), page.table.refresh()]);
      filter.set(counted.file_counts);
      await Promise.race([changed, left, ...(counted.file_counts.in_progress > 0 ? [api.sleep(POLL_MS, signal)] : [])]);
    } catch (error) {
      // Other errors can pass, so the list is read again.
      if (signal.aborted || (error.status < 500 && error.status !== 429)) throw error;
      notifyError(error);
      await api.sleep(Math.max(RETRY_MS, (error.retryAfterS ?? 0) * 1_000), signal);
    }
    await Promise.race([left, visible()]);
    await api.sleep(PAUSE_MS, signal);
  }
}

/** Wait until the tab is visible. */
function visible() {
  if (!document.hidden) return undefined;
  return new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
}

/** Make the buttons that choose a status. Each button shows the number of files with this status. */
function statusFilter(page) {
  const options = STATUSES.map((status, at) => [status, TITLES[at]]);
  const group = segments("Status", options, page.status, (status) => {
    page.status = status;
    page.table.clear();
    const query = status ? `?status=${status}` : "";
    history.replaceState(null, "", `${storeAddress(page.store.id)}${query}`);
    page.changed();
  });
  return {
    element: group,
    set(counts) {
      STATUSES.forEach((status, at) => setText(group.children[at], `${TITLES[at]} ${count(status ? counts[status] : counts.total)}`));
    },
  };
}

function fileTable(page) {
  const { store, signal } = page;
  return growingTable({
    label: "Files of the store",
    signal,
    empty: "No file of this store has this status.",
    read: (after) => api.get(`v1/vector_stores/${store.id}/files`, { limit: 100, after, filter: page.status }, { signal }),
    columns: [
      { title: "File", look: "wide", cell: (one) => fileCell(store, one) },
      { title: "Status", cell: statusCell },
      { title: "Pages", number: true, cell: (one) => count(one.pages) },
      { title: "Chunks", number: true, cell: (one) => count(one.chunks) },
      { title: "Size", number: true, cell: (one) => bytes(one.usage_bytes || null) },
      { title: "Added", cell: (one) => moment(one.created_at) },
      { title: "Actions", cell: (one) => actions(page, one) },
    ],
  });
}

/** Make the cell with the name of a file. Below the name, it says why the file or a part of it is missing. */
function fileCell(store, file) {
  const name = file.status === "completed" && file.chunks > 0
    ? element("a", { href: storeAddress(store.id, "pages", file.id, "1"), class: "break" }, file.filename)
    : element("span", { class: "break" }, file.filename);
  return element("div", { class: "file-cell" }, name,
    file.last_error && element("p", { class: "reason bad" }, file.last_error.message),
    !file.last_error && file.detail && element("p", { class: "reason" }, file.detail),
    file.failed_pages.length > 0 && element("p", { class: "reason" }, `Pages without text: ${file.failed_pages.join(", ")}`));
}

function statusCell(file) {
  if (file.status !== "in_progress") return stateLabel(file.status);
  const { done, total } = file.progress ?? {};
  return element("div", { class: "stack tight" },
    stateLabel(file.stage ?? "in_progress", "busy"),
    total && file.stage !== "queued" ? bar(done, total, `Progress of ${file.filename}`) : null,
    file.attempt > 1 ? element("span", { class: "small quiet" }, `attempt ${file.attempt}`) : null);
}

function actions(page, file) {
  const { store, mayWrite } = page;
  const path = `v1/vector_stores/${store.id}/files`;
  const again = element("button", {
    type: "button", "aria-label": `Process ${file.filename} again`,
    onclick: () => acting(again, () => api.post(path, { file_id: file.id })).then(() => page.changed()),
  }, "Retry");
  const remove = element("button", {
    type: "button", class: "plain", "aria-label": `Remove ${file.filename} from the store`,
    onclick: () => acting(remove, async () => {
      const question = {
        title: "Remove the file from the store?", action: "Remove", danger: true,
        text: `${file.filename} is no longer found by searches of this store. The file itself is kept.`,
      };
      if (await agreed(question)) await api.remove(`${path}/${file.id}`);
    }).then(() => page.changed()),
  }, "Remove");
  return element("div", { class: "row nowrap" },
    mayWrite && ["failed", "cancelled"].includes(file.status) && again,
    file.job_id && element("a", { class: "small", href: `#/jobs/${encodeURIComponent(file.job_id)}`, "aria-label": `Job of ${file.filename}` }, "Job"),
    mayWrite && remove);
}
