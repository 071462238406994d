// The page "Usage" shows what the organisation has used, by day, by agent and by model, and its usage reports. At
// first, the page shows this month.

import { element, replace } from "../elements.js";
import { message, pageHead, segments } from "../parts.js";
import { PERIODS, periodOf, readUsage } from "./usage/figures.js";
import { showPlot, showTiles } from "./usage/plots.js";
import { reports } from "./usage/reports.js";

/** Show the usage of a period. */
export async function show(root, { parameters, signal, caller }) {
  if (!caller.scopes.includes("admin")) {
    replace(root, pageHead("Usage"), message("Usage is that of all keys of the organisation. Sign in with a key that has the scope admin.", "warn"));
    return;
  }
  const tiles = element("div", { class: "tiles" });
  const plot = element("div", { class: "stack" });
  const chosen = { period: parameters.get("period") ?? "this-month", kind: parameters.get("kind") ?? "embedding", by: parameters.get("by") ?? "source" };
  const load = async () => {
    history.replaceState(null, "", `#/usage?${new URLSearchParams(chosen)}`);
    try {
      const usage = await readUsage(periodOf(chosen.period), signal);
      if (signal.aborted) return;
      showTiles(tiles, usage);
      showPlot(plot, usage, chosen, () => history.replaceState(null, "", `#/usage?${new URLSearchParams(chosen)}`));
    } catch (error) {
      if (!signal.aborted) replace(plot, message(error.message, "bad"));
    }
  };
  const period = segments("Period", PERIODS, chosen.period, (value) => {
    chosen.period = value;
    load();
  });
  const bills = reports({ signal });
  replace(root, pageHead("Usage", period), element("div", { class: "stack" }, tiles, plot, bills.element));
  await Promise.all([load(), bills.refresh()]);
}
