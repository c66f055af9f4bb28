// One HTTP request to the app, over a port of its own.
import { runtime } from "./runtime.mjs";

const PIECE = 256 * 1024; // bytes of a request's body in one message
const WITHOUT_BODY = [204, 304]; // statuses; clients drop what an app sends as their body
export const TOKEN = /^[!#$%&'*+\-.^_`|~\w]+$/; // a name, of a header or a subprotocol

/**
 * Send a request; return its response, whose `body` gives the chunks as they come.
 *
 * @param {{visitor: string, root: string, method: string, path: string,
 *     headers: [string, string][], body: Uint8Array|null, cookies: boolean|object}} request
 *     `path` has the query, and begins with `root`.
 * @param {AbortSignal} signal Lets go of the connection when it is aborted.
 * @returns {Promise<{status: number, headers: [string, string][],
 *     body: AsyncIterable<Uint8Array>}>}
 */
export async function exchange({ path, body, headers, ...request }, signal) {
  const { port1: port, port2 } = new MessageChannel();
  const heard = listen(port, AbortSignal.any([signal, runtime.life]));
  const [plain, query] = splitPath(path);
  const length = body ? [["content-length", String(body.length)]] : [];
  const message = {
    t: "http",
    ...request,
    path: plain,
    query,
    headers: [...headers, ...length],
    hasBody: body !== null,
  };
  runtime.connect(message, port2);
  if (body) sendBody(port, body);
  const start = await first(heard);
  const { status } = start;
  const isDropped = request.method === "HEAD" || WITHOUT_BODY.includes(status);
  return { status, headers: start.headers, body: chunks(start, heard, port, isDropped) };
}

/**
 * Return the path and the query of what a reader types, with a host in front or without, encoded as
 * a browser sends it: an app gets only ASCII.
 */
export function encodedPath(typed) {
  const path = typed
    .trim()
    .replace(/^(https?|wss?):\/\/[^/?#]*/i, "")
    .replace(/^(?!\/)/, "/");
  const { pathname, search } = new URL(`http://app${path}`);
  return pathname + search;
}

export function splitPath(path) {
  const at = path.indexOf("?");
  return at < 0 ? [path, ""] : [path.slice(0, at), path.slice(at + 1)];
}

function sendBody(port, body) {
  for (let at = 0; at < body.length; at += PIECE) {
    port.postMessage({ t: "body", body: body.slice(at, at + PIECE) });
  }
  port.postMessage({ t: "end" });
}

/** Give the messages of a port, one after the other, until the signal is aborted. */
async function* listen(port, signal) {
  const queue = [];
  let wake = () => {};
  port.onmessage = ({ data }) => {
    queue.push(data);
    isAtEnd ||= data.end || data.t === "fail" || data.t === "down";
    wake();
  };
  let isAtEnd = false;
  const stop = () => {
    if (!isAtEnd) port.postMessage({ t: "gone" });
    wake();
  };
  signal.addEventListener("abort", stop);
  try {
    for (;;) {
      while (queue.length) yield checked(queue.shift());
      if (signal.aborted) throw signal.reason;
      await new Promise((resolve) => {
        wake = resolve;
      });
    }
  } finally {
    signal.removeEventListener("abort", stop);
    if (!isAtEnd) port.postMessage({ t: "gone" });
    port.close();
  }
}

/** Skip what the app's side says about the request's body. */
async function first(heard) {
  let { value: message } = await heard.next();
  while (message.t !== "start") ({ value: message } = await heard.next());
  return message;
}

/** Turn the messages that tell of a failure into what a server does in its place. */
function checked(message) {
  if (message.t === "down")
    throw new Error(message.text || "The app is not running. Press Run first.");
  if (message.t !== "fail") return message;
  if (message.sent) throw new Error("The app broke off its response. The log says why.");
  return {
    t: "start",
    status: 500,
    headers: [["content-type", "text/plain; charset=utf-8"]],
    body: new TextEncoder().encode("Internal Server Error"),
    end: true,
  };
}

async function* chunks(start, heard, port, isDropped) {
  try {
    if (start.body.length && !isDropped) yield start.body;
    let isAtEnd = start.end;
    while (!isAtEnd) {
      const { value } = await heard.next();
      if (value.t !== "chunk") continue;
      if (value.body.length && !isDropped) yield value.body;
      isAtEnd = value.end;
      port.postMessage({ t: "taken" });
    }
  } finally {
    await heard.return();
  }
}
