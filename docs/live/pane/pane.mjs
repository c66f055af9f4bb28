// A live app: its bar, its tabs, and what its buttons do. start.js imports this module at the first
// press of a button.
import { Browser } from "./browser.mjs";
import { make, makeButton } from "./elements.mjs";
import { EventView } from "./events.mjs";
import { RequestForm } from "./form.mjs";
import { Log, placesIn } from "./log.mjs";
import { Requests } from "./requests.mjs";
import { runtime } from "./runtime.mjs";
import { SocketConsole } from "./socket.mjs";
import { Tabs } from "./tabs.mjs";

const MODULES = new URL(".", import.meta.url);
const DEFAULTS = {
  url: "/",
  packages: [],
  visitors: 1,
  height: "30rem",
  environment: {},
  requests: [],
};
const TEXT = /\.(py|html|css|js|mjs|json|txt|md|toml|svg|xml|csv)$/;
const LATE = "The app has not answered for 3 seconds. Press Stop to end it.";
const TOOLS = { events: "Event stream", socket: "WebSocket" };
let apps = 0; // of this page

/** Open the pane of a box. */
export async function open(box) {
  const response = await fetch(box.dataset.live);
  if (!response.ok) throw new Error(`${box.dataset.live}: ${response.status}`);
  const app = new LiveApp(box, { ...DEFAULTS, ...(await response.json()) });
  if (box.dataset.step) await attachStep(app);
  return app;
}

/** Add what "Do this step here" needs. The app runs without it, too. */
async function attachStep(app) {
  try {
    const { attach } = await import(new URL("step.mjs", MODULES));
    await attach(app);
  } catch (error) {
    console.warn(error);
    app.doStep = () => app.say("The step could not be loaded. Reload the page to try again.");
  }
}

class LiveApp {
  #editor = null; // a promise
  #browsers = [];
  #resets = 0;
  #runs = 0; // how often run() was called
  #waiting = []; // functions to call when the start has ended
  #told = 0; // when the progress was last told, in milliseconds
  #before = ""; // what the status line said before the app was late
  state = "idle"; // or "starting", "running", "failed"

  constructor(box, options) {
    apps += 1;
    this.number = apps;
    this.box = box;
    this.options = options;
    this.files = { ...options.files };
    this.runButton = box.querySelector(".live-run");
    this.statusLine = box.querySelector(".live-status");
    this.log = new Log((name, line) => this.showLine(name, line));
    this.#makeBar();
    this.#makeTabs();
    box.classList.add("live-opened");
    const row = make("div", { className: "live-tab-row" }, this.tabs.list, this.moreButton ?? "");
    box.append(row, this.tabs.panels, this.log.element);
    this.tabs.show("browser");
  }

  // --- What the reader sees ---

  #makeBar() {
    this.stopButton = makeButton("stop", "Stop", () => this.stop());
    this.resetButton = makeButton("reset", "Reset", () => this.reset());
    this.resetButton.title = "Bring back the files as they were, and forget data and cookies";
    this.stopButton.disabled = true;
    this.box.querySelector(".live-bar > .live-edit").replaceWith(this.stopButton, this.resetButton);
    this.progress = make("progress", {
      className: "live-progress",
      hidden: true,
      attributes: { "aria-label": "Loading Python" },
    });
    this.statusLine.after(this.progress);
  }

  #makeTabs() {
    this.tabs = new Tabs("What you can do with the app", "live-tabs");
    this.tabs.add("browser", "Browser", this.#makeBrowserPanel());
    this.tabs.add("edit", "Edit", this.#makeEditPanel(), {
      className: "live-edit",
      onshow: () => this.editor().catch(() => {}), // the panel says that it failed
    });
    this.tabs.add("requests", "Requests", this.#makeRequestPanel());
    const sources = Object.values(this.files)
      .filter((text) => typeof text === "string")
      .join("\n");
    const hidden = [
      !/event_stream|text\/event-stream/.test(sources) && "events",
      !/\bws_\w+/.test(sources) && "socket",
    ].filter(Boolean);
    if (!hidden.includes("events")) this.#addTool("events");
    if (!hidden.includes("socket")) this.#addTool("socket");
    if (hidden.length) this.#addMore(hidden);
  }

  /** Add the tab of a tool that only some apps need. */
  #addTool(key) {
    const guess = this.#guessPath(key);
    const tool = key === "events" ? new EventView(this, guess) : new SocketConsole(this, guess);
    return this.tabs.add(key, TOOLS[key], tool.element);
  }

  /** Guess the path from the names of the app's methods. */
  #guessPath(key) {
    const source = Object.entries(this.files)
      .filter(([name]) => name.endsWith(".py"))
      .map(([, text]) => text)
      .join("\n");
    const [before, ...after] = source.split(/return event_stream\(/);
    const methods = after.length ? [...before.matchAll(/def (\w+)\(self/g)] : [];
    const name = key === "socket" ? /def ws_(\w+)/.exec(source)?.[1] : methods.at(-1)?.[1];
    return name && name !== "index" ? `/${name}` : "/";
  }

  /** Offer the tools that the app does not need; the open tab stays, and the focus goes on. */
  #addMore(keys) {
    const names = keys.map((key) => TOOLS[key]).join(", ");
    const button = makeButton("more", `More: ${names}`, () => {
      const [firstTab] = keys.map((key) => this.#addTool(key));
      button.remove();
      firstTab.focus();
    });
    this.moreButton = button;
  }

  #makeBrowserPanel() {
    this.hint = make("p", {
      className: "live-hint",
      textContent: "The app is not running. Press Run, and its pages come here.",
    });
    this.secondButton = makeButton("second", "Add a second visitor", () => this.toggleSecond());
    this.secondButton.title = "Another browser, with its own cookies";
    this.secondButton.hidden = true;
    this.browserPlace = make("div", { className: "live-browsers" });
    return make("div", {}, this.hint, this.browserPlace, this.secondButton);
  }

  #makeEditPanel() {
    this.editorPlace = make(
      "div",
      { className: "live-editor-place" },
      make("p", { className: "live-hint", textContent: "Loading the editor …" }),
    );
    return this.editorPlace;
  }

  #makeRequestPanel() {
    const place = make("div", { className: "live-request-panel" });
    if (this.options.requests.length) {
      this.requests = new Requests(this.options.requests, this);
      place.append(
        make("p", { className: "live-heading", textContent: "Requests of this page" }),
        this.requests.element,
      );
    }
    this.form = new RequestForm(this);
    place.append(
      make("p", { className: "live-heading", textContent: "Your own request" }),
      this.form.element,
    );
    return place;
  }

  say(text) {
    this.statusLine.textContent = text;
  }

  // --- Run, stop, reset ---

  /** Start the app, with the files as they are now. Return whether it runs. */
  async run({ fresh = false } = {}) {
    if (this.state === "starting") return false;
    this.#enter("starting", "Loading Python …");
    this.#runs += 1;
    const number = this.#runs;
    const isLatest = () => number === this.#runs; // Stop and Run can come while this one waits
    try {
      const { target = "app:app", packages, environment } = this.options;
      const files = { ...this.files };
      const isMine = await runtime.run(this, { files, target, packages, environment, fresh });
      if (!isMine || !isLatest()) return false; // another app was started meanwhile
      this.editorNow?.mark(null, []);
      this.editorNow?.saved(files);
      this.#enter("running", "The app is running.");
      this.#showPages();
      return true;
    } catch (error) {
      if (isLatest()) this.#fail(error);
      return false;
    }
  }

  /** Start the app again for a request that asks for it; its folder and its cookies stay. */
  async restart() {
    if (!(await this.run())) throw new Error("The app did not start. The log says why.");
  }

  /** Wait until the app has started, or has not. */
  settled() {
    if (this.state !== "starting") return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  stop() {
    if (runtime.client === this) runtime.end();
  }

  /** Bring everything back as it was: files, data and cookies. */
  async reset() {
    const isIdle = this.state === "idle";
    if (this.state === "starting") this.stop();
    this.files = { ...this.options.files };
    this.editorNow?.reset(this.files);
    this.#resets += 1; // other visitors, so other cookies
    this.#closeBrowsers();
    this.log.clear();
    this.say("Everything is as it was.");
    if (!isIdle) await this.run({ fresh: true });
  }

  async edit() {
    this.tabs.show("edit");
    const editor = await this.editor().catch(() => null);
    editor?.focus();
  }

  #enter(state, words) {
    this.state = state;
    this.say(words);
    this.progress.hidden = true;
    this.box.dataset.state = state;
    // A disabled button would lose the focus: it keeps it, and run() refuses a second press.
    this.runButton.setAttribute("aria-disabled", String(state === "starting"));
    this.runButton.textContent = state === "running" || state === "failed" ? "Run again" : "Run";
    if (state === "idle" && document.activeElement === this.stopButton) this.runButton.focus();
    this.stopButton.disabled = state === "idle";
    this.secondButton.hidden = state !== "running" || !runtime.isServed;
    if (state !== "starting") for (const goOn of this.#waiting.splice(0)) goOn();
  }

  #fail(error) {
    if (this.state !== "starting") return; // it was stopped, which says so itself
    this.log.write("err", error.message, true);
    this.#enter("failed", "The app did not start. The log says why.");
    const place = placesIn(error.message).at(-1);
    if (place) this.editorNow?.mark(place.name, [place.line]);
    const where = place ? ` See line ${place.line} of ${place.name}.` : "";
    const what = error.message.trim().split("\n").at(-1);
    this.editorNow?.failed(`The app did not start.${where} ${what}`);
  }

  // --- What the runtime says ---

  written(kind, text, isError = false) {
    this.log.write(kind, text, isError);
  }

  loading(loaded, total) {
    this.progress.hidden = false;
    this.progress.max = total;
    this.progress.value = loaded;
    const now = performance.now();
    // A screen reader reads each change aloud.
    if (now - this.#told < 1000 && loaded < total) return;
    this.#told = now;
    const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
    this.say(`Loading Python: ${megabytes(loaded)} of ${megabytes(total)} MB`);
  }

  starting() {
    this.progress.hidden = true;
    this.say("Starting the app …");
  }

  lateness(isLate) {
    if (isLate) {
      this.#before = this.statusLine.textContent;
      this.say(LATE);
    } else if (this.statusLine.textContent === LATE) {
      this.say(this.#before); // for example what Check has found
    }
  }

  released(reason) {
    this.#enter("idle", reason);
    this.#closeBrowsers();
  }

  // --- The browsers ---

  /** Return the name and the root of a visitor: other apps of the page and resets have others. */
  visitor(number) {
    const visitor = `${this.number}-${this.#resets}-${number}`;
    return { visitor, root: runtime.root(visitor) };
  }

  #showPages() {
    if (!runtime.isServed) {
      this.hint.textContent =
        "This browser allows no service worker here, so there are no pages. " +
        "The tab Requests works without one.";
      if (this.tabs.current === "browser") this.tabs.show("requests");
      return;
    }
    this.hint.hidden = true;
    if (this.#browsers.length) for (const browser of this.#browsers) browser.reload();
    else for (let number = 1; number <= this.options.visitors; number += 1) this.#addBrowser();
  }

  #addBrowser() {
    const number = this.#browsers.length + 1;
    const { url, height } = this.options;
    const browser = new Browser({ number, height, url, ...this.visitor(number) });
    this.#browsers.push(browser);
    this.browserPlace.append(browser.element);
    this.#labelSecond();
    return browser;
  }

  toggleSecond() {
    if (this.#browsers.length > 1) this.#browsers.pop().close();
    else this.#addBrowser();
    this.#labelSecond();
  }

  #labelSecond() {
    const isThere = this.#browsers.length > 1;
    this.secondButton.textContent = isThere ? "Close the second visitor" : "Add a second visitor";
    this.browserPlace.classList.toggle("live-two", isThere);
  }

  #closeBrowsers() {
    for (const browser of this.#browsers) browser.close();
    this.#browsers = [];
    this.#labelSecond();
    this.hint.hidden = false;
  }

  // --- The editor ---

  /** Load the editor, once. */
  editor() {
    this.#editor ??= this.#makeEditor().catch((error) => {
      this.#editor = null;
      this.editorPlace.replaceChildren(
        make("p", {
          className: "live-hint",
          textContent: "The editor could not be loaded.",
        }),
      );
      throw error;
    });
    return this.#editor;
  }

  async #makeEditor() {
    const { Editor } = await import(new URL("editor.mjs", MODULES));
    const names = this.options.edit ?? Object.keys(this.files).filter((name) => TEXT.test(name));
    const editable = names.filter((name) => typeof this.files[name] === "string");
    const editor = new Editor(Object.fromEntries(editable.map((name) => [name, this.files[name]])));
    editor.onchange = (name, text) => {
      this.files[name] = text;
    };
    editor.onrun = () => this.run();
    this.editorPlace.replaceChildren(editor.element);
    this.editorNow = editor;
    return editor;
  }

  /** Show a line of a file in the editor. */
  async showLine(name, line) {
    this.tabs.show("edit");
    const editor = await this.editor().catch(() => null);
    editor?.show(name, line);
  }

  /** Load Python without starting the app; a check needs no more. */
  async load() {
    const { packages, environment } = this.options;
    this.say("Loading Python …");
    await runtime.load(this, { packages, environment });
    this.progress.hidden = true;
  }

  /** Ask the worker, which must run. */
  ask(type, values) {
    return runtime.ask(type, values);
  }
}
