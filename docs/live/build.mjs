// Builds what the live apps of the documentation load: `node build.mjs OUT --library FOLDER`.
//
// OUT gets two folders, for the site to copy:
//   _static/live/  the page's part, the worker, Python with its library, the packages and MicroPie
//   _live/         the service worker and the first script of each page of an app
//
// FOLDER is what library.mjs has made. The apps themselves are written by the Sphinx extension.
import fs from "node:fs";
import path from "node:path";

import * as esbuild from "esbuild";

import { HERE, lend, MICROPIE, PYODIDE, python, runMain } from "./tools.mjs";

const PYODIDE_FILES = ["pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm"];

// --- Python --------------------------------------------------------------------------------------

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

/** Write MicroPie and the driver as one file, and what checks the steps as another. */
async function writeMicroPie(live) {
  const { pyodide, tools } = await python();
  const worker = path.join(HERE, "worker");
  const names = fs.readdirSync(worker).filter((file) => file.endsWith(".py"));
  const files = { "micropie.zip.xz": [MICROPIE], "checking.zip.xz": [] };
  for (const name of names) {
    const target = name.startsWith("checking") ? "checking.zip.xz" : "micropie.zip.xz";
    files[target].push(path.join(worker, name));
  }
  for (const [target, sources] of Object.entries(files)) {
    const texts = sources.map((file) => [path.basename(file), fs.readFileSync(file, "utf-8")]);
    const packed = tools.pack_live(pyodide.toPy(Object.fromEntries(texts)));
    fs.writeFileSync(path.join(live, target), tools.compressed(packed).toJs());
  }
}

// --- JavaScript ----------------------------------------------------------------------------------

/** Bundle the modules that are loaded by their own URLs. */
async function bundle(live) {
  const common = {
    outdir: live,
    bundle: true,
    minify: true,
    target: "es2022",
    legalComments: "none",
    logLevel: "warning",
  };
  const modules = ["worker/worker.mjs", "pane/pane.mjs", "pane/editor.mjs", "pane/step.mjs"];
  await esbuild.build({
    ...common,
    entryPoints: thoseThere(modules),
    entryNames: "[name]",
    outExtension: { ".js": ".mjs" },
    format: "esm",
  });
  // The page loads it as a classic script.
  const start = thoseThere(["pane/start.js"]);
  await esbuild.build({ ...common, entryPoints: start, entryNames: "[name]", format: "iife" });
}

/** The paths of those files that are there: the parts of this folder can be built one by one. */
function thoseThere(names) {
  return names.map((name) => path.join(HERE, name)).filter((file) => fs.existsSync(file));
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

/**
 * A file's bytes on the way, if the host compresses what hosts compress, and its own bytes. Python
 * has the same zlib as most hosts. That of Node compresses less.
 */
function sizesOf(file, { pyodide, tools }) {
  const { size } = fs.statSync(file);
  return [/\.(gz|xz)$/.test(file) ? size : tools.gzipped_size(lend(pyodide, file)), size];
}

/** What runtime.json says: where things lie, and how large they are. */
async function describe(live, pyodide, packages, later) {
  const library = ["stdlib.zip.gz", "stdlib-usual.zip.xz"];
  const first = ["worker.mjs", "micropie.zip.xz", ...library];
  first.push(...[...PYODIDE_FILES, "pyodide-lock.json"].map((name) => pyodide + name));
  const pane = ["pane.mjs", "pane.css"].filter((name) => fs.existsSync(path.join(live, name)));
  const files = [...first, ...pane, ...Object.values(packages).flat(), ...Object.values(later)];
  const started = await python();
  const measured = files.map((name) => [name, sizesOf(path.join(live, name), started)]);
  const sizes = Object.fromEntries(measured);
  const size = [...first, ...pane].reduce((sum, name) => sum + sizes[name][0], 0);
  return { pyodide, library, first, size, sizes, packages, later };
}

runMain(async () => {
  const [out, flag, library] = process.argv.slice(2);
  if (flag !== "--library" || !library) {
    throw new Error("usage: node build.mjs OUT --library FOLDER");
  }
  const live = path.join(out, "_static/live");
  const { version } = JSON.parse(fs.readFileSync(path.join(PYODIDE, "package.json"), "utf-8"));
  const pyodide = `pyodide-${version}/`;
  copyPyodide(path.join(live, pyodide));
  copyRest(live, path.join(out, "_live"));
  fs.cpSync(library, live, { recursive: true });
  await bundle(live);
  await writeMicroPie(live);
  const listed = path.join(live, "library.json");
  const { packages, later } = JSON.parse(fs.readFileSync(listed, "utf-8"));
  fs.rmSync(listed);
  const runtime = await describe(live, pyodide, packages, later);
  fs.writeFileSync(path.join(live, "runtime.json"), JSON.stringify(runtime));
});
