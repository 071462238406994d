// The tiles and the plot of the page "Usage".

import { element, replace } from "../../elements.js";
import { bytes, count, short } from "../../format.js";
import { choice, empty, field, panel, plainTable, segments, tile } from "../../parts.js";
import { COLOURS, stackedBars } from "../../plots.js";
import { costs, kindsOf, seriesBy, total } from "./figures.js";

const TITLES = {
  embedding: "Tokens embedded", reranking: "Tokens reranked", chat_input: "Tokens read by chat models",
  chat_output: "Tokens written by chat models", provider_embedding: "Tokens billed by providers", request: "Requests",
  page: "Pages parsed", chunk: "Chunks written", stored_bytes: "Stored bytes", stored_vectors: "Stored vectors",
};
/** The kinds that have a tile, and the kinds whose tile is shown even if their sum is 0. */
const TILES = ["embedding", "request", "page", "chat_input", "chat_output"];
const ALWAYS = ["embedding", "request", "page"];
/** A reader can choose this value in place of a kind, to see the costs. */
const COST = "cost";
const GROUPS = [["source", "By source"], ["model", "By model"], ["agent", "By agent"]];
const date = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });

const money = (value) => (value === null ? "–" : `$${value < 0.01 && value > 0 ? value.toPrecision(2) : value.toFixed(2)}`);
const titleOf = (kind) => TITLES[kind] ?? kind.replaceAll("_", " ");

/** Show the sums of the period. */
export function showTiles(root, usage) {
  const sums = TILES.filter((kind) => ALWAYS.includes(kind) || total(usage, kind) > 0).map((kind) => {
    const [figure, exact] = [short(total(usage, kind)), count(total(usage, kind))];
    return tile({ name: titleOf(kind), figure, note: figure === exact ? "" : exact });
  });
  replace(root,
    tile({ name: "Costs", figure: money(costs(usage)), note: costs(usage) === null ? "no price is set for this usage" : "in US dollars" }),
    sums,
    tile({ name: titleOf("stored_bytes"), figure: bytes(total(usage, "stored_bytes")), note: `${count(total(usage, "stored_vectors"))} vectors, at the last measurement` }));
}

/** Show the plot of one kind of usage, and the same numbers as a table. `chosen` has `kind` and `by`. */
export function showPlot(root, usage, chosen, onChoice) {
  const kinds = kindsOf(usage);
  if (kinds.size === 0) return replace(root, panel("Usage by day", empty("Nothing was used in this period.")));
  if (!kinds.has(chosen.kind) && chosen.kind !== COST) chosen.kind = [...kinds.keys()][0];
  const redraw = (change) => {
    Object.assign(chosen, change);
    onChoice();
    draw();
  };
  const options = [...[...kinds.keys()].map((kind) => [kind, titleOf(kind)]), [COST, "Costs"]];
  const body = element("div", { class: "body stack" });
  const draw = () => replace(body, drawn(usage, chosen));
  draw();
  return replace(root, panel("Usage by day", element("div", {},
    element("div", { class: "body filters" },
      field("What", choice(options, chosen.kind, (kind) => redraw({ kind }))),
      segments("Groups", GROUPS, chosen.by, (by) => redraw({ by }))), body)));
}

function drawn(usage, { kind, by }) {
  const isCost = kind === COST;
  const value = isCost ? (one) => one.cost ?? 0 : (one) => (one.kind === kind ? one.quantity : 0);
  const names = {
    source: (one) => one.source ?? "other",
    model: (one) => one.model ?? "without a model",
    agent: (one) => (one.agent_id ? usage.agents.get(one.agent_id) ?? one.agent_id : "without an agent"),
  };
  const series = seriesBy(usage, names[by] ?? names.source, value, COLOURS - 1);
  if (series.length === 0) return empty(isCost ? "Nothing in this period has a price." : "Nothing of this kind was used.");
  const exact = isCost ? money : kind === "stored_bytes" ? bytes : count;
  const format = isCost ? money : kind === "stored_bytes" ? bytes : short;
  const columns = usage.days.map((day) => date.format(new Date(day * 1_000)));
  const title = isCost ? "Costs" : titleOf(kind);
  return [
    stackedBars({ label: `${title} by day`, columns, series, format }),
    element("details", {}, element("summary", {}, "The same numbers as a table"),
      plainTable(`${title} by day`, [
        { title: "Day (UTC)", cell: (at) => columns[at] },
        ...series.map((one) => ({ title: one.name, number: true, cell: (at) => exact(one.values[at]) })),
        { title: "Total", number: true, cell: (at) => exact(series.reduce((sum, one) => sum + one.values[at], 0)) },
      ], columns.map((_, at) => at))),
  ];
}
