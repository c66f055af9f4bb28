// A browser for one visitor: the pane with the app's pages, and its address, back and reload.
import { make, makeButton, makeForm, makeInput } from "./elements.mjs";
import { runtime } from "./runtime.mjs";

// The code in a pane comes from the documentation or from its reader. The service worker serves
// only pages of the same origin, so the sandbox is no boundary. It keeps the app from leading this
// page elsewhere.
const SANDBOX =
  "allow-scripts allow-same-origin allow-forms allow-modals allow-downloads allow-popups";

export class Browser {
  #history = [];
  // What the address field was last given. If it has another value, the reader is typing.
  #given;

  /**
   * @param {{number: number, visitor: string, url: string, height: string}} options The number that
   *     the reader sees, the name of the visitor, the first address and the height of the pane.
   */
  constructor({ number, visitor, url, height }) {
    this.number = number;
    this.visitor = visitor;
    this.root = runtime.root(visitor);
    this.frame = make("iframe", {
      className: "live-frame",
      title: `The app, as visitor ${number} sees it`,
    });
    this.frame.setAttribute("sandbox", SANDBOX);
    this.frame.style.height = height;
    this.frame.addEventListener("load", () => this.#arrived());
    this.address = makeInput("live-address", url);
    this.#given = url;
    this.address.setAttribute("aria-label", `Address, visitor ${number}`);
    this.address.inputMode = "url";
    this.element = make(
      "section",
      {
        className: "live-browser",
        attributes: { "aria-label": `Browser of visitor ${number}` },
      },
      this.#makeBar(),
      this.frame,
    );
    this.frame.src = this.root + url;
    this.#listen();
  }

  #makeBar() {
    this.back = makeButton("back", "Back", () => this.#goBack());
    this.back.disabled = true;
    const reload = makeButton("reload", "Reload", () => this.reload());
    this.tab = make("a", {
      className: "live-tab-link",
      target: "_blank",
      href: this.root + this.address.value,
      textContent: "Open in a tab",
    });
    const go = make("button", { className: "live-button live-go", textContent: "Go" });
    const name = make("span", {
      className: "live-visitor",
      textContent: `Visitor ${this.number}`,
    });
    const form = makeForm("live-address-bar", () => this.#submit(), this.address, go);
    return make("div", { className: "live-browser-bar" }, name, this.back, reload, form, this.tab);
  }

  /** Listen to the first script of the app's pages: it knows of addresses without a load. */
  #listen() {
    this.hear = ({ data, origin, source }) => {
      if (
        origin !== location.origin ||
        source !== this.frame.contentWindow ||
        data?.t !== "live-at"
      )
        return;
      this.#note(data.path);
      this.frame.title = `${data.title || "The app"} (visitor ${this.number})`;
    };
    window.addEventListener("message", this.hear);
  }

  /** Note where the pane is; a response without a script, such as JSON, says nothing itself. */
  #arrived() {
    const place = this.#place();
    if (!place) return;
    const path = place.pathname + place.search + place.hash;
    if (path.startsWith(`${this.root}/`)) this.#note(path.slice(this.root.length));
    else this.go(path); // a script has set `location` to a path of the app
  }

  /** Return where the pane is on this site, or null if a link has led it to another one. */
  #place() {
    try {
      const { host, pathname, search, hash } = this.frame.contentWindow.location;
      return host === location.host ? { pathname, search, hash } : null; // about:blank has no host
    } catch {
      return null;
    }
  }

  #note(path) {
    // A page that arrives late takes no text from the reader who types the next address.
    if (document.activeElement !== this.address || this.address.value === this.#given)
      this.address.value = this.#given = path;
    this.tab.href = this.root + path;
    if (this.#history.at(-1) !== path) this.#history.push(path);
    this.back.disabled = this.#history.length < 2;
  }

  #submit() {
    this.#given = this.address.value;
    this.go(this.#given);
  }

  /** Go to an address, which may be written as the page writes it: with a host. */
  go(address) {
    const path = address
      .trim()
      .replace(/^https?:\/\/[^/?#]*/, "")
      .replace(/^(?!\/)/, "/");
    this.frame.contentWindow.location.replace(this.root + path);
  }

  // The browser's own history is that of the whole page: going back in it can leave the page.
  #goBack() {
    this.#history.pop();
    const path = this.#history.pop();
    if (path !== undefined) this.go(path);
  }

  reload() {
    if (this.#place()) this.frame.contentWindow.location.reload();
    else this.go(this.address.value);
  }

  close() {
    window.removeEventListener("message", this.hear);
    this.element.remove();
  }
}
