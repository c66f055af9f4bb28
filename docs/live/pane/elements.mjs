// Small helpers that make elements.

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

/** Make a form that calls `send` in place of sending anything itself. */
export function makeForm(className, send, ...children) {
  const form = make("form", { className, noValidate: true }, ...children);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  return form;
}

let count = 0;

/** Return an id that no other element of the page has. */
export function newId() {
  count += 1;
  return `live-id-${count}`;
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
