// The page "Health" shows whether the endpoint accepts requests. For the operator, it also shows what the doctor
// finds and what to do about each finding. An examination changes nothing. To repair the data, the operator runs a
// command on the machine.

import * as api from "../api.js";
import { element, replace, update } from "../elements.js";
import { count, duration } from "../format.js";
import { acting, announce } from "../notices.js";
import { empty, facts, message, moment, pageHead, panel, plainTable, stateLabel } from "../parts.js";

const REFRESH_MS = 15_000;

/** Show the page, and ask every `REFRESH_MS` whether the endpoint is ready. */
export async function show(root, { signal, caller }) {
  const readiness = element("div");
  const report = element("div", { class: "stack" });
  const again = element("button", {
    type: "button", class: "primary",
    onclick: () => acting(again, async () => {
      await examine(report, true, signal);
      announce("The examination has ended");
    }),
  }, "Examine again");
  replace(root,
    pageHead("Health", caller.operator && again), element("div", { class: "stack" }, readiness, report));
  const asking = keepAsking(readiness, signal);
  if (caller.operator) {
    again.disabled = true;
    replace(report, empty("Examining the cluster. This can take some seconds."));
    await examine(report, false, signal);
    again.disabled = false;
  }
  await asking;
}

async function keepAsking(target, signal) {
  while (!signal.aborted) {
    try {
      update(target, await endpoint(signal));
    } catch (error) {
      if (signal.aborted) return;
      update(target, message(`The endpoint does not answer: ${error.message}`, "bad"));
    }
    await api.sleep(REFRESH_MS, signal);
  }
}

async function endpoint(signal) {
  const response = await fetch(api.address("readyz"), { signal, cache: "no-store", credentials: "omit" });
  const ready = await response.json();
  const rows = [["State", stateLabel(ready.status)]];
  if (ready.model) rows.push(["Model", stateLabel(ready.model)]);
  if (ready.database) rows.push(["Database", stateLabel(ready.database)]);
  for (const [name, sentence] of Object.entries({ ...ready.short, ...ready.providers })) rows.push([name.replaceAll("_", " "), sentence]);
  return panel("Endpoint", element("div", { class: "body" }, facts(rows)));
}

async function examine(target, fresh, signal) {
  const found = await api.get("v1/doctor", fresh ? { fresh: true } : {}, { signal });
  replace(target,
    found.healthy
      ? message("Every part works, and the data has no contradiction.", "good")
      : message("Something is wrong. Each line below says what to do.", "bad"),
    panel("Parts", parts(found.parts),
      element("span", { class: "quiet small" }, "Examined ", moment(found.examined_at), ` in ${duration(found.seconds)}`)),
    panel("Findings", found.findings.length ? findings(found.findings) : empty("The doctor found no contradiction in the data.")));
}

function parts(all) {
  const worstFirst = [...all].sort((one, other) => one.fine - other.fine);
  return plainTable("Parts of the cluster", [
    { title: "Part", cell: (part) => part.name },
    { title: "State", cell: (part) => stateLabel(part.fine ? "fine" : "wrong", part.fine ? "good" : "bad") },
    { title: "What it says", cell: (part) => element("div", { class: "stack tight break" },
      element("span", {}, part.says), part.remedy && element("span", {}, element("strong", {}, "To do: "), part.remedy)) },
  ], worstFirst);
}

function findings(all) {
  return plainTable("Findings in the data", [
    { title: "Finding", cell: (one) => element("code", {}, one.name) },
    { title: "Cases", number: true, cell: (one) => count(one.count) },
    { title: "What is wrong, and what to do", cell: (one) => element("div", { class: "stack tight break" },
      element("span", {}, one.says), element("span", {}, element("strong", {}, "To do: "), one.remedy),
      element("span", { class: "quiet mono" }, one.examples.join(", "))) },
  ], all);
}
