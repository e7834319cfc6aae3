/**
 * Compares the decoder in JavaScript with the verdicts of the crate:
 *
 *     cargo run -p unweight-properties --example verdicts FOLDER
 *     node fuzz/verdicts.mjs FOLDER
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  RuleError,
  UnweightFile,
  bytesInput,
  crc32,
} from '../conformance/decoders/javascript/unweight.mjs';

/** @param {Uint8Array} bytes */
async function verdict(bytes) {
  try {
    const file = await UnweightFile.open(bytesInput(bytes));
    let [crc, length] = [0, 0];
    for await (const part of file.restore()) {
      crc = crc32(part, crc);
      length += part.length;
    }
    return `${crc.toString(16).padStart(8, '0')} ${length}`;
  } catch (error) {
    if (error instanceof RuleError) return 'rejected';
    throw error;
  }
}

const folder = process.argv[2];
const lines = readFileSync(join(folder, 'verdicts.txt'), 'utf8').trimEnd().split('\n');
let different = 0;
for (const line of lines) {
  const [number, ...expected] = line.split(' ');
  const found = await verdict(readFileSync(join(folder, `${number}.unw`)));
  const wanted = expected[0] === 'rejected' ? 'rejected' : expected.join(' ');
  if (found !== wanted) {
    different += 1;
    console.error(`${number}.unw: JavaScript: ${found}, crate: ${expected.join(' ')}`);
  }
}
console.log(`${lines.length} containers, ${different} different verdicts`);
process.exitCode = different === 0 && lines.length > 0 ? 0 : 1;
