#!/usr/bin/env node
/**
 * Makes one HTML file of the page, with its styles and modules inside, which works from file://.
 *
 *     node build.mjs [OUTPUT]       default: dist/unweight-inspector.html
 */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Script } from 'node:vm';

/** The modules, each behind those that it imports. */
const MODULES = [
  '../conformance/decoders/javascript/unweight.mjs',
  'core.mjs',
  'dom.mjs',
  'plots.mjs',
  'table.mjs',
  'app.mjs',
];

/** @param {string} path */
const textOf = (path) => readFileSync(new URL(path, import.meta.url), 'utf8');

/** The module without imports and exports: all share one scope, where a name twice is an error.
 *  @param {string} path */
function body(path) {
  const text = textOf(path)
    .replace(/^import \{[^}]*\} from '[^']+';\n/gm, '')
    .replace(/^export (?=(?:async )?function|class|const)/gm, '');
  if (/^(?:import|export)\b/m.test(text)) throw new Error(`${path}: an import or export remains`);
  if (text.includes('</script')) throw new Error(`${path}: contains the end of a script`);
  return text;
}

/** Replaces one place of the page, which must be there. @param {string} page
 *  @param {string} from @param {string} to */
function put(page, from, to) {
  if (page.split(from).length !== 2) throw new Error(`index.html: not exactly one ${from}`);
  return page.replace(from, () => to);
}

const output =
  process.argv[2] ?? fileURLToPath(new URL('dist/unweight-inspector.html', import.meta.url));
let page = textOf('index.html');
page = put(
  page,
  '<link rel="stylesheet" href="style.css" />',
  `<style>\n${textOf('style.css')}</style>`,
);
const script = MODULES.map(body).join('\n');
new Script(`'use strict'; {${script}}`); // Throws if a name is there twice
page = put(
  page,
  '<script type="module" src="app.mjs"></script>',
  `<script type="module">\n${script}</script>`,
);
mkdirSync(dirname(output), { recursive: true });
writeFileSync(output, page);
console.log(`${output}: ${page.length} characters`);
