/**
 * Decoder of the Unweight bitstream, version 1.0, profile full.
 *
 * Written from the specification (spec/unweight.md) alone, in its order. Numbers in parentheses are
 * its sections, and the letters n, W, P, q, m, k, c, b, A, B, C, G, R, E are those of its section 2
 * and 3.5. One file without dependencies, so that it can be copied; it runs in Node 20 and later
 * and in browsers.
 *
 *     const file = await UnweightFile.open(bytesInput(bytes));
 *     for (const tensor of file.tensors) console.log(tensor.name, tensor.dtype, tensor.shape);
 *     for await (const part of file.decode(file.tensors[0], 100, 200)) use(part.bytes);
 *     for await (const bytes of file.restore()) write(bytes);
 *
 * A file that breaks a rule of section 10 makes these throw a RuleError, and nothing else.
 *
 * @module unweight
 */

// ---------------------------------------------------------------------------------------------
// 10. Rules
// ---------------------------------------------------------------------------------------------

/** The rules of section 10: the category and the section of each.
 *  @type {Readonly<Record<string, [string, string]>>} */
export const RULES = Object.freeze({
  'file-magic': ['malformed', '3.1'],
  'file-truncated': ['truncated', '3.1'],
  'file-version': ['unsupported', '3.1'],
  'file-header-crc': ['malformed', '3.1'],
  'file-reserved': ['malformed', '3.1'],
  'limit-tensors': ['limit', '3.1'],
  'limit-directory': ['limit', '3.1'],
  'limit-source': ['limit', '3.1'],
  'limit-extensions': ['limit', '3.1'],
  'source-kind': ['unsupported', '3.1'],
  'source-length': ['malformed', '3.1'],
  'file-trailing': ['malformed', '3.1'],
  'file-length': ['malformed', '3.1'],
  'dir-length': ['malformed', '3.2'],
  'dir-crc': ['malformed', '3.2'],
  'dir-reserved': ['malformed', '3.2'],
  'dir-padding': ['malformed', '3.2'],
  'dims-end': ['malformed', '3.2'],
  'limit-rank': ['limit', '3.2'],
  'name-end': ['malformed', '3.2'],
  'limit-name': ['limit', '3.2'],
  'name-utf8': ['malformed', '3.2'],
  'name-order': ['malformed', '3.2'],
  'name-duplicate': ['malformed', '3.2'],
  'source-crc': ['malformed', '3.3'],
  'source-header': ['malformed', '3.3'],
  'extension-crc': ['malformed', '3.4'],
  'extension-length': ['malformed', '3.4'],
  'extension-padding': ['malformed', '3.4'],
  'extension-unknown': ['unsupported', '3.4'],
  'payload-end': ['malformed', '3.5'],
  padding: ['malformed', '3.5'],
  'block-crc': ['malformed', '3.5'],
  'palette-crc': ['malformed', '3.5, 4.2'],
  'palette-values': ['malformed', '3.5'],
  'record-ends': ['malformed', '3.5'],
  'record-too-long': ['malformed', '3.5'],
  'dtype-unknown': ['unsupported', '4.1'],
  'limit-elements': ['limit', '4.1'],
  'tensor-bits': ['malformed', '4.1'],
  'form-unknown': ['unsupported', '4.2'],
  'form-field': ['malformed', '4.2'],
  'form-empty': ['malformed', '4.2'],
  'limit-coded': ['limit', '4.2'],
  'chunk-size': ['malformed', '4.2'],
  'record-crc': ['malformed', '5.1'],
  'record-kind': ['unsupported', '5.1'],
  'record-form': ['malformed', '5.1'],
  'record-reserved': ['malformed', '5.1'],
  'record-length': ['malformed', '5.1'],
  'record-padding': ['malformed', '5.1'],
  'lane-ends': ['malformed', '5.2'],
  'lane-overrun': ['malformed', '5.2'],
  'lane-underrun': ['malformed', '5.2'],
  'lane-padding': ['malformed', '5.2'],
  'patch-order': ['malformed', '5.5'],
  'patch-position': ['malformed', '5.5'],
  'patch-value': ['malformed', '5.5'],
  'code-length': ['malformed', '6'],
  'code-oversubscribed': ['malformed', '6'],
  'code-incomplete': ['malformed', '6'],
  'tensor-crc': ['malformed', '8'],
});

/** A rule of section 10 that the file breaks. */
export class RuleError extends Error {
  /**
   * @param {string} rule the rule's id
   * @param {string} what what is wrong, in a few words
   * @param {number} [offset] the offset in the file of the bytes that break the rule
   * @param {string} [found] what stands there
   * @param {string} [expected] what the rule asks for
   */
  constructor(rule, what, offset, found, expected) {
    super();
    this.name = 'RuleError';
    /** The rule's id, such as `record-crc`. */
    this.rule = rule;
    /** `truncated`, `malformed`, `unsupported` or `limit`. */
    this.category = RULES[rule][0];
    /** The section of the specification. */
    this.section = RULES[rule][1];
    this.what = what;
    this.offset = offset;
    this.found = found;
    this.expected = expected;
    /** @type {Tensor | undefined} the tensor that is concerned, if one alone is */
    this.tensor = undefined;
    /** @type {number | undefined} the number of its chunk */
    this.chunk = undefined;
    /** @type {number | undefined} the number of its field */
    this.field = undefined;
    this.message = this.#line();
  }

  /**
   * Adds the tensor, the chunk and the field, which the place of the check does not know.
   *
   * @param {{ tensor?: Tensor, chunk?: number, field?: number }} place
   * @returns {this}
   */
  within(place) {
    this.tensor ??= place.tensor;
    this.chunk ??= place.chunk;
    this.field ??= place.field;
    this.message = this.#line();
    return this;
  }

  /** One line: the rule, what was found, what was expected, and where. */
  #line() {
    const places = [];
    if (this.tensor) places.push(`tensor ${this.tensor.index} ${quoted(this.tensor.name)}`);
    if (this.chunk !== undefined) places.push(`chunk ${this.chunk}`);
    if (this.field !== undefined) places.push(`field ${this.field}`);
    if (this.offset !== undefined) places.push(`byte ${this.offset}`);
    return (
      `${this.rule}: ${this.what}` +
      (this.found === undefined ? '' : `: found ${this.found}`) +
      (this.expected === undefined ? '' : `, expected ${this.expected}`) +
      (places.length ? ` (${places.join(', ')})` : '')
    );
  }
}

/**
 * A valid file may need more than this decoder handles (9). That is no rule of the format.
 */
export class CapacityError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = 'CapacityError';
  }
}

/**
 * Throws a RuleError.
 *
 * @param {string} rule
 * @param {string} what
 * @param {number} [offset]
 * @param {string | number | bigint} [found]
 * @param {string | number | bigint} [expected]
 * @returns {never}
 */
function fail(rule, what, offset, found, expected) {
  /** @param {string | number | bigint} [value] */
  const text = (value) => (value === undefined ? undefined : String(value));
  throw new RuleError(rule, what, offset, text(found), text(expected));
}

/**
 * Adds a place to an error if it is a RuleError.
 *
 * @param {unknown} error
 * @param {{ tensor?: Tensor, chunk?: number, field?: number }} place
 */
const located = (error, place) => (error instanceof RuleError ? error.within(place) : error);

/**
 * A string from a file, on one line and without characters that change how the line reads.
 *
 * @param {string} text
 */
export function quoted(text) {
  const short = text.length > 100 ? `${text.slice(0, 100)}...` : text;
  return JSON.stringify(short).replace(
    /[\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** @param {number} n */
const hex8 = (n) => `0x${(n >>> 0).toString(16).padStart(8, '0')}`;

/** @param {number} n */
const hex2 = (n) => `0x${n.toString(16).padStart(2, '0')}`;

// ---------------------------------------------------------------------------------------------
// Inputs: random access to the bytes of a file
// ---------------------------------------------------------------------------------------------

/**
 * Random access to the bytes of a file.
 *
 * `read` is only called with `offset + length <= size`, and must give exactly `length` bytes. They
 * are not changed by this module, and must not change afterwards.
 *
 * @typedef {object} Input
 * @property {number} size
 * @property {(offset: number, length: number) => Promise<Uint8Array>} read
 */

/**
 * @param {Uint8Array} bytes
 * @returns {Input}
 */
export function bytesInput(bytes) {
  return {
    size: bytes.length,
    read: async (offset, length) => bytes.subarray(offset, offset + length),
  };
}

/**
 * A `Blob` or a `File` of a browser; only the slices that are needed are read.
 *
 * @param {Blob} blob
 * @returns {Input}
 */
export function blobInput(blob) {
  return {
    size: blob.size,
    read: async (offset, length) =>
      new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer()),
  };
}

/**
 * A `FileHandle` of `node:fs/promises`, which the caller closes.
 *
 * @param {import('node:fs/promises').FileHandle} handle
 * @returns {Promise<Input>}
 */
export async function handleInput(handle) {
  const { size } = await handle.stat();
  return {
    size,
    async read(offset, length) {
      const bytes = new Uint8Array(length);
      let have = 0;
      while (have < length) {
        const { bytesRead } = await handle.read(bytes, have, length - have, offset + have);
        if (bytesRead === 0) break;
        have += bytesRead;
      }
      return bytes.subarray(0, have);
    },
  };
}

/**
 * A file of a web server that answers range requests.
 *
 * @param {string | URL} url
 * @param {RequestInit} [init] options for `fetch`
 * @returns {Promise<Input>}
 */
export async function urlInput(url, init = {}) {
  /** @param {number} first @param {number} last */
  const ask = async (first, last) => {
    const headers = new Headers(init.headers);
    headers.set('Range', `bytes=${first}-${last}`);
    return fetch(url, { ...init, headers });
  };
  const answer = await ask(0, 0);
  await answer.body?.cancel();
  const range = /^bytes 0-0\/(\d+)$/.exec(answer.headers.get('Content-Range') ?? '');
  if (answer.status !== 206 || !range) {
    throw new Error(`the server answers range requests with status ${answer.status}, expected 206`);
  }
  const size = Number(range[1]);
  return {
    size,
    async read(offset, length) {
      if (length === 0) return new Uint8Array(0);
      const part = await ask(offset, offset + length - 1);
      if (part.status !== 206) throw new Error(`range request: status ${part.status}`);
      return new Uint8Array(await part.arrayBuffer());
    },
  };
}

/**
 * Reads through windows of `windowLength` bytes and keeps the last few of them, so that many small
 * reads near one another become few large ones.
 *
 * @param {Input} input
 * @param {number} [windowLength]
 * @param {number} [count]
 * @returns {Input}
 */
export function windowedInput(input, windowLength = 1 << 20, count = 4) {
  /** @type {{ begin: number, bytes: Uint8Array }[]} the one used last stands first */
  const windows = [];
  return {
    size: input.size,
    async read(offset, length) {
      if (length > windowLength / 2) return input.read(offset, length);
      let found = windows.findIndex(
        (w) => w.begin <= offset && offset + length <= w.begin + w.bytes.length,
      );
      if (found < 0) {
        const bytes = await input.read(offset, Math.min(windowLength, input.size - offset));
        if (bytes.length < length) return bytes;
        found = windows.push({ begin: offset, bytes }) - 1;
      }
      const [window] = windows.splice(found, 1);
      windows.unshift(window);
      if (windows.length > count) windows.pop();
      const from = offset - window.begin;
      return window.bytes.subarray(from, from + length);
    },
  };
}

/**
 * @param {Input} input
 * @param {number} offset
 * @param {number} length
 */
async function readExactly(input, offset, length) {
  if (length === 0) return new Uint8Array(0);
  const bytes = await input.read(offset, length);
  if (bytes.length !== length) {
    throw new Error(
      `the input gave ${bytes.length} of ${length} bytes at ${offset}; was the file changed?`,
    );
  }
  return bytes;
}

// ---------------------------------------------------------------------------------------------
// 2. Conventions
// ---------------------------------------------------------------------------------------------

/** @param {Uint8Array} bytes */
const viewOf = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** The least multiple of `k` that is at least `x`. @param {number} x @param {number} k */
const align = (x, k) => Math.ceil(x / k) * k;

/** `align` without a bound. @param {bigint} x @param {bigint} k */
const alignBig = (x, k) => ((x + k - 1n) / k) * k;

/** @param {bigint} a @param {bigint} b */
const ceilDiv = (a, b) => (a + b - 1n) / b;

/**
 * Fails at the first byte of `bytes[begin..end]` that is not zero.
 *
 * @param {string} rule
 * @param {string} what
 * @param {Uint8Array} bytes
 * @param {number} begin
 * @param {number} end
 * @param {number} offset of `bytes` in the file
 */
function checkZero(rule, what, bytes, begin, end, offset) {
  for (let i = begin; i < end; i++) {
    if (bytes[i] !== 0) fail(rule, what, offset + i, hex2(bytes[i]), 'zero');
  }
}

// ---------------------------------------------------------------------------------------------
// 8. Checksums
// ---------------------------------------------------------------------------------------------

/** Table t of 8 has the CRC-32 of a byte that t zero bytes follow ("slicing by 8"). */
const CRC_TABLES = (() => {
  const tables = new Int32Array(8 * 256);
  for (let i = 0; i < 256; i++) {
    let r = i;
    for (let bit = 0; bit < 8; bit++) r = r & 1 ? (r >>> 1) ^ 0xedb88320 : r >>> 1;
    tables[i] = r;
  }
  for (let i = 256; i < tables.length; i++) {
    const r = tables[i - 256];
    tables[i] = (r >>> 8) ^ tables[r & 255];
  }
  return tables;
})();

/**
 * CRC-32 of ISO 3309, zlib and PNG (8).
 *
 * @param {Uint8Array} bytes
 * @param {number} [before] the CRC-32 of the bytes that stand before these
 * @returns {number} unsigned
 */
export function crc32(bytes, before = 0) {
  const t = CRC_TABLES;
  let r = ~before;
  let i = 0;
  for (const end = bytes.length - 7; i < end; i += 8) {
    r ^= bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24);
    r =
      t[1792 + (r & 255)] ^
      t[1536 + ((r >>> 8) & 255)] ^
      t[1280 + ((r >>> 16) & 255)] ^
      t[1024 + (r >>> 24)] ^
      t[768 + bytes[i + 4]] ^
      t[512 + bytes[i + 5]] ^
      t[256 + bytes[i + 6]] ^
      t[bytes[i + 7]];
  }
  for (; i < bytes.length; i++) r = (r >>> 8) ^ t[(r ^ bytes[i]) & 255];
  return ~r >>> 0;
}

/**
 * @param {string} rule
 * @param {string} what
 * @param {number} stored
 * @param {number} computed
 * @param {number} [offset] where the stored checksum stands
 */
function checkCrc(rule, what, stored, computed, offset) {
  if (stored !== computed) {
    fail(rule, `${what} checksum`, offset, hex8(stored), hex8(computed));
  }
}

// ---------------------------------------------------------------------------------------------
// 3.1 File header
// ---------------------------------------------------------------------------------------------

const MAGIC = [0x89, 0x55, 0x4e, 0x57, 0x0d, 0x0a, 0x1a, 0x0a];
const HEADER_LENGTH = 64;
const GUARD_LENGTH = 64;
const MAX_TENSORS = 2 ** 20;
const MAX_SECTION = 2 ** 28;

/**
 * The file header. Lengths of sections are numbers once they are known to be below their limits.
 *
 * @typedef {object} Header
 * @property {number} majorVersion
 * @property {number} minorVersion
 * @property {number} tensorCount *T*
 * @property {number} fileLength
 * @property {number} directoryLength *D*
 * @property {number} sourceLength *S*
 * @property {number} extensionLength *X*
 * @property {number} directoryChecksum
 * @property {number} sourceChecksum
 * @property {number} extensionChecksum
 * @property {number} sourceKind 0: none; 1: safetensors
 * @property {number} payloadBegin *P0*
 */

/**
 * Reads and checks the file header (3.1, rules 1 to 6, and as much of rule 7 as it can break).
 *
 * @param {Input} input
 * @returns {Promise<Header>}
 */
export async function readHeader(input) {
  if (!Number.isSafeInteger(input.size) || input.size < 0) {
    throw new CapacityError(`inputs of ${input.size} bytes are not supported, at most 2^53 - 1`);
  }
  const bytes = await readExactly(input, 0, Math.min(HEADER_LENGTH, input.size));
  for (let i = 0; i < Math.min(8, bytes.length); i++) {
    if (bytes[i] !== MAGIC[i]) {
      fail('file-magic', 'not an Unweight file', i, hex2(bytes[i]), hex2(MAGIC[i]));
    }
  }
  if (bytes.length < HEADER_LENGTH) {
    fail('file-truncated', 'file header', bytes.length, `${bytes.length} bytes`, '64');
  }

  const view = viewOf(bytes);
  const majorVersion = view.getUint16(8, true);
  if (majorVersion !== 1) {
    fail('file-version', 'major version', 8, majorVersion, '1');
  }
  const stored = view.getUint32(60, true);
  checkCrc('file-header-crc', 'header', stored, crc32(bytes.subarray(0, 60)), 60);
  checkZero('file-reserved', 'reserved byte of the header', bytes, 57, 60, 0);

  /** @param {string} rule @param {string} what @param {number} offset @param {bigint} value
   *  @param {number} limit */
  const atMost = (rule, what, offset, value, limit) => {
    if (value > BigInt(limit)) {
      fail(rule, what, offset, value, `at most ${limit}`);
    }
    return Number(value);
  };
  const count = BigInt(view.getUint32(12, true));
  const tensorCount = atMost('limit-tensors', 'tensor count', 12, count, MAX_TENSORS);
  const statedD = view.getBigUint64(24, true);
  const directoryLength = atMost('limit-directory', 'directory length', 24, statedD, MAX_SECTION);
  const statedS = view.getBigUint64(32, true);
  const sourceLength = atMost('limit-source', 'source length', 32, statedS, MAX_SECTION);
  const statedX = BigInt(view.getUint32(48, true));
  const extensionLength = atMost('limit-extensions', 'extension length', 48, statedX, MAX_SECTION);

  const sourceKind = bytes[56];
  if (sourceKind > 1) {
    fail('source-kind', 'source kind', 56, sourceKind, '0 or 1');
  }
  if (sourceKind === 0 ? sourceLength !== 0 : sourceLength < 8) {
    fail('source-length', `source length with source kind ${sourceKind}`, 32, sourceLength,
      sourceKind === 0 ? '0' : 'at least 8');
  }

  const statedLength = view.getBigUint64(16, true);
  if (BigInt(input.size) !== statedLength) {
    const short = BigInt(input.size) < statedLength;
    fail(short ? 'file-truncated' : 'file-trailing', 'bytes in the file',
      short ? input.size : Number(statedLength), input.size,
      `the stated file length ${statedLength}`);
  }
  const fileLength = input.size;
  const payloadBegin = align(HEADER_LENGTH + directoryLength + sourceLength + extensionLength, 256);
  if (fileLength < payloadBegin + GUARD_LENGTH) {
    fail('file-length', 'stated file length', 16, fileLength,
      `at least ${payloadBegin + GUARD_LENGTH}`);
  }

  return {
    majorVersion,
    minorVersion: view.getUint16(10, true),
    tensorCount,
    fileLength,
    directoryLength,
    sourceLength,
    extensionLength,
    directoryChecksum: view.getUint32(40, true),
    sourceChecksum: view.getUint32(44, true),
    extensionChecksum: view.getUint32(52, true),
    sourceKind,
    payloadBegin,
  };
}

// ---------------------------------------------------------------------------------------------
// 4.1 Types and fields
// ---------------------------------------------------------------------------------------------

/**
 * A type of table 4.1. A field is its highest and its lowest bit.
 *
 * @typedef {object} Type
 * @property {number} code
 * @property {string} name
 * @property {number} bits of an element
 * @property {number} weightBytes bytes of a weight
 * @property {{ high: number, low: number, width: number }[]} fields
 */

/** @type {[string, number, number, string][]} table 4.1, from code 1 on */
const TABLE_4_1 = [
  ['BOOL', 8, 1, '[7..4] [3..1]'],
  ['U8', 8, 1, '[7..4] [3..1]'],
  ['I8', 8, 1, '[7..4] [3..1]'],
  ['F8_E5M2', 8, 1, '[6..2] [1..0]'],
  ['F8_E4M3', 8, 1, '[6..3] [2..0]'],
  ['F8_E8M0', 8, 1, '[7..1]'],
  ['F8_E4M3FNUZ', 8, 1, '[6..3] [2..0]'],
  ['F8_E5M2FNUZ', 8, 1, '[6..2] [1..0]'],
  ['F4', 4, 1, '[7..4] [3..1]'],
  ['F6_E2M3', 6, 1, ''],
  ['F6_E3M2', 6, 1, ''],
  ['I16', 16, 2, '[15..12] [11..8] [7..4] [3..1]'],
  ['U16', 16, 2, '[15..12] [11..8] [7..4] [3..1]'],
  ['F16', 16, 2, '[14..10] [9..7] [6..3] [2..0]'],
  ['BF16', 16, 2, '[14..7] [6..4] [3..0]'],
  ['I32', 32, 4, '[31..28] [27..24] [23..20] [19..16] [15..12] [11..8] [7..4] [3..1]'],
  ['U32', 32, 4, '[31..28] [27..24] [23..20] [19..16] [15..12] [11..8] [7..4] [3..1]'],
  ['F32', 32, 4, '[30..23] [22..20] [19..16] [15..13] [12..8] [7..0]'],
  ['I64', 64, 8, '[63..56] [55..48] [47..40] [39..32] [31..24] [23..16] [15..8] [7..1]'],
  ['U64', 64, 8, '[63..56] [55..48] [47..40] [39..32] [31..24] [23..16] [15..8] [7..1]'],
  ['F64', 64, 8, '[59..52] [62..60] [47..40] [39..32] [31..24] [23..16] [15..8] [7..0]'],
  ['C64', 64, 8, '[30..23] [22..16] [15..8] [7..0] [62..55] [54..48] [47..40] [39..32]'],
];

/** The types of table 4.1 by code; code 0 has none. @type {readonly (Type | undefined)[]} */
export const TYPES = Object.freeze([
  undefined,
  ...TABLE_4_1.map(([name, bits, weightBytes, fields], i) => ({
    code: i + 1,
    name,
    bits,
    weightBytes,
    fields: [...fields.matchAll(/\[(\d+)\.\.(\d+)\]/g)].map(([, high, low]) => ({
      high: Number(high),
      low: Number(low),
      width: Number(high) - Number(low) + 1,
    })),
  })),
]);

// ---------------------------------------------------------------------------------------------
// 4.2 Forms, and 3.5 the layout of a tensor's payload
// ---------------------------------------------------------------------------------------------

export const PLAIN = 0;
export const HUFFMAN = 1;
export const PALETTE = 2;
export const CONSTANT = 3;

/** Names of the forms 0 to 3. */
export const FORM_NAMES = Object.freeze(['plain', 'huffman', 'palette', 'constant']);

const BLOCK_LENGTH = 65536;
const MAX_ELEMENTS = 1n << 56n;
const MAX_CODED = 1n << 36n;

/**
 * A run of bits that lies in one byte of a weight: bits `from`, `from` + 1, ... of a number go to
 * the byte `byte` of the weight, from bit `shift` on; `mask` has as many low bits as there are.
 *
 * @typedef {{ from: number, byte: number, shift: number, mask: number }} Piece
 */

/**
 * A tensor of the directory, checked. Its offsets are offsets in the file.
 */
export class Tensor {
  /** Where its payload begins, the padding in front of it included: *E*(*i*−1). */
  begin = 0;
  /** *W*: plain bits of a weight. */
  plainBits = 0;
  /** *B*, where the plain plane begins. */
  planeBegin = 0;
  /** *P*, its length in bytes. */
  planeLength = 0;
  /** *C*, where the block checksums begin. */
  blocksBegin = 0;
  /** *b*, their number. */
  blocks = 0;
  /** *G*, where the palettes begin. */
  palettesBegin = 0;
  /** Where the record ends begin. */
  endsBegin = 0;
  /** *R*, where the records begin. */
  recordsBegin = 0;
  /** *c*, the number of chunks. */
  chunks = 0;
  /** *E*, where the payload ends. */
  end = 0;
  /** *E*, exactly as stated. */
  statedEnd = 0n;

  /** @type {Uint8Array} */ #directory;
  /** @type {number} */ #dimsAt;
  /** @type {number} */ #rank;
  /** @type {number} */ #nameAt;
  /** @type {number} */ #nameLength;

  /**
   * @param {Uint8Array} directory
   * @param {number} index
   * @param {{ dimsAt: number, rank: number, nameAt: number, nameLength: number }} places
   *   in the directory
   * @param {bigint} previousEnd *E*(*i*−1)
   */
  constructor(directory, index, places, previousEnd) {
    this.#directory = directory;
    this.#dimsAt = places.dimsAt;
    this.#rank = places.rank;
    this.#nameAt = places.nameAt;
    this.#nameLength = places.nameLength;
    /** Its number in the directory. */
    this.index = index;
    const view = viewOf(directory);
    const at = 40 * index;
    const offset = HEADER_LENGTH + at;

    // 4.1
    const type = TYPES[directory[at]];
    if (type === undefined) {
      fail('dtype-unknown', 'dtype code', offset, directory[at], `1 to ${TYPES.length - 1}`);
    }
    /** @type {Type} */
    this.type = type;
    /** Elements: the product of the dimensions, up to 2^56. @type {bigint} */
    this.elements = this.#countElements();
    const bits = this.elements * BigInt(type.bits);
    if (bits % 8n !== 0n) {
      fail('tensor-bits', `bits of ${this.elements} elements of ${type.name}`,
        HEADER_LENGTH + this.#dimsAt, bits, 'a multiple of 8');
    }
    /** Original bytes. @type {bigint} */
    this.byteLength = bits / 8n;
    /** *n*: weights. @type {bigint} */
    this.weights = this.byteLength / BigInt(type.weightBytes);

    // 4.2
    const forms = view.getUint32(at + 4, true);
    this.#checkForms(forms, offset + 4);
    /** The form of each field of the type. @type {number[]} */
    this.forms = type.fields.map((_, f) => (forms >>> (4 * f)) & 15);
    /** Numbers of the coded fields. There are *q*. @type {number[]} */
    this.codedFields = [...this.forms.keys()].filter(
      (f) => this.forms[f] === HUFFMAN || this.forms[f] === PALETTE,
    );
    /** Numbers of the fields that are not plain. There are *m*. @type {number[]} */
    this.paletteFields = [...this.forms.keys()].filter((f) => this.forms[f] !== PLAIN);
    /** *k*: a chunk has 2^*k* weights; 0 without a coded field. */
    this.chunkSize = directory[at + 1];
    this.tensorChecksum = view.getUint32(at + 16, true);
    this.paletteChecksum = view.getUint32(at + 20, true);
    this.#checkRestOf42(offset);

    // 3.5
    this.#layOut(previousEnd, view.getBigUint64(at + 8, true), offset + 8);
  }

  /** Name of the type. */
  get dtype() {
    return this.type.name;
  }

  /** The name; any Unicode, so escape it in output (13). @type {string} */
  get name() {
    return UTF8.decode(this.nameBytes);
  }

  get nameBytes() {
    return this.#directory.subarray(this.#nameAt, this.#nameAt + this.#nameLength);
  }

  /** Dimensions, outermost first. Their product may exceed any integer type (13).
   *  @type {bigint[]} */
  get shape() {
    const view = viewOf(this.#directory);
    return Array.from({ length: this.#rank }, (_, i) =>
      view.getBigUint64(this.#dimsAt + 8 * i, true),
    );
  }

  /** The product of the dimensions: 0 if one is 0, however great the others are. */
  #countElements() {
    const view = viewOf(this.#directory);
    let elements = 1n;
    let isGreat = false;
    for (let i = 0; i < this.#rank; i++) {
      const dimension = view.getBigUint64(this.#dimsAt + 8 * i, true);
      if (dimension === 0n) return 0n;
      if (!isGreat) elements *= dimension;
      isGreat ||= elements > MAX_ELEMENTS;
    }
    if (isGreat) {
      const offset = HEADER_LENGTH + this.#dimsAt;
      fail('limit-elements', 'elements', offset, 'more', 'at most 2^56');
    }
    return elements;
  }

  /** Rules 1 and 2 of 4.2. @param {number} forms @param {number} offset */
  #checkForms(forms, offset) {
    for (let f = 0; f < 8; f++) {
      const form = (forms >>> (4 * f)) & 15;
      const field = this.type.fields[f];
      if (form > CONSTANT) {
        fail('form-unknown', `form of field ${f}`, offset, form, '0 to 3');
      }
      if (form !== PLAIN && field === undefined) {
        fail('form-field', `form of field ${f}, which ${this.type.name} does not have`, offset,
          form, '0');
      }
      if (form === PALETTE && field.width <= 4) {
        fail('form-field', `form palette for field ${f}`, offset, `a field of ${field.width} bits`,
          'at least 5');
      }
    }
  }

  /** Rules 3 and 4 of 4.2. @param {number} offset of the entry */
  #checkRestOf42(offset) {
    const q = this.codedFields.length;
    const m = this.paletteFields.length;
    const k = this.chunkSize;
    if (m > 0 && this.weights === 0n) {
      fail('form-empty', 'form of a field in a tensor without weights', offset + 4,
        FORM_NAMES[this.forms[this.paletteFields[0]]], 'plain');
    }
    if (q > 0 && this.byteLength > MAX_CODED) {
      fail('limit-coded', 'original bytes of a coded tensor', offset + 4, this.byteLength,
        'at most 2^36');
    }
    if (q > 0 ? k < 12 || k > 16 : k !== 0) {
      fail('chunk-size', `chunk size of a tensor with ${q} coded fields`, offset + 1, k,
        q > 0 ? '12 to 16' : '0');
    }
    if (m === 0 && this.paletteChecksum !== 0) {
      fail('palette-crc', 'palette checksum of a tensor without palettes', offset + 20,
        hex8(this.paletteChecksum), 'zero');
    }
  }

  /**
   * The parts of the payload (3.5), and rule 1 there. Sums are exact here, and become numbers at
   * the end: a file in which one of them exceeds the file's length breaks `payload-end` of a later
   * tensor or `file-length`, and is not used.
   *
   * @param {bigint} previousEnd
   * @param {bigint} statedEnd
   * @param {number} offset of the payload end in the file
   */
  #layOut(previousEnd, statedEnd, offset) {
    const n = this.weights;
    const q = BigInt(this.codedFields.length);
    const m = BigInt(this.paletteFields.length);
    const A = this.byteLength >= 65536n ? 256n : 16n;
    const codedBits = this.paletteFields.reduce((sum, f) => sum + this.type.fields[f].width, 0);
    this.plainBits = 8 * this.type.weightBytes - codedBits;
    const P = ceilDiv(n * BigInt(this.plainBits), 8n);
    const c = q > 0n ? ceilDiv(n, 1n << BigInt(this.chunkSize)) : 0n;
    const b = q === 0n && P > BigInt(BLOCK_LENGTH) ? ceilDiv(P, BigInt(BLOCK_LENGTH)) : 0n;

    const B = n === 0n ? previousEnd : alignBig(previousEnd, A);
    const C = b > 0n ? alignBig(B + P, 4n) : B + P;
    const blocksEnd = C + 4n * b;
    const G = m > 0n ? alignBig(blocksEnd, A) : blocksEnd;
    const palettesEnd = G + 16n * m;
    const endsEnd = palettesEnd + 4n * c * q;
    const R = q > 0n ? alignBig(endsEnd, 16n) : endsEnd;
    if (q === 0n) {
      if (statedEnd !== R) {
        fail('payload-end', 'payload end', offset, statedEnd, R);
      }
    } else {
      const least = R + 16n * c * q;
      const most = R + this.#mostRecordBytes(c);
      if (statedEnd < least || statedEnd > most || (statedEnd - R) % 16n !== 0n) {
        fail('payload-end', 'payload end', offset, statedEnd,
          `${R} and a multiple of 16, at least ${least} and at most ${most}`);
      }
    }

    this.begin = Number(previousEnd);
    this.planeBegin = Number(B);
    this.planeLength = Number(P);
    this.blocksBegin = Number(C);
    this.blocks = Number(b);
    this.palettesBegin = Number(G);
    this.endsBegin = Number(palettesEnd);
    this.recordsBegin = Number(R);
    this.chunks = Number(c);
    this.end = Number(statedEnd);
    this.statedEnd = statedEnd;
  }

  /** The sum of the greatest record lengths (5.1). @param {bigint} c */
  #mostRecordBytes(c) {
    const full = 1n << BigInt(this.chunkSize);
    const last = this.weights - (c - 1n) * full;
    let sum = 0n;
    for (const f of this.codedFields) {
      const w = this.type.fields[f].width;
      sum += (c - 1n) * BigInt(verbatimLength(Number(full), w));
      sum += BigInt(verbatimLength(Number(last), w));
    }
    return sum;
  }

  /**
   * Weights of a unit of decoding: a chunk, or in a tensor without records as many as take a whole
   * number of blocks of the plain plane.
   */
  get unitWeights() {
    if (this.codedFields.length > 0) return 2 ** this.chunkSize;
    const W = this.plainBits;
    return (8 * BLOCK_LENGTH) / (W & -W);
  }

  /** Number of these units. */
  get units() {
    return Number(ceilDiv(this.weights, BigInt(this.unitWeights)));
  }

  /** Weights of unit `j`. @param {number} j */
  weightsOfUnit(j) {
    const rest = this.weights - BigInt(j) * BigInt(this.unitWeights);
    return rest < BigInt(this.unitWeights) ? Number(rest) : this.unitWeights;
  }

  /** *M* in pieces: where the plain bits of a weight go (pdep of 4.2). @returns {Piece[]} */
  plainPieces() {
    const inField = new Set();
    for (const f of this.paletteFields) {
      const { low, width } = this.type.fields[f];
      for (let bit = 0; bit < width; bit++) inField.add(low + bit);
    }
    /** @type {Piece[]} */
    const pieces = [];
    let from = 0;
    for (let bit = 0; bit < 8 * this.type.weightBytes; bit++) {
      if (inField.has(bit)) continue;
      const last = pieces.at(-1);
      const follows = bit % 8 !== 0 && bit > 0 && !inField.has(bit - 1);
      if (last && follows) last.mask = 2 * last.mask + 1;
      else pieces.push({ from, byte: bit >> 3, shift: bit & 7, mask: 1 });
      from++;
    }
    return pieces;
  }

  /** Where the value of field `f` goes. @param {number} f @returns {Piece[]} */
  fieldPieces(f) {
    const { low, width } = this.type.fields[f];
    /** @type {Piece[]} */
    const pieces = [];
    for (let from = 0; from < width;) {
      const bit = low + from;
      const bits = Math.min(width - from, 8 - (bit & 7));
      pieces.push({ from, byte: bit >> 3, shift: bit & 7, mask: 2 ** bits - 1 });
      from += bits;
    }
    return pieces;
  }

  /** The paddings of the payload, each as begin and end (3.5, rule 2). @returns {number[][]} */
  paddings() {
    if (this.weights === 0n) return [];
    const planeEnd = this.planeBegin + this.planeLength;
    const blocksEnd = this.blocksBegin + 4 * this.blocks;
    const endsEnd = this.endsBegin + 4 * this.chunks * this.codedFields.length;
    return [
      [this.begin, this.planeBegin],
      [planeEnd, this.blocksBegin],
      [blocksEnd, this.palettesBegin],
      [endsEnd, this.recordsBegin],
    ].filter(([begin, end]) => begin < end);
  }
}

/**
 * Length of a verbatim record, which no record exceeds (5.1).
 *
 * @param {number} n weights of the chunk
 * @param {number} w bits of the field
 */
export const verbatimLength = (n, w) => align(16 + Math.ceil((n * w) / 8), 16);

// ---------------------------------------------------------------------------------------------
// 3.2 Directory
// ---------------------------------------------------------------------------------------------

const ENTRY_LENGTH = 40;
const MAX_RANK = 64;
const MAX_NAME = 65535;

/** The bytes are checked first, because a decoder of the platform may be lenient; a byte order
 *  mark stays. */
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Reads and checks the directory (3.2; 4.1, 4.2 and rule 1 of 3.5 for each tensor), then
 * `file-length` (3.1, rule 7).
 *
 * @param {Input} input
 * @param {Header} header
 * @returns {Promise<Tensor[]>}
 */
export async function readDirectory(input, header) {
  const { tensorCount: T, directoryLength: D } = header;
  if (T === 0 ? D !== 0 : D < ENTRY_LENGTH * T) {
    fail('dir-length', `directory length of ${T} tensors`, 24, D,
      T === 0 ? '0' : `at least ${ENTRY_LENGTH * T}`);
  }
  const bytes = await readExactly(input, HEADER_LENGTH, D);
  const view = viewOf(bytes);
  checkCrc('dir-crc', 'directory', header.directoryChecksum, crc32(bytes), 40);

  const lastEntry = ENTRY_LENGTH * (T - 1);
  const dimsEnd = T > 0 ? view.getUint32(lastEntry + 24, true) : 0;
  const nameEnd = T > 0 ? view.getUint32(lastEntry + 28, true) : 0;
  const dimsAt = ENTRY_LENGTH * T;
  const namesAt = dimsAt + 8 * dimsEnd;
  const contentsEnd = namesAt + nameEnd;
  if (align(contentsEnd, 8) !== D) {
    fail('dir-length', 'directory length', 24, D,
      `${align(contentsEnd, 8)}, for ${dimsEnd} dimensions and ${nameEnd} name bytes`);
  }
  checkZero('dir-padding', 'padding byte of the directory', bytes, contentsEnd, D, HEADER_LENGTH);

  const ends = readEnds(bytes, view, T);
  checkNames(bytes, view, T, (i) => [
    namesAt + (i > 0 ? ends.names[i - 1] : 0),
    namesAt + ends.names[i],
  ]);

  /** @type {Tensor[]} */
  const tensors = [];
  let previousEnd = BigInt(header.payloadBegin);
  for (let i = 0; i < T; i++) {
    const dim = i > 0 ? ends.dims[i - 1] : 0;
    const name = i > 0 ? ends.names[i - 1] : 0;
    const places = {
      dimsAt: dimsAt + 8 * dim,
      rank: ends.dims[i] - dim,
      nameAt: namesAt + name,
      nameLength: ends.names[i] - name,
    };
    const tensor = new Tensor(bytes, i, places, previousEnd);
    tensors.push(tensor);
    previousEnd = tensor.statedEnd;
  }

  if (BigInt(header.fileLength) !== previousEnd + BigInt(GUARD_LENGTH)) {
    fail('file-length', 'stated file length', 16, header.fileLength,
      `${previousEnd + BigInt(GUARD_LENGTH)}, the payload end and 64`);
  }
  return tensors;
}

/**
 * Checks the reserved bytes, the dims ends and the name ends (3.2, rules 2 to 4). After this no end
 * exceeds that of the last tensor.
 *
 * @param {Uint8Array} bytes
 * @param {DataView} view
 * @param {number} T
 */
function readEnds(bytes, view, T) {
  const dims = new Uint32Array(T);
  const names = new Uint32Array(T);
  for (let i = 0; i < T; i++) {
    const at = ENTRY_LENGTH * i;
    const offset = HEADER_LENGTH + at;
    for (const [begin, end] of [
      [at + 2, at + 4],
      [at + 36, at + 40],
    ]) {
      checkZero('dir-reserved', `reserved byte of entry ${i}`, bytes, begin, end, HEADER_LENGTH);
    }
    dims[i] = view.getUint32(at + 24, true);
    names[i] = view.getUint32(at + 28, true);
    const rank = dims[i] - (i > 0 ? dims[i - 1] : 0);
    const nameLength = names[i] - (i > 0 ? names[i - 1] : 0);
    if (rank < 0) {
      fail('dims-end', `dims end of entry ${i}`, offset + 24, dims[i], `at least ${dims[i - 1]}`);
    }
    if (rank > MAX_RANK) {
      fail('limit-rank', `dimensions of entry ${i}`, offset + 24, rank, `at most ${MAX_RANK}`);
    }
    if (nameLength < 0) {
      fail('name-end', `name end of entry ${i}`, offset + 28, names[i], `at least ${names[i - 1]}`);
    }
    if (nameLength > MAX_NAME) {
      fail('limit-name', `name of entry ${i}`, offset + 28, `${nameLength} bytes`,
        `at most ${MAX_NAME}`);
    }
  }
  return { dims, names };
}

/**
 * Checks that names are UTF-8, and that the by-name fields sort them (3.2, rules 4 and 5).
 *
 * @param {Uint8Array} bytes
 * @param {DataView} view
 * @param {number} T
 * @param {(i: number) => number[]} nameOf begin and end of a name in `bytes`
 */
function checkNames(bytes, view, T, nameOf) {
  for (let i = 0; i < T; i++) {
    const [begin, end] = nameOf(i);
    const bad = firstNonUtf8(bytes, begin, end);
    if (bad >= 0) {
      fail('name-utf8', `name of entry ${i}`, HEADER_LENGTH + bad, hex2(bytes[bad]), 'UTF-8');
    }
  }
  for (let i = 0, before = -1; i < T; i++) {
    const at = ENTRY_LENGTH * i + 32;
    const number = view.getUint32(at, true);
    if (number >= T) {
      fail('name-order', `by-name field of entry ${i}`, HEADER_LENGTH + at, number,
        `less than ${T}`);
    }
    if (before >= 0) {
      const order = compareRuns(bytes, nameOf(before), nameOf(number));
      if (order === 0) {
        fail('name-duplicate', `name of tensor ${number}`, HEADER_LENGTH + at,
          `the name of tensor ${before}`, 'a name of its own');
      }
      if (order > 0) {
        fail('name-order', `by-name field of entry ${i}`, HEADER_LENGTH + at,
          `tensor ${number}, whose name is less than the one before`, 'ascending names');
      }
    }
    before = number;
  }
}

/** Compares two runs of `bytes` as strings of unsigned bytes.
 *  @param {Uint8Array} bytes @param {number[]} a @param {number[]} b */
function compareRuns(bytes, [a, aEnd], [b, bEnd]) {
  for (; a < aEnd && b < bEnd; a++, b++) {
    if (bytes[a] !== bytes[b]) return bytes[a] - bytes[b];
  }
  return aEnd - a - (bEnd - b);
}

/**
 * The place of the first byte in `begin..end` from which on there is no UTF-8 as RFC 3629 defines
 * it (no overlong form, no surrogate, nothing above U+10FFFF), or -1.
 *
 * @param {Uint8Array} bytes
 * @param {number} begin
 * @param {number} end
 */
function firstNonUtf8(bytes, begin, end) {
  /** @param {number} i @param {number} low @param {number} high */
  const within = (i, low, high) => i < end && bytes[i] >= low && bytes[i] <= high;
  for (let i = begin; i < end;) {
    const first = bytes[i];
    if (first < 0x80) {
      i += 1;
    } else if (first >= 0xc2 && first <= 0xdf && within(i + 1, 0x80, 0xbf)) {
      i += 2;
    } else if (
      first >= 0xe0 &&
      first <= 0xef &&
      within(i + 1, first === 0xe0 ? 0xa0 : 0x80, first === 0xed ? 0x9f : 0xbf) &&
      within(i + 2, 0x80, 0xbf)
    ) {
      i += 3;
    } else if (
      first >= 0xf0 &&
      first <= 0xf4 &&
      within(i + 1, first === 0xf0 ? 0x90 : 0x80, first === 0xf4 ? 0x8f : 0xbf) &&
      within(i + 2, 0x80, 0xbf) &&
      within(i + 3, 0x80, 0xbf)
    ) {
      i += 4;
    } else {
      return i;
    }
  }
  return -1;
}

// ---------------------------------------------------------------------------------------------
// 3.3 Source section
// ---------------------------------------------------------------------------------------------

/** Members of `__metadata__` beyond which this decoder gives up: a `Map` of V8 has a bound. */
const MAX_METADATA = 2 ** 22;

/**
 * A member of a safetensors header that describes a tensor.
 *
 * @typedef {{ name: string, dtype: string, shape: bigint[], begin: bigint, end: bigint }} Member
 */

/**
 * Reads the JSON of a safetensors header (3.3, rules 1 and 2): UTF-8, one object, no name twice,
 * integers in digits alone. Errors are `source-header`.
 */
class HeaderReader {
  /**
   * @param {Uint8Array} bytes
   * @param {number} offset of the bytes in the file
   * @param {number} most tensors that the directory has
   */
  constructor(bytes, offset, most) {
    this.bytes = bytes;
    this.offset = offset;
    this.most = most;
    this.at = 0;
  }

  /** @param {string} what @param {number} at @param {string} found
   *  @param {string | number} expected
   *  @returns {never} */
  fail(what, at, found, expected) {
    return fail('source-header', what, this.offset + at, found, expected);
  }

  /** Description of the next byte. */
  next() {
    const byte = this.bytes[this.at];
    if (byte === undefined) return 'the end of the header';
    return byte > 0x20 && byte < 0x7f ? `'${String.fromCharCode(byte)}'` : `byte ${hex2(byte)}`;
  }

  space() {
    for (;;) {
      const byte = this.bytes[this.at];
      if (byte !== 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d) return;
      this.at++;
    }
  }

  /** Takes a character if it is next, space in front of it included. @param {string} c */
  takes(c) {
    this.space();
    if (this.bytes[this.at] !== c.charCodeAt(0)) return false;
    this.at++;
    return true;
  }

  /** @param {string} c */
  expect(c) {
    if (!this.takes(c)) this.fail('JSON', this.at, this.next(), `'${c}'`);
  }

  /** The items of an object or an array, behind its opening bracket.
   *  @param {string} close @param {() => void} item */
  items(close, item) {
    if (this.takes(close)) return;
    do item();
    while (this.takes(','));
    this.expect(close);
  }

  /** A string with its escapes resolved. Those are no longer than they were, so the bytes of the
   *  string are resolved in a buffer of their length. */
  string() {
    this.expect('"');
    const begin = this.at;
    for (;;) {
      const byte = this.bytes[this.at];
      if (byte === 0x22) return UTF8.decode(this.bytes.subarray(begin, this.at++));
      if (byte === 0x5c) break;
      if (byte === undefined || byte < 0x20) {
        this.fail('JSON string', this.at, this.next(), 'its end');
      }
      this.at++;
    }
    let end = this.at;
    while (this.bytes[end] !== 0x22 && end < this.bytes.length) {
      end += this.bytes[end] === 0x5c ? 2 : 1;
    }
    const text = new Uint8Array(Math.min(end, this.bytes.length) - begin);
    text.set(this.bytes.subarray(begin, this.at));
    let length = this.at - begin;
    for (;;) {
      const byte = this.bytes[this.at];
      if (byte === 0x22) {
        this.at++;
        return UTF8.decode(text.subarray(0, length));
      }
      if (byte === undefined || byte < 0x20) {
        this.fail('JSON string', this.at, this.next(), 'its end');
      }
      this.at++;
      if (byte !== 0x5c) {
        text[length++] = byte;
        continue;
      }
      const c = this.escape();
      if (c < 0x80) {
        text[length++] = c;
      } else if (c < 0x800) {
        text[length++] = 0xc0 | (c >> 6);
        text[length++] = 0x80 | (c & 63);
      } else if (c < 0x10000) {
        text[length++] = 0xe0 | (c >> 12);
        text[length++] = 0x80 | ((c >> 6) & 63);
        text[length++] = 0x80 | (c & 63);
      } else {
        text[length++] = 0xf0 | (c >> 18);
        text[length++] = 0x80 | ((c >> 12) & 63);
        text[length++] = 0x80 | ((c >> 6) & 63);
        text[length++] = 0x80 | (c & 63);
      }
    }
  }

  /** The code point of an escape, behind its backslash. */
  escape() {
    const begin = this.at - 1;
    const letter = String.fromCharCode(this.bytes[this.at++] ?? 0);
    if (letter !== 'u') {
      const i = '"\\/bfnrt'.indexOf(letter);
      if (i < 0) this.fail('JSON escape', begin, quoted(letter), 'one of "\\/bfnrtu');
      return '"\\/\b\f\n\r\t'.charCodeAt(i);
    }
    const unit = this.hex4(begin);
    if (unit < 0xd800 || unit > 0xdfff) return unit;
    if (unit < 0xdc00 && this.bytes[this.at] === 0x5c && this.bytes[this.at + 1] === 0x75) {
      this.at += 2;
      const second = this.hex4(begin);
      if (second >= 0xdc00 && second <= 0xdfff) {
        return 0x10000 + ((unit - 0xd800) << 10) + (second - 0xdc00);
      }
    }
    return this.fail('JSON escape', begin, 'an unpaired surrogate', 'a pair');
  }

  /** @param {number} begin of the escape */
  hex4(begin) {
    let unit = 0;
    for (let i = 0; i < 4; i++) {
      const byte = this.bytes[this.at++] ?? 0;
      const lower = byte | 0x20;
      if (byte >= 0x30 && byte <= 0x39) unit = 16 * unit + byte - 0x30;
      else if (lower >= 0x61 && lower <= 0x66) unit = 16 * unit + lower - 0x57;
      else this.fail('JSON escape', begin, hex2(byte), 'four hexadecimal digits behind \\u');
    }
    return unit;
  }

  /** An integer in digits alone, below 2^64. */
  integer() {
    this.space();
    const begin = this.at;
    while (this.bytes[this.at] >= 0x30 && this.bytes[this.at] <= 0x39) this.at++;
    const length = this.at - begin;
    if (length === 0) this.fail('JSON', begin, this.next(), 'an integer');
    if (length > 1 && this.bytes[begin] === 0x30) {
      this.fail('integer', begin, 'a leading zero', 'digits alone');
    }
    const value =
      length > 20 ? 1n << 64n : BigInt(String.fromCharCode(...this.bytes.subarray(begin, this.at)));
    if (value >= 1n << 64n) this.fail('integer', begin, 'more', 'less than 2^64');
    return value;
  }

  /** An array of at most `most` integers. @param {number} most @param {string} what */
  integers(most, what) {
    /** @type {bigint[]} */
    const values = [];
    this.expect('[');
    this.items(']', () => {
      if (values.length === most) this.fail(what, this.at, 'more integers', `at most ${most}`);
      values.push(this.integer());
    });
    return values;
  }

  /** The value of `__metadata__`. */
  metadata() {
    this.space();
    if (String.fromCharCode(...this.bytes.subarray(this.at, this.at + 4)) === 'null') {
      this.at += 4;
      return null;
    }
    /** @type {Map<string, string>} */
    const metadata = new Map();
    this.expect('{');
    this.items('}', () => {
      const at = this.at;
      const name = this.string();
      this.expect(':');
      const size = metadata.size;
      if (size === MAX_METADATA) {
        throw new CapacityError(`more than ${MAX_METADATA} members of __metadata__`);
      }
      metadata.set(name, this.string());
      if (metadata.size === size) {
        this.fail('name in __metadata__', at, `${quoted(name)} twice`, 'once');
      }
    });
    return metadata;
  }

  /** The value of a member that describes a tensor. @param {string} name @returns {Member} */
  member(name) {
    const begin = this.at;
    /** @type {string | undefined} */ let dtype;
    /** @type {bigint[] | undefined} */ let shape;
    /** @type {bigint[] | undefined} */ let offsets;
    this.expect('{');
    this.items('}', () => {
      const at = this.at;
      const key = this.string();
      this.expect(':');
      if (key === 'dtype' && dtype === undefined) {
        dtype = this.string();
      } else if (key === 'shape' && shape === undefined) {
        shape = this.integers(MAX_RANK, 'shape');
      } else if (key === 'data_offsets' && offsets === undefined) {
        offsets = this.integers(2, 'data_offsets');
      } else {
        this.fail(`member of ${quoted(name)}`, at, quoted(key), 'dtype, shape, data_offsets once');
      }
    });
    if (dtype === undefined || shape === undefined || offsets === undefined) {
      return this.fail(`members of ${quoted(name)}`, begin, 'fewer',
        'dtype, shape and data_offsets');
    }
    if (offsets.length !== 2 || offsets[0] > offsets[1]) {
      this.fail('data_offsets', begin, `[${offsets.join(', ')}]`, 'begin and end, begin <= end');
    }
    return { name, dtype, shape, begin: offsets[0], end: offsets[1] };
  }

  /** The whole header. */
  read() {
    const bad = firstNonUtf8(this.bytes, 0, this.bytes.length);
    if (bad >= 0) this.fail('header', bad, hex2(this.bytes[bad]), 'UTF-8');
    if (this.bytes[0] !== 0x7b) this.fail('header', 0, this.next(), "'{'");
    /** @type {Set<string>} */
    const names = new Set();
    /** @type {Member[]} */
    const members = [];
    /** @type {Map<string, string> | null} */
    let metadata = null;
    this.expect('{');
    this.items('}', () => {
      const at = this.at;
      const name = this.string();
      if (names.has(name)) this.fail('name of a member', at, `${quoted(name)} twice`, 'once');
      names.add(name);
      this.expect(':');
      if (name === '__metadata__') {
        metadata = this.metadata();
      } else {
        if (members.length === this.most) {
          this.fail('tensors', at, `more than ${this.most}`, this.most);
        }
        members.push(this.member(name));
      }
    });
    this.space();
    if (this.at < this.bytes.length) {
      this.fail('behind the object', this.at, this.next(), 'white space');
    }
    return { members, metadata };
  }
}

/**
 * Reads the JSON of a safetensors header. A file that is not compressed has no directory to compare
 * it with.
 *
 * @param {Uint8Array} json
 * @param {number} offset of these bytes in the file
 * @param {number} [most] tensors, at most
 * @returns {{ members: Member[], metadata: Map<string, string> | null }} the members in the order
 *   of their data
 */
export function parseSafetensorsHeader(json, offset, most = MAX_TENSORS) {
  const { members, metadata } = new HeaderReader(json, offset, most).read();
  // Sorting is stable, so members with equal offsets keep the order in which they appear.
  members.sort((a, b) => compare(a.begin, b.begin) || compare(a.end, b.end));
  let end = 0n;
  for (const member of members) {
    if (member.begin !== end) {
      fail('source-header', `data_offsets of ${quoted(member.name)}`, offset,
        `begin ${member.begin}`, `${end}, where the tensor before it ends`);
    }
    end = member.end;
  }
  return { members, metadata };
}

/** @param {bigint} a @param {bigint} b */
const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

/**
 * Reads and checks the source section (3.3).
 *
 * @param {Input} input
 * @param {Header} header
 * @param {Tensor[]} tensors
 * @returns {Promise<{ bytes: Uint8Array, metadata: Map<string, string> | null }>}
 */
export async function readSourceSection(input, header, tensors) {
  const begin = HEADER_LENGTH + header.directoryLength;
  const bytes = await readExactly(input, begin, header.sourceLength);
  checkCrc('source-crc', 'source', header.sourceChecksum, crc32(bytes), 44);
  if (header.sourceKind === 0) return { bytes, metadata: null };

  const N = viewOf(bytes).getBigUint64(0, true);
  if (BigInt(header.sourceLength) !== 8n + N) {
    fail('source-header', 'length of the JSON', begin, N,
      `${header.sourceLength - 8}, the source length less 8`);
  }
  const json = bytes.subarray(8);
  const { members, metadata } = parseSafetensorsHeader(json, begin + 8, tensors.length);
  if (members.length !== tensors.length) {
    fail('source-header', 'tensors', begin + 8, members.length,
      `${tensors.length}, as the directory has`);
  }
  members.forEach((member, i) => {
    const tensor = tensors[i];
    /** @param {string} what @param {string | bigint} found @param {string | bigint} expected */
    const same = (what, found, expected) => {
      if (found === expected) return;
      fail('source-header', `${what} of tensor ${i} in the order of data_offsets`, begin + 8,
        quoted(`${found}`), `${quoted(`${expected}`)}, as in the directory`);
    };
    same('name', member.name, tensor.name);
    same('dtype', member.dtype, tensor.dtype);
    same('shape', member.shape.join(', '), tensor.shape.join(', '));
    same('length', member.end - member.begin, tensor.byteLength);
  });
  return { bytes, metadata };
}

// ---------------------------------------------------------------------------------------------
// 3.4 Extensions
// ---------------------------------------------------------------------------------------------

/**
 * An item of the extensions that is not critical. Version 1.0 defines none.
 *
 * @typedef {{ kind: number, offset: number, length: number }} Extension
 */

/**
 * Reads and checks the extensions (3.4). A critical item is not known to this decoder, whatever its
 * kind.
 *
 * @param {Input} input
 * @param {Header} header
 * @returns {Promise<Extension[]>}
 */
export async function readExtensions(input, header) {
  const begin = HEADER_LENGTH + header.directoryLength + header.sourceLength;
  const X = header.extensionLength;
  const bytes = await readExactly(input, begin, X);
  checkCrc('extension-crc', 'extension', header.extensionChecksum, crc32(bytes), 52);
  if (X % 8 !== 0) {
    fail('extension-length', 'extension length', 48, X, 'a multiple of 8');
  }
  const view = viewOf(bytes);
  /** @type {Extension[]} */
  const items = [];
  for (let at = 0; at < X;) {
    const kind = view.getUint32(at, true);
    const length = view.getUint32(at + 4, true);
    const end = at + align(8 + length, 8);
    if (end > X) {
      fail('extension-length', 'length of an extension item', begin + at + 4, length,
        `at most ${X - at - 8}`);
    }
    checkZero('extension-padding', 'padding byte of an extension item', bytes, at + 8 + length, end,
      begin);
    if (kind >= 0x80000000) {
      fail('extension-unknown', 'critical extension item', begin + at, `kind ${hex8(kind)}`,
        'no critical item');
    }
    items.push({ kind, offset: begin + at + 8, length });
    at = end;
  }
  return items;
}

// ---------------------------------------------------------------------------------------------
// 3.5 Payload: palettes, record ends, plain plane, padding
// ---------------------------------------------------------------------------------------------

/** @param {Input} input @param {number} begin @param {number} end */
async function checkPadding(input, begin, end) {
  const bytes = await readExactly(input, begin, end - begin);
  checkZero('padding', 'padding byte', bytes, 0, bytes.length, begin);
}

/**
 * Reads and checks the palettes of a tensor (3.5, rule 4).
 *
 * @param {Input} input
 * @param {Tensor} tensor
 * @returns {Promise<(Uint8Array | undefined)[]>} by field: the entries of a coded field, the one
 *   value of a constant field, nothing for a plain field
 */
export async function readPalettes(input, tensor) {
  /** @type {(Uint8Array | undefined)[]} */
  const palettes = tensor.forms.map(() => undefined);
  const m = tensor.paletteFields.length;
  if (m === 0) return palettes;
  const bytes = await readExactly(input, tensor.palettesBegin, 16 * m);
  const checksumAt = HEADER_LENGTH + ENTRY_LENGTH * tensor.index + 20;
  checkCrc('palette-crc', 'palette', tensor.paletteChecksum, crc32(bytes), checksumAt);
  tensor.paletteFields.forEach((f, i) => {
    const { width } = tensor.type.fields[f];
    const entries = tensor.forms[f] === CONSTANT ? 1 : Math.min(16, 2 ** width);
    for (let j = 0; j < 16; j++) {
      const value = bytes[16 * i + j];
      /** @param {string} expected */
      const refuse = (expected) =>
        fail('palette-values', `entry ${j} of the palette of field ${f}`,
          tensor.palettesBegin + 16 * i + j, value, expected);
      if (j >= entries) {
        if (value !== 0) refuse('zero');
      } else if (value >= 2 ** width) {
        refuse(`less than ${2 ** width}`);
      } else if (j > 0 && value <= bytes[16 * i + j - 1]) {
        refuse(`more than ${bytes[16 * i + j - 1]}`);
      }
    }
    palettes[f] = bytes.subarray(16 * i, 16 * i + entries);
  });
  return palettes;
}

/**
 * Reads the record ends of chunks `first..last`, with the one before them, and checks rule 5 of 3.5
 * for them.
 *
 * @param {Input} input
 * @param {Tensor} tensor
 * @param {number} first
 * @param {number} last
 * @returns {Promise<Uint32Array>} end(*r*−1), end(*r*), ... for the first record *r* of `first`
 */
export async function readRecordEnds(input, tensor, first, last) {
  const q = tensor.codedFields.length;
  const from = Math.max(0, first * q - 1);
  const begin = tensor.endsBegin + 4 * from;
  const bytes = await readExactly(input, begin, 4 * (last * q - from));
  const view = viewOf(bytes);
  const ends = new Uint32Array((last - first) * q + 1);
  const total = (tensor.end - tensor.recordsBegin) / 16;
  for (let i = first === 0 ? 1 : 0; i < ends.length; i++) {
    const at = first === 0 ? 4 * (i - 1) : 4 * i;
    ends[i] = view.getUint32(at, true);
    if (i === 0) continue;
    const r = first * q + i - 1;
    const offset = begin + at;
    const chunk = Math.floor(r / q);
    const field = tensor.codedFields[r % q];
    const isLast = r === tensor.chunks * q - 1;
    const length = 16 * (ends[i] - ends[i - 1]);
    const most = verbatimLength(tensor.weightsOfUnit(chunk), tensor.type.fields[field].width);
    try {
      if (ends[i] <= ends[i - 1] || ends[i] > total || (isLast && ends[i] !== total)) {
        const range = `more than ${ends[i - 1]} and at most ${total}`;
        fail('record-ends', 'record end', offset, ends[i], isLast ? total : range);
      }
      if (length > most) {
        fail('record-too-long', 'length of the record', offset, length, `at most ${most}`);
      }
    } catch (error) {
      throw located(error, { tensor, chunk, field });
    }
  }
  return ends;
}

/**
 * Reads bytes `begin..end` of the plain plane. If it has block checksums, the blocks that these
 * bytes lie in are read and checked (3.5, rule 3); if the last byte is among them, so are its
 * padding bits (rule 2).
 *
 * @param {Input} input
 * @param {Tensor} tensor
 * @param {number} begin
 * @param {number} end
 */
async function readPlane(input, tensor, begin, end) {
  let from = begin;
  let to = end;
  if (tensor.blocks > 0) {
    from = begin - (begin % BLOCK_LENGTH);
    to = Math.min(align(end, BLOCK_LENGTH), tensor.planeLength);
  }
  const bytes = await readExactly(input, tensor.planeBegin + from, to - from);
  if (tensor.blocks > 0 && to > from) {
    const first = from / BLOCK_LENGTH;
    const count = Math.ceil((to - from) / BLOCK_LENGTH);
    const at = tensor.blocksBegin + 4 * first;
    const checksums = viewOf(await readExactly(input, at, 4 * count));
    for (let i = 0; i < count; i++) {
      const block = bytes.subarray(i * BLOCK_LENGTH, (i + 1) * BLOCK_LENGTH);
      const stored = checksums.getUint32(4 * i, true);
      checkCrc('block-crc', `block ${first + i}`, stored, crc32(block), at + 4 * i);
    }
  }
  const lastBits = Number((tensor.weights * BigInt(tensor.plainBits)) % 8n);
  if (to === tensor.planeLength && to > from && lastBits !== 0) {
    const last = bytes[to - from - 1];
    if (last >> lastBits !== 0) {
      fail('padding', 'padding bits of the plain plane', tensor.planeBegin + to - 1, hex2(last),
        `zero from bit ${lastBits} on`);
    }
  }
  return bytes.subarray(begin - from, end - from);
}

// ---------------------------------------------------------------------------------------------
// 5. Records
// ---------------------------------------------------------------------------------------------

const VERBATIM_RECORD = 0;
const HUFFMAN_RECORD = 1;
const PALETTE_RECORD = 2;

/** Names of the record kinds 0 to 2. */
export const RECORD_KINDS = Object.freeze(['verbatim', 'huffman', 'palette']);

const LANES = 32;
const NO_CODE = 15;

/**
 * What the record of one field in one chunk needs besides its bytes.
 *
 * @typedef {object} RecordContext
 * @property {number} offset of the record in the file
 * @property {number} weights *n*: weights of the chunk
 * @property {number} width *w*: bits of the field
 * @property {number} form of the field
 * @property {Uint8Array} palette of the field
 * @property {Uint8Array | null} plane the chunk's bytes of the plain plane, for the record of its
 *   first coded field
 */

/**
 * A record: its header, the ends of its parts, and the values *v*[0..*n*].
 *
 * @typedef {object} DecodedRecord
 * @property {number} kind
 * @property {number} patches *p*
 * @property {Uint8Array} lengths the nibbles of section 6, one an entry; 15: no code
 * @property {Uint16Array | null} laneEnds of a huffman record
 * @property {number} length bytes, padding included
 * @property {Uint8Array} values
 */

/**
 * Decodes a record (5, and the procedure *Record* of 7).
 *
 * @param {Uint8Array} record
 * @param {RecordContext} context
 * @returns {DecodedRecord}
 */
export function decodeRecord(record, context) {
  const { offset, weights: n, width: w, palette } = context;
  const view = viewOf(record);

  // 7, Record, step 1
  const stored = view.getUint32(0, true);
  let computed = crc32(record.subarray(4));
  if (context.plane) computed = crc32(context.plane, computed);
  checkCrc('record-crc', 'record', stored, computed, offset);
  const kind = record[4];
  if (kind > PALETTE_RECORD) {
    fail('record-kind', 'record kind', offset + 4, kind, '0 to 2');
  }
  if (kind !== VERBATIM_RECORD && kind !== context.form) {
    fail('record-form', `record kind in a field of the form ${FORM_NAMES[context.form]}`,
      offset + 4, RECORD_KINDS[kind], `verbatim or ${FORM_NAMES[context.form]}`);
  }
  const patches = view.getUint16(6, true);
  checkReservedFields(record, kind, offset);

  // Steps 2 and 3: body, length, padding
  const steps = Math.ceil(n / 256);
  const lengths = new Uint8Array(16);
  for (let j = 0; j < 16; j++) lengths[j] = (record[8 + (j >> 1)] >> (4 * (j & 1))) & 15;
  /** @type {Uint16Array | null} */
  let table = null;
  /** @type {Uint16Array | null} */
  let laneEnds = null;
  let bodyEnd = 16 + 128 * steps;
  if (kind === VERBATIM_RECORD) {
    bodyEnd = 16 + Math.ceil((n * w) / 8);
  } else if (kind === HUFFMAN_RECORD) {
    if (record.length < 80) {
      fail('record-length', 'length of a huffman record', offset, record.length, 'at least 80');
    }
    table = makeTable(lengths, palette.length, offset + 8);
    laneEnds = readLaneEnds(view, offset);
    bodyEnd = 80 + laneEnds[LANES - 1];
  }
  checkLengthAndPadding(record, bodyEnd, patches, offset);

  // Steps 2 and 4 to 6: the values
  /** @type {Uint8Array} */
  let values;
  if (kind === VERBATIM_RECORD) {
    values = decodeVerbatim(record.subarray(16, bodyEnd), n, w, offset + 16);
  } else if (table !== null && laneEnds !== null) {
    values = decodeLanes(record, laneEnds, table, palette, steps, offset);
  } else {
    values = new Uint8Array(256 * steps);
    for (let i = 0; i < 128 * steps; i++) {
      values[2 * i] = palette[record[16 + i] & 15];
      values[2 * i + 1] = palette[record[16 + i] >> 4];
    }
  }
  values = values.subarray(0, n);
  applyPatches(view, bodyEnd, patches, values, w, offset);
  return { kind, patches, lengths, laneEnds, length: record.length, values };
}

/** Rule 3 of 5.1. @param {Uint8Array} record @param {number} kind @param {number} offset */
function checkReservedFields(record, kind, offset) {
  /** @param {number} begin @param {number} end @param {string} what */
  const zero = (begin, end, what) => {
    checkZero('record-reserved', what, record, begin, end, offset);
  };
  zero(5, 6, 'reserved byte of the record');
  if (kind === VERBATIM_RECORD) zero(6, 8, 'patch count of a verbatim record');
  if (kind !== HUFFMAN_RECORD) zero(8, 16, `code lengths of a ${RECORD_KINDS[kind]} record`);
}

/** Rule 1 of 5.2. @param {DataView} view @param {number} offset */
function readLaneEnds(view, offset) {
  const ends = new Uint16Array(LANES);
  for (let l = 0, before = 0; l < LANES; l++) {
    ends[l] = view.getUint16(16 + 2 * l, true);
    if (ends[l] < before) {
      fail('lane-ends', `end of lane ${l}`, offset + 16 + 2 * l, ends[l], `at least ${before}`);
    }
    before = ends[l];
  }
  return ends;
}

/** Rule 4 and the bytes of rule 5 of 5.1.
 *  @param {Uint8Array} record @param {number} bodyEnd @param {number} p @param {number} offset */
function checkLengthAndPadding(record, bodyEnd, p, offset) {
  const end = bodyEnd + 3 * p;
  if (record.length !== align(end, 16)) {
    fail('record-length', 'length of the record', offset, record.length,
      `${align(end, 16)}, for a body that ends at ${bodyEnd} and ${p} patches`);
  }
  checkZero('record-padding', 'padding byte of the record', record, end, record.length, offset);
}

/** 5.2 and step 4. @param {Uint8Array} record @param {Uint16Array} ends @param {Uint16Array} table
 *  @param {Uint8Array} palette @param {number} steps @param {number} offset */
function decodeLanes(record, ends, table, palette, steps, offset) {
  const values = new Uint8Array(256 * steps);
  for (let l = 0; l < LANES; l++) {
    const begin = 80 + (l > 0 ? ends[l - 1] : 0);
    const end = 80 + ends[l];
    // `bits` holds `have` bits of the lane that no code has used yet, the next one in bit 0. Past
    // the end of the lane they are 0.
    let bits = 0;
    let have = 0;
    let at = begin;
    let used = 0;
    for (let t = 0; t < steps; t++) {
      const base = 256 * t + 8 * l;
      for (let i = 0; i < 8; i++) {
        if (have < 8) {
          // At least 16 bits fit; a byte past the end is 0.
          if (at < end) bits |= record[at] << have;
          if (at + 1 < end) bits |= record[at + 1] << (have + 8);
          at += 2;
          have += 16;
        }
        const entry = table[bits & 255];
        const L = entry & 15;
        values[base + i] = palette[entry >> 4];
        bits >>>= L;
        have -= L;
        used += L;
      }
    }

    const length = 8 * (end - begin);
    const what = `bits that the codes of lane ${l} need`;
    if (used > length) fail('lane-overrun', what, offset + begin, used, `at most ${length}`);
    if (length - used >= 8) {
      fail('lane-underrun', what, offset + begin, used, `more than ${length - 8}`);
    }
    if (used < length && record[end - 1] >> (used & 7) !== 0) {
      fail('lane-padding', `last byte of lane ${l}`, offset + end - 1, hex2(record[end - 1]),
        `zero from bit ${used & 7} on`);
    }
  }
  return values;
}

/** 5.4: numbers of `w` bits. @param {Uint8Array} body @param {number} n @param {number} w
 *  @param {number} offset */
function decodeVerbatim(body, n, w, offset) {
  const values = new Uint8Array(n);
  const mask = 2 ** w - 1;
  for (let i = 0, bit = 0; i < n; i++, bit += w) {
    const at = bit >>> 3;
    values[i] = ((body[at] | (body[at + 1] << 8)) >>> (bit & 7)) & mask;
  }
  const lastBits = (n * w) & 7;
  if (lastBits !== 0 && body[body.length - 1] >> lastBits !== 0) {
    fail('record-padding', 'padding bits of a verbatim body', offset + body.length - 1,
      hex2(body[body.length - 1]), `zero from bit ${lastBits} on`);
  }
  return values;
}

/** 5.5. @param {DataView} view @param {number} begin @param {number} p @param {Uint8Array} values
 *  @param {number} w @param {number} offset */
function applyPatches(view, begin, p, values, w, offset) {
  for (let i = 0, before = -1; i < p; i++) {
    const at = begin + 3 * i;
    const position = view.getUint16(at, true);
    const value = view.getUint8(at + 2);
    if (position <= before) {
      fail('patch-order', `position of patch ${i}`, offset + at, position, `more than ${before}`);
    }
    if (position >= values.length) {
      fail('patch-position', `position of patch ${i}`, offset + at, position,
        `less than ${values.length}`);
    }
    if (value >= 2 ** w) {
      fail('patch-value', `value of patch ${i}`, offset + at + 2, value, `less than ${2 ** w}`);
    }
    values[position] = value;
    before = position;
  }
}

// ---------------------------------------------------------------------------------------------
// 6. Huffman code
// ---------------------------------------------------------------------------------------------

/**
 * The table *Q* of a code: for each of the 256 values that the next 8 bits can have, 16·*j* + *L*.
 *
 * @param {Uint8Array} lengths 16 nibbles
 * @param {number} entries of the palette
 * @param {number} [offset] of the code lengths in the file
 */
export function makeTable(lengths, entries, offset) {
  let sum = 0;
  for (let j = 0; j < 16; j++) {
    const L = lengths[j];
    if ((L >= 9 && L <= 14) || (j >= entries && L !== NO_CODE)) {
      fail('code-length', `code length of entry ${j}`,
        offset === undefined ? undefined : offset + (j >> 1), L,
        j >= entries ? '15' : '0 to 8, or 15');
    }
    if (L <= 8) sum += 256 >> L;
  }
  if (sum !== 256) {
    fail(sum > 256 ? 'code-oversubscribed' : 'code-incomplete', 'code space', offset,
      `${sum} of 256`, '256');
  }
  const Q = new Uint16Array(256);
  let code = 0;
  let before = -1;
  for (let L = 0; L <= 8; L++) {
    for (let j = 0; j < 16; j++) {
      if (lengths[j] !== L) continue;
      if (before >= 0) code = (code + 1) << (L - before);
      before = L;
      let reversed = 0;
      for (let bit = 0; bit < L; bit++) reversed |= ((code >> bit) & 1) << (L - 1 - bit);
      for (let i = 0; i < 256 >> L; i++) Q[reversed + (i << L)] = 16 * j + L;
    }
  }
  return Q;
}

// ---------------------------------------------------------------------------------------------
// 7. Decode procedure
// ---------------------------------------------------------------------------------------------

/**
 * Decoded weights of a tensor: the bytes of the weights from number `weight` on.
 *
 * @typedef {{ weight: bigint, bytes: Uint8Array }} Part
 */

/**
 * @typedef {object} Progress
 * @property {number} position bytes of the file whose checks are done
 * @property {number} total bytes of the file
 * @property {Tensor | undefined} tensor being decoded
 */

/**
 * @typedef {object} VerifyOptions
 * @property {(progress: Progress) => void | Promise<void>} [onProgress] called after each unit, and
 *   awaited
 * @property {AbortSignal} [signal] stops the work with its reason
 * @property {number} [mostViolations] after which the work ends; by default 1. After a violation
 *   the work goes on with the next tensor
 */

/** Puts the plain bits and the fields of `n` weights together (7, Tensor, step 2). */
class Assembler {
  /** @param {Tensor} tensor @param {(Uint8Array | undefined)[]} palettes */
  constructor(tensor, palettes) {
    this.size = tensor.type.weightBytes;
    this.plainBits = tensor.plainBits;
    this.plain = tensor.plainPieces();
    this.coded = tensor.codedFields.map((f) => tensor.fieldPieces(f));
    /** The bits of all constant fields of a weight, by byte. */
    this.constants = new Uint8Array(this.size);
    for (const f of tensor.paletteFields) {
      if (tensor.forms[f] !== CONSTANT) continue;
      const value = palettes[f]?.[0] ?? 0;
      for (const { from, byte, shift, mask } of tensor.fieldPieces(f)) {
        this.constants[byte] |= ((value >> from) & mask) << shift;
      }
    }
  }

  /**
   * @param {number} n
   * @param {Uint8Array} plane bytes of the plain plane
   * @param {number} firstBit of them
   * @param {Uint8Array[]} values of each coded field
   */
  assemble(n, plane, firstBit, values) {
    const { size, plainBits: W } = this;
    if (W === 8 * size) return plane.slice(0, n * size);
    const out = new Uint8Array(n * size);
    if (this.constants.some((byte) => byte !== 0)) {
      for (let i = 0; i < out.length; i += size) out.set(this.constants, i);
    }
    for (const { from, byte, shift, mask } of this.plain) {
      const first = firstBit + from;
      if (W % 8 === 0 && (first & 7) + 32 - Math.clz32(mask) <= 8) {
        // The bits lie in one byte of the plane, in each weight in the same place.
        const down = first & 7;
        for (let o = byte, at = first >> 3; o < out.length; o += size, at += W >> 3) {
          out[o] |= ((plane[at] >> down) & mask) << shift;
        }
        continue;
      }
      for (let o = byte, bit = first; o < out.length; o += size, bit += W) {
        const at = bit >>> 3;
        out[o] |= (((plane[at] | (plane[at + 1] << 8)) >>> (bit & 7)) & mask) << shift;
      }
    }
    this.coded.forEach((pieces, i) => {
      const v = values[i];
      for (const { from, byte, shift, mask } of pieces) {
        for (let j = 0, o = byte; j < n; j++, o += size) out[o] |= ((v[j] >> from) & mask) << shift;
      }
    });
    return out;
  }
}

/** Record ends that are read at a time. */
const ENDS_WINDOW = 16384;

/**
 * Decodes weights `begin..end` of a tensor, unit by unit.
 *
 * @param {Input} input
 * @param {Tensor} tensor
 * @param {bigint} begin
 * @param {bigint} end
 * @returns {AsyncGenerator<Part & { filePosition: number }>}
 */
async function* decodeWeights(input, tensor, begin, end) {
  if (begin >= end) return;
  const palettes = await readPalettes(input, tensor);
  const assembler = new Assembler(tensor, palettes);
  const unit = tensor.unitWeights;
  const first = Number(begin / BigInt(unit));
  const last = Number(ceilDiv(end, BigInt(unit)));
  const q = tensor.codedFields.length;
  const window = q > 0 ? Math.floor(ENDS_WINDOW / q) : 0;
  /** @type {Uint32Array} */
  let ends = new Uint32Array(0);
  let endsFirst = first;
  let endsLast = first;
  for (let j = first; j < last; j++) {
    const start = BigInt(j) * BigInt(unit);
    const from = begin > start ? Number(begin - start) : 0;
    const to = end < start + BigInt(unit) ? Number(end - start) : unit;
    if (q > 0 && j >= endsLast) {
      endsFirst = j;
      endsLast = Math.min(last, j + window);
      ends = await readRecordEnds(input, tensor, endsFirst, endsLast);
    }
    /** @type {Uint8Array} */
    let bytes;
    try {
      if (q > 0) {
        const chunk = await decodeChunk(
          input,
          tensor,
          palettes,
          j,
          ends.subarray((j - endsFirst) * q),
        );
        const values = chunk.records.map((record) => record.values);
        bytes = assembler.assemble(tensor.weightsOfUnit(j), chunk.plane, 0, values);
        bytes = bytes.subarray(from * tensor.type.weightBytes, to * tensor.type.weightBytes);
      } else {
        const W = tensor.plainBits;
        const planeAt = j * ((unit * W) / 8);
        const planeFrom = planeAt + Math.floor((from * W) / 8);
        const planeTo = planeAt + Math.ceil((to * W) / 8);
        const plane = await readPlane(input, tensor, planeFrom, planeTo);
        bytes = assembler.assemble(to - from, plane, (from * W) & 7, []);
      }
    } catch (error) {
      throw located(error, { tensor, chunk: q > 0 ? j : undefined });
    }
    const share = (j + 1) / tensor.units;
    const filePosition = tensor.begin + Math.floor(share * (tensor.end - tensor.begin));
    yield { weight: start + BigInt(from), bytes, filePosition };
  }
}

/**
 * Reads and decodes the records of chunk `j`.
 *
 * @param {Input} input
 * @param {Tensor} tensor
 * @param {(Uint8Array | undefined)[]} palettes
 * @param {number} j
 * @param {Uint32Array} ends end(*r*−1), end(*r*), ... for the first record *r* of the chunk
 * @returns {Promise<{ plane: Uint8Array, records: DecodedRecord[] }>}
 */
async function decodeChunk(input, tensor, palettes, j, ends) {
  const q = tensor.codedFields.length;
  const n = tensor.weightsOfUnit(j);
  const planeAt = j * ((2 ** tensor.chunkSize * tensor.plainBits) / 8);
  const planeEnd = planeAt + Math.ceil((n * tensor.plainBits) / 8);
  const plane = await readPlane(input, tensor, planeAt, planeEnd);
  const recordsAt = tensor.recordsBegin + 16 * ends[0];
  const bytes = await readExactly(input, recordsAt, 16 * (ends[q] - ends[0]));
  const records = tensor.codedFields.map((f, i) => {
    const record = bytes.subarray(16 * (ends[i] - ends[0]), 16 * (ends[i + 1] - ends[0]));
    try {
      return decodeRecord(record, {
        offset: tensor.recordsBegin + 16 * ends[i],
        weights: n,
        width: tensor.type.fields[f].width,
        form: tensor.forms[f],
        palette: palettes[f] ?? new Uint8Array(0),
        plane: i === 0 ? plane : null,
      });
    } catch (error) {
      throw located(error, { tensor, chunk: j, field: f });
    }
  });
  return { plane, records };
}

/**
 * An Unweight file whose header, directory and extensions have been read and checked.
 */
export class UnweightFile {
  /**
   * @param {Input} input
   * @param {Header} header
   * @param {Tensor[]} tensors
   * @param {Extension[]} extensions
   */
  constructor(input, header, tensors, extensions) {
    this.input = input;
    this.header = header;
    this.tensors = tensors;
    this.extensions = extensions;
  }

  /**
   * Reads and checks the file header, the directory and the extensions, and nothing else.
   *
   * @param {Input} input
   * @throws {RuleError}
   */
  static async open(input) {
    const header = await readHeader(input);
    const tensors = await readDirectory(input, header);
    const extensions = await readExtensions(input, header);
    return new UnweightFile(input, header, tensors, extensions);
  }

  /** Bytes of the restored source. */
  get restoredLength() {
    return this.tensors.reduce((sum, t) => sum + t.byteLength, BigInt(this.header.sourceLength));
  }

  /** Reads and checks the source section, and what the safetensors header has as metadata. */
  readSourceSection() {
    return readSourceSection(this.input, this.header, this.tensors);
  }

  /** The palettes of a tensor, by field. @param {Tensor} tensor */
  async readPalettes(tensor) {
    return inTensor(tensor, readPalettes(this.input, tensor));
  }

  /** The record ends of chunks `first..last` of a tensor, with the one before them.
   *  @param {Tensor} tensor @param {number} first @param {number} last */
  async readRecordEnds(tensor, first, last) {
    if (!(0 <= first && first <= last && last <= tensor.chunks)) {
      throw new RangeError(`chunks ${first}..${last} of ${tensor.chunks}`);
    }
    return inTensor(tensor, readRecordEnds(this.input, tensor, first, last));
  }

  /** The records of chunk `j` of a tensor, decoded, in the order of its coded fields.
   *  @param {Tensor} tensor @param {number} j */
  async readRecords(tensor, j) {
    if (!(0 <= j && j < tensor.chunks)) throw new RangeError(`chunk ${j} of ${tensor.chunks}`);
    const palettes = await this.readPalettes(tensor);
    const ends = await this.readRecordEnds(tensor, j, j + 1);
    return (await decodeChunk(this.input, tensor, palettes, j, ends)).records;
  }

  /**
   * Decodes a tensor, or the weights `begin..end` of it, part by part. Of a whole tensor the tensor
   * checksum is checked, at the end; a range cannot have that check (1). Each part that is handed
   * out has passed all others.
   *
   * @param {Tensor} tensor
   * @param {number | bigint} [begin]
   * @param {number | bigint} [end]
   * @returns {AsyncGenerator<Part & { filePosition: number }>}
   * @throws {RuleError}
   */
  async *decode(tensor, begin = 0n, end = tensor.weights) {
    const [a, b] = [BigInt(begin), BigInt(end)];
    if (!(0n <= a && a <= b && b <= tensor.weights)) {
      throw new RangeError(`weights ${a}..${b} of ${tensor.weights}`);
    }
    let crc = 0;
    try {
      for await (const part of decodeWeights(this.input, tensor, a, b)) {
        crc = crc32(part.bytes, crc);
        yield part;
      }
      if (a === 0n && b === tensor.weights) {
        const checksumAt = HEADER_LENGTH + ENTRY_LENGTH * tensor.index + 16;
        checkCrc('tensor-crc', 'tensor', tensor.tensorChecksum, crc, checksumAt);
      }
    } catch (error) {
      throw located(error, { tensor });
    }
  }

  /** Checks the padding in and in front of a tensor's payload. @param {Tensor} tensor */
  async checkPadding(tensor) {
    for (const [begin, end] of tensor.paddings()) {
      await inTensor(tensor, checkPadding(this.input, begin, end));
    }
  }

  /** Checks the padding in front of the payload. */
  async checkFirstPadding() {
    const { directoryLength, sourceLength, extensionLength, payloadBegin } = this.header;
    const end = HEADER_LENGTH + directoryLength + sourceLength + extensionLength;
    await checkPadding(this.input, end, payloadBegin);
  }

  /** Checks the guard. */
  async checkGuard() {
    const { fileLength } = this.header;
    await checkPadding(this.input, fileLength - GUARD_LENGTH, fileLength);
  }

  /**
   * Restores the source (7, *File*), and checks every rule. The file is accepted when the generator
   * ends without an error, and not before.
   *
   * @param {Pick<VerifyOptions, 'signal'>} [options]
   * @returns {AsyncGenerator<Uint8Array>}
   * @throws {RuleError}
   */
  async *restore({ signal } = {}) {
    yield (await this.readSourceSection()).bytes;
    await this.checkFirstPadding();
    for (const tensor of this.tensors) {
      for await (const part of this.decode(tensor)) {
        signal?.throwIfAborted();
        yield part.bytes;
      }
      await this.checkPadding(tensor);
    }
    await this.checkGuard();
  }

  /**
   * Checks every rule, and goes on with the next tensor after one that is broken. The file conforms
   * if there are no violations.
   *
   * @param {VerifyOptions} [options]
   * @returns {Promise<RuleError[]>} the violations, at most one of each tensor
   */
  async verify({ onProgress, signal, mostViolations = 1 } = {}) {
    /** @type {RuleError[]} */
    const violations = [];
    /** @param {() => Promise<void>} check @returns {Promise<boolean>} whether to go on */
    const collect = async (check) => {
      try {
        signal?.throwIfAborted();
        await check();
      } catch (error) {
        if (!(error instanceof RuleError)) throw error;
        violations.push(error);
      }
      return violations.length < mostViolations;
    };
    const total = this.header.fileLength;
    const checks = [
      async () => void (await this.readSourceSection()),
      () => this.checkFirstPadding(),
    ];
    for (const check of checks) if (!(await collect(check))) return violations;
    for (const tensor of this.tensors) {
      const goOn = await collect(async () => {
        for await (const { filePosition } of this.decode(tensor)) {
          signal?.throwIfAborted();
          await onProgress?.({ position: filePosition, total, tensor });
        }
        await this.checkPadding(tensor);
      });
      if (!goOn) return violations;
    }
    await collect(() => this.checkGuard());
    await onProgress?.({ position: total, total, tensor: undefined });
    return violations;
  }
}

/**
 * Adds the tensor to a RuleError.
 *
 * @template T
 * @param {Tensor} tensor
 * @param {Promise<T>} work
 * @returns {Promise<T>}
 */
async function inTensor(tensor, work) {
  try {
    return await work;
  } catch (error) {
    throw located(error, { tensor });
  }
}
