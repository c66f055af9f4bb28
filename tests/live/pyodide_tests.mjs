// Runs tests with pytest inside Pyodide: `node pyodide_tests.mjs OPTIONS`, where OPTIONS is JSON.
//
// pyodide  the folder of the npm package
// mounts   folders of this machine, by the paths that Python sees
// paths    where Python looks for modules, besides its library
// environ  environment variables of Python
// arguments  of pytest
//
// It exits as pytest does.
import path from "node:path";
import { pathToFileURL } from "node:url";

/** Start Python; it sees the folders of this machine that the options name. */
async function startPython(options) {
  const script = pathToFileURL(path.join(options.pyodide, "pyodide.mjs"));
  const { loadPyodide } = await import(script);
  const pyodide = await loadPyodide({ env: options.environ });
  const { FS } = pyodide;
  for (const [inside, outside] of Object.entries(options.mounts)) {
    FS.mkdirTree(inside);
    FS.mount(FS.filesystems.NODEFS, { root: outside }, inside);
  }
  pyodide.pyimport("sys").path.extend(pyodide.toPy(options.paths));
  return pyodide;
}

const options = JSON.parse(process.argv[2]);
const pyodide = await startPython(options);
pyodide.pyimport("os").chdir(options.paths[0]);
const status = pyodide.pyimport("pytest").main(pyodide.toPy(options.arguments));
process.exit(Number(status)); // Pyodide keeps Node running
