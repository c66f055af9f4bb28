// What Python prints, on its way to the page. A message for each line would keep the page busy for
// seconds if an app prints thousands of them, so lines go together, and of too many only the last.

const DELAY = 50; // milliseconds that lines are collected
// The page's log keeps 500 lines. With fewer, the words about those left out stay in it as well.
const MOST_LINES = 400;
const MOST_CHARACTERS = 250_000; // of the lines that are collected
// The log drops whole messages, so none has many lines. It shows so many characters of each.
const LINES_OF_A_MESSAGE = 50;
const CHARACTERS_OF_A_MESSAGE = 20_000;
const LONGEST_LINE = 19_000; // characters; a line and the words that it was cut fit in a message

export class Output {
  #send;
  #lines = []; // [kind, text]
  #leftOut = 0;
  #due = 0; // when the lines go
  #timer = 0;

  /** @param {(kind: "out"|"err", text: string) => void} send Sends one or more lines. */
  constructor(send) {
    this.#send = send;
  }

  /** Take a line. */
  write(kind, line) {
    const now = performance.now();
    if (!this.#timer) {
      this.#due = now + DELAY;
      this.#timer = setTimeout(() => this.flush(), DELAY);
    }
    this.#lines.push([kind, shortened(line)]);
    if (this.#lines.length >= 2 * MOST_LINES) this.#leaveOut(MOST_LINES);
    // In a loop that never waits, no timer fires.
    if (now >= this.#due) this.flush();
  }

  /** Send what has been collected, for example before a message that must not overtake it. */
  flush() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (!this.#lines.length) return;
    this.#leaveOut(this.#tooMany());
    if (this.#leftOut) {
      const count = this.#leftOut.toLocaleString("en");
      const words = this.#leftOut === 1 ? "line was" : "lines were";
      this.#lines.unshift([this.#lines[0][0], `… ${count} ${words} left out.`]);
    }
    const groups = grouped(this.#lines);
    this.#lines = [];
    this.#leftOut = 0;
    for (const [kind, lines] of groups) this.#send(kind, lines.join("\n"));
  }

  /** Drop the oldest lines. */
  #leaveOut(count) {
    this.#lines.splice(0, count);
    this.#leftOut += count;
  }

  /** Return how many of the oldest lines are too many. */
  #tooMany() {
    let at = this.#lines.length;
    let characters = 0;
    while (at > 0 && this.#lines.length - at < MOST_LINES) {
      characters += this.#lines[at - 1][1].length;
      if (characters > MOST_CHARACTERS) break;
      at -= 1;
    }
    return at;
  }
}

function shortened(line) {
  if (line.length <= LONGEST_LINE) return line;
  const rest = (line.length - LONGEST_LINE).toLocaleString("en");
  return `${line.slice(0, LONGEST_LINE)} … ${rest} characters were left out.`;
}

/** Put lines of the same kind together that follow each other, as many as fit in a message. */
function grouped(lines) {
  const groups = [];
  let last = [null, []];
  let characters = 0;
  for (const [kind, line] of lines) {
    characters += line.length + 1;
    const isFull = last[1].length === LINES_OF_A_MESSAGE || characters > CHARACTERS_OF_A_MESSAGE;
    if (last[0] !== kind || isFull) {
      last = [kind, []];
      groups.push(last);
      characters = line.length + 1;
    }
    last[1].push(line);
  }
  return groups;
}
