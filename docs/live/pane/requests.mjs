// The page's own curl commands, to be sent one after the other. What comes is shown as curl prints
// it, and compared with what the page shows.
import { bytesOf, make, makeButton } from "./elements.mjs";
import { exchange } from "./exchange.mjs";
import { filtered, findHeader, headText, matches, writtenOut } from "./printing.mjs";

const REDIRECTS = [301, 302, 303, 307, 308];
const MOST_REDIRECTS = 20;
const SERVER = "http://127.0.0.1:8000"; // as the pages write it
const MOST_TEXT = 100000; // characters shown of one response
const AFTERWARDS = 1000; // milliseconds in which a stream can say more than was asked for
const LONGER = 5; // seconds that a slow machine gets in addition to those of a command
const WORDS = {
  same: "Same as on this page.",
  different: "Not the same as on this page.",
  done: "Sent.",
  error: "No response.",
};

const jars = new Map(); // visitor and name of a jar -> how often it was begun anew

/**
 * Return how the cookies of a request are handled. Each jar is a visitor that has no browser; one
 * that curl only writes begins empty.
 */
function cookiesOf({ jar }, visitor) {
  if (!jar) return { visitor, cookies: { send: false, keep: false, show: true } };
  const { name, send, keep } = jar;
  const key = `${visitor}-${name}`;
  if (!send) jars.set(key, (jars.get(key) ?? 0) + 1);
  return { visitor: `${key}-${jars.get(key) ?? 0}`, cookies: { send, keep, show: true } };
}

/** Return the request that follows a redirect, as curl makes it. */
function redirected(sent, { status, headers }) {
  const target = new URL(findHeader(headers, "location"), SERVER + sent.path);
  const keepsMethod = status > 303 || sent.method === "HEAD";
  return {
    ...sent,
    path: target.pathname + target.search,
    method: keepsMethod ? sent.method : "GET",
    body: keepsMethod ? sent.body : null,
    headers: keepsMethod ? sent.headers : sent.headers.filter(([name]) => name !== "content-type"),
    cookies: { ...sent.cookies, send: sent.cookies.send || sent.cookies.keep },
  };
}

/** Tells when the reader, the time or a filter has had enough of a response. */
class Patience {
  #controller = new AbortController();
  #last = null; // the timer of endSoon()
  isOver = false;

  /** Begin to count the seconds that curl would wait. A slow machine gets more, until it is enough. */
  limit(seconds, isEnough) {
    if (!seconds) return;
    const last = performance.now() + (seconds + LONGER) * 1000;
    const look = () => {
      if (isEnough() || performance.now() > last) this.end();
      else this.timer = setTimeout(look, 100);
    };
    this.timer = setTimeout(look, seconds * 1000);
  }

  /** Wait for something; throw if the reader has had enough before. */
  async waitFor(promise) {
    const { signal } = this;
    const end = new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    await Promise.race([promise, end]);
    signal.throwIfAborted();
  }

  get signal() {
    return this.#controller.signal;
  }

  end() {
    this.isOver = true;
    this.#controller.abort(new Error("Stopped."));
    clearTimeout(this.timer);
    this.goOn();
  }

  /** End in a while, unless `goOn` is called before. */
  endSoon() {
    this.#last ??= setTimeout(() => this.end(), AFTERWARDS);
  }

  goOn() {
    clearTimeout(this.#last);
    this.#last = null;
  }
}

/** One prepared request in the list. */
class Prepared {
  constructor(request, app) {
    this.request = request;
    this.app = app;
    this.button = makeButton("send", "Send");
    this.button.setAttribute("aria-label", `Send ${request.line}`);
    this.button.addEventListener("click", () =>
      this.patience ? this.patience.end() : this.send(),
    );
    this.word = make("span", { className: "live-word", attributes: { role: "status" } });
    this.answer = make("pre", { className: "live-answer", hidden: true, tabIndex: 0 });
    this.answer.setAttribute("aria-label", `Response to ${request.line}`);
    this.expected = make(
      "details",
      { className: "live-expected", hidden: true },
      make("summary", { textContent: "What this page shows" }),
      make("pre", { textContent: (request.expected ?? "").trim(), tabIndex: 0 }),
    );
    const line = make("code", { className: "live-line", textContent: request.line });
    const head = make("div", { className: "live-command" }, this.button, line);
    this.element = make("li", {}, head, this.word, this.answer, this.expected);
  }

  async send() {
    this.patience = new Patience();
    this.button.textContent = "Stop waiting";
    try {
      if (this.app.state === "starting") this.#show("", "", "Waiting for the app to start …");
      await this.patience.waitFor(this.app.settled());
      this.#show("", "", "Sending …");
      this.part = "";
      this.patience.limit(this.request.seconds, () => this.#result(this.part) !== "different");
      if (this.request.restart) await this.app.restart();
      const text = await this.#exchange();
      this.#show(this.#result(text), text);
    } catch (error) {
      this.#show("error", error.message);
    }
    this.patience.end();
    this.patience = null;
    this.button.textContent = "Send again";
  }

  #result(text) {
    if (typeof this.request.expected !== "string") return "done";
    return matches(this.request.expected, text) ? "same" : "different";
  }

  #show(result, text, word = WORDS[result]) {
    if (result) this.element.dataset.result = result;
    else delete this.element.dataset.result;
    this.word.textContent = word;
    this.answer.textContent = text.length > MOST_TEXT ? `${text.slice(0, MOST_TEXT)} …` : text;
    this.answer.hidden = !text;
    this.expected.hidden = result !== "different";
  }

  /** End a response that goes on, if it has said what was asked for and no more. */
  #judge(text, part, isStream) {
    const { head } = this.request.filters?.[0] ?? {};
    if (head !== undefined && text.split("\n").length > head) this.patience.end();
    if (head !== undefined || !isStream) return;
    if (this.#result(part) === "same") this.patience.endSoon();
    else this.patience.goOn();
  }

  /** Send the request and those that its redirects ask for; return what curl prints. */
  async #exchange() {
    const { method, path, headers, body, head, follow } = this.request;
    const { visitor } = this.app.visitor("curl");
    const cookies = cookiesOf(this.request, visitor);
    const bytes = body === null ? null : bytesOf(body);
    let sent = { method, path, headers, body: bytes, root: "", ...cookies };
    let before = "";
    const begin = performance.now();
    for (let count = 0; count <= MOST_REDIRECTS; count += 1) {
      const response = await exchange(sent, this.patience.signal);
      const shown = before + (head ? headText(response) : "");
      const isRedirect =
        follow && REDIRECTS.includes(response.status) && findHeader(response.headers, "location");
      const text = await this.#read(response, shown, isRedirect);
      const seconds = (performance.now() - begin) / 1000;
      if (!isRedirect) return this.#printed(text, response, SERVER + sent.path, seconds);
      before = shown;
      sent = redirected(sent, response);
    }
    throw new Error(`The app has sent more than ${MOST_REDIRECTS} redirects.`);
  }

  #printed(text, response, url, seconds) {
    const written = writtenOut(this.request.write ?? "", response, url, seconds);
    return filtered(text + written, this.request.filters);
  }

  /** Read a body to its end, or until the reader, the time or the expected output ends it. */
  async #read(response, shown, isDropped) {
    const decoder = new TextDecoder();
    const isStream = findHeader(response.headers, "content-type").startsWith("text/event-stream");
    let text = shown;
    try {
      for await (const chunk of response.body) {
        if (this.request.quiet || isDropped) continue;
        text += decoder.decode(chunk, { stream: true });
        const part = (this.part = filtered(text, this.request.filters));
        this.answer.textContent = part.slice(-MOST_TEXT);
        this.answer.hidden = !part;
        this.#judge(text, part, isStream);
      }
    } catch (error) {
      if (!this.patience.isOver) throw error;
    }
    return text;
  }
}

export class Requests {
  #isSending = false;

  /**
   * @param {object[]} requests As they are in the app's JSON.
   * @param {{restart: () => Promise<void>, settled: () => Promise<void>, state: string,
   *     visitor: (name: string) => object}} app Restarts the app for a request that asks for it,
   *     tells when a start has ended, and names visitors.
   */
  constructor(requests, app) {
    this.prepared = requests.map((request) => new Prepared(request, app));
    const all = makeButton("send-all", "Send all in order", () => this.sendAll());
    const list = make(
      "ol",
      { className: "live-requests" },
      ...this.prepared.map(({ element }) => element),
    );
    this.element = make(
      "div",
      { className: "live-prepared" },
      make("p", {
        textContent:
          "These are the commands of this page. " +
          "Send them in order, since some need what others did.",
      }),
      all,
      list,
    );
    all.hidden = requests.length < 2;
  }

  async sendAll() {
    if (this.#isSending) return;
    this.#isSending = true;
    for (const prepared of this.prepared) await prepared.send();
    this.#isSending = false;
  }
}
