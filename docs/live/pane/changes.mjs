// Finds where a change of the tutorial belongs in the reader's text, which can be another text than
// the tutorial's by now.
//
// A change is {file, line, old, new, before, after}: at `line` of the file of the step before, the
// lines `old` become `new`. `before` and `after` are the lines around them.

const MOST_CONTEXT = 3;

/** Return the lines of a text without the empty one behind its last newline. */
export function linesOf(text) {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

/** Return the change as lines with some lines of context around them. */
function withContext(change, lines, context) {
  const before = context ? change.before.slice(-context) : [];
  return {
    wanted: [...before, ...lines, ...change.after.slice(0, context)],
    skipped: before.length,
  };
}

/** Return all places at which lines stand in a text, without a look at space at their ends. */
function placesOf(lines, wanted) {
  const places = [];
  for (let at = 0; at + wanted.length <= lines.length; at += 1) {
    if (wanted.every((line, index) => line.trimEnd() === lines[at + index].trimEnd())) places.push(at);
  }
  return places;
}

/** Return the place that is nearest to where the tutorial has it. */
function nearest(places, expected) {
  return places.sort((one, other) => Math.abs(one - expected) - Math.abs(other - expected))[0];
}

/** Tell whether the reader's text has a change already. */
export function isApplied(change, text) {
  const lines = linesOf(text ?? "");
  const { wanted } = withContext(change, change.new, 1);
  return wanted.length > 0 && placesOf(lines, wanted).length > 0;
}

/**
 * Apply a change to the reader's text.
 *
 * @returns {{text: string, from: number, count: number} | null} The text, the first line that is new
 *     (from 1), and how many are; null if the place is not found.
 */
export function apply(change, text) {
  const lines = linesOf(text);
  for (let context = MOST_CONTEXT; context >= 0; context -= 1) {
    const { wanted, skipped } = withContext(change, change.old, context);
    if (!wanted.length) break;
    const place = nearest(placesOf(lines, wanted), change.line - 1 - skipped);
    if (place === undefined) continue;
    const at = place + skipped;
    const changed = [...lines.slice(0, at), ...change.new, ...lines.slice(at + change.old.length)];
    return { text: `${changed.join("\n")}\n`, from: at + 1, count: change.new.length };
  }
  return null;
}
