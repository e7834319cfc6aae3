#!/usr/bin/env node
/**
 * Command: restores the source of an Unweight file.
 *
 *     node decode.mjs INPUT OUTPUT
 *
 * Exit code 0: OUTPUT holds the restored source. 1: the file breaks a rule; one line on stderr
 * begins with the rule's id, and there is no OUTPUT. 2: anything else, such as an unreadable file.
 */

import { closeSync, fstatSync, openSync, readSync, renameSync, rmSync, writeSync } from 'node:fs';
import { RuleError, UnweightFile, windowedInput } from './unweight.mjs';

/** @param {number} descriptor @returns {import('./unweight.mjs').Input} */
function descriptorInput(descriptor) {
  const stat = fstatSync(descriptor);
  if (!stat.isFile()) throw new Error('the input is not a regular file');
  return {
    size: stat.size,
    async read(offset, length) {
      const bytes = new Uint8Array(length);
      let have = 0;
      while (have < length) {
        const more = readSync(descriptor, bytes, have, length - have, offset + have);
        if (more === 0) break;
        have += more;
      }
      return bytes.subarray(0, have);
    },
  };
}

/** @param {string} inputPath @param {string} outputPath */
async function decode(inputPath, outputPath) {
  const partial = `${outputPath}.${process.pid}.partial`;
  const input = openSync(inputPath, 'r');
  let output = -1;
  try {
    const file = await UnweightFile.open(windowedInput(descriptorInput(input)));
    output = openSync(partial, 'wx');
    for await (const bytes of file.restore()) {
      for (let at = 0; at < bytes.length;) at += writeSync(output, bytes, at);
    }
    closeSync(output);
    output = -1;
    renameSync(partial, outputPath);
  } catch (error) {
    if (output >= 0) closeSync(output);
    rmSync(partial, { force: true });
    throw error;
  } finally {
    closeSync(input);
  }
}

const [inputPath, outputPath, ...rest] = process.argv.slice(2);
if (inputPath === undefined || outputPath === undefined || rest.length > 0) {
  console.error('usage: node decode.mjs INPUT OUTPUT');
  process.exitCode = 2;
} else {
  try {
    await decode(inputPath, outputPath);
  } catch (error) {
    process.exitCode = error instanceof RuleError ? 1 : 2;
    console.error(error instanceof Error ? error.message : String(error));
  }
}
