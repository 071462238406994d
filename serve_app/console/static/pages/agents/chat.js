// A conversation with an agent. An answer is shown while the endpoint sends it. Then its sources are shown below.
//
//   const talk = chat({ agent, signal, mayWrite });
//   root.append(talk.element);

import * as api from "../../api.js";
import { element, replace } from "../../elements.js";
import { markdown } from "../../markdown.js";
import { announce, notifyError } from "../../notices.js";
import { icon, segments } from "../../parts.js";
import { sourceList } from "./sources.js";

/** Maximum number of earlier messages that are sent with a question. */
const HISTORY = 40;
const SEND = "M5 12h14M13 6l6 6-6 6";

/** Make the panel of a conversation. */
export function chat({ agent, signal, mayWrite }) {
  return new Conversation(agent, signal, mayWrite);
}

class Conversation {
  #agent;
  #signal;
  #mayWrite;
  #history = [];
  #conversation = null;
  #running = null;

  constructor(agent, signal, mayWrite) {
    this.#agent = agent;
    this.#signal = signal;
    this.#mayWrite = mayWrite;
    this.log = element("div", { class: "chat-log", role: "log", "aria-label": "Conversation", tabindex: "0" });
    this.input = element("textarea", {
      id: "question", rows: "2", placeholder: "Ask the agent", "aria-describedby": "question-note",
      onkeydown: (event) => {
        if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
        event.preventDefault();
        this.#ask();
      },
    });
    this.button = element("button", { class: "primary", type: "submit" }, icon(SEND), "Send");
    const again = element("button", { type: "button", class: "plain", onclick: () => this.#begin() }, "New conversation");
    this.element = element("section", { class: "panel chat", "aria-label": "Chat" },
      element("header", {}, element("h2", {}, "Chat"), element("span", { class: "spacer" }), again),
      this.log,
      element("form", { class: "ask", onsubmit: (event) => (event.preventDefault(), this.#running ? this.#running.abort() : this.#ask()) },
        element("label", { for: "question", class: "visually-hidden" }, "Question"), this.input, this.button,
        element("p", { class: "small quiet", id: "question-note" }, "Enter sends, Shift and Enter begin a new line.")));
    this.#begin();
  }

  focus() {
    this.input.focus();
  }

  #begin() {
    this.#running?.abort();
    this.#history = [];
    this.#conversation = null;
    const greeting = this.#agent.greeting;
    replace(this.log, greeting
      ? element("article", { class: "turn answer" }, element("div", { class: "prose" }, markdown(greeting)))
      : element("p", { class: "quiet small" }, "Ask a question. The agent answers from its documents, and names its sources."));
    this.input.focus();
  }

  async #ask() {
    const question = this.input.value.trim();
    if (!question || this.#running) return;
    this.input.value = "";
    this.log.append(element("article", { class: "turn question" }, element("p", {}, question)));
    const answer = new Answer(this.#agent.name || this.#agent.external_id);
    this.log.append(answer.element);
    this.#toEnd();
    this.#running = new AbortController();
    const stop = () => this.#running?.abort();
    this.#signal.addEventListener("abort", stop, { once: true });
    this.#show("Stop");
    try {
      await this.#read(question, answer, this.#running.signal);
      this.#history.push({ role: "user", content: question }, { role: "assistant", content: answer.text });
      answer.end(this.#mayWrite);
      announce("The answer is complete.");
    } catch (error) {
      if (this.#signal.aborted) return;
      answer.fail(error.name === "AbortError" ? "The answer was stopped." : error.message);
      if (error.name !== "AbortError") this.input.value ||= question;
    } finally {
      this.#signal.removeEventListener("abort", stop);
      this.#running = null;
      this.#show("Send");
      this.#toEnd();
    }
  }

  async #read(question, answer, signal) {
    const body = {
      model: `agent:${this.#agent.id}`, stream: true,
      messages: [...this.#history.slice(-HISTORY), { role: "user", content: question }],
      ...(this.#conversation ? { metadata: { conversation: this.#conversation } } : {}),
    };
    const response = await api.send("POST", "v1/chat/completions", { body, signal });
    for await (const { data } of api.eventsOf(response.body)) {
      if (data === null) return; // the end of the stream
      if (data.error) throw new Error(data.error.message);
      this.#conversation = data.conversation ?? this.#conversation;
      const near = this.#isAtEnd();
      answer.add(data);
      if (near) this.#toEnd();
    }
    throw new Error("The connection was lost before the answer was complete.");
  }

  #show(name) {
    replace(this.button, name === "Send" ? icon(SEND) : null, name);
    this.button.classList.toggle("primary", name === "Send");
  }

  #isAtEnd() {
    return this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 80;
  }

  #toEnd() {
    this.log.scrollTop = this.log.scrollHeight;
  }
}

/** Shows one answer with its text, its sources, and the buttons for feedback. */
class Answer {
  text = "";
  #sources = [];
  #message = null;
  #generated = null;
  #drawn = false;

  constructor(name) {
    this.body = element("div", { class: "prose" }, element("span", { class: "quiet" }, "Looking for sources"));
    this.below = element("div", { class: "stack tight" });
    this.element = element("article", { class: "turn answer", "aria-label": `Answer of ${name}`, "aria-busy": "true" }, this.body, this.below);
  }

  /** Add one chunk of the stream to the answer. */
  add(chunk) {
    if (chunk.sources) this.#sources = chunk.sources;
    this.#message = chunk.message_id ?? this.#message;
    this.#generated = chunk.generated ?? this.#generated;
    const more = chunk.choices?.[0]?.delta?.content ?? "";
    this.text += more;
    if (!more || this.#drawn) return;
    this.#drawn = true; // so that all pieces of text that arrive before the next frame are drawn together
    requestAnimationFrame(() => {
      this.#drawn = false;
      this.#draw();
    });
  }

  end(mayWrite) {
    this.#draw();
    this.element.removeAttribute("aria-busy");
    const list = this.#sources.length > 0 && sourceList(this.#sources, this.text);
    this.list = list;
    replace(this.below,
      this.#generated === false && this.#sources.length > 0 && element("p", { class: "small quiet" }, "No chat model wrote this answer: it quotes the passages."),
      list && list.element,
      mayWrite && this.#message && this.#feedback());
  }

  fail(text) {
    this.element.removeAttribute("aria-busy");
    if (!this.text) replace(this.body);
    replace(this.below, element("p", { class: "message bad", role: "alert" }, text));
  }

  #draw() {
    const known = new Set(this.#sources.map((one) => one.number));
    const citation = (number) => known.has(number) && element("button", {
      type: "button", class: "citation", "aria-label": `Source ${number}`, onclick: () => this.list?.point(number),
    }, number);
    replace(this.body, markdown(this.text, { citation: (number) => citation(number) || null }));
  }

  #feedback() {
    const send = (rating) => api.post(`v1/messages/${encodeURIComponent(this.#message)}/feedback`, { rating })
      .then(() => announce("Thank you for the feedback."), notifyError);
    return segments("Was the answer good?", [["positive", "Good answer"], ["negative", "Bad answer"]], null, send);
  }
}
