/** The conformance corpus in one process. The runner checks the command `decode.mjs` besides. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { RULES, RuleError } from '../unweight.mjs';
import { CORPUS, SPEC, bytesOf, cases, restored } from './support.mjs';

/** Cases that break two rules, and the other one, which this decoder finds first. */
const OTHER_RULE = new Map([
  ['file-length-of-0', 'file-trailing'],
  ['dims-end-past-the-last', 'limit-rank'],
  ['name-end-past-the-last', 'limit-name'],
]);

/** @param {Uint8Array} bytes @param {string} rule */
async function assertBreaks(bytes, rule) {
  await assert.rejects(restored(bytes), (/** @type {any} */ error) => {
    assert.ok(error instanceof RuleError, String(error?.stack));
    assert.equal(error.rule, rule, error.message);
    assert.match(error.message, /^[a-z0-9-]+: [^\n]+$/);
    return true;
  });
}

test('restores every file of the corpus that is valid', async () => {
  const valid = cases().filter((c) => c.kind === 'accept');
  assert.ok(valid.length > 400);
  for (const { id, file, restored: expected } of valid) {
    const bytes = await restored(bytesOf(CORPUS, file));
    assert.equal(bytes.length, expected.length, id);
    assert.equal(createHash('sha256').update(bytes).digest('hex'), expected.sha256, id);
  }
});

test('rejects every invalid file of the corpus under its rule', async () => {
  const invalid = cases().filter((c) => c.kind === 'reject');
  assert.ok(invalid.length > 600);
  for (const { id, file, rule } of invalid) {
    await assertBreaks(bytesOf(CORPUS, file), OTHER_RULE.get(id) ?? rule);
  }
});

test('rejects every strict prefix of the small files as truncated', async () => {
  const families = cases().filter((c) => c.kind === 'prefixes');
  assert.ok(families.length > 0);
  for (const { file, rule } of families) {
    const bytes = bytesOf(CORPUS, file);
    for (let n = 0; n < bytes.length; n++) await assertBreaks(bytes.subarray(0, n), rule);
  }
});

test('knows the rules of section 10, with category and section', () => {
  const text = new TextDecoder().decode(bytesOf(SPEC, 'unweight.md'));
  const table = text.slice(text.indexOf('## 10. Rules'), text.indexOf('## 11. '));
  const rows = [...table.matchAll(/^\| `([a-z0-9-]+)` \| (\w+) \| ([^|]+) \|/gm)];
  const rules = Object.fromEntries(rows.map(([, rule, ...rest]) => [rule, rest]));
  assert.deepEqual(RULES, rules);
});
