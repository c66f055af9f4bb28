// Compiles Python's own library and the packages: `node library.mjs OUT FOLDER_OF_WHEELS`.
//
// It takes most of the build's time, and its result changes seldom. OUT gets
//   stdlib.zip.gz       what each app needs of Python's library
//   stdlib-more.zip.gz  the rest
//   packages/           one file for each package
//   library.json        which packages there are, and what is in the rest
import fs from "node:fs";
import path from "node:path";
import zlib from "node:zlib";

import { lend, MICROPIE, python, runMain } from "./tools.mjs";

const SITE_PACKAGES = "/lib/python3.14/site-packages";
// Packages whose assert statements say something, and stay.
const KEEP_ASSERTS = ["iniconfig", "pluggy", "pytest"];

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
async function writeLibrary(out, wheels) {
  const used = await tracedModules(wheels);
  const { pyodide, tools } = await python();
  const [first, second] = tools.split_library("/library.zip", pyodide.toPy(used)).toJs();
  for (const [name, members] of Object.entries({ stdlib: first, "stdlib-more": second })) {
    tools.pack_library("/library.zip", pyodide.toPy(members), "/part.zip");
    writePacked(pyodide, "/part.zip", path.join(out, `${name}.zip.gz`));
  }
  return second;
}

/** Write each package as packages/NAME.zip.gz; return what each of them needs, itself included. */
async function writePackages(out, wheels) {
  const { pyodide, tools } = await python();
  const needs = {};
  fs.mkdirSync(path.join(out, "packages"), { recursive: true });
  for (const [name, file] of Object.entries(wheels)) {
    const wheel = lend(pyodide, file);
    tools.pack_wheel(wheel, "/package.zip", KEEP_ASSERTS.includes(name) ? 0 : 2);
    writePacked(pyodide, "/package.zip", path.join(out, "packages", `${name}.zip.gz`));
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

/** The modules that an import can bring: top-level ones, and codecs. */
function namesOf(members) {
  const names = members.map((member) => {
    const [top, rest] = member.replace(/\.py$/, "").split("/");
    return top === "encodings" ? `${top}.${rest}` : top;
  });
  return [...new Set(names)];
}

runMain(async () => {
  const [out, folder] = process.argv.slice(2);
  if (!folder) throw new Error("usage: node library.mjs OUT FOLDER_OF_WHEELS");
  fs.mkdirSync(out, { recursive: true });
  const wheels = wheelsIn(folder);
  const members = await writeLibrary(out, wheels);
  const packages = await writePackages(out, wheels);
  const more = { file: "stdlib-more.zip.gz", modules: namesOf(members) };
  fs.writeFileSync(path.join(out, "library.json"), JSON.stringify({ packages, more }));
});
