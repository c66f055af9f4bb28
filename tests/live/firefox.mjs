// Uses live apps of the built site in Firefox, by WebDriver BiDi: `node firefox.mjs OPTIONS`, where
// OPTIONS is JSON.
//
// modules  the folder with puppeteer-core
// firefox  the browser's path
// site     the address of the site
// picture  the path of a picture to upload
//
// It reads the names of scenarios, each on a line, and plays one after the other in new tabs of one
// browser. For each check it writes a line of JSON: {"passed": text}, or {"failed": text}, which
// ends the scenario; and then {"end": name}.
import { createRequire } from "node:module";
import path from "node:path";
import readline from "node:readline";
import { Reader, View } from "./firefox_reader.mjs";

const MOST = 100; // seconds that a scenario can take
const CHECKED = 60; // seconds in which Check must have loaded Python and be done
const NOT_ANSWERED = "The app has not answered for 3 seconds. Press Stop to end it.";
const DONE = "Everything of this step is done.";
const NOTICED = 20; // seconds until the page must have noticed an endless loop

// Puppeteer makes a new profile and turns most of Firefox's own requests off. The proxy, at a port
// that nobody listens on, ends those that are left; addresses of this machine need none.
const PREFERENCES = {
  "network.proxy.type": 1,
  "network.proxy.http": "127.0.0.1",
  "network.proxy.http_port": 9,
  "network.proxy.ssl": "127.0.0.1",
  "network.proxy.ssl_port": 9,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  "app.normandy.enabled": false,
  "browser.region.update.enabled": false,
  "toolkit.telemetry.enabled": false,
  "intl.accept_languages": "en",
};

const options = JSON.parse(process.argv[2]);
const tell = (line) => console.log(JSON.stringify(line));
const passed = (text) => tell({ passed: text });

// --- Scenarios -----------------------------------------------------------------------------------

const scenarios = {
  async "a form, a session and a database"(open) {
    const reader = await open("tutorial/05-database");
    await reader.run();
    const votes = async () => (await reader.visitor()).votes();
    await reader.check("nobody has voted", votes, {});
    await (await reader.visitor()).vote("Pumpkin");
    await reader.check("the form's vote is counted", votes, { Pumpkin: 1 });
    const button = async () => (await reader.visitor()).text("#poll button");
    await reader.check("the session knows the visitor", button, "Change my vote");
    await (await reader.visitor()).vote("Cherry");
    await reader.check("the vote is changed", votes, { Cherry: 1 });
    await reader.run();
    await reader.check("the database outlives Run again", votes, { Cherry: 1 });
    await reader.checkQuiet();
  },

  async "an event stream moves the second visitor"(open) {
    const reader = await open("tutorial/06-live-results");
    await reader.run();
    if ((await reader.page.$$(".live-app .live-frame")).length < 2) {
      await reader.click(".live-second");
    }
    for (const number of [1, 2]) {
      const state = async () => (await reader.visitor(number)).text("#state");
      await reader.check(`visitor ${number} has an event stream`, state, /counted live/);
    }
    await (await reader.visitor(1)).vote("Cherry");
    const votes = async () => (await reader.visitor(2)).votes();
    await reader.check("a vote moves the second visitor", votes, { Cherry: 1 });
    await (await reader.visitor(2)).vote("Apple");
    const both = async () => (await reader.visitor(1)).votes();
    await reader.check("the second visitor has another session", both, { Apple: 1, Cherry: 1 });
    await reader.checkQuiet();
  },

  async "a chat over a WebSocket"(open) {
    const reader = await open("tutorial/07-chat");
    await reader.run();
    if ((await reader.page.$$(".live-app .live-frame")).length < 2) {
      await reader.click(".live-second");
    }
    for (const number of [1, 2]) {
      const isOff = async () =>
        (await reader.visitor(number)).frame.$eval("#say button", ({ disabled }) => disabled);
      await reader.check(`visitor ${number} is connected`, isOff, false);
    }
    const first = await reader.visitor(1);
    await first.fill("#say input", "Grüße an alle");
    await first.click("#say button");
    const heard = async () => (await reader.visitor(2)).text("#messages");
    await reader.check("the other visitor reads it", heard, /Grüße an alle/);
    await reader.click(".live-stop");
    await reader.checkStatus("Stop ends the app", "Stopped.");
    await reader.checkQuiet();
  },

  async "an upload"(open) {
    const reader = await open("tutorial/08-pictures");
    await reader.run();
    const state = async () => (await reader.visitor()).text("#state");
    await reader.check("the page is ready", state, /counted live/);
    const view = await reader.visitor();
    await view.fill("[name=description]", "A small pie");
    await view.chooseFile("[name=picture]", options.picture);
    await view.click("#upload button");
    const texts = async () => (await reader.visitor()).text("#pictures");
    await reader.check("the picture is in the list", texts, /A small pie/);
    const width = async () =>
      (await reader.visitor()).frame.$eval("#pictures img", (image) => image.naturalWidth);
    await reader.check("the picture comes from the app", width, 1);
    await reader.checkQuiet();
  },

  async "prepared requests"(open) {
    const reader = await open("howto/forms");
    await reader.run();
    await reader.tab("Requests");
    await reader.click(".live-send-all");
    const results = () =>
      reader.page.$$eval(".live-requests > li", (rows) => rows.map((row) => row.dataset.result));
    const expected = Array((await results()).length).fill("same");
    await reader.check("all responses are those of the page", results, expected);
    await reader.check("there are requests", () => expected.length > 2, true);
    await reader.checkQuiet();
  },

  async "the example with WebSockets"(open) {
    const reader = await open("examples/websockets");
    await reader.run();
    for (const [number, name] of [[1, "Ada"], [2, "Eve"]]) {
      const view = await reader.visitor(number);
      await view.fill("#name", name);
      await view.click("#enter button");
      const log = async () => (await reader.visitor(number)).text("#log");
      await reader.check(`${name} is in the room`, log, /You are here\./);
    }
    const second = await reader.visitor(2);
    await second.fill("#text", "<b>pie</b>");
    await second.click("#send");
    const log = async () => (await reader.visitor(1)).text("#log");
    await reader.check("Ada reads what Eve says", log, /Eve came in\.\s+Eve: <b>pie<\/b>/);
    await reader.tab("WebSocket");
    await reader.write(".live-socket-path", "/chat/lobby");
    await reader.click(".live-connect");
    const state = () => reader.textOf(".live-socket .live-state");
    await reader.check("the console connects", state, "Connected.");
    await reader.page.keyboard.type("{}\n");
    await reader.check("it shows the close code", state, /^The app closed it: code 4001, reason "b/);
    await reader.checkQuiet();
  },

  async "an edit, and Run again"(open) {
    const reader = await open("howto/forms");
    await reader.run();
    const text = async () => (await reader.visitor()).text();
    await reader.check("the app's page is there", text, /How many\?/);
    await reader.replaceLine("return FORM", 'return "Good morning."');
    await reader.check("the editor says so", () => reader.textOf(".live-file-tab"), /\(changed\)/);
    await reader.run();
    await reader.tab("Browser");
    await reader.check("the edited app runs", text, "Good morning.");
    await reader.replaceLine("return \"Good", "return =");
    await reader.click(".live-run");
    await reader.checkStatus("a fault is told", "The app did not start. The log says why.");
    await reader.check("the log has it", () => reader.textOf(".live-log"), /SyntaxError/);
    await reader.click(".live-reset");
    await reader.checkStatus("the app runs again", "The app is running.");
    await reader.tab("Browser");
    await reader.check("Reset brings the files back", text, /How many\?/);
    await reader.checkQuiet();
  },

  async "an endless loop, then Stop and Run"(open) {
    const reader = await open("howto/forms");
    await reader.replaceLine("return f", "return [None for _ in iter(int, 1)]");
    await reader.run();
    const text = async () => (await reader.visitor()).text();
    await reader.check("the app's page is there", text, /How many\?/);
    await reader.tab("Browser");
    const view = await reader.visitor();
    await view.fill("[name=pie]", "apple");
    await view.click("button");
    await reader.checkStatus("the page notices the loop", NOT_ANSWERED, NOTICED);
    await reader.click(".live-stop");
    await reader.checkStatus("Stop ends it", "Stopped.");
    await reader.run();
    await reader.check("the app answers again", text, /How many\?/);
    await reader.checkQuiet("uncaught exception: undefined"); // Firefox, of the ended worker
  },

  async "a second tab"(open) {
    const reader = await open("tutorial/05-database");
    await reader.run();
    const other = await open("tutorial/05-database");
    await other.run();
    await reader.page.bringToFront();
    await (await reader.visitor()).vote("Apple");
    const votes = async () => (await reader.visitor()).votes();
    await reader.check("a vote in the first tab", votes, { Apple: 1 });
    await other.page.bringToFront();
    await other.click(".live-reload");
    await (await other.visitor()).vote("Rhubarb");
    const others = async () => (await other.visitor()).votes();
    await other.check("the other tab has its own app", others, { Rhubarb: 1 });
    const opened = new Promise((resolve) => other.page.once("popup", resolve));
    await other.click(".live-tab-link");
    const tab = new View((await opened).mainFrame());
    await other.check("the app opens in a tab of its own", () => tab.votes(), { Rhubarb: 1 });
    await reader.checkQuiet();
    await reader.close();
    await tab.vote("Cherry");
    await other.check("the closed tab takes no other app along", () => tab.votes(), { Cherry: 1 });
    await other.checkQuiet();
  },

  async "a step of the tutorial, with Check and Show me"(open) {
    const reader = await open("tutorial/02-routes");
    await reader.click(".live-step");
    const status = () => reader.textOf(".live-status");
    await reader.check("the step starts", status, /^You start with the files of step 1/);
    await reader.click(".live-check");
    await reader.check("Check says what is missing", status, /What is missing stands below/, CHECKED);
    const last = "Your files have all changes of this step. Press Check.";
    while ((await status()) !== last) await reader.click(".live-show");
    await reader.click(".live-check");
    await reader.check("the step is done", status, DONE, CHECKED);
    await reader.checkQuiet();
  },
};

// --- The play ------------------------------------------------------------------------------------

/** Play a scenario; close its tabs, however it ends. */
async function play(browser, name) {
  const late = new Promise((_, reject) => {
    const giveUp = () => reject(new Error(`not at its end after ${MOST} seconds`));
    setTimeout(giveUp, MOST * 1000).unref();
  });
  const open = (page) => Reader.open(browser, options.site, page, passed);
  const before = new Set(await browser.pages());
  try {
    await Promise.race([scenarios[name](open), late]);
  } catch (error) {
    tell({ failed: error.stack });
  }
  for (const page of await browser.pages()) {
    if (!before.has(page)) await page.close();
  }
  tell({ end: name });
}

/** Start Firefox with a profile of its own. */
async function launch() {
  const { default: puppeteer } = createRequire(path.join(options.modules, "any.js"))("puppeteer-core");
  return puppeteer.launch({
    browser: "firefox",
    executablePath: options.firefox,
    headless: true,
    extraPrefsFirefox: PREFERENCES,
  });
}

const browser = await launch();
try {
  for await (const name of readline.createInterface({ input: process.stdin })) {
    await play(browser, name);
  }
} finally {
  await browser.close();
}
