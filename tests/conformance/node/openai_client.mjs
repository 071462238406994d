// The openai package, which asks for base64 by default and decodes every response as base64.
import OpenAI from "openai";
import { asked, errorOf } from "./client_script.mjs";

const client = new OpenAI({ baseURL: asked.base_url, apiKey: "none needed", maxRetries: 0 });
const embed = (input, model = asked.model) => client.embeddings.create({ input, model });

const answer = await embed(asked.texts);
const models = await client.models.list();
console.log(
  JSON.stringify({
    vectors: answer.data.map((item) => Array.from(item.embedding)),
    usage: answer.usage.prompt_tokens,
    query: Array.from((await embed(asked.texts[0])).data[0].embedding),
    models: models.data.map((model) => model.id),
    unknown: await errorOf(() => embed("a", "no-such-model")),
    too_long: await errorOf(() => embed(asked.long)),
  }),
);
