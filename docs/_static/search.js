// The search. The library and the index are loaded when a search box gets the focus for the first time.
"use strict";

(() => {
  const HERE = new URL(".", document.currentScript.src);
  const FIELDS = { title: 7, page: 4, path: 1.5, text: 1 }; // what a match in each counts
  const IN_PANEL = 8;
  const SNIPPET = 180; // characters
  const SMALL = new Set("a an and are can do does for from how i in is it my of on or the to what when with".split(" "));
  const PARTS = { title: /[_.]|(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])/, other: /[_.]/ };
  let engine = null;

  // --- What is found ---

  const normal = (word) => word.toLowerCase().replace(/^(.{4,}[^su])s$/, "$1"); // without the s of several
  const wordsOf = (text) => text.match(/[\p{L}\p{N}_]+(?:\.[\p{L}\p{N}_]+)*/gu) || [];
  const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

  function makeEngine({ pages, entries, synonyms, common }) {
    const whole = (words) => new RegExp(`(?<![\\w-])(?:${words})(?![\\w-])`, "gi");
    const rules = synonyms.map(([same, near]) => ({
      same: same && new RegExp(`^(?:${same})$`, "i"),
      said: whole([same, near].filter(Boolean).join("|")),
    }));
    const documents = entries.map(([page, anchor, title, path, text], id) => ({ id, page, anchor, title, path, text }));
    const mini = new MiniSearch({
      fields: Object.keys(FIELDS),
      extractField: (entry, field) => {
        if (field === "page") return pages[entry.page][1];
        return field === "title" && common.includes(entry.title) ? "" : entry[field];
      },
      processTerm: normal,
      tokenize(text, field) {
        const parts = PARTS[field] || PARTS.other;
        const words = wordsOf(text).flatMap((word) => (parts.test(word) ? [word, ...word.split(parts)] : word));
        // A mark such as ~3 stands for all synonyms of a rule.
        rules.forEach(({ said }, number) => words.push(...(text.match(said) || []).map(() => `~${number}`)));
        return words;
      },
    });
    mini.addAll(documents);

    return function find(typed) {
      const wanted = []; // for each word, what may stand for it, the best first
      const marks = {};
      const rest = rules.reduce(
        (text, { same, said }, number) =>
          text.replace(said, (words) => {
            const whole = !/^\w+$/.test(words) || (same && same.test(words));
            if (whole) wanted.push([`~${number}`]);
            else marks[normal(words)] = `~${number}`;
            return whole ? " " : words;
          }),
        typed,
      );
      const words = wordsOf(rest).map(normal);
      const large = words.filter((word) => !SMALL.has(word));
      for (const word of large.length || wanted.length ? large : words) wanted.push(marks[word] ? [word, marks[word]] : [word]);
      const unknown = new Set(wanted.flat().filter((word) => !/\d/.test(word) && !mini.search(word, { prefix: true }).length));
      const best = new Map(); // of each page
      const options = {
        tokenize: (text) => text.split(" "),
        boost: FIELDS,
        prefix: (word, number, all) => word[0] !== "~" && (number === all.length - 1 || word.length > 3),
        fuzzy: (word) => (unknown.has(word) && word.length > 3 ? 0.34 : false),
        maxFuzzy: 2,
        boostTerm: (word) => (wanted.some(([first]) => first === word) ? 1 : 0.5),
        boostDocument: (id) => pages[documents[id].page][3],
      };
      for (const { id, score, terms, queryTerms } of mini.search(wanted.flat().join(" "), options)) {
        const entry = documents[id];
        const [name, title, kind] = pages[entry.page];
        const share = wanted.filter((words) => words.some((word) => queryTerms.includes(word))).length / wanted.length;
        const found = { ...entry, name, kind, score: score * share ** 2, terms };
        found.path = entry.anchor ? [title, entry.path].filter(Boolean).join(" › ") : "";
        if (!(best.get(name)?.score >= found.score)) best.set(name, found);
      }
      const found = [...best.values()].sort((one, other) => other.score - one.score);
      return found.map((entry) => ({ ...entry, shown: shownBy(entry.terms, rules) }));
    };
  }

  /** Make the pattern of the words to mark in a result. */
  function shownBy(terms, rules) {
    const words = terms.map((term) => (term[0] === "~" ? rules[term.slice(1)].said.source : `(?<![\\w])${escaped(term)}s?(?!\\w)`));
    return new RegExp(words.join("|"), "gi");
  }

  function load() {
    const script = (name) =>
      new Promise((done, fail) => {
        const element = Object.assign(document.createElement("script"), { src: new URL(name, HERE), onload: done, onerror: fail });
        document.head.append(element);
      });
    engine ??= Promise.all([script("minisearch.js"), script("search-index.js")]).then(() => makeEngine(window.SEARCH_INDEX));
    engine.catch(() => (engine = null)); // the next focus tries again
    return engine;
  }

  // --- How it is shown ---

  function marked(text, pattern, name) {
    const line = Object.assign(document.createElement("span"), { className: name });
    let end = 0;
    for (const match of text.matchAll(pattern)) {
      line.append(text.slice(end, match.index), Object.assign(document.createElement("mark"), { textContent: match[0] }));
      end = match.index + match[0].length;
    }
    line.append(text.slice(end));
    return line;
  }

  function snippet(text, pattern) {
    const at = Math.max(0, text.search(pattern));
    const from = at < 60 ? 0 : text.lastIndexOf(" ", at - 40) + 1;
    const part = text.slice(from, from + SNIPPET);
    const shown = from + SNIPPET < text.length ? `${part.slice(0, part.lastIndexOf(" "))} …` : part;
    return marked(from ? `… ${shown}` : shown, pattern, "search-text");
  }

  function link(found) {
    const anchor = document.createElement("a");
    anchor.href = new URL(`../${found.name}.html${found.anchor && `#${found.anchor}`}`, HERE);
    const kind = Object.assign(document.createElement("span"), { className: "search-kind", textContent: found.kind });
    const path = Object.assign(document.createElement("span"), { className: "search-path", textContent: found.path });
    anchor.append(kind, marked(found.title, found.shown, "search-title"), path, snippet(found.text, found.shown));
    return anchor;
  }

  /** Search as one types, and say how many pages there are. */
  function connect(input, status, show) {
    async function search() {
      const typed = input.value.trim();
      status.textContent = typed && !engine ? "The search is being loaded." : status.textContent;
      try {
        const find = await load();
        if (typed !== input.value.trim()) return;
        const found = typed ? find(typed) : [];
        show(found, typed);
        status.textContent = typed && (found.length ? `${found.length} page${found.length > 1 ? "s" : ""}` : `Nothing is found for “${typed}”.`);
      } catch {
        status.textContent = "The search could not be loaded.";
      }
    }
    input.addEventListener("focus", () => load().catch(() => {}));
    input.addEventListener("input", search);
    return search;
  }

  function connectPanel(input) {
    const form = input.form;
    const panel = Object.assign(document.createElement("div"), { className: "search-panel", hidden: true });
    const list = Object.assign(document.createElement("div"), { id: "search-list" });
    const status = Object.assign(document.createElement("p"), { className: "search-status" });
    list.setAttribute("role", "listbox");
    list.setAttribute("aria-label", "Pages found");
    status.setAttribute("role", "status");
    panel.append(list, status);
    form.append(panel);
    const states = { role: "combobox", "aria-autocomplete": "list", "aria-controls": list.id, "aria-expanded": "false", "aria-keyshortcuts": "/ Control+K" };
    for (const [name, value] of Object.entries(states)) input.setAttribute(name, value);
    let chosen = -1;

    function choose(number) {
      chosen = number;
      [...list.children].forEach((option, other) => option.setAttribute("aria-selected", other === chosen));
      list.children[chosen]?.scrollIntoView({ block: "nearest" });
      if (chosen < 0) input.removeAttribute("aria-activedescendant");
      else input.setAttribute("aria-activedescendant", list.children[chosen].id);
    }

    function open(shown) {
      panel.hidden = !shown;
      list.hidden = !list.children.length;
      input.setAttribute("aria-expanded", String(shown && !list.hidden));
    }

    const search = connect(input, status, (found, typed) => {
      list.replaceChildren(...found.slice(0, IN_PANEL).map(link));
      [...list.children].forEach((option, number) => Object.assign(option, { id: `search-option-${number}`, role: "option", tabIndex: -1 }));
      choose(-1);
      open(Boolean(typed) && form.contains(document.activeElement));
    });
    input.addEventListener("focus", () => input.value.trim() && search());
    input.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      const options = panel.hidden ? 0 : list.children.length;
      if (step && options) choose(((chosen + step + 1 + options + 1) % (options + 1)) - 1);
      else if (event.key === "Enter" && options && chosen >= 0) list.children[chosen].click();
      else if (event.key === "Escape" && !panel.hidden) open(false);
      else if (event.key === "Escape") input.blur();
      else return;
      event.preventDefault();
    });
    form.addEventListener("focusout", (event) => form.contains(event.relatedTarget) || open(false));
    list.addEventListener("click", () => {
      open(false);
      document.getElementById("__navigation").checked = false; // the drawer of a narrow screen
    });
  }

  function connectPage(input) {
    const search = connect(input, document.getElementById("search-page-status"), (found, typed) => {
      const items = found.map((entry) => Object.assign(document.createElement("li")));
      items.forEach((item, number) => item.append(link(found[number])));
      document.getElementById("search-results").replaceChildren(...items);
      const address = new URL(location);
      if (typed) address.searchParams.set("q", typed);
      else address.searchParams.delete("q");
      history.replaceState(null, "", address);
    });
    input.form.addEventListener("submit", (event) => event.preventDefault());
    input.value = new URLSearchParams(location.search).get("q") || "";
    input.focus();
    if (input.value) search();
  }

  const input = document.querySelector("#search-page-input, .sidebar-search");
  if (!input) return;
  if (input.matches(".sidebar-search")) connectPanel(input);
  else connectPage(input);
  document.addEventListener("keydown", (event) => {
    const slash = event.key === "/" && !event.target.closest("input, select, textarea, [contenteditable]");
    if (!(slash && !event.ctrlKey && !event.metaKey) && !(event.key === "k" && (event.ctrlKey || event.metaKey))) return;
    event.preventDefault();
    if (input.matches(".sidebar-search") && input.getBoundingClientRect().right <= 0) document.getElementById("__navigation").checked = true;
    input.focus();
    input.select();
  });
})();
