#!/usr/bin/env python3
"""Decoders, encoders and transcoders with a planted bug: does the corpus find them?

    python3 mutants.py list                           roles and names, one pair a line
    python3 mutants.py decode NAME INPUT OUTPUT       decodes as that mutant; a command for unweight-conformance
    python3 mutants.py encode NAME INPUT OUTPUT ENCODING CHUNK
    python3 mutants.py transcode NAME INPUT OUTPUT ENCODING
    python3 mutants.py serve ROLE NAME                the same for many files: reads lines of these arguments, divided by
                                                      tabs, and answers each with a line

Each mutant is one of the programs of conformance/decoders/python with one piece of the text of one of them replaced. The
text must occur exactly once, so that no mutant silently becomes the original. `none` is the original; `without-RULE` is a
decoder that never rejects under the name of that rule. `core` is a decoder of profile core, without a bug. The test
conformance/generator/tests/mutants.rs says which cases find which.

`serve` answers: accepted; rejected RULE; refused; crashed WHY.
"""
import os
import signal
import sys
import types

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(HERE, os.pardir, "decoders", "python")

# Decoders. Name: what stands in the decoder, and what stands in the mutant.
MUTANTS = {
    "none": ("", ""),
    # Values.
    "ignores-patches": ("        values[position] = value\n", "        pass\n"),
    "drops-the-highest-plain-bit": ("if x >> i & 1) for x in range(256)]",
                                    "if x >> i & 1 and bit != plain_bits[-1]) for x in range(256)]"),
    "drops-the-lowest-plain-bit": ("if x >> i & 1) for x in range(256)]",
                                   "if x >> i & 1 and bit != plain_bits[0]) for x in range(256)]"),
    "treats-verbatim-as-absent": ("return decode_verbatim(record[16:patches_at], at + 16, n, width)", "return bytes(n)"),
    "takes-palettes-for-consecutive": ("table[index] = (palette[j], length)",
                                       "table[index] = (palette[0] + j & 255, length)"),
    "makes-nans-quiet": ("        weights = [weight | value << low for weight, value in zip(weights, values)]\n",
                         "        weights = [weight | value << low for weight, value in zip(weights, values)]\n"
                         "        if tensor.dtype == \"BF16\":\n"
                         "            weights = [weight | 0x40 if weight & 0x7FFF > 0x7F80 else weight for weight in weights]\n"),
    "ignores-constants": ("weights = [constants | tables[0][number & 255]", "weights = [tables[0][number & 255]"),
    "joins-fields-in-the-opposite-order": ("    for low, values in zip(lows, chunk):", "    for low, values in zip(lows, chunk[::-1]):"),
    "takes-the-first-16-plain-bits": ("for number in numbers]\n    for i, table in enumerate(tables[1:], 1):",
                                      "for number in numbers]\n    for i, table in enumerate(tables[1:2], 1):"),
    # Order of bits, nibbles, lanes.
    "wrong-bit-order": ("int.from_bytes(record[80 + begin:80 + end], \"little\")",
                        "int.from_bytes(bytes(int(f'{byte:08b}'[::-1], 2) for byte in record[80 + begin:80 + end]),"
                        " \"little\")"),
    "codes-not-reversed": ("(code >> bit & 1) << (length - 1 - bit)", "(code >> bit & 1) << bit"),
    "codes-by-entry-before-length": ("for length, j in sorted(coded):",
                                     "for length, j in sorted(coded, key=lambda one: (one[0], -one[1])):"),
    "mixes-nibbles": ("    values[0::2] = indices.translate(bytes(palette[byte & 15] for byte in range(256)))\n"
                      "    values[1::2] = indices.translate(bytes(palette[byte >> 4] for byte in range(256)))\n",
                      "    values[1::2] = indices.translate(bytes(palette[byte & 15] for byte in range(256)))\n"
                      "    values[0::2] = indices.translate(bytes(palette[byte >> 4] for byte in range(256)))\n"),
    "mixes-nibbles-of-code-lengths": ("code_lengths[j // 2] >> 4 * (j % 2) & 15",
                                      "code_lengths[j // 2] >> 4 * (1 - j % 2) & 15"),
    "mixes-forms-of-two-fields": ("forms = tuple(number >> 4 * f & 15 for f in range(8))",
                                  "forms = tuple(number >> 4 * (f ^ 1) & 15 for f in range(8))"),
    "takes-lanes-for-interleaved": ("values[8 * lane + m::256]", "values[lane + 32 * m::256]"),
    "packs-numbers-from-the-highest-bit": ("eight = int.from_bytes(data[at:at + w], \"little\")",
                                           "eight = int.from_bytes(bytes(int(f'{byte:08b}'[::-1], 2) for byte in data[at:at + w]),"
                                           " \"little\")"),
    "pads-each-number-to-a-byte": ("return unpack(body, width, n)", "return list(body[:n].ljust(n, b\"\\0\"))"),
    "allows-equal-names": ("            require(name != previous_name, \"name-duplicate\", at, \"name\", name, \"a name that occurs once\")\n"
                           "            require(name > previous_name,",
                           "            require(name >= previous_name,"),
    "allows-bytes-behind-the-last-record": ("require(end == total or number < part.c * part.q - 1,", "require(True,"),
    "signed-patch-positions": ("struct.unpack_from(\"<HB\", record, offset)",
                               "struct.unpack_from(\"<hB\", record, offset)"),
    # Ends.
    "last-step-dropped": ("    steps = (n + 255) // 256\n", "    steps = max(1, n // 256)\n"),
    "one-step-too-many": ("    steps = (n + 255) // 256\n", "    steps = n // 256 + 1\n"),
    "last-weight-takes-no-patch": ("require(position < n, \"patch-position\"",
                                   "require(position < n - 1, \"patch-position\""),
    "surplus-takes-patches": ("require(position < n, \"patch-position\"",
                              "require(position < 256 * ((n + 255) // 256), \"patch-position\""),
    "last-chunk-takes-the-length-of-the-first": ("n = min(1 << tensor.chunk_size, tensor.weights - first)",
                                                 "n = min(1 << tensor.chunk_size, tensor.weights)"),
    "last-block-unchecked": ("require(stated == found, \"block-crc\"",
                             "require(stated == found or len(block) < 65536, \"block-crc\""),
    "small-planes-have-block-checksums": ("if q == 0 and P > 65536 else 0", "if q == 0 else 0"),
    "a-full-block-has-a-checksum": ("if q == 0 and P > 65536 else 0", "if q == 0 and P >= 65536 else 0"),
    "small-tensors-are-aligned-to-256": ("return 256 if length >= 65536 else 16", "return 256"),
    "alignment-of-the-plane-not-the-tensor": ("G = align(C + 4 * b, alignment(tensor.length))", "G = align(C + 4 * b, alignment(P))"),
    "no-tensor-is-large": ("return 256 if length >= 65536 else 16", "return 256 if length > 65536 else 16"),
    "chunk-size-always-12": ("first = j << tensor.chunk_size", "first = j << 12"),
    "plain-bytes-of-a-chunk-without-its-last": ("plain = read_exactly(file, part.B + first * part.W // 8, (n * part.W + 7) // 8)",
                                                "plain = read_exactly(file, part.B + first * part.W // 8, n * part.W // 8)"),
    "records-field-by-field": ("number = j * part.q + i", "number = i * part.c + j"),
    "lane-ends-checked-to-the-byte-alone": ("require(unused >= 0, \"lane-overrun\"",
                                            "require(unused > -8, \"lane-overrun\""),
    "overreads-of-a-lane-are-fine": ("require(unused >= 0, \"lane-overrun\"", "require(True, \"lane-overrun\""),
    # Whole files.
    "stops-at-first-tensor": ("    for tensor in tensors:\n        decode_tensor(", "    for tensor in tensors[:1]:\n        decode_tensor("),
    "forgets-the-source-section": ("    output.write(read_source_section(file, header, tensors))\n",
                                   "    read_source_section(file, header, tensors)\n"),
    "no-crc-check": ("    if not holds:\n", "    if not holds and not rule.endswith(\"-crc\"):\n"),
    "accepts-trailing-bytes": ("    if not holds:\n", "    if not holds and rule != \"file-trailing\":\n"),
    "ignores-padding": ("    check_all_padding(file, header, tensors)\n", ""),
    "ignores-the-guard": ("    check_padding(file, payload_end, payload_end + 64)\n", ""),
    "ignores-all-reserved-bytes": ("    if data.count(0) != len(data):\n", "    if False:\n"),
    "ignores-padding-bits": ("    if bits % 8:\n", "    if False:\n"),
    "record-checksum-without-the-plain-bytes": ("found = zlib.crc32(plain, zlib.crc32(memoryview(record)[4:]))",
                                                "found = zlib.crc32(memoryview(record)[4:])"),
    "every-record-checksum-covers-the-plain-bytes": ("plain if i == 0 else b\"\"", "plain"),
    "only-the-first-field-covers-the-plain-bytes": ("plain if i == 0 else b\"\"",
                                                    "plain if i == 0 and tensor.forms[0] in (HUFFMAN, PALETTE) else b\"\""),
    "patches-take-any-value": ("require(value < 2**width, \"patch-value\"", "require(True, \"patch-value\""),
    "codes-for-missing-entries": ("require(j < len(palette) or length == 15, \"code-length\"", "require(True, \"code-length\""),
    "palettes-take-any-value": ("        require(palette[-1] < 2**width,", "        require(True,"),
    "palettes-go-on": ("        require_zero(data[16 * i + entries:16 * i + 16], \"palette-values\", at + entries, \"byte behind the palette\")\n", ""),
    "narrow-fields-take-the-form-palette": ("            require(high - low + 1 > 4, \"form-field\"", "            require(True, \"form-field\""),
    "missing-fields-take-forms": ("require(form == PLAIN or f < len(fields), \"form-field\"", "require(True, \"form-field\""),
    "critical-extensions-are-ignored": ("require(kind < 2**31, \"extension-unknown\"", "require(True, \"extension-unknown\""),
    "every-extension-is-critical": ("require(kind < 2**31, \"extension-unknown\"", "require(False, \"extension-unknown\""),
    "only-the-first-extension-counts": ("        position = align(contents_end, 8)\n", "        position = total\n"),
    "empty-tensors-are-aligned": ("begin = align(payload_end, alignment(length)) if length else payload_end",
                                  "begin = align(payload_end, alignment(length))"),
    "dimensions-wrap-at-2-to-the-64": ("            elements *= dimension\n",
                                       "            elements = elements * dimension % 2**64\n"),
    "minor-version-must-be-0": ("    require(major_version == 1,", "    require(major_version == 1 and head[10:12] == b\"\\0\\0\","),
    # JSON.
    "json-keeps-the-last-of-two": ("need(len(members) == len(value),", "need(True,"),
    "json-takes-half-a-surrogate-pair": ("    return not any(", "    return True or not any("),
    "json-takes-floats": ("parse_float=float", "parse_float=lambda digits: int(float(digits))"),
    "json-takes-unknown-members": ("need(fields.keys() == {\"dtype\", \"shape\", \"data_offsets\"},",
                                   "need(fields.keys() >= {\"dtype\", \"shape\", \"data_offsets\"},"),
    "json-takes-no-null-for-metadata": ("if name == \"__metadata__\" and value is None:", "if False:"),
    "json-takes-null-for-a-tensor": ("if name == \"__metadata__\" and value is None:", "if value is None:"),
    "json-takes-null-in-metadata": ("isinstance(text, str) and is_unicode(text)",
                                    "text is None or isinstance(text, str) and is_unicode(text)"),
    "json-takes-other-numbers-for-null": ("parse_float=float", "parse_float=lambda digits: None"),
    "json-takes-false-for-null": ("value is None:", "not value and not isinstance(value, JsonObject):"),
    "json-takes-null-in-any-case": ("    try:\n        text = source[8:].decode(\"utf-8\")\n",
                                    "    try:\n        text = source[8:].decode(\"utf-8\").replace(\"NULL\", \"null\")\n"),
    "json-in-the-order-of-the-text": ("return sorted(described, key=lambda tensor: tensor[3:])", "return described"),
}


DECODE, ENCODE, TRANSCODE = "unweight_decode", "unweight_encode", "unweight_transcode"

# Encoders. Name: the module, what stands in it, and what stands in the mutant.
ENCODERS = {
    "none": (ENCODE, "", ""),
    # Refusals.
    "header-length-wraps": (ENCODE, "length = 8 + int.from_bytes(data[:8], \"little\")",
                            "length = (8 + int.from_bytes(data[:8], \"little\")) % 2**64"),
    "takes-bytes-behind-the-data": (ENCODE, "if len(data) != length + expected:", "if len(data) < length + expected:"),
    "takes-data-cut-short": (ENCODE, "if len(data) != length + expected:", "if len(data) > length + expected:"),
    "takes-gaps": (ENCODE, "if begin != expected:", "if begin < expected:"),
    "takes-overlaps": (ENCODE, "if begin != expected:", "if begin > expected:"),
    "takes-data-of-any-length": (ENCODE, "if end - begin != size:", "if False:"),
    "takes-elements-of-half-a-byte": (DECODE, "require(elements * bits % 8 == 0,", "require(True,"),
    "dimensions-wrap-at-2-to-the-64": (DECODE, "            elements *= dimension\n",
                                       "            elements = elements * dimension % 2**64\n"),
    "bits-wrap-at-2-to-the-64": (ENCODE, "_, _, _, size = decoder.check_type(0, code, shape)",
                                 "size = DTYPES[code][1] * __import__(\"math\").prod(shape) % 2**64 // 8"),
    "takes-any-rank": (ENCODE, " or len(shape) > 64:", ":"),
    "takes-names-of-any-length": (ENCODE, "if len(name.encode()) > 65535 or", "if"),
    "names-counted-in-characters": (ENCODE, "if len(name.encode()) > 65535 or", "if len(name) > 65535 or"),
    "names-in-any-bytes": (DECODE, "text = source[8:].decode(\"utf-8\")", "text = source[8:].decode(\"utf-8\", \"replace\")"),
    "keeps-the-last-of-two-names": (DECODE, "need(len(members) == len(value),", "need(True,"),
    "takes-text-behind-the-object": (DECODE, "need(not text[end:].strip(\" \\t\\n\\r\"),", "need(True,"),
    "takes-half-a-surrogate-pair": (DECODE, "    return not any(", "    return True or not any("),
    "takes-unknown-members": (DECODE, "need(fields.keys() == {\"dtype\", \"shape\", \"data_offsets\"},",
                              "need(fields.keys() >= {\"dtype\", \"shape\", \"data_offsets\"},"),
    "takes-fractions": (DECODE, "parse_float=float", "parse_float=lambda digits: int(float(digits))"),
    # Forms.
    "constants-from-128-bits-on": (ENCODE, "n * width > 128", "n * width >= 128"),
    "constants-of-more-than-16-weights": (ENCODE, "n * width > 128", "n > 16"),
    "samples-32768-weights": (ENCODE, "sample = values if n <= 32768", "sample = values if n < 32768"),
    "samples-every-16th-step": (ENCODE, "256 * 17)", "256 * 16)"),
    "palette-of-all-weights-for-the-sample": (ENCODE, "choose_palette(counts, width)\n    if enc",
                                              "choose_palette(Counter(values), width)\n    if enc"),
    "every-chunk-is-full": (ENCODE, "y = Counter(sample), len(sample), min(n, 2**k)",
                            "y = Counter(sample), len(sample), 2**k"),
    "a-huffman-record-costs-799-bits": (ENCODE, "+ 800 * size", "+ 799 * size"),
    "a-palette-record-costs-159-bits": (ENCODE, "+ 160 * size", "+ 159 * size"),
    "coded-at-the-threshold": (ENCODE, "64 * bits < 63 *", "64 * bits <= 63 *"),
    "a-patch-costs-20-bits-more-than-an-index": (ENCODE, "(4 * size + 24 * outside)", "(4 * size + 20 * outside)"),
    # Palettes and codes.
    "greater-values-first": (ENCODE, "key=lambda x: (-counts[x], x))[:16]", "key=lambda x: (-counts[x], -x))[:16]"),
    "completes-palettes-upwards": (ENCODE, "[*range(g - 1, -1, -1), *range(g + 1, 2**width)]",
                                   "[*range(g + 1, 2**width), *range(g - 1, -1, -1)]"),
    "codes-of-7-bits": (ENCODE, "for _ in range(7):", "for _ in range(6):"),
    "packages-before-items": (ENCODE, "level = sorted(items + packages", "level = sorted(packages + items"),
    "later-items-first": (
        ENCODE, "package_merge(sorted((counts[palette[j]], j) for j in entries))",
        "package_merge(sorted(((counts[palette[j]], j) for j in entries), key=lambda item: (item[0], -item[1])))"),
    "placeholder-is-the-last-of-the-shortest": (ENCODE, "return min(lengths, key=lambda j: (lengths[j], j))",
                                                "return min(lengths, key=lambda j: (lengths[j], -j))"),
    "placeholder-is-the-first-entry": (ENCODE, "return min(lengths, key=lambda j: (lengths[j], j))", "return min(lengths)"),
    "a-patch-costs-no-placeholder": (ENCODE, "without = lengths[placeholder(lengths)] + 24", "without = 24"),
    "a-code-for-more-than-one-in-4096": (ENCODE, "4096 * counts[x] >= total", "4096 * counts[x] > total"),
    "a-code-for-every-value": (ENCODE, "counts[x] > 0 and 4096 * counts[x] >= total", "counts[x] > 0"),
    "frequent-is-more-than-one-in-64": (ENCODE, "64 * counts[x] >= total", "64 * counts[x] > total"),
    "rare-is-less-than-one-in-64": (ENCODE, "64 * outside <= total", "64 * outside < total"),
    "frequent-values-at-equal-costs": (ENCODE, "< cost(chosen, counts, palette)", "<= cost(chosen, counts, palette)"),
    "rare-values-always-have-codes": (ENCODE, "if frequent and frequent != usual and 64 * outside <= total:", "if False:"),
    # Records.
    "own-code-at-equal-costs": (ENCODE, "if not 256 * cost(lengths, counts, palette) < 255",
                                "if not 256 * cost(lengths, counts, palette) <= 255"),
    "field-code-of-the-first-chunk": (ENCODE, "choose_code(Counter(values), n, palette)",
                                      "choose_code(Counter(values[:2**k]), min(n, 2**k), palette)"),
    "surplus-is-index-1": (ENCODE, "index_of.get(x, 0) for x in values] + [0]",
                           "index_of.get(x, 0) for x in values] + [1]"),
    "verbatim-where-no-shorter": (ENCODE, "if align(16 + len(body), 16) > decoder",
                                  "if align(16 + len(body), 16) >= decoder"),
    "every-record-checksum-covers-the-plain-bytes": (ENCODE, "            covered = b\"\"\n", ""),
    # Raw tensors.
    "raw-only-where-it-is-shorter": (ENCODE, "align(len(stored.data), unit) >= align",
                                     "align(len(stored.data), unit) > align"),
    "small-tensors-save-256-bytes": (ENCODE, "align(len(stored.data), unit) >= align(len(raw.data), unit)",
                                     "align(len(stored.data), 256) >= align(len(raw.data), 256)"),
}

WRITTEN = """    return encoder.write_file(read.source_kind, read.section, tensors,
                              lambda i: transcode_tensor(read.tensors[i], read.data[i], encoding))
"""
STORED = "encoder.lay_out(weights, tensor.weight_bytes, tensor.fields, forms, tensor.chunk_size, len(data))\n    if not"
CHOSEN = "    return encoder.raw_if_no_longer(stored, raw, len(data))\n"

# Transcoders, as above.
TRANSCODERS = {
    "none": (TRANSCODE, "", ""),
    # Forms.
    "narrow-fields-take-the-form-palette": (TRANSCODE, "if is_coded and high - low + 1 > 4 else form", "if is_coded else form"),
    "narrow-fields-become-plain": (TRANSCODE, "if is_coded and high - low + 1 > 4 else form",
                                   "if is_coded and high - low + 1 > 4 else form if form == CONSTANT or encoding == HUFFMAN else PLAIN"),
    "fields-of-5-bits-are-narrow": (TRANSCODE, "high - low + 1 > 4", "high - low + 1 > 5"),
    "fields-of-4-bits-are-wide": (TRANSCODE, "high - low + 1 > 4", "high - low + 1 > 3"),
    "the-first-field-alone": (TRANSCODE, "if is_coded and high - low + 1 > 4 else form",
                              "if is_coded and high - low + 1 > 4 and not forms else form"),
    "constants-become-plain": (TRANSCODE, "if is_coded and high - low + 1 > 4 else form",
                               "if is_coded and high - low + 1 > 4 else form if is_coded else PLAIN"),
    "chooses-forms-anew": (TRANSCODE, "    forms = transcoded_forms(tensor, encoding)\n",
                           "    forms = tuple(encoder.choose_form(encoder.values_of(weights, field), field[0] - field[1] + 1,"
                           " tensor.weight_bytes, encoding, tensor.chunk_size or 15) for field in tensor.fields)\n"),
    "chunk-size-becomes-15": (TRANSCODE, STORED, STORED.replace("tensor.chunk_size", "15")),
    "chunk-size-of-the-first-tensor": (TRANSCODE, "transcode_tensor(read.tensors[i],",
                                       "transcode_tensor(read.tensors[i]._replace(chunk_size=read.tensors[0].chunk_size),"),
    # Records.
    "copies-tensors-whose-forms-stay": (TRANSCODE, WRITTEN, """    def payload(i):
        tensor = read.tensors[i]
        if transcoded_forms(tensor, encoding) != tensor.forms:
            return transcode_tensor(tensor, read.data[i], encoding)
        file.seek(tensor.payload_begin)
        return encoder.Payload(file.read(tensor.payload_end - tensor.payload_begin), tensor.forms, tensor.chunk_size,
                               tensor.palette_checksum)
    return encoder.write_file(read.source_kind, read.section, tensors, payload)
"""),
    # Raw tensors.
    "no-tensor-becomes-raw": (TRANSCODE, CHOSEN, "    return stored\n"),
    "raw-only-where-it-is-shorter": (ENCODE, "align(len(stored.data), unit) >= align(len(raw.data), unit)",
                                     "align(len(stored.data), unit) > align(len(raw.data), unit)"),
    "large-tensors-save-16-bytes": (ENCODE, "align(len(stored.data), unit) >= align(len(raw.data), unit)",
                                    "align(len(stored.data), 16) >= align(len(raw.data), 16)"),
    "constants-alone-become-raw": (TRANSCODE, "    if not any(form not in (PLAIN, CONSTANT) for form in forms):\n", "    if not any(forms):\n"),
    "raw-with-the-chunk-size": (TRANSCODE, CHOSEN, CHOSEN.replace("len(data))\n", "len(data))._replace(chunk_size=tensor.chunk_size)\n")),
    "raw-with-the-palette-checksum": (TRANSCODE, CHOSEN, CHOSEN.replace(
        "len(data))\n", "len(data))._replace(palette_checksum=stored.palette_checksum)\n")),
    "raw-without-block-checksums": (ENCODE, "    if not coded and P > 65536:\n", "    if False:\n"),
    "payloads-stay-where-they-are": (ENCODE, "payload += bytes(-len(payload) % alignment(len(tensor.data))) + stored.data",
                                     "payload += bytes(-len(payload) % 16) + stored.data"),
    # The rest of the file.
    "keeps-the-minor-version": (TRANSCODE, WRITTEN, WRITTEN.replace("return encoder", "made = encoder") + """    file.seek(10)
    made = made[:10] + file.read(2) + made[12:60]  + b"----" + made[64:]
    return made[:60] + encoder.zlib.crc32(made[:60]).to_bytes(4, "little") + made[64:]
"""),
    "keeps-extensions": (TRANSCODE, WRITTEN, WRITTEN.replace("return encoder", "made = encoder") + """    header = decoder.read_header(file)
    begin = 64 + header.directory_length + header.source_length
    file.seek(begin)
    items = file.read(header.extension_length)
    assert begin + len(items) <= decoder.align(begin, 256), "the items fit into the padding"
    made = (made[:48] + len(items).to_bytes(4, "little") + encoder.zlib.crc32(items).to_bytes(4, "little") + made[56:60] + b"----"
            + made[64:begin] + items + made[begin + len(items):])
    return made[:60] + encoder.zlib.crc32(made[:60]).to_bytes(4, "little") + made[64:]
"""),
    "drops-the-source": (TRANSCODE, "encoder.write_file(read.source_kind, read.section,", "encoder.write_file(0, b\"\","),
    "always-has-a-source": (TRANSCODE, "encoder.write_file(read.source_kind, read.section,",
                            "encoder.write_file(1, read.section or bytes(8),"),
    "writes-the-source-anew": (TRANSCODE, "read.section, tensors,",
                               "len(read.section[8:].rstrip()).to_bytes(8, \"little\") + read.section[8:].rstrip(), tensors,"),
    "sorts-tensors-by-name": (TRANSCODE, WRITTEN, """    order = sorted(range(len(tensors)), key=lambda i: tensors[i].name)
    return encoder.write_file(read.source_kind, read.section, [tensors[i] for i in order],
                              lambda i: transcode_tensor(read.tensors[order[i]], read.data[order[i]], encoding))
"""),
    "drops-empty-tensors": (TRANSCODE, WRITTEN, """    order = [i for i in range(len(tensors)) if tensors[i].data]
    return encoder.write_file(read.source_kind, read.section, [tensors[i] for i in order],
                              lambda i: transcode_tensor(read.tensors[order[i]], read.data[order[i]], encoding))
"""),
    # Broken input.
    "critical-extensions-are-dropped-too": (DECODE, "require(kind < 2**31, \"extension-unknown\"", "require(True, \"extension-unknown\""),
    "critical-extensions-for-private-use-are-dropped": (DECODE, "require(kind < 2**31, \"extension-unknown\"",
                                                        "require(kind < 2**31 or kind >= 0xF0000000, \"extension-unknown\""),
    "no-tensor-checksum": (DECODE, "require(checksum == tensor.checksum, \"tensor-crc\"", "require(True, \"tensor-crc\""),
    "no-tensor-checksum-of-raw-tensors": (DECODE, "require(checksum == tensor.checksum, \"tensor-crc\"",
                                          "require(checksum == tensor.checksum or not any(tensor.forms), \"tensor-crc\""),
    "no-tensor-checksum-of-tensors-without-records": (DECODE, "require(checksum == tensor.checksum, \"tensor-crc\"",
                                                      "require(checksum == tensor.checksum or not tensor.chunk_size, \"tensor-crc\""),
    "no-block-checksums": (DECODE, "require(stated == found, \"block-crc\"", "require(True, \"block-crc\""),
    "no-padding": (TRANSCODE, "    decoder.check_all_padding(file, header, tensors)\n", ""),
    "no-source-header": (DECODE, "        check_safetensors_header(at, source, tensors)\n", "        pass\n"),
    "no-extension-checks": (TRANSCODE, "    decoder.read_extensions(file, header)\n", ""),
}


def replacements(role, name):
    """What a mutant replaces: pairs of a module and a function of its text."""
    def in_decoder(*pairs):
        return [(DECODE, lambda text: replace_all(text, pairs))]

    if role == "encode" or role == "transcode":
        module, old, new = (ENCODERS if role == "encode" else TRANSCODERS)[name]
        return [] if name == "none" else [(module, lambda text: replace_all(text, [(old, new)]))]
    if name == "core":
        return in_decoder(("require(form <= CONSTANT, \"form-unknown\"", "require(form in (PLAIN, HUFFMAN, CONSTANT), \"form-unknown\""),
                          ("        check_safetensors_header(at, source, tensors)\n", "        pass\n"))
    if name.startswith("without-"):
        rule = name[len("without-"):]
        pairs = [("    if not holds:\n", f"    if not holds and rule != {rule!r}:\n"),
                 ("    if data.count(0) != len(data):\n", f"    if data.count(0) != len(data) and rule != {rule!r}:\n")]
        if rule == "name-utf8":
            pairs.append(("            name.decode(\"utf-8\")\n", "            pass\n"))
        return in_decoder(*pairs)
    return in_decoder(MUTANTS[name]) if name != "none" else []


def replace_all(text, pairs):
    """Replace pieces of text that must occur exactly once."""
    for old, new in pairs:
        if text.count(old) != 1:
            raise SystemExit(f"the program has this text {text.count(old)} times, expected once:\n{old}")
        text = text.replace(old, new)
    return text


def load(role, name):
    """The modules of a mutant: decoder, encoder, transcoder. They import each other."""
    changes = dict(replacements(role, name))
    for module_name in (DECODE, ENCODE, TRANSCODE):
        path = os.path.join(FOLDER, module_name + ".py")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        text = changes.get(module_name, str)(text)
        module = sys.modules[module_name] = types.ModuleType(module_name)
        exec(compile(text, path, "exec"), module.__dict__)
    return sys.modules[DECODE], sys.modules[ENCODE], sys.modules[TRANSCODE]


def answer(role, modules, input_path, output_path, parameters):
    """Run a mutant on one file, and say how it ended."""
    decoder, encoder, transcoder = modules
    try:
        with open(input_path, "rb") as file, open(output_path, "wb") as output:
            if role == "decode":
                decoder.decode_file(file, output)
            else:
                encoding = {"huffman": decoder.HUFFMAN, "palette": decoder.PALETTE}[parameters[0]]
                made = (encoder.encode_file(file.read(), encoding, int(parameters[1])) if role == "encode"
                        else transcoder.transcode_file(file, encoding))
                output.write(made)
        return "accepted"
    except decoder.Rejected as rejection:
        os.unlink(output_path)
        return "rejected " + str(rejection).split(":")[0]
    except encoder.Refused:
        os.unlink(output_path)
        return "refused"
    except Exception as error:      # a bug may end in any way
        os.unlink(output_path)
        return f"crashed {type(error).__name__}"


def time_is_up(signal_number, frame):
    """A bug may make a decoder endless."""
    raise TimeoutError


def bound_memory():
    """A bug may make a decoder ask for exabytes."""
    try:
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    except (ImportError, ValueError):
        pass


def serve(role, name):
    """Answer until the end of stdin."""
    bound_memory()
    modules = load(role, name)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, time_is_up)
    for line in sys.stdin:
        if hasattr(signal, "SIGALRM"):
            signal.alarm(20)
        input_path, output_path, *parameters = line.rstrip("\n").split("\t")
        print(answer(role, modules, input_path, output_path, parameters), flush=True)


def main(arguments):
    if arguments == ["list"]:
        for role, mutants in (("decode", MUTANTS), ("encode", ENCODERS), ("transcode", TRANSCODERS)):
            for name in mutants:
                print(role, name)
        return 0
    if len(arguments) == 3 and arguments[0] == "serve":
        serve(arguments[1], arguments[2])
        return 0
    if len(arguments) == {"decode": 4, "encode": 6, "transcode": 5}.get(arguments[0] if arguments else None):
        bound_memory()
        role, name, input_path, output_path, *parameters = arguments
        found = answer(role, load(role, name), input_path, output_path, parameters)
        if found == "accepted":
            return 0
        print(found.removeprefix("rejected "), file=sys.stderr)
        # A mutant may leave anything uncaught; that is a crash, not a rejection.
        return 70 if found.startswith("crashed") else 1
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
