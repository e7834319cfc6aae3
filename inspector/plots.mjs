/** Plots: bits of a weight as bars, histograms, and bytes around a place in the file. */

import { bitsText, element, offsetText, percentText } from './dom.mjs';

/** @typedef {import('./core.mjs').FieldShare} FieldShare */
/** @typedef {import('./core.mjs').Histogram} Histogram */

/** @typedef {{ label: string, bits: number, color: string }} Segment */

/** Values of a histogram that are listed; the rest are one row. */
const MOST_VALUES = 40;

/**
 * Bars of the bits of a weight, original and stored, on one scale.
 *
 * @param {string} title
 * @param {number} original bits
 * @param {Segment[]} segments stored bits
 */
export function bitsBar(title, original, segments) {
  const stored = segments.reduce((sum, { bits }) => sum + bits, 0);
  const scale = Math.max(original, stored, 1e-9);
  const summary = `${title}: ${bitsText(stored)} of ${bitsText(original)} bits a weight are stored`;
  const track = element(
    'div.track',
    { role: 'img', 'aria-label': `${summary}: ${segments.map(describe).join(', ')}` },
    ...segments
      .filter(({ bits }) => bits > 0)
      .map((segment) =>
        element('i', {
          style: `width:${(100 * segment.bits) / scale}%;background:${segment.color}`,
          title: describe(segment),
        }),
      ),
  );
  const legend = element(
    'ul.legend',
    { 'aria-hidden': true },
    ...segments.map((segment) =>
      element('li', {}, element('i', { style: `background:${segment.color}` }), describe(segment)),
    ),
    ...(stored < original
      ? [element('li.saved', {}, element('i'), `saved ${bitsText(original - stored)}`)]
      : []),
  );
  return element(
    'div.bits-row',
    {},
    element(
      'div',
      {},
      element('strong', {}, title),
      ` ${bitsText(stored)} of ${bitsText(original)} bits a weight`,
    ),
    track,
    legend,
  );
}

/** @param {Segment} segment */
const describe = ({ label, bits }) => `${label} ${bitsText(bits)}`;

const CODED_COLORS = ['var(--coded)', 'var(--coded-2)', 'var(--coded-3)'];

/** Colors of the fields: by form, and one after another where several are coded.
 *  @param {FieldShare[]} shares @returns {Segment[]} */
export function segmentsOf(shares) {
  let coded = 0;
  return shares.map(({ label, form, stored }) => {
    let color = 'var(--plain)';
    if (form === 'huffman' || form === 'palette') {
      color = CODED_COLORS[coded++ % CODED_COLORS.length];
    } else if (form === 'constant') color = 'var(--constant)';
    else if (form === '') color = 'var(--index)';
    return { label, bits: stored, color };
  });
}

/**
 * Canonical codes of section 6 as strings, for the lengths of a record.
 *
 * @param {Uint8Array} lengths
 * @returns {(string | undefined)[]} by palette entry
 */
export function codeStrings(lengths) {
  /** @type {(string | undefined)[]} */
  const codes = Array.from(lengths, () => undefined);
  let code = -1;
  let before = 0;
  for (let L = 0; L <= 8; L++) {
    for (let j = 0; j < lengths.length; j++) {
      if (lengths[j] !== L) continue;
      code = (code + 1) << (L - before);
      before = L;
      codes[j] = L === 0 ? '' : code.toString(2).padStart(L, '0');
    }
  }
  return codes;
}

/** A histogram as a table with bars. @param {Histogram} histogram */
export function histogramTable(histogram) {
  const { counts, sampled, palette, lengths } = histogram;
  const codes = lengths && codeStrings(lengths);
  const places = new Map(palette && Array.from(palette, (value, j) => [value, j]));
  const values = [...counts.keys()].filter((value) => counts[value] > 0 || places.has(value));
  const chosen = [...values].sort((a, b) => counts[b] - counts[a]).slice(0, MOST_VALUES);
  chosen.sort((a, b) => a - b);
  const most = Math.max(...chosen.map((value) => counts[value]), 1);
  const rows = chosen.map((value) => {
    const entry = places.get(value);
    const isOutside = palette !== undefined && entry === undefined;
    const code = entry === undefined ? undefined : codes?.[entry];
    const codeText =
      code === undefined ? (isOutside || codes ? 'patch' : '') : `${code || 'no bits'}`;
    return element(
      isOutside ? 'tr.outside' : 'tr',
      {},
      element('th.right.mono', { scope: 'row' }, value),
      element(
        'td.share',
        {},
        element('div.level', { style: `width:${(100 * counts[value]) / most}%` }),
      ),
      element('td.right.number', {}, percentText(counts[value] / sampled)),
      ...(palette ? [element('td.right', {}, entry ?? '')] : []),
      ...(codes
        ? [
            element(
              'td.right.number',
              {},
              entry === undefined || lengths?.[entry] === 15 ? '–' : (lengths?.[entry] ?? ''),
            ),
            element('td.mono', {}, codeText),
          ]
        : []),
    );
  });
  const shown = chosen.reduce((sum, value) => sum + counts[value], 0);
  if (values.length > chosen.length) {
    rows.push(
      element(
        'tr',
        {},
        element('th.right', { scope: 'row' }, 'others'),
        element('td.share', {}, `${values.length - chosen.length} values`),
        element('td.right.number', {}, percentText((sampled - shown) / sampled)),
      ),
    );
  }
  return element(
    'div.scroll',
    {},
    element(
      'table.histogram',
      {},
      element(
        'thead',
        {},
        element(
          'tr',
          {},
          element('th.right', { scope: 'col' }, 'Value'),
          element('th', { scope: 'col' }, 'Weights'),
          element('th.right', { scope: 'col' }, 'Share'),
          ...(palette ? [element('th.right', { scope: 'col' }, 'Entry')] : []),
          ...(codes
            ? [
                element('th.right', { scope: 'col' }, 'Length'),
                element('th', { scope: 'col' }, 'Code'),
              ]
            : []),
        ),
      ),
      element('tbody', {}, ...rows),
    ),
  );
}

/**
 * Bytes in hexadecimal, 16 in a row, with the one at `offset` marked.
 *
 * @param {Uint8Array} bytes
 * @param {number} begin their offset in the file
 * @param {number} offset
 */
export function hexDump(bytes, begin, offset) {
  const lines = element('pre', { 'aria-label': 'Bytes of the file around this place' });
  for (let at = 0; at < bytes.length; at += 16) {
    lines.append(`${(begin + at).toString(16).padStart(10, '0')}  `);
    for (let i = at; i < Math.min(at + 16, bytes.length); i++) {
      const text = bytes[i].toString(16).padStart(2, '0');
      lines.append(begin + i === offset ? element('mark', {}, text) : text, ' ');
    }
    lines.append('\n');
  }
  if (begin + bytes.length <= offset) lines.append(`${offsetText(offset)} is the end of the file`);
  return lines;
}
