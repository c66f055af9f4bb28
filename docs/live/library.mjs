// Compiles Python's own library and the packages: `node library.mjs OUT FOLDER_OF_WHEELS`.
//
// It takes most of the build's time, and its result changes seldom. OUT gets
//   stdlib.zip.gz       what Python starts with
//   stdlib-PART.zip.xz  the other parts of its library; see `split_library` in compile.py
//   packages/           one file for each package
//   library.json        which packages there are, and which part has which modules
import fs from "node:fs";
import path from "node:path";
import zlib from "node:zlib";

import { HERE, lend, MICROPIE, python, runMain } from "./tools.mjs";

const SITE_PACKAGES = "/lib/python3.14/site-packages";
// Packages whose assert statements say something, and stay.
const KEEP_ASSERTS = ["iniconfig", "pluggy", "pytest"];
// Parts of Python's library that a package always imports. They come with it.
const NEEDED_PARTS = {
  babel: ["gettext"],
  segno: ["xml"],
  "strawberry-graphql": ["_ast_unparse"],
};
// Packages that others import for connections to other machines, which a page has not.
const NOT_NEEDED = { anyio: ["idna"], httpx: ["certifi", "httpcore"] };
// Many apps have no templates. These packages come when an app imports them, if not before.
const AT_IMPORT = ["jinja2", "markupsafe"];
// Parts of packages that come at an import, too: the old names of the first Pydantic, and trials.
const PARTS_AT_IMPORT = { pydantic: ["v1", "experimental"] };

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

/** Copy bytes that Python holds, and let it forget them. */
function bytesOf(proxy) {
  const data = proxy.toJs();
  proxy.destroy();
  return data;
}

/** Write the parts of Python's library; return which modules those have that come later. */
async function writeLibrary(out, wheels) {
  const used = await tracedModules(wheels);
  const { pyodide, tools } = await python();
  const { start, ...others } = tools
    .split_library("/library.zip", pyodide.toPy(used))
    .toJs({ dict_converter: Object.fromEntries });
  const hook = "sitecustomize.py";
  const added = { [hook]: fs.readFileSync(path.join(HERE, hook), "utf-8") };
  const pack = (members, sources) =>
    tools.pack_library("/library.zip", pyodide.toPy(members), pyodide.toPy(sources));
  const first = zlib.gzipSync(bytesOf(pack(start, added)), { level: 9 });
  fs.writeFileSync(path.join(out, "stdlib.zip.gz"), first);
  for (const [part, members] of Object.entries(others)) {
    const data = bytesOf(tools.compressed(pack(members, {})));
    fs.writeFileSync(path.join(out, fileOf(part)), data);
  }
  const { usual, ...later } = others;
  return Object.entries(later).flatMap(([part, members]) =>
    namesOf(members).map((name) => [name, fileOf(part)]),
  );
}

/** The file of a part of Python's library. */
function fileOf(part) {
  return `stdlib-${part}.zip.xz`;
}

/** The file of a package. */
function packageFile(name) {
  return `packages/${name}.zip.xz`;
}

/**
 * Write each package as packages/NAME.zip.xz; return what each of them needs, itself included.
 * Those that come at an import are added to `later`.
 */
async function writePackages(out, wheels, later) {
  const { pyodide, tools } = await python();
  const needs = {};
  fs.mkdirSync(path.join(out, "packages"), { recursive: true });
  for (const [name, file] of Object.entries(wheels)) {
    const wheel = lend(pyodide, file);
    const write = (file, wanted) => {
      const packed = tools.pack_wheel(wheel, KEEP_ASSERTS.includes(name) ? 0 : 2, wanted);
      fs.writeFileSync(path.join(out, file), bytesOf(tools.compressed(packed)));
    };
    const parts = PARTS_AT_IMPORT[name] ?? [];
    write(packageFile(name), parts.length ? `(?!${name}/(${parts.join("|")})/)` : "");
    for (const part of parts) {
      later[`${name}.${part}`] = packageFile(`${name}-${part}`);
      write(packageFile(`${name}-${part}`), `${name}/${part}/`);
    }
    if (AT_IMPORT.includes(name)) later[name] = packageFile(name);
    const isNeeded = (other) => other in wheels && !NOT_NEEDED[name]?.includes(other);
    needs[name] = tools.requirements(wheel).toJs().filter(isNeeded);
  }
  return Object.fromEntries(
    Object.keys(wheels).map((name) => [name, filesOf(name, needs)]),
  );
}

/** The files of a package and of all that it needs, each once, what is needed first. */
function filesOf(name, needs, found = new Set()) {
  for (const other of needs[name]) filesOf(other, needs, found);
  for (const part of NEEDED_PARTS[name] ?? []) found.add(fileOf(part));
  found.add(packageFile(name));
  return [...found];
}

/** The modules and packages of these files, as Python writes them: `xml`, `http.server`. */
function namesOf(members) {
  const init = "/__init__.py";
  const packages = members
    .filter((member) => member.endsWith(init))
    .map((member) => member.slice(0, -init.length));
  const isAlone = (member) => !packages.some((name) => member.startsWith(`${name}/`));
  const modules = members.filter(isAlone).map((member) => member.replace(/\.py$/, ""));
  return [...packages, ...modules].map((name) => name.replaceAll("/", "."));
}

runMain(async () => {
  const [out, folder] = process.argv.slice(2);
  if (!folder) throw new Error("usage: node library.mjs OUT FOLDER_OF_WHEELS");
  fs.mkdirSync(out, { recursive: true });
  const wheels = wheelsIn(folder);
  const later = Object.fromEntries(await writeLibrary(out, wheels));
  const packages = await writePackages(out, wheels, later);
  fs.writeFileSync(path.join(out, "library.json"), JSON.stringify({ packages, later }));
});
