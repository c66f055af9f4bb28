// What the app prints and logs, with its tracebacks. A place in one of the app's own files is a
// button that leads there.
import { make, makeButton } from "./elements.mjs";
import { GrowingList, shortened } from "./growing.mjs";

const MOST_LINES = 500;
const PLACE = /File "\/app\/([^"]+)", line (\d+)/g;
const SHORT_PLACE = /(File "[^"/<][^"]*", line \d+)/; // without the folder, as the log shows it
const KINDS = { out: "Printed", err: "Error output", log: "Request" };

/** Return the places in the app's own files that a traceback names, the innermost last. */
export function placesIn(text) {
  return [...text.matchAll(PLACE)].map(([, name, line]) => ({ name, line: Number(line) }));
}

/** Return the last lines of a text, and how many there are. */
function lastLines(text) {
  const lines = text.split("\n");
  if (lines.length <= MOST_LINES) return { shown: text, lines: lines.length };
  const last = lines.slice(1 - MOST_LINES);
  const left = `… ${lines.length - last.length} lines are left out`;
  return { shown: [left, ...last].join("\n"), lines: MOST_LINES };
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
    this.entries = new GrowingList(this.list, this.list, MOST_LINES);
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
    this.entries.clear();
    this.list.append(this.empty);
    this.#errors = 0;
    this.title.textContent = "Log";
  }

  /**
   * @param {"out"|"err"|"log"} kind Where it comes from.
   * @param {string} text One or more lines, of one or more prints.
   * @param {boolean} isError Whether it counts as an error even if it is no traceback.
   */
  write(kind, text, isError = false) {
    this.empty.remove();
    const errors = isError ? 1 : (text.match(/^Traceback/gm)?.length ?? 0);
    if (errors) this.#count(errors);
    const { shown, lines } = lastLines(text.trimEnd());
    this.entries.add(() => this.#makeEntry(kind, shown), lines);
  }

  #makeEntry(kind, text) {
    return make(
      "div",
      { className: `live-entry live-from-${kind}`, title: KINDS[kind] ?? "" },
      ...this.#withPlaces(shortened(text)),
    );
  }

  #count(more) {
    this.#errors += more;
    this.title.textContent = `Log (${this.#errors} ${this.#errors === 1 ? "error" : "errors"})`;
  }

  /** Split a text into strings and the buttons that stand for places. */
  #withPlaces(text) {
    return text
      .replaceAll('File "/app/', 'File "')
      .split(SHORT_PLACE)
      .map((part, index) => (index % 2 ? this.#makePlace(part) : part));
  }

  #makePlace(textContent) {
    const [, name, line] = /"([^"]+)", line (\d+)/.exec(textContent);
    const onclick = () => this.show(name, Number(line));
    return make("button", { type: "button", className: "live-place", textContent, onclick });
  }
}
