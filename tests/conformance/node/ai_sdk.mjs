// The Vercel AI SDK through its provider for OpenAI-compatible servers.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embed, embedMany } from "ai";
import { asked, errorOf } from "./client_script.mjs";

const provider = createOpenAICompatible({ name: "cluster", baseURL: asked.base_url, apiKey: "none needed" });
const model = provider.textEmbeddingModel(asked.model);
const many = await embedMany({ model, values: asked.texts, maxRetries: 0 });

console.log(
  JSON.stringify({
    vectors: many.embeddings,
    usage: many.usage.tokens,
    query: (await embed({ model, value: asked.texts[0] })).embedding,
    unknown: await errorOf(() => embed({ model: provider.textEmbeddingModel("no-such-model"), value: "a", maxRetries: 0 })),
    too_long: await errorOf(() => embed({ model, value: asked.long, maxRetries: 0 })),
  }),
);
