// The cookies of one visitor. A browser hides Set-Cookie from what a service worker answers, so the
// worker keeps them itself, as RFC 6265 says, without domains: there is one host.

/** The folder of a path: where a cookie without Path belongs. */
const folderOf = (path) => path.replace(/\/[^/]*$/, "") || "/";

/** Whether a cookie of the folder `folder` goes with a request for `path`. */
function pathMatches(path, folder) {
  return path === folder || path.startsWith(folder.endsWith("/") ? folder : `${folder}/`);
}

/** Read one Set-Cookie line, or return null. */
export function parseCookie(line, path) {
  const [pair, ...attributes] = line.split(";");
  const at = pair.indexOf("=");
  if (at < 1) return null;
  const cookie = {
    name: pair.slice(0, at).trim(),
    value: pair.slice(at + 1).trim(),
    path: folderOf(path),
    until: null, // milliseconds since 1970; null lasts as long as the jar
    secure: false,
  };
  let hasMaxAge = false; // it is used instead of Expires, whichever comes first
  for (const attribute of attributes) {
    const [key, ...rest] = attribute.trim().split("=");
    const value = rest.join("=");
    switch (key.toLowerCase()) {
      case "path":
        if (value.startsWith("/")) cookie.path = value;
        break;
      case "max-age":
        if (/^-?\d+$/.test(value)) {
          cookie.until = Date.now() + 1000 * Number(value);
          hasMaxAge = true;
        }
        break;
      case "expires":
        if (!hasMaxAge && !Number.isNaN(Date.parse(value))) cookie.until = Date.parse(value);
        break;
      case "secure":
        cookie.secure = true;
        break;
    }
  }
  return cookie;
}

export class Jar {
  /** @param {object[]} cookies what another jar's `cookies` held */
  constructor(cookies = []) {
    this.cookies = cookies;
  }

  /** Take one Set-Cookie line of a response to `path`. */
  take(line, path) {
    const cookie = parseCookie(line, path);
    // As in browsers, http://localhost and http://127.0.0.1 are secure enough.
    if (!cookie || (cookie.secure && !globalThis.isSecureContext)) return;
    const isOther = (old) => old.name !== cookie.name || old.path !== cookie.path;
    this.cookies = this.cookies.filter(isOther);
    this.cookies.push(cookie);
    this.#forgetOld();
  }

  /** The Cookie header of a request for `path`; "" if it has none. */
  header(path) {
    this.#forgetOld();
    return this.cookies
      .filter((cookie) => pathMatches(path, cookie.path))
      .sort((one, other) => other.path.length - one.path.length)
      .map((cookie) => `${cookie.name}=${cookie.value}`)
      .join("; ");
  }

  #forgetOld() {
    const now = Date.now();
    this.cookies = this.cookies.filter(({ until }) => until === null || until > now);
  }
}
