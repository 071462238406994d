// The openai package, which asks for base64 by default and decodes every response as base64.
import OpenAI from "openai";
import { asked, errorOf } from "./client_script.mjs";

const client = new OpenAI({ baseURL: asked.base_url, apiKey: "none needed", maxRetries: 0 });
const embed = (input, model = asked.model) => client.embeddings.create({ input, model });

async function answerOf(agent) {
  const chat = new OpenAI({ baseURL: agent.base_url, apiKey: "none needed", maxRetries: 0 });
  const messages = [{ role: "user", content: asked.question }];
  const ask = (model, options) => chat.chat.completions.create({ model, messages, ...options });
  const chunks = [];
  for await (const chunk of await ask(agent.model, { stream: true, stream_options: { include_usage: true } })) {
    chunks.push(chunk);
  }
  const texts = chunks.map((chunk) => chunk.choices[0]?.delta.content).filter(Boolean);
  const usage = chunks.at(-1).usage;
  return {
    text: texts.join(""),
    parts: texts.length,
    prompt_tokens: usage.prompt_tokens,
    completion_tokens: usage.completion_tokens,
    finish: chunks.at(-2).choices[0].finish_reason,
    sources: chunks[0].sources,
    annotations: chunks.at(-2).annotations,
    error: await errorOf(() => ask("agent:nobody")),
  };
}

// Streams a response with the client's helper, continues the response, reads it and deletes it.
async function responseOf(agent) {
  const { responses } = new OpenAI({ baseURL: agent.base_url, apiKey: "none needed", maxRetries: 0 });
  const stream = responses.stream({ model: agent.model, input: asked.question });
  const texts = [];
  stream.on("response.output_text.delta", (event) => texts.push(event.delta));
  const whole = await stream.finalResponse();
  const next = await responses.create({ model: agent.model, input: asked.question, previous_response_id: whole.id });
  const text = (await responses.retrieve(next.id)).output_text;
  await responses.delete(next.id);
  return {
    text: texts.join(""),
    parts: texts.length,
    prompt_tokens: whole.usage.input_tokens,
    completion_tokens: whole.usage.output_tokens,
    annotations: whole.output.at(-1).content[0].annotations,
    next: text,
    error: await errorOf(() => responses.retrieve(next.id)),
  };
}

const answers = {};
const responses = {};
for (const [way, agent] of Object.entries(asked.agents)) {
  answers[way] = await answerOf(agent);
  responses[way] = await responseOf(agent);
}

const answer = await embed(asked.texts);
const models = await client.models.list();
console.log(
  JSON.stringify({
    vectors: answer.data.map((item) => Array.from(item.embedding)),
    usage: answer.usage.prompt_tokens,
    query: Array.from((await embed(asked.texts[0])).data[0].embedding),
    answers,
    responses,
    models: models.data.map((model) => model.id),
    unknown: await errorOf(() => embed("a", "no-such-model")),
    too_long: await errorOf(() => embed(asked.long)),
  }),
);
