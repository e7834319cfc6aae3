#!/usr/bin/env node
/** Makes docs/report.png: `node screenshot.mjs REPORT.html`. */

import { fileURLToPath, pathToFileURL } from 'node:url';
import { Browser } from '../../../inspector/tests/browser.mjs';

const browser = new Browser();
const ready = `document.documentElement?.dataset.ready === 'true'`;
await browser.open(pathToFileURL(process.argv[2]).href, { width: 1120, height: 765 }, ready);
await browser.screenshot(fileURLToPath(new URL('../../../docs/report.png', import.meta.url)));
await browser.close();
