// "Do this step here": the reader does a step of the tutorial in the page. The files start as the
// step before left them. Check runs the step's checks on them in the worker, and Show me fills in
// one change of the tutorial at a time. pane.mjs imports this module on pages of the tutorial.
import { changed, nextChange } from "./changes.mjs";
import { make, makeButton, makeInput } from "./elements.mjs";
import { zip } from "./zip.mjs";

const FILE_NAME = /^[\w-][\w.-]*(\/[\w-][\w.-]*)*$/;
const KEPT = "Your text is kept in this browser. It runs only if you press Run or Check.";
const NOT_KEPT = "This browser keeps no text for this site. Download your files before you leave.";

const STATES = { done: "Done", missing: "Missing", error: "Error", open: "Not checked yet" };

/** Add what a step needs to its app; pane.mjs calls this once. */
export async function attach(app) {
  const response = await fetch(app.box.dataset.step);
  if (!response.ok) throw new Error(`${app.box.dataset.step}: ${response.status}`);
  const step = new Step(app, await response.json());
  app.doStep = () => step.open();
}

// --- What the browser keeps ----------------------------------------------------------------------

/** The reader's files of each step, in the browser's storage. A browser can refuse it. */
class Memory {
  constructor(root) {
    this.prefix = `micropie:${new URL(root, location.href).pathname}:step-`;
    this.isRefused = false;
  }

  #key(number) {
    return this.prefix + String(number).padStart(2, "0");
  }

  /** Return {files, isDone}, or null if nothing is kept. */
  load(number) {
    try {
      const kept = JSON.parse(localStorage.getItem(this.#key(number)));
      return isKept(kept) ? kept : null;
    } catch {
      return null;
    }
  }

  save(number, files, isDone) {
    try {
      localStorage.setItem(this.#key(number), JSON.stringify({ files, isDone }));
      this.isRefused = false;
    } catch {
      this.isRefused = true;
    }
  }
}

/** Tell whether storage holds what was put there; other scripts of the site could write to it. */
function isKept(kept) {
  const entries = Object.entries(kept?.files ?? {});
  const isFile = ([name, text]) => FILE_NAME.test(name) && typeof text === "string";
  return entries.length > 0 && entries.every(isFile);
}

// --- The step ------------------------------------------------------------------------------------

class Step {
  #isOpen = false;
  #isChecking = false;
  #fills = 0; // how often the files were replaced as a whole
  #laid = 0; // the number of the fill that was started with

  constructor(app, data) {
    this.app = app;
    this.data = data;
    this.memory = new Memory(app.box.dataset.root ?? "./");
    this.isDone = false;
  }

  /** Show the step: the first time, the editor gets its files. */
  async open() {
    const { app } = this;
    app.tabs.show("edit");
    this.editor = await app.editor();
    if (this.#isOpen) return this.editor.focus();
    this.#isOpen = true;
    // Reset forgets data and cookies, and leaves the reader's text alone.
    app.options = {
      ...app.options,
      get files() {
        return app.files;
      },
    };
    this.#changeBar();
    this.note = make("p", { className: "live-hint live-step-note" });
    app.editorPlace.before(this.#makeBar(), this.#makeResults());
    app.editorPlace.after(this.note);
    this.#listen();
    this.#runFresh();
    const { start, files, isDone, words } = this.#firstFiles();
    this.#fill(files, start);
    this.isDone = isDone;
    this.#remember();
    this.editor.focus();
    return app.say(words);
  }

  // --- What the reader sees ---

  /** Let Check stand out in the place of Run, and call each button by what it does now. */
  #changeBar() {
    const { box, resetButton, runButton } = this.app;
    box.querySelector(".live-step").hidden = true;
    runButton.classList.remove("live-primary");
    resetButton.textContent = "Forget data";
    resetButton.title = "Forget the app's data and cookies";
  }

  #makeBar() {
    const { number } = this.data;
    this.checkButton = makeButton("check", "Check", () => this.check());
    this.checkButton.classList.add("live-primary");
    this.showButton = makeButton("show", "Show me", () => this.showNext());
    this.showButton.title = "Fill in the next change of this step";
    return make(
      "div",
      { className: "live-step-bar", attributes: { role: "group", "aria-label": `Step ${number}` } },
      this.checkButton,
      this.showButton,
      makeButton("over", "Start over", () => this.startOver()),
      this.#makeFileTools(),
    );
  }

  #makeFileTools() {
    this.name = makeInput("live-new-name");
    this.name.placeholder = "templates/page.html";
    this.name.setAttribute("aria-label", "Name of a new file");
    return make(
      "div",
      { className: "live-step-files" },
      this.name,
      makeButton("add", "Add a file", () => this.addFile()),
      makeButton("zip", "Download as .zip", () => this.download()),
    );
  }

  /** What Check found stands beside its button, so that it is seen on a phone, too. */
  #makeResults() {
    this.results = make("ul", {
      className: "live-results",
      hidden: true,
      attributes: { "aria-label": "What Check found" },
    });
    this.next = make("p", { hidden: true });
    return make("div", {}, this.results, this.next);
  }

  #listen() {
    const { editor } = this;
    const before = editor.onchange;
    editor.onchange = (name, text) => {
      before(name, text);
      this.#remember();
    };
  }

  /** Let the first run after a fill empty the app's folder, so that no older file stays there. */
  #runFresh() {
    const { app } = this;
    const run = app.run.bind(app);
    app.run = async ({ fresh = false } = {}) => {
      const fill = this.#fills;
      const isRunning = await run({ fresh: fresh || this.#laid < fill });
      if (isRunning) this.#laid = fill;
      return isRunning;
    };
  }

  // --- The files ---

  /** Return the files to show, and the step's first ones, and say where they come from. */
  #firstFiles() {
    const { number } = this.data;
    const { start, words } = this.#startOfStep();
    const own = this.memory.load(number);
    if (!own) return { start, files: start, isDone: false, words };
    return { ...own, start, words: "Your files of this step are back, as you left them." };
  }

  /** Return the files that the step starts with: the reader's own ones, if the last step is done. */
  #startOfStep() {
    const { number, start } = this.data;
    const before = number > 1 ? this.memory.load(number - 1) : null;
    if (before?.isDone) {
      return { start: before.files, words: `You start with your own files of step ${number - 1}.` };
    }
    const words =
      number > 1
        ? `You start with the files of step ${number - 1}. Change them as the page shows.`
        : "You start with an empty file. Write it as the page shows.";
    return { start: this.#startFiles(start), words };
  }

  /** The first step starts with nothing, and an editor needs a file. */
  #startFiles(start) {
    return Object.keys(start).length ? { ...start } : { "app.py": "" };
  }

  /**
   * Put files in the place of those that the app and its editor have.
   *
   * @param {Object<string, string>} files What the editor shows.
   * @param {Object<string, string>} start If a file differs from this one, the reader has changed
   *     it.
   */
  #fill(files, start) {
    const { app, editor } = this;
    this.#fills += 1;
    for (const [name, text] of Object.entries(files)) editor.set(name, text);
    for (const name of Object.keys(editor.files)) if (!(name in files)) editor.remove(name);
    app.files = { ...files };
    editor.saved(start);
    editor.mark(null, []);
    editor.open(Object.keys(files)[0]);
  }

  /** Keep the reader's text, so that it survives a reload. */
  #remember() {
    this.memory.save(this.data.number, this.app.files, this.isDone);
    const words = this.memory.isRefused ? NOT_KEPT : KEPT;
    if (this.note.textContent !== words) this.note.textContent = words;
  }

  addFile() {
    const name = this.name.value.trim();
    if (!FILE_NAME.test(name)) {
      this.app.say("Write the name of the new file, for example templates/page.html.");
      return this.name.focus();
    }
    if (!(name in this.app.files)) this.editor.set(name, "");
    this.name.value = "";
    this.editor.show(name);
    return this.app.say(`${name} is open.`);
  }

  startOver() {
    if (!confirm("Shall your text of this step go, and the step start from the beginning?")) return;
    this.isDone = false;
    const start = this.#startFiles(this.data.start);
    this.#fill(start, start);
    this.#clearResults();
    this.#remember();
    this.app.say("The step starts from the beginning.");
  }

  /** Save all files, and the list of packages, as a zip file. */
  download() {
    const { number, end } = this.data;
    const lists = Object.entries(end).filter(([name]) => /^requirements.*\.txt$/.test(name));
    const files = { ...Object.fromEntries(lists), ...this.app.files };
    const inFolder = Object.entries(files).map(([name, text]) => [`poll/${name}`, text]);
    const url = URL.createObjectURL(zip(Object.fromEntries(inFolder)));
    const name = `poll-step-${String(number).padStart(2, "0")}.zip`;
    make("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60000); // the browser may still be asking where to
    this.app.say(`${name} has your files. Unpack it, and start the app with uvicorn app:app.`);
  }

  // --- Show me ---

  /** Fill in the next change of the tutorial that the reader's files don't have. */
  showNext() {
    const { app, data } = this;
    const change = nextChange(data, app.files);
    if (!change) return app.say("Your files have all changes of this step. Press Check.");
    const { file } = change;
    const isNew = !app.files[file]?.trim();
    this.editor.set(file, changed(app.files[file] ?? "", change));
    this.editor.mark(null, []); // those of the change before
    this.editor.mark(file, range(change.from + 1, change.new.length), "added");
    return app.say(wordsFor(change, isNew));
  }

  // --- Check ---

  async check() {
    if (this.#isChecking) return;
    const { app } = this;
    this.#isChecking = true;
    this.checkButton.setAttribute("aria-disabled", "true");
    try {
      app.stopButton.disabled = false; // the load can take long, and checked code may have no end
      await app.load();
      app.say("Checking your files …");
      const { number, packages, check, target } = this.data;
      const files = { ...app.files };
      const { results } = await app.ask("check", { step: number, files, packages, check, target });
      this.#show(results);
    } catch (error) {
      this.#clearResults();
      app.say(`The check has ended without a result. ${error.message}`);
    } finally {
      app.stopButton.disabled = app.state === "idle";
      this.#isChecking = false;
      this.checkButton.removeAttribute("aria-disabled");
    }
  }

  #clearResults() {
    this.results.replaceChildren();
    this.results.hidden = true;
    this.next.hidden = true;
  }

  #show(results) {
    const missing = results.filter(({ ok }) => !ok);
    this.results.replaceChildren(...results.map((result) => this.#row(result)));
    this.results.hidden = false;
    this.isDone = missing.length === 0;
    this.#remember();
    this.#showNextStep();
    const count = `${results.length - missing.length} of ${results.length} are done.`;
    this.app.say(this.isDone ? "Everything of this step is done." : `${count} See below.`);
  }

  #row({ state, file, name, line, text }) {
    const word = make("strong", { className: "live-result-state", textContent: STATES[state] });
    const row = make("li", { className: `live-${state}` }, word, " ");
    if (file) row.append(this.#place(file, name, line), ": ");
    row.append(...withCode(text));
    return row;
  }

  /** The place of what is missing: a button that leads there, if the reader has that file. */
  #place(file, name, line) {
    const label = name ? `${file}, ${name}` : file;
    if (!(file in this.app.files)) return make("code", { textContent: label });
    const onclick = () => this.app.showLine(file, line ?? 1);
    return make("button", { type: "button", className: "live-place", textContent: label, onclick });
  }

  #showNextStep() {
    const link = document.querySelector('link[rel="next"]');
    this.next.hidden = !this.isDone || !link;
    if (this.next.hidden) return;
    this.next.replaceChildren(
      make("a", {
        href: link.href,
        className: "live-button live-next",
        textContent: link.title ? `Next: ${link.title}` : "Next step",
      }),
    );
  }
}

// --- Small things --------------------------------------------------------------------------------

function range(from, count) {
  return Array.from({ length: count }, (_, index) => from + index);
}

/** Say which change was made, for those who don't see the marked lines. */
function wordsFor({ file, from, old, new: lines }, isNew) {
  const first = from + 1;
  if (isNew) return `${file} is new. It has ${inLines(lines.length)}.`;
  if (!lines.length) {
    return `In ${file}, ${inLines(old.length)} before line ${first} ${were(old.length)} removed.`;
  }
  const place = lines.length === 1 ? `line ${first}` : `lines ${first} to ${from + lines.length}`;
  return `In ${file}, ${place} ${were(lines.length)} ${old.length ? "changed" : "added"}.`;
}

function inLines(count) {
  return count === 1 ? "1 line" : `${count} lines`;
}

function were(count) {
  return count === 1 ? "was" : "were";
}

/** Split a text at its backticks: what stands between two of them is code. */
function withCode(text) {
  const code = (textContent) => make("code", { textContent });
  return text.split("`").map((part, index) => (index % 2 ? code(part) : part));
}
