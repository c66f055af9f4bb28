// Text that looks like what curl prints, and its comparison with what a page shows.

// The phrases that uvicorn sends: those of Python's http.HTTPStatus.
const PHRASES = {
  200: "OK",
  201: "Created",
  202: "Accepted",
  204: "No Content",
  205: "Reset Content",
  206: "Partial Content",
  301: "Moved Permanently",
  302: "Found",
  303: "See Other",
  304: "Not Modified",
  307: "Temporary Redirect",
  308: "Permanent Redirect",
  400: "Bad Request",
  401: "Unauthorized",
  402: "Payment Required",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  406: "Not Acceptable",
  408: "Request Timeout",
  409: "Conflict",
  410: "Gone",
  411: "Length Required",
  412: "Precondition Failed",
  413: "Content Too Large",
  414: "URI Too Long",
  415: "Unsupported Media Type",
  416: "Range Not Satisfiable",
  417: "Expectation Failed",
  418: "I'm a Teapot",
  422: "Unprocessable Content",
  423: "Locked",
  425: "Too Early",
  426: "Upgrade Required",
  428: "Precondition Required",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};

export function statusLine(status) {
  return `HTTP/1.1 ${status} ${PHRASES[status] ?? ""}`.trimEnd();
}

/** Return the status line and the headers as `curl -i` prints them, with the empty line. */
export function headText({ status, headers }) {
  const lines = headers.map(([name, value]) => `${name.toLowerCase()}: ${value}`);
  return [statusLine(status), ...lines, "", ""].join("\n");
}

export function findHeader(headers, name) {
  return headers.find(([key]) => key.toLowerCase() === name)?.[1] ?? "";
}

/** Return what `curl -w` prints for a format; `url` is where the request went, in `seconds`. */
export function writtenOut(format, { status, headers }, url, seconds) {
  const location = findHeader(headers, "location");
  const values = {
    http_code: String(status).padStart(3, "0"),
    response_code: String(status).padStart(3, "0"),
    redirect_url: location && new URL(location, url).href,
    content_type: findHeader(headers, "content-type"),
    time_total: seconds.toFixed(6),
  };
  return format
    .replace(/%\{(\w+)\}/g, (whole, name) => values[name] ?? whole)
    .replace(/%header\{([^}]+)\}/g, (whole, name) => findHeader(headers, name.toLowerCase()))
    .replaceAll("\\n", "\n");
}

/** Apply what follows a pipe: `head -1`, `head -c 8`, `tail -2`, `grep -i word`, `grep -o word`. */
export function filtered(text, filters = []) {
  return filters
    .reduce((lines, filter) => {
      if (filter.head !== undefined) return lines.slice(0, filter.head);
      if (filter.tail !== undefined) return lines.slice(-filter.tail);
      if (filter.characters) return linesOf(lines.join("\n").slice(0, filter.characters));
      const pattern = new RegExp(filter.grep, filter.i ? "gi" : "g");
      if (filter.o) return lines.flatMap((line) => line.match(pattern) ?? []);
      return lines.filter((line) => (line.search(pattern) >= 0) !== Boolean(filter.v));
    }, linesOf(text))
    .join("\n");
}

function linesOf(text) {
  return text.replace(/\n$/, "").split("\n");
}

/**
 * Compare as the tests of the documentation do. A line `...` stands for any lines or none, and
 * `...` within a line for any text.
 */
export function matches(pattern, output) {
  const expected = pattern
    .trim()
    .split("\n")
    .map((line) =>
      line === "..." ? "(?:.*\\n)?" : `${line.split("...").map(escaped).join(".*")}[^\\S\\n]*\\n`,
    )
    .join("");
  return new RegExp(`^${expected}$`, "s").test(`${output.replaceAll("\r\n", "\n").trim()}\n`);
}

function escaped(text) {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
