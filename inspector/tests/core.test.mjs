/** The model of the inspector without a browser, on the conformance corpus. */

import assert from 'node:assert/strict';
import { openAsBlob, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  bytesInput,
  crc32,
  UnweightFile,
} from '../../conformance/decoders/javascript/unweight.mjs';
import {
  ReadCounter,
  SafetensorsModel,
  UnweightModel,
  entropyOf,
  openModel,
  partsOf,
  spread,
} from '../core.mjs';
import { crcOfZeros } from './files.mjs';

const CORPUS = new URL('../../conformance/corpus/', import.meta.url);
const manifest = JSON.parse(readFileSync(new URL('manifest.json', CORPUS), 'utf8'));
const valid = manifest.cases.filter((/** @type {any} */ c) => c.kind === 'accept');

/** @param {string} path */
async function open(path) {
  const blob = await openAsBlob(fileURLToPath(new URL(path, CORPUS)));
  return openModel(blob, path, new ReadCounter());
}

test('the parts of every tensor add up to its bytes in the file', async () => {
  for (const { file } of valid) {
    const bytes = new Uint8Array(readFileSync(new URL(file, CORPUS)));
    for (const tensor of (await UnweightFile.open(bytesInput(bytes))).tensors) {
      const { plain, coded, index, padding } = partsOf(tensor);
      assert.equal(plain + coded + index + padding, tensor.end - tensor.begin, file);
      assert.ok(padding >= 0 && padding < 1024, `${file}: ${padding} bytes of padding`);
    }
  }
});

test('the fields of every tensor add up to its bits a weight', async () => {
  let coded = 0;
  for (const { file } of valid) {
    const model = await open(file);
    assert.ok(model instanceof UnweightModel);
    for (const row of model.rows) {
      const shares = await model.fields(row.index);
      const stored = shares.reduce((sum, share) => sum + share.stored, 0);
      const original = shares.reduce((sum, share) => sum + share.original, 0);
      if (row.weights === 0n) continue;
      assert.ok(Math.abs(stored - (row.bits ?? 0)) < 1e-6, `${file}: ${stored} of ${row.bits}`);
      assert.equal(BigInt(original) * row.weights, 8n * row.original);
      coded += model.file.tensors[row.index].codedFields.length > 1 ? 1 : 0;
    }
  }
  assert.ok(coded > 10, 'tensors with several coded fields');
});

test('a histogram counts the values that the weights have', async () => {
  const model = await open('encode/real-weights-huffman-12.unw');
  assert.ok(model instanceof UnweightModel);
  const [tensor] = model.file.tensors;
  const counts = new Float64Array(256);
  for await (const { bytes } of model.file.decode(tensor)) {
    for (let i = 0; i < bytes.length; i += 2)
      counts[((bytes[i + 1] << 1) | (bytes[i] >> 7)) & 255] += 1;
  }
  const { counts: found, sampled, entropy } = await model.histogram(0, 0);
  assert.deepEqual(found, counts);
  assert.equal(BigInt(sampled), tensor.weights);
  assert.equal(entropy, entropyOf(counts, sampled));
  const mantissa = await model.histogram(0, 2);
  assert.equal(mantissa.counts.length, 16);
});

test('the estimate of a safetensors file is near what an encoder makes of it', async () => {
  const source = await open('encode/real-weights.safetensors');
  const file = await open('encode/real-weights-huffman-15.unw');
  assert.ok(source instanceof SafetensorsModel && file instanceof UnweightModel);
  for (const row of source.rows) {
    await source.fields(row.index);
    /** @type {import('../core.mjs').Row} */
    const actual = file.rows[row.index];
    assert.equal(row.name, actual.name);
    if (row.weights < 10000n) continue;
    const difference = Math.abs((row.bits ?? 0) / (actual.bits ?? 1) - 1);
    assert.ok(difference < 0.02, `${row.name}: ${row.bits} estimated, ${actual.bits} stored`);
  }
});

test('an invalid safetensors file is refused', async () => {
  const refused = manifest.cases.filter((/** @type {any} */ c) => c.kind === 'encode-refuse');
  assert.ok(refused.length > 150);
  for (const { id, file } of refused) {
    await assert.rejects(open(file), Error, id);
  }
});

test('samples are spread evenly', () => {
  assert.deepEqual(spread(3, 8), [0, 1, 2]);
  assert.deepEqual(spread(1000, 4), [125, 375, 625, 875]);
  assert.deepEqual(spread(0, 4), []);
});

test('crcOfZeros is the CRC-32 of zeros', () => {
  for (const length of [0, 1, 7, 4096, 100_001]) {
    assert.equal(crcOfZeros(length), crc32(new Uint8Array(length)));
  }
});
