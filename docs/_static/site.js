// Tips for the terms of the glossary, and code blocks that the keyboard reaches only where they scroll.
"use strict";

(() => {
  const GAP = 6;
  const PLACEHOLDER = "https://micropie.invalid/";
  let tip = null;
  let owner = null;
  let number = 0;

  function hide() {
    if (tip) {
      owner.removeAttribute("aria-describedby");
      tip.remove();
      tip = owner = null;
    }
  }

  function show(link) {
    if (owner === link) return;
    hide();
    owner = link;
    tip = document.createElement("div");
    tip.className = "term-tip";
    tip.id = `term-tip-${++number}`;
    tip.setAttribute("role", "tooltip");
    tip.textContent = link.dataset.tip;
    tip.addEventListener("mouseleave", hide);
    document.body.append(tip);
    link.setAttribute("aria-describedby", tip.id);
    const at = link.getClientRects()[0] || link.getBoundingClientRect();
    const left = Math.min(at.left, document.documentElement.clientWidth - tip.offsetWidth - GAP);
    const below = at.bottom + GAP + tip.offsetHeight <= window.innerHeight;
    const top = below ? at.bottom + GAP : at.top - GAP - tip.offsetHeight;
    tip.style.left = `${Math.max(GAP, left) + window.scrollX}px`;
    tip.style.top = `${top + window.scrollY}px`;
  }

  function leave() {
    // The pointer may go from the term onto its tip, to read or to copy it.
    setTimeout(() => {
      if (tip && !tip.matches(":hover") && !owner.matches(":hover, :focus")) hide();
    }, 120);
  }

  function prepareTips() {
    for (const link of document.querySelectorAll("a.term-with-tip[title]")) {
      link.dataset.tip = link.title;
      link.removeAttribute("title"); // or the browser shows it once more
      link.addEventListener("mouseenter", () => show(link));
      link.addEventListener("focus", () => show(link));
      link.addEventListener("mouseleave", leave);
      link.addEventListener("blur", hide);
    }
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") hide();
    });
  }

  function setTabStops() {
    for (const box of document.querySelectorAll(".highlight > pre, .table-wrapper")) {
      const scrolls = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight;
      if (scrolls) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  }

  // The pages name a placeholder, so that a copy of the site installs from itself.
  function putAddress() {
    const site = new URL(document.documentElement.dataset.content_root || "./", location.href).href;
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const text = texts.currentNode;
      if (text.data.includes(PLACEHOLDER)) text.data = text.data.replaceAll(PLACEHOLDER, site);
    }
    for (const link of document.querySelectorAll(`a[href^="${PLACEHOLDER}"]`)) {
      link.href = link.href.replace(PLACEHOLDER, site);
    }
  }

  // The link to a file of an example opens the tab that the file is in.
  function openFile() {
    const name = decodeURIComponent(location.hash).replace("#file=", "");
    if (name === decodeURIComponent(location.hash)) return;
    for (const label of document.querySelectorAll(".example-files label")) {
      const folded = [...label.nextElementSibling.querySelectorAll("details")];
      const details = folded.find((one) => one.querySelector("summary").innerText.trim() === name);
      if (label.innerText.trim() === name || details) {
        label.click();
        if (details) details.open = true;
        (details || label).scrollIntoView();
      }
    }
  }

  putAddress();
  openFile();
  window.addEventListener("hashchange", openFile);
  prepareTips();
  setTabStops();
  window.addEventListener("resize", setTabStops);
  document.addEventListener("change", setTabStops); // another tab of a set is open,
  document.addEventListener("toggle", setTabStops, true); // or another file
})();
