// The page "Agents" shows the list of agents. The address "#/agents/agent_1" shows one agent, with a chat.

import * as api from "../api.js";
import { element, replace } from "../elements.js";
import { count } from "../format.js";
import { growingTable } from "../growing_table.js";
import { facts, message, pageHead, panel } from "../parts.js";
import { chat } from "./agents/chat.js";

/** Show the list of agents, or the chat with one agent. */
export async function show(root, { path, signal, caller }) {
  if (!path[0]) return showList(root, { signal });
  const agent = await api.get(`v1/agents/${encodeURIComponent(path[0])}`, {}, { signal });
  replace(root,
    element("nav", { class: "small", "aria-label": "Way back" }, element("a", { href: "#/agents" }, "Agents"), " /"),
    pageHead(nameOf(agent)));
  if (!agent.defined) {
    root.append(message("Only events name this agent. It has no definition, so it cannot answer.", "warn"));
    return undefined;
  }
  const about = panel("About the agent", element("div", { class: "body" }, facts([
    ["Id", element("code", {}, agent.external_id)],
    ["Model", agent.model ?? "the default chat model"],
    ["Role", agent.role],
    ["Goal", agent.goal],
    ["Instructions", agent.instructions && element("span", { class: "clamped" }, agent.instructions)],
    ["Sources", `at most ${agent.retrieval.k} passages, minimum score ${agent.retrieval.threshold}`],
    ["Stores", agent.vector_store_ids.length === 0 ? "none" : agent.vector_store_ids.map((id) =>
      element("a", { href: `#/stores/${encodeURIComponent(id)}`, class: "block" }, element("code", {}, id)))],
  ])));
  const talk = chat({ agent, signal, mayWrite: caller.scopes.includes("write") });
  root.append(element("div", { class: "beside" }, talk.element, about));
  talk.focus();
  return undefined;
}

const nameOf = (agent) => agent.name || agent.external_id;

async function showList(root, { signal }) {
  const table = growingTable({
    label: "Agents",
    signal,
    empty: "There is no agent yet. POST /v1/agents defines one, and a file of agents defines many.",
    read: (after) => api.get("v1/agents", { limit: 100, after }, { signal }),
    columns: [
      { title: "Name", look: "name", cell: (one) => element("a", { href: `#/agents/${encodeURIComponent(one.id)}`, class: "break" }, nameOf(one)) },
      { title: "Your id", cell: (one) => element("code", { class: "break" }, one.external_id) },
      { title: "Model", cell: (one) => one.model ?? element("span", { class: "quiet" }, "default") },
      { title: "Sources known", number: true, cell: (one) => count(one.knowledge.length) },
      { title: "Can answer", cell: (one) => (one.defined ? "yes" : element("span", { class: "quiet" }, "no definition")) },
    ],
  });
  replace(root, pageHead("Agents"), panel("Agents", table.element));
  await table.refresh();
}
