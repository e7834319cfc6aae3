/** The page in headless Chromium, as one HTML file from file://. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Browser } from './browser.mjs';
import { writeRawFile } from './files.mjs';

const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));
const CORPUS = here('../../conformance/corpus/');
const EXAMPLE = here('../../spec/example.unw');
const CODED = join(CORPUS, 'encode/real-weights-huffman-12.unw');

/** @type {string} */ let folder;
/** @type {Browser} */ let browser;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'inspector-files-'));
  const page = join(folder, 'inspector.html');
  execFileSync(process.execPath, [here('../build.mjs'), page]);
  browser = new Browser();
  await browser.open(pathToFileURL(page).href);
});

after(async () => {
  await browser.close();
  rmSync(folder, { recursive: true });
});

const text = (/** @type {string} */ selector) =>
  browser.evaluate(`document.querySelector(${JSON.stringify(selector)}).textContent`);
const counter = () => browser.evaluate('({ ...inspector.counter })');
const idle = () => browser.until(`inspector.state === 'idle'`);

/** Selects the row of the table that stands at `i`. @param {number} i */
async function selectRow(i) {
  await browser.click(`#row-${i}`);
  await idle();
  await browser.until(
    `!document.querySelector('#histogram') || document.querySelector('#histogram table')`,
  );
}

async function verify() {
  await browser.click('#verify');
  await idle();
}

test('shows tensors, fields, codes and records of a file, and that it is valid', async () => {
  await browser.choose(EXAMPLE);
  assert.match(await text('#facts'), /Tensors2/);
  assert.match(await text('#row-0'), /^wBF165 × 51/);
  assert.match(await text('#row-1'), /^stepI64scalar/);
  await selectRow(0);
  assert.match(await text('#detail'), /exponent \[14\.\.7\]huffman8/);
  assert.match(await text('#histogram'), /All 255 weights; entropy/);
  const codes = await browser.evaluate(
    `[...document.querySelectorAll('#histogram tbody tr')].map((row) => row.textContent)`,
  );
  assert.ok(
    codes.some((/** @type {string} */ row) => /^12649\.8 %1510$/.test(row)),
    codes.join('\n'),
  );
  assert.ok(
    codes.some((/** @type {string} */ row) => /^2000\.39 %–patch$/.test(row)),
    codes.join('\n'),
  );
  assert.match(
    await text('#records'),
    /0exponent \[14\.\.7\]0x320160huffman5\.021– – – – – – – – 7 7 6 5 4 3 2 1/,
  );
  await verify();
  assert.match(await text('#outcome'), /^Every rule is kept/);
  assert.deepEqual(await browser.evaluate('inspector.violations'), []);
});

test('shows a violation with its place, what was found and what was expected', async () => {
  const bytes = readFileSync(EXAMPLE);
  bytes[0x390] ^= 4;
  bytes[0x3c0] ^= 1;
  const path = join(folder, 'damaged.unw');
  writeFileSync(path, bytes);
  await browser.choose(path);
  await verify();
  assert.deepEqual(await browser.evaluate('inspector.violations'), ['record-crc', 'tensor-crc']);
  assert.match(await text('#outcome'), /^The file is invalid: 2 violations/);
  const violation = await text('#violation-list li');
  assert.match(violation, /Tensor0, wChunk0Field0Byte800 \(0x320\)Found0x21940f2dExpected0x/);
  assert.equal(await text('#violation-list mark'), '2d');
});

test('shows why a file cannot be opened, for every kind of damage in front', async () => {
  for (const [path, rule] of [
    ['invalid/magic-without-the-high-bit.unw', 'file-magic'],
    ['invalid/directory-entry-changed-without-its-checksum.unw', 'dir-crc'],
    ['invalid/one-zero-byte-behind-the-file.unw', 'file-trailing'],
    ['invalid/critical-extension-of-kind-5.unw', 'extension-unknown'],
  ]) {
    await browser.choose(join(CORPUS, path));
    assert.deepEqual(await browser.evaluate('inspector.violations'), [rule]);
    assert.match(await text('#outcome'), new RegExp(`cannot be opened.*${rule}`));
  }
});

test('reads little of a file of 4 GB, and can verify it and be cancelled', async () => {
  const path = join(folder, 'sparse.unw');
  const GB = 2 ** 30;
  writeRawFile(path, [
    { name: 'zeros', dtype: 'BF16', shape: [2 * GB - 4096] },
    { name: 'last', dtype: 'U8', shape: [5], data: new Uint8Array([1, 2, 3, 4, 5]) },
  ]);
  await browser.choose(path);
  assert.match(await text('#facts'), /Size4\.30 GB/);
  const opened = await counter();
  assert.ok(opened.bytes < 1000, `${opened.bytes} bytes to open`);
  await selectRow(0);
  const selected = await counter();
  assert.ok(selected.bytes < 2 ** 20, `${selected.bytes} bytes for a tensor`);
  assert.match(await text('#histogram'), /Sample of 65,536 weights of 2,147,479,552/);

  await browser.click('#verify');
  await browser.until(`document.querySelector('#progress').value > 0`);
  await browser.click('#cancel');
  await idle();
  assert.equal(await text('#outcome'), 'Cancelled.');
  const cancelled = await counter();
  assert.ok(cancelled.bytes < 2 * GB);
  console.log(
    `4 GB: ${opened.bytes} B in ${opened.reads} reads to open, ` +
      `${selected.bytes} B in ${selected.reads} reads with a tensor, ` +
      `${cancelled.bytes} B with a cancelled verification`,
  );
});

test('stays fast with 10,000 tensors', async () => {
  const path = join(folder, 'many.unw');
  writeRawFile(
    path,
    Array.from({ length: 10000 }, (_, i) => ({
      name: `model.layers.${Math.floor(i / 10)}.part.${i % 10}.weight`,
      dtype: i % 10 === 0 ? 'F32' : 'BF16',
      shape: [8, 1 + (i % 100)],
      data: new Uint8Array(64 * 100)
        .fill(i & 255)
        .subarray(0, (i % 10 === 0 ? 32 : 16) * (1 + (i % 100))),
    })),
  );
  const began = Date.now();
  await browser.choose(path);
  const opening = Date.now() - began;
  assert.equal(await text('#count'), '10,000 tensors');
  const rows = `document.querySelectorAll('.grid-row').length`;
  assert.ok((await browser.evaluate(rows)) < 60, 'only rows in view are drawn');
  const times = await browser.evaluate(`(() => {
    const took = (work) => {
      const began = performance.now();
      work();
      document.body.offsetHeight; // Lays the page out
      return performance.now() - began;
    };
    const search = document.querySelector('#search');
    const type = (text) => { search.value = text; search.dispatchEvent(new Event('input')); };
    const sort = took(() => document.querySelector('[data-key=name] button').click());
    const find = took(() => type('layers.77. bf16'));
    const found = document.querySelector('#count').textContent;
    type('');
    const body = document.querySelector('.grid-body');
    const scroll = took(() => {
      body.scrollTop = body.scrollHeight;
      body.dispatchEvent(new Event('scroll'));
    });
    const last = document.querySelector('.grid-row:last-child').textContent;
    return { sort, find, found, scroll, last };
  })()`);
  assert.equal(times.found, '9 of 10,000 tensors');
  assert.match(times.last, /^model\.layers\.999\.part\.9/);
  for (const key of ['sort', 'find', 'scroll']) {
    assert.ok(times[key] < 500, `${key}: ${times[key]} ms`);
  }
  console.log(
    `10,000 tensors: opened in ${opening} ms, sorted in ${times.sort.toFixed(0)} ms, ` +
      `searched in ${times.find.toFixed(0)} ms, scrolled in ${times.scroll.toFixed(0)} ms`,
  );
  assert.equal(
    (await counter()).reads,
    3,
    'header and directory, and what tells the formats apart',
  );
});

test('can be used from the keyboard alone', async () => {
  await browser.choose(CODED);
  await browser.evaluate(`document.querySelector('.grid').focus()`);
  await browser.press('ArrowDown');
  await browser.press('ArrowDown');
  assert.equal(
    await browser.evaluate(`document.querySelector('.grid').getAttribute('aria-activedescendant')`),
    'row-1',
  );
  await browser.press('Enter');
  await idle();
  const name = await browser.evaluate(`inspector.model.rows[1].name`);
  assert.equal(await text('#detail h3'), name);
});

test('takes a file that is dropped', async () => {
  for (const type of ['dragEnter', 'dragOver', 'drop']) {
    await browser.send('Input.dispatchDragEvent', {
      type,
      x: 200,
      y: 200,
      data: { items: [], files: [CODED], dragOperationsMask: 1 },
    });
  }
  await browser.until(
    `inspector.model?.name === 'real-weights-huffman-12.unw' && inspector.state === 'idle'`,
  );
  await verify();
  assert.match(await text('#outcome'), /^Every rule is kept/);
});

test('estimates the fields of a safetensors file, and says that it is an estimate', async () => {
  const path = join(folder, 'model.safetensors');
  copyFileSync(join(CORPUS, 'encode/real-weights.safetensors'), path);
  await browser.choose(path);
  await browser.click('#estimate');
  await idle();
  assert.match(
    await text('#outcome'),
    /^Estimate from samples: [\d.]+ kB, [67]\d\.\d % of the file\.$/,
  );
  await selectRow(0);
  assert.match(await text('#detail'), /Fields, as an estimate/);
  assert.match(await text('#detail'), /entropy of a sample/);
  const invalid = join(folder, 'invalid.safetensors');
  copyFileSync(join(CORPUS, 'refuse/json-with-a-tensor-twice-refused.safetensors'), invalid);
  await browser.choose(invalid);
  assert.deepEqual(await browser.evaluate('inspector.violations'), ['source-header']);
});

test('escapes names, and never takes them as HTML', async () => {
  const path = join(folder, 'names.unw');
  writeRawFile(path, [
    {
      name: '<img src=x onerror="inspector.broken=1">',
      dtype: 'U8',
      shape: [1],
      data: new Uint8Array(1),
    },
    { name: 'a\u202eb\nc', dtype: 'U8', shape: [1], data: new Uint8Array(1) },
  ]);
  await browser.choose(path);
  await selectRow(0);
  assert.equal(await browser.evaluate(`inspector.broken`), undefined);
  assert.equal(await browser.evaluate(`document.querySelectorAll('main img').length`), 0);
  assert.match(await text('#row-1'), /^a\\u202eb\\nc/);
});

test('fits a phone, in light and dark', async () => {
  await browser.resize(390, 800);
  for (const scheme of /** @type {const} */ (['light', 'dark'])) {
    await browser.scheme(scheme);
    await browser.choose(CODED);
    await selectRow(0);
    const width = await browser.evaluate('document.documentElement.scrollWidth');
    assert.equal(width, 390, scheme);
    if (process.env.SCREENSHOTS) {
      await browser.screenshot(join(process.env.SCREENSHOTS, `phone-${scheme}.png`));
    }
  }
  await browser.resize(1280, 900);
  await browser.scheme('light');
});

test('makes no request but for itself, and throws no error', async () => {
  const others = browser.requests.filter((url) => !/^(?:file|data|blob):/.test(url));
  assert.deepEqual(others, []);
  assert.equal(browser.requests.filter((url) => url.startsWith('file:')).length, 1);
  assert.deepEqual(browser.errors, []);
});
