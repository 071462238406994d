// Builds the elements of the page. No text ever becomes HTML: strings become text nodes, so a document that
// contains "<script>" is shown as it is.
//
//   element("p", { class: "quiet" }, "12 jobs of ", element("strong", {}, name))

const SVG = "http://www.w3.org/2000/svg";

/** Create an element. An attribute whose value is a function, such as `onclick`, listens to an event. */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** Create an element of SVG, with the arguments of `element`. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

/** Replace the children of `parent` by elements, texts, numbers, or lists of these; null and false are left out. */
export function replace(parent, ...children) {
  parent.replaceChildren(...nodes(children));
  return parent;
}

/**
 * Change the children of `parent` into the given children. An element stays if the new element at its place has
 * the same name and id, so the focus, the selection and the scroll position stay, too. An element that stays keeps
 * its old event listeners, so a listener must not depend on the data of one update.
 */
export function update(parent, ...children) {
  const wanted = nodes(children);
  wanted.forEach((node, index) => {
    const present = parent.childNodes[index];
    if (!present) parent.append(node);
    else if (!alike(present, node)) present.replaceWith(node);
    else if (present.nodeType === Node.TEXT_NODE) setText(present, node.textContent);
    else if (!present.isEqualNode(node)) {
      copyAttributes(present, node);
      update(present, [...node.childNodes]);
    }
  });
  while (parent.childNodes.length > wanted.length) parent.lastChild.remove();
  return parent;
}

const alike = (one, other) => one.nodeName === other.nodeName && one.id === other.id;

function copyAttributes(target, source) {
  for (const { name } of [...target.attributes]) if (!source.hasAttribute(name)) target.removeAttribute(name);
  for (const { name, value } of source.attributes) {
    if (name === "style") target.style.cssText = source.style.cssText; // because the policy refuses the attribute
    else if (target.getAttribute(name) !== value) target.setAttribute(name, value);
  }
}

/** Set the text of an element if the text differs. If nothing changes, the browser computes no new layout. */
export function setText(target, text) {
  const value = String(text);
  if (target.textContent !== value) target.textContent = value;
}

function filled(target, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") target.addEventListener(name.replace(/^on/, ""), value);
    else if (name === "value" || name === "checked" || name === "disabled") target[name] = value;
    else target.setAttribute(name, value === true ? "" : value);
  }
  target.append(...nodes(children));
  return target;
}

function nodes(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
}
