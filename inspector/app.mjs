/** The page: opens files, and shows their tensors, bits, fields, records and violations. */

import { CapacityError, RuleError } from '../conformance/decoders/javascript/unweight.mjs';
import {
  ReadCounter,
  UnweightModel,
  fieldLabel,
  openModel,
  shownName,
  typeNamed,
} from './core.mjs';
import { bitsText, byId, bytesText, countText, counted, element, offsetText } from './dom.mjs';
import { bitsBar, hexDump, histogramTable, segmentsOf } from './plots.mjs';
import { TensorTable } from './table.mjs';

/** @typedef {import('./core.mjs').Row} Row */
/** @typedef {import('./core.mjs').SafetensorsModel} SafetensorsModel */

/** Chunks whose records are listed at a time. */
const RECORDS_AT_A_TIME = 16;
/** Violations after which verification ends. */
const MOST_VIOLATIONS = 100;
/** Milliseconds of work after which the page is drawn. */
const SLICE = 16;
/** The types that the overview has bars for; the rest are in the table. */
const MOST_TYPES = 6;

/** What is open. Read by the tests, and useful in the console. */
const inspector = {
  /** @type {UnweightModel | SafetensorsModel | undefined} */ model: undefined,
  counter: new ReadCounter(),
  /** @type {string[]} rules of the violations that are shown */ violations: [],
  /** `idle`, or what the page is doing. */ state: 'idle',
};
Object.assign(window, { inspector });

/** @type {Blob | undefined} */
let blob;
/** @type {AbortController | undefined} */
let running;
/** Number of the selection, so that a slow answer to an earlier one is dropped. */
let selection = 0;

const table = new TensorTable(byId('table'), select, (shown, all) => {
  byId('count').textContent =
    shown === all ? counted(all, 'tensor') : `${countText(shown)} of ${counted(all, 'tensor')}`;
});

function showReads() {
  const { reads, bytes } = inspector.counter;
  const size = blob?.size ?? 0;
  byId('reads').textContent =
    `${bytesText(bytes)} read in ${counted(reads, 'read')}; the file has ${bytesText(size)}. ` +
    'Nothing leaves this computer.';
}

/** Lets the browser draw and take clicks. */
const pause = () => new Promise((resolve) => setTimeout(resolve));

// Opening

/** @param {File} file */
async function open(file) {
  running?.abort();
  running = undefined;
  selection += 1;
  blob = file;
  inspector.model = undefined;
  inspector.counter = new ReadCounter();
  inspector.violations = [];
  inspector.state = 'opening';
  byId('welcome').hidden = true;
  byId('report').hidden = false;
  byId('violation-list').replaceChildren();
  for (const id of ['violations', 'bits', 'columns', 'verify', 'estimate', 'work', 'cancel']) {
    byId(id).hidden = true;
  }
  byId('facts').replaceChildren();
  byId('name').textContent = shownName(file.name);
  outcome('', '');
  showNothingSelected();
  try {
    const model = await openModel(file, file.name, inspector.counter);
    if (blob !== file) return;
    inspector.model = model;
    showModel(model);
  } catch (error) {
    if (blob !== file) return;
    await showError(error, 'The file cannot be opened.');
  }
  inspector.state = 'idle';
  showReads();
}

/** @param {UnweightModel | SafetensorsModel} model */
function showModel(model) {
  const isUnweight = model instanceof UnweightModel;
  const facts = [['Size', bytesText(model.size)]];
  if (isUnweight) {
    const { header, extensions } = model.file;
    const share = model.restored === 0n ? 0 : model.size / Number(model.restored);
    facts.push(
      ['Restores to', bytesText(model.restored)],
      ['Stored share', `${(100 * share).toFixed(2)} %`],
      ['Version', `${header.majorVersion}.${header.minorVersion}`],
      [
        'Source',
        header.sourceKind === 1 ? `safetensors, header ${bytesText(header.sourceLength)}` : 'none',
      ],
      ['Extensions', extensions.length === 0 ? 'none' : extensions.map(kindText).join(', ')],
    );
  } else {
    facts.push(['Format', 'safetensors, not compressed']);
  }
  facts.push(['Tensors', countText(model.rows.length)]);
  byId('facts').replaceChildren(...definitions(facts));
  byId('verify').hidden = !isUnweight;
  byId('estimate').hidden = isUnweight || model.rows.length === 0;
  byId('columns').hidden = false;
  byId('search').value = '';
  table.set(model.rows);
  if (isUnweight) {
    outcome('', 'Header, directory and extensions are right. The tensors have not been checked.');
    showTotals(model);
  } else {
    outcome('', 'Select a tensor for an estimate from a sample of its weights.');
  }
}

/** @param {{ kind: number, length: number }} item */
const kindText = ({ kind, length }) => `kind ${offsetText(kind)} (${bytesText(length)})`;

/** @param {(string | number)[][]} facts */
const definitions = (facts) =>
  facts.map(([term, value]) =>
    element('div', {}, element('dt', {}, term), element('dd.number', {}, value)),
  );

/** @param {UnweightModel} model */
function showTotals(model) {
  const totals = model.totals().filter(({ weights }) => weights > 0);
  byId('bits').hidden = totals.length === 0;
  const bars = totals.slice(0, MOST_TYPES).map(({ dtype, original, weights, parts }) => {
    const bits = (/** @type {number} */ bytes) => (8 * bytes) / weights;
    return bitsBar(`${dtype}, ${bytesText(original)}`, bits(original), [
      { label: 'plain bits', bits: bits(parts.plain), color: 'var(--plain)' },
      { label: 'coded fields', bits: bits(parts.coded), color: 'var(--coded)' },
      {
        label: 'palettes, record ends, block checksums',
        bits: bits(parts.index),
        color: 'var(--index)',
      },
      { label: 'padding', bits: bits(parts.padding), color: 'var(--padding)' },
    ]);
  });
  byId('bits-plot').replaceChildren(...bars);
}

// A tensor

function showNothingSelected() {
  byId('detail').replaceChildren(
    element('p.quiet', {}, 'Select a tensor to see its fields and records.'),
  );
}

/** @param {Row} row */
async function select(row) {
  const { model } = inspector;
  if (!model) return;
  const mine = ++selection;
  inspector.state = 'reading';
  const detail = byId('detail');
  try {
    const shares = await model.fields(row.index);
    if (mine !== selection) return;
    const facts = [
      ['Type', row.dtype],
      ['Shape', row.shape],
      ['Weights', countText(row.weights)],
      ['Original', bytesText(row.original)],
      [
        model instanceof UnweightModel ? 'Stored' : 'Stored (estimate)',
        row.stored === undefined ? '–' : bytesText(row.stored),
      ],
    ];
    if (model instanceof UnweightModel) {
      const tensor = model.file.tensors[row.index];
      facts.push(['Bytes in the file', `${offsetText(tensor.begin)} to ${offsetText(tensor.end)}`]);
      if (tensor.chunks > 0) {
        facts.push([
          'Chunks',
          `${countText(tensor.chunks)} of ${countText(tensor.unitWeights)} weights`,
        ]);
      }
    }
    detail.replaceChildren(
      element('h3', {}, shownName(row.name)),
      element('dl', {}, ...definitions(facts)),
      ...fieldsSection(model, shares),
    );
    if (shares.length > 0) {
      detail.append(histogramSection(model, row.index, mine));
      if (model instanceof UnweightModel && model.file.tensors[row.index].chunks > 0) {
        detail.append(recordsSection(model, row.index, mine));
      }
    }
    table.refresh();
    if (matchMedia('(max-width: 62rem)').matches) detail.scrollIntoView();
  } catch (error) {
    if (mine === selection) await showError(error, `Tensor ${row.index} cannot be read.`);
  }
  inspector.state = 'idle';
  showReads();
}

/** @param {UnweightModel | SafetensorsModel} model
 *  @param {import('./core.mjs').FieldShare[]} shares */
function fieldsSection(model, shares) {
  if (shares.length === 0) return [element('p.quiet', {}, 'The tensor has no weights.')];
  const original = shares.reduce((sum, share) => sum + share.original, 0);
  const isEstimate = !(model instanceof UnweightModel);
  const rows = shares.map(({ label, form, original: was, stored }) =>
    element(
      'tr',
      {},
      element('th', { scope: 'row' }, label),
      element('td', {}, form),
      element('td.right.number', {}, was),
      element('td.right.number', {}, bitsText(stored)),
    ),
  );
  const head = ['Field', 'Form', 'Bits', isEstimate ? 'Estimate' : 'Stored'];
  return [
    element('h4', {}, isEstimate ? 'Fields, as an estimate' : 'Fields'),
    bitsBar(isEstimate ? 'Estimate' : 'Stored', original, segmentsOf(shares)),
    element(
      'div.scroll',
      {},
      element(
        'table',
        {},
        element(
          'thead',
          {},
          element(
            'tr',
            {},
            ...head.map((text, i) => element(i > 1 ? 'th.right' : 'th', { scope: 'col' }, text)),
          ),
        ),
        element('tbody', {}, ...rows),
      ),
    ),
    ...(isEstimate
      ? [
          element(
            'p.quiet',
            {},
            'This is an estimate from the entropy of a sample, at most 8 runs of 8,192 weights. ' +
              'An encoder decides by the rules of section 11.',
          ),
        ]
      : []),
  ];
}

/** @param {UnweightModel | SafetensorsModel} model @param {number} index @param {number} mine */
function histogramSection(model, index, mine) {
  const type = typeNamed(model.rows[index].dtype);
  const fields = type?.fields ?? [];
  if (fields.length === 0) return element('p.quiet', {}, 'The type has no fields.');
  const coded = model instanceof UnweightModel ? model.file.tensors[index].codedFields : [];
  const chooser = /** @type {HTMLSelectElement} */ (
    element(
      'select',
      { id: 'field' },
      ...fields.map(({ high, low }, f) =>
        element('option', { value: f }, fieldLabel(type, { high, low })),
      ),
    )
  );
  chooser.value = String(coded[0] ?? 0);
  const place = element('div', { id: 'histogram' });
  const show = async () => {
    try {
      const histogram = await model.histogram(index, Number(chooser.value));
      if (mine !== selection) return;
      const { sampled, weights, runs, totalRuns, entropy, kind, chunk } = histogram;
      const what =
        model instanceof UnweightModel && coded.includes(Number(chooser.value)) ? 'chunks' : 'runs';
      const all = BigInt(sampled) === weights;
      place.replaceChildren(
        element(
          'p.quiet',
          {},
          `${all ? 'All' : 'Sample of'} ${countText(sampled)} weights` +
            (all
              ? ''
              : ` of ${countText(weights)}, from ${runs} of ${countText(totalRuns)} ${what}`) +
            `; entropy ${bitsText(entropy)} bits a weight.` +
            (kind ? ` Record of chunk ${chunk}: ${kind}.` : ''),
        ),
        histogramTable(histogram),
      );
    } catch (error) {
      if (mine === selection) await showError(error, 'The histogram cannot be made.');
    }
    showReads();
  };
  chooser.addEventListener('change', show);
  show();
  return element(
    'div',
    {},
    element('h4', {}, element('label', { for: 'field' }, 'Values of field '), chooser),
    place,
  );
}

/** @param {UnweightModel} model @param {number} index @param {number} mine */
function recordsSection(model, index, mine) {
  const { chunks } = model.file.tensors[index];
  const place = element('div.scroll', { id: 'records' });
  const text = element('span.quiet', { role: 'status' });
  let first = 0;
  const show = async () => {
    const last = Math.min(chunks, first + RECORDS_AT_A_TIME);
    try {
      const rows = await model.records(index, first, last);
      if (mine !== selection) return;
      const head = ['Chunk', 'Field', 'Offset', 'Bytes', 'Kind', 'Bits', 'Patches', 'Code lengths'];
      place.replaceChildren(
        element(
          'table',
          {},
          element(
            'thead',
            {},
            element('tr', {}, ...head.map((label) => element('th', { scope: 'col' }, label))),
          ),
          element(
            'tbody',
            {},
            ...rows.map((row) =>
              element(
                'tr',
                {},
                element('th', { scope: 'row' }, row.chunk),
                element('td', {}, row.field),
                element('td.mono', {}, offsetText(row.offset)),
                element('td.number', {}, countText(row.length)),
                element('td', {}, row.kind),
                element('td.number', {}, bitsText(row.bits)),
                element('td.number', {}, row.patches),
                element('td.mono', {}, row.lengths),
              ),
            ),
          ),
        ),
      );
    } catch (error) {
      if (mine === selection) await showError(error, 'The records cannot be read.');
    }
    text.textContent = `Chunks ${first} to ${last - 1} of ${countText(chunks)}`;
    /** @type {HTMLButtonElement} */ (before).disabled = first === 0;
    /** @type {HTMLButtonElement} */ (behind).disabled = last === chunks;
    showReads();
  };
  /** @param {number} step */
  const go = (step) => {
    first = Math.max(0, Math.min(chunks - 1, first + step * RECORDS_AT_A_TIME));
    show();
  };
  const before = element('button', { type: 'button', onclick: () => go(-1) }, 'Previous');
  const behind = element('button', { type: 'button', onclick: () => go(1) }, 'Next');
  show();
  return element(
    'div',
    {},
    element('h4', {}, 'Records'),
    element('div.pager', {}, before, behind, text),
    place,
  );
}

// Violations

/** @param {'' | 'good' | 'bad'} kind @param {string} text */
function outcome(kind, text) {
  byId('outcome').className = kind;
  byId('outcome').textContent = text;
}

/** @param {unknown} error @param {string} what */
async function showError(error, what) {
  if (error instanceof RuleError) {
    outcome('bad', `${what} It breaks the rule ${error.rule}.`);
    await showViolation(error);
  } else {
    const message = error instanceof Error ? error.message : String(error);
    outcome(
      'bad',
      `${what} ${error instanceof CapacityError ? 'This page is too small: ' : ''}${message}`,
    );
  }
}

/** @param {RuleError} error */
async function showViolation(error) {
  inspector.violations.push(error.rule);
  byId('violations').hidden = false;
  const facts = [
    ['Section', error.section],
    ['Category', error.category],
  ];
  if (error.tensor)
    facts.push(['Tensor', `${error.tensor.index}, ${shownName(error.tensor.name)}`]);
  if (error.chunk !== undefined) facts.push(['Chunk', String(error.chunk)]);
  if (error.field !== undefined) facts.push(['Field', String(error.field)]);
  if (error.offset !== undefined) {
    facts.push(['Byte', `${countText(error.offset)} (${offsetText(error.offset)})`]);
  }
  if (error.found !== undefined) facts.push(['Found', error.found]);
  if (error.expected !== undefined) facts.push(['Expected', error.expected]);
  const item = element(
    'li.violation',
    {},
    element('strong', {}, element('code', {}, error.rule), ` ${error.what}`),
    element('dl', {}, ...definitions(facts)),
  );
  byId('violation-list').append(item);
  if (error.offset !== undefined && blob) {
    const begin = Math.max(0, Math.min(error.offset - (error.offset % 16) - 16, blob.size));
    const part = blob.slice(begin, begin + 64);
    inspector.counter.reads += 1;
    inspector.counter.bytes += part.size;
    item.append(hexDump(new Uint8Array(await part.arrayBuffer()), begin, error.offset));
  }
}

// Work through the whole file

/**
 * Runs `work` with progress and a button to cancel it.
 *
 * @param {string} state
 * @param {(signal: AbortSignal, progress: (share: number, text: string) => Promise<void>)
 *   => Promise<void>} work
 */
async function withProgress(state, work) {
  running?.abort();
  const stop = new AbortController();
  running = stop;
  inspector.state = state;
  for (const id of ['work', 'cancel']) byId(id).hidden = false;
  for (const id of ['verify', 'estimate']) byId(id).disabled = true;
  byId('cancel').focus();
  let drawn = performance.now();
  try {
    await work(stop.signal, async (share, text) => {
      if (performance.now() - drawn < SLICE) return;
      byId('progress').value = share;
      byId('progress-text').textContent = text;
      showReads();
      await pause();
      stop.signal.throwIfAborted();
      drawn = performance.now();
    });
  } catch (error) {
    if (!stop.signal.aborted) await showError(error, 'The work ended.');
    else if (running === stop) outcome('', 'Cancelled.');
  }
  if (running !== stop) return;
  running = undefined;
  for (const id of ['work', 'cancel']) byId(id).hidden = true;
  for (const id of ['verify', 'estimate']) byId(id).disabled = false;
  inspector.state = 'idle';
  showReads();
}

function verify() {
  const { model } = inspector;
  if (!(model instanceof UnweightModel)) return;
  byId('violation-list').replaceChildren();
  byId('violations').hidden = true;
  inspector.violations = [];
  outcome('', 'Verifying.');
  const begin = performance.now();
  return withProgress('verifying', async (signal, progress) => {
    const violations = await model.verify({
      signal,
      mostViolations: MOST_VIOLATIONS,
      onProgress: ({ position, total, tensor }) =>
        progress(
          position / total,
          `${bytesText(position)} of ${bytesText(total)}` +
            (tensor
              ? `, tensor ${countText(tensor.index + 1)} of ${countText(model.rows.length)}`
              : ''),
        ),
    });
    for (const violation of violations) await showViolation(violation);
    const seconds = ((performance.now() - begin) / 1000).toFixed(2);
    if (violations.length === 0) {
      outcome('good', `Every rule is kept: the file is valid. It was read in ${seconds} s.`);
    } else {
      const more = violations.length === MOST_VIOLATIONS ? 'at least ' : '';
      outcome('bad', `The file is invalid: ${more}${counted(violations.length, 'violation')}.`);
    }
  });
}

function estimateAll() {
  const { model } = inspector;
  if (!model || model instanceof UnweightModel) return;
  return withProgress('estimating', async (signal, progress) => {
    let stored = 0;
    for (const row of model.rows) {
      signal.throwIfAborted();
      await model.fields(row.index);
      stored += row.stored ?? Number(row.original);
      await progress(
        row.index / model.rows.length,
        `tensor ${countText(row.index + 1)} of ${countText(model.rows.length)}`,
      );
    }
    table.refresh();
    const share = (100 * (stored + model.dataBegin)) / model.size;
    outcome(
      'good',
      `Estimate from samples: ${bytesText(stored + model.dataBegin)}, ` +
        `${share.toFixed(1)} % of the file.`,
    );
  });
}

// Events

byId('file').addEventListener('change', (/** @type {any} */ event) => {
  const [file] = event.target.files;
  if (file) open(file);
  event.target.value = '';
});
byId('search').addEventListener('input', (/** @type {any} */ event) =>
  table.search(event.target.value),
);
byId('verify').addEventListener('click', verify);
byId('estimate').addEventListener('click', estimateAll);
byId('cancel').addEventListener('click', () => running?.abort());
addEventListener('keydown', (event) => {
  if (event.key === 'Escape') running?.abort();
});
addEventListener('dragover', (event) => {
  event.preventDefault();
  document.body.classList.add('dropping');
});
addEventListener('dragleave', (event) => {
  if (event.relatedTarget === null) document.body.classList.remove('dropping');
});
addEventListener('drop', (event) => {
  event.preventDefault();
  document.body.classList.remove('dropping');
  const file = event.dataTransfer?.files[0];
  if (file) open(file);
});
