// The usage reports of the organisation: drafts and bills, each as CSV and PDF.

import * as api from "../../api.js";
import { element } from "../../elements.js";
import { growingTable } from "../../growing_table.js";
import { acting, notifyError } from "../../notices.js";
import { moment, panel, stateLabel } from "../../parts.js";

/** Milliseconds between two reads of the list while the cluster makes a report. */
const POLL_MS = 2_000;

/** Make the panel with the reports. Call `refresh` to fill the panel. */
export function reports({ signal }) {
  let waiting = false;
  const table = growingTable({
    label: "Usage reports",
    signal,
    empty: "There is no report yet. The cluster makes one when a billing period ends.",
    read: async (after) => {
      const page = await api.get("v1/usage_reports", { limit: 20, after }, { signal });
      waiting = page.data.some((one) => one.status === "queued");
      return page;
    },
    columns: [
      { title: "Period", cell: (one) => `${one.period_start} to ${one.period_end}` },
      { title: "Kind", cell: (one) => (one.state === "final" ? element("strong", {}, "Bill") : "Draft") },
      { title: "Status", cell: status },
      { title: "Costs", number: true, cell: (one) => (one.cost_usd === null ? "–" : `$${one.cost_usd}`) },
      { title: "Requested", cell: (one) => moment(one.created_at) },
      { title: "Files", cell: (one) => files(one, signal) },
    ],
  });
  const refresh = async () => {
    await table.refresh();
    while (waiting && !signal.aborted) {
      await api.sleep(POLL_MS, signal);
      if (!signal.aborted) await table.refresh();
    }
  };
  const request = (period, title) => {
    const button = element("button", {
      type: "button",
      onclick: () => acting(button, () => api.post("v1/usage_reports", { period })).then((made) => made && refresh()).catch(notifyError),
    }, title);
    return button;
  };
  const controls = element("div", { class: "row" },
    request("current", "Report of this period"), request("previous", "Report of the last period"));
  return { element: panel("Usage reports", table.element, controls), refresh };
}

function status(report) {
  return [stateLabel(report.status), report.error && element("p", { class: "reason bad" }, report.error)];
}

function files(report, signal) {
  if (report.status !== "completed") return element("span", { class: "quiet" }, "–");
  return element("div", { class: "row nowrap" }, report.formats.map((format) => {
    const button = element("button", {
      type: "button", "aria-label": `Download the ${format.toUpperCase()} of ${report.period_start}`,
      onclick: () => acting(button, () => download(report, format, signal)),
    }, format.toUpperCase());
    return button;
  }));
}

/** Download a file of a report. A plain link cannot download the file, because a link sends no key. */
async function download(report, format, signal) {
  const response = await api.send("GET", `v1/usage_reports/${encodeURIComponent(report.id)}/content`, { parameters: { format }, signal });
  const url = URL.createObjectURL(await response.blob());
  const link = element("a", { href: url, download: `usage-${report.period_start}-${report.state}.${format}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
