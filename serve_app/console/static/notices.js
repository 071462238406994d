// Shows messages to the reader, also for screen readers, and asks before an action that cannot be undone.

import { element, replace } from "./elements.js";

const LASTS_MS = 12_000;

/** Make a screen reader say this text. The focus does not move. */
export function announce(text) {
  const announcer = document.getElementById("announcer");
  announcer.textContent = "";
  requestAnimationFrame(() => (announcer.textContent = text));
}

/** Show an error in a corner of the window for some seconds. Errors of aborted requests are left out. */
export function notifyError(error) {
  if (error?.name === "AbortError") return;
  console.error(error);
  const notices = document.getElementById("notices");
  const box = element("div", { class: "message" }, element("span", {}, error.message ?? String(error)));
  box.append(element("button", { class: "plain", type: "button", onclick: () => box.remove() }, "Close"));
  notices.append(box);
  setTimeout(() => box.remove(), LASTS_MS);
}

/**
 * Ask in a dialog, and return true if the reader agrees. Escape and the Cancel button return false.
 *
 *   if (await agreed({ title: "Cancel the job?", text: "...", action: "Cancel the job", danger: true })) ...
 */
export function agreed({ title, text, action, cancel = "Back", danger = false }) {
  const dialog = element("dialog", { "aria-labelledby": "dialog-title" });
  replace(
    dialog,
    element("form", { method: "dialog", class: "stack tight" },
      element("h2", { id: "dialog-title" }, title),
      element("p", { class: "small" }, text),
      element("div", { class: "row end" },
        element("button", { value: "no", type: "submit" }, cancel),
        element("button", { class: danger ? "danger" : "primary", value: "yes", type: "submit" }, action))),
  );
  document.body.append(dialog);
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    dialog.showModal();
  });
}

/** Run the action of a button. The button is disabled until the action ends. An error is shown, and not raised. */
export async function acting(button, action) {
  button.disabled = true;
  try {
    return await action();
  } catch (error) {
    notifyError(error);
    return undefined;
  } finally {
    button.disabled = false;
  }
}
