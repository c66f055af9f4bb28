// A list in a box that scrolls, for lines that can come faster than a browser draws them.
import { keepAtEnd, make } from "./elements.mjs";

const MOST_TEXT = 20000; // characters shown of one entry

/** Return the start of a long text, and how much is left out: a browser is slow to lay it out. */
export function shortened(text) {
  if (text.length <= MOST_TEXT) return text;
  return `${text.slice(0, MOST_TEXT)} … ${text.length - MOST_TEXT} characters are left out`;
}

/** Return as many of the last entries as have `most` lines together, or more by a part of one. */
function lastOf(entries, most) {
  let from = entries.length;
  for (let lines = 0; from > 0 && lines < most; lines += entries[from].lines) from -= 1;
  return entries.slice(from);
}

/** Make a log of at most so many lines: a list that grows, in a `box` that scrolls. */
export function makeLog(label, most) {
  const list = make("ol");
  const attributes = { role: "log", "aria-label": label };
  const box = make("div", { className: "live-list", tabIndex: 0, attributes }, list);
  return new GrowingList(box, list, most);
}

export class GrowingList {
  #waiting = []; // entries that have no element yet
  #shown = [];
  #isPlanned = false;

  /**
   * @param {HTMLElement} box What scrolls.
   * @param {HTMLElement} list What gets the entries, in the box or the box itself.
   * @param {number} most Lines that stay; the oldest go.
   */
  constructor(box, list, most) {
    this.box = box;
    this.list = list;
    this.most = most;
  }

  /**
   * Add an entry. It is drawn at the next frame, together with those that come until then. A page
   * that is not seen has no frames, so what could never be shown is forgotten here.
   *
   * @param {() => HTMLElement} makeElement Is called only for entries that are drawn.
   * @param {number} lines How many lines of text it has.
   */
  add(makeElement, lines = 1) {
    this.#waiting.push({ makeElement, lines });
    if (this.#waiting.length > 2 * this.most) this.#waiting.splice(0, this.most);
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    requestAnimationFrame(() => {
      this.#isPlanned = false;
      keepAtEnd(this.box, () => this.#draw());
    });
  }

  clear() {
    this.#waiting = [];
    this.#shown = [];
    this.list.replaceChildren();
  }

  #draw() {
    const kept = lastOf([...this.#shown, ...this.#waiting], this.most);
    const stays = new Set(kept);
    for (const entry of this.#shown) if (!stays.has(entry)) entry.element.remove();
    const added = kept.filter((entry) => !entry.element);
    for (const entry of added) entry.element = entry.makeElement();
    this.list.append(...added.map(({ element }) => element));
    this.#shown = kept;
    this.#waiting = [];
  }
}
