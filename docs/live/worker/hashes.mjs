// The two slow hashes of Python's hashlib that need OpenSSL, which Pyodide does without.
import { pbkdf2 } from "@noble/hashes/pbkdf2";
import { scrypt } from "@noble/hashes/scrypt";
import { sha1 } from "@noble/hashes/legacy";
import { sha256, sha384, sha512 } from "@noble/hashes/sha2";

const DIGESTS = { sha1, sha256, sha384, sha512 };

/** The bytes of a Python object, which is given back at once. */
function bytesOf(proxy) {
  const bytes = proxy.toJs();
  proxy.destroy();
  return bytes;
}

export const hashes = {
  scrypt(password, salt, n, r, p, length) {
    return scrypt(bytesOf(password), bytesOf(salt), { N: n, r, p, dkLen: length });
  },
  pbkdf2(name, password, salt, rounds, length) {
    const digest = DIGESTS[name];
    return pbkdf2(digest, bytesOf(password), bytesOf(salt), { c: rounds, dkLen: length });
  },
};
