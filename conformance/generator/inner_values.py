#!/usr/bin/env python3
"""The inner values of Unweight files as JSON: palettes, and of each record its kind, code lengths, codes, lane ends,
patches, and the costs t and o of section 11.5.

    PYTHONPATH=../decoders/python python3 inner_values.py FILE...

Writes one JSON text for each file, divided by empty lines: the value of `inner` in the corpus's manifest. It uses the
decoder's and the encoder's functions. The files are valid.
"""
import json
import struct
import sys
from collections import Counter

import unweight_decode as decoder
import unweight_encode as encoder
from unweight_decode import CONSTANT, HUFFMAN, PALETTE, VERBATIM

FORMS = {HUFFMAN: "huffman", PALETTE: "palette", CONSTANT: "constant"}
KINDS = {VERBATIM: "verbatim", HUFFMAN: "huffman", PALETTE: "palette"}


def code_texts(lengths):
    """Section 6. The code of every palette entry, its first bit in the stream first; None where there is none."""
    codes = encoder.canonical_codes({j: length for j, length in enumerate(lengths) if length != 15})
    return ["".join(str(codes[j][0] >> bit & 1) for bit in range(codes[j][1])) if j in codes else None for j in range(16)]


def record_values(record, head, values, palette, field_code):
    """Section 5. What one record holds."""
    _, kind, _, patch_count = struct.unpack_from("<IBBH", record)
    inner = {**head, "kind": KINDS[kind]}
    patches_at = 16 + 128 * (-(-len(values) // 256))
    if kind == HUFFMAN:
        lengths = [record[8 + j // 2] >> 4 * (j % 2) & 15 for j in range(16)]
        lane_ends = list(struct.unpack_from("<32H", record, 16))
        patches_at = 80 + lane_ends[31]
        inner |= {"code_lengths": lengths, "codes": code_texts(lengths), "lane_ends": lane_ends}
    inner["patches"] = [list(struct.unpack_from("<HB", record, patches_at + 3 * i)) for i in range(patch_count)]
    if kind == HUFFMAN:
        counts = Counter(values)
        own = encoder.choose_code(counts, len(values), palette)
        inner |= {"t": encoder.cost(field_code, counts, palette), "o": encoder.cost(own, counts, palette)}
    return inner


def tensor_values(file, tensor):
    """Section 3.5. The palettes and records of a tensor."""
    part = decoder.parts(tensor)
    stored = [(f, form) for f, form in enumerate(tensor.forms) if form]
    palettes = decoder.read_palettes(file, tensor, part)
    inner = {"tensor": tensor.name.decode(), "palettes": [
        {"field": f, "form": FORMS[form], "values": list(palette)} for (f, form), palette in zip(stored, palettes)]}
    coded = [(f, palette) for (f, form), palette in zip(stored, palettes) if form != CONSTANT]
    if not coded:
        return inner
    chunks = [values for _, _, values in decoder.coded_chunks(file, tensor, part, palettes)]
    codes = []
    for i, (_, palette) in enumerate(coded):
        whole = b"".join(bytes(chunk[i]) for chunk in chunks)
        codes.append(encoder.choose_code(Counter(whole), len(whole), palette))
    ends = struct.unpack(f"<{part.c * part.q}I", decoder.read_exactly(file, part.ends, 4 * part.c * part.q))
    inner["records"] = []
    for number, end in enumerate(ends):
        begin = ends[number - 1] if number else 0
        record = decoder.read_exactly(file, part.R + 16 * begin, 16 * (end - begin))
        j, i = divmod(number, part.q)
        f, palette = coded[i]
        inner["records"].append(record_values(record, {"chunk": j, "field": f}, chunks[j][i], palette, codes[i]))
    return inner


def file_values(path):
    """Section 3. The tensors of a file that have fields which are not plain."""
    with open(path, "rb") as file:
        header = decoder.read_header(file)
        tensors = decoder.read_directory(file, header)
        return [tensor_values(file, tensor) for tensor in tensors if any(tensor.forms)]


def text_of(inner):
    """The JSON, with a line for each record."""
    def compact(value):
        return json.dumps(value, separators=(",", ":"))
    tensors = []
    for tensor in inner:
        members = [f'"tensor":{compact(tensor["tensor"])}', f'"palettes":{compact(tensor["palettes"])}']
        if "records" in tensor:
            records = ",\n".join(f"          {compact(record)}" for record in tensor["records"])
            members.append(f'"records":[\n{records}\n        ]')
        tensors.append("        {" + ",".join(members) + "}")
    return "[\n" + ",\n".join(tensors) + "\n      ]"


if __name__ == "__main__":
    print("\n\n".join(text_of(file_values(path)) for path in sys.argv[1:]))
