// Small helpers: they make elements, and put numbers and bytes into another form.

/** Make an element with properties and children; `attributes` are set as attributes. */
export function make(tag, { attributes = {}, ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Make a button; `name` is the part of its class after "live-". */
export function makeButton(name, textContent, onclick = null) {
  const className = `live-button${name ? ` live-${name}` : ""}`;
  return make("button", { type: "button", className, textContent, onclick });
}

/** Make a label around a control, so that the two belong together without an id. */
export function makeField(label, control, className = "") {
  return make(
    "label",
    { className: `live-field ${className}`.trim() },
    make("span", { className: "live-label", textContent: label }),
    control,
  );
}

/** Make a text field for an address or a name. */
export function makeInput(className, value = "") {
  return make("input", {
    type: "text",
    className,
    value,
    spellcheck: false,
    autocomplete: "off",
    autocapitalize: "off",
  });
}

/** Make the line that says in words what goes on; screen readers read it out when it changes. */
export function makeState(textContent) {
  return make("p", { className: "live-state", textContent, attributes: { role: "status" } });
}

/** Make a form that calls `send` in place of sending anything itself. */
export function makeForm(className, send, ...children) {
  const form = make("form", { className, noValidate: true }, ...children);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  return form;
}

/** Return an id that no other element of the page has. Each bundle has its own copy of this. */
export function newId() {
  return `live-${Math.random().toString(36).slice(2, 10)}`;
}

/** Scroll a list to its end, unless the reader has scrolled up to read. */
export function keepAtEnd(element, change) {
  const atEnd = element.scrollTop + element.clientHeight >= element.scrollHeight - 8;
  change();
  if (atEnd) element.scrollTop = element.scrollHeight;
}

/** Return a number of bytes in words. */
export function sizeInWords(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Return the bytes of a text, or of {base64: "…"}, as the JSON of an app has them. */
export function bytesOf(content) {
  if (typeof content === "string") return new TextEncoder().encode(content);
  return Uint8Array.from(atob(content.base64), (character) => character.charCodeAt(0));
}
