#!/usr/bin/env node
/** Makes screenshot.png: the page with a file of the corpus that has been verified. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Browser } from './browser.mjs';

const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'inspector-page-'));
const page = join(folder, 'inspector.html');
execFileSync(process.execPath, [here('../build.mjs'), page]);

const browser = new Browser();
await browser.open(pathToFileURL(page).href, { width: 1280, height: 1080 });
await browser.choose(here('../../conformance/corpus/encode/real-weights-huffman-12.unw'));
await browser.click('#row-0');
await browser.until(`document.querySelector('#histogram table') !== null`);
await browser.until(`document.querySelector('#records table') !== null`);
await browser.click('#verify');
await browser.until(`inspector.state === 'idle'`);
await browser.screenshot(here('../screenshot.png'));
await browser.close();
rmSync(folder, { recursive: true });
