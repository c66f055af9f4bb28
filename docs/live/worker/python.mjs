// Loads Python: Pyodide, the parts of the library that each app needs, MicroPie and the driver.
// Packages come when an app wants them, other parts of the library when it imports from them.

const SITE_PACKAGES = "/lib/python3.14/site-packages";
const LIVE = "/lib/live";
// sitecustomize.py unpacks this file.
const USUAL = "/lib/python314-usual.zip.xz";
// Pyodide fetches its library from here. No such file is there; see #answerFetch.
const LIBRARY = new URL("unpacked/stdlib.zip", import.meta.url).href;
// Apps write what they like; the interpreter itself leaves no .pyc files in the app's folder.
const ENVIRONMENT = { HOME: "/home/pyodide", PYTHONDONTWRITEBYTECODE: "1" };

// The browser cannot unpack .xz files, Python can.
const UNPACK = `
import importlib, io, lzma, zipfile

def unpack(data, folder):
    zipfile.ZipFile(io.BytesIO(lzma.decompress(data.to_bytes()))).extractall(folder)
    importlib.invalidate_caches()

unpack`;

/** Counts what a start loads, in bytes as they come over the line. */
class Download {
  #fail; // rejects `failed`
  #sizes; // {file: [bytes over the line, bytes of the file]}
  #loaded = 0;
  #total = 0;
  #lastReport = 0;
  #report;

  constructor(sizes, files, report) {
    this.#sizes = sizes;
    this.#report = report;
    /** Rejected when a file does not come, or does not come whole. */
    this.failed = new Promise((_, reject) => (this.#fail = reject));
    for (const file of files) this.#total += sizes[file][0];
  }

  /** Hand on a response, and count its body while somebody reads it. */
  watch(file, response) {
    if (!response.ok) this.#fail(notLoaded(file, response.status));
    if (!(file in this.#sizes) || !response.body) return;
    const [onTheWay, whole] = this.#sizes[file];
    const reader = response.clone().body.getReader();
    const next = async () => {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        this.#add((value.length * onTheWay) / whole);
      }
    };
    next().catch((error) => this.lost(file, error));
  }

  /** The host did not answer, or not to the end. */
  lost(file, error) {
    this.#fail(notLoaded(file, error.message));
  }

  /** Tells the page ten times a second at most. */
  #add(bytes) {
    this.#loaded = Math.min(this.#loaded + bytes, this.#total);
    const now = performance.now();
    if (now - this.#lastReport < 100) return;
    this.#lastReport = now;
    this.#report(Math.round(this.#loaded), this.#total);
  }
}

function notLoaded(file, reason) {
  return new Error(`${file} could not be loaded (${reason}).`);
}

export class Python {
  #base; // the URL of _static/live/
  #runtime; // runtime.json
  #say;
  #output;
  #installed = new Set(); // files of packages
  #hasChecking = false;
  #unpack; // Python's function for packed files

  /**
   * @param {string} base
   * @param {(kind: string, rest: object) => void} say sends a message to the page
   * @param {Output} output takes what Python prints
   */
  constructor(base, say, output) {
    this.#base = base;
    this.#say = say;
    this.#output = output;
  }

  /** Load and start Python with the packages; return how long its parts took. */
  async start(host, packages) {
    const begin = performance.now();
    this.#runtime = await (await this.#fetch("runtime.json")).json();
    const { first, sizes } = this.#runtime;
    const files = this.#filesOf(packages);
    const report = (loaded, total) => this.#say("progress", { loaded, total });
    const download = new Download(sizes, [...first, ...files], report);
    this.#watchFetches(download);
    // Pyodide waits forever for a file that it fetches itself and that does not come.
    return Promise.race([this.#startWith(host, files, begin), download.failed]);
  }

  async #startWith(host, files, begin) {
    const times = {};
    const mark = (name) => (times[name] = Math.round(performance.now() - begin));
    const { pyodide: folder, library: [begun, usual] } = this.#runtime;
    const library = this.#unpacked(begun);
    const rest = this.#bytes(usual);
    const live = this.#bytes("micropie.zip.xz");
    const wheels = Promise.all(files.map((file) => this.#bytes(file)));
    const { loadPyodide } = await import(`${this.#base}${folder}pyodide.mjs`);
    mark("script");
    this.#answerFetch(LIBRARY, library);
    this.pyodide = await loadPyodide({
      indexURL: this.#base + folder,
      stdLibURL: LIBRARY,
      env: ENVIRONMENT,
      fsInit: async (files) => files.writeFile(USUAL, await rest),
      stdout: (line) => this.#output.write("out", line),
      stderr: (line) => this.#output.write("err", line),
    });
    this.#watchCrashes();
    mark("python");
    this.#unpack = this.pyodide.runPython(UNPACK);
    for (const [index, data] of (await wheels).entries()) this.#install(files[index], data);
    mark("packages");
    this.#unpack(await live, LIVE);
    const fetchNow = (name) => this.fetchNow(name);
    this.pyodide.registerJsModule("_live_host", { ...host, fetch_now: fetchNow });
    this.pyodide.runPython(`import sys; sys.path.append("${LIVE}"); import micropie`);
    mark("micropie");
    this.driver = this.pyodide.pyimport("driver");
    this.driver.set_up(this.#runtime.later);
    mark("driver");
    return times;
  }

  /** Load the packages that an app needs and no app before it did. */
  async install(packages) {
    const missing = this.#filesOf(packages).filter((file) => !this.#installed.has(file));
    const loaded = await Promise.all(missing.map((file) => this.#bytes(file)));
    for (const [index, data] of loaded.entries()) this.#install(missing[index], data);
  }

  /** Load what checks the steps of the tutorial. */
  async installChecking() {
    if (this.#hasChecking) return;
    this.#unpack(await this.#bytes("checking.zip.xz"), LIVE);
    this.#hasChecking = true;
  }

  /** Fetch a file while Python waits: an import cannot await. */
  fetchNow(name) {
    const request = new XMLHttpRequest();
    request.open("GET", this.#base + name, false);
    request.responseType = "arraybuffer";
    request.send();
    if (request.status !== 200) throw new Error(`${name} could not be loaded.`);
    return new Uint8Array(request.response);
  }

  #filesOf(packages) {
    const files = new Set();
    for (const name of packages) {
      const needed = this.#runtime.packages[name];
      if (!needed) throw new Error(`This page has no package ${name}.`);
      for (const file of needed) files.add(file);
    }
    return [...files];
  }

  #install(file, data) {
    this.#unpack(data, SITE_PACKAGES);
    this.#installed.add(file);
  }

  async #fetch(name) {
    const response = await fetch(this.#base + name);
    if (!response.ok) throw notLoaded(name, response.status);
    return response;
  }

  async #bytes(name) {
    return new Uint8Array(await (await this.#fetch(name)).arrayBuffer());
  }

  /** Fetch a file that lies there compressed, whatever the host does. */
  async #unpacked(name) {
    const { body } = await this.#fetch(name);
    return new Response(body.pipeThrough(new DecompressionStream("gzip")));
  }

  /** Count what is fetched from now on. Pyodide fetches its largest file by itself. */
  #watchFetches(download) {
    const { fetch } = self;
    self.fetch = async (request, ...rest) => {
      const url = String(request?.url ?? request);
      if (!url.startsWith(this.#base)) return fetch(request, ...rest);
      const file = url.slice(this.#base.length);
      try {
        const response = await fetch(request, ...rest);
        download.watch(file, response);
        return response;
      } catch (error) {
        download.lost(file, error);
        throw error;
      }
    };
  }

  /**
   * An app can end the interpreter itself, by a recursion without end or by `os._exit`. Pyodide
   * then throws an error with a mark. Its own hook, `on_fatal`, is not called if there is no room
   * left on the stack for the traceback that it prints before.
   */
  #watchCrashes() {
    const api = this.pyodide._api;
    const { fatal_error: end } = api;
    let isTold = false;
    api.fatal_error = (error) => {
      try {
        end(error);
      } catch (fatal) {
        if (fatal?.pyodide_fatal_error && !isTold) this.#say("crashed", { s: String(fatal) });
        isTold ||= Boolean(fatal?.pyodide_fatal_error);
        throw fatal;
      }
    };
  }

  /** Give Pyodide what has been unpacked here, when it asks for this URL. */
  #answerFetch(url, response) {
    const { fetch } = self;
    self.fetch = (request, ...rest) =>
      String(request?.url ?? request) === url ? response : fetch(request, ...rest);
  }
}
