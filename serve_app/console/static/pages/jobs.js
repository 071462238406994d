// The page "Jobs" shows a table of the organisation's jobs, which changes while the jobs change. Filters choose the
// jobs, and many dead letters can be retried together. The address "#/jobs/job_1" shows one job (job.js).

import * as api from "../api.js";
import { element, replace, setText } from "../elements.js";
import { count, duration } from "../format.js";
import { acting, agreed, announce, notifyError } from "../notices.js";
import { bar, choice, field, liveLabel, moment, pageHead, stateLabel } from "../parts.js";
import { DataTable, rowCount } from "../table.js";
import { JobList } from "./job_list.js";

const STATES = ["queued", "running", "succeeded", "failed", "cancelled"];
const CLASSES = ["high", "medium", "low", "scheduled"];
const RETRIED_AT_ONCE = 1000;

/** Show the table, or the job that the address names. */
export async function show(root, page) {
  if (page.path[0]) return (await import("./job.js")).show(root, page);
  return new JobsPage(root, page).show();
}

class JobsPage {
  constructor(root, { parameters, signal, caller }) {
    Object.assign(this, { root, signal, writes: caller.scopes.includes("write") });
    const names = ["state", "kind", "priority_class", "error_code", "subject"];
    this.filters = Object.fromEntries(names.map((name) => [name, parameters.get(name) ?? ""]));
    this.live = liveLabel();
    this.total = element("span", { class: "quiet small", role: "status" });
    this.bulk = element("div", { class: "row" });
    this.table = new DataTable({
      label: "Jobs", key: (job) => job.id, columns: this.columns(), none: "No job matches.",
      selectable: this.writes ? (job) => job.state === "failed" || job.state === "cancelled" : null,
      onSelection: () => this.showBulk(),
      onAction: (action, job, button) => acting(button, () => this.act(action, job)),
      onEnd: () => this.list?.more().catch(notifyError),
    });
  }

  async show() {
    const kinds = await api.get("v1/jobs/kinds", {}, { signal: this.signal });
    replace(this.root,
      pageHead("Jobs", this.live.element),
      element("div", { class: "stack tight" },
        this.filterFields(kinds.data.map((one) => one.kind)),
        element("section", { class: "panel", "aria-label": "Jobs" },
          element("header", {}, this.total, element("span", { class: "spacer" }), this.bulk),
          this.table.element)));
    this.reload();
    await this.follow();
  }

  /**
   * Apply each change of a job when the change arrives. After each new connection, read the list again, because
   * changes may have been missed before.
   */
  async follow() {
    for await (const event of api.events("v1/jobs/events", { signal: this.signal, onState: this.live.set })) {
      this.list.apply(event.data.data);
      if (event.type === "ready" || event.data.has_more) this.list.refresh().catch(notifyError);
    }
  }

  reload() {
    this.list?.stop();
    this.list = new JobList(this.filters, this.signal, (jobs, more) => {
      this.table.show(jobs);
      setText(this.total, rowCount(jobs.length, more, "job"));
      this.showBulk();
    });
    this.list.more().catch(notifyError);
  }

  filter(name, value) {
    this.filters[name] = value.trim();
    const chosen = Object.entries(this.filters).filter(([, one]) => one);
    history.replaceState(null, "", `#/jobs?${new URLSearchParams(chosen)}`);
    this.table.clearSelection();
    this.reload();
  }

  filterFields(kinds) {
    const select = (name, options) => choice([["", "All"], ...options], this.filters[name], (value) => this.filter(name, value));
    const text = (name, placeholder) => element("input", {
      type: "search", placeholder, value: this.filters[name], spellcheck: "false",
      onchange: (event) => this.filter(name, event.target.value),
    });
    const known = [...new Set([...kinds, this.filters.kind].filter(Boolean))].sort();
    return element("form", { class: "filters", role: "search", "aria-label": "Filter the jobs", onsubmit: (event) => event.preventDefault() },
      field("State", select("state", STATES)),
      field("Kind", select("kind", known)),
      field("Class", select("priority_class", CLASSES)),
      field("Error code", text("error_code", "unavailable")),
      field("File or store", text("subject", "file-… or vs_…")));
  }

  columns() {
    return [
      { title: "Kind", width: "9rem", cell: (job) => element("a", { href: `#/jobs/${job.id}` }, job.kind) },
      { title: "State", width: "7.75rem", cell: (job) => stateLabel(job.state) },
      { title: "About", width: "8.5rem", minor: true, cell: (job) => element("span", { class: "mono", title: job.subject }, job.subject ?? "–") },
      { title: "What happened", cell: what },
      { title: "Class", width: "6.5rem", minor: true, cell: (job) => job.priority_class },
      { title: "Accepted", width: "6.25rem", minor: true, cell: (job) => moment(job.created_at) },
      { title: "", width: "6.5rem", cell: (job) => this.writes && action(job) },
    ];
  }

  async act(name, job) {
    if (name === "cancel" && !(await agreed({
      title: "Cancel this job?", text: `The job ${job.id} of the kind ${job.kind} ends, and can be queued again later.`,
      action: "Cancel the job", danger: true,
    }))) return;
    this.list.apply([await api.post(`v1/jobs/${job.id}/${name}`)]);
    announce(name === "retry" ? "The job is queued again" : "The job is cancelled");
  }

  /** Show the buttons for the selected jobs, or for all dead letters that match. */
  showBulk() {
    if (!this.writes) return;
    const selected = this.table.selected.length;
    const failed = this.filters.state === "failed" && this.table.rows.length > 0;
    replace(this.bulk,
      selected > 0 && element("button", { type: "button", onclick: (event) => acting(event.currentTarget, () => this.retrySelected()) },
        `Retry ${count(selected)} selected`),
      failed && element("button", { type: "button", onclick: (event) => acting(event.currentTarget, () => this.retryAll()) },
        "Retry all that match"));
  }

  async retrySelected() {
    const jobs = this.table.selected;
    for (const job of jobs) this.list.apply([await api.post(`v1/jobs/${job.id}/retry`)]);
    this.table.clearSelection();
    announce(`${jobs.length} jobs are queued again`);
  }

  async retryAll() {
    if (!(await agreed({
      title: "Retry all dead letters that match?", action: "Retry all",
      text: "Every failed job that the filters select is queued again, also those that the table does not show yet. Jobs that cannot be repeated are left out.",
    }))) return;
    const { kind, priority_class: ofClass, error_code: code, subject } = this.filters;
    const wanted = { kind: kind || null, priority_class: ofClass || null, error_code: code || null, subject: subject || null };
    let retried = 0;
    let answer;
    do {
      answer = await api.post("v1/jobs/retry", { ...wanted, limit: RETRIED_AT_ONCE });
      retried += answer.retried;
    } while (answer.has_more);
    announce(`${retried} jobs are queued again`);
    this.reload();
  }
}

/** Return the error of a job, its progress and stage while it runs, how long it took, or that it waits. */
function what(job) {
  if (job.error) return element("span", { title: job.error.message, class: job.state === "failed" ? "bad-text" : "quiet" }, job.error.message);
  if (job.state === "running") {
    return element("span", { class: "row tight" }, bar(job.progress.done, job.progress.total, `Progress of ${job.id}`),
      `${job.stage ?? "starting"}, attempt ${job.attempt}`);
  }
  if (job.state === "succeeded") return element("span", { class: "quiet" }, `took ${duration(job.finished_at - job.started_at)}`);
  return job.retry_at ? element("span", { class: "quiet" }, "not before ", moment(job.retry_at)) : element("span", { class: "quiet" }, "waits");
}

function action(job) {
  if (job.state === "failed" || job.state === "cancelled") return element("button", { type: "button", "data-action": "retry" }, "Retry");
  if (job.state === "queued" || job.state === "running") {
    return element("button", { type: "button", class: "plain", "data-action": "cancel", disabled: job.cancel_asked }, job.cancel_asked ? "Ending" : "Cancel");
  }
  return null;
}
