// Runs Python and one ASGI app at a time, in a dedicated worker: only `terminate()` ends an endless
// loop. The page boots it once, and then runs one app after the other in it.
//
// Messages of the page: boot, run, stop, check, memory, link (with a port for somebody who sends
// requests: the service worker, or the page itself), ping. See `handle` and `connections.mjs`.

import { Connections } from "./connections.mjs";
import { hashes } from "./hashes.mjs";
import { Jar } from "./jar.mjs";
import { Output } from "./output.mjs";
import { Python } from "./python.mjs";

const BASE = new URL(".", import.meta.url).href;

const output = new Output((t, s) => self.postMessage({ t, s }));

/** Send the page a message. What Python has printed before comes before it. */
function say(t, rest) {
  output.flush();
  self.postMessage({ t, ...rest });
}

const python = new Python(BASE, say, output);
const connections = new Connections(python, say);
const { hostname, port, protocol } = self.location;
// What Python sees as its module `_live_host`; python.mjs adds fetch_now.
const host = { ...connections.host, ...hashes, hostname, port, protocol };
host.to_object = Object.fromEntries;

// --- The lock of the app -------------------------------------------------------------------------

let releaseLock = () => {};

/** Hold the app's lock. Those who wait for it learn that the app has ended, however it did. */
function holdLock(id) {
  releaseLock();
  return new Promise((held) => {
    const untilReleased = () => {
      held();
      return new Promise((release) => (releaseLock = release));
    };
    if (navigator.locks) navigator.locks.request(`live-app-${id}`, untilReleased);
    else held();
  });
}

// --- What the page asks for ----------------------------------------------------------------------

let appId;

async function boot({ id, packages = [], jars = {} }) {
  const times = await python.start(host, packages);
  appId = id;
  connections.jars = jarsFrom(jars);
  return { t: "ready", times, version: python.pyodide.version };
}

/** Start an app, or start it again. Another app, or `fresh`, begins with an empty folder. */
async function run({ id = appId, files, target = "app:app", fresh, packages = [], ...rest }) {
  const begin = performance.now();
  const { driver } = python;
  const isOther = id !== appId;
  await stop();
  if (isOther || rest.jars) connections.jars = jarsFrom(rest.jars);
  appId = id;
  await python.install(packages);
  driver.lay(files, Boolean(fresh) || isOther);
  const started = driver.load(target, rest.environment ?? {});
  const problem = await connections.whileStarting(id, started);
  if (problem) throw new Error(problem);
  await holdLock(id);
  return { t: "loaded", ms: Math.round(performance.now() - begin) };
}

/** Stop the app; Python stays. */
async function stop() {
  connections.appStopped();
  await python.driver?.stop();
  releaseLock();
  return { t: "stopped" };
}

/** Run the checks of a step on files that the page sends. */
async function check({ step, files, target = "app:app", packages = [], check: file }) {
  const name = `step_${String(step).padStart(2, "0")}`;
  const response = await fetch(BASE + (file ?? `checks/${name}.py`));
  if (!response.ok) throw new Error(`The checks of step ${step} could not be loaded.`);
  const source = await response.text();
  await Promise.all([python.install(packages), python.installChecking()]);
  const results = await python.driver.check(source, name, files, target);
  return { t: "checked", results };
}

function memory() {
  return { t: "value", v: python.pyodide._module.HEAP8.length };
}

function jarsFrom(kept = {}) {
  return Object.fromEntries(
    Object.entries(kept).map(([visitor, cookies]) => [visitor, new Jar(cookies)]),
  );
}

const ACTIONS = { boot, run, stop, check, memory };

/** Messages are dealt with one after the other, in the order in which they came. */
let turn = Promise.resolve();

async function handle(message) {
  try {
    const { t, ...answer } = await ACTIONS[message.t](message);
    say(t, { ...answer, n: message.n });
  } catch (error) {
    say("failed", { n: message.n, s: String(error.message || error) });
  }
}

self.onmessage = ({ data: message, ports }) => {
  if (message.t === "ping") say("pong");
  else if (message.t === "link") connections.link(ports[0]);
  else if (message.t in ACTIONS) turn = turn.then(() => handle(message));
};
