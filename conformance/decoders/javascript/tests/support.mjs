/** Support of the tests: places of the corpus and the examples, and a seeded generator. */

import { readFileSync } from 'node:fs';
import { UnweightFile, bytesInput } from '../unweight.mjs';

/** @param {string} name */
const folder = (name) => new URL(name, import.meta.url);

/** The conformance corpus. */
export const CORPUS = folder('../../../corpus/');
/** The folder of the specification, with the worked examples. */
export const SPEC = folder('../../../../spec/');

/** @param {URL} base @param {string} path @returns {Uint8Array} */
export const bytesOf = (base, path) => new Uint8Array(readFileSync(new URL(path, base)));

/** The cases of the manifest. @returns {any[]} */
export const cases = () => JSON.parse(readFileSync(new URL('manifest.json', CORPUS), 'utf8')).cases;

/** @param {Uint8Array[]} parts */
export function joined(parts) {
  return new Uint8Array(Buffer.concat(parts));
}

/** Restores the source of a file that is in memory. @param {Uint8Array} bytes */
export async function restored(bytes) {
  const file = await UnweightFile.open(bytesInput(bytes));
  const parts = [];
  for await (const part of file.restore()) parts.push(part);
  return joined(parts);
}

/** xorshift32: numbers below `bound`, the same in every run. @param {number} seed */
export function random(seed) {
  let state = seed >>> 0 || 1;
  return (/** @type {number} */ bound) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % bound;
  };
}
