// The search. The library and the index are loaded when a search box gets the focus for the first time.
"use strict";

(() => {
  const HERE = new URL(".", document.currentScript.src);
  const FIELDS = { title: 7, page: 4, path: 1.5, text: 1 }; // what a match in each counts
  const IN_PANEL = 8; // results
  const SNIPPET = 180; // characters
  const GAP = 8; // pixels
  const SMALL = /^(an?|and|are|can|do|does|for|from|how|i|in|is|it|my|of|on|or|the|to|what|when|with)$/;
  const PART = /[_.]|(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])/; // of a name
  const make = (tag, values, ...children) => {
    const element = Object.assign(document.createElement(tag), values);
    element.append(...children);
    return element;
  };
  let loading = null;

  // --- What is found ---

  const normal = (word) => word.toLowerCase().replace(/^(.{4,}[^su])s$/, "$1"); // without the s of several
  const wordsOf = (text) => text.match(/[\p{L}\p{N}_]+(?:\.[\p{L}\p{N}_]+)*/gu) || [];

  /** Index the entries. In the index, ~3 stands for all words of the synonyms with number 3. */
  function finder({ pages, entries, synonyms, common }) {
    const rules = synonyms.map(([same, near]) => ({
      same: new RegExp(`^(?:${same || "(?!)"})$`, "i"),
      all: new RegExp(`(?<![\\w-])(?:${[same, near].filter(Boolean).join("|")})(?![\\w-])`, "gi"),
    }));
    const mini = new MiniSearch({
      fields: Object.keys(FIELDS),
      extractField: (entry, field) => (field === "title" && common.includes(entry.title) ? "" : entry[field]),
      processTerm: normal,
      tokenize: (text, field) => [
        ...wordsOf(text).flatMap((word) => [word, ...(field === "title" || /[_.]/.test(word) ? word.split(PART) : [])]),
        ...rules.flatMap(({ all }, number) => (text.match(all) || []).map(() => `~${number}`)),
      ],
    });
    const all = entries.map(([number, anchor, title, path, text], id) => {
      const [name, page, kind, weight] = pages[number];
      const place = common.includes(title) ? 0.6 : anchor ? 1 : 1.4; // a page's top says what it is about
      return { id, name, page, kind, weight: weight * place, anchor, title, path, text };
    });
    mini.addAll(all);

    /** Find what stands for each word that is typed: the word, its synonyms. */
    function wordsFor(typed) {
      const wanted = [];
      const near = {};
      rules.forEach((rule, number) => {
        typed = typed.replace(rule.all, (said) => {
          const whole = /\W/.test(said) || rule.same.test(said);
          if (whole) wanted.push([`~${number}`]);
          else near[normal(said)] = `~${number}`;
          return whole ? " " : said;
        });
      });
      const words = wordsOf(typed).map(normal);
      const large = words.filter((word) => !SMALL.test(word));
      const rest = large.length || wanted.length ? large : words;
      return [...wanted, ...rest.map((word) => (near[word] ? [word, near[word]] : [word]))];
    }

    /** Return the most likely word of the index for one that is not in it. */
    function corrected(word) {
      if (/\d/.test(word) || word.length < 4 || mini.search(word, { prefix: true }).length) return word;
      return mini.search(word, { fuzzy: 0.34, maxFuzzy: 2, boost: FIELDS })[0]?.terms[0] ?? word;
    }

    return function find(typed) {
      const known = wordsOf(rules.flatMap(({ all }) => typed.match(all) || []).join(" ")); // by a synonym
      const mend = (text, word) => (known.includes(word) ? text : text.replace(word, corrected));
      const wanted = wordsFor(wordsOf(typed).reduce(mend, typed));
      const best = new Map(); // the best section of each page
      const found = mini.search(wanted.flat().join(" "), {
        tokenize: (text) => text.split(" "),
        boost: FIELDS,
        boostTerm: (word) => (wanted.some(([first]) => first === word) ? 1 : 0.5),
        boostDocument: (id) => all[id].weight,
        prefix: (word, number, words) => word[0] !== "~" && (number === words.length - 1 || word.length > 3),
      });
      for (const { id, score, terms, queryTerms } of found) {
        const share = wanted.filter((words) => words.some((word) => queryTerms.includes(word))).length / wanted.length;
        const total = score * share ** 2;
        if (!(best.get(all[id].name)?.total >= total)) best.set(all[id].name, { ...all[id], total, terms });
      }
      const sorted = [...best.values()].sort((one, other) => other.total - one.total);
      return sorted.filter(({ total }) => total > sorted[0].total / 20).map((entry) => link(entry, rules, common));
    };
  }

  function load() {
    const script = (name) =>
      new Promise((onload, onerror) => document.head.append(make("script", { src: new URL(name, HERE), onload, onerror })));
    loading ??= Promise.all(["minisearch.js", "search-index.js"].map(script)).then(() => finder(window.SEARCH_INDEX));
    loading.catch(() => (loading = null)); // the next focus tries again
    return loading;
  }

  // --- How it is shown ---

  function marked(className, text, pattern) {
    const pieces = text.split(pattern); // each second one is what the pattern matches
    return make("span", { className }, ...pieces.map((piece, number) => (number % 2 ? make("mark", {}, piece) : piece)));
  }

  function link({ name, page, kind, anchor, title, path, text, terms }, rules, common) {
    const plain = (word) => `(?<!\\w)${word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}s?(?!\\w)`;
    const words = terms.map((word) => (word[0] === "~" ? rules[word.slice(1)].all.source : plain(word)));
    const pattern = new RegExp(`(${words.join("|")})`, "i");
    const heading = common.includes(title) ? page : title;
    const above = [heading !== page && page, path, heading !== title && title].filter(Boolean).join(" › ");
    const at = text.search(pattern);
    const from = at < 60 ? 0 : text.lastIndexOf(" ", at - 40) + 1;
    const end = from + SNIPPET < text.length ? text.lastIndexOf(" ", from + SNIPPET) : text.length;
    const part = `${from ? "… " : ""}${text.slice(from, end)}${end < text.length ? " …" : ""}`;
    return make(
      "a",
      { href: new URL(`../${name}.html${anchor && `#${anchor}`}`, HERE) },
      make("span", { className: "search-kind" }, kind),
      marked("search-title", heading, pattern),
      make("span", { className: "search-path" }, above),
      marked("search-text", part, pattern),
    );
  }

  /** Search as one types. */
  function connect(input, status, show) {
    async function search() {
      const typed = input.value.trim();
      if (typed && !loading) status.textContent = "The search is being loaded.";
      try {
        const find = await load();
        if (typed !== input.value.trim()) return; // more was typed meanwhile
        const found = typed ? find(typed) : [];
        status.textContent = `${found.length || "No"} page${found.length === 1 ? "" : "s"} found`;
        show(found, typed);
      } catch {
        status.textContent = "The search could not be loaded.";
      }
    }
    input.addEventListener("focus", search);
    input.addEventListener("input", search);
  }

  function connectPanel(input) {
    const list = make("div", { id: "search-list", role: "listbox", ariaLabel: "Pages found" });
    const status = make("p", { className: "search-status", role: "status" });
    const panel = make("div", { className: "search-panel", popover: "manual", hidden: true }, list, status);
    let chosen = -1;

    function choose(number) {
      chosen = number;
      [...list.children].forEach((option, other) => (option.ariaSelected = String(other === chosen)));
      list.children[chosen]?.scrollIntoView({ block: "nearest" });
      input.setAttribute("aria-activedescendant", list.children[chosen]?.id || "");
    }

    function open(opened) {
      panel.hidden = !opened;
      panel.togglePopover?.(opened); // above all else, whatever the sidebar cuts off
      const { left, bottom } = input.getBoundingClientRect();
      panel.style.left = `${Math.max(Math.min(left + GAP, innerWidth - panel.offsetWidth - GAP), GAP)}px`;
      panel.style.top = `${bottom}px`;
      list.hidden = !list.children.length;
      input.ariaExpanded = String(opened && !list.hidden);
    }

    input.form.append(panel);
    Object.assign(input, { role: "combobox", ariaAutoComplete: "list", ariaExpanded: "false", ariaKeyShortcuts: "/ Control+K" });
    input.setAttribute("aria-controls", list.id);
    connect(input, status, (found, typed) => {
      list.replaceChildren(...found.slice(0, IN_PANEL));
      [...list.children].forEach((option, number) => Object.assign(option, { id: `search-${number}`, role: "option", tabIndex: -1 }));
      if (found.length > IN_PANEL) status.textContent += "; Enter shows all";
      choose(-1);
      open(Boolean(typed) && document.activeElement === input);
    });
    input.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      const places = panel.hidden ? 0 : list.children.length + 1; // the last one is the box itself
      if (step && places > 1) choose(((chosen + step + 1 + places) % places) - 1);
      else if (event.key === "Enter" && places && chosen >= 0) list.children[chosen].click();
      else if (event.key === "Escape" && places) open(false);
      else return;
      event.preventDefault();
    });
    input.form.addEventListener("focusout", (event) => input.form.contains(event.relatedTarget) || open(false));
    list.addEventListener("click", () => {
      open(false);
      document.getElementById("__navigation").checked = false; // the drawer of a narrow screen
    });
  }

  function connectPage(input) {
    connect(input, document.getElementById("search-status"), (found, typed) => {
      document.getElementById("search-results").replaceChildren(...found.map((entry) => make("li", {}, entry)));
      document.getElementById("search-status").hidden = !typed;
      history.replaceState(null, "", typed ? `?q=${encodeURIComponent(typed)}` : location.pathname);
    });
    document.getElementById("search-needs-script").remove();
    input.form.addEventListener("submit", (event) => event.preventDefault());
    input.value = new URLSearchParams(location.search).get("q") || "";
    input.focus();
  }

  const input = document.querySelector("#search-input, .sidebar-search");
  if (input.id) connectPage(input);
  else connectPanel(input);
  document.addEventListener("keydown", (event) => {
    const command = event.ctrlKey || event.metaKey;
    const elsewhere = event.target.closest("input, select, textarea, [contenteditable]");
    if (command ? event.key !== "k" : event.key !== "/" || elsewhere) return;
    event.preventDefault();
    if (input.getBoundingClientRect().right <= 0) document.getElementById("__navigation").checked = true;
    input.select();
    input.focus();
  });
})();
