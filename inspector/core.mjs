/**
 * Model of the inspector, without a DOM: opens a file, says where its bits go, and counts the
 * values of fields. Reads no more of the file than each question needs.
 */

import {
  CONSTANT,
  FORM_NAMES,
  HUFFMAN,
  PLAIN,
  RECORD_KINDS,
  TYPES,
  UnweightFile,
  blobInput,
  parseSafetensorsHeader,
  quoted,
  windowedInput,
} from '../conformance/decoders/javascript/unweight.mjs';

/** @typedef {import('../conformance/decoders/javascript/unweight.mjs').Input} Input */
/** @typedef {import('../conformance/decoders/javascript/unweight.mjs').Tensor} Tensor */
/** @typedef {import('../conformance/decoders/javascript/unweight.mjs').Type} Type */
/**
 * @typedef {import('../conformance/decoders/javascript/unweight.mjs').VerifyOptions} VerifyOptions
 */

/** Chunks, or runs of a tensor without chunks, that a histogram is made of. */
const SAMPLE_RUNS = 8;
/** Weights of such a run where there are no chunks. */
const RUN_WEIGHTS = 8192;
/** Bytes of record ends that are read at a time. */
const ENDS_AT_A_TIME = 1 << 18;
/** Longest name of a tensor, in bytes (9). */
const LONGEST_NAME = 65535;
/** A safetensors header is at most as long as a source section. */
const MAX_HEADER = 2 ** 28;

/** What has been read of a file. */
export class ReadCounter {
  reads = 0;
  bytes = 0;
}

/** @param {Input} input @param {ReadCounter} counter @returns {Input} */
export function countedInput(input, counter) {
  return {
    size: input.size,
    read(offset, length) {
      counter.reads += 1;
      counter.bytes += length;
      return input.read(offset, length);
    },
  };
}

/** A name on one line, with its control characters escaped. @param {string} name */
export const shownName = (name) => (name === '' ? '(empty name)' : quoted(name).slice(1, -1));

/**
 * A tensor as the table has it. `stored` and `bits` are undefined where they are not known.
 *
 * @typedef {object} Row
 * @property {number} index
 * @property {string} name
 * @property {string} dtype
 * @property {string} shape
 * @property {bigint} weights
 * @property {bigint} original bytes
 * @property {number | undefined} stored bytes
 * @property {number | undefined} bits stored bits a weight
 * @property {string} forms
 */

/**
 * The form of a field and what it takes.
 *
 * @typedef {object} FieldShare
 * @property {string} label the bits of the field, such as `[14..7]`
 * @property {string} form
 * @property {number} original bits a weight
 * @property {number} stored bits a weight
 */

/**
 * A histogram of the values of a field.
 *
 * @typedef {object} Histogram
 * @property {Float64Array} counts by value
 * @property {number} sampled weights that were counted
 * @property {bigint} weights of the tensor
 * @property {number} entropy bits a weight, of the sample
 * @property {number} runs chunks or runs in the sample
 * @property {number} totalRuns
 * @property {Uint8Array | undefined} palette of a coded field
 * @property {Uint8Array | undefined} lengths code lengths of the first record of the sample
 * @property {string | undefined} kind of that record
 * @property {number} chunk its number
 */

/**
 * A record as the list has it.
 *
 * @typedef {object} RecordRow
 * @property {number} chunk
 * @property {string} field
 * @property {number} offset
 * @property {number} length
 * @property {string} kind
 * @property {number} patches
 * @property {number} bits a weight
 * @property {string} lengths code lengths of the palette's entries
 */

/** @param {Float64Array} counts @param {number} total */
export function entropyOf(counts, total) {
  let sum = 0;
  for (const count of counts) if (count > 0) sum -= count * Math.log2(count / total);
  return total === 0 ? 0 : sum / total;
}

/** Numbers of at most `most` of `total` runs, spread evenly. @param {number} total
 *  @param {number} most */
export function spread(total, most) {
  const count = Math.min(total, most);
  return Array.from({ length: count }, (_, i) => Math.floor(((i + 0.5) * total) / count));
}

/** Counts the values of a field in the bytes of weights. @param {Uint8Array} bytes
 *  @param {Type} type @param {{ low: number, width: number }} field @param {Float64Array} counts */
export function countField(bytes, type, { low, width }, counts) {
  const size = type.weightBytes;
  const at = low >> 3;
  const shift = low & 7;
  const mask = 2 ** width - 1;
  const crosses = shift + width > 8;
  for (let i = at; i < bytes.length; i += size) {
    const pair = bytes[i] | (crosses ? bytes[i + 1] << 8 : 0);
    counts[(pair >> shift) & mask] += 1;
  }
}

/** Bits of the exponents of the types that have some; the other fields are of mantissas.
 *  @type {Record<string, [number, number][]>} */
const EXPONENTS = {
  F8_E5M2: [[6, 2]],
  F8_E4M3: [[6, 3]],
  F8_E8M0: [[7, 0]],
  F8_E4M3FNUZ: [[6, 3]],
  F8_E5M2FNUZ: [[6, 2]],
  F16: [[14, 10]],
  BF16: [[14, 7]],
  F32: [[30, 23]],
  F64: [[62, 52]],
  C64: [
    [30, 23],
    [62, 55],
  ],
};

/** What a field is, with its bits: `exponent [14..7]`. @param {Type | undefined} type
 *  @param {{ high: number, low: number }} field */
export function fieldLabel(type, { high, low }) {
  const exponents = EXPONENTS[type?.name ?? ''];
  const isExponent = exponents?.some(([top, bottom]) => high <= top && low >= bottom);
  return `${exponents ? (isExponent ? 'exponent ' : 'mantissa ') : ''}[${high}..${low}]`;
}

/** An Unweight file. */
export class UnweightModel {
  kind = 'unweight';

  /** @param {string} name @param {UnweightFile} file @param {ReadCounter} counter */
  constructor(name, file, counter) {
    this.name = name;
    this.file = file;
    this.counter = counter;
    this.size = file.header.fileLength;
    this.restored = file.restoredLength;
    /** @type {Row[]} */
    this.rows = file.tensors.map((tensor, index) => ({
      index,
      name: tensor.name,
      dtype: tensor.dtype,
      shape: shownShape(tensor.shape),
      weights: tensor.weights,
      original: tensor.byteLength,
      stored: tensor.end - tensor.begin,
      bits: ratio(8 * (tensor.end - tensor.begin), tensor.weights),
      forms: formsOf(tensor),
    }));
  }

  /**
   * Where the bytes of the tensors of each type are, from the directory alone.
   *
   * @returns {{ dtype: string, original: number, weights: number, parts: Parts }[]}
   */
  totals() {
    /** @type {Map<string, { dtype: string, original: number, weights: number, parts: Parts }>} */
    const totals = new Map();
    for (const tensor of this.file.tensors) {
      const sum = totals.get(tensor.dtype) ?? {
        dtype: tensor.dtype,
        original: 0,
        weights: 0,
        parts: { plain: 0, coded: 0, index: 0, padding: 0 },
      };
      totals.set(tensor.dtype, sum);
      const parts = partsOf(tensor);
      sum.original += Number(tensor.byteLength);
      sum.weights += Number(tensor.weights);
      for (const key of /** @type {(keyof Parts)[]} */ (Object.keys(parts))) {
        sum.parts[key] += parts[key];
      }
    }
    return [...totals.values()].sort((a, b) => b.original - a.original);
  }

  /**
   * What each field of a tensor takes, exactly. Reads the record ends where several fields are
   * coded, and nothing otherwise.
   *
   * @param {number} index
   * @returns {Promise<FieldShare[]>}
   */
  async fields(index) {
    const tensor = this.file.tensors[index];
    const records = await this.#recordBytes(tensor);
    const n = tensor.weights;
    /** @type {FieldShare[]} */
    const shares = tensor.type.fields.map((field, f) => {
      const form = tensor.forms[f];
      const coded = tensor.codedFields.indexOf(f);
      const bytes = coded < 0 ? 16 : 16 + 4 * tensor.chunks + records[coded];
      return {
        label: fieldLabel(tensor.type, field),
        form: FORM_NAMES[form],
        original: field.width,
        stored: form === PLAIN ? field.width : (ratio(8 * bytes, n) ?? 0),
      };
    });
    const inFields = tensor.type.fields.reduce((sum, { width }) => sum + width, 0);
    const outside = 8 * tensor.type.weightBytes - inFields;
    shares.push({ label: 'bits in no field', form: 'plain', original: outside, stored: outside });
    const known = shares.reduce((sum, { stored }) => sum + stored, 0);
    const all = ratio(8 * (tensor.end - tensor.begin), n) ?? 0;
    const rest = Math.max(0, all - known);
    shares.push({ label: 'padding, checksums', form: '', original: 0, stored: rest });
    return n === 0n ? [] : shares;
  }

  /** Bytes of the records of each coded field. @param {Tensor} tensor */
  async #recordBytes(tensor) {
    const q = tensor.codedFields.length;
    if (q <= 1) return [tensor.end - tensor.recordsBegin];
    const sums = new Array(q).fill(0);
    const step = Math.max(1, Math.floor(ENDS_AT_A_TIME / (4 * q)));
    for (let first = 0; first < tensor.chunks; first += step) {
      const last = Math.min(tensor.chunks, first + step);
      const ends = await this.file.readRecordEnds(tensor, first, last);
      for (let i = 1; i < ends.length; i++) sums[(i - 1) % q] += 16 * (ends[i] - ends[i - 1]);
    }
    return sums;
  }

  /** Counts the values of field `f` in a sample of a tensor. @param {number} index
   *  @param {number} f @returns {Promise<Histogram>} */
  async histogram(index, f) {
    const tensor = this.file.tensors[index];
    const field = tensor.type.fields[f];
    const counts = new Float64Array(2 ** field.width);
    const coded = tensor.codedFields.indexOf(f);
    const isCoded = coded >= 0;
    const totalRuns = isCoded ? tensor.chunks : Math.ceil(Number(tensor.weights) / RUN_WEIGHTS);
    const runs = spread(totalRuns, SAMPLE_RUNS);
    let sampled = 0;
    let first;
    for (const run of runs) {
      if (isCoded) {
        const record = (await this.file.readRecords(tensor, run))[coded];
        first ??= record;
        for (const value of record.values) counts[value] += 1;
        sampled += record.values.length;
      } else {
        const begin = BigInt(run) * BigInt(RUN_WEIGHTS);
        const behind = begin + BigInt(RUN_WEIGHTS);
        const end = behind < tensor.weights ? behind : tensor.weights;
        for await (const { bytes } of this.file.decode(tensor, begin, end)) {
          countField(bytes, tensor.type, field, counts);
          sampled += bytes.length / tensor.type.weightBytes;
        }
      }
    }
    const palettes = isCoded ? await this.file.readPalettes(tensor) : [];
    return {
      counts,
      sampled,
      weights: tensor.weights,
      entropy: entropyOf(counts, sampled),
      runs: runs.length,
      totalRuns,
      palette: palettes[f],
      lengths: first?.kind === HUFFMAN ? first.lengths : undefined,
      kind: first && RECORD_KINDS[first.kind],
      chunk: runs[0] ?? 0,
    };
  }

  /**
   * The records of chunks `first..last`, each checked with its part of the plain plane.
   *
   * @param {number} index
   * @param {number} first
   * @param {number} last
   */
  async records(index, first, last) {
    const tensor = this.file.tensors[index];
    const q = tensor.codedFields.length;
    const ends = await this.file.readRecordEnds(tensor, first, last);
    /** @type {RecordRow[]} */
    const rows = [];
    for (let chunk = first; chunk < last; chunk++) {
      const records = await this.file.readRecords(tensor, chunk);
      records.forEach((record, i) => {
        const field = tensor.codedFields[i];
        rows.push({
          chunk,
          field: fieldLabel(tensor.type, tensor.type.fields[field]),
          offset: tensor.recordsBegin + 16 * ends[(chunk - first) * q + i],
          length: record.length,
          kind: RECORD_KINDS[record.kind],
          patches: record.patches,
          bits: (8 * record.length) / record.values.length,
          lengths:
            record.kind === HUFFMAN
              ? Array.from(record.lengths, (L) => (L === 15 ? '–' : String(L))).join(' ')
              : '',
        });
      });
    }
    return rows;
  }

  /** Checks every rule. @param {VerifyOptions} options */
  verify(options) {
    const input = windowedInput(this.file.input);
    const { header, tensors, extensions } = this.file;
    return new UnweightFile(input, header, tensors, extensions).verify(options);
  }

  /** Bytes of the file from `offset` on, for a look at them. @param {number} offset
   *  @param {number} length */
  bytes(offset, length) {
    return this.file.input.read(offset, Math.min(length, this.size - offset));
  }
}

/**
 * Bytes of a tensor's payload.
 *
 * @typedef {{ plain: number, coded: number, index: number, padding: number }} Parts
 */

/** @param {Tensor} tensor @returns {Parts} */
export function partsOf(tensor) {
  const plain = tensor.planeLength;
  const coded = tensor.codedFields.length > 0 ? tensor.end - tensor.recordsBegin : 0;
  const ends = 4 * tensor.chunks * tensor.codedFields.length;
  const index = 16 * tensor.paletteFields.length + ends + 4 * tensor.blocks;
  return { plain, coded, index, padding: tensor.end - tensor.begin - plain - coded - index };
}

/** @param {Tensor} tensor */
function formsOf(tensor) {
  if (tensor.paletteFields.length === 0) return 'raw';
  return tensor.forms.map((form) => FORM_NAMES[form]).join(', ');
}

/** @param {number} bits @param {bigint} weights */
const ratio = (bits, weights) => (weights === 0n ? undefined : bits / Number(weights));

/** @param {bigint[]} shape */
const shownShape = (shape) => (shape.length === 0 ? 'scalar' : shape.join(' × '));

/** A safetensors file, and an estimate of what compression would make of it. */
export class SafetensorsModel {
  kind = 'safetensors';

  /**
   * @param {string} name
   * @param {Input} input
   * @param {ReadCounter} counter
   * @param {ReturnType<typeof parseSafetensorsHeader>} header
   * @param {number} dataBegin
   */
  constructor(name, input, counter, header, dataBegin) {
    this.name = name;
    this.input = input;
    this.counter = counter;
    this.size = input.size;
    this.restored = BigInt(input.size);
    this.dataBegin = dataBegin;
    this.members = header.members;
    /** @type {Row[]} */
    this.rows = this.members.map((member, index) => {
      const type = typeNamed(member.dtype);
      const original = member.end - member.begin;
      return {
        index,
        name: member.name,
        dtype: member.dtype,
        shape: shownShape(member.shape),
        weights: type ? original / BigInt(type.weightBytes) : 0n,
        original,
        stored: undefined,
        bits: undefined,
        forms: 'not compressed',
      };
    });
  }

  /** The sample of a tensor: the bytes of a few runs of weights. @param {number} index */
  async #sample(index) {
    const { begin } = this.members[index];
    const row = this.rows[index];
    const type = typeNamed(row.dtype);
    if (!type) return { type, parts: [], sampled: 0, runs: 0, totalRuns: 0 };
    const size = type.weightBytes;
    const totalRuns = Math.ceil(Number(row.weights) / RUN_WEIGHTS);
    const runs = spread(totalRuns, SAMPLE_RUNS);
    const parts = [];
    let sampled = 0;
    for (const run of runs) {
      const first = run * RUN_WEIGHTS;
      const n = Math.min(RUN_WEIGHTS, Number(row.weights) - first);
      const offset = this.dataBegin + Number(begin) + first * size;
      parts.push(await this.input.read(offset, n * size));
      sampled += n;
    }
    return { type, parts, sampled, runs: runs.length, totalRuns };
  }

  /**
   * An estimate of what each field would take: the entropy of a sample where that saves something,
   * with what a record costs beside its codes.
   *
   * @param {number} index
   * @returns {Promise<FieldShare[]>}
   */
  async fields(index) {
    const { type, parts, sampled } = await this.#sample(index);
    if (!type || sampled === 0) return [];
    const row = this.rows[index];
    const shares = type.fields.map((field) => {
      const counts = new Float64Array(2 ** field.width);
      for (const bytes of parts) countField(bytes, type, field, counts);
      const label = fieldLabel(type, field);
      return { label, ...estimate(counts, sampled, field.width, Number(row.weights)) };
    });
    const outside = 8 * type.weightBytes - type.fields.reduce((sum, { width }) => sum + width, 0);
    shares.push({ label: 'bits in no field', form: 'plain', original: outside, stored: outside });
    row.bits = shares.reduce((sum, { stored }) => sum + stored, 0);
    row.stored = Math.round((row.bits * Number(row.weights)) / 8);
    row.forms = `estimate: ${shares
      .slice(0, -1)
      .map(({ form }) => form)
      .join(', ')}`;
    return shares;
  }

  /** @param {number} index @param {number} f @returns {Promise<Histogram>} */
  async histogram(index, f) {
    const { type, parts, sampled, runs, totalRuns } = await this.#sample(index);
    if (!type) throw new Error('the type has no fields');
    const field = type.fields[f];
    const counts = new Float64Array(2 ** field.width);
    for (const bytes of parts) countField(bytes, type, field, counts);
    return {
      counts,
      sampled,
      weights: this.rows[index].weights,
      entropy: entropyOf(counts, sampled),
      runs,
      totalRuns,
      palette: undefined,
      lengths: undefined,
      kind: undefined,
      chunk: 0,
    };
  }
}

/**
 * Estimates a field in the way of 11.2: a code of its values, and 800 bits for each record of 2^15
 * weights.
 *
 * @param {Float64Array} counts
 * @param {number} sampled
 * @param {number} width
 * @param {number} weights of the tensor
 */
export function estimate(counts, sampled, width, weights) {
  const values = counts.reduce((sum, count) => sum + (count > 0 ? 1 : 0), 0);
  if (values <= 1 && weights * width > 128) {
    return { form: FORM_NAMES[CONSTANT], original: width, stored: 128 / weights };
  }
  const coded = Math.max(entropyOf(counts, sampled), 0.01) + 800 / Math.min(weights, 32768);
  const isCoded = 64 * coded < 63 * width;
  return {
    form: FORM_NAMES[isCoded ? HUFFMAN : PLAIN],
    original: width,
    stored: isCoded ? coded : width,
  };
}

/** @param {string} name */
export const typeNamed = (name) => TYPES.find((type) => type?.name === name);

/**
 * Opens a file: reads its header and its directory, or the header of a safetensors file.
 *
 * @param {Blob} blob
 * @param {string} name
 * @param {ReadCounter} counter
 * @returns {Promise<UnweightModel | SafetensorsModel>}
 * @throws {RuleError} what breaks a rule of an Unweight file or of a safetensors header
 */
export async function openModel(blob, name, counter) {
  const input = countedInput(blobInput(blob), counter);
  const head = await input.read(0, Math.min(9, input.size));
  const isUnweight = head.length > 0 && head[0] === 0x89;
  if (!isUnweight && head.length === 9 && head[8] === 0x7b) {
    return openSafetensors(input, name, counter, head);
  }
  return new UnweightModel(name, await UnweightFile.open(input), counter);
}

/** @param {Input} input @param {string} name @param {ReadCounter} counter
 *  @param {Uint8Array} head */
async function openSafetensors(input, name, counter, head) {
  const N = new DataView(head.buffer, head.byteOffset).getBigUint64(0, true);
  if (N > BigInt(MAX_HEADER) || 8n + N > BigInt(input.size)) {
    throw new Error(`the safetensors header has ${N} bytes, more than the file or 2^28`);
  }
  const json = await input.read(8, Number(N));
  const header = parseSafetensorsHeader(json, 8);
  const dataBegin = 8 + Number(N);
  for (const { name: tensor, dtype, shape, begin, end } of header.members) {
    if (new TextEncoder().encode(tensor).length > LONGEST_NAME) {
      throw new Error(`tensor ${quoted(tensor)} has a name of more than ${LONGEST_NAME} bytes`);
    }
    const bits = shape.reduce((product, dimension) => product * dimension, 1n);
    const type = typeNamed(dtype);
    if (!type || bits * BigInt(type.bits) !== 8n * (end - begin)) {
      throw new Error(
        `tensor ${quoted(tensor)} has ${end - begin} bytes, which do not fit its type and shape`,
      );
    }
  }
  const dataEnd = header.members.at(-1)?.end ?? 0n;
  if (BigInt(dataBegin) + dataEnd !== BigInt(input.size)) {
    throw new Error(
      `the tensors need ${BigInt(dataBegin) + dataEnd} bytes, but the file has ${input.size}`,
    );
  }
  return new SafetensorsModel(name, input, counter, header, dataBegin);
}
