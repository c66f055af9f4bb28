// A console for a WebSocket of the app.
import { make, makeButton, makeField, makeForm, makeInput, makeState } from "./elements.mjs";
import { encodedPath, splitPath, TOKEN } from "./exchange.mjs";
import { makeLog, shortened } from "./growing.mjs";
import { runtime } from "./runtime.mjs";

const MOST_LINES = 200;

export class SocketConsole {
  #port = null;

  /** @param {{visitor: (number: number) => object}} app Gives the visitor who sends cookies. */
  constructor(app, url) {
    this.app = app;
    this.path = makeInput("live-socket-path", url);
    this.protocols = makeInput("live-protocols");
    this.button = make("button", {
      className: "live-button live-connect",
      textContent: "Connect",
    });
    this.state = makeState("Not connected.");
    this.lines = makeLog("Messages", MOST_LINES);
    this.text = make("textarea", { className: "live-text", rows: 1, spellcheck: false });
    this.sendButton = make("button", {
      className: "live-button live-send-text",
      textContent: "Send",
      disabled: true,
    });
    this.element = make(
      "div",
      { className: "live-socket" },
      this.#makeOpening(),
      this.state,
      this.lines.box,
      this.#makeSending(),
    );
  }

  #makeOpening() {
    return makeForm(
      "live-row",
      () => (this.#port ? this.#close() : this.connect()),
      makeField("URL of the WebSocket", this.path, "live-wide"),
      makeField("Subprotocols", this.protocols),
      this.button,
      makeButton("clear", "Clear", () => this.lines.clear()),
    );
  }

  #makeSending() {
    this.text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send();
    });
    return makeForm(
      "live-row",
      () => this.#send(),
      makeField("Message (Enter sends it)", this.text, "live-wide"),
      this.sendButton,
    );
  }

  connect() {
    const { visitor, root } = this.app.visitor(1);
    const [path, query] = splitPath(encodedPath(this.path.value));
    const protocols = this.protocols.value.split(/[\s,]+/).filter(Boolean);
    const wrong = protocols.find((name) => !TOKEN.test(name));
    if (wrong) {
      this.state.textContent = `A subprotocol cannot have this name: ${wrong}`;
      return;
    }
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }) => this.#take(data);
    try {
      runtime.connect(
        { t: "ws", visitor, root, path: root + path, query, protocols, pane: null },
        port2,
      );
    } catch (error) {
      this.state.textContent = error.message;
      return;
    }
    runtime.life.addEventListener("abort", () => this.#end("The app was stopped."), {
      once: true,
    });
    this.#port = port1;
    this.button.textContent = "Close";
    this.state.textContent = "Connecting …";
  }

  #take(message) {
    if (message.t === "open") {
      this.state.textContent = message.protocol
        ? `Connected, with subprotocol ${message.protocol}.`
        : "Connected.";
      this.sendButton.disabled = false;
      this.text.focus();
    } else if (message.t === "message") {
      this.#port.postMessage({ t: "taken" }); // the app waits if too many are on their way
      this.#add("App", inWords(message.data));
    } else if (message.t === "close") {
      const reason = message.reason ? `, reason "${message.reason}"` : "";
      this.#end(
        message.accepted
          ? `The app closed it: code ${message.code}${reason}.`
          : "The app refused the connection.",
      );
    }
  }

  #send() {
    if (this.sendButton.disabled) return;
    this.#port.postMessage({ t: "send", data: this.text.value });
    this.#add("You", this.text.value);
    this.text.value = "";
    this.text.focus();
  }

  #close() {
    this.#port.postMessage({ t: "close", code: 1000, reason: "" });
    this.#end("Closed by you: code 1000.");
  }

  #end(words) {
    if (!this.#port) return;
    this.#port.close();
    this.#port = null;
    this.sendButton.disabled = true;
    this.button.textContent = "Connect";
    this.state.textContent = words;
  }

  #add(who, text) {
    this.lines.add(() => {
      const name = make("strong", { textContent: `${who}: ` });
      const message = make("span", { className: "live-message", textContent: shortened(text) });
      return make("li", {}, name, message);
    });
  }
}

function inWords(data) {
  if (typeof data === "string") return data;
  const bytes = new Uint8Array(data);
  const shown = [...bytes.slice(0, 32)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return `${bytes.length} bytes: ${shown}${bytes.length > 32 ? " …" : ""}`;
}
