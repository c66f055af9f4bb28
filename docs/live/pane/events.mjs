// An event stream, event by event.
import { make, makeButton, makeField, makeForm, makeInput, makeState } from "./elements.mjs";
import { encodedPath, exchange } from "./exchange.mjs";
import { makeLog, shortened } from "./growing.mjs";
import { findHeader, statusLine } from "./printing.mjs";

const MOST_EVENTS = 200;

/**
 * Parse an event stream as the HTML standard has it.
 *
 * @param {AsyncIterable<Uint8Array>} body The chunks of the response.
 * @yields {{event: string, id: string|null, data: string}|{comment: string}}
 */
export async function* eventsIn(body) {
  const decoder = new TextDecoder();
  let rest = "";
  let fields = newFields();
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (fields.data.length) yield { ...fields, data: fields.data.join("\n") };
        fields = newFields();
      } else if (line.startsWith(":")) {
        yield { comment: line.slice(1).trim() };
      } else {
        takeField(fields, line);
      }
    }
  }
}

function newFields() {
  return { event: "message", id: null, data: [] };
}

function takeField(fields, line) {
  const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line);
  if (name === "data") fields.data.push(value);
  else if (name === "event" || name === "id") fields[name] = value;
}

export class EventView {
  /** @param {{visitor: (number: number) => object}} app Gives the visitor who sends cookies. */
  constructor(app, url) {
    this.app = app;
    this.path = makeInput("live-events-path", url);
    this.lastId = makeInput("live-last-id");
    this.button = make("button", { className: "live-button live-open", textContent: "Open" });
    this.state = makeState("Not open.");
    this.events = makeLog("Events", MOST_EVENTS);
    const form = makeForm(
      "live-row",
      () => (this.controller ? this.close() : this.open()),
      makeField("URL of the stream", this.path, "live-wide"),
      makeField("Last-Event-ID", this.lastId),
      this.button,
      makeButton("clear", "Clear", () => this.events.clear()),
    );
    this.element = make("div", { className: "live-events" }, form, this.state, this.events.box);
  }

  async open() {
    const controller = new AbortController();
    this.controller = controller;
    this.button.textContent = "Close";
    this.state.textContent = "Opening …";
    try {
      await this.#follow(controller.signal);
      this.state.textContent = "The app ended the stream.";
    } catch (error) {
      this.state.textContent = error.message;
    }
    if (this.controller === controller) this.controller = null;
    this.button.textContent = "Open";
  }

  close() {
    this.controller.abort(new Error("Closed by you."));
  }

  async #follow(signal) {
    const { visitor, root } = this.app.visitor(1);
    const lastId = this.lastId.value.trim();
    const headers = [
      ["accept", "text/event-stream"],
      ["cache-control", "no-cache"],
    ];
    if (lastId) headers.push(["last-event-id", lastId]);
    const path = root + encodedPath(this.path.value);
    const response = await exchange(
      { method: "GET", path, root, visitor, headers, body: null, cookies: true },
      signal,
    );
    const type = findHeader(response.headers, "content-type");
    if (response.status !== 200 || !type.startsWith("text/event-stream")) {
      this.close();
      throw new Error(
        `This is no event stream: ${statusLine(response.status)}, ${type || "no type"}.`,
      );
    }
    this.state.textContent = "Open. Events are shown as they come.";
    for await (const event of eventsIn(response.body)) this.#add(event);
  }

  #add(event) {
    if (event.id) this.lastId.value = event.id;
    const time = new Date().toLocaleTimeString();
    this.events.add(() =>
      make("li", {}, make("time", { textContent: time }), " ", ...partsOf(event)),
    );
  }
}

function partsOf({ comment, event, id, data }) {
  if (comment !== undefined) return [make("em", { textContent: shortened(`comment: ${comment}`) })];
  return [
    make("strong", { textContent: event }),
    id === null ? "" : ` id ${id}`,
    make("pre", { textContent: shortened(data) }),
  ];
}
