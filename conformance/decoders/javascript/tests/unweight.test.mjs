/** What callers of the module rely on: the worked examples, ranges, reads, damage, JSON. */

import assert from 'node:assert/strict';
import { open } from 'node:fs/promises';
import { createServer } from 'node:http';
import { test } from 'node:test';
import * as unweight from '../unweight.mjs';
import { CORPUS, SPEC, bytesOf, cases, joined, random, restored } from './support.mjs';

const { RuleError, UnweightFile, blobInput, bytesInput, crc32, windowedInput } = unweight;

/** An input that counts what is read of it. @param {Uint8Array} bytes */
function countedInput(bytes) {
  const input = { ...bytesInput(bytes), reads: 0, bytesRead: 0 };
  const { read } = input;
  input.read = (offset, length) => {
    const lies = offset >= 0 && length >= 0 && offset + length <= bytes.length;
    assert.ok(lies, `read of ${length} bytes at ${offset}`);
    input.reads += 1;
    input.bytesRead += length;
    return read(offset, length);
  };
  return input;
}

/** @param {InstanceType<typeof UnweightFile>} file @param {unweight.Tensor} tensor
 *  @param {bigint} [begin] @param {bigint} [end] */
async function weights(file, tensor, begin, end) {
  const parts = [];
  let next = begin ?? 0n;
  for await (const { weight, bytes } of file.decode(tensor, begin, end)) {
    assert.equal(weight, next, 'parts follow one another');
    next += BigInt(bytes.length / tensor.type.weightBytes);
    parts.push(bytes);
  }
  return joined(parts);
}

const rejectsWith = (/** @type {string} */ rule) => (/** @type {any} */ error) => {
  assert.ok(error instanceof RuleError, String(error?.stack));
  assert.equal(error.rule, rule, error.message);
  return true;
};

test('computes the CRC-32 of section 8, in one run or several', () => {
  const digits = new TextEncoder().encode('123456789');
  assert.equal(crc32(digits), 0xcbf43926);
  assert.equal(crc32(new Uint8Array(0)), 0);
  assert.equal(crc32(digits.subarray(2), crc32(digits.subarray(0, 2))), 0xcbf43926);
});

test('decodes the first worked example to the weights that its text gives', async () => {
  const file = await UnweightFile.open(bytesInput(bytesOf(SPEC, 'example.unw')));
  const [w, step] = file.tensors;
  assert.deepEqual([w.name, w.dtype, w.shape, w.chunkSize], ['w', 'BF16', [5n, 51n], 15]);
  assert.deepEqual([w.planeBegin, w.palettesBegin, w.recordsBegin, w.end], [512, 768, 800, 960]);
  assert.deepEqual([step.name, step.dtype, step.shape], ['step', 'I64', []]);

  const bytes = await weights(file, w);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < 255; i++) {
    const zeros = 31 - Math.clz32((i + 1) & -(i + 1));
    const exponent = i === 100 ? 200 : 126 - zeros;
    const expected = ((i & 0x80) << 8) | (exponent << 7) | (i & 0x7f);
    assert.equal(view.getUint16(2 * i, true), expected, `weight ${i}`);
  }
  assert.equal(view.getUint16(2, true), 0x3e81);
  assert.deepEqual(await weights(file, step), new Uint8Array([0xe8, 3, 0, 0, 0, 0, 0, 0]));

  const [record] = await file.readRecords(w, 0);
  assert.deepEqual([record.kind, record.patches, record.length], [1, 1, 160]);
  assert.deepEqual([...record.lengths.subarray(8)], [7, 7, 6, 5, 4, 3, 2, 1]);
  assert.deepEqual([...(record.laneEnds ?? [])].slice(0, 5), [2, 4, 6, 9, 11]);
  assert.deepEqual(await file.verify(), []);
});

test('decodes the second worked example to the weights that its text gives', async () => {
  const file = await UnweightFile.open(bytesInput(bytesOf(SPEC, 'example-palette.unw')));
  const [w] = file.tensors;
  assert.deepEqual(w.forms, [2, 0, 3]);
  assert.deepEqual([w.plainBits, w.planeLength, w.chunks, w.recordsBegin], [4, 2176, 2, 2480]);
  const view = new DataView((await weights(file, w)).buffer);
  for (let i = 0; i < 4352; i++) {
    const j = i - 4096;
    const exponent = i === 1000 ? 200 : j < 0 ? 120 + (i % 8) : j === 200 ? 120 : j;
    const expected = ((i & 1) << 15) | (exponent << 7) | ((Math.floor(i / 3) % 8) << 4);
    assert.equal(view.getUint16(2 * i, true), expected, `weight ${i}`);
  }
  assert.equal(view.getUint16(10, true), 0xbe90);
  const [verbatim] = await file.readRecords(w, 1);
  assert.deepEqual([verbatim.kind, verbatim.length], [0, 272]);
});

test('decodes any range to the bytes that the whole tensor has there', async () => {
  const below = random(1);
  let ranges = 0;
  for (const { id, file: path } of cases().filter((c) => c.kind === 'accept')) {
    const file = await UnweightFile.open(bytesInput(bytesOf(CORPUS, path)));
    for (const tensor of file.tensors) {
      if (tensor.weights > 1n << 20n) continue;
      const n = Number(tensor.weights);
      const size = tensor.type.weightBytes;
      const whole = await weights(file, tensor);
      assert.equal(BigInt(whole.length), tensor.byteLength);
      for (let i = 0; i < 4; i++) {
        const end = below(n + 1);
        const begin = below(end + 1);
        const part = await weights(file, tensor, BigInt(begin), BigInt(end));
        assert.deepEqual(part, whole.subarray(begin * size, end * size), `${id} ${begin}..${end}`);
        ranges += 1;
      }
    }
  }
  assert.ok(ranges > 1500);
});

test('opens a file and decodes a range without reading the rest', async () => {
  const bytes = bytesOf(CORPUS, 'valid/huffman-chunks-of-2-to-the-16.unw');
  const input = countedInput(bytes);
  const file = await UnweightFile.open(input);
  const { directoryLength, extensionLength } = file.header;
  assert.equal(input.bytesRead, 64 + directoryLength + extensionLength);

  const [tensor] = file.tensors;
  assert.ok(tensor.chunks > 1);
  const before = input.bytesRead;
  await weights(file, tensor, tensor.weights - 1n, tensor.weights);
  assert.ok(input.bytesRead - before < (tensor.end - tensor.planeBegin) / 2, 'one chunk is read');
});

test('reads the same through a Blob and through windows of any length', async () => {
  const bytes = bytesOf(CORPUS, 'encode/real-weights-huffman-12.unw');
  const expected = await restored(bytes);
  for (const input of [
    blobInput(new Blob([/** @type {any} */ (bytes)])),
    windowedInput(bytesInput(bytes), 64, 1),
    windowedInput(bytesInput(bytes), 4096, 3),
    windowedInput(blobInput(new Blob([/** @type {any} */ (bytes)]))),
  ]) {
    const parts = [];
    for await (const part of (await UnweightFile.open(input)).restore()) parts.push(part);
    assert.deepEqual(joined(parts), expected);
  }
});

test('reads through a file handle and through range requests of a server', async () => {
  const url = new URL('example.unw', SPEC);
  const bytes = bytesOf(SPEC, 'example.unw');
  const handle = await open(url);
  const file = await UnweightFile.open(await unweight.handleInput(handle));
  assert.deepEqual(await file.verify(), []);
  await handle.close();

  let ranges = true;
  const server = createServer((request, response) => {
    const [, first, last] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '') ?? [];
    const part = bytes.subarray(Number(first), Number(last) + 1);
    const headers = { 'Content-Range': `bytes ${first}-${last}/${bytes.length}` };
    if (ranges) response.writeHead(206, headers).end(part);
    else response.writeHead(200).end(bytes);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const { port } = /** @type {any} */ (server.address());
  const address = `http://127.0.0.1:${port}/example.unw`;
  try {
    const remote = await UnweightFile.open(await unweight.urlInput(address));
    assert.deepEqual(await remote.verify(), []);
    ranges = false;
    await assert.rejects(unweight.urlInput(address), /status 200, expected 206/);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test('damaged files break a rule, and never hang or throw anything else', async () => {
  const below = random(2);
  const paths = cases()
    .filter((c) => c.kind === 'accept')
    .map((c) => c.file)
    .filter((path) => bytesOf(CORPUS, path).length < 20000);
  let accepted = 0;
  for (let i = 0; i < 4000; i++) {
    const bytes = bytesOf(CORPUS, paths[below(paths.length)]).slice();
    for (let times = 1 + below(3); times > 0; times--) {
      // Half of the damage is in header and directory; half of that has its checksums made right.
      const region = below(2) ? bytes.length : Math.min(bytes.length, 400);
      bytes[below(region)] ^= 1 << below(8);
    }
    if (below(2)) repairChecksums(bytes);
    try {
      await restored(bytes);
      accepted += 1; // The minor version, or bits that were changed back
    } catch (error) {
      assert.ok(error instanceof RuleError, String(error instanceof Error ? error.stack : error));
    }
  }
  assert.ok(accepted < 400, `${accepted} of 4000 accepted`);
});

/** Makes the checksums of directory, source section, extensions and header right. */
function repairChecksums(/** @type {Uint8Array} */ bytes) {
  const view = new DataView(bytes.buffer);
  const lengths = [24, 32].map((at) => Number(view.getBigUint64(at, true)));
  lengths.push(view.getUint32(48, true));
  const checksums = [40, 44, 52];
  let at = 64;
  lengths.forEach((length, i) => {
    view.setUint32(checksums[i], crc32(bytes.subarray(at, at + length)), true);
    at += length;
  });
  view.setUint32(60, crc32(bytes.subarray(0, 60)), true);
}

test('bytes at random behind a right header break a rule', async () => {
  const below = random(3);
  const head = bytesOf(SPEC, 'example.unw').slice(0, 64);
  for (let i = 0; i < 2000; i++) {
    const bytes = new Uint8Array(1032).map(() => (below(3) ? below(4) : below(256)));
    bytes.set(head);
    repairChecksums(bytes);
    await assert.rejects(restored(bytes), (error) => error instanceof RuleError);
  }
});

test('names the place, what was found and what was expected', async () => {
  const bytes = bytesOf(SPEC, 'example.unw').slice();
  bytes[0x390] ^= 4;
  await assert.rejects(restored(bytes), (/** @type {any} */ error) => {
    const { rule, section, category, offset, chunk, field } = error;
    assert.deepEqual([rule, section, category], ['record-crc', '5.1', 'malformed']);
    assert.deepEqual([offset, error.tensor.name, chunk, field], [800, 'w', 0, 0]);
    assert.match(
      error.message,
      new RegExp(
        '^record-crc: record checksum: found 0x21940f2d, expected 0x[0-9a-f]{8} ' +
          '\\(tensor 0 "w", chunk 0, field 0, byte 800\\)$',
      ),
    );
    return true;
  });
});

test('verify goes on behind a violation, reports progress and stops at a signal', async () => {
  const bytes = bytesOf(SPEC, 'example.unw').slice();
  bytes[0x390] ^= 4; // a record of the tensor "w"
  bytes[0x3c0] ^= 1; // the data of the tensor "step"
  bytes[1031] = 1; // the guard
  const file = await UnweightFile.open(bytesInput(bytes));
  /** @type {number[]} */
  const positions = [];
  const violations = await file.verify({
    mostViolations: 10,
    onProgress: ({ position }) => void positions.push(position),
  });
  assert.deepEqual(
    violations.map((v) => v.rule),
    ['record-crc', 'tensor-crc', 'padding'],
  );
  assert.equal(positions.at(-1), 1032);
  assert.deepEqual(
    (await file.verify()).map((v) => v.rule),
    ['record-crc'],
  );

  const stop = new AbortController();
  stop.abort(new Error('stopped'));
  await assert.rejects(file.verify({ signal: stop.signal }), /stopped/);
});

test('an input that gives too few bytes is no violation of the file', async () => {
  const bytes = bytesOf(SPEC, 'example.unw');
  const short = { size: bytes.length, read: async () => bytes.subarray(0, 3) };
  await assert.rejects(
    UnweightFile.open(short),
    (/** @type {any} */ error) =>
      !(error instanceof RuleError) && /3 of 64 bytes/.test(error.message),
  );
});

test('sizes beyond 2^53 in the header are compared exactly', async () => {
  const bytes = bytesOf(SPEC, 'example.unw').slice();
  const view = new DataView(bytes.buffer);
  for (const [at, rule] of /** @type {[number, string][]} */ ([
    [16, 'file-truncated'],
    [24, 'limit-directory'],
    [32, 'limit-source'],
  ])) {
    for (const value of [2n ** 53n + 1n, 2n ** 64n - 1n]) {
      const changed = bytes.slice();
      new DataView(changed.buffer).setBigUint64(at, value, true);
      repairHeader(changed);
      await assert.rejects(restored(changed), rejectsWith(rule));
    }
  }
  // A payload end that equals the right one in the 53 bits of a double
  view.setBigUint64(0x48, 0x3c0n + 2n ** 63n, true);
  repairChecksums(bytes);
  await assert.rejects(restored(bytes), rejectsWith('payload-end'));
});

/** Makes the checksum of the header alone right. */
function repairHeader(/** @type {Uint8Array} */ bytes) {
  new DataView(bytes.buffer).setUint32(60, crc32(bytes.subarray(0, 60)), true);
}

test('reads a safetensors header strictly', () => {
  const parse = (/** @type {string} */ text) =>
    unweight.parseSafetensorsHeader(new TextEncoder().encode(text), 0);
  const member = '{"dtype":"U8","shape":[2],"data_offsets":[0,2]}';
  const { members, metadata } = parse(
    `{"__metadata__":{"a\\u00e9\\ud83d\\ude00":"\\n"},"\\u0077":${member}} \n`,
  );
  assert.deepEqual([...(metadata ?? [])], [['aé😀', '\n']]);
  assert.deepEqual(members, [{ name: 'w', dtype: 'U8', shape: [2n], begin: 0n, end: 2n }]);
  assert.equal(parse('{"__metadata__": null}').metadata, null);
  for (const text of [
    '',
    '[]',
    '{',
    '{}x',
    '{"a":1}',
    '{"a":null}',
    '{,}',
    '{"a":{}}',
    '{"__metadata__":1}',
    `{"w":${member},"w":${member}}`,
    `{"w":${member},"\\u0077":${member}}`,
    `{"w":${member},}`,
    '{"w":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}',
    '{"w":{"dtype":"U8","shape":[02],"data_offsets":[0,2]}}',
    '{"w":{"dtype":"U8","shape":[2.0],"data_offsets":[0,2]}}',
    '{"w":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}}',
    '{"w":{"dtype":"U8","shape":[18446744073709551616],"data_offsets":[0,0]}}',
    '{"__metadata__":{"a":"\\ud800"}}',
    '{"__metadata__":{"a":"\\udc00\\ud800"}}',
    '{"__metadata__":{"a":"\u0001"}}',
    '{"__metadata__":{"a":"\\x"}}',
    '{"__metadata__":{"a":"\\',
  ]) {
    assert.throws(() => parse(text), rejectsWith('source-header'), text);
  }
});
