/** The command decode.mjs: its exit codes, its line on stderr, and what it leaves. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { SPEC, bytesOf, restored } from './support.mjs';

const COMMAND = fileURLToPath(new URL('../decode.mjs', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'decode-'));
after(() => rmSync(folder, { recursive: true }));

/** @param {...string} args */
function decode(...args) {
  const { status, stderr, stdout } = spawnSync(process.execPath, [COMMAND, ...args], {
    encoding: 'utf8',
  });
  assert.equal(stdout, '');
  return { status, stderr };
}

const example = bytesOf(SPEC, 'example.unw');
const output = join(folder, 'restored');

test('writes the restored source and exits with 0', async () => {
  const path = join(folder, 'valid.unw');
  writeFileSync(path, example);
  assert.deepEqual(decode(path, output), { status: 0, stderr: '' });
  assert.deepEqual(new Uint8Array(readFileSync(output)), await restored(example));
});

test('names the rule in one line, exits with 1 and leaves no output', () => {
  const path = join(folder, 'invalid.unw');
  const bytes = example.slice();
  bytes[bytes.length - 1] = 1; // The guard is read last, when all has been written
  writeFileSync(path, bytes);
  rmSync(output, { force: true });
  const { status, stderr } = decode(path, output);
  assert.equal(status, 1);
  assert.match(stderr, /^padding: padding byte: found 0x01, expected zero \(byte 1031\)\n$/);
  assert.deepEqual(readdirSync(folder).sort(), ['invalid.unw', 'valid.unw']);
});

test('exits with 2 on anything that is not about the file', () => {
  assert.equal(decode(join(folder, 'absent.unw'), output).status, 2);
  assert.equal(decode(folder, output).status, 2);
  assert.equal(decode(join(folder, 'valid.unw')).status, 2);
  assert.equal(decode(join(folder, 'valid.unw'), join(folder, 'absent', 'restored')).status, 2);
});
