// The page "Now" shows how many jobs wait and run at this moment, and what executes the jobs. While something
// changes, the endpoint sends a new state every two seconds.

import * as api from "../api.js";
import { element, replace, update } from "../elements.js";
import { count, duration, share, short } from "../format.js";
import { bar, empty, liveLabel, pageHead, panel, plainTable, segments, tile } from "../parts.js";

/** Show the page, and follow the state until the reader leaves. */
export async function show(root, { signal, caller }) {
  const live = liveLabel();
  const body = element("div", { class: "stack" });
  const note = element("p", { class: "quiet small" }, `The numbers are about all organisations. The links show the jobs of ${caller.organisation} only.`);
  let reading = new AbortController();
  signal.addEventListener("abort", () => reading.abort());
  const follow = (scope) => {
    reading.abort();
    reading = new AbortController();
    note.hidden = scope !== "cluster";
    read(body, scope, live, reading.signal).catch((error) => replace(body, element("p", { class: "message bad" }, error.message)));
  };
  const scopes = [["cluster", "Whole cluster"], ["organisation", "This organisation"]];
  const scope = caller.operator ? "cluster" : "organisation";
  replace(root,
    pageHead("Now", live.element, caller.operator && segments("Scope", scopes, scope, follow)),
    element("div", { class: "stack tight" }, note, body));
  follow(scope);
}

async function read(body, scope, live, signal) {
  for await (const event of api.events("v1/overview/events", { parameters: { scope }, signal, onState: live.set })) {
    update(body, tiles(event.data), element("div", { class: "columns" }, queues(event.data), fleet(event.data)), kinds(event.data));
  }
}

function tiles({ queues: classes, dead_letters: dead, ended, tokens_per_s: tokens, window_s: window }) {
  const sum = (field) => classes.reduce((total, one) => total + one[field], 0);
  const oldest = Math.max(0, ...classes.map((one) => one.oldest_wait_s));
  const lately = `in the last ${duration(window)}`;
  const all = ended.succeeded + ended.failed + ended.cancelled;
  return element("div", { class: "tiles" },
    tile({ name: "Queued jobs", figure: count(sum("queued")), note: `oldest wait ${duration(oldest)}`, href: "#/jobs?state=queued" }),
    tile({ name: "Running jobs", figure: count(sum("running")), href: "#/jobs?state=running" }),
    tile({ name: "Dead letters", figure: count(dead), look: dead ? "bad" : "", note: "failed, not retried", href: "#/jobs?state=failed" }),
    tile({ name: "Jobs ended", figure: `${short(all / (window / 60))}/min`, note: `${count(all)} ${lately}, ${count(ended.failed)} failed` }),
    tile({ name: "Tokens embedded", figure: `${short(tokens)}/s`, note: `mean ${lately}` }));
}

function queues({ queues: classes }) {
  return panel("Queues", plainTable("Queues by priority class", [
    { title: "Class", cell: (one) => element("a", { href: `#/jobs?state=queued&priority_class=${one.priority_class}` }, one.priority_class) },
    { title: "Queued", number: true, cell: (one) => count(one.queued) },
    { title: "Running", number: true, cell: (one) => count(one.running) },
    { title: "Oldest wait", number: true, cell: (one) => duration(one.oldest_wait_s) },
  ], classes));
}

function fleet({ fleet: known }) {
  if (known === null) return null;
  const rows = [["Slots of workers", count(known.worker_slots), "groups that take jobs"]];
  for (const one of known.deployments) {
    const changing = [one.starting && `${one.starting} starting`, one.stopping && `${one.stopping} stopping`].filter(Boolean);
    rows.push([one.name, count(one.running), ["replicas", ...changing].join(", ")]);
  }
  const resources = known.resources.filter((one) => one.total > 0);
  const nodes = known.nodes === null ? null : element("span", { class: "quiet small" }, `${count(known.nodes)} nodes`);
  return panel("Fleet", element("div", {},
    plainTable("Workers and replicas", [
      { title: "What", cell: ([name]) => name },
      { title: "Running", number: true, cell: ([, running]) => running },
      { title: "", cell: ([, , note]) => element("span", { class: "quiet" }, note) },
    ], rows),
    resources.length > 0 && element("div", { class: "body stack tight divided" }, resources.map((one) =>
      element("div", {},
        element("div", { class: "row small" }, element("span", {}, one.name), element("span", { class: "quiet" },
          `${share(one.used / one.total)} granted: ${short(one.used)} of ${short(one.total)}`)),
        bar(one.used, one.total, `${one.name} granted`))))), nodes);
}

function kinds({ kinds: known, window_s: window }) {
  const columns = [
    { title: "Kind", cell: (one) => element("a", { href: `#/jobs?kind=${encodeURIComponent(one.kind)}` }, one.kind) },
    ...["queued", "running", "succeeded", "failed", "cancelled"].map((state) => ({
      title: state[0].toUpperCase() + state.slice(1), number: true, cell: (one) => count(one[state]),
    })),
    { title: "Dead letters", number: true, cell: (one) => count(one.dead_letters) },
  ];
  const note = element("span", { class: "quiet small" }, `Ended jobs: the last ${duration(window)}`);
  return panel("Jobs by kind",
    known.length ? plainTable("Jobs by kind", columns, known) : empty("No job waits or runs, and none ended lately."), note);
}
