#!/usr/bin/env python3
"""A canonical encoder for Unweight files, written from the specification (spec/unweight.md, section 11).

    python3 unweight_encode.py INPUT OUTPUT [huffman|palette] [CHUNK]

INPUT is a safetensors file; CHUNK is the chunk size k, 12 to 16 (default 15). Exit status 0: OUTPUT holds the file.
1: INPUT was refused (section 11.1); stderr says why, and there is no OUTPUT. 3: a file could not be read or written, or
the call is wrong.

It shares with the decoder beside it what both directions need: types, fields, forms, and the check of a safetensors
header. Standard library only. The functions stand in the order of the specification.
"""
import os
import struct
import sys
import zlib
from collections import Counter
from typing import NamedTuple

import unweight_decode as decoder
from unweight_decode import CONSTANT, DTYPES, HUFFMAN, MAGIC, PALETTE, PLAIN, VERBATIM, align, alignment

CODES = {dtype[0]: code for code, dtype in DTYPES.items()}


class Refused(Exception):
    """Section 11.1. No file is made of this source."""


# ---- Section 2: conventions -----------------------------------------------------------------------------------------


def pack(numbers, w):
    """Section 2. The bit string of numbers of w bits. Eight numbers take w bytes."""
    if w == 8:
        return bytes(numbers)
    data = bytearray()
    for at in range(0, len(numbers), 8):
        eight = sum(number << i * w for i, number in enumerate(numbers[at:at + 8]))
        data += eight.to_bytes(w, "little")
    return bytes(data[:(len(numbers) * w + 7) // 8])


# ---- Section 4: types, fields and forms -----------------------------------------------------------------------------


def read_weights(data, weight_bytes):
    """Section 4.1. The weights of a tensor's data, as numbers."""
    return struct.unpack(f"<{len(data) // weight_bytes}{' BH I   Q'[weight_bytes]}", data)


def values_of(weights, field):
    """Section 2. The values of one field."""
    high, low = field
    mask = (2 << high - low) - 1
    return bytes([weight >> low & mask for weight in weights])


def gather(weights, weight_bytes, fields, forms):
    """Section 4.2. The plain values of weights (pext), and the plain bits of a weight."""
    taken = sum((2 << high) - (1 << low) for form, (high, low) in zip(forms, fields) if form != PLAIN)
    bits = [bit for bit in range(8 * weight_bytes) if not taken >> bit & 1]
    runs = []       # (shift, mask, place): neighbouring plain bits move together
    for place, bit in enumerate(bits):
        if runs and bit - runs[-1][0] == place - runs[-1][2]:
            runs[-1][1] = runs[-1][1] * 2 + 1
        else:
            runs.append([bit, 1, place])
    plain = [0] * len(weights)
    for shift, mask, place in runs:
        plain = [value | (weight >> shift & mask) << place for value, weight in zip(plain, weights)]
    return plain, len(bits)


# ---- Section 6: Huffman code ----------------------------------------------------------------------------------------


def canonical_codes(lengths):
    """Section 6. Palette entry -> (code with its first bit in bit 0, length)."""
    codes, code, before = {}, -1, 0
    for length, j in sorted((length, j) for j, length in lengths.items()):
        code = (code + 1) << (length - before)
        before = length
        codes[j] = (sum((code >> bit & 1) << (length - 1 - bit) for bit in range(length)), length)
    return codes


# ---- Section 11: the deterministic encoder --------------------------------------------------------------------------


class Source(NamedTuple):
    """Section 11.1. A safetensors file: its source section, and its tensors in directory order."""
    section: bytes
    tensors: list


class Tensor(NamedTuple):
    """Section 11.1. A tensor to be stored."""
    name: bytes
    dtype: int          # the code
    shape: tuple
    data: bytes


def read_source(data):
    """Section 11.1. The tensors of a safetensors file. What section 3.3 would reject is refused."""
    if len(data) < 8:
        raise Refused("the source is shorter than 8 bytes")
    length = 8 + int.from_bytes(data[:8], "little")
    if length > len(data):
        raise Refused("the source ends within its header")
    if length > 2**28:
        raise Refused("limit-source: the header has more than 2^28 bytes")
    section = data[:length]
    try:
        described = decoder.safetensors_tensors(64, section)
    except decoder.Rejected as rejection:
        raise Refused(str(rejection)) from None
    tensors, expected = [], 0
    for name, dtype, shape, begin, end in described:
        if begin != expected:
            raise Refused(f"tensor {name!a} begins at {begin}, expected {expected}")
        code = CODES[dtype]
        try:
            _, _, _, size = decoder.check_type(0, code, shape)
        except decoder.Rejected as rejection:
            raise Refused(str(rejection)) from None
        if end - begin != size:
            raise Refused(f"tensor {name!a} has {end - begin} bytes, expected {size}")
        if len(name.encode()) > 65535 or len(shape) > 64:
            raise Refused(f"limit: the name or the rank of tensor {name[:40]!a}")
        tensors.append(Tensor(name.encode(), code, shape, data[length + begin:length + end]))
        expected = end
    if len(data) != length + expected:
        raise Refused(f"the source has {len(data)} bytes, its header describes {length + expected}")
    if len(tensors) > 2**20:
        raise Refused("limit-tensors: more than 2^20 tensors")
    return Source(section, tensors)


def choose_form(values, width, weight_bytes, encoding, k):
    """Section 11.2. The form of a field."""
    n = len(values)
    if n * width > 128 and values.count(values[0]) == n:
        return CONSTANT
    if n * weight_bytes > 2**36 or encoding == PALETTE and width <= 4:
        return PLAIN
    sample = values if n <= 32768 else b"".join(values[at:at + 256] for at in range(0, n, 256 * 17))
    counts, size, y = Counter(sample), len(sample), min(n, 2**k)
    palette = choose_palette(counts, width)
    if encoding == HUFFMAN:
        bits = cost(choose_code(counts, size, palette), counts, palette) * y + 800 * size
    else:
        outside = size - sum(counts[x] for x in palette)
        bits = (4 * size + 24 * outside) * y + 160 * size
    return encoding if 64 * bits < 63 * width * size * y else PLAIN


def choose_palette(counts, width):
    """Section 11.3. The palette for counts of values."""
    if width <= 4:
        return list(range(2**width))
    palette = sorted((x for x in counts if counts[x]), key=lambda x: (-counts[x], x))[:16]
    if len(palette) < 16:
        g = max(palette)
        completion = [*range(g - 1, -1, -1), *range(g + 1, 2**width)]
        palette += [x for x in completion if x not in palette][:16 - len(palette)]
    return sorted(palette)


def code_of(entries, counts, palette):
    """Section 11.4. Palette entry -> code length, of the code that these entries have."""
    if len(entries) == 1:
        return {entries[0]: 0}
    return package_merge(sorted((counts[palette[j]], j) for j in entries))


def package_merge(entries):
    """Section 11.4, step 3. Optimal lengths of at most 8 bits."""
    items = [(count, (entry,)) for count, entry in entries]
    level = items
    for _ in range(7):
        pairs = zip(level[0::2], level[1::2])
        packages = [(first[0] + second[0], first[1] + second[1]) for first, second in pairs]
        # The sort is stable: of equal counts, items stand before packages, and each keep their order.
        level = sorted(items + packages, key=lambda element: element[0])
    return dict(Counter(entry for _, entries in level[:2 * len(items) - 2] for entry in entries))


def placeholder(lengths):
    """Section 11.4. The first palette entry in canonical order."""
    return min(lengths, key=lambda j: (lengths[j], j))


def cost(lengths, counts, palette):
    """Section 11.4. The bits that values with these counts take, patches included."""
    of_value = {palette[j]: length for j, length in lengths.items()}
    without = lengths[placeholder(lengths)] + 24
    return sum(count * of_value.get(x, without) for x, count in counts.items())


def choose_code(counts, total, palette):
    """Section 11.4. Palette entry -> code length, of the entries that have a code."""
    usual = [j for j, x in enumerate(palette) if counts[x] > 0 and 4096 * counts[x] >= total]
    if not usual:
        usual = [max(range(len(palette)), key=lambda j: (counts[palette[j]], -j))]
    chosen = code_of(usual, counts, palette)
    frequent = [j for j, x in enumerate(palette) if 64 * counts[x] >= total]
    outside = total - sum(counts[palette[j]] for j in frequent)
    if frequent and frequent != usual and 64 * outside <= total:
        other = code_of(frequent, counts, palette)
        if cost(other, counts, palette) < cost(chosen, counts, palette):
            return other
    return chosen


def huffman_record(values, width, palette, field_code):
    """Section 11.5. Kind, patch count, code lengths, and body with patches, of a huffman record."""
    counts = Counter(values)
    lengths = choose_code(counts, len(values), palette)
    if not 256 * cost(lengths, counts, palette) < 255 * cost(field_code, counts, palette):
        lengths = field_code
    codes = canonical_codes(lengths)
    filler = codes[placeholder(lengths)]
    code_of = {palette[j]: code for j, code in codes.items()}
    padded = [code_of.get(x, filler) for x in values] + [filler] * (-len(values) % 256)
    lanes, ends = b"", []
    for lane in range(32):
        stream, used = 0, 0
        for step in range(0, len(padded), 256):
            for code, length in padded[step + 8 * lane:step + 8 * lane + 8]:
                stream |= code << used
                used += length
        lanes += stream.to_bytes((used + 7) // 8, "little")
        ends.append(len(lanes))
    patches = [struct.pack("<HB", i, x) for i, x in enumerate(values) if x not in code_of]
    nibbles = [lengths.get(j, 15) for j in range(16)]
    head = bytes(nibbles[j] | nibbles[j + 1] << 4 for j in range(0, 16, 2))
    # A lane end that does not fit makes the record longer than the verbatim one (section 11.7).
    body = struct.pack("<32H", *(min(end, 65535) for end in ends)) + lanes + b"".join(patches)
    return HUFFMAN, len(patches), head, body


def palette_record(values, palette):
    """Section 11.6. Kind, patch count, code lengths, and body with patches, of a palette record."""
    index_of = {x: j for j, x in enumerate(palette)}
    indices = [index_of.get(x, 0) for x in values] + [0] * (-len(values) % 256)
    patches = [struct.pack("<HB", i, x) for i, x in enumerate(values) if x not in index_of]
    body = bytes(low | high << 4 for low, high in zip(indices[0::2], indices[1::2]))
    return PALETTE, len(patches), bytes(8), body + b"".join(patches)


def make_record(values, width, form, palette, field_code, plain):
    """Sections 5.1 and 11.7. A whole record; `plain` has the bytes that its checksum covers besides."""
    if form == HUFFMAN:
        kind, patch_count, head, body = huffman_record(values, width, palette, field_code)
    else:
        kind, patch_count, head, body = palette_record(values, palette)
    if align(16 + len(body), 16) > decoder.greatest_record(len(values), width):
        kind, patch_count, head, body = VERBATIM, 0, bytes(8), pack(values, width)
    body += bytes(-len(body) % 16)
    covered = struct.pack("<BBH", kind, 0, patch_count) + head + body
    return struct.pack("<I", zlib.crc32(plain, zlib.crc32(covered))) + covered


class Payload(NamedTuple):
    """Section 3.5. The payload of a tensor, as if it began at a multiple of 256, and what its entry says of it."""
    data: bytes
    forms: tuple
    chunk_size: int
    palette_checksum: int


def encode_tensor(data, dtype, encoding, k):
    """Sections 11.1 and 11.8. The payload of a tensor with weights."""
    _, _, weight_bytes, fields = DTYPES[dtype]
    weights = read_weights(data, weight_bytes)
    forms = tuple(choose_form(values_of(weights, field), field[0] - field[1] + 1, weight_bytes, encoding, k) for field in fields)
    raw = lay_out(weights, weight_bytes, fields, (PLAIN,) * len(fields), k, len(data))
    if not any(forms):
        return raw
    return raw_if_no_longer(lay_out(weights, weight_bytes, fields, forms, k, len(data)), raw, len(data))


def raw_if_no_longer(stored, raw, length):
    """Section 11.8. One of two payloads of a tensor."""
    unit = alignment(length)
    return raw if align(len(stored.data), unit) >= align(len(raw.data), unit) else stored


def lay_out(weights, weight_bytes, fields, forms, k, length):
    """Section 3.5. The payload of a tensor under these forms."""
    unit, n = alignment(length), len(weights)
    plain, W = gather(weights, weight_bytes, fields, forms)
    payload = bytearray(pack(plain, W))
    P = len(payload)
    used = [(form, field[0] - field[1] + 1, values_of(weights, field)) for form, field in zip(forms, fields) if form]
    coded = [(form, width, values) for form, width, values in used if form != CONSTANT]
    if not coded and P > 65536:
        checksums = [zlib.crc32(payload[at:at + 65536]) for at in range(0, P, 65536)]
        payload += bytes(-P % 4) + struct.pack(f"<{len(checksums)}I", *checksums)
    if not used:
        return Payload(bytes(payload), forms, 0, 0)

    palettes = {}
    stored = b""
    for i, (form, width, values) in enumerate(used):
        palettes[i] = [values[0]] if form == CONSTANT else choose_palette(Counter(values), width)
        stored += bytes(palettes[i]).ljust(16, b"\0")
    payload += bytes(-len(payload) % unit) + stored
    if not coded:
        return Payload(bytes(payload), forms, 0, zlib.crc32(stored))

    palettes = [palettes[i] for i, (form, _, _) in enumerate(used) if form != CONSTANT]
    codes = [choose_code(Counter(values), n, palette) for (_, _, values), palette in zip(coded, palettes)]
    records, ends = b"", []
    for first in range(0, n, 2**k):
        count = min(2**k, n - first)
        covered = bytes(payload[first * W // 8:(first * W + count * W + 7) // 8])
        for (form, width, values), palette, code in zip(coded, palettes, codes):
            records += make_record(values[first:first + count], width, form, palette, code, covered)
            ends.append(len(records) // 16)
            covered = b""
    payload += struct.pack(f"<{len(ends)}I", *ends)
    payload += bytes(-len(payload) % 16) + records
    return Payload(bytes(payload), forms, k, zlib.crc32(stored))


def encode_file(data, encoding=HUFFMAN, k=15):
    """Section 11.1. The canonical file of a safetensors source."""
    source = read_source(data)
    return write_file(1, source.section, source.tensors,
                      lambda i: encode_tensor(source.tensors[i].data, source.tensors[i].dtype, encoding, k))


def write_file(source_kind, section, tensors, payload_of):
    """Section 3. The file of these tensors without extensions; `payload_of` gives the payload of tensor number i, which
    has weights."""
    count = len(tensors)
    dims = [dimension for tensor in tensors for dimension in tensor.shape]
    names = b"".join(tensor.name for tensor in tensors)
    directory_length = align(40 * count + 8 * len(dims) + len(names), 8)
    if directory_length > 2**28:
        raise Refused("limit-directory: a directory of more than 2^28 bytes")
    start = 64 + directory_length + len(section)
    payload = bytearray()
    at = align(start, 256)
    sorted_by_name = sorted(range(count), key=lambda i: tensors[i].name)
    entries, dims_end, name_end = bytearray(), 0, 0
    for i, tensor in enumerate(tensors):
        stored = Payload(b"", (), 0, 0)
        if tensor.data:
            stored = payload_of(i)
            payload += bytes(-len(payload) % alignment(len(tensor.data))) + stored.data
        dims_end += len(tensor.shape)
        name_end += len(tensor.name)
        forms = sum(form << 4 * f for f, form in enumerate(stored.forms))
        entries += decoder.ENTRY.pack(tensor.dtype, stored.chunk_size, 0, forms, at + len(payload),
                                      zlib.crc32(tensor.data), stored.palette_checksum, dims_end, name_end,
                                      sorted_by_name[i], 0)
    directory = bytes(entries) + struct.pack(f"<{len(dims)}Q", *dims) + names
    directory = directory.ljust(directory_length, b"\0")
    header = MAGIC + struct.pack("<HHIQQQIIIIB3x", 1, 0, count, at + len(payload) + 64, directory_length, len(section),
                                 zlib.crc32(directory), zlib.crc32(section), 0, 0, source_kind)
    header += struct.pack("<I", zlib.crc32(header))
    return header + directory + section + bytes(at - start) + bytes(payload) + bytes(64)


def encode(input_path, encoding, k):
    """The canonical file of the safetensors file at a path."""
    with open(input_path, "rb") as file:
        return encode_file(file.read(), encoding, k)


def write_output(path, data):
    """Write a whole file: under another name first, so that no part of it is ever there under its own."""
    partial = f"{path}.{os.getpid()}.partial"
    with open(partial, "xb") as output:
        output.write(data)
    os.replace(partial, path)


def main(arguments):
    """The command line."""
    if not 2 <= len(arguments) <= 4:
        print("usage: unweight_encode.py INPUT OUTPUT [huffman|palette] [CHUNK]", file=sys.stderr)
        return 3
    encoding = {"huffman": HUFFMAN, "palette": PALETTE}.get(arguments[2] if len(arguments) > 2 else "huffman")
    chunk = arguments[3] if len(arguments) > 3 else "15"
    if encoding is None or chunk not in ("12", "13", "14", "15", "16"):
        print("expected huffman or palette, and a chunk size from 12 to 16", file=sys.stderr)
        return 3
    try:
        write_output(arguments[1], encode(arguments[0], encoding, int(chunk)))
        return 0
    except Refused as refusal:
        print(f"refused: {refusal}", file=sys.stderr)
        return 1
    except (OSError, ValueError, MemoryError) as error:     # ValueError: a path with a zero byte in it
        print(f"cannot encode {arguments[0]!a}: {error}", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
