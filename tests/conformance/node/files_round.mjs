// The openai package: files and vector stores, used as its documentation shows.
import OpenAI, { toFile } from "openai";
import { asked, errorOf } from "./client_script.mjs";

const client = new OpenAI({ baseURL: asked.base_url, apiKey: "none needed", maxRetries: 0 });
const stores = client.vectorStores;

const store = await stores.create({ name: "round", metadata: { of: "node" } });
const first = await client.files.create({ file: await toFile(Buffer.from(asked.pump), "pump.md"), purpose: "assistants" });
const attached = await stores.files.createAndPoll(store.id, { file_id: first.id, attributes: { plant: "north", year: 2024 } });
const uploads = asked.texts.map((text, number) => toFile(Buffer.from(text), `note-${String(number).padStart(2, "0")}.txt`));
const batch = await stores.fileBatches.uploadAndPoll(store.id, { files: await Promise.all(uploads) });
const broken = await client.files.create({ file: await toFile(Buffer.from("%PDF-1.7\n1 0 obj"), "broken.pdf"), purpose: "assistants" });
const failed = await stores.files.createAndPoll(store.id, { file_id: broken.id });
const filters = {
  type: "and",
  filters: [
    { type: "or", filters: [{ type: "eq", key: "plant", value: "north" }, { type: "eq", key: "plant", value: "south" }] },
    { type: "gte", key: "year", value: 2020 },
  ],
};
const search = (query, options) => stores.search(store.id, { query, ...options });
const hits = await search(asked.question, { filters, max_num_results: 5 });
const everywhere = await search([asked.texts[7], asked.question], { max_num_results: 2 });
const files = [];
for await (const file of stores.files.list(store.id, { limit: 20 })) files.push(file.id);
let content = "";
for await (const part of stores.files.content(first.id, { vector_store_id: store.id })) content += part.text ?? "";
const counts = (await stores.retrieve(store.id)).file_counts;
const downloaded = await (await client.files.content(first.id)).text();
await stores.files.delete(first.id, { vector_store_id: store.id });
const after = await search(asked.question, { filters });
const deleted = [(await client.files.delete(first.id)).deleted, (await stores.delete(store.id)).deleted];
console.log(
  JSON.stringify({
    attached: attached.status,
    batch: [batch.status, batch.file_counts.completed],
    failed: [failed.status, failed.last_error?.code],
    hits: hits.data.map((hit) => hit.filename),
    everywhere: everywhere.data.map((hit) => hit.filename).sort(),
    files: files.length,
    distinct: new Set(files).size,
    content,
    counts,
    downloaded,
    after: after.data.length,
    deleted,
    gone: await errorOf(() => client.files.retrieve(first.id)),
  }),
);
