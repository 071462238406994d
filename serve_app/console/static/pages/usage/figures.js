// Reads the usage of a period from the endpoint, and computes sums.

import * as api from "../../api.js";

const DAY_S = 86_400;
/** Maximum number of days of one answer. */
const DAYS_PER_ANSWER = 31;
/** The kinds of usage that are measured once a day. Their days are not added; only the last day counts. */
const MEASURED = new Set(["stored_bytes", "stored_vectors"]);

/** The periods that a reader can choose. All days are in UTC. */
export const PERIODS = [["this-month", "This month"], ["last-month", "Last month"], ["7-days", "7 days"], ["30-days", "30 days"]];

/** Return the first second of a period, and the second after its last second. */
export function periodOf(name, now = new Date()) {
  const [year, month, day] = [now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate()];
  const at = (...date) => Date.UTC(...date) / 1_000;
  const tomorrow = at(year, month, day + 1);
  if (name === "last-month") return [at(year, month - 1, 1), at(year, month, 1)];
  if (name === "7-days") return [tomorrow - 7 * DAY_S, tomorrow];
  if (name === "30-days") return [tomorrow - 30 * DAY_S, tomorrow];
  return [at(year, month, 1), tomorrow];
}

/**
 * Read the usage of a period. `days` has the first second of each day. Each of the `results` has `day` (an index of
 * `days`), `kind`, `unit`, `quantity`, `cost` (a number or null), `model`, `source` and `agent_id`. `agents` has the
 * names of agents by id.
 */
export async function readUsage([start, end], signal) {
  const days = [];
  const results = [];
  let page = null;
  do {
    const answer = await api.get("v1/usage", {
      start_time: start, end_time: end, bucket_width: "1d", limit: DAYS_PER_ANSWER, page,
      group_by: ["model", "source", "agent_id"],
    }, { signal });
    for (const bucket of answer.data) {
      for (const one of bucket.results) results.push({ ...one, cost: one.cost === null ? null : Number(one.cost), day: days.length });
      days.push(bucket.start_time);
    }
    page = answer.next_page;
  } while (page !== null);
  return { days, results, agents: await agentNames(results, signal) };
}

/** Return the names of the agents by id. Without the right to read agents, there are no names, and the ids are shown. */
async function agentNames(results, signal) {
  if (!results.some((one) => one.agent_id)) return new Map();
  let agents;
  try {
    agents = await api.all("v1/agents", {}, { signal, limit: 1_000 });
  } catch (error) {
    if (error.status === 403) return new Map();
    throw error;
  }
  return new Map(agents.map((agent) => [agent.id, agent.name || agent.external_id]));
}

/** Return the sum of a kind in the whole period; for a kind that is measured once a day, that of the last day. */
export function total(usage, kind, value = (one) => one.quantity) {
  const some = usage.results.filter((one) => one.kind === kind);
  const last = Math.max(...some.map((one) => one.day));
  return some.filter((one) => !MEASURED.has(kind) || one.day === last).reduce((sum, one) => sum + value(one), 0);
}

/** Return the costs of the period; null if nothing in the period has a price. */
export function costs(usage) {
  const priced = usage.results.filter((one) => one.cost !== null);
  return priced.length === 0 ? null : priced.reduce((sum, one) => sum + one.cost, 0);
}

/** Return the kinds that occur in the period, each with its unit. */
export function kindsOf(usage) {
  return new Map(usage.results.map((one) => [one.kind, one.unit]));
}

/**
 * Return one series for each group, the largest group first. A series is `{ name, values }` with a value for each
 * day. If there are more than `most` groups, the smaller groups become one series.
 */
export function seriesBy(usage, nameOf, value, most) {
  const groups = new Map();
  for (const one of usage.results) {
    const amount = value(one);
    if (!amount) continue;
    const name = nameOf(one);
    if (!groups.has(name)) groups.set(name, { name, values: usage.days.map(() => 0) });
    groups.get(name).values[one.day] += amount;
  }
  const sum = (series) => series.values.reduce((all, one) => all + one, 0);
  const sorted = [...groups.values()].sort((one, other) => sum(other) - sum(one));
  const rest = sorted.slice(most);
  if (rest.length <= 1) return sorted;
  const others = usage.days.map((_, day) => rest.reduce((all, one) => all + one.values[day], 0));
  return [...sorted.slice(0, most), { name: `${rest.length} others`, values: others }];
}
