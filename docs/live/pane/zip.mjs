// Writes a zip file, without compression. The texts of a step are small, so nothing more is needed.
// The numbers are those of PKWARE's APPNOTE.TXT, sections 4.3.7, 4.3.12 and 4.3.16.

const LOCAL_HEADER = 0x04034b50;
const CENTRAL_HEADER = 0x02014b50;
const END_OF_CENTRAL_DIRECTORY = 0x06054b50;
const VERSION = 20; // of the format that a reader has to know: 2.0
const UTF8_NAMES = 0x0800;
const JANUARY_FIRST_1980 = (1 << 5) | 1; // the first date that the format knows

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

/** Return the CRC-32 of bytes, as zip, gzip and PNG use it. */
export function crc32(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = CRC_TABLE[(value ^ byte) & 0xff] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

/** Return little-endian bytes; `fields` are pairs of a number and its length, 2 or 4 bytes. */
function pack(fields) {
  const bytes = new Uint8Array(fields.reduce((sum, [, length]) => sum + length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [value, length] of fields) {
    if (length === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += length;
  }
  return bytes;
}

/** What the header of a file and its entry in the directory have in common. */
function description(name, data) {
  return [
    [VERSION, 2],
    [UTF8_NAMES, 2],
    [0, 2], // stored, not compressed
    [0, 2], // midnight
    [JANUARY_FIRST_1980, 2],
    [crc32(data), 4],
    [data.length, 4], // in the zip file
    [data.length, 4], // on the disk
    [name.length, 2],
    [0, 2], // no extra field
  ];
}

/**
 * Return a zip file.
 *
 * @param {Object<string, string>} files The texts by the names of the files.
 * @returns {Blob}
 */
export function zip(files) {
  const encoder = new TextEncoder();
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const [path, text] of Object.entries(files)) {
    const name = encoder.encode(path);
    const data = encoder.encode(text);
    const header = pack([[LOCAL_HEADER, 4], ...description(name, data)]);
    parts.push(header, name, data);
    directory.push(entry(name, data, offset), name);
    offset += header.length + name.length + data.length;
  }
  const size = directory.reduce((sum, bytes) => sum + bytes.length, 0);
  const count = directory.length / 2;
  const end = pack([
    [END_OF_CENTRAL_DIRECTORY, 4],
    [0, 2], // this disk
    [0, 2], // the disk where the directory starts
    [count, 2], // entries on this disk
    [count, 2], // entries
    [size, 4],
    [offset, 4],
    [0, 2], // no comment
  ]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

function entry(name, data, offset) {
  return pack([
    [CENTRAL_HEADER, 4],
    [VERSION, 2], // of the program that made it
    ...description(name, data),
    [0, 2], // no comment
    [0, 2], // the disk
    [0, 2], // internal attributes
    [0, 4], // external attributes
    [offset, 4],
  ]);
}
