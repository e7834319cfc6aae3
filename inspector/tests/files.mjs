/** Writes large valid files for the tests: raw tensors, whose zeros are holes of a sparse file. */

import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { TYPES, crc32 } from '../../conformance/decoders/javascript/unweight.mjs';

const BLOCK = 65536;

/** CRC-32 of `length` zero bytes, by squaring the step of one byte.
 *  @param {number} length */
export function crcOfZeros(length) {
  /** The effect of a step on each bit of the register; first that of one zero byte. */
  let step = Array.from({ length: 32 }, (_, bit) => shifted(2 ** bit));
  /** @param {number} r */
  const apply = (r) => step.reduce((sum, image, bit) => (r & (2 ** bit) ? sum ^ image : sum), 0);
  let r = ~0;
  for (let rest = length; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) r = apply(r);
    step = step.map(apply);
  }
  return ~r >>> 0;
}

/** The register after one zero byte. @param {number} r */
function shifted(r) {
  for (let bit = 0; bit < 8; bit++) r = r & 1 ? (r >>> 1) ^ 0xedb88320 : r >>> 1;
  return r | 0;
}

/** @param {number} x @param {number} k */
const align = (x, k) => Math.ceil(x / k) * k;

/**
 * A raw tensor; without `data` it is zeros.
 *
 * @typedef {{ name: string, dtype: string, shape: number[], data?: Uint8Array }} RawTensor
 */

/**
 * Writes a valid Unweight file without a source section (3).
 *
 * @param {string} path
 * @param {RawTensor[]} tensors
 */
export function writeRawFile(path, tensors) {
  const T = tensors.length;
  const encoder = new TextEncoder();
  const names = tensors.map(({ name }) => encoder.encode(name));
  const rank = tensors.reduce((sum, { shape }) => sum + shape.length, 0);
  const nameBytes = names.reduce((sum, { length }) => sum + length, 0);
  const directory = new Uint8Array(align(40 * T + 8 * rank + nameBytes, 8));
  const view = new DataView(directory.buffer);
  const byName = [...names.keys()].sort((a, b) => Buffer.compare(names[a], names[b]));
  const file = openSync(path, 'w');
  let end = align(64 + directory.length, 256);
  let dims = 0;
  let nameEnd = 0;
  tensors.forEach(({ dtype, shape, data }, i) => {
    const type = TYPES.find((row) => row?.name === dtype);
    if (!type) throw new Error(`type ${dtype}`);
    const length = shape.reduce((product, d) => product * d, 1) * (type.bits / 8);
    if (length > 0) {
      const begin = align(end, length >= 65536 ? 256 : 16);
      if (data) writeSync(file, data, 0, length, begin);
      end = begin + length;
      if (length > BLOCK) {
        const checksums = blockChecksums(length, data);
        writeSync(file, checksums, 0, checksums.length, align(end, 4));
        end = align(end, 4) + checksums.length;
      }
    }
    shape.forEach((d) => view.setBigUint64(40 * T + 8 * dims++, BigInt(d), true));
    directory.set(names[i], 40 * T + 8 * rank + nameEnd);
    nameEnd += names[i].length;
    directory[40 * i] = type.code;
    view.setBigUint64(40 * i + 8, BigInt(end), true);
    view.setUint32(40 * i + 16, data ? crc32(data) : crcOfZeros(length), true);
    view.setUint32(40 * i + 24, dims, true);
    view.setUint32(40 * i + 28, nameEnd, true);
    view.setUint32(40 * i + 32, byName[i], true);
  });

  const header = new Uint8Array(64);
  const head = new DataView(header.buffer);
  header.set([0x89, 0x55, 0x4e, 0x57, 0x0d, 0x0a, 0x1a, 0x0a, 1]);
  head.setUint32(12, T, true);
  head.setBigUint64(16, BigInt(end + 64), true);
  head.setBigUint64(24, BigInt(directory.length), true);
  head.setUint32(40, crc32(directory), true);
  head.setUint32(60, crc32(header.subarray(0, 60)), true);
  writeSync(file, header, 0, 64, 0);
  writeSync(file, directory, 0, directory.length, 64);
  ftruncateSync(file, end + 64);
  closeSync(file);
}

/** @param {number} length @param {Uint8Array} [data] */
function blockChecksums(length, data) {
  const count = Math.ceil(length / BLOCK);
  const checksums = new Uint8Array(4 * count);
  const view = new DataView(checksums.buffer);
  const ofZeros = crcOfZeros(BLOCK);
  for (let i = 0; i < count; i++) {
    const begin = i * BLOCK;
    const end = Math.min(length, begin + BLOCK);
    const zeros = end - begin === BLOCK ? ofZeros : crcOfZeros(end - begin);
    view.setUint32(4 * i, data ? crc32(data.subarray(begin, end)) : zeros, true);
  }
  return checksums;
}
