// The page "Schedules" shows which jobs repeat, when each job runs next, and how the last runs ended. The address
// "#/schedules/sched_1" shows one schedule with its runs.

import * as api from "../api.js";
import { element, replace } from "../elements.js";
import { count, duration, time } from "../format.js";
import { acting, agreed, announce } from "../notices.js";
import { empty, facts, message, moment, pageHead, panel, plainTable, stateLabel } from "../parts.js";

const SHOWN_RUNS = 100;

/** Show all schedules, or the schedule that the address names. */
export async function show(root, page) {
  await (page.path[0] ? showOne(root, page) : showAll(root, page));
}

async function showAll(root, { signal, caller }) {
  const writes = caller.scopes.includes("write");
  const list = element("div");
  const read = async () => {
    const schedules = await api.all("v1/schedules", {}, { signal });
    replace(list, panel("All schedules", schedules.length === 0
      ? empty("There is no schedule. POST /v1/schedules creates one.")
      : plainTable("Schedules", columns(writes, read), schedules),
    element("span", { class: "quiet small" }, `${count(schedules.length)} schedules`)));
  };
  replace(root, pageHead("Schedules"), list);
  await read();
}

function columns(writes, read) {
  return [
    { title: "Name", cell: (one) => element("a", { href: `#/schedules/${one.id}` }, one.name ?? one.id) },
    { title: "Kind", cell: (one) => one.kind },
    { title: "Times", cell: times },
    { title: "State", cell: (one) => stateLabel(one.paused ? "paused" : "active") },
    { title: "Next", cell: (one) => moment(one.next_run_at) },
    { title: "Last", cell: (one) => (one.last_job_id ? element("a", { href: `#/jobs/${one.last_job_id}` }, moment(one.last_run_at)) : "–") },
    { title: "", cell: (one) => writes && element("div", { class: "row" }, controls(one, read)) },
  ];
}

function times(schedule) {
  if (schedule.cron === null) return `every ${duration(schedule.interval_s)}`;
  return element("span", {}, element("code", {}, schedule.cron), element("span", { class: "quiet" }, ` ${schedule.time_zone}`));
}

function controls(schedule, read) {
  const button = (text, work) => element("button", {
    type: "button",
    onclick: (event) => acting(event.currentTarget, async () => {
      if ((await work()) === false) return;
      await read();
    }),
  }, text);
  const path = `v1/schedules/${schedule.id}`;
  return [
    button("Run now", async () => {
      await api.post(`${path}/run`);
      announce("A job is queued");
    }),
    button(schedule.paused ? "Resume" : "Pause", async () => {
      if (!schedule.paused && !(await agreed({
        title: "Pause this schedule?", text: "It submits no jobs until it is resumed. Times that pass meanwhile get no job later.", action: "Pause",
      }))) return false;
      await api.patch(path, { paused: !schedule.paused });
      announce(schedule.paused ? "The schedule is active" : "The schedule is paused");
      return true;
    }),
  ];
}

async function showOne(root, { path, signal, caller }) {
  const writes = caller.scopes.includes("write");
  const body = element("div");
  const read = async () => {
    const id = encodeURIComponent(path[0]);
    const [schedule, runs] = await Promise.all([
      api.get(`v1/schedules/${id}`, {}, { signal }),
      api.all(`v1/schedules/${id}/runs`, {}, { signal, limit: SHOWN_RUNS }),
    ]);
    replace(body,
      pageHead(schedule.name ?? schedule.kind, stateLabel(schedule.paused ? "paused" : "active"), writes && controls(schedule, read)),
      element("div", { class: "stack" },
        schedule.paused_reason && message(schedule.paused_reason, "warn"),
        element("div", { class: "columns" }, about(schedule), upcoming(schedule)),
        panel("Runs", runs.length === 0 ? empty("There was no run yet.") : plainTable("Runs of the schedule", runColumns(), runs),
          element("span", { class: "quiet small" }, `the last ${SHOWN_RUNS} at most`)),
        panel("Input", element("pre", { class: "json", tabindex: "0", "aria-label": "Input" }, JSON.stringify(schedule.input, null, 2)))));
  };
  replace(root, element("a", { class: "crumb", href: "#/schedules" }, "← Schedules"), body);
  await read();
}

function about(schedule) {
  return panel("Schedule", element("div", { class: "body" }, facts([
    ["Id", element("span", { class: "mono" }, schedule.id)],
    ["Kind", schedule.kind],
    ["Times", times(schedule)],
    ["Class", `${schedule.priority_class}, ${schedule.priority}`],
    ["Missed times", schedule.catch_up === "all" ? `all get a job, ${schedule.catch_up_limit} at most` : schedule.catch_up],
    ["Window", schedule.window && `${schedule.window.from} to ${schedule.window.to} ${schedule.window.time_zone}, ${schedule.window.days.join(" ")}`],
    ["Created", moment(schedule.created_at)],
  ])));
}

function upcoming(schedule) {
  const title = schedule.paused ? "Next times, if it were not paused" : "Next times";
  return panel(title, element("div", { class: "body" }, element("ol", { class: "stack tight small" },
    schedule.next_times.map((at) => element("li", {}, element("time", { datetime: at }, at.replace("T", " ")))))));
}

function runColumns() {
  return [
    { title: "For", cell: (run) => time(run.scheduled_for) },
    { title: "State", cell: (run) => stateLabel(run.state) },
    { title: "Started by", cell: (run) => (run.trigger === "request" ? "a person" : "the schedule") },
    { title: "Time", number: true, cell: (run) => duration(run.duration_s) },
    { title: "Job", cell: (run) => (run.job_id ? element("a", { href: `#/jobs/${run.job_id}` }, "Show the job") : "–") },
    { title: "Error", cell: (run) => element("span", { class: "bad-text" }, run.error?.message ?? "") },
  ];
}
