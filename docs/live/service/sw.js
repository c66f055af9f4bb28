// The service worker of the panes. A request below _live/ID/VISITOR/ goes to the app ID, which runs
// in a worker of some page of the documentation; VISITOR says whose cookies it has.
//
// Its scope is the folder it lies in, so it has nothing to do with the pages of the documentation.
// It keeps nothing: when the browser has stopped it, the next request asks the open pages who has
// the app. The messages to the app are described in worker/connections.mjs.
"use strict";

const BASE = new URL("./", self.location).pathname;
const SHIM = `${BASE}shim.js`;
const ME = Math.random().toString(36).slice(2);
const SEARCH_TIME = 2000; // milliseconds that the pages have to say who has an app

const apps = new Map(); // id → {port, streams: functions that end what is open}
const searches = new Map(); // id → functions that go on when a page has answered

// The workers wait for this lock. They get it when this service worker is stopped. They may not ask
// for it before it is held: they would take this service worker for a stopped one.
const lockHeld = new Promise((resolve) => {
  const untilStopped = () => {
    resolve();
    return new Promise(() => {});
  };
  self.navigator.locks?.request(`live-sw-${ME}`, untilStopped);
});

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

// --- Apps ----------------------------------------------------------------------------------------

self.addEventListener("message", (event) => {
  const message = event.data;
  if (message.t === "app") addApp(message.id, event.ports[0]);
  else if (message.t === "end") removeApp(message.id, apps.get(message.id));
  else if (message.t === "ws") event.waitUntil(passSocketOn(message, event.ports[0]));
  else if (message.t === "ping") event.source?.postMessage({ t: "pong", sw: ME });
});

/** A page lends its app. */
function addApp(id, port) {
  lockHeld.then(() => port.postMessage({ t: "hello", sw: ME }));
  const app = { port, streams: new Set() };
  apps.set(id, app);
  // The app's worker holds this lock while the app runs. To ask the browser for the page at each
  // request would take longer.
  const request = { mode: "shared" };
  self.navigator.locks?.request(`live-app-${id}`, request, () => removeApp(id, app));
  for (const goOn of searches.get(id) ?? []) goOn();
  searches.delete(id);
}

/** The app has been stopped, or its page is gone. */
function removeApp(id, app) {
  if (apps.get(id) === app) apps.delete(id);
  for (const end of app?.streams ?? []) end();
}

/** Find the app of this id; if this service worker is new, the pages know. */
async function findApp(id) {
  if (apps.has(id)) return apps.get(id);
  const pages = await self.clients.matchAll({ includeUncontrolled: true, type: "window" });
  const found = new Promise((goOn) => searches.set(id, [...(searches.get(id) ?? []), goOn]));
  for (const page of pages) page.postMessage({ t: "who", id });
  await Promise.race([found, new Promise((goOn) => setTimeout(goOn, SEARCH_TIME))]);
  return apps.get(id);
}

/** Whose path is it? `root` is the path of the app itself. */
function placeOf(pathname) {
  if (!pathname.startsWith(BASE)) return null;
  const [id, visitor, ...rest] = pathname.slice(BASE.length).split("/");
  const isName = (text) => /^[\w-]+$/.test(text ?? "");
  if (!rest.length || !isName(id) || !isName(visitor)) return null;
  return { id, visitor, root: `${BASE}${id}/${visitor}` };
}

/** A pane opens a WebSocket. Its port goes to the app; what follows goes past this worker. */
async function passSocketOn({ url: address, protocols, pane }, port) {
  const url = new URL(address);
  const place = placeOf(url.pathname);
  const app = place && (await findApp(place.id));
  if (!app) {
    port.postMessage({ t: "close", accepted: false, code: 1006, reason: "" });
    return;
  }
  const query = url.search.slice(1);
  const message = { t: "ws", ...place, path: url.pathname, query, protocols, pane };
  app.port.postMessage(message, [port]);
}

// --- Requests ------------------------------------------------------------------------------------

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (url.origin !== self.location.origin || url.pathname === SHIM) return;
  const place = placeOf(url.pathname);
  if (place) event.respondWith(answer(event.request, url, place));
  else if (event.request.mode !== "navigate") event.respondWith(answerFromPane(event, url));
});

/** An absolute path in a page of the app, as in <link href="/x.css">, means the app. */
async function answerFromPane(event, url) {
  const client = await self.clients.get(event.clientId);
  const place = client && placeOf(new URL(client.url).pathname);
  if (!place) return fetch(event.request);
  return answer(event.request, new URL(place.root + url.pathname + url.search, url), place);
}

async function answer(request, url, place) {
  const app = await findApp(place.id);
  if (!app) return new Answer(request, url, place).notRunning();
  return new Answer(request, url, place, app).fetch();
}

const WITHOUT_BODY = [101, 204, 205, 304];
const SERVER = "http://127.0.0.1:8000"; // the app's address as the pages of the site write it
const DROPPED_HEADERS = ["set-cookie", "transfer-encoding", "connection", "x-frame-options"];

/** One request to the app, and its response. */
class Answer {
  constructor(request, url, place, app) {
    Object.assign(this, { request, url, place, app });
    this.isNavigation = request.mode === "navigate";
    this.queue = []; // pieces of the body that have come and are not read yet
    this.isEnded = false; // no more pieces will come
    this.wake = () => {}; // goes on when a piece has come
    this.sendMore = () => {}; // goes on when the app has taken a piece of the request's body
  }

  /** Send the request to the app and wait for the start of its response. */
  async fetch() {
    // A blob has a length, as the body of every form has, and the browser can keep it on disk.
    const hasBody = !["GET", "HEAD"].includes(this.request.method);
    const body = hasBody ? await this.request.blob() : null;
    const channel = new MessageChannel();
    this.port = channel.port1;
    const started = new Promise((resolve) => (this.resolve = resolve));
    this.end = () => this.#appStopped();
    this.app.streams.add(this.end);
    this.port.onmessage = ({ data }) => this.#heard(data);
    this.request.signal?.addEventListener("abort", () => this.#leave());
    const message = {
      t: "http",
      ...this.place,
      method: this.request.method,
      path: this.url.pathname,
      query: this.url.search.slice(1),
      headers: requestHeaders(this.request, body),
      hasBody,
      cookies: this.request.credentials !== "omit",
    };
    this.app.port.postMessage(message, [channel.port2]);
    if (body) this.#sendBody(body).catch(() => this.#leave());
    return started;
  }

  /** Send the body, each piece when the app has taken the one before. */
  async #sendBody(body) {
    const reader = body.stream().getReader();
    let taken = Promise.resolve();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      await taken;
      taken = new Promise((goOn) => (this.sendMore = goOn));
      this.port.postMessage({ t: "body", body: value }, [value.buffer]);
    }
    this.port.postMessage({ t: "end" });
  }

  #heard(message) {
    switch (message.t) {
      case "more":
        this.sendMore();
        break;
      case "start":
        this.#tryToStart(message);
        break;
      case "chunk":
        this.queue.push(message.body);
        this.isEnded ||= message.end;
        this.wake();
        break;
      case "fail":
        this.#appRaised(message.sent);
        break;
      case "down":
        this.resolve(this.notRunning());
        this.#close();
        break;
    }
  }

  // --- The response ------------------------------------------------------------------------------

  /** A response that the browser refuses must not leave the reader waiting. */
  #tryToStart(message) {
    try {
      this.#start(message);
    } catch (error) {
      this.#cannotShow(error.message);
    }
  }

  #cannotShow(reason) {
    this.resolve(plainPage(502, "The app's response cannot be shown.", reason));
    this.#leave();
  }

  #start({ status, headers: pairs, body, end }) {
    if (status < 200 || status > 599) {
      this.#cannotShow(`Its status was ${status}.`);
      return;
    }
    const headers = this.#headers(pairs);
    const type = headers.get("content-type") ?? "";
    this.isEventStream = /^text\/event-stream\b/i.test(type);
    let piece = body;
    if (this.isNavigation) allowFrame(headers);
    if (this.isNavigation && /^text\/html\b/i.test(type) && !headers.has("content-encoding")) {
      piece = withShim(body, headers);
    }
    const packing = unpackedHere(headers);
    let content = null;
    if (!WITHOUT_BODY.includes(status) && this.request.method !== "HEAD") {
      content = end ? piece : this.#stream(piece);
      if (packing) content = unpack(content, packing);
    }
    if (end || content === null) this.#close();
    this.resolve(new Response(content, { status, headers }));
  }

  /** The app's headers, with redirects that stay in the app. */
  #headers(pairs) {
    const headers = new Headers();
    for (const [name, value] of pairs) {
      const lower = name.toLowerCase();
      if (DROPPED_HEADERS.includes(lower)) continue;
      try {
        headers.append(lower, lower === "location" ? this.#redirect(value) : value);
      } catch {
        // A browser does not take each header that an app can send, nor each place to redirect to;
        // nor does it here.
      }
    }
    return headers;
  }

  /** An app that redirects to "/login" and knows nothing of its root means its own path. */
  #redirect(location) {
    let to = new URL(location, this.url);
    if (to.origin === SERVER) to = new URL(this.url.origin + to.pathname + to.search + to.hash);
    const { root } = this.place;
    const isInside = to.pathname === root || to.pathname.startsWith(`${root}/`);
    if (to.origin === this.url.origin && !isInside) to.pathname = root + to.pathname;
    return to.href;
  }

  /**
   * A body that comes in pieces. The stream takes none ahead of its reader, so that the app waits.
   *
   * No waitUntil() for it: the browser ends a service worker whose event lasts five minutes, and
   * keeps one that has an open stream.
   */
  #stream(first) {
    this.queue.push(first);
    return new ReadableStream(
      {
        start: (controller) => (this.controller = controller),
        pull: () => this.#pull(),
        cancel: () => this.#leave(),
      },
      { highWaterMark: 0 },
    );
  }

  async #pull() {
    for (;;) {
      if (this.isClosed) return;
      if (this.queue.length) {
        const piece = this.queue.shift();
        this.port.postMessage({ t: "taken" });
        if (!piece.length) continue; // the first one can be empty
        this.controller.enqueue(piece);
        return;
      }
      if (this.isEnded) {
        this.controller.close();
        this.#close();
        return;
      }
      await new Promise((goOn) => (this.wake = goOn));
    }
  }

  // --- Ends --------------------------------------------------------------------------------------

  #close() {
    this.isClosed = true;
    this.app.streams.delete(this.end);
    this.port.close();
    this.wake();
  }

  /** The browser does not want the response any more. */
  #leave() {
    if (this.isClosed) return;
    this.port.postMessage({ t: "gone" });
    this.#close();
  }

  #appRaised(isStarted) {
    if (isStarted) this.#breakOff("the app broke off");
    this.resolve(plainPage(500, "Internal Server Error", "The log says what went wrong."));
    this.#close();
  }

  #appStopped() {
    this.#breakOff("the app has been stopped");
    const text = "Press Run to start it again.";
    this.resolve(this.#withoutApp(502, "The app has been stopped.", text));
    this.#close();
  }

  /** End the stream. An EventSource of Chromium connects again if it ends, not if it breaks. */
  #breakOff(reason) {
    if (!this.controller || this.isClosed) return;
    if (this.isEventStream) this.controller.close();
    else this.controller.error(new TypeError(reason));
  }

  notRunning() {
    const text = "Press Run in the page of the documentation that it belongs to.";
    return this.#withoutApp(503, "This app is not running.", text);
  }

  /**
   * What a request gets if no app answers. For all but navigations it is a network error, as from a
   * host that refuses the connection: an EventSource then tries again, and after a 503 never.
   */
  #withoutApp(status, title, text) {
    return this.isNavigation ? plainPage(status, title, text) : Response.error();
  }
}

/** The headers that the browser sends by itself are not in `request.headers`. */
function requestHeaders(request, body) {
  const headers = [...request.headers].filter(([name]) => name !== "accept-encoding");
  const addIfMissing = (name, value) => {
    if (value && !headers.some(([other]) => other === name)) headers.push([name, value]);
  };
  addIfMissing("user-agent", self.navigator.userAgent);
  addIfMissing("accept-language", (self.navigator.languages ?? []).join(","));
  addIfMissing("referer", request.referrer);
  if (body) addIfMissing("origin", self.location.origin);
  const hasType = headers.some(([name]) => name === "content-type");
  if (body && (body.size || hasType)) addIfMissing("content-length", String(body.size));
  headers.push(["sec-fetch-mode", request.mode], ["sec-fetch-site", "same-origin"]);
  headers.push(["sec-fetch-dest", request.destination || "empty"]);
  return headers;
}

/** The browser unpacks no response of a service worker. Say what is to be unpacked here. */
function unpackedHere(headers) {
  const packing = headers.get("content-encoding");
  if (!/^(gzip|deflate)$/.test(packing ?? "")) return null;
  headers.delete("content-encoding");
  headers.delete("content-length");
  return packing;
}

function unpack(content, packing) {
  return new Response(content).body.pipeThrough(new DecompressionStream(packing));
}

// --- The first script of each page ---------------------------------------------------------------

/** Put the shim's tag at the head's start: behind the doctype, so that quirks mode stays off. */
function withShim(body, headers) {
  const start = new TextDecoder("latin1").decode(body.subarray(0, 4096));
  const patterns = [/<head(\s[^>]*)?>/i, /<html(\s[^>]*)?>/i, /<!doctype[^>]*>/i];
  const match = patterns.map((pattern) => pattern.exec(start)).find(Boolean);
  const at = match ? match.index + match[0].length : 0;
  const policy = headers.get("content-security-policy") ?? "";
  const nonce = /'nonce-([^']+)'/.exec(policy)?.[1];
  const attribute = nonce ? ` nonce="${nonce}"` : "";
  const tag = new TextEncoder().encode(`<script src="${SHIM}"${attribute}></script>`);
  const page = new Uint8Array(body.length + tag.length);
  page.set(body.subarray(0, at));
  page.set(tag, at);
  page.set(body.subarray(at), at + tag.length);
  headers.delete("content-length");
  if (policy) headers.set("content-security-policy", allowShim(policy));
  return page;
}

/** The pane is a frame, even if the app's policy allows none. */
function allowFrame(headers) {
  const policies = headers.get("content-security-policy");
  if (!policies) return;
  const rules = (policy) => policy.split(";").filter((rule) => !/^\s*frame-ancestors\b/i.test(rule));
  const allowed = policies.split(",").map((policy) => rules(policy).join(";"));
  headers.set("content-security-policy", allowed.join(","));
}

/** An app's policy stays as it is, but for the shim. */
function allowShim(policies) {
  return policies.split(",").map(allowShimInOne).join(", ");
}

function allowShimInOne(policy) {
  const rules = policy.split(";").map((rule) => rule.trim()).filter(Boolean);
  const indexOf = (name) =>
    rules.findIndex((rule) => rule.toLowerCase().split(/\s/)[0] === name);
  let index = indexOf("script-src-elem");
  if (index < 0) index = indexOf("script-src");
  if (index < 0 && indexOf("default-src") >= 0) {
    const copy = rules[indexOf("default-src")].replace(/^default-src/i, "script-src");
    index = rules.push(copy) - 1;
  }
  if (index >= 0 && !rules[index].includes("'nonce-")) {
    const rule = rules[index].replace(/\s'none'/i, "");
    rules[index] = `${rule} ${self.location.origin}${SHIM}`;
  }
  return rules.join("; ");
}

// --- Pages of our own ----------------------------------------------------------------------------

function plainPage(status, title, text) {
  const safe = (value) =>
    value.replace(/[&<>]/g, (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[sign]);
  const style =
    "body{font:1rem system-ui;margin:2rem;color-scheme:light dark}p{white-space:pre-wrap}";
  const page = `<!doctype html><html lang="en"><meta charset="utf-8">
<title>${safe(title)}</title><style>${style}</style>
<h1>${safe(title)}</h1><p>${safe(text)}</p></html>`;
  const headers = { "content-type": "text/html; charset=utf-8", "cache-control": "no-store" };
  return new Response(page, { status, headers });
}
