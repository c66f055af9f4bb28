// Makes the bar of each live app of the page. Everything else is loaded when the reader presses a
// button of it. This is a classic script, since a browser refuses modules of a page that was opened
// from a file, and such a page has to say why its app does not run.
"use strict";

(() => {
  const HERE = new URL(".", document.currentScript.src);

  /** Return whether workers can be modules. The address is invalid, so no worker is started. */
  function hasModuleWorkers() {
    let asked = false;
    const options = {
      get type() {
        asked = true;
        return "module";
      },
    };
    try {
      new Worker("https://[", options);
    } catch {
      // The address is refused after the options were read.
    }
    return asked;
  }

  /** Say why an app cannot run here; return an empty string if it can. */
  function obstacle() {
    if (location.protocol === "file:") {
      return (
        "The app cannot run here, because this page was opened from a file. " +
        "It runs if a web server sends the page."
      );
    }
    const missing = [
      ["WebAssembly", "WebAssembly" in window],
      ["module workers", "Worker" in window && hasModuleWorkers()],
      ["DecompressionStream", "DecompressionStream" in window],
    ].find(([, present]) => !present);
    return missing ? `The app cannot run in this browser, because it has no ${missing[0]}.` : "";
  }

  function make(tag, values) {
    return Object.assign(document.createElement(tag), values);
  }

  function makeButton(name, text) {
    return make("button", {
      type: "button",
      className: `live-button live-${name}`,
      textContent: text,
    });
  }

  /** Load the style of the pane, and wait for it, so that nothing is shown without it. */
  function loadStyle() {
    return new Promise((resolve, reject) => {
      const href = new URL("pane.css", HERE).href;
      if (document.querySelector(`link[href="${href}"]`)) return resolve();
      const link = make("link", { rel: "stylesheet", href, onload: resolve });
      link.onerror = () => {
        link.remove(); // the next press must not take it for the style
        reject(new Error(`${href} could not be loaded.`));
      };
      document.head.append(link);
    });
  }

  function prepare(box) {
    const status = make("p", { className: "live-status", role: "status" });
    status.setAttribute("role", "status");
    const bar = make("div", { className: "live-bar" });
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", "Live app");
    box.append(bar);
    const reason = obstacle();
    if (reason) {
      status.textContent = reason;
      return bar.append(status);
    }
    const run = makeButton("run", "Run");
    run.classList.add("live-primary");
    const edit = makeButton("edit", "Edit");
    bar.append(run, edit);
    if (box.dataset.step) {
      const step = makeButton("step", "Do this step here");
      step.addEventListener("click", () => press("doStep")); // step.mjs has it
      bar.append(step);
    }
    bar.append(status);
    const size = box.dataset.size ? ` (${box.dataset.size})` : "";
    const news = `Run loads it once${size} and starts the app in this page.`;
    status.textContent = `Python is not loaded yet. ${news}`;

    let opening = null;
    /** Load the pane, once, and do with it what was pressed. */
    async function press(what) {
      opening ??= Promise.all([import(new URL("pane.mjs", HERE)), loadStyle()]).then(([{ open }]) =>
        open(box),
      );
      try {
        await opening;
      } catch (error) {
        opening = null; // the next press tries again
        status.textContent =
          "The tools could not be loaded. Check your connection, and press the button again.";
        console.warn(error);
        return;
      }
      (await opening)[what]();
    }
    run.addEventListener("click", () => press("run"));
    edit.addEventListener("click", () => press("edit"));
  }

  function start() {
    for (const box of document.querySelectorAll(".live-app")) prepare(box);
  }

  if (document.readyState === "loading") addEventListener("DOMContentLoaded", start);
  else start();
})();
