// The frame of the console: signing in, the navigation, and the page that the address names.
//
// A page is a module in pages/ with one function:
//
//   export async function show(root, { path, parameters, signal, caller, leave }) { ... }
//
// `root` is the empty element of the page. `path` holds the parts of the address after the name of the page
// ("#/jobs/job_1?state=failed" -> ["job_1"]), and `parameters` the URLSearchParams of the address. `signal` is
// aborted when the reader leaves the page, so a page passes this signal to every request. `caller` is the answer
// of v1/caller.

import { all, ApiError, get, key, onRefusedKey, organisation } from "./api.js";
import { element, replace } from "./elements.js";
import { announce, notifyError } from "./notices.js";
import { choice, icon, message } from "./parts.js";
import { PAGES } from "./pages.js";

const THEME = "console.theme";
const TITLE = "embedding-cluster";
const main = document.getElementById("main");
const navigation = document.getElementById("navigation");
const topBar = document.getElementById("top-bar");

let caller = null;
let leaving = new AbortController();

document.documentElement.dataset.theme = localStorage.getItem(THEME) ?? "system";
onRefusedKey(() => caller && showSignIn("The endpoint no longer accepts this key. Enter another key."));
window.addEventListener("hashchange", () => caller && showPage());
document.querySelector(".skip-link").addEventListener("click", (event) => {
  event.preventDefault(); // because the link would change the hash, which is the address of the page
  main.focus();
});
signIn();

/** Ask the endpoint whose key this is. Then show the page, or the sign-in form if the request fails. */
async function signIn() {
  const withoutKey = key.get() === null;
  try {
    caller = await get("v1/caller");
  } catch (error) {
    if (!(error instanceof ApiError) || error.status >= 500 || error.status === 429) {
      showUnavailable(error);
      return;
    }
    const expected = withoutKey && error instanceof ApiError && error.status === 401;
    showSignIn(expected ? "" : error.message);
    return;
  }
  document.body.classList.remove("signed-out");
  topBar.hidden = navigation.hidden = false;
  await showTopBar();
  showNavigation();
  await showPage();
}

/** Show that the endpoint does not answer. The key is kept, because the endpoint has not refused it. */
function showUnavailable(error) {
  replace(main, element("div", { class: "centred" }, element("div", { class: "panel" },
    element("div", { class: "body stack" },
      element("h1", { tabindex: "-1" }, "Console"),
      message(error.message, "bad"),
      element("button", { class: "primary", type: "button", onclick: signIn }, "Try again")))));
}

function showSignIn(complaint) {
  leaving.abort();
  caller = null;
  key.forget();
  document.body.classList.add("signed-out");
  topBar.hidden = navigation.hidden = true;
  document.title = `Sign in · ${TITLE}`;
  const input = element("input", {
    type: "password", name: "key", required: true, autocomplete: "off", spellcheck: "false", id: "key",
    "aria-describedby": "key-note",
  });
  const form = element("form", {
    class: "panel",
    onsubmit: (event) => {
      event.preventDefault();
      key.set(input.value.trim());
      signIn();
    },
  },
  element("div", { class: "body stack" },
    element("h1", {}, "Console"),
    complaint && element("p", { class: "message bad", role: "alert" }, complaint),
    element("div", { class: "field" }, element("label", { for: "key" }, "API key"), input,
      element("p", { class: "quiet small", id: "key-note" },
        "The key of an organisation, or the operator's key. It stays in this tab and is forgotten when you close it.")),
    element("button", { class: "primary", type: "submit" }, "Sign in")));
  replace(main, element("div", { class: "centred" }, form));
  input.focus();
}

async function showTopBar() {
  const theme = choice([["system", "System"], ["light", "Light"], ["dark", "Dark"]],
    document.documentElement.dataset.theme, (value) => {
      localStorage.setItem(THEME, value);
      document.documentElement.dataset.theme = value;
    });
  replace(topBar,
    element("a", { class: "brand", href: "#/now" }, element("img", { src: "icon.svg", alt: "" }), TITLE),
    element("span", { class: "spacer" }),
    await organisationControl(),
    element("label", {}, element("span", { class: "label-text" }, "Theme"), theme),
    key.get() && element("button", { type: "button", onclick: () => showSignIn("") }, "Sign out"));
}

/** Return the name of the organisation, or for the operator a list from which to choose an organisation. */
async function organisationControl() {
  if (!caller.operator) return element("span", { class: "quiet small" }, element("span", { class: "label-text" }, "Organisation "), element("strong", {}, caller.organisation));
  const known = await all("v1/organisations").catch((error) => (notifyError(error), []));
  const ids = [...new Set([caller.organisation, ...known.map((one) => one.id)])].sort();
  return element("label", {}, element("span", { class: "label-text" }, "Organisation"), choice(ids, caller.organisation, (value) => {
    organisation.set(value);
    signIn();
  }));
}

function showNavigation() {
  replace(navigation, element("ul", {}, PAGES.map((page) =>
    element("li", {}, element("a", { href: `#/${page.name}`, "data-page": page.name }, icon(page.icon), page.title)))));
}

/** Return the parts of the address. An address that is not valid names no page. */
function addressedPage() {
  try {
    const address = new URL(location.hash.slice(1) || "/now", "http://page");
    const [name, ...path] = address.pathname.slice(1).split("/").map(decodeURIComponent);
    return { name, path, parameters: address.searchParams };
  } catch {
    return { name: null, path: [], parameters: new URLSearchParams() }; // such as "#/%"
  }
}

/** Show the page that the address names. */
async function showPage() {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const { name, path, parameters } = addressedPage();
  const page = PAGES.find((one) => one.name === name) ?? PAGES[0];
  for (const link of navigation.querySelectorAll("a")) {
    if (link.dataset.page === page.name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${page.title} · ${TITLE}`;
  const root = element("div", { class: "page" });
  replace(main, root);
  try {
    const { show } = await page.load();
    if (signal.aborted) return;
    announce(page.title);
    focusHeading(root, signal);
    await show(root, { path, parameters, signal, caller });
  } catch (error) {
    if (signal.aborted) return;
    console.error(error);
    root.append(message(error.message, "bad"));
  }
}

/** Focus the heading as soon as the page has one, so that a screen reader begins to read there. */
function focusHeading(root, signal) {
  const observer = new MutationObserver(() => {
    const heading = root.querySelector("h1");
    if (!heading) return;
    observer.disconnect();
    heading.focus({ preventScroll: true });
  });
  observer.observe(root, { childList: true, subtree: true });
  signal.addEventListener("abort", () => observer.disconnect());
}
