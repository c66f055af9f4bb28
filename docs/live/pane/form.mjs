// A request of the reader's own, and the response with all that it has.
import { make, makeField, makeForm, makeInput, sizeInWords } from "./elements.mjs";
import { encodedPath, exchange, TOKEN } from "./exchange.mjs";
import { findHeader, statusLine } from "./printing.mjs";

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
const MOST_TEXT = 200000; // characters shown
const MOST_BYTES = 50e6; // of a response, after which the page lets go of it
const LATIN_1 = /^[\t\x20-\x7e\x80-\xff]*$/; // all that a header can hold
const TEXT_TYPE =
  /^(text\/|application\/(.*\+)?(json|xml|javascript|x-www-form-urlencoded))|charset=/i;

/** Return the headers that are typed, one on a line. */
function parseHeaders(text) {
  return text
    .split("\n")
    .filter((line) => line.trim())
    .map((line) => {
      const at = line.indexOf(":");
      if (at < 1) throw new Error(`A header needs a name, a colon and a value: ${line.trim()}`);
      return checkedHeader(line.slice(0, at).trim(), line.slice(at + 1).trim());
    });
}

/** Refuse what HTTP cannot send, as a browser does. */
function checkedHeader(name, value) {
  if (!TOKEN.test(name)) throw new Error(`A header cannot have this name: ${name}`);
  if (!LATIN_1.test(value)) {
    throw new Error(`The header ${name} has a character that is not in Latin-1: ${value}`);
  }
  return [name, value];
}

/** Guess the type of a body from how its text begins. */
function typeOf(text) {
  if (/^\s*[{[]/.test(text)) return "application/json";
  return /^[^\s=]+=/.test(text) ? "application/x-www-form-urlencoded" : "text/plain; charset=utf-8";
}

/** Return the bytes and the type of a form with a file, as a browser sends it. */
async function multipart(text, name, file) {
  const form = new FormData();
  for (const [key, value] of new URLSearchParams(text.trim())) form.append(key, value);
  form.append(name, file);
  const packed = new Response(form);
  const type = packed.headers.get("content-type");
  return { body: new Uint8Array(await packed.arrayBuffer()), type };
}

/** Write paths as the app knows them: without the folder of the pane in front. */
export function withoutRoot(value, root) {
  return value.replaceAll(`${root}/`, "/").replaceAll(root, "/");
}

export class RequestForm {
  /** @param {{visitor: (number: number) => object, url: string}} app Gives the visitors' roots. */
  constructor(app) {
    this.app = app;
    this.method = make("select", { className: "live-method" });
    this.method.append(...METHODS.map((name) => make("option", { textContent: name })));
    this.path = makeInput("live-path", app.options.url);
    this.headers = make("textarea", { className: "live-headers", rows: 2, spellcheck: false });
    this.headers.placeholder = "accept: application/json";
    this.body = make("textarea", { className: "live-body", rows: 3, spellcheck: false });
    this.file = make("input", { type: "file", className: "live-file" });
    this.fieldName = makeInput("live-field-name", "file");
    this.visitor = make("select", { className: "live-as" });
    this.visitor.append(
      make("option", { value: "1", textContent: "visitor 1" }),
      make("option", { value: "2", textContent: "visitor 2" }),
      make("option", { value: "", textContent: "no cookies" }),
    );
    this.button = make("button", { className: "live-button live-submit", textContent: "Send" });
    this.response = make("div", {
      className: "live-response",
      hidden: true,
      attributes: { role: "region", "aria-label": "Response", "aria-live": "polite" },
    });
    this.element = make("div", {}, this.#makeForm(), this.response);
  }

  #makeForm() {
    const nameField = makeField(
      "Name of the file's field (empty: the file alone is the body)",
      this.fieldName,
    );
    nameField.hidden = true;
    this.file.addEventListener("change", () => {
      nameField.hidden = !this.file.files.length;
      if (this.file.files.length && this.method.value === "GET") this.method.value = "POST";
    });
    return makeForm(
      "live-form",
      () => this.send(),
      make(
        "div",
        { className: "live-row" },
        makeField("Method", this.method),
        makeField("Path", this.path, "live-wide"),
        makeField("Cookies of", this.visitor),
        this.button,
      ),
      makeField("Headers, one on each line", this.headers),
      makeField("Body: JSON, or fields such as name=Ada&color=red", this.body),
      makeField("File", this.file),
      nameField,
    );
  }

  /** Return the request that the form describes. */
  async #request() {
    const method = this.method.value;
    const { visitor, root } = this.app.visitor(Number(this.visitor.value) || 1);
    const headers = parseHeaders(this.headers.value);
    const { body, type } = await this.#packBody();
    if (body && !findHeader(headers, "content-type")) headers.push(["content-type", type]);
    if (!findHeader(headers, "accept")) headers.push(["accept", "*/*"]);
    return {
      method,
      path: root + encodedPath(this.path.value),
      root,
      visitor,
      headers,
      body,
      cookies: this.#cookies(),
    };
  }

  #cookies() {
    return this.visitor.value
      ? { send: true, keep: true, show: true }
      : { send: false, keep: false, show: true };
  }

  async #packBody() {
    const text = this.body.value;
    const [file] = this.file.files;
    if (!file) return { body: text ? new TextEncoder().encode(text) : null, type: typeOf(text) };
    const name = this.fieldName.value.trim();
    if (name) return multipart(text, name, file);
    return {
      body: new Uint8Array(await file.arrayBuffer()),
      type: file.type || "application/octet-stream",
    };
  }

  async send() {
    this.controller?.abort(new Error("Another request was sent."));
    const controller = new AbortController();
    this.controller = controller;
    this.response.hidden = false;
    this.response.replaceChildren(make("p", { textContent: "Sending …" }));
    try {
      const begin = performance.now();
      const request = await this.#request();
      const response = await exchange(request, controller.signal);
      await this.#show(response, request, begin);
    } catch (error) {
      if (controller !== this.controller) return;
      this.response.replaceChildren(
        make("p", {
          className: "live-problem",
          textContent: `No response: ${error.message}`,
        }),
      );
    }
  }

  async #show(response, { root }, begin) {
    const milliseconds = () => `${(performance.now() - begin).toFixed(1)} ms`;
    const status = make(
      "p",
      { className: "live-status-line" },
      make("strong", { textContent: statusLine(response.status) }),
    );
    const figures = make("span", {
      className: "live-figures",
      textContent: ` headers after ${milliseconds()}`,
    });
    status.append(figures);
    const body = make("pre", {
      className: "live-body-text",
      tabIndex: 0,
      attributes: { "aria-label": "Body of the response" },
    });
    this.response.replaceChildren(status, headerTable(response.headers, root), body);
    const content = await this.#read(response, body);
    const size = `${content.isWhole ? "" : "more than "}${sizeInWords(content.size)}`;
    figures.textContent = ` ${milliseconds()}, body of ${size}`;
    this.#finish(response, content, body);
  }

  /** Read the body, and show it as it comes if it is a text. */
  async #read({ headers, body }, place) {
    const isText = TEXT_TYPE.test(findHeader(headers, "content-type"));
    const decoder = new TextDecoder();
    const chunks = [];
    let size = 0;
    let characters = 0;
    for await (const chunk of body) {
      chunks.push(chunk);
      size += chunk.length;
      if (isText) {
        const text = decoder.decode(chunk, { stream: true });
        if (characters < MOST_TEXT) place.append(text.slice(0, MOST_TEXT - characters));
        characters += text.length;
      }
      if (size > MOST_BYTES) return { chunks, size, characters, isWhole: false };
    }
    return { chunks, size, characters, isWhole: true };
  }

  /** Say what is not shown, and offer it as a file. */
  #finish({ headers }, { chunks, size, characters, isWhole }, place) {
    place.hidden = !characters;
    if (!size || (characters && characters <= MOST_TEXT)) return;
    const type = findHeader(headers, "content-type");
    const href = URL.createObjectURL(new Blob(chunks, { type }));
    const link = make("a", { href, download: "response", textContent: "Save it as a file" });
    const words = characters
      ? `The first ${MOST_TEXT.toLocaleString("en")} characters are shown. `
      : `The body is no text (${type || "without a type"}). `;
    const left = isWhole ? "" : `The page has let go of it after ${sizeInWords(MOST_BYTES)}. `;
    place.before(make("p", { className: "live-body-note" }, words, left, link));
  }
}

function headerTable(headers, root) {
  const rows = headers.map(([name, value]) =>
    make(
      "div",
      {},
      make("dt", { textContent: name }),
      make("dd", { textContent: shown(name, value, root) }),
    ),
  );
  return make("dl", { className: "live-header-list simple" }, ...rows);
}

function shown(name, value, root) {
  return /^(location|set-cookie)$/i.test(name) ? withoutRoot(value, root) : value;
}
