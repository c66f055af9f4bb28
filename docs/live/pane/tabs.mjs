// Tabs, as the ARIA Authoring Practices describe them. Arrows, Home and End move among the tabs,
// and the panel that belongs to the tab is shown at once.
import { make, newId } from "./elements.mjs";

export class Tabs {
  #tabs = new Map(); // key -> {tab, panel, onshow}
  #list;

  /**
   * @param {string} label The name of the list of tabs for screen readers.
   * @param {string} className The class of the list.
   */
  constructor(label, className) {
    this.#list = make("div", {
      className,
      attributes: { role: "tablist", "aria-label": label },
    });
    this.#list.addEventListener("keydown", (event) => this.#move(event));
    this.panels = make("div", { className: "live-panels" });
    this.current = null;
  }

  get list() {
    return this.#list;
  }

  /**
   * Add a tab with its panel.
   *
   * @param {string} key The name by which `show` knows it.
   * @param {string} label What the tab says.
   * @param {HTMLElement} content What the panel holds.
   * @param {{before?: string, className?: string, onshow?: () => void}} options The key of the tab
   *     that comes after it, a class of the tab, and a function that is called when it is shown.
   */
  add(key, label, content, { before = null, className = "", onshow = null } = {}) {
    const panel = make("div", {
      id: newId(),
      className: "live-panel",
      hidden: true,
      attributes: { role: "tabpanel" },
    });
    const tab = make("button", {
      id: newId(),
      type: "button",
      className: `live-tab ${className}`.trim(),
      textContent: label,
      tabIndex: -1,
      onclick: () => this.show(key),
      attributes: { role: "tab", "aria-selected": "false", "aria-controls": panel.id },
    });
    panel.setAttribute("aria-labelledby", tab.id);
    panel.append(content);
    this.#tabs.set(key, { tab, panel, onshow });
    this.#list.insertBefore(tab, this.#tabs.get(before)?.tab ?? null);
    this.panels.append(panel);
    return tab;
  }

  has(key) {
    return this.#tabs.has(key);
  }

  /** Write another text on a tab. */
  label(key, text) {
    this.#tabs.get(key).tab.textContent = text;
  }

  show(key) {
    this.current = key;
    for (const [name, { tab, panel }] of this.#tabs) {
      tab.setAttribute("aria-selected", String(name === key));
      tab.tabIndex = name === key ? 0 : -1;
      panel.hidden = name !== key;
    }
    this.#tabs.get(key).onshow?.();
  }

  #move(event) {
    const tabs = [...this.#list.querySelectorAll('[role="tab"]')];
    const at = tabs.indexOf(document.activeElement);
    const to = {
      ArrowRight: (at + 1) % tabs.length,
      ArrowLeft: (at + tabs.length - 1) % tabs.length,
      Home: 0,
      End: tabs.length - 1,
    }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    tabs[to].focus();
    tabs[to].click();
  }
}
