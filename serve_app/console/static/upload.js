// Uploads files into a vector store: by drag and drop, or with a button. Three uploads run at the same time, and
// each shows its progress.
//
//   root.append(uploadArea({ store, signal, onUploaded: () => refresh() }))

import { address, ApiError, callerHeaders } from "./api.js";
import { element, replace, setText } from "./elements.js";
import { bytes, count } from "./format.js";
import { announce, notifyError } from "./notices.js";
import { bar } from "./parts.js";

const AT_ONCE = 3;
/** Maximum number of files of one drop. */
const MOST_FILES = 2_000;
/** Number of lines in the list of uploads above which the oldest lines of successful uploads are removed. */
const MOST_LINES = 50;

/** Make the area onto which files are dropped, with the list of uploads. */
export function uploadArea({ store, signal, onUploaded }) {
  const queue = new Uploads(store, signal, onUploaded);
  const input = element("input", {
    type: "file", multiple: true, class: "visually-hidden", tabindex: "-1", "aria-hidden": "true",
    onchange: () => (queue.add([...input.files]), (input.value = "")),
  });
  const button = element("button", { type: "button", onclick: () => input.click() }, "Choose files");
  const area = element("div", { class: "drop" },
    element("p", {}, "Drop files or folders here, or ", button, input), queue.element);
  for (const name of ["dragenter", "dragover"]) {
    area.addEventListener(name, (event) => {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      area.classList.add("over");
    });
  }
  area.addEventListener("dragleave", (event) => {
    if (!area.contains(event.relatedTarget)) area.classList.remove("over");
  });
  area.addEventListener("drop", async (event) => {
    event.preventDefault();
    area.classList.remove("over");
    try {
      queue.add(await filesOf(event.dataTransfer));
    } catch (error) {
      notifyError(error); // the browser cannot read one of the files
    }
  });
  return area;
}

/** Return the files of a drop, also the files in dropped folders, but at most one file more than `MOST_FILES`. */
async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (entries.length === 0) return [...transfer.files];
  const files = [];
  while (entries.length > 0 && files.length <= MOST_FILES) {
    const entry = entries.shift();
    if (entry.isFile) files.push(await new Promise((found, failed) => entry.file(found, failed)));
    else entries.push(...(await contentOf(entry)));
  }
  return files;
}

/** Return the entries of a folder. Several calls are needed, because the browser returns the entries in parts. */
async function contentOf(folder) {
  const reader = folder.createReader();
  const entries = [];
  while (true) {
    const part = await new Promise((found, failed) => reader.readEntries(found, failed));
    if (part.length === 0) return entries;
    entries.push(...part);
  }
}

/** Runs the uploads of one page, and shows the state of each upload. */
class Uploads {
  #store;
  #signal;
  #onUploaded;
  #waiting = [];
  #running = 0;
  #done = 0;
  #failed = 0;

  constructor(store, signal, onUploaded) {
    this.#store = store;
    this.#signal = signal;
    this.#onUploaded = onUploaded;
    this.summary = element("p", { class: "small quiet", role: "status", hidden: true });
    this.lines = element("ul", { class: "uploads" });
    this.element = element("div", {}, this.summary, this.lines);
  }

  /** Add files to the queue, and tell the reader if there are too many files. */
  add(files) {
    if (files.length > MOST_FILES) {
      notifyError(new Error(`Only the first ${count(MOST_FILES)} files are uploaded. Drop the other files afterwards.`));
    }
    this.#waiting.push(...files.slice(0, MOST_FILES));
    this.#next();
  }

  #next() {
    if (this.#signal.aborted) return; // because the reader has left the page
    while (this.#running < AT_ONCE && this.#waiting.length > 0) this.#upload(this.#waiting.shift());
    this.#show();
  }

  async #upload(file) {
    this.#running += 1;
    const line = uploadLine(file);
    this.lines.prepend(line.element);
    try {
      await sent(file, this.#store, this.#signal, line);
      this.#done += 1;
      line.finish("uploaded", "good");
      this.#onUploaded();
    } catch (error) {
      if (this.#signal.aborted) return;
      if (!line.cancelled) this.#failed += 1;
      line.finish(line.cancelled ? "cancelled" : error.message, line.cancelled ? "" : "bad");
    } finally {
      this.#running -= 1;
      this.#next();
    }
  }

  #show() {
    const left = this.#running + this.#waiting.length;
    const parts = [`${count(this.#done)} uploaded`, left && `${count(left)} to go`, this.#failed && `${count(this.#failed)} failed`];
    const text = parts.filter(Boolean).join(", ");
    this.summary.hidden = left + this.#done + this.#failed === 0;
    setText(this.summary, text);
    if (left === 0 && !this.summary.hidden) announce(text);
    for (const line of [...this.lines.children].slice(MOST_LINES)) {
      if (line.dataset.ended === "good") line.remove();
    }
  }
}

function uploadLine(file) {
  const progress = bar(0, file.size, `Upload of ${file.name}`);
  const state = element("span", { class: "quiet" }, `0 of ${bytes(file.size)}`);
  const cancel = element("button", { type: "button", class: "plain", "aria-label": `Cancel the upload of ${file.name}` }, "Cancel");
  const line = {
    cancelled: false,
    onCancel: () => {},
    element: element("li", {}, element("span", { class: "name" }, file.name), progress, state, cancel),
    progress(sentBytes) {
      const share = file.size ? sentBytes / file.size : 1;
      progress.firstChild.style.width = `${share * 100}%`;
      progress.setAttribute("aria-valuenow", Math.round(share * 100));
      setText(state, share < 1 ? `${bytes(sentBytes)} of ${bytes(file.size)}` : "is being stored");
    },
    finish(text, look) {
      line.element.dataset.ended = look;
      replace(line.element, element("span", { class: "name" }, file.name),
        element("span", { class: look ? `outcome ${look}` : "outcome" }, text));
    },
  };
  cancel.addEventListener("click", () => {
    line.cancelled = true;
    line.onCancel();
  });
  return line;
}

/** Send the file. XMLHttpRequest is used because fetch does not report how much of a body was sent. */
function sent(file, store, signal, line) {
  const form = new FormData();
  form.append("purpose", "assistants");
  form.append("vector_store_id", store);
  form.append("file", file, file.name);
  const request = new XMLHttpRequest();
  request.open("POST", address("v1/files"));
  for (const [name, value] of Object.entries(callerHeaders())) request.setRequestHeader(name, value);
  request.responseType = "json";
  request.upload.addEventListener("progress", (event) => line.progress(Math.min(file.size, event.loaded)));
  const abort = () => request.abort();
  line.onCancel = abort;
  signal.addEventListener("abort", abort);
  request.addEventListener("loadend", () => signal.removeEventListener("abort", abort));
  return new Promise((resolve, reject) => {
    request.addEventListener("load", () => {
      if (request.status < 300) resolve(request.response);
      else reject(new ApiError(request.status, request.response?.error ?? {}, 0));
    });
    request.addEventListener("error", () => reject(new Error("the connection was lost; upload the file again")));
    request.addEventListener("abort", () => reject(new Error("the upload was cancelled")));
    request.send(form);
  });
}
