// Compares the reader's text with the tutorial's, line by line.

/** Return the lines of a text without the empty one behind its last newline. */
export function linesOf(text) {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

/**
 * Return what has to change in a text.
 *
 * @param {string[]} mine The lines of the reader.
 * @param {string[]} theirs The lines of the tutorial.
 * @returns {{from: number, old: string[], new: string[]}[]} At the line with the index `from`, the
 *     lines `old` become `new`.
 */
export function differences(mine, theirs) {
  const common = commonLengths(mine, theirs);
  const found = [];
  let current = null;
  let at = 0;
  let other = 0;
  const open = () => {
    if (!current) found.push((current = { from: at, old: [], new: [] }));
    return current;
  };
  while (at < mine.length || other < theirs.length) {
    if (at < mine.length && other < theirs.length && isSame(mine[at], theirs[other])) {
      current = null;
      at += 1;
      other += 1;
    } else if (other < theirs.length && common[at][other + 1] >= (common[at + 1]?.[other] ?? -1)) {
      open().new.push(theirs[other]);
      other += 1;
    } else {
      open().old.push(mine[at]);
      at += 1;
    }
  }
  return found;
}

/** Space at the end of a line makes no difference. */
function isSame(one, other) {
  return one.trimEnd() === other.trimEnd();
}

/** Return the length of the longest common subsequence of the lines from each place on. */
function commonLengths(mine, theirs) {
  const lengths = Array.from({ length: mine.length + 1 }, () => new Uint16Array(theirs.length + 1));
  for (let at = mine.length - 1; at >= 0; at -= 1) {
    for (let other = theirs.length - 1; other >= 0; other -= 1) {
      lengths[at][other] = isSame(mine[at], theirs[other])
        ? lengths[at + 1][other + 1] + 1
        : Math.max(lengths[at + 1][other], lengths[at][other + 1]);
    }
  }
  return lengths;
}

/**
 * Return the next change of a step that the reader's files don't have, or null.
 *
 * What the reader has written in another way elsewhere is no change of the step, and stays.
 *
 * @param {object} step The data of the step.
 * @param {Object<string, string>} files The reader's files.
 */
export function nextChange({ changes, end }, files) {
  for (const file of new Set(changes.map((change) => change.file))) {
    const mine = linesOf(files[file] ?? "");
    const ofFile = changes.filter((change) => change.file === file);
    const found = differences(mine, linesOf(end[file])).find((one) => belongsTo(one, ofFile));
    if (found) return { file, ...found };
  }
  return null;
}

/** Tell whether a difference has to do with one of the step's changes. */
function belongsTo(difference, changes) {
  const lines = [...difference.old, ...difference.new].filter((line) => line.trim());
  if (!lines.length) return true; // empty lines alone
  const ofStep = new Set(changes.flatMap((change) => [...change.old, ...change.new]));
  return lines.some((line) => ofStep.has(line));
}

/** Return a text with a change in it. */
export function changed(text, { from, old, new: lines }) {
  const all = linesOf(text);
  return `${[...all.slice(0, from), ...lines, ...all.slice(from + old.length)].join("\n")}\n`;
}
