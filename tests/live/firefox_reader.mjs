// A reader of the site in Firefox, who uses a page's live app with mouse and keys, and checks what
// is to be seen.
import { isDeepStrictEqual } from "node:util";

const SOON = 60; // seconds until a check gives up, on a busy machine
export const LOADED = 120; // seconds in which Python must be there
const LOOK_AGAIN = 50; // milliseconds

// Firefox logs this for each redirect that comes from a service worker, and follows it.
const REDIRECTED = /^Failed to load ‘’\. A ServiceWorker intercepted the request/;

/** Wait until two values are the same, or a text fits a pattern; return the last value. */
async function waitFor(read, expected, seconds) {
  const fits = (value) =>
    expected instanceof RegExp ? expected.test(value) : isDeepStrictEqual(value, expected);
  const end = performance.now() + seconds * 1000;
  for (;;) {
    let value;
    try {
      value = await read();
    } catch (error) {
      value = error.message; // what is read can be in a page that is yet to come
    }
    if (fits(value)) return { ok: true, value };
    if (performance.now() > end) return { ok: false, value };
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN)); // then look again
  }
}

/** One tab with a page of the site. */
export class Reader {
  #errors = [];
  #foreign = []; // addresses outside the site that the page has asked for

  /** @param {(text: string) => void} passed Notes a check that has passed. */
  constructor(page, site, passed) {
    this.page = page;
    this.site = site;
    this.passed = passed;
    page.on("console", (message) => {
      if (message.type() === "error") this.#errors.push(message.text());
    });
    page.on("pageerror", ({ message }) => {
      if (!REDIRECTED.test(message)) this.#errors.push(message);
    });
    page.on("request", (request) => {
      const url = request.url();
      if (!/^(data|blob|about):/.test(url) && !url.startsWith(site)) this.#foreign.push(url);
    });
  }

  static async open(browser, site, path, passed) {
    const page = await browser.newPage();
    await page.setViewport({ width: 1280, height: 1600 });
    const reader = new Reader(page, site, passed);
    await page.goto(`${site}/${path}.html`, { waitUntil: "load" });
    return reader;
  }

  // --- Checks ---

  /**
   * Wait until `read` returns what is expected.
   *
   * @param {string} name The check, in words.
   * @param {() => unknown} read Returns what is to be seen; if it throws, it is called again.
   * @param {unknown} expected The same value, or a pattern for a text.
   */
  async check(name, read, expected, seconds = SOON) {
    const { ok, value } = await waitFor(read, expected, seconds);
    if (!ok) throw new Error(`${name}: got ${JSON.stringify(value)}, not ${show(expected)}`);
    this.passed(name);
  }

  /** Check that nothing went wrong that a reader does not see, but for an error that must be. */
  async checkQuiet(known = null) {
    const errors = () => this.#errors.filter((text) => text !== known);
    await this.check("no error in the console", errors, []);
    await this.check("no request leaves the site", () => this.#foreign, []);
  }

  // --- The pane ---

  /** Press Run, and wait until the app runs. */
  async run() {
    await this.click(".live-run");
    await this.checkStatus("the app runs", "The app is running.", LOADED);
  }

  checkStatus(name, words, seconds) {
    return this.check(name, () => this.textOf(".live-status"), words, seconds);
  }

  click(selector) {
    return this.page.click(`.live-app ${selector}`);
  }

  textOf(selector) {
    return this.page.$eval(`.live-app ${selector}`, (element) => element.innerText);
  }

  /** Open a tab of the pane: Browser, Edit, Requests … */
  tab(name) {
    return once(this.page, `.live-app ::-p-aria([name="${name}"][role="tab"])`, (it) => it.click());
  }

  /** Write a text in the place of the one in a field of the pane. */
  write(selector, text) {
    return once(this.page, `.live-app ${selector}`, (it) => it.fill(text));
  }

  /** Write another line in the place of the first one with this text; its indentation stays. */
  async replaceLine(old, line) {
    await this.click(".live-edit"); // the bar's button, or the tab
    const { keyboard } = this.page;
    await once(this.page, `.live-app .cm-line ::-p-text(${old})`, (it) => it.click());
    await keyboard.press("End");
    await keyboard.down("Shift");
    await keyboard.press("Home");
    await keyboard.up("Shift");
    await keyboard.type(line);
  }

  // --- The app's own pages ---

  /** Return what a visitor's browser shows. */
  visitor(number = 1) {
    return new View(async () => {
      const frames = await this.page.$$(".live-app .live-frame");
      return frames[number - 1].contentFrame();
    });
  }

  /** Return two visitors; the second one is added if the pane shows only one. */
  async twoVisitors() {
    const frames = await this.page.$$(".live-app .live-frame");
    if (frames.length === 1) await this.click(".live-second");
    return [this.visitor(1), this.visitor(2)];
  }

  /** Open the app in a tab of its own. */
  async openTab() {
    const opened = new Promise((resolve) => this.page.once("popup", resolve));
    await this.click(".live-tab-link");
    const tab = await opened;
    return new View(() => tab.mainFrame());
  }
}

/** A page of the app: in a pane, or in a tab. */
class View {
  /** @param {() => Frame | Promise<Frame>} find Finds the frame; a pane gets a new one at times. */
  constructor(find) {
    this.find = find;
  }

  async click(selector) {
    await once(await this.find(), selector, (it) => it.click());
  }

  async fill(selector, text) {
    await once(await this.find(), selector, (it) => it.fill(text));
  }

  async text(selector = "body") {
    return (await this.find()).$eval(selector, (element) => element.innerText);
  }

  /** Return a property of an element, such as "disabled". */
  async property(selector, name) {
    return (await this.find()).$eval(selector, (element, key) => element[key], name);
  }

  /** Choose a file, as in the browser's dialog. */
  async chooseFile(selector, path) {
    const input = await (await this.find()).$(selector);
    await input.uploadFile(path);
  }

  /** Return the votes of the tutorial's poll, without those that are 0. */
  async votes() {
    const rows = await (await this.find()).$$eval(".pie", (pies) =>
      pies.map((pie) => [pie.dataset.pie, Number(pie.querySelector(".votes").innerText)]),
    );
    return Object.fromEntries(rows.filter(([, count]) => count > 0));
  }

  async vote(pie) {
    await this.click(`[data-pie=${pie}]`);
    await this.click("#poll button");
  }
}

/** Do something with an element, once it is there and can be used. */
async function once(frame, selector, act) {
  try {
    await act(frame.locator(selector).setTimeout(SOON * 1000));
  } catch (error) {
    throw new Error(`${selector}: ${error.message}`);
  }
}

function show(expected) {
  return expected instanceof RegExp ? String(expected) : JSON.stringify(expected);
}
