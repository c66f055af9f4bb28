// Carries requests and WebSockets between the app and those who send them: the service worker for
// the pages in the panes, the page itself for its request form and its console.
//
// Each connection has a number for driver.py and a port of its own. Over the port of a request come
// {t: "body", body} …, {t: "end"}, {t: "taken"} for each chunk that was taken, and {t: "gone"}.
// To it go {t: "more"} (the next piece of the body can come), {t: "start", status, headers, body,
// end}, {t: "chunk", body, end} …, or {t: "fail", sent} if the app raised, or {t: "down"} if
// no app runs. Over the port of a WebSocket come {t: "send", data}, {t: "taken"} for each message
// that was taken, and {t: "close", code, reason}; to it go {t: "open", protocol},
// {t: "message", data} and {t: "close", accepted, code, reason}.

import { Jar } from "./jar.mjs";

// What a browser sends with the handshake of a WebSocket, besides the cookies.
const HANDSHAKE = [
  ["upgrade", "websocket"],
  ["connection", "Upgrade"],
  ["origin", self.location.origin],
  ["sec-websocket-version", "13"],
  ["sec-websocket-key", "bGl2ZS1leGFtcGxlLWtleQ=="],
];

export class Connections {
  /** The cookies: `{visitor: Jar}`. */
  jars = {};

  #python;
  #say;
  #open = new Map(); // number → {port, message, link (of a request)}
  #serviceWorkers = new Set(); // names of those whose end is awaited
  #count = 0;
  #app = { id: undefined, running: Promise.resolve(false) };

  constructor(python, say) {
    this.#python = python;
    this.#say = say;
  }

  // --- The app -----------------------------------------------------------------------------------

  /** Requests that come while an app starts wait for it. Returns what `started` resolves to. */
  async whileStarting(id, started) {
    this.#app = { id, running: started.then((problem) => !problem, () => false) };
    return started;
  }

  appStopped() {
    this.#app = { id: undefined, running: Promise.resolve(false) };
  }

  /** Whether the app that a message is for runs, now or after it has started. */
  async #runs(message) {
    const { id, running } = this.#app;
    return (message.id === undefined || message.id === id) && running;
  }

  // --- From those who ask ------------------------------------------------------------------------

  /** Take requests from a port. */
  link(port) {
    const link = { serviceWorker: null }; // its name, if it is the port of one
    port.onmessage = ({ data: message, ports: [own] }) => {
      if (message.t === "hello") this.#watchServiceWorker(message.sw, link);
      else if (message.t === "http") this.#openHttp(message, own, link);
      else if (message.t === "ws") this.#openWebSocket(message, own);
    };
  }

  /**
   * The service worker holds a lock while it lives. When it dies, its requests have no reader.
   *
   * Each start of an app gives it a new port, but this worker waits for its lock only once. Then
   * nothing refers to the older port, and the browser removes it. To close it here could lose a
   * request that is on its way.
   */
  #watchServiceWorker(name, link) {
    link.serviceWorker = name;
    if (this.#serviceWorkers.has(name)) return;
    this.#serviceWorkers.add(name);
    navigator.locks?.request(`live-sw-${name}`, { mode: "shared" }, () => {
      this.#serviceWorkers.delete(name);
      for (const [number, { link }] of this.#open) {
        if (link?.serviceWorker === name) this.#gone(number);
      }
    });
  }

  async #openHttp(message, port, link) {
    if (!(await this.#runs(message))) {
      port.postMessage({ t: "down" });
      return;
    }
    const number = this.#register(message, port, link);
    port.onmessage = ({ data }) => this.#heardFromClient(number, data);
    const { method, path, query = "", root = "", hasBody = false } = message;
    const headers = this.#headersFor(message);
    try {
      this.#python.driver.open_http(number, method, path, query, root, headers, hasBody);
    } catch (error) {
      this.#sayWhy(error);
      this.host.fail(number, false);
    }
  }

  async #openWebSocket(message, port) {
    if (!(await this.#runs(message))) {
      port.postMessage({ t: "close", accepted: false, code: 1006, reason: "" });
      return;
    }
    const number = this.#register(message, port);
    const { driver } = this.#python;
    port.onmessage = ({ data }) => this.#heardFromSocket(number, data);
    if (message.pane) {
      // The page of the pane holds this lock. We get it when the page is gone, however it went.
      navigator.locks?.request(message.pane, { mode: "shared" }, () => {
        driver.tell(number, "close", 1006);
      });
    }
    const { path, query = "", root = "", protocols = [] } = message;
    const headers = [...HANDSHAKE, ...(message.headers ?? [])];
    if (protocols.length) headers.push(["sec-websocket-protocol", protocols.join(", ")]);
    const all = this.#headersFor({ cookies: true, ...message, headers });
    try {
      driver.open_websocket(number, path, query, root, all, protocols);
    } catch (error) {
      this.#sayWhy(error);
      this.host.close(number, false, 1006, "");
    }
  }

  /** The app never gets such a request, for example one whose URL has an "ö" as it is. */
  #sayWhy(error) {
    const reason = error.message.trim().split("\n").at(-1); // its traceback is the driver's
    this.#say("err", { s: `This is no valid request. ${reason}` });
  }

  #register(message, port, link) {
    const number = ++this.#count;
    this.#open.set(number, { port, message, link });
    return number;
  }

  #heardFromClient(number, { t, body }) {
    if (t === "gone") this.#gone(number);
    else this.#python.driver.tell(number, t, body);
  }

  #heardFromSocket(number, message) {
    const { driver } = this.#python;
    const { data } = message;
    if (message.t === "taken") driver.tell(number, "taken");
    else if (message.t === "close") driver.tell(number, "close", message.code, message.reason);
    else if (typeof data === "string") driver.tell(number, "text", data);
    else driver.tell(number, "bytes", new Uint8Array(data));
  }

  /** The client has left: the app gets a disconnect, and nobody hears what it still sends. */
  #gone(number) {
    this.#python.driver.tell(number, "gone");
    this.#open.delete(number);
  }

  // --- Headers and cookies -----------------------------------------------------------------------

  #jarOf(visitor = "1") {
    return (this.jars[visitor] ??= new Jar());
  }

  #headersFor({ headers = [], path, visitor, cookies }) {
    const { send } = cookieRule(cookies);
    const own = headers.filter(([name]) => !(send && name === "cookie"));
    if (!own.some(([name]) => name === "host")) own.unshift(["host", self.location.host]);
    const cookie = send ? this.#jarOf(visitor).header(path) : "";
    return cookie ? [...own, ["cookie", cookie]] : own;
  }

  /** Put the response's cookies into the jar. The headers go on as the app sent them. */
  #keepCookies({ message: { cookies = true, visitor, path } }, headers) {
    const lines = headers.filter(([name]) => name.toLowerCase() === "set-cookie");
    if (!lines.length || !cookieRule(cookies).keep) return;
    for (const [, line] of lines) this.#jarOf(visitor).take(line, path);
    const jars = Object.entries(this.jars).map(([name, jar]) => [name, jar.cookies]);
    this.#say("cookies", { jars: Object.fromEntries(jars) });
  }

  // --- From the app ------------------------------------------------------------------------------

  /** Send to a connection's port. */
  #post(number, message, transfer = []) {
    this.#open.get(number)?.port.postMessage(message, transfer);
  }

  /** What driver.py calls, as its module `_live_host`. */
  host = {
    start: (number, status, headers, body, end) => {
      const connection = this.#open.get(number);
      if (!connection) return;
      this.#keepCookies(connection, headers);
      this.#post(number, { t: "start", status, headers, body, end }, [body.buffer]);
      if (end) this.#open.delete(number);
    },
    chunk: (number, body, end) => {
      this.#post(number, { t: "chunk", body, end }, [body.buffer]);
      if (end) this.#open.delete(number);
    },
    more: (number) => this.#post(number, { t: "more" }),
    fail: (number, sent) => {
      this.#post(number, { t: "fail", sent });
      this.#open.delete(number);
    },
    accept: (number, protocol, headers) => {
      const connection = this.#open.get(number);
      if (connection) this.#keepCookies(connection, headers);
      this.#post(number, { t: "open", protocol });
    },
    message: (number, data) => {
      this.#post(number, { t: "message", data: typeof data === "string" ? data : data.buffer });
    },
    close: (number, accepted, code, reason) => {
      this.#post(number, { t: "close", accepted, code, reason });
      this.#open.delete(number);
    },
    log: (s) => this.#say("log", { s }),
  };
}

/** Whether a request sends the visitor's cookies, and keeps those of the response. */
function cookieRule(cookies) {
  if (typeof cookies === "object" && cookies !== null) return cookies;
  return { send: Boolean(cookies), keep: Boolean(cookies) };
}
