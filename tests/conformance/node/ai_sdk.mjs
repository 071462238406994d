// The Vercel AI SDK through its provider for OpenAI-compatible servers.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embed, embedMany, generateText, streamText } from "ai";
import { asked, errorOf } from "./client_script.mjs";

// Collects the fields that OpenAI's chunks do not have. The SDK passes them on as metadata of the provider.
const metadataExtractor = {
  extractMetadata: async () => undefined,
  createStreamExtractor() {
    const found = {};
    return {
      processChunk: ({ sources, annotations }) => Object.assign(found, sources && { sources }, annotations && { annotations }),
      buildMetadata: () => ({ cluster: found }),
    };
  },
};

async function answerOf(agent) {
  const chat = createOpenAICompatible({
    name: "cluster",
    baseURL: agent.base_url,
    apiKey: "none needed",
    includeUsage: true,
    metadataExtractor,
  });
  const answer = streamText({ model: chat.chatModel(agent.model), prompt: asked.question, maxRetries: 0 });
  const texts = [];
  for await (const text of answer.textStream) texts.push(text);
  const usage = await answer.usage;
  return {
    text: texts.join(""),
    parts: texts.length,
    prompt_tokens: usage.inputTokens,
    completion_tokens: usage.outputTokens,
    finish: await answer.finishReason,
    ...(await answer.providerMetadata).cluster,
    error: await errorOf(() => generateText({ model: chat.chatModel("agent:nobody"), prompt: "a", maxRetries: 0 })),
  };
}

const answers = {};
for (const [way, agent] of Object.entries(asked.agents)) answers[way] = await answerOf(agent);

const provider = createOpenAICompatible({ name: "cluster", baseURL: asked.base_url, apiKey: "none needed" });
const model = provider.textEmbeddingModel(asked.model);
const many = await embedMany({ model, values: asked.texts, maxRetries: 0 });

console.log(
  JSON.stringify({
    vectors: many.embeddings,
    usage: many.usage.tokens,
    query: (await embed({ model, value: asked.texts[0] })).embedding,
    unknown: await errorOf(() => embed({ model: provider.textEmbeddingModel("no-such-model"), value: "a", maxRetries: 0 })),
    answers,
    too_long: await errorOf(() => embed({ model, value: asked.long, maxRetries: 0 })),
  }),
);
