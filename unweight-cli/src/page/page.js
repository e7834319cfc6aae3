'use strict';

const { version, summary, largest, no_gain, outliers } = JSON.parse(
  document.getElementById('figures').textContent,
);

const PARTS = [
  ['exponent', 'Exponents'],
  ['mantissa', 'Mantissas'],
  ['sign', 'Signs'],
  ['integer', 'Integers and packed types'],
  ['overhead', 'Headers and checksums'],
];
const REASONS = {
  empty: ['No weights', 'There is nothing to compress.'],
  no_fields: ['Type without coded fields', 'The format stores this type as it is.'],
  random: ['Bits too random', 'The entropy is within 1/64 of the bits of the type.'],
  too_small: ['Too small', 'A palette and a record would take more than they save.'],
  not_coded: [
    'Not coded',
    'The entropy says that coding would save space: the tensor was excluded, or another encoder made the file.',
  ],
};

/* Elements. Text is always a text node, so names cannot become markup. */

function make(namespace, tag, attributes, children) {
  const element = document.createElementNS(namespace, tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}
const html = (tag, attributes = {}, ...children) =>
  make('http://www.w3.org/1999/xhtml', tag, attributes, children);
const svg = (tag, attributes = {}, ...children) =>
  make('http://www.w3.org/2000/svg', tag, attributes, children);
const section = (id) => document.getElementById(id);

/* Numbers. */

const count = (number) => number.toLocaleString('en-US');
function bytes(number) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'];
  let unit = 0;
  let value = number;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toPrecision(3)} ${units[unit]}`;
}
const percent = (part, whole, digits = 1) =>
  whole > 0 ? `${((100 * part) / whole).toFixed(digits)} %` : '–';
const about = summary.is_estimate ? 'about ' : '';
const bitsOf = (stored) => PARTS.reduce((sum, [key]) => sum + stored[key], 0);
const perWeight = (bits, sum) => (sum.weights > 0 ? (bits / sum.weights).toFixed(2) : '–');
const biasOf = ({ dtype, high, low }) => 2 ** (high - low) - 1 + (/FNUZ/i.test(dtype) ? 1 : 0);
const RAISED = {
  '-': '⁻',
  0: '⁰',
  1: '¹',
  2: '²',
  3: '³',
  4: '⁴',
  5: '⁵',
  6: '⁶',
  7: '⁷',
  8: '⁸',
  9: '⁹',
};
const power = (exponent) => `2${[...`${exponent}`].map((digit) => RAISED[digit]).join('')}`;

/* A table, behind a plot or alone. A column is [title, class, cell of a row]. */
function table(columns, rows, caption) {
  const cell =
    (row) =>
    ([, kind, value], place) => {
      const found = value(row);
      const tag = place === 0 ? 'th' : 'td';
      return html(tag, place === 0 ? { class: kind, scope: 'row' } : { class: kind }, found);
    };
  return html(
    'div',
    { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption },
    html(
      'table',
      {},
      html(
        'thead',
        {},
        html(
          'tr',
          {},
          ...columns.map(([title, kind]) => html('th', { class: kind, scope: 'col' }, title)),
        ),
      ),
      html('tbody', {}, ...rows.map((row) => html('tr', {}, ...columns.map(cell(row))))),
    ),
  );
}
const behind = (title, content) => html('details', {}, html('summary', {}, title), content);

/* A bar of parts from left to right, `whole` wide. */
function bar(parts, whole, label, height = 16) {
  let x = 0;
  const rects = parts
    .filter(([, size]) => size > 0)
    .map(([key, size, title]) => {
      const width = whole > 0 ? Math.min(100 - x, (100 * size) / whole) : 0;
      const rect = svg(
        'rect',
        { class: key, x: `${x}%`, width: `${width}%`, height },
        svg('title', {}, title),
      );
      x += width;
      return rect;
    });
  return svg('svg', { role: 'img', 'aria-label': label, height }, ...rects);
}
function parts(sum, frame = 0) {
  const all = PARTS.map(([key, title]) => {
    const size = sum.stored[key] / 8 + (key === 'overhead' ? frame : 0);
    return [key, size, `${title}: ${bytes(Math.round(size))}`];
  });
  const stored = all.reduce((total, [, size]) => total + size, 0);
  const saved = Math.max(0, sum.original_bytes - stored);
  return [...all, ['saved', saved, `Saved: ${bytes(Math.round(saved))}`]];
}
const legend = (entries) =>
  html(
    'ul',
    { class: 'legend' },
    ...entries.map(([key, title]) => html('li', {}, html('i', { class: key }), title)),
  );

/* Sections. */

function header() {
  section('model').append(summary.model);
  section('estimate').hidden = !summary.is_estimate;
  const { tensors, weights } = summary.total;
  const types = summary.dtypes.map(
    ({ dtype, sum }) => `${dtype} ${percent(sum.original_bytes, summary.total.original_bytes)}`,
  );
  const facts = [
    `${count(summary.files)} ${summary.files === 1 ? 'file' : 'files'}`,
    `${count(tensors)} ${tensors === 1 ? 'tensor' : 'tensors'}`,
    `${count(weights)} weights`,
    types.join(', '),
  ];
  section('facts').append(facts.filter(Boolean).join(' · '));
}

function limits() {
  const { total } = summary;
  const stored = bitsOf(total.stored);
  if (total.weights === 0) return ['The model has no weights.'];
  const found = [];
  const entropyOf = (kind) => {
    const sums = { entropy: 0, width: 0 };
    for (const field of summary.fields.filter((field) => field.field === kind)) {
      const values = field.counts.reduce((sum, one) => sum + one, 0);
      sums.entropy += values * field.entropy_bits;
      sums.width += values * (field.high - field.low + 1);
    }
    return sums;
  };
  const kept = total.stored.mantissa + total.stored.sign;
  if (kept > 0) {
    const { entropy, width } = entropyOf('mantissa');
    found.push(
      `Mantissas and signs are ${percent(kept, stored)} of what is stored.` +
        (width > 0
          ? ` The mantissas have an entropy of ${percent(entropy, width)} of their bits${entropy > 0.97 * width ? ', so no code makes them much smaller' : ''}.`
          : ''),
    );
  }
  const exponents = entropyOf('exponent');
  if (total.stored.exponent > 0 && exponents.width > 0) {
    found.push(
      `Exponents are ${percent(total.stored.exponent, stored)} of what is stored: ${percent(total.stored.exponent, exponents.width)} of their original bits.`,
    );
  }
  if (total.stored.integer > 0) {
    found.push(
      `Integers and packed weights are ${percent(total.stored.integer, stored)} of what is stored.`,
    );
  }
  const over = stored - total.entropy_bits;
  found.push(
    `The entropy of the fields is ${perWeight(total.entropy_bits, total)} bits per weight. What is stored is ${percent(over, total.entropy_bits)} above it; headers, checksums and padding are ${percent(total.stored.overhead, stored)}.`,
  );
  const raw =
    no_gain.length > 0 ? summary.no_gain.reduce((sum, one) => sum + one.original_bytes, 0) : 0;
  if (raw > 0.01 * total.original_bytes) {
    found.push(
      `${percent(raw, total.original_bytes)} of the weights are in tensors that gained nothing.`,
    );
  }
  return found;
}

function answer() {
  const { total } = summary;
  const stored = bitsOf(total.stored);
  const pair = (title, value, note) =>
    html('div', {}, html('dt', {}, title), html('dd', {}, value, html('small', {}, note)));
  const original =
    total.weights > 0
      ? ((8 * total.original_bytes) / total.weights).toFixed(1).replace('.0', '')
      : 0;
  const whole = Math.max(total.original_bytes, stored / 8 + summary.frame_bytes);
  const shown = parts(total, summary.frame_bytes);
  section('answer').append(
    html(
      'dl',
      { class: 'answers' },
      pair('Size', bytes(summary.stored_bytes), `${about}${count(summary.stored_bytes)} bytes`),
      pair(
        'Of the original',
        percent(summary.stored_bytes, summary.original_bytes, 2),
        `${bytes(summary.original_bytes)} of safetensors`,
      ),
      pair('Bits per weight', perWeight(stored, total), `of ${original}`),
      pair('Entropy', perWeight(total.entropy_bits, total), 'bits per weight, field by field'),
    ),
    bar(shown, whole, `Where the bits go: ${shown.map(([, , title]) => title).join(', ')}`, 26),
    legend(
      shown
        .filter(([, size]) => size > 0)
        .map(([key, size, title]) => [key, `${title} (${percent(size, whole)})`]),
    ),
    html('ul', { class: 'limits' }, ...limits().map((text) => html('li', {}, text))),
  );
}

function memory() {
  const { memory } = summary;
  const rows = [['Decoded', memory.decoded_bytes, 'every tensor in its own type']];
  if (memory.fragments_bytes !== null) {
    const count_ = memory.fragments_tensors;
    rows.push([
      '12-bit fragments',
      memory.fragments_bytes,
      `${count(count_)} BF16 ${count_ === 1 ? 'matrix' : 'matrices'}; the rest decoded`,
    ]);
  }
  rows.push(['Coded', memory.coded_bytes, 'as in the file, decoded when used']);
  const whole = Math.max(...rows.map(([, size]) => size));
  section('memory').append(
    html('p', { class: 'quiet' }, 'Weights alone: activations, caches and workspaces come on top.'),
    html(
      'div',
      { class: 'memory' },
      ...rows.map(([title, size, note]) =>
        html(
          'div',
          { class: 'row' },
          html(
            'p',
            {},
            html(
              'span',
              {},
              html('strong', {}, title),
              ' ',
              html('span', { class: 'quiet' }, note),
            ),
            html(
              'span',
              { class: 'number' },
              `${bytes(size)} · ${percent(size, memory.decoded_bytes)}`,
            ),
          ),
          bar(
            [
              ['exponent', size, `${title}: ${bytes(size)}`],
              ['saved', whole - size, `Less than the largest: ${bytes(whole - size)}`],
            ],
            whole,
            `${title}: ${bytes(size)}`,
            14,
          ),
        ),
      ),
    ),
  );
}

const nameOfLayer = ({ stack, numbers }) => {
  if (numbers === null) return 'outside of layers';
  const [first, last] = numbers;
  const range = first === last ? `${first}` : `${first}–${last}`;
  return stack === '' ? range : `${stack}.${range}`;
};

function layers() {
  const target = section('layers');
  const stacks = new Map();
  for (const layer of summary.layers) {
    const stack = layer.numbers === null ? null : layer.stack;
    stacks.set(stack, [...(stacks.get(stack) ?? []), layer]);
  }
  const drawn = [...stacks].filter(([stack]) => stack !== null).slice(0, 8);
  if (drawn.length === 0) {
    target.append(html('p', { class: 'quiet' }, 'No tensor has a number in its name.'));
  } else {
    target.append(
      html(
        'p',
        { class: 'quiet' },
        'Each column is a layer, with the original size in the background.',
      ),
      legend([...PARTS.filter(([key]) => summary.total.stored[key] > 0), ['saved', 'Saved']]),
    );
  }
  for (const [stack, columns] of drawn) target.append(stackOf(stack, columns));
  if (summary.layers.length > 0) {
    target.append(
      behind(
        'Layers as a table',
        table(
          [
            ['Layer', 'name', nameOfLayer],
            ['Tensors', 'number', ({ sum }) => count(sum.tensors)],
            ['Original', 'number', ({ sum }) => bytes(sum.original_bytes)],
            ['Stored', 'number', ({ sum }) => bytes(Math.round(bitsOf(sum.stored) / 8))],
            [
              'Of original',
              'number',
              ({ sum }) => percent(bitsOf(sum.stored) / 8, sum.original_bytes),
            ],
            ['Bits', 'number', ({ sum }) => perWeight(bitsOf(sum.stored), sum)],
            ['Entropy', 'number', ({ sum }) => perWeight(sum.entropy_bits, sum)],
          ],
          summary.layers,
          'Layers',
        ),
      ),
    );
  }
}

function stackOf(stack, columns) {
  const height = 120;
  const most = Math.max(
    1,
    ...columns.map(({ sum }) => Math.max(sum.original_bytes, bitsOf(sum.stored) / 8)),
  );
  const step = 100 / Math.max(columns.length, 6);
  const gap = columns.length > 60 ? 0.1 : 0.25;
  const marks = [];
  columns.forEach((layer, place) => {
    const { sum } = layer;
    const x = `${place * step + (gap * step) / 2}%`;
    const width = `${step * (1 - gap)}%`;
    const rect = (key, size, top) =>
      svg('rect', {
        class: key,
        x,
        width,
        y: (height * top).toFixed(2),
        height: (height * size).toFixed(2),
      });
    const group = [rect('saved', sum.original_bytes / most, 1 - sum.original_bytes / most)];
    let top = 1;
    for (const [key] of PARTS) {
      const size = sum.stored[key] / 8 / most;
      top -= size;
      if (size > 0) group.push(rect(key, size, top));
    }
    const title = `${nameOfLayer(layer)}: ${bytes(Math.round(bitsOf(sum.stored) / 8))} of ${bytes(sum.original_bytes)}, ${perWeight(bitsOf(sum.stored), sum)} bits per weight`;
    marks.push(svg('g', {}, svg('title', {}, title), ...group));
    const every = Math.ceil(columns.length / 8);
    if (place % every === 0) {
      marks.push(
        svg(
          'text',
          { x: `${(place + 0.5) * step}%`, y: height + 15, 'text-anchor': 'middle' },
          `${layer.numbers[0]}`,
        ),
      );
    }
  });
  const label = `${columns.length} layers of ${stack || 'the model'}, at most ${bytes(most)} each`;
  return html(
    'figure',
    {},
    html(
      'h3',
      {},
      stack || 'Layers',
      ' ',
      html('span', { class: 'quiet' }, `at most ${bytes(most)} each`),
    ),
    svg(
      'svg',
      { role: 'img', 'aria-label': label, height: height + 20 },
      svg('line', { class: 'axis', x1: 0, x2: '100%', y1: height, y2: height }),
      ...marks,
    ),
  );
}

const nameOfKind = (kind) => kind.name ?? 'all other kinds';

function kinds() {
  section('kinds').append(
    html('p', { class: 'quiet' }, 'A * stands for any number in the name.'),
    table(
      [
        ['Kind', 'name', nameOfKind],
        ['Tensors', 'number', ({ sum }) => count(sum.tensors)],
        ['Original', 'number', ({ sum }) => bytes(sum.original_bytes)],
        ['Of original', 'number', ({ sum }) => percent(bitsOf(sum.stored) / 8, sum.original_bytes)],
        ['Bits', 'number', ({ sum }) => perWeight(bitsOf(sum.stored), sum)],
        ['Entropy', 'number', ({ sum }) => perWeight(sum.entropy_bits, sum)],
        [
          'Where the bits go',
          'bar',
          ({ sum, name }) =>
            bar(
              parts(sum),
              Math.max(sum.original_bytes, bitsOf(sum.stored) / 8),
              `Where the bits of ${name ?? 'other kinds'} go`,
            ),
        ],
      ],
      summary.kinds,
      'Kinds of tensors',
    ),
  );
}

/* The most exponents of a histogram, counted from the largest. */
const EXPONENTS = 32;

/* One histogram. Values that occur, but would be too low to see, have a line of one pixel. */
function histogram(field, height = 64) {
  const { high, low } = field;
  const below = Math.max(0, field.counts.length - EXPONENTS);
  const counts = field.counts.slice(below);
  const first = field.first + below;
  const most = Math.max(...counts);
  const total = field.counts.reduce((sum, one) => sum + one, 0);
  const smaller = total - counts.reduce((sum, one) => sum + one, 0);
  const isExponent = field.field === 'exponent';
  const bias = biasOf(field);
  const nameOf = (value) => (isExponent ? power(value - bias) : `${value}`);
  const step = 100 / counts.length;
  const bars = counts.map((one, place) =>
    one === 0
      ? null
      : svg(
          'rect',
          {
            class: field.field,
            x: `${(place + 0.08) * step}%`,
            width: `${0.84 * step}%`,
            y: (height - Math.max(1, (height * one) / most)).toFixed(2),
            height: Math.max(1, (height * one) / most).toFixed(2),
          },
          svg('title', {}, `${nameOf(first + place)}: ${count(one)}, ${percent(one, total, 3)}`),
        ),
  );
  const last = first + counts.length - 1;
  const ends =
    counts.length === 1
      ? [[first, 'start', '0']]
      : [
          [first, 'start', '0'],
          [last, 'end', '100%'],
        ];
  return html(
    'div',
    {},
    svg(
      'svg',
      {
        role: 'img',
        height: height + 16,
        'aria-label': `${field.dtype} ${field.field}, bits ${high} to ${low}, ${nameOf(first)} to ${nameOf(last)}, entropy ${field.entropy_bits.toFixed(2)} bits`,
      },
      svg('line', { class: 'axis', x1: 0, x2: '100%', y1: height, y2: height }),
      ...bars,
      ...ends.map(([value, anchor, x]) =>
        svg('text', { x, y: height + 13, 'text-anchor': anchor }, nameOf(value)),
      ),
    ),
    html(
      'figcaption',
      {},
      `${field.field} ${high}..${low}: ${field.entropy_bits.toFixed(2)} of ${high - low + 1} bits${smaller > 0 ? `; ${count(smaller)} smaller` : ''}`,
    ),
  );
}

function card(title, fields) {
  const dtypes = [...new Set(fields.map(({ dtype }) => dtype))];
  return dtypes.map((dtype) => {
    const shown = fields.filter((field) => field.dtype === dtype);
    const exponents = shown.filter(({ field }) => field === 'exponent');
    const others = shown.filter(({ field }) => field !== 'exponent');
    return html(
      'figure',
      {},
      html('h3', {}, title, ' ', html('span', { class: 'quiet' }, dtype)),
      html(
        'div',
        { class: 'pair' },
        ...[...exponents.slice(0, 1), ...others.slice(0, 1)].map((field) => histogram(field)),
      ),
    );
  });
}

function histograms() {
  const target = section('histograms');
  if (summary.fields.length === 0) {
    target.append(html('p', { class: 'quiet' }, 'No tensor has a field that the format codes.'));
    return;
  }
  target.append(
    html(
      'p',
      { class: 'quiet' },
      'How often each exponent and each value of the upper mantissa bits occurs. Flat means random: it cannot be coded.',
    ),
    html(
      'div',
      { class: 'multiples' },
      ...card('All tensors', summary.fields),
      ...(summary.kinds.length > 1
        ? summary.kinds.flatMap((kind) => card(nameOfKind(kind), kind.fields))
        : []),
    ),
    behind(
      'Fields as a table',
      table(
        [
          ['Type', '', ({ dtype }) => dtype],
          ['Field', '', ({ field, high, low }) => `${field} ${high}..${low}`],
          [
            'Values that occur',
            'number',
            ({ counts }) => count(counts.filter((one) => one > 0).length),
          ],
          [
            'Most frequent',
            'number',
            (field) => {
              const place = field.counts.indexOf(Math.max(...field.counts));
              const value = field.first + place;
              return field.field === 'exponent' ? power(value - biasOf(field)) : `${value}`;
            },
          ],
          ['Entropy', 'number', ({ entropy_bits }) => entropy_bits.toFixed(3)],
          ['Bits', 'number', ({ high, low }) => `${high - low + 1}`],
        ],
        summary.fields,
        'Fields',
      ),
    ),
  );
}

function outlierTable() {
  const target = section('outliers');
  target.append(
    html(
      'p',
      { class: 'quiet' },
      'Weights of at least 16 times the median magnitude of their tensor, by exponents. They cost a long code each, and quantization suffers from them.',
    ),
  );
  if (outliers.length === 0) {
    target.append(html('p', {}, 'There are none.'));
    return;
  }
  target.append(
    table(
      [
        ['Tensor', 'name', ({ name }) => name],
        ['Outliers', 'number', ({ magnitudes }) => count(magnitudes.outliers)],
        ['Share', 'number', ({ magnitudes, weights }) => percent(magnitudes.outliers, weights, 4)],
        ['Median', 'number', ({ magnitudes }) => power(magnitudes.median_log2)],
        ['Largest', 'number', ({ magnitudes }) => power(magnitudes.largest_log2)],
        ['Not finite', 'number', ({ magnitudes }) => count(magnitudes.not_finite)],
      ],
      outliers.slice(0, 15),
      'Outliers',
    ),
  );
}

function noGain() {
  const target = section('no-gain');
  if (summary.no_gain.length === 0) {
    target.append(html('p', {}, 'Every tensor became smaller.'));
    return;
  }
  target.append(
    table(
      [
        ['Reason', '', ({ reason }) => REASONS[reason]?.[0] ?? reason],
        ['Tensors', 'number', ({ tensors }) => count(tensors)],
        ['Bytes', 'number', ({ original_bytes }) => bytes(original_bytes)],
        [
          'Of the model',
          'number',
          ({ original_bytes }) => percent(original_bytes, summary.total.original_bytes, 3),
        ],
      ],
      summary.no_gain,
      'Reasons',
    ),
    html(
      'ul',
      { class: 'limits' },
      ...summary.no_gain.map(({ reason }) =>
        html(
          'li',
          {},
          html('strong', {}, REASONS[reason]?.[0] ?? reason),
          `: ${REASONS[reason]?.[1] ?? ''}`,
        ),
      ),
    ),
    behind(
      no_gain.length < summary.no_gain.reduce((sum, { tensors }) => sum + tensors, 0)
        ? `The ${no_gain.length} largest of them`
        : 'All of them',
      table(
        [
          ['Tensor', 'name', ({ name }) => name],
          ['Type', '', ({ dtype }) => dtype],
          ['Shape', '', shapeOf],
          ['Bytes', 'number', ({ original_bytes }) => bytes(original_bytes)],
          ['Entropy', 'number', ({ entropy_bits }) => entropy_bits?.toFixed(2) ?? '–'],
          ['Reason', '', ({ no_gain }) => REASONS[no_gain]?.[0] ?? no_gain],
        ],
        no_gain,
        'Tensors that gained nothing',
      ),
    ),
  );
}

const shapeOf = ({ shape }) =>
  shape.length === 0
    ? 'scalar'
    : `${shape.slice(0, 6).join(' × ')}${shape.length > 6 ? ' × …' : ''}`;

function largestTable() {
  section('largest').append(
    table(
      [
        ['Tensor', 'name', ({ name }) => name],
        ['Type', '', ({ dtype }) => dtype],
        ['Shape', '', shapeOf],
        ['Original', 'number', ({ original_bytes }) => bytes(original_bytes)],
        ['Stored', 'number', ({ stored_bytes }) => bytes(stored_bytes)],
        [
          'Of original',
          'number',
          ({ original_bytes, stored_bytes }) => percent(stored_bytes, original_bytes),
        ],
        ['Entropy', 'number', ({ entropy_bits }) => entropy_bits?.toFixed(2) ?? '–'],
      ],
      largest.slice(0, 20),
      'Largest tensors',
    ),
  );
}

function footer() {
  const read = summary.is_estimate
    ? `Estimated from ${bytes(summary.read_bytes)} of samples: at most 262,144 weights of each tensor, compressed. `
    : '';
  section('about').append(
    `${read}Made by unweight ${version}. The page makes no requests. MB are 10^6 bytes. Entropy is that of each field by itself, tensor by tensor.`,
  );
}

header();
answer();
memory();
layers();
kinds();
histograms();
outlierTable();
noGain();
largestTable();
footer();
document.documentElement.dataset.ready = 'true';
