// Sends requests to the endpoint. The API key is kept for this tab only (sessionStorage), and is sent as a
// header; no URL ever contains it.
//
//   const jobs = await api.get("v1/jobs", { limit: 100 }, { signal });
//   for await (const event of api.events("v1/overview/events", { signal })) show(event.data);

const KEY = "console.key";
const ORGANISATION = "console.organisation";
/** The address of the endpoint. It is relative to the page, because a proxy may add a path prefix. */
const ROOT = new URL("..", document.baseURI);
const LONGEST_PAUSE_MS = 15_000;

/** An answer with an error status. `message` is the sentence of the endpoint. */
export class ApiError extends Error {
  constructor(status, error, retryAfterS) {
    super(error.message ?? `the endpoint answered ${status}`);
    this.status = status;
    this.code = error.code ?? null;
    this.param = error.param ?? null;
    this.retryAfterS = retryAfterS;
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => {
    sessionStorage.removeItem(KEY);
    sessionStorage.removeItem(ORGANISATION);
  },
};

/** The organisation that the operator has chosen; null for the organisation of the key itself. */
export const organisation = {
  get: () => sessionStorage.getItem(ORGANISATION),
  set: (value) => (value ? sessionStorage.setItem(ORGANISATION, value) : sessionStorage.removeItem(ORGANISATION)),
};

let refusedKey = () => {};

/** Set the function that is called when the endpoint does not accept the key (status 401). */
export function onRefusedKey(handler) {
  refusedKey = handler;
}

/** Return the URL of a path of the endpoint. Parameters that are empty or null are left out. */
export function address(path, parameters = {}) {
  const url = new URL(path, ROOT);
  for (const [name, value] of Object.entries(parameters)) {
    if (value === null || value === undefined || value === "") continue;
    for (const one of Array.isArray(value) ? value : [value]) url.searchParams.append(name, one);
  }
  return url;
}

/** Return the headers that name the caller: the key, and the organisation if the operator has chosen one. */
export function callerHeaders() {
  const headers = {};
  if (key.get()) headers.authorization = `Bearer ${key.get()}`;
  if (organisation.get()) headers["openai-organization"] = organisation.get();
  return headers;
}

/** Send a request, and return the response. Throws ApiError for an error. */
export async function send(method, path, { parameters, body, headers, signal } = {}) {
  const json = body !== undefined && !(body instanceof FormData);
  const response = await fetch(address(path, parameters), {
    method,
    signal,
    cache: "no-store",
    credentials: "omit",
    headers: { ...callerHeaders(), ...(json ? { "content-type": "application/json" } : {}), ...headers },
    body: json ? JSON.stringify(body) : body,
  });
  if (!response.ok) throw await errorOf(response);
  return response;
}

/** Send a GET request, and return the JSON of the answer. */
export async function get(path, parameters, { signal } = {}) {
  return (await send("GET", path, { parameters, signal })).json();
}

/** Send a POST request with a JSON body or a form, and return the JSON of the answer. */
export async function post(path, body, { signal, headers } = {}) {
  return (await send("POST", path, { body: body ?? {}, signal, headers })).json();
}

/** Send a PATCH request with a JSON body, and return the JSON of the answer. */
export async function patch(path, body, { signal } = {}) {
  return (await send("PATCH", path, { body, signal })).json();
}

/** Send a DELETE request, and return the JSON of the answer. */
export async function remove(path, { signal } = {}) {
  return (await send("DELETE", path, { signal })).json();
}

/** Yield the pages of a list. Each page is an array of items. */
export async function* pages(path, parameters = {}, { signal } = {}) {
  let after = null;
  do {
    const page = await get(path, { limit: 100, ...parameters, after }, { signal });
    yield page.data;
    after = page.has_more ? page.last_id : null;
  } while (after !== null);
}

/** Return at most `limit` items of a list. */
export async function all(path, parameters = {}, { signal, limit = 1000 } = {}) {
  const items = [];
  for await (const page of pages(path, parameters, { signal })) {
    items.push(...page);
    if (items.length >= limit) break;
  }
  return items.slice(0, limit);
}

/**
 * Yield the server-sent events of a path, and connect again after each interruption. Each event has `id`,
 * `type` and `data` (parsed JSON). The generator ends when the signal is aborted, or when the endpoint answers
 * 204, because then no more events follow. It throws ApiError for a status below 500, except 429.
 *
 * The browser's EventSource is not used, because it cannot send a header with the key.
 */
export async function* events(path, { parameters, signal, onState = () => {} } = {}) {
  let last = null;
  let pause = 1_000;
  while (!signal?.aborted) {
    try {
      const headers = { accept: "text/event-stream", ...(last === null ? {} : { "last-event-id": last }) };
      const response = await send("GET", path, { parameters, headers, signal });
      if (response.status === 204) return;
      onState("on");
      for await (const event of eventsOf(response.body)) {
        last = event.id ?? last;
        pause = 1_000;
        yield event;
      }
    } catch (error) {
      if (signal?.aborted) return;
      if (error instanceof ApiError && error.status < 500 && error.status !== 429) throw error;
      onState("off");
      pause = Math.min(LONGEST_PAUSE_MS, Math.max(pause * 2, (error.retryAfterS ?? 0) * 1_000));
    }
    await sleep(pause, signal);
  }
}

/** Yield the events of a body in the format text/event-stream (HTML Living Standard, section 9.2). */
export async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    while (true) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split(/\r?\n\r?\n/);
      rest = blocks.pop();
      for (const block of blocks) {
        const event = parsed(block);
        if (event) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parsed(block) {
  const event = { id: null, type: "message", data: null };
  const data = [];
  for (const line of block.split(/\r?\n/)) {
    const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line);
    if (name === "data") data.push(value);
    else if (name === "id") event.id = value;
    else if (name === "event") event.type = value;
  }
  if (data.length === 0) return null;
  const text = data.join("\n");
  event.data = text === "[DONE]" ? null : JSON.parse(text);
  return event;
}

/** Wait. If the signal is aborted, the wait ends early. */
export function sleep(milliseconds, signal) {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end); // because a signal of a page can last for days
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    if (signal?.aborted) end();
    else signal?.addEventListener("abort", end);
  });
}

async function errorOf(response) {
  const answer = await response.json().catch(() => ({}));
  const error = new ApiError(response.status, answer.error ?? {}, Number(response.headers.get("retry-after")) || 0);
  if (response.status === 401) refusedKey(error);
  return error;
}
