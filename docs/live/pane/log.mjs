// What the app prints and logs, with its tracebacks. A place in one of the app's own files is a
// button that leads there.
import { keepAtEnd, make, makeButton } from "./elements.mjs";

const MOST_ENTRIES = 500;
const PLACE = /File "\/app\/([^"]+)", line (\d+)/g;
const SHORT_PLACE = /(File "[^"/<][^"]*", line \d+)/; // without the folder, as the log shows it
const KINDS = { out: "Printed", err: "Error output", log: "Request" };

/** Return the places in the app's own files that a traceback names, the innermost last. */
export function placesIn(text) {
  return [...text.matchAll(PLACE)].map(([, name, line]) => ({ name, line: Number(line) }));
}

export class Log {
  #errors = 0;

  /** @param {(name: string, line: number) => void} show Shows a line of a file. */
  constructor(show) {
    this.show = show;
    this.title = make("summary", { textContent: "Log" });
    this.empty = make("p", {
      className: "live-hint",
      textContent: "Nothing yet. Requests, prints and errors of the app come here.",
    });
    this.list = make(
      "div",
      {
        className: "live-log",
        tabIndex: 0,
        attributes: { role: "log", "aria-label": "Log of the app" },
      },
      this.empty,
    );
    const clear = makeButton("clear", "Clear the log", () => this.clear());
    this.element = make(
      "details",
      { className: "live-log-box", open: true },
      this.title,
      this.list,
      clear,
    );
  }

  clear() {
    this.list.replaceChildren(this.empty);
    this.#errors = 0;
    this.title.textContent = "Log";
  }

  /**
   * @param {"out"|"err"|"log"} kind Where it comes from.
   * @param {string} text One or more lines.
   * @param {boolean} isError Whether it counts as an error even if it is no traceback.
   */
  write(kind, text, isError = false) {
    this.empty.remove();
    if (isError || /^Traceback/m.test(text)) this.#count();
    const title = KINDS[kind] ?? "";
    const entry = make(
      "div",
      { className: `live-entry live-from-${kind}`, title },
      ...this.#withPlaces(text),
    );
    keepAtEnd(this.list, () => {
      this.list.append(entry);
      while (this.list.childElementCount > MOST_ENTRIES) this.list.firstElementChild.remove();
    });
  }

  #count() {
    this.#errors += 1;
    this.title.textContent = `Log (${this.#errors} ${this.#errors === 1 ? "error" : "errors"})`;
  }

  /** Split a text into strings and the buttons that stand for places. */
  #withPlaces(text) {
    const shortened = text.trimEnd().replaceAll('File "/app/', 'File "');
    return shortened
      .split(SHORT_PLACE)
      .map((part, index) => (index % 2 ? this.#makePlace(part) : part));
  }

  #makePlace(textContent) {
    const [, name, line] = /"([^"]+)", line (\d+)/.exec(textContent);
    const onclick = () => this.show(name, Number(line));
    return make("button", { type: "button", className: "live-place", textContent, onclick });
  }
}
