/** Pages of `unweight report` in headless Chromium. The program is target/debug/unweight. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Browser } from '../../../inspector/tests/browser.mjs';

const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));
const PROGRAM = process.env.UNWEIGHT ?? here('../../../target/debug/unweight');
const SAMPLE = here('../../../samples/minilm-layer0.safetensors');

/** @type {string} */ let folder;
/** @type {Browser | undefined} */ let opened;
/** @type {Browser} */ let browser;

// A browser that is left open would keep the tests from ending.
afterEach(async () => {
  await opened?.close();
  opened = undefined;
});
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'report-'));
});
after(() => rmSync(folder, { recursive: true }));

/** Opens the report on a safetensors file. @param {string} source @param {string[]} options */
async function report(source, options) {
  let model = source;
  if (!options.includes('--estimate')) {
    model = join(folder, 'model.unw');
    execFileSync(PROGRAM, ['compress', source, '-o', model, '--force', '--quiet']);
  }
  const page = join(folder, 'report.html');
  execFileSync(PROGRAM, ['report', model, '-o', page, '--force', '--quiet', ...options]);
  await opened?.close();
  opened = browser = new Browser();
  const ready = `document.documentElement?.dataset.ready === 'true'`;
  await browser.open(pathToFileURL(page).href, { width: 1280, height: 900 }, ready);
}

/** A safetensors file. @param {Record<string, [string, number[], Buffer]>} tensors */
function safetensors(tensors) {
  /** @type {Record<string, object>} */ const header = {};
  let end = 0;
  for (const [name, [dtype, shape, data]] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [end, (end += data.length)] };
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const path = join(folder, 'model.safetensors');
  writeFileSync(path, Buffer.concat([length, json, ...Object.values(tensors).map((t) => t[2])]));
  return path;
}

const text = (/** @type {string} */ selector) =>
  browser.evaluate(`document.querySelector(${JSON.stringify(selector)}).textContent`);

/** What holds for every page, light and dark, narrow and wide. */
async function isSound() {
  for (const scheme of /** @type {const} */ (['light', 'dark'])) {
    await browser.scheme(scheme);
    for (const width of [360, 800, 1600]) {
      await browser.resize(width, 900);
      const wide = await browser.evaluate('document.documentElement.scrollWidth');
      assert.ok(wide <= width, `${scheme}: ${wide} of ${width}`);
    }
    const low = await browser.evaluate(`(() => {
      const parse = (color) => color.match(/[\\d.]+/g).map(Number);
      const light = (color) => {
        const [r, g, b] = parse(color).map((c) => c / 255)
          .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
          const color = getComputedStyle(at).backgroundColor;
          if (parse(color)[3] !== 0) return light(color);
        }
        return light('rgb(255, 255, 255)');
      };
      return [...document.querySelectorAll('p, dt, dd, small, li, td, th, h1, h2, h3, summary, footer, figcaption')]
        .map((element) => {
          const [a, b] = [light(getComputedStyle(element).color), behind(element)].sort();
          return [(b + 0.05) / (a + 0.05), element.textContent.slice(0, 40)];
        })
        .filter(([contrast]) => contrast < 4.5);
    })()`);
    assert.deepEqual(low, [], scheme);
  }
  const unnamed = `[...document.querySelectorAll('svg:not([aria-label]), .scroll:not([tabindex])')].length`;
  assert.equal(await browser.evaluate(unnamed), 0);
  assert.deepEqual(browser.errors, []);
  assert.equal(browser.requests.filter((url) => !/^(file|data):/.test(url)).length, 0);
}

test('shows size, memory, layers, kinds and histograms of real weights', async () => {
  await report(SAMPLE, []);
  assert.match(await text('h1'), /^model\.unw$/);
  assert.match(await text('#answer'), /Of the original66\.\d\d %/);
  assert.match(await text('#memory'), /Decoded.*12-bit fragments.*Coded/);
  assert.match(await text('#kinds'), /encoder\.layer\.\*\./);
  assert.ok((await browser.evaluate(`document.querySelectorAll('#histograms figure').length`)) > 5);
  assert.equal(await browser.evaluate(`document.querySelector('#estimate').hidden`), true);
  const opened = `(() => { const d = document.querySelector('#layers details'); d.open = true; return d.textContent; })()`;
  assert.match(await browser.evaluate(opened), /encoder\.layer\.0/);
  await isSound();
});

test('says that an estimate is one', async () => {
  await report(SAMPLE, ['--estimate']);
  assert.equal(await browser.evaluate(`document.querySelector('#estimate').hidden`), false);
  assert.match(await text('#about'), /^Estimated from/);
  await isSound();
});

test('shows hostile names as text, long ones within the page, and every type', async () => {
  const evil = '</script><img src=x onerror="document.title=1"><script>document.title=1</script>';
  const data = Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 31) & 255));
  await report(
    safetensors({
      [evil]: ['BF16', [2048], data],
      [`${'long'.repeat(2000)}.7.w`]: ['F16', [2048], data],
      e: ['F8_E4M3', [4096], data],
      i: ['I64', [512], data],
      none: ['F32', [0], Buffer.alloc(0)],
    }),
    [],
  );
  assert.match(await browser.evaluate('document.title'), /model\.unw/);
  assert.equal(await browser.evaluate(`document.querySelectorAll('img').length`), 0);
  assert.ok((await text('#largest')).includes(evil));
  await isSound();
});

test('draws a model without tensors, and one without weights', async () => {
  for (const tensors of [{}, { none: ['BF16', [0, 4], Buffer.alloc(0)] }]) {
    await report(safetensors(/** @type {any} */ (tensors)), []);
    assert.match(await text('#answer'), /The model has no weights/);
    await isSound();
  }
});
