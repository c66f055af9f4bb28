// The first script of each page of an app in a pane. It mends two things: a service worker cannot
// answer WebSockets, and Chromium gives up an EventSource whose service worker was stopped. It gives
// links and forms with an absolute path the app's root, and tells the pane where its page is.
"use strict";

(() => {
  const base = new URL("./", document.currentScript.src).pathname; // _live/
  const [id, visitor] = location.pathname.slice(base.length).split("/");
  const root = `${base}${id}/${visitor}`;
  const isInside = ({ pathname }) => pathname === root || pathname.startsWith(`${root}/`);

  // The app's worker waits for this lock. It gets it when this page is gone, however it went.
  const pane = `live-pane-${Math.random().toString(36).slice(2)}`;
  const held = new Promise((resolve) => {
    const forever = () => {
      resolve();
      return new Promise(() => {});
    };
    if (navigator.locks) navigator.locks.request(pane, forever);
    else resolve();
  });

  // --- WebSocket ---------------------------------------------------------------------------------

  const CONNECTING = 0;
  const OPEN = 1;
  const CLOSING = 2;
  const CLOSED = 3;
  const STATES = { CONNECTING, OPEN, CLOSING, CLOSED };
  const TOKEN = /^[!#$%&'*+\-.^_`|~\w]+$/;
  const sockets = new Set(); // those that are not closed

  /** The URL of a socket, in the app's own path, as new WebSocket() takes it. */
  function socketUrl(address) {
    const url = new URL(address, document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    if (!/^wss?:$/.test(url.protocol)) {
      throw new DOMException("The URL's scheme must be 'ws' or 'wss'.", "SyntaxError");
    }
    if (url.hash) throw new DOMException("The URL has a fragment.", "SyntaxError");
    return url;
  }

  function checkedProtocols(given) {
    const protocols = [].concat(given).map(String);
    const different = new Set(protocols.map((name) => name.toLowerCase()));
    if (different.size !== protocols.length || !protocols.every((name) => TOKEN.test(name))) {
      throw new DOMException("The subprotocols are invalid.", "SyntaxError");
    }
    return protocols;
  }

  /** A WebSocket whose messages go through a port to the app's worker. */
  class Socket extends EventTarget {
    #port;
    #waiting = new AbortController(); // for the app's lock
    #binaryType = "blob";
    #handlers = {};
    url;
    protocol = "";
    extensions = "";
    readyState = CONNECTING;
    bufferedAmount = 0;

    constructor(address, protocols = []) {
      super();
      const url = socketUrl(address);
      const wanted = checkedProtocols(protocols);
      this.url = url.href;
      if (!isInside(url)) url.pathname = root + url.pathname;
      const { port1, port2 } = new MessageChannel();
      this.#port = port1;
      port1.onmessage = ({ data }) => this.#heard(data);
      sockets.add(this);
      held.then(() => this.#connect(url, wanted, port2));
    }

    #connect(url, protocols, port) {
      if (this.readyState > OPEN) return;
      const controller = navigator.serviceWorker?.controller;
      if (!controller) {
        this.lost();
        return;
      }
      controller.postMessage({ t: "ws", url: url.href, protocols, pane }, [port]);
      // The app's worker holds this lock while the app runs.
      const request = { mode: "shared", signal: this.#waiting.signal };
      navigator.locks?.request(`live-app-${id}`, request, () => this.lost()).catch(() => {});
    }

    #heard(message) {
      if (this.readyState === CLOSED) return;
      // The app waits if too many messages are on their way.
      if (message.t === "message") this.#port.postMessage({ t: "taken" });
      if (message.t === "open" && this.readyState === CONNECTING) {
        this.readyState = OPEN;
        this.protocol = message.protocol;
        this.dispatchEvent(new Event("open"));
      } else if (message.t === "message" && this.readyState === OPEN) {
        const { data } = message;
        const isBlob = typeof data !== "string" && this.#binaryType === "blob";
        const event = { data: isBlob ? new Blob([data]) : data, origin: location.origin };
        this.dispatchEvent(new MessageEvent("message", event));
      } else if (message.t === "close" && this.readyState !== CLOSING) {
        const { accepted, code, reason } = message;
        if (accepted) this.#end(code, reason, code !== 1006);
        else this.lost();
      }
    }

    #end(code, reason, wasClean) {
      if (this.readyState === CLOSED) return;
      this.readyState = CLOSED;
      sockets.delete(this);
      this.#waiting.abort();
      this.#port.close();
      if (!wasClean) this.dispatchEvent(new Event("error"));
      this.dispatchEvent(new CloseEvent("close", { code, reason, wasClean }));
    }

    get binaryType() {
      return this.#binaryType;
    }

    set binaryType(type) {
      if (type === "blob" || type === "arraybuffer") this.#binaryType = type;
    }

    send(data) {
      if (this.readyState === CONNECTING) {
        throw new DOMException("Still in CONNECTING state.", "InvalidStateError");
      }
      if (this.readyState !== OPEN) return;
      const post = (content) => this.#port.postMessage({ t: "send", data: content });
      if (data instanceof Blob) data.arrayBuffer().then(post);
      else if (data instanceof ArrayBuffer) post(data);
      else if (ArrayBuffer.isView(data)) {
        post(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength));
      } else post(String(data));
    }

    close(code, reason = "") {
      if (code !== undefined && code !== 1000 && !(code >= 3000 && code <= 4999)) {
        throw new DOMException(`The close code ${code} is invalid.`, "InvalidAccessError");
      }
      if (new TextEncoder().encode(reason).length > 123) {
        throw new DOMException("The reason is too long.", "SyntaxError");
      }
      if (this.readyState > OPEN) return;
      const wasOpen = this.readyState === OPEN;
      this.readyState = CLOSING;
      this.#port.postMessage({ t: "close", code: code ?? 1005, reason });
      // The events come after close() has returned.
      setTimeout(() => (wasOpen ? this.#end(code ?? 1005, reason, true) : this.lost()));
    }

    /** The app has gone away. */
    lost() {
      this.#end(1006, "", false);
    }

    /** The page goes away. */
    leave() {
      this.#port.postMessage({ t: "close", code: 1001, reason: "" });
    }

    static {
      for (const type of ["open", "message", "error", "close"]) {
        Object.defineProperty(this.prototype, `on${type}`, {
          get() {
            return this.#handlers[type]?.handler ?? null;
          },
          set(handler) {
            this.#setHandler(type, handler);
          },
        });
      }
      for (const [name, value] of Object.entries(STATES)) {
        for (const target of [this, this.prototype]) {
          Object.defineProperty(target, name, { value, enumerable: true });
        }
      }
    }

    #setHandler(type, handler) {
      this.removeEventListener(type, this.#handlers[type]?.listener);
      delete this.#handlers[type];
      if (typeof handler !== "function") return;
      const listener = (event) => {
        if (handler.call(this, event) === false) event.preventDefault();
      };
      this.#handlers[type] = { handler, listener };
      this.addEventListener(type, listener);
    }
  }

  const BrowsersSocket = window.WebSocket;
  window.WebSocket = new Proxy(Socket, {
    construct(target, args, newTarget) {
      const url = new URL(args[0], document.baseURI);
      if (url.host !== location.host) return new BrowsersSocket(...args);
      return Reflect.construct(target, args, newTarget);
    },
  });

  // A worker in an endless loop keeps its lock for some seconds after it was stopped, so the page
  // says it too. The channel must stay referenced: one that is collected hears nothing.
  const news = new BroadcastChannel(`live-${id}`);
  news.onmessage = () => [...sockets].forEach((socket) => socket.lost());
  addEventListener("pagehide", () => sockets.forEach((socket) => socket.leave()));

  // --- EventSource -------------------------------------------------------------------------------

  const BrowsersEvents = window.EventSource;
  const RECONNECT = 3000; // milliseconds, as browsers wait

  /** An EventSource that connects again if the browser gave it up after it was open. */
  class Events extends EventTarget {
    #args;
    #source; // the browser's own
    #types = new Set(["open", "message", "error"]);
    #wasOpen = false;
    #isWaiting = false; // to connect again
    #isClosed = false; // by the page
    onopen = null;
    onmessage = null;
    onerror = null;

    constructor(...args) {
      super();
      this.#args = args;
      this.#start();
    }

    #start() {
      this.#source = new BrowsersEvents(...this.#args);
      this.#wasOpen = false;
      for (const type of this.#types) this.#listen(type);
    }

    #listen(type) {
      this.#source.addEventListener(type, (event) => {
        if (event.type === "open") this.#wasOpen = true;
        if (event.type === "error") this.#failed();
        const copy = copyOf(event);
        this.dispatchEvent(copy);
        this[`on${type}`]?.call(this, copy);
      });
    }

    #failed() {
      const isGivenUp = this.#source.readyState === CLOSED_EVENTS;
      const mayReturn = this.#wasOpen && isGivenUp && !this.#isClosed;
      if (this.#source.readyState !== 1) this.#wasOpen = false;
      if (!mayReturn) return;
      this.#isWaiting = true;
      setTimeout(() => {
        this.#isWaiting = false;
        if (!this.#isClosed) this.#start();
      }, RECONNECT);
    }

    addEventListener(type, ...rest) {
      if (!this.#types.has(type)) {
        this.#types.add(type);
        this.#listen(type);
      }
      super.addEventListener(type, ...rest);
    }

    get readyState() {
      if (this.#isClosed) return CLOSED_EVENTS;
      return this.#isWaiting ? 0 : this.#source.readyState;
    }

    get url() {
      return this.#source.url;
    }

    get withCredentials() {
      return this.#source.withCredentials;
    }

    close() {
      this.#isClosed = true;
      this.#source.close();
    }
  }

  const CLOSED_EVENTS = 2;
  for (const [name, value] of Object.entries({ CONNECTING: 0, OPEN: 1, CLOSED: 2 })) {
    for (const target of [Events, Events.prototype]) {
      Object.defineProperty(target, name, { value, enumerable: true });
    }
  }
  window.EventSource = Events;

  /** An event can be dispatched once only. */
  function copyOf(event) {
    if (!(event instanceof MessageEvent)) return new Event(event.type);
    const { data, lastEventId, origin } = event;
    return new MessageEvent(event.type, { data, lastEventId, origin });
  }

  // --- Links, forms and the address --------------------------------------------------------------

  /** The same URL below the app's root, if it leads out of it to this site; otherwise null. */
  function broughtInside(address) {
    if (!URL.canParse(address, document.baseURI)) return null;
    const url = new URL(address, document.baseURI);
    const isOfSite = url.protocol === location.protocol && url.host === location.host;
    if (!isOfSite || isInside(url)) return null;
    url.pathname = root + url.pathname;
    return url.href;
  }

  function mend(element, attribute) {
    const address = broughtInside(element.getAttribute(attribute) ?? "");
    if (address) element.setAttribute(attribute, address);
  }

  addEventListener("click", ({ target }) => {
    const link = target.closest?.("a[href]");
    if (link) mend(link, "href");
  }, true);

  addEventListener("submit", ({ target, submitter }) => {
    if (submitter?.hasAttribute("formaction")) mend(submitter, "formaction");
    else mend(target, "action");
  }, true);

  // This method sends no event.
  const { submit } = HTMLFormElement.prototype;
  HTMLFormElement.prototype.submit = function submitInside() {
    mend(this, "action");
    submit.call(this);
  };

  for (const name of ["pushState", "replaceState"]) {
    const change = History.prototype[name];
    History.prototype[name] = function changeInside(state, title, address) {
      const inside = address == null ? null : broughtInside(String(address));
      change.call(this, state, title, inside ?? address);
      tellPane();
    };
  }

  // A frame has asked the site for its page before a script can know it. These events don't reach
  // the window.
  document.addEventListener("load", ({ target }) => {
    if (!(target instanceof HTMLIFrameElement)) return;
    try {
      const { location: place } = target.contentWindow;
      const inside = broughtInside(place.href);
      if (inside) place.replace(inside);
    } catch {
      // It shows another site.
    }
  }, true);

  function tellPane() {
    if (parent === window) return;
    const path = location.pathname.slice(root.length) + location.search + location.hash;
    const message = { t: "live-at", id, visitor, path, title: document.title };
    parent.postMessage(message, location.origin);
  }

  for (const type of ["DOMContentLoaded", "hashchange", "popstate", "pageshow"]) {
    addEventListener(type, tellPane);
  }
})();
