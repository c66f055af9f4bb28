// What both parts of the build share: the folders, and Python for compiling.
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

import { loadPyodide } from "pyodide";

export const HERE = path.dirname(fileURLToPath(import.meta.url));
export const MICROPIE = path.join(HERE, "../../micropie.py");
export const PYODIDE = path.dirname(createRequire(import.meta.url).resolve("pyodide/package.json"));

// With ranges, a traceback underlines a part of each line. Without them, compiled modules are
// smaller by a quarter, and still know the numbers of their lines. The app itself gets them.
const ENVIRONMENT = { PYTHONDONTWRITEBYTECODE: "1", PYTHONNODEBUGRANGES: "1" };

/** Start a fresh Python with compile.py in it, and the library's sources. */
export async function python() {
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
export function lend({ FS }, file, name = `/${path.basename(file)}`) {
  FS.writeFile(name, fs.readFileSync(file));
  return name;
}

/** Run a script's main function, and say what went wrong. */
export function runMain(main) {
  main().then(
    () => process.exit(0), // Pyodide keeps Node running
    (error) => {
      console.error(String(error.stack || error).slice(-3000));
      process.exit(1);
    },
  );
}
