// Builds what the live apps of the documentation load: `node build.mjs OUT --packages WHEELS`.
//
// OUT gets two folders, for the site to copy:
//   _static/live/  the page's part, the worker, Python with its library, the packages and MicroPie
//   _live/         the service worker and the first script of each page of an app
//
// The apps themselves are not its business: the Sphinx extension writes them.
import fs from "node:fs";
import path from "node:path";
import zlib from "node:zlib";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

import * as esbuild from "esbuild";
import { loadPyodide } from "pyodide";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const MICROPIE = path.join(HERE, "../../micropie.py");
const PYODIDE = path.dirname(createRequire(import.meta.url).resolve("pyodide/package.json"));
const PYODIDE_FILES = ["pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm"];
const SITE_PACKAGES = "/lib/python3.14/site-packages";
// Packages whose assert statements say something, and stay.
const KEEP_ASSERTS = ["iniconfig", "pluggy", "pytest"];
// Packages that import what is in the second part of Python's library.
const NEED_MORE = ["markdown-it-py", "pydantic", "pygments", "pyjwt", "pytest", "segno"];
const ENVIRONMENT = { HOME: "/home/pyodide", PYTHONDONTWRITEBYTECODE: "1" };

/** Read the command line. */
function options() {
  const [out, flag, wheels] = process.argv.slice(2);
  if (!out || flag !== "--packages" || !wheels) {
    throw new Error("usage: node build.mjs OUT --packages FOLDER_OF_WHEELS");
  }
  return { live: path.join(out, "_static/live"), panes: path.join(out, "_live"), wheels };
}

// --- Pyodide -------------------------------------------------------------------------------------

/** Copy what the browser loads. The lock names no packages: nothing comes from another host. */
function copyPyodide(folder) {
  fs.mkdirSync(folder, { recursive: true });
  for (const name of PYODIDE_FILES) {
    fs.copyFileSync(path.join(PYODIDE, name), path.join(folder, name));
  }
  const lock = JSON.parse(fs.readFileSync(path.join(PYODIDE, "pyodide-lock.json"), "utf-8"));
  fs.writeFileSync(
    path.join(folder, "pyodide-lock.json"),
    JSON.stringify({ ...lock, packages: {} }),
  );
}

/** Start a fresh Python with compile.py in it, and the library's sources. */
async function python() {
  const pyodide = await loadPyodide({ env: ENVIRONMENT });
  const library = fs.readFileSync(path.join(PYODIDE, "python_stdlib.zip"));
  const tools = fs.readFileSync(path.join(HERE, "compile.py"), "utf-8");
  pyodide.FS.mkdirTree("/tools");
  pyodide.FS.writeFile("/tools/live_compile.py", tools);
  pyodide.FS.writeFile("/library.zip", library);
  pyodide.runPython("import sys; sys.path.append('/tools')");
  return { pyodide, tools: pyodide.pyimport("live_compile") };
}

/** Copy a file of the machine into Python's own file system. */
function lend({ FS }, file, name = `/${path.basename(file)}`) {
  FS.writeFile(name, fs.readFileSync(file));
  return name;
}

/** The wheels of a folder: `{name: path}`. */
function wheelsIn(folder) {
  const wheels = fs.readdirSync(folder).filter((file) => file.endsWith(".whl"));
  return Object.fromEntries(
    wheels.map((file) => [
      file.split("-")[0].toLowerCase().replace(/[-_.]+/g, "-"),
      path.join(folder, file),
    ]),
  );
}

/** Which modules of Python's library does an app need that imports all that apps import? */
async function tracedModules(wheels) {
  const { pyodide, tools } = await python();
  for (const name of ["jinja2", "markupsafe", "multipart"]) {
    const data = new Uint8Array(fs.readFileSync(wheels[name]));
    pyodide.unpackArchive(data, "wheel", { extractDir: SITE_PACKAGES });
  }
  lend(pyodide, MICROPIE, "/tools/micropie.py");
  return tools.used_modules(tools.USUAL).toJs();
}

/** Compress a file that Python has made, and write it. */
function writePacked(pyodide, name, target) {
  fs.writeFileSync(target, zlib.gzipSync(pyodide.FS.readFile(name), { level: 9 }));
}

/** Write both parts of Python's library; return the members of the second one. */
async function writeLibrary(live, wheels) {
  const used = await tracedModules(wheels);
  const { pyodide, tools } = await python();
  const [first, second] = tools.split_library("/library.zip", pyodide.toPy(used)).toJs();
  for (const [name, members] of Object.entries({ stdlib: first, "stdlib-more": second })) {
    tools.pack_library("/library.zip", pyodide.toPy(members), "/part.zip");
    writePacked(pyodide, "/part.zip", path.join(live, `${name}.zip.gz`));
  }
  return second;
}

/** Write each package as packages/NAME.zip.gz; return what each of them needs, itself included. */
async function writePackages(live, wheels) {
  const { pyodide, tools } = await python();
  const needs = {};
  fs.mkdirSync(path.join(live, "packages"), { recursive: true });
  for (const [name, file] of Object.entries(wheels)) {
    const wheel = lend(pyodide, file);
    tools.pack_wheel(wheel, "/package.zip", KEEP_ASSERTS.includes(name) ? 0 : 2);
    writePacked(pyodide, "/package.zip", path.join(live, "packages", `${name}.zip.gz`));
    needs[name] = tools.requirements(wheel).toJs().filter((other) => other in wheels);
  }
  return Object.fromEntries(
    Object.keys(wheels).map((name) => [name, filesOf(name, needs)]),
  );
}

/** The files of a package and of all that it needs, each once, what is needed first. */
function filesOf(name, needs, found = new Set()) {
  for (const other of needs[name]) filesOf(other, needs, found);
  found.add(`packages/${name}.zip.gz`);
  return [...found];
}

/** Write MicroPie and the driver as one file. */
async function writeMicroPie(live) {
  const { pyodide, tools } = await python();
  const worker = path.join(HERE, "worker");
  const sources = { "micropie.py": fs.readFileSync(MICROPIE, "utf-8") };
  for (const name of fs.readdirSync(worker).filter((file) => file.endsWith(".py"))) {
    sources[name] = fs.readFileSync(path.join(worker, name), "utf-8");
  }
  tools.pack_live(pyodide.toPy(sources), "/live.zip");
  fs.writeFileSync(path.join(live, "micropie.zip"), pyodide.FS.readFile("/live.zip"));
}

// --- JavaScript ----------------------------------------------------------------------------------

/** Bundle each module that stands here by itself; some of them belong to other parts. */
async function bundle(live) {
  const entries = ["worker/worker.mjs", "pane/pane.mjs", "pane/editor.mjs", "pane/start.js"];
  const there = entries.filter((entry) => fs.existsSync(path.join(HERE, entry)));
  await esbuild.build({
    entryPoints: there.map((entry) => path.join(HERE, entry)),
    entryNames: "[name]",
    outExtension: { ".js": ".mjs" },
    outdir: live,
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    legalComments: "none",
    logLevel: "warning",
    external: ["./pane.mjs", "./editor.mjs", "./worker.mjs"],
  });
  if (fs.existsSync(path.join(live, "start.mjs"))) {
    fs.renameSync(path.join(live, "start.mjs"), path.join(live, "start.js"));
  }
}

/** Copy the files that are served as they are. */
function copyRest(live, panes) {
  copyFolder(path.join(HERE, "service"), panes, /\.js$/);
  copyFolder(path.join(HERE, "pane"), live, /\.css$/);
  copyFolder(path.join(HERE, "checks"), path.join(live, "checks"), /\.py$/);
}

/** Copy the files of a folder whose names fit; it need not be there. */
function copyFolder(from, to, names) {
  if (!fs.existsSync(from)) return;
  fs.mkdirSync(to, { recursive: true });
  for (const name of fs.readdirSync(from).filter((file) => names.test(file))) {
    fs.copyFileSync(path.join(from, name), path.join(to, name));
  }
}

// --- All of it -----------------------------------------------------------------------------------

/** A file's bytes on the way, if the host compresses what hosts compress, and its own bytes. */
function sizesOf(file) {
  const data = fs.readFileSync(file);
  const onTheWay = /\.(zip|gz)$/.test(file) ? data : zlib.gzipSync(data);
  return [onTheWay.length, data.length];
}

/** What runtime.json says: where things lie, and how large they are. */
function describe(live, pyodide, packages, more) {
  const first = ["worker.mjs", "micropie.zip", "stdlib.zip.gz"];
  first.push(...[...PYODIDE_FILES, "pyodide-lock.json"].map((name) => pyodide + name));
  const pane = ["pane.mjs", "pane.css"].filter((name) => fs.existsSync(path.join(live, name)));
  const files = [...first, ...pane, ...Object.values(packages).flat(), more.file];
  const sizes = Object.fromEntries(files.map((name) => [name, sizesOf(path.join(live, name))]));
  const size = [...first, ...pane].reduce((sum, name) => sum + sizes[name][0], 0);
  return { pyodide, stdlib: "stdlib.zip.gz", first, size, sizes, packages, more };
}

async function main() {
  const { live, panes, wheels: folder } = options();
  const wheels = wheelsIn(folder);
  const { version } = JSON.parse(fs.readFileSync(path.join(PYODIDE, "package.json"), "utf-8"));
  const pyodide = `pyodide-${version}/`;
  copyPyodide(path.join(live, pyodide));
  copyRest(live, panes);
  await bundle(live);
  await writeMicroPie(live);
  const members = await writeLibrary(live, wheels);
  const packages = await writePackages(live, wheels);
  const more = {
    file: "stdlib-more.zip.gz",
    modules: [...new Set(members.map((member) => member.split(/[/.]/)[0]))],
    packages: NEED_MORE.filter((name) => name in packages),
  };
  const runtime = describe(live, pyodide, packages, more);
  fs.writeFileSync(path.join(live, "runtime.json"), JSON.stringify(runtime));
}

main().then(
  () => process.exit(0), // Pyodide keeps Node running
  (error) => {
    console.error(String(error.stack || error).slice(-3000));
    process.exit(1);
  },
);
