// The page of one job: why it waits or failed, its stages on a time axis, its attempts, and its log, which grows
// while the job runs.

import * as api from "../api.js";
import { element, replace, update } from "../elements.js";
import { count, duration, time } from "../format.js";
import { acting, agreed, announce, notifyError } from "../notices.js";
import { bar, empty, facts, liveLabel, message, moment, pageHead, panel, plainTable, stateLabel } from "../parts.js";

const REFRESH_MS = 700;
const ENDED = new Set(["succeeded", "failed", "cancelled"]);
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** Show the job, and follow it until the reader leaves. */
export async function show(root, page) {
  await new JobPage(root, page).show();
}

class JobPage {
  constructor(root, { path, signal, caller }) {
    Object.assign(this, { root, signal, url: `v1/jobs/${encodeURIComponent(path[0])}`, writes: caller.scopes.includes("write") });
    this.live = liveLabel();
    this.head = element("div");
    this.body = element("div", { class: "stack" });
    this.log = element("ol", { class: "log", tabindex: "0", "aria-label": "Events of the job" });
    this.head.addEventListener("click", (event) => {
      const button = event.target.closest("[data-action]");
      if (button) acting(button, () => this.act(button.dataset.action));
    });
  }

  async show() {
    await this.refresh();
    this.document = await documentOf(this.job, this.signal);
    this.draw();
    replace(this.root,
      element("a", { class: "crumb", href: "#/jobs" }, "← Jobs"), this.head,
      element("div", { class: "stack" }, this.body,
        panel("Log", this.log, this.live.element),
        element("div", { class: "columns" }, json("Input", this.job.input), this.job.result && json("Result", this.job.result))));
    await this.follow();
  }

  async refresh() {
    this.job = await api.get(this.url, {}, { signal: this.signal });
    if (this.head.isConnected) this.draw();
  }

  draw() {
    const { job } = this;
    update(this.head, pageHead(job.kind, stateLabel(job.state), this.writes ? controls(job) : null));
    update(this.body, news(job),
      element("div", { class: "columns" }, about(job, this.document), state(job)), stages(job), attempts(job));
  }

  /** Add each event to the log, and read the job again at most every `REFRESH_MS`. */
  async follow() {
    let timer = 0;
    const stream = api.events(`${this.url}/events`, { signal: this.signal, onState: this.live.set });
    for await (const event of stream) {
      this.add(event);
      timer ||= setTimeout(() => {
        timer = 0;
        this.refresh().catch(notifyError);
      }, REFRESH_MS);
    }
    if (!this.signal.aborted) this.live.end("Ended");
  }

  add(event) {
    const { data } = event;
    const { type, at } = data;
    const line = element("li", { class: type === "failed" || type === "paused" ? "bad" : null },
      element("time", { title: time(at) }, clock.format(new Date(at * 1000))),
      element("span", {}, type), element("span", {}, sentence(type, data)));
    // Of several events about progress in a row, the log keeps only the last event.
    if (type === "progress" && this.log.lastChild?.dataset.type === "progress") this.log.lastChild.remove();
    line.dataset.type = type;
    const atEnd = this.log.scrollTop + this.log.clientHeight >= this.log.scrollHeight - 40;
    this.log.append(line);
    if (atEnd) this.log.scrollTop = this.log.scrollHeight;
  }

  async act(action) {
    if (action === "cancel" && !(await agreed({
      title: "Cancel this job?", text: "The job ends within seconds, and can be queued again later.",
      action: "Cancel the job", danger: true,
    }))) return;
    const ended = ENDED.has(this.job.state);
    await api.post(`${this.url}/${action}`);
    announce(action === "retry" ? "The job is queued again" : "The job is cancelled");
    await this.refresh();
    if (ended && action === "retry") {
      this.log.replaceChildren();
      this.follow().catch(notifyError);
    }
  }
}

function controls(job) {
  if (job.state === "failed" || job.state === "cancelled") {
    return element("button", { class: "primary", type: "button", "data-action": "retry" }, "Retry");
  }
  if (ENDED.has(job.state)) return null;
  return element("button", { class: "danger", type: "button", "data-action": "cancel", disabled: job.cancel_asked },
    job.cancel_asked ? "The job is ending" : "Cancel");
}

/** Return a message that says why the job waits or why it failed; null if there is nothing to say. */
function news(job) {
  if (job.waiting) return message(`Waits: ${job.waiting.message}`, "warn");
  if (!job.error) return null;
  const code = job.error.code ? ` (${job.error.code})` : "";
  return message(`${job.error.message}${code}`, job.state === "failed" ? "bad" : "warn");
}

function about(job, document) {
  const store = job.input?.vector_store_id;
  return panel("Job", element("div", { class: "body" }, facts([
    ["Id", element("span", { class: "mono" }, job.id)],
    ["Document", document && element("strong", {}, document)],
    ["About", job.subject && element("span", { class: "mono" }, job.subject)],
    ["Vector store", store && element("a", { href: `#/stores/${encodeURIComponent(store)}`, class: "mono" }, store)],
    ["Schedule", job.schedule_id && element("a", { href: `#/schedules/${encodeURIComponent(job.schedule_id)}`, class: "mono" }, job.schedule_id)],
    ["Priority", `${job.priority_class}, ${job.priority}`],
    ["Trace", job.trace_id && element("span", { class: "mono" }, job.trace_id)],
    ["Accepted", moment(job.created_at)],
    ["Started", moment(job.started_at)],
    ["Ended", moment(job.finished_at)],
  ])));
}

function state(job) {
  const { progress } = job;
  const took = job.started_at && (job.finished_at ?? Date.now() / 1000) - job.started_at;
  return panel("State", element("div", { class: "body stack tight" },
    bar(progress.done, progress.total, "Progress"),
    facts([
      ["Progress", `${count(progress.done)} of ${count(progress.total)} ${progress.unit}`],
      ["Stage", progress.stage && `${progress.stage.name}${progress.stage.unit ? `: ${count(progress.stage.done)} of ${count(progress.stage.total)} ${progress.stage.unit}` : ""}`],
      ["Speed", progress.rate_per_s ? `${progress.rate_per_s} a second` : null],
      ["Ready in", progress.eta_s === null ? null : duration(progress.eta_s)],
      ["Position", job.position && `${count(job.position)} among your queued jobs of this class`],
      ["Attempt", `${job.attempt} of at most ${job.last_attempt}`],
      ["Worker", job.worker && element("span", { class: "mono" }, job.worker)],
      ["Took", took && job.state !== "queued" ? duration(took) : null],
    ])));
}

/** Return the table of the stages of all attempts. Each stage has a bar, and all bars have the same time axis. */
function stages(job) {
  if (job.stages.length === 0) return panel("Stages", empty("No stage has begun."));
  const now = Date.now() / 1000;
  const open = (stage) => stage.ended_at ?? (ENDED.has(job.state) ? job.finished_at : now);
  const begin = Math.min(...job.stages.map((stage) => stage.started_at));
  const end = Math.max(begin + 0.001, ...job.stages.map(open));
  const line = (stage) => {
    const inside = element("span", { class: stage.error ? "bad" : stage.ended_at ? "" : "busy" });
    inside.style.left = `${((stage.started_at - begin) / (end - begin)) * 100}%`;
    inside.style.width = `${((open(stage) - stage.started_at) / (end - begin)) * 100}%`;
    return element("div", { class: "timeline", title: `${time(stage.started_at)} to ${time(stage.ended_at)}` }, inside);
  };
  return panel("Stages", plainTable("Stages of the job", [
    { title: "Stage", cell: (stage) => stage.stage },
    { title: "Attempt", number: true, cell: (stage) => count(stage.attempt) },
    { title: "Tries", number: true, cell: (stage) => count(stage.tries) },
    { title: "Done", number: true, cell: (stage) => (stage.unit ? `${count(stage.done)} of ${count(stage.total)} ${stage.unit}` : "–") },
    { title: "Time", number: true, cell: (stage) => duration(open(stage) - stage.started_at) },
    { title: "Timeline", cell: line },
    { title: "Last error", cell: (stage) => element("span", { class: "bad-text" }, stage.error ?? "") },
  ], job.stages), element("span", { class: "quiet small" }, `${duration(end - begin)} in all`));
}

function attempts(job) {
  if (job.attempts.length === 0) return panel("Attempts", empty("No attempt has begun."));
  return panel("Attempts", plainTable("Attempts at the job", [
    { title: "Attempt", number: true, cell: (one) => count(one.attempt) },
    { title: "Outcome", cell: (one) => stateLabel(one.outcome ?? "running") },
    { title: "Worker", cell: (one) => element("span", { class: "mono" }, one.worker) },
    { title: "Started", cell: (one) => time(one.started_at) },
    { title: "Time", number: true, cell: (one) => duration(one.seconds) },
    { title: "Error", cell: (one) => element("span", { class: "bad-text" }, one.error ?? "") },
  ], job.attempts));
}

function json(title, value) {
  return panel(title, element("pre", { class: "json", tabindex: "0", "aria-label": title }, JSON.stringify(value, null, 2)));
}

/** Return the fields of an event as text, without the fields that name the job. */
function sentence(type, { object, job_id: id, type: name, at, stage, done, total, unit, ...rest }) {
  const parts = [];
  if (stage) parts.push(typeof stage === "string" ? stage : `${stage.name} ${stage.done}${stage.total ? ` of ${stage.total}` : ""} ${stage.unit ?? ""}`);
  if (type === "progress" && total) parts.push(`${done} of ${total} ${unit}`);
  for (const [field, value] of Object.entries(rest)) {
    if (value !== null) parts.push(`${field.replaceAll("_", " ")}: ${typeof value === "object" ? JSON.stringify(value) : value}`);
  }
  return parts.join(", ");
}

/** Return the name of the job's file; null if the job is about no file or the endpoint does not return the file. */
async function documentOf(job, signal) {
  const file = job.input?.file_id ?? (job.subject?.startsWith("file-") ? job.subject : null);
  if (!file) return null;
  try {
    return (await api.get(`v1/files/${encodeURIComponent(file)}`, {}, { signal })).filename;
  } catch (error) {
    if (error instanceof api.ApiError) return null;
    throw error;
  }
}
