// The one worker of the page. It runs Python and one app at a time, for all live apps of the page.
// This side starts and ends it, notices when it no longer answers, and connects it with the service
// worker, which is the server of the panes.

import { bytesOf } from "./elements.mjs";

const HERE = new URL(".", import.meta.url);
const PANES = new URL("../../_live/", HERE); // the folder, and the scope, of the service worker
const BEAT = 1000; // milliseconds between two looks at the worker
const PATIENCE = 3000; // milliseconds without an answer after which the reader is told
const PATIENCE_FOR_CHECKS = 20000; // a check of a step can keep the worker that long
const KEEP_AWAKE = 15000; // milliseconds: browsers end a service worker that hears nothing for 30 s

/** Return the service worker once it is active. */
async function registerServiceWorker() {
  const registration = await navigator.serviceWorker.register(new URL("sw.js", PANES), {
    scope: PANES.pathname,
    updateViaCache: "none",
  });
  const worker = registration.installing ?? registration.waiting ?? registration.active;
  if (worker.state !== "activated") await activated(worker);
  return registration;
}

/** Return the files as the worker wants them: texts, and bytes for what is in base64. */
function withBytes(files) {
  const contents = Object.entries(files).map(([name, content]) => [
    name,
    typeof content === "string" ? content : bytesOf(content),
  ]);
  return Object.fromEntries(contents);
}

function activated(worker) {
  return new Promise((resolve, reject) => {
    worker.addEventListener("statechange", () => {
      if (worker.state === "activated") resolve();
      if (worker.state === "redundant") reject(new Error("The service worker was refused."));
    });
  });
}

/**
 * The runtime calls these methods of the app that runs (its client):
 * `written(kind, text)`, `loading(loaded, total)`, `starting()`, `lateness(isLate)` and
 * `released(reason)`.
 */
class Runtime {
  id = `page-${Math.random().toString(36).slice(2, 8)}`; // another page, or tab, has another one
  client = null; // the app that runs, or starts
  canServe = "serviceWorker" in navigator && isSecureContext;
  #worker = null;
  #booting = null; // a promise
  #lastClient = null; // its files are in the worker's folder
  #registration = null;
  #port = null; // to the worker, for what the page itself asks of the app
  #count = 0;
  #waiting = new Map(); // number of a message -> {resolve, reject}
  #life = new AbortController(); // aborted when the worker ends
  #jars = {};
  #heart = 0;
  #pinged = 0;
  #heard = 0;
  #kept = 0;
  #isLate = false;
  #isRunning = false; // the app has started, so the worker holds the lock that stands for it
  #isBooted = false;

  /** Where the panes of a visitor are: the path, without a slash at its end. */
  root(visitor) {
    return new URL(`${this.id}/${visitor}`, PANES).pathname;
  }

  get isServed() {
    return this.#registration !== null;
  }

  /** A signal that is aborted when the worker ends. */
  get life() {
    return this.#life.signal;
  }

  /**
   * Load Python, if that is yet to do, and start an app in the place of the one that runs.
   *
   * @param {object} client The app; see above for its methods.
   * @param {{files: object, target: string, packages: string[], environment: object,
   *     fresh?: boolean}} options What the app needs; `fresh` empties its folder first.
   * @returns {Promise<boolean>} Whether the app runs; false if another one was started meanwhile.
   */
  async run(client, options) {
    if (this.client && this.client !== client) {
      this.client.released("Stopped, because another app of this page was started.");
    }
    this.client = client;
    await this.#booted(options);
    if (this.client !== client) return false;
    client.starting();
    const fresh = this.#lastClient !== client || Boolean(options.fresh);
    this.#lastClient = client;
    this.#isRunning = false;
    await this.ask("run", { ...options, fresh });
    if (this.client !== client) return false;
    this.#isRunning = true;
    this.#lend();
    return true;
  }

  /** Load Python, if that is yet to do, and start no app: a check needs none. */
  async load(client, options) {
    this.client ??= client;
    await this.#booted(options);
  }

  /** Load Python, or wait for it. After a failure, the next run loads it again. */
  async #booted(options) {
    this.#booting ??= this.#boot(options);
    const booting = this.#booting;
    try {
      await booting;
    } catch (error) {
      // If Stop has ended it, another one may be loading already.
      if (this.#booting === booting) this.#discard(error.message);
      throw error;
    }
  }

  async #boot({ packages, environment }) {
    const worker = new Worker(new URL("worker.mjs", HERE), { type: "module", name: this.id });
    const { life } = this;
    this.#worker = worker;
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      if (!life.aborted) this.end(event.message || "The worker could not be loaded.");
    });
    worker.addEventListener("message", ({ data }) => {
      if (!life.aborted) this.#hear(data); // what an ended worker has sent can come afterwards
    });
    this.#heart = setInterval(() => this.#beat(), BEAT);
    const ready = this.ask("boot", { id: this.id, packages, environment, jars: this.#jars });
    const [registration] = await Promise.all([this.#serve(), ready]);
    life.throwIfAborted();
    this.#registration = registration;
    this.#isBooted = true;
    this.#pinged = 0;
    this.#port = this.#newLink();
  }

  /** Register the service worker; without it, the app runs and has no panes. */
  async #serve() {
    if (!this.canServe) return null;
    if (this.#registration) return this.#registration;
    try {
      const registration = await registerServiceWorker();
      navigator.serviceWorker.addEventListener("message", ({ data }) => {
        if (data?.t === "who" && data.id === this.id) this.#lend();
      });
      navigator.serviceWorker.startMessages();
      return registration;
    } catch (error) {
      this.client?.written("log", `The browser refuses the service worker: ${error.message}`);
      return null;
    }
  }

  /** Send a message to the worker; return its answer. */
  ask(type, { files, ...values } = {}) {
    this.#count += 1;
    const number = this.#count;
    return new Promise((resolve, reject) => {
      if (!this.#worker) return reject(new Error("Python does not run."));
      this.#waiting.set(number, { type, resolve, reject });
      const sent = files && { files: withBytes(files) };
      this.#worker.postMessage({ t: type, n: number, ...values, ...sent });
    });
  }

  /** Hand a connection to the app: an `http` or `ws` message with the port that it is to use. */
  connect(message, port) {
    if (!this.#port) throw new Error("The app is not running. Press Run first.");
    this.#port.postMessage({ id: this.id, ...message }, [port]);
  }

  #hear(message) {
    this.#heard = performance.now();
    switch (message.t) {
      case "out":
      case "err":
      case "log":
        return this.client.written(message.t, message.s);
      case "cookies":
        this.#jars = message.jars;
        return undefined;
      case "progress":
        return this.client.loading(message.loaded, message.total);
      case "crashed":
        return this.#crashed(message.s);
      case "pong":
        return this.#tellLateness(false);
      default:
        return this.#settle(message);
    }
  }

  /** The app has ended the interpreter itself; the next run loads another one. */
  #crashed(reason) {
    const cause = /call stack/i.test(reason)
      ? "Calls were nested too deeply, by a function that calls itself or by data inside data."
      : "";
    this.client?.written("err", `Python has crashed. ${reason}\n${cause}`.trim(), true);
    this.end("Python has crashed. The log says why. Press Run to start it again.");
  }

  #settle(message) {
    const waiting = this.#waiting.get(message.n);
    this.#waiting.delete(message.n);
    if (message.t === "failed") waiting?.reject(new Error(message.s));
    else waiting?.resolve(message);
  }

  #newLink() {
    const { port1, port2 } = new MessageChannel();
    this.#worker.postMessage({ t: "link" }, [port2]);
    return port1;
  }

  /**
   * Give the service worker a way to the app: after each start, since it drops what was stopped,
   * and whenever it asks because the browser had ended it.
   */
  #lend() {
    if (!this.#isRunning || !this.#registration) return;
    this.#registration.active.postMessage({ t: "app", id: this.id }, [this.#newLink()]);
  }

  #beat() {
    if (!this.#isBooted) return; // while Python is loaded, the worker has no time to answer
    const now = performance.now();
    const isAnswered = this.#heard >= this.#pinged;
    if (this.#pinged && !isAnswered && now - this.#pinged > this.#patience)
      this.#tellLateness(true);
    if (!this.#pinged || isAnswered) {
      this.#pinged = now;
      this.#worker.postMessage({ t: "ping" });
    }
    if (this.#registration && now - this.#kept > KEEP_AWAKE) {
      this.#kept = now;
      this.#registration.active.postMessage({ t: "ping" });
    }
  }

  get #patience() {
    const isChecking = [...this.#waiting.values()].some(({ type }) => type === "check");
    return isChecking ? PATIENCE_FOR_CHECKS : PATIENCE;
  }

  #tellLateness(isLate) {
    if (isLate === this.#isLate) return;
    this.#isLate = isLate;
    this.client.lateness(isLate);
  }

  /** End the worker, whatever it does. Cookies stay; what the app has written is lost. */
  end(reason = "Stopped.") {
    this.#discard(reason);
    this.client?.released(reason);
    this.client = null;
  }

  #discard(reason) {
    clearInterval(this.#heart);
    this.#worker?.terminate();
    this.#worker = this.#booting = this.#lastClient = this.#port = null;
    this.#isBooted = this.#isLate = this.#isRunning = false;
    this.#pinged = 0;
    this.#registration?.active?.postMessage({ t: "end", id: this.id });
    // From this, open WebSockets of the panes learn it: a worker in a loop keeps its locks for 2 s.
    const news = new BroadcastChannel(`live-${this.id}`);
    news.postMessage("end");
    news.close();
    this.#life.abort(new Error(reason));
    this.#life = new AbortController();
    for (const { reject } of this.#waiting.values()) reject(new Error(reason));
    this.#waiting.clear();
  }
}

export const runtime = new Runtime();
