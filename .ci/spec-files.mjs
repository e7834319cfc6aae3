// Compiles spec/unweight.ksy and reads every valid file of the corpus with it: the parts of each tensor must fill its
// payload, and the tensors' bytes must be those of the manifest.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const [, , modules] = process.argv;
const require = createRequire(join(process.cwd(), modules, "node_modules/"));
const compiler = require("kaitai-struct-compiler");
const yaml = require("js-yaml");
const KaitaiStream = require("kaitai-struct/KaitaiStream");

const description = yaml.load(readFileSync("spec/unweight.ksy", "utf8"));
const sources = await compiler.compile("javascript", description, null, false);
const compiled = { exports: {} };
new Function("module", "exports", "require", sources["Unweight.js"])(
  compiled, compiled.exports, (name) => require(name.endsWith("KaitaiStream") ? "kaitai-struct/KaitaiStream" : name),
);
const Unweight = compiled.exports.Unweight ?? compiled.exports;

function problem(file, expected) {
  const bytes = readFileSync(join("conformance/corpus", file));
  const parsed = new Unweight(new KaitaiStream(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)));
  if (parsed.guard.some((byte) => byte !== 0)) return "the guard is not zero";
  if (parsed.directory.tensors.length !== expected.length) return `found ${parsed.directory.tensors.length} tensors`;
  for (const [number, tensor] of parsed.directory.tensors.entries()) {
    const wanted = expected[number];
    // The runtime's UTF-8 decoder drops a byte order mark.
    if (tensor.name !== wanted.name.replace(/^\uFEFF/, "")) return `tensor ${number}: found name ${tensor.name}`;
    if (tensor.shape.some((dimension, i) => BigInt(dimension.value) !== BigInt(wanted.shape[i]) && dimension.value < 2 ** 53))
      return `${tensor.name}: found another shape`;
    // Numbers of JavaScript are exact below 2^53.
    if (wanted.length === 0) continue;
    if (tensor.dataLength !== wanted.length) return `${tensor.name}: found ${tensor.dataLength} bytes`;
    if (tensor.plainPlane.length !== tensor.plainLength) return `${tensor.name}: the plain plane is cut`;
    let end = tensor.plainBegin + tensor.plainLength;
    if (tensor.blocks > 0) end = tensor.blockChecksumsBegin + 4 * tensor.blockChecksums.length;
    if (tensor.palettes.length > 0) end = tensor.palettesBegin + 16 * tensor.palettes.length;
    if (tensor.records.length > 0) {
      end = tensor.recordsBegin + 16 * tensor.records.at(-1).end;
      for (const indexed of tensor.records) {
        if (!(indexed.record.kind in Unweight.RecordKind)) return `${tensor.name}: found record kind ${indexed.record.kind}`;
      }
    }
    if (end !== tensor.payloadEnd) return `${tensor.name}: the parts end at ${end}, expected ${tensor.payloadEnd}`;
  }
  return null;
}

const { cases } = JSON.parse(readFileSync("conformance/corpus/manifest.json", "utf8"));
let passed = 0;
let failed = 0;
for (const { id, kind, file, tensors } of cases) {
  if (kind !== "accept") continue;
  let found;
  try {
    found = problem(file, tensors);
  } catch (error) {
    found = `${error.name}: ${error.message}`;
  }
  if (found === null) passed += 1;
  else {
    failed += 1;
    console.error(`${id}: ${found}`);
  }
}
console.log(`spec/unweight.ksy: ${passed} files read, ${failed} failed`);
process.exit(passed > 0 && failed === 0 ? 0 : 1);
