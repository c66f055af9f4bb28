// The editor: CodeMirror with a tab for each file. It is loaded when the reader opens it.
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { css } from "@codemirror/lang-css";
import { html } from "@codemirror/lang-html";
import { javascript } from "@codemirror/lang-javascript";
import { python } from "@codemirror/lang-python";
import {
  bracketMatching,
  HighlightStyle,
  indentOnInput,
  indentUnit,
  syntaxHighlighting,
} from "@codemirror/language";
import { Compartment, EditorState, StateEffect, StateField } from "@codemirror/state";
import {
  Decoration,
  drawSelection,
  EditorView,
  gutter,
  GutterMarker,
  keymap,
  lineNumbers,
} from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { make, newId } from "./elements.mjs";

const LANGUAGES = { py: python, html, css, js: javascript, mjs: javascript, json: javascript };

const RUN_KEY = /mac/i.test(navigator.platform) ? "Command+Enter" : "Ctrl+Enter";

// The classes are those of Pygments, so that code has the colors of the listings in both themes.
const COLORS = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword, tags.controlKeyword, tags.modifier], class: "k" },
  { tag: [tags.definitionKeyword, tags.moduleKeyword], class: "kn" },
  { tag: [tags.bool, tags.null, tags.self], class: "kc" },
  { tag: tags.function(tags.definition(tags.variableName)), class: "nf" },
  { tag: tags.definition(tags.className), class: "nc" },
  { tag: tags.className, class: "nc" },
  { tag: tags.meta, class: "nd" },
  { tag: [tags.string, tags.special(tags.string), tags.attributeValue], class: "s" },
  { tag: tags.number, class: "mi" },
  { tag: tags.operator, class: "o" },
  { tag: [tags.comment, tags.lineComment, tags.blockComment], class: "c1" },
  { tag: tags.tagName, class: "nt" },
  { tag: [tags.attributeName, tags.propertyName], class: "na" },
]);

// --- Marked lines ---

const setMarks = StateEffect.define(); // its value is {lines, kind}; a line is a number
const lineMarks = {
  error: Decoration.line({ class: "live-marked live-marked-error" }),
  added: Decoration.line({ class: "live-marked live-marked-added" }),
};

const marks = StateField.define({
  create: () => Decoration.none,
  update(decorations, transaction) {
    const effect = transaction.effects.find((one) => one.is(setMarks));
    if (!effect) return decorations.map(transaction.changes);
    const { doc } = transaction.state;
    const { lines, kind } = effect.value;
    const present = lines.filter((line) => line >= 1 && line <= doc.lines).sort((a, b) => a - b);
    return Decoration.set(present.map((line) => lineMarks[kind].range(doc.line(line).from)));
  },
  provide: (field) => EditorView.decorations.from(field),
});

class SignMarker extends GutterMarker {
  constructor(sign, title, kind) {
    super();
    this.sign = { textContent: sign, title, className: `live-mark-${kind}` };
  }

  toDOM() {
    return make("span", this.sign);
  }
}

const SIGNS = {
  error: new SignMarker("▶", "Look at this line", "error"),
  added: new SignMarker("+", "This line was added or changed", "added"),
};

const markGutter = gutter({
  class: "live-mark-gutter",
  lineMarker(view, line) {
    let sign = null;
    view.state.field(marks).between(line.from, line.from, (from, to, mark) => {
      sign = mark === lineMarks.added ? SIGNS.added : SIGNS.error;
    });
    return sign;
  },
  lineMarkerChange: (update) => update.startState.field(marks) !== update.state.field(marks),
  initialSpacer: () => SIGNS.error,
});

// --- The editor ---

export class Editor {
  /** Called with the name and the text of a file that has changed. */
  onchange = () => {};
  /** Called when the reader presses Ctrl+Enter. */
  onrun = () => {};
  #states = new Map(); // of the files that are not shown
  #tabs = new Map();
  #saved; // the files as they were when the app was started
  #current;
  #view;
  #tabKey = new Compartment();

  /** @param {Object<string, string>} files The texts by the names of the files, in order. */
  constructor(files) {
    this.#saved = { ...files };
    this.list = make("div", {
      className: "live-file-tabs",
      attributes: { role: "tablist", "aria-label": "Files" },
    });
    this.list.addEventListener("keydown", (event) => this.#moveTab(event));
    this.panel = make("div", {
      id: newId(),
      className: "highlight live-editor-text",
      attributes: { role: "tabpanel" },
    });
    this.element = make(
      "div",
      { className: "live-editor" },
      this.list,
      this.panel,
      this.#makeFoot(),
    );
    for (const [name, text] of Object.entries(files)) this.#addFile(name, text);
    [this.#current] = Object.keys(files);
    this.#view = new EditorView({ state: this.#states.get(this.#current), parent: this.panel });
    this.#select(this.#current);
  }

  #makeFoot() {
    const box = make("input", { type: "checkbox", className: "live-tab-key" });
    box.addEventListener("change", () => this.#setTabKey(box.checked));
    this.tabBox = box;
    this.note = make("p", {
      className: "live-hint live-editor-note",
      attributes: { role: "status" },
    });
    const label = make("label", {}, box, " Tab key indents.");
    const way = " To leave the editor, press Escape, then Tab.";
    const hint = make(
      "p",
      { className: "live-hint live-editor-keys" },
      label,
      `${way} ${RUN_KEY} runs the app.`,
    );
    return make("div", { className: "live-editor-foot" }, this.note, hint);
  }

  #addFile(name, text) {
    const tab = make("button", {
      type: "button",
      id: newId(),
      className: "live-file-tab",
      textContent: name,
      tabIndex: -1,
      onclick: () => this.open(name),
      attributes: { role: "tab", "aria-selected": "false", "aria-controls": this.panel.id },
    });
    this.#tabs.set(name, tab);
    this.list.append(tab);
    this.#states.set(name, this.#newState(name, text));
  }

  #newState(name, doc) {
    const language = LANGUAGES[name.split(".").at(-1)];
    const isPython = name.endsWith(".py");
    return EditorState.create({
      doc,
      extensions: [
        lineNumbers(),
        history(),
        drawSelection(),
        indentOnInput(),
        bracketMatching(),
        marks,
        markGutter,
        indentUnit.of(isPython ? "    " : "  "),
        EditorState.tabSize.of(4),
        syntaxHighlighting(COLORS),
        language ? language() : [],
        keymap.of([
          { key: "Mod-Enter", run: () => (this.onrun(), true) },
          ...defaultKeymap,
          ...historyKeymap,
        ]),
        this.#tabKey.of(this.#tabExtension()),
        EditorView.contentAttributes.of({ "aria-label": `Text of ${name}`, tabindex: "0" }),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) this.#changed(name, update.state);
        }),
      ],
    });
  }

  #tabExtension() {
    return this.tabBox.checked ? keymap.of([indentWithTab]) : [];
  }

  #setTabKey() {
    const effects = this.#tabKey.reconfigure(this.#tabExtension());
    for (const name of this.#states.keys()) this.#apply(name, { effects });
  }

  // --- What others ask of it ---

  /** The texts of all files, as they are now. */
  get files() {
    return Object.fromEntries(
      [...this.#states.keys()].map((name) => [name, this.#state(name).doc.toString()]),
    );
  }

  /** The name of the file that is shown. */
  get current() {
    return this.#current;
  }

  /** Replace the text of a file; the reader can undo it. A new name makes a new file. */
  set(name, text) {
    if (!this.#states.has(name)) {
      this.#addFile(name, text);
      return this.onchange(name, text);
    }
    const { doc } = this.#state(name);
    if (doc.toString() === text) return undefined;
    return this.#apply(name, { changes: changeTo(doc.toString(), text) });
  }

  /** Show a file. */
  open(name) {
    if (!this.#states.has(name) || name === this.#current) return;
    this.#states.set(this.#current, this.#view.state);
    this.#current = name;
    this.#view.setState(this.#states.get(name));
    this.#select(name);
  }

  /** Show a file with the cursor at the start of a line, and move the focus there. */
  show(name, line = 1) {
    if (!this.#states.has(name)) return;
    this.open(name);
    const { doc } = this.#view.state;
    const { from } = doc.line(Math.min(Math.max(line, 1), doc.lines));
    this.#view.dispatch({
      selection: { anchor: from },
      effects: EditorView.scrollIntoView(from, { y: "center" }),
    });
    this.focus();
  }

  /**
   * Mark lines of a file and show it; without a name, remove the marks of all files.
   *
   * @param {?string} name The name of the file.
   * @param {number[]} lines The numbers of the lines.
   * @param {"error"|"added"} kind Why they are marked.
   */
  mark(name, lines, kind = "error") {
    if (name === null) {
      const effects = setMarks.of({ lines: [], kind });
      for (const one of this.#states.keys()) this.#apply(one, { effects });
      return;
    }
    if (!this.#states.has(name)) return;
    this.open(name);
    this.#apply(name, { effects: setMarks.of({ lines, kind }) });
    if (!lines.length) return;
    const { doc } = this.#view.state;
    const { from } = doc.line(Math.min(lines[0], doc.lines));
    this.#view.dispatch({ effects: EditorView.scrollIntoView(from, { y: "center" }) });
  }

  focus() {
    this.#view.focus();
  }

  /** Say below the text why the app did not start, until the reader changes a file. */
  failed(words) {
    this.note.textContent = words;
    this.note.classList.add("live-problem");
  }

  /** Note that the app was started with these files. */
  saved(files) {
    this.#saved = { ...files };
    for (const name of this.#states.keys()) this.#tell(name);
  }

  /** Bring the texts back as they were; files that were added since are removed. */
  reset(files) {
    this.mark(null, []);
    for (const name of [...this.#states.keys()]) {
      if (typeof files[name] === "string") this.set(name, files[name]);
      else this.remove(name);
    }
    this.saved(files);
  }

  /** Remove a file; the last one stays. */
  remove(name) {
    if (!this.#states.has(name) || this.#states.size === 1) return;
    if (name === this.#current) this.open([...this.#states.keys()].find((other) => other !== name));
    this.#states.delete(name);
    this.#tabs.get(name).remove();
    this.#tabs.delete(name);
  }

  // --- How it is done ---

  #state(name) {
    return name === this.#current ? this.#view.state : this.#states.get(name);
  }

  /** Apply a change to a file, whether it is shown or not. */
  #apply(name, change) {
    if (name === this.#current) return this.#view.dispatch(change);
    const { state } = this.#states.get(name).update(change);
    this.#states.set(name, state);
    if (change.changes) this.#changed(name, state);
    return undefined;
  }

  #changed(name, state) {
    this.#tell(name);
    this.onchange(name, state.doc.toString());
  }

  /** Say in words which files differ from those that run. */
  #tell(name) {
    const isChanged = this.#state(name).doc.toString() !== this.#saved[name];
    const label = isChanged ? `${name} (changed)` : name;
    const tab = this.#tabs.get(name);
    if (tab.textContent !== label) {
      tab.textContent = label;
      if (name === this.#current) this.#bringToSight(tab); // it has become wider
    }
    const some = [...this.#tabs.values()].some(({ textContent }) =>
      textContent.endsWith(" (changed)"),
    );
    const words = some ? "You have changed the files. Press Run to start the app with them." : "";
    this.note.classList.remove("live-problem");
    if (this.note.textContent !== words) this.note.textContent = words;
  }

  #select(name) {
    for (const [other, tab] of this.#tabs) {
      tab.setAttribute("aria-selected", String(other === name));
      tab.tabIndex = other === name ? 0 : -1;
    }
    this.#bringToSight(this.#tabs.get(name));
    this.panel.setAttribute("aria-labelledby", this.#tabs.get(name).id);
  }

  /** Scroll the row of tabs alone; scrollIntoView could move the page, too. */
  #bringToSight(tab) {
    const row = this.list.getBoundingClientRect();
    const { left, right } = tab.getBoundingClientRect();
    const isWhole = left >= row.left && right <= row.right;
    // Of a name that is wider than the row, the start is seen.
    if (!isWhole) this.list.scrollLeft += Math.min(left - row.left, Math.max(right - row.right, 0));
  }

  #moveTab(event) {
    const names = [...this.#tabs.keys()];
    const at = names.indexOf(this.#current);
    const to = {
      ArrowRight: (at + 1) % names.length,
      ArrowLeft: (at + names.length - 1) % names.length,
      Home: 0,
      End: names.length - 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.open(names[to]);
    this.#tabs.get(names[to]).focus();
  }
}

/** Return the smallest change that makes one text the other, so that the cursor stays. */
function changeTo(before, after) {
  let from = 0;
  while (from < before.length && before[from] === after[from]) from += 1;
  let end = 0;
  const most = Math.min(before.length, after.length) - from;
  while (end < most && before.at(-1 - end) === after.at(-1 - end)) end += 1;
  return { from, to: before.length - end, insert: after.slice(from, after.length - end) };
}
