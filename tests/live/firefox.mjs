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
import { LOADED, Reader } from "./firefox_reader.mjs";

const MOST = 400; // seconds that a scenario can take
const NOT_ANSWERED = "The app has not answered for 3 seconds. Press Stop to end it.";

// Puppeteer makes a new profile and turns most of Firefox's own requests off. The proxy, at a port
// that nobody listens on, ends those that are left; addresses of this machine need none.
const PREFERENCES = {
  "network.proxy.type": 1,
  "network.proxy.http": "127.0.0.1",
  "network.proxy.http_port": 9,
  "network.proxy.ssl": "127.0.0.1",
  "network.proxy.ssl_port": 9,
  "services.settings.server": "data:,#remote-settings-dummy/v1", // as in Firefox's own tests
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
    const visitor = reader.visitor();
    const votes = () => visitor.votes();
    await reader.check("nobody has voted", votes, {});
    await visitor.vote("Pumpkin");
    await reader.check("the form's vote is counted", votes, { Pumpkin: 1 });
    const button = () => visitor.text("#poll button");
    await reader.check("the session knows the visitor", button, "Change my vote");
    await visitor.vote("Cherry");
    await reader.check("the vote is changed", votes, { Cherry: 1 });
    await reader.run();
    await reader.check("the database outlives Run again", votes, { Cherry: 1 });
    await reader.checkQuiet();
  },

  async "an event stream moves the second visitor"(open) {
    const reader = await open("tutorial/06-live-results");
    await reader.run();
    const [first, second] = await reader.twoVisitors();
    const live = /counted live/;
    await reader.check("the first visitor has a stream", () => first.text("#state"), live);
    await reader.check("the second visitor has a stream", () => second.text("#state"), live);
    await first.vote("Cherry");
    const seen = () => second.votes();
    await reader.check("a vote moves the second visitor", seen, { Cherry: 1 });
    await second.vote("Apple");
    const both = () => first.votes();
    await reader.check("the second visitor has another session", both, { Apple: 1, Cherry: 1 });
    await reader.checkQuiet();
  },

  async "a chat over a WebSocket"(open) {
    const reader = await open("tutorial/07-chat");
    await reader.run();
    const [first, second] = await reader.twoVisitors();
    const isOff = (visitor) => visitor.property("#say button", "disabled");
    await reader.check("the first visitor is connected", () => isOff(first), false);
    await reader.check("the second visitor is connected", () => isOff(second), false);
    await first.fill("#say input", "Grüße an alle");
    await first.click("#say button");
    const heard = () => second.text("#messages");
    await reader.check("the second visitor reads it", heard, /Grüße an alle/);
    await reader.click(".live-stop");
    await reader.checkStatus("Stop ends the app", "Stopped.");
    await reader.checkQuiet();
  },

  async "an upload"(open) {
    const reader = await open("tutorial/08-pictures");
    await reader.run();
    const visitor = reader.visitor();
    await reader.check("the page is ready", () => visitor.text("#state"), /counted live/);
    await visitor.fill("[name=description]", "A small pie");
    await visitor.chooseFile("[name=picture]", options.picture);
    await visitor.click("#upload button");
    const list = () => visitor.text("#pictures");
    await reader.check("the picture is in the list", list, /A small pie/);
    const width = () => visitor.property("#pictures img", "naturalWidth");
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
    await reader.check("there are requests", () => expected.length > 2, true);
    await reader.check("all responses are those of the page", results, expected);
    await reader.checkQuiet();
  },

  async "the example with WebSockets"(open) {
    const reader = await open("examples/websockets");
    await reader.run();
    const [first, second] = await reader.twoVisitors();
    for (const [visitor, name] of [[first, "Ada"], [second, "Eve"]]) {
      await visitor.fill("#name", name);
      await visitor.click("#enter button");
      const log = () => visitor.text("#log");
      await reader.check(`${name} is in the room`, log, /You are here\./);
    }
    await second.fill("#text", "<b>pie</b>");
    await second.click("#send");
    const log = () => first.text("#log");
    await reader.check("Ada reads what Eve says", log, /Eve came in\.\s+Eve: <b>pie<\/b>/);
    await reader.tab("WebSocket");
    await reader.write(".live-socket-path", "/chat/lobby");
    await reader.click(".live-connect");
    const state = () => reader.textOf(".live-socket .live-state");
    await reader.check("the console connects", state, "Connected.");
    await reader.page.keyboard.type("{}\n");
    await reader.check("the console shows the close code", state, /^The app closed it: code 4001/);
    await reader.checkQuiet();
  },

  async "an edit, and Run again"(open) {
    const reader = await open("howto/forms");
    await reader.run();
    const text = () => reader.visitor().text();
    await reader.check("the app's page is there", text, /How many\?/);
    await reader.replaceLine("return FORM", 'return "Good morning."');
    const file = () => reader.textOf(".live-file-tab");
    await reader.check("the editor says what is changed", file, "app.py (changed)");
    await reader.run();
    await reader.tab("Browser");
    await reader.check("the edited app runs", text, "Good morning.");
    await reader.replaceLine('return "Good', "return =");
    await reader.click(".live-run");
    await reader.checkStatus("a fault is told", "The app did not start. The log says why.");
    await reader.check("the log has the fault", () => reader.textOf(".live-log"), /SyntaxError/);
    await reader.click(".live-reset");
    await reader.checkStatus("the app runs after Reset", "The app is running.");
    await reader.tab("Browser");
    await reader.check("Reset brings the files back", text, /How many\?/);
    await reader.checkQuiet();
  },

  async "an endless loop, then Stop and Run"(open) {
    const reader = await open("howto/forms");
    await reader.replaceLine("return f", "return [None for _ in iter(int, 1)]");
    await reader.run();
    await reader.tab("Browser");
    const visitor = reader.visitor();
    const text = () => visitor.text();
    await reader.check("the app's page is there", text, /How many\?/);
    await visitor.fill("[name=pie]", "apple");
    await visitor.click("button");
    await reader.checkStatus("the page notices the loop", NOT_ANSWERED);
    await reader.click(".live-stop");
    await reader.checkStatus("Stop ends the loop", "Stopped.");
    await reader.run();
    await reader.check("the app answers again", text, /How many\?/);
    await reader.checkQuiet("uncaught exception: undefined"); // Firefox, of the ended worker
  },

  async "a second tab"(open) {
    const first = await open("tutorial/05-database");
    await first.run();
    const second = await open("tutorial/05-database");
    await second.run();
    await first.page.bringToFront();
    await first.visitor().vote("Apple");
    await first.check("the first tab counts a vote", () => first.visitor().votes(), { Apple: 1 });
    await second.page.bringToFront();
    await second.visitor().vote("Rhubarb");
    const votes = () => second.visitor().votes();
    await second.check("the second tab has its own app", votes, { Rhubarb: 1 });
    const third = await second.openTab();
    await second.check("the app opens in a tab", () => third.votes(), { Rhubarb: 1 });
    await first.checkQuiet();
    await first.page.close();
    await third.vote("Cherry");
    await second.check("the app outlives the first tab", () => third.votes(), { Cherry: 1 });
    await second.checkQuiet();
  },

  async "a step of the tutorial, with Check and Show me"(open) {
    const reader = await open("tutorial/02-routes");
    await reader.click(".live-step");
    const start = /^You start with the files of step 1/;
    await reader.checkStatus("the step starts", start);
    await reader.click(".live-check");
    await reader.checkStatus("Check says what is missing", /See below/, LOADED);
    const last = "Your files have all changes of this step. Press Check.";
    while ((await reader.textOf(".live-status")) !== last) await reader.click(".live-show");
    await reader.click(".live-check");
    await reader.checkStatus("the step is done", "Everything of this step is done.", LOADED);
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
  const require = createRequire(path.join(options.modules, "any.js")); // from that folder
  const { default: puppeteer } = require("puppeteer-core");
  return puppeteer.launch({
    browser: "firefox",
    executablePath: options.firefox,
    headless: true,
    extraPrefsFirefox: PREFERENCES,
    env: { ...process.env, MOZ_REMOTE_SETTINGS_DEVTOOLS: "1" }, // it heeds services.settings.server
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
