// A page that does with the runtime what a test asks for. The site's pages have another script.
const live = new URL("../_static/live/", import.meta.url);
const panes = new URL("../_live/", import.meta.url);

class Runtime {
  constructor() {
    this.said = []; // messages without an answer's number
    this.waiting = new Map();
    this.count = 0;
    this.begin = performance.now();
    this.worker = new Worker(new URL("worker.mjs", live), { type: "module" });
    this.worker.onmessage = ({ data }) => this.heard(data);
    this.worker.onerror = (event) => this.said.push({ t: "broken", s: event.message });
  }

  heard(message) {
    if (message.t === "pong") this.pongs = (this.pongs ?? 0) + 1;
    const answer = this.waiting.get(message.n);
    if (answer) answer(message);
    else this.said.push(message);
  }

  ask(t, rest = {}) {
    const n = ++this.count;
    const answered = new Promise((resolve) => this.waiting.set(n, resolve));
    this.worker.postMessage({ t, n, ...rest });
    return answered;
  }

  /** Everything that was printed or logged. */
  text(...kinds) {
    return this.said
      .filter(({ t }) => kinds.includes(t))
      .map(({ s }) => s)
      .join("\n");
  }

  /** Send a request as the page itself; return status, headers and the whole body. */
  fetch(method, path, { headers = [], body = null, visitor = "1", cookies = true } = {}) {
    if (!this.port) {
      const channel = new MessageChannel();
      this.worker.postMessage({ t: "link" }, [channel.port2]);
      this.port = channel.port1;
    }
    const { port1, port2 } = new MessageChannel();
    const [plain, query = ""] = path.split("?");
    const result = { text: "" };
    const decoder = new TextDecoder();
    const done = new Promise((resolve) => {
      port1.onmessage = ({ data }) => {
        if (data.t === "more") return;
        Object.assign(result, { t: data.t, ...(data.t === "start" && data), body: undefined });
        if (data.t === "chunk") port1.postMessage({ t: "taken" });
        if (data.body) result.text += decoder.decode(data.body, { stream: true });
        if (data.end || data.t === "fail" || data.t === "down") resolve(result);
      };
    });
    const content = body === null ? null : new TextEncoder().encode(body);
    const all = content ? [...headers, ["content-length", String(content.length)]] : headers;
    const message = { t: "http", visitor, root: "", method, path: plain, query, headers: all };
    this.port.postMessage({ ...message, hasBody: content !== null, cookies }, [port2]);
    if (content) {
      port1.postMessage({ t: "body", body: content });
      port1.postMessage({ t: "end" });
    }
    return done;
  }

  /** Register the service worker, and lend it the app. */
  async serve(id) {
    this.registration ??= await registered();
    this.lend(id);
    navigator.serviceWorker.addEventListener("message", ({ data }) => {
      if (data.t === "who" && data.id === id) this.lend(id);
    });
    navigator.serviceWorker.startMessages();
  }

  lend(id) {
    const { port1, port2 } = new MessageChannel();
    this.worker.postMessage({ t: "link" }, [port1]);
    this.registration.active.postMessage({ t: "app", id }, [port2]);
  }

  /** Show a page of the app in a new frame, and wait until it is there. */
  async show(id, path = "/", visitor = "1") {
    const frame = document.createElement("iframe");
    frame.name = `pane-${visitor}`;
    frame.src = new URL(`${id}/${visitor}${path}`, panes);
    const shown = new Promise((resolve) => frame.addEventListener("load", resolve));
    document.body.append(frame);
    await shown;
  }

  end() {
    this.worker.terminate();
  }
}

async function registered() {
  const address = new URL("sw.js", panes);
  const options = { scope: panes.pathname, updateViaCache: "none" };
  const registration = await navigator.serviceWorker.register(address, options);
  const worker = registration.installing ?? registration.waiting ?? registration.active;
  if (worker.state !== "activated") {
    await new Promise((resolve) => {
      worker.addEventListener("statechange", () => worker.state === "activated" && resolve());
    });
  }
  return registration;
}

window.Runtime = Runtime;
window.registered = registered;
window.isReady = true;
