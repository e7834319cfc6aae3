"""Bugs of decoders: records, codes and the decode procedure (sections 5 to 8)."""
from planted import DECODE, Bugs

bug = Bugs("decode", DECODE)
ALL = [bug]

bug("ignores-patches",
    "        values[position] = value\n",
    "        pass\n",
    "huffman-patch-at-the-first-weight",
    "palette-patch-at-the-last-weight")
bug("treats-verbatim-as-absent",
    "return decode_verbatim(record[16:patches_at], at + 16, n, width)",
    "return bytes(n)",
    "verbatim-records-among-huffman-records",
    "verbatim-record-in-a-palette-tensor",
    "every-field-of-i64-verbatim")
bug("takes-palettes-for-consecutive",
    "table[index] = (palette[j], length)",
    "table[index] = (palette[0] + j & 255, length)",
    "huffman-palette-with-gaps")
bug("makes-nans-quiet",
    "        weights = [weight | value << low for weight, value in zip(weights, values)]\n",
    "        weights = [weight | value << low for weight, value in zip(weights, values)]\n"
    '        if tensor.dtype == "BF16":\n'
    "            weights = [weight | 0x40 if weight & 0x7FFF > 0x7F80 else weight for weight in weights]\n",
    "zeros-infinities-and-nans-in-huffman",
    "every-bit-pattern-verbatim")
bug("ignores-constants",
    "weights = [constants | tables[0][number & 255]",
    "weights = [tables[0][number & 255]",
    "every-field-of-f32-constant",
    "constants-of-1-weight")
bug("joins-fields-in-the-opposite-order",
    "    for low, values in zip(lows, chunk):",
    "    for low, values in zip(lows, chunk[::-1]):",
    "every-field-of-f16-in-huffman",
    "two-coded-fields-of-4097-weights")
bug("takes-the-first-16-plain-bits",
    "for number in numbers]\n"
    "    for i, table in enumerate(tables[1:], 1):",
    "for number in numbers]\n"
    "    for i, table in enumerate(tables[1:2], 1):",
    "mixed-forms-of-f64-from-0",
    "mixed-forms-of-c64-from-2")
bug("wrong-bit-order",
    'int.from_bytes(record[80 + begin:80 + end], "little")',
    "int.from_bytes(bytes(int(f'{byte:08b}'[::-1], 2) for byte in record[80 + begin:80 + end]), \"little\")",
    "skewed-code-of-9-entries",
    "huffman-tensor-of-4096-weights")
bug("codes-not-reversed",
    "(code >> bit & 1) << (length - 1 - bit)",
    "(code >> bit & 1) << bit",
    "skewed-code-of-9-entries",
    "even-code-of-16-entries")
bug("codes-by-entry-before-length",
    "for length, j in sorted(coded):",
    "for length, j in sorted(coded, key=lambda one: (one[0], -one[1])):",
    "even-code-of-16-entries",
    "most-skewed-code-in-both-directions")
bug("mixes-nibbles",
    "    values[0::2] = indices.translate(bytes(palette[byte & 15] for byte in range(256)))\n"
    "    values[1::2] = indices.translate(bytes(palette[byte >> 4] for byte in range(256)))\n",
    "    values[1::2] = indices.translate(bytes(palette[byte & 15] for byte in range(256)))\n"
    "    values[0::2] = indices.translate(bytes(palette[byte >> 4] for byte in range(256)))\n",
    "palette-tensor-of-255-weights",
    "every-bit-pattern-in-palette")
bug("mixes-nibbles-of-code-lengths",
    "code_lengths[j // 2] >> 4 * (j % 2) & 15",
    "code_lengths[j // 2] >> 4 * (1 - j % 2) & 15",
    "skewed-code-of-9-entries")
bug("takes-lanes-for-interleaved",
    "values[8 * lane + m::256]",
    "values[lane + 32 * m::256]",
    "huffman-tensor-of-4096-weights")
bug("pads-each-number-to-a-byte",
    "return unpack(body, width, n)",
    'return list(body[:n].ljust(n, b"\\0"))',
    "verbatim-records-of-2-bits",
    "verbatim-records-of-7-bits")
bug("signed-patch-positions",
    'struct.unpack_from("<HB", record, offset)',
    'struct.unpack_from("<hB", record, offset)',
    "patch-at-position-65535")
bug("last-step-dropped",
    "    steps = (n + 255) // 256\n",
    "    steps = max(1, n // 256)\n",
    "huffman-tensor-of-257-weights",
    "palette-tensor-of-513-weights")
bug("one-step-too-many",
    "    steps = (n + 255) // 256\n",
    "    steps = n // 256 + 1\n",
    "huffman-tensor-of-256-weights",
    "palette-tensor-of-4096-weights")
bug("last-weight-takes-no-patch",
    'require(position < n, "patch-position"',
    'require(position < n - 1, "patch-position"',
    "huffman-patch-at-the-last-weight",
    "palette-patch-at-the-last-weight-of-a-full-chunk")
bug("surplus-takes-patches",
    'require(position < n, "patch-position"',
    'require(position < 256 * ((n + 255) // 256), "patch-position"',
    "huffman-patch-at-the-first-surplus-weight",
    "palette-patch-at-the-last-surplus-weight")
bug("lane-ends-checked-to-the-byte-alone",
    'require(unused >= 0, "lane-overrun"',
    'require(unused > -8, "lane-overrun"',
    "lane-0-overrun-by-one-bit",
    "lane-17-overrun-by-one-bit",
    "lane-31-overrun-by-one-bit")
bug("overreads-of-a-lane-are-fine",
    'require(unused >= 0, "lane-overrun"',
    'require(True, "lane-overrun"',
    "lane-without-bytes-overrun",
    "lanes-all-without-bytes-overrun")
bug("stops-at-first-tensor",
    "    for tensor in tensors:\n"
    "        decode_tensor(",
    "    for tensor in tensors[:1]:\n"
    "        decode_tensor(",
    "source-kind-none",
    "three-hundred-tensors",
    "tensor-checksum-of-the-last-tensor-wrong")
bug("forgets-the-source-section",
    "    output.write(read_source_section(file, header, tensors))\n",
    "    read_source_section(file, header, tensors)\n",
    "safetensors-source")
bug("ignores-padding",
    "    check_all_padding(file, header, tensors)\n",
    "",
    "padding-before-the-payload-first-byte",
    "padding-before-block-checksums-first-byte",
    "padding-between-two-payloads-last-byte",
    "padding-behind-the-plain-plane-first-byte",
    "padding-before-constants-last-byte",
    "padding-last-bit-of-a-plane-beside-constants",
    "padding-behind-record-ends-last-byte",
    "padding-of-the-guard-of-a-file-without-tensors")
bug("record-checksum-without-the-plain-bytes",
    "found = zlib.crc32(plain, zlib.crc32(memoryview(record)[4:]))",
    "found = zlib.crc32(memoryview(record)[4:])",
    "record-checksum-of-the-record-alone",
    "huffman-tensor-of-4096-weights")
bug("patches-take-any-value",
    'require(value < 2**width, "patch-value"',
    'require(True, "patch-value"',
    "patch-with-16-in-4-bits",
    "palette-patch-with-128-in-7-bits")
bug("codes-for-missing-entries",
    'require(j < len(palette) or length == 15, "code-length"',
    'require(True, "code-length"',
    "code-of-entry-4-of-2-bits",
    "code-of-entry-15-of-3-bits")

# 5.1 Record header
RECORD_CRC = 'require(stated == found, "record-crc"'
bug.several("record-checksums-{}", RECORD_CRC, [
    ("are-free", 'require(True, "record-crc"',
     "record-checksum-wrong-by-a-bit",
     "record-checksum-of-the-record-alone"),
    ("0-are-none", 'require(stated in (0, found), "record-crc"',
     "record-checksum-zero"),
    ("of-first-fields-alone", 'require(stated == found or not plain, "record-crc"',
     "checksum-of-a-second-field-with-the-plain-bytes"),
    ("of-verbatim-records-are-free", 'require(stated == found or kind == VERBATIM, "record-crc"',
     "checksum-of-a-second-field-with-the-plain-bytes"),
    ("of-short-chunks-are-free", 'require(stated == found or n % 4096, "record-crc"',
     "record-checksum-wrong-by-a-bit",
     "record-checksum-of-the-record-alone"),
    ("of-chunks-up-to-32768-weights", 'require(stated == found or n > 32768, "record-crc"',
     "record-checksum-of-32769-weights-wrong",
     "record-checksum-of-65536-weights-wrong"),
    ("of-chunks-of-65536-weights-are-free", 'require(stated == found or n == 65536, "record-crc"',
     "record-checksum-of-65536-weights-wrong"),
])
RECORD_SUM = "    found = zlib.crc32(plain, zlib.crc32(memoryview(record)[4:]))\n"
bug("record-checksums-of-32768-plain-bytes-at-most", RECORD_SUM, RECORD_SUM.replace("zlib.crc32(plain,", "zlib.crc32(plain[:32768],"),
    "lane-end-of-65472")
bug("record-checksums-of-the-plain-bytes-first", RECORD_SUM, "    found = zlib.crc32(memoryview(record)[4:], zlib.crc32(plain))\n",
    "verbatim-record-with-1-bytes-of-padding",
    "verbatim-record-with-0-bytes-of-padding")
bug("record-checksums-from-byte-0", RECORD_SUM, "    found = zlib.crc32(plain, zlib.crc32(bytes(4) + record[4:]))\n",
    "verbatim-record-with-1-bytes-of-padding",
    "verbatim-record-with-0-bytes-of-padding")
bug("record-checksums-of-65535-bytes-at-most", RECORD_SUM, RECORD_SUM.replace("memoryview(record)[4:]", "memoryview(record)[4:65535]"),
    "lane-end-of-65472")
KIND = 'require(kind in (VERBATIM, HUFFMAN, PALETTE), "record-kind"'
FORM = 'require(kind in (VERBATIM, form), "record-form"'
bug("kinds-in-2-bits", KIND, 'kind &= 3\n    require(kind in (VERBATIM, HUFFMAN, PALETTE), "record-kind"',
    "record-kind-5-of-a-huffman-record",
    "record-kind-9-of-a-huffman-record")
bug("kinds-in-4-bits", KIND, 'kind &= 15\n    require(kind in (VERBATIM, HUFFMAN, PALETTE), "record-kind"',
    "record-kind-17-of-a-huffman-record",
    "record-kind-65-of-a-huffman-record")
bug("kind-3-is-verbatim", KIND, 'kind = kind if kind < 3 else 0\n    require(kind in (VERBATIM, HUFFMAN, PALETTE), "record-kind"',
    "record-kind-4-of-a-verbatim-record",
    "record-kind-8-of-a-verbatim-record")
bug("kinds-above-2-are-the-forms", KIND, 'kind = kind if kind < 3 else form\n    require(kind in (VERBATIM, HUFFMAN, PALETTE), "record-kind"',
    "record-kind-3",
    "record-kind-255")
bug("records-take-either-form", FORM, 'require(True, "record-form"',
    "huffman-record-in-a-palette-tensor",
    "palette-record-in-a-huffman-tensor")
bug("huffman-fields-take-palette-records", FORM, 'require(kind in (VERBATIM, form) or form == HUFFMAN, "record-form"',
    "palette-record-in-a-huffman-tensor")
bug("palette-fields-take-huffman-records", FORM, 'require(kind in (VERBATIM, form) or form == PALETTE, "record-form"',
    "huffman-record-in-a-palette-tensor")
bug("palette-fields-take-no-verbatim-records", FORM, 'require(kind == form or kind == VERBATIM and form == HUFFMAN, "record-form"',
    "verbatim-record-in-a-palette-tensor")
RESERVED = '    require(reserved == 0, "record-reserved"'
bug.several("reserved-byte-of-{}-records-is-free", RESERVED, [
    ("huffman", '    require(reserved == 0 or kind == HUFFMAN, "record-reserved"',
     "huffman-record-reserved-byte"),
    ("palette", '    require(reserved == 0 or kind == PALETTE, "record-reserved"',
     "palette-record-reserved-byte"),
    ("verbatim", '    require(reserved == 0 or kind == VERBATIM, "record-reserved"',
     "verbatim-record-reserved-byte"),
])
bug("reserved-byte-is-a-bit", RESERVED, '    require(reserved & 1 == 0, "record-reserved"',
    "verbatim-record-reserved-byte")
bug("reserved-byte-in-7-bits", RESERVED, '    require(reserved & 127 == 0, "record-reserved"',
    "verbatim-record-reserved-byte")
COUNT = '        require(patch_count == 0, "record-reserved"'
bug("verbatim-records-with-a-patch-count", COUNT, '        patch_count = 0\n        require(patch_count == 0, "record-reserved"',
    "verbatim-record-with-a-patch-count",
    "verbatim-record-with-a-patch-count-of-256")
bug("verbatim-records-with-patches", COUNT, '        require(True, "record-reserved"',
    "verbatim-record-with-a-patch",
    "verbatim-record-with-a-patch-count")
bug("verbatim-records-with-a-patch-count-in-a-byte", COUNT, '        patch_count &= 255\n        require(patch_count == 0, "record-reserved"',
    "verbatim-record-with-a-patch-count-of-256")
NO_LENGTHS = '    if kind != HUFFMAN:\n        require_zero(code_lengths, "record-reserved"'
bug.several("code-lengths-of-{}", NO_LENGTHS, [
    ("verbatim-records-are-free", '    if kind == PALETTE:\n        require_zero(code_lengths, "record-reserved"',
     "verbatim-record-with-code-lengths",
     "verbatim-record-with-a-first-code-length"),
    ("palette-records-are-free", '    if kind == VERBATIM:\n        require_zero(code_lengths, "record-reserved"',
     "palette-record-with-code-lengths",
     "palette-record-with-a-last-code-length"),
    ("other-records-but-the-first", '    if kind != HUFFMAN:\n        require_zero(code_lengths[1:], "record-reserved"',
     "verbatim-record-with-a-first-code-length"),
    ("other-records-but-the-last", '    if kind != HUFFMAN:\n        require_zero(code_lengths[:-1], "record-reserved"',
     "verbatim-record-with-a-last-code-length",
     "palette-record-with-a-last-code-length"),
    ("other-records-but-the-middle", '    if kind != HUFFMAN:\n        require_zero(code_lengths[:1] + code_lengths[7:], "record-reserved"',
     "palette-record-with-byte-1-of-code-lengths",
     "palette-record-with-byte-2-of-code-lengths"),
    ("other-records-in-4-bytes", '    if kind != HUFFMAN:\n        require_zero(code_lengths[:4], "record-reserved"',
     "verbatim-record-with-a-last-code-length",
     "palette-record-with-a-last-code-length"),
])
LENGTH = '    require(len(record) == align(contents_end, 16), "record-length"'
bug.several("records-{}", LENGTH, [
    ("may-be-longer", '    require(len(record) >= align(contents_end, 16), "record-length"',
     "huffman-record-16-bytes-too-long",
     "palette-record-16-bytes-too-long"),
    ("may-be-shorter", '    require(len(record) <= align(contents_end, 16), "record-length"',
     "verbatim-record-of-a-header-alone",
     "palette-record-with-a-step-too-few"),
    ("may-be-longer-by-16-bytes", '    require(len(record) in (align(contents_end, 16), align(contents_end, 16) + 16), "record-length"',
     "huffman-record-16-bytes-too-long",
     "palette-record-16-bytes-too-long"),
    ("may-be-longer-if-palette", '    require(len(record) == align(contents_end, 16) or kind == PALETTE and len(record) > contents_end, "record-length"',
     "palette-record-16-bytes-too-long"),
    ("may-be-longer-if-huffman", '    require(len(record) == align(contents_end, 16) or kind == HUFFMAN and len(record) > contents_end, "record-length"',
     "huffman-record-with-an-exact-end-and-16-bytes-more",
     "huffman-record-16-bytes-too-long"),
    ("always-have-padding", '    require(len(record) == align(contents_end + 1, 16), "record-length"',
     "huffman-record-with-an-exact-end-and-16-bytes-more",
     "palette-record-16-bytes-too-long"),
])
bug("patches-of-4-bytes", "    contents_end = patches_at + 3 * patch_count\n", "    contents_end = patches_at + 4 * patch_count\n",
    "palette-record-padding-first-byte",
    "huffman-record-16-bytes-too-long")
bug("patch-counts-in-a-byte", "    contents_end = patches_at + 3 * patch_count\n", "    patch_count &= 255\n    contents_end = patches_at + 3 * patch_count\n",
    "palette-record-with-the-greatest-number-of-patches",
    "huffman-record-with-the-greatest-number-of-patches")
bug("patches-before-the-body", "    apply_patches(values, record, at, patches_at,", "    apply_patches(values, record, at, 16 if kind == PALETTE else 80,",
    "two-coded-fields-of-255-weights",
    "two-coded-fields-of-257-weights")
bug("patches-from-the-end", "    apply_patches(values, record, at, patches_at,", "    apply_patches(values, record, at, len(record) - 3 * patch_count,",
    "two-coded-fields-of-257-weights",
    "mixed-forms-of-bf16-from-1")
RECORD_PADDING = '    require_zero(record[contents_end:], "record-padding"'
bug.several("record-padding-{}", RECORD_PADDING, [
    ("is-free", '    require_zero(b"", "record-padding"',
     "huffman-record-padding-first-byte",
     "huffman-record-padding-last-byte"),
    ("of-verbatim-records-is-free", '    require_zero(record[contents_end:] if kind else b"", "record-padding"',
     "verbatim-record-padding-first-byte",
     "verbatim-record-padding-last-byte"),
    ("of-huffman-records-is-free", '    require_zero(record[contents_end:] if kind != HUFFMAN else b"", "record-padding"',
     "huffman-record-padding-first-byte",
     "huffman-record-padding-last-byte"),
    ("of-palette-records-is-free", '    require_zero(record[contents_end:] if kind != PALETTE else b"", "record-padding"',
     "palette-record-padding-last-byte",
     "palette-record-padding-first-byte"),
    ("without-its-first-byte", '    require_zero(record[contents_end + 1:], "record-padding"',
     "huffman-record-padding-first-byte",
     "palette-record-padding-first-byte"),
    ("without-its-last-byte", '    require_zero(record[contents_end:-1] if contents_end < len(record) else b"", "record-padding"',
     "palette-record-padding-last-byte",
     "huffman-record-padding-last-byte"),
    ("without-its-middle", '    require_zero(record[contents_end:][:1] + record[contents_end:][1:][-1:], "record-padding"',
     "verbatim-record-of-2-bits-middle-padding-byte",
     "verbatim-record-of-3-bits-middle-padding-byte"),
])
bug("verbatim-padding-bits-are-free", '    require_zero_after(body, n * width, "record-padding", at, "padding bits of the body")\n', "",
    "verbatim-record-of-3-bits-first-padding-bit",
    "verbatim-record-of-3-bits-last-padding-bit")

# 5.2 Lanes
LANE_ENDS = 'require(lane_ends[lane - 1] <= lane_ends[lane], "lane-ends"'
bug("lanes-are-never-empty", LANE_ENDS, 'require(lane_ends[lane - 1] < lane_ends[lane], "lane-ends"',
    "lanes-without-bits")
bug("lane-ends-are-signed", '    lane_ends = struct.unpack_from("<32H", record, 16)\n', '    lane_ends = struct.unpack_from("<32h", record, 16)\n',
    "lane-end-of-65472")
bug("lane-ends-are-big-endian", '    lane_ends = struct.unpack_from("<32H", record, 16)\n', '    lane_ends = struct.unpack_from(">32H", record, 16)\n',
    "every-field-of-f8-e8m0-in-huffman",
    "last-lane-ends-where-the-guard-begins")
bug("lane-ends-are-lengths", '    lane_ends = struct.unpack_from("<32H", record, 16)\n',
    '    lane_ends = struct.unpack_from("<32H", record, 16)\n    lane_ends = tuple(sum(lane_ends[:i + 1]) for i in range(32))\n',
    "every-field-of-f8-e8m0-in-huffman",
    "last-lane-ends-where-the-guard-begins")
bug("lane-ends-in-15-bits", '    lane_ends = struct.unpack_from("<32H", record, 16)\n', '    lane_ends = tuple(end & 0x7FFF for end in struct.unpack_from("<32H", record, 16))\n',
    "lane-end-of-65472")
bug("lane-bits-in-16-bits", "        unused = 8 * (end - begin) - used\n", "        unused = 8 * (end - begin) % 65536 - used % 65536\n",
    "lane-0-underrun-by-8192-bytes",
    "lane-30-underrun-by-8192-bytes")
bug("lane-bytes-in-a-byte", "        unused = 8 * (end - begin) - used\n", "        unused = 8 * (end - begin & 255) - used % 2048\n",
    "lane-0-underrun-by-256-bytes",
    "lane-30-underrun-by-256-bytes")
STREAM = '        stream = int.from_bytes(record[80 + begin:80 + end], "little")\n'
OVERRUN = 'require(unused >= 0, "lane-overrun"'
bug("lanes-overrun-into-padding", OVERRUN, 'require(unused >= 0 or stream >> used == 0, "lane-overrun"',
    "lanes-all-without-bytes-overrun",
    "lane-0-overrun-by-one-bit")
bug("lanes-of-no-bytes-overrun", OVERRUN, 'require(unused >= 0 or begin == end, "lane-overrun"',
    "lane-without-bytes-overrun",
    "lanes-all-without-bytes-overrun")
bug("the-last-lane-overruns", OVERRUN, 'require(unused >= 0 or lane == 31, "lane-overrun"',
    "lane-31-overrun-by-one-bit",
    "last-lane-without-bytes-overrun")
bug("overruns-in-sum", OVERRUN, 'require(unused >= 0 or lane < 31, "lane-overrun"',
    "lane-17-overrun-by-one-bit",
    "lane-0-overrun-by-one-bit")
bug("lanes-end-before-their-last-bit", OVERRUN, 'require(unused > 0, "lane-overrun"',
    "every-field-of-f8-e8m0-in-huffman",
    "last-lane-ends-where-the-guard-begins")
UNDERRUN = 'require(unused < 8, "lane-underrun"'
bug.several("lanes-underrun-{}", UNDERRUN, [
    ("freely", 'require(True, "lane-underrun"',
     "lane-0-underrun-by-eight-bits",
     "lane-with-a-byte-for-codes-of-no-bits"),
    ("by-8-bits", 'require(unused <= 8, "lane-underrun"',
     "lane-0-underrun-by-eight-bits",
     "lane-with-a-byte-for-codes-of-no-bits"),
    ("by-15-bits", 'require(unused < 16, "lane-underrun"',
     "lane-0-underrun-by-eight-bits",
     "lane-with-a-byte-for-codes-of-no-bits"),
    ("if-empty", 'require(unused < 8 or used == 0, "lane-underrun"',
     "lane-with-a-byte-for-codes-of-no-bits"),
    ("if-last", 'require(unused < 8 or lane == 31, "lane-underrun"',
     "lane-31-underrun-by-eight-bits"),
    ("if-not-last", 'require(unused < 8 or lane < 31, "lane-underrun"',
     "lane-0-underrun-by-eight-bits",
     "lane-with-a-byte-for-codes-of-no-bits"),
    ("by-7-bits-not", 'require(unused < 7, "lane-underrun"',
     "every-field-of-u8-in-huffman",
     "every-field-of-bool-in-huffman"),
])
LANE_PADDING = 'require(stream >> used == 0, "lane-padding"'
bug.several("lane-padding-{}", LANE_PADDING, [
    ("is-free", 'require(True, "lane-padding"',
     "lane-padding-first-bit",
     "lane-padding-last-bit"),
    ("without-its-first-bit", 'require(stream >> used + 1 == 0, "lane-padding"',
     "lane-padding-of-a-single-unused-bit",
     "lane-padding-first-bit"),
    ("without-its-last-bit", 'require(stream << 1 >> used + 1 & (1 << max(0, unused - 1)) - 1 == 0, "lane-padding"',
     "lane-padding-last-lane-last-bit",
     "lane-padding-last-bit"),
    ("of-the-last-lane-is-free", 'require(stream >> used == 0 or lane == 31, "lane-padding"',
     "lane-padding-last-lane-last-bit"),
    ("of-the-first-lane-is-free", 'require(stream >> used == 0 or lane == 0, "lane-padding"',
     "lane-padding-first-bit",
     "lane-padding-last-bit"),
    ("of-one-bit-is-free", 'require(stream >> used == 0 or unused == 1, "lane-padding"',
     "lane-padding-of-a-single-unused-bit"),
])
bug("windows-of-32-bits", "stream >> used & 0xFFFFFFFFFFFFFFFF", "stream >> used & 0xFFFFFFFF",
    "lane-0-of-1024-bytes",
    "lane-31-of-2048-bytes")
bug("windows-of-57-bits", "stream >> used & 0xFFFFFFFFFFFFFFFF", "stream >> used & (1 << 57) - 1",
    "lane-0-of-1024-bytes",
    "lane-31-of-2048-bytes")
bug("windows-of-63-bits", "stream >> used & 0xFFFFFFFFFFFFFFFF", "stream >> used & (1 << 63) - 1",
    "lane-0-of-1024-bytes",
    "lane-31-of-2048-bytes")
bug("windows-of-62-bits", "stream >> used & 0xFFFFFFFFFFFFFFFF", "stream >> used & (1 << 62) - 1",
    "lane-0-of-1024-bytes",
    "lane-31-of-2048-bytes")
bug("lanes-in-order-of-weights", "values[8 * lane + m::256] = lane_values[m::8]", "values[32 * m + lane::256] = lane_values[m::8]",
    "every-field-of-bool-in-huffman",
    "last-lane-ends-where-the-guard-begins")
bug("lanes-of-whole-chunks", "            values[8 * lane + m::256] = lane_values[m::8]\n",
    "            values[8 * steps * lane + m:8 * steps * (lane + 1):8] = lane_values[m::8]\n",
    "every-field-of-bool-in-huffman",
    "last-lane-ends-where-the-guard-begins")

# 5.3 to 5.5
bug("indices-in-3-bits", "bytes(palette[byte & 15] for byte in range(256))", "bytes(palette[byte & 7] for byte in range(256))",
    "one-exponent-in-palette",
    "every-bit-pattern-in-palette")
bug("indices-of-the-upper-half-in-3-bits", "bytes(palette[byte >> 4] for byte in range(256))", "bytes(palette[byte >> 4 & 7] for byte in range(256))",
    "wide-fields-of-f8-e5m2-in-palette",
    "wide-fields-of-f8-e5m2fnuz-in-palette")
bug("patch-positions-may-repeat", 'require(position > previous, "patch-order"', 'require(position >= previous, "patch-order"',
    "huffman-patch-twice",
    "huffman-patch-twice-at-0")
bug("patch-positions-in-any-order", 'require(position > previous, "patch-order"', 'require(True, "patch-order"',
    "huffman-patches-exchanged",
    "huffman-patch-twice")
bug("patch-positions-may-repeat-at-0", "    previous = -1\n", "    previous = 0\n",
    "huffman-patch-twice-at-0",
    "huffman-last-patch-before-the-others", also=[('require(position > previous, "patch-order"', 'require(position > previous or position == 0, "patch-order"')])
bug("patch-positions-from-1-on", "    previous = -1\n", "    previous = 0\n",
    "huffman-patches-of-7-bits",
    "huffman-patch-at-the-first-weight")
bug("patch-positions-ascend-but-the-last", 'require(position > previous, "patch-order"', 'require(position > previous or offset + 3 == patches_at + 3 * patch_count, "patch-order"',
    "huffman-last-patch-twice",
    "huffman-last-patch-before-the-others")
bug("patch-positions-differ", 'require(position > previous, "patch-order"', 'require(position != previous, "patch-order"',
    "huffman-patches-exchanged",
    "huffman-last-patch-before-the-others")
POSITION = 'require(position < n, "patch-position"'
bug("patch-positions-up-to-n", POSITION, 'require(position <= n, "patch-position"',
    "palette-patch-at-the-first-surplus-weight",
    "huffman-patch-at-the-first-surplus-weight", also=[("        values[position] = value\n", "        if position < n:\n            values[position] = value\n")])
bug("patch-positions-of-a-chunk", POSITION, 'require(position < max(n, 4096), "patch-position"',
    "huffman-patch-at-the-last-surplus-weight",
    "huffman-patch-at-the-first-surplus-weight", also=[("        values[position] = value\n", "        if position < n:\n            values[position] = value\n")])
bug("patch-positions-of-any-number", POSITION, 'require(True, "patch-position"',
    "huffman-patch-at-the-last-surplus-weight",
    "huffman-patch-at-the-first-surplus-weight", also=[("        values[position] = value\n", "        if position < n:\n            values[position] = value\n")])
bug("patch-positions-in-15-bits", POSITION, 'position &= 0x7FFF\n        require(position < n, "patch-position"',
    "patch-at-position-65535")
PATCH_VALUE = 'require(value < 2**width, "patch-value"'
bug("patch-values-up-to-2-to-the-width", PATCH_VALUE, 'require(value <= 2**width, "patch-value"',
    "patch-with-128-in-7-bits",
    "patch-with-16-in-4-bits")
bug("patch-values-are-masked", PATCH_VALUE, 'value &= 2**width - 1\n        require(value < 2**width, "patch-value"',
    "patch-with-255-in-7-bits",
    "patch-with-255-in-5-bits")
bug("patch-values-of-palette-records-are-free", PATCH_VALUE, 'require(value < 2**width or record[4] == PALETTE, "patch-value"',
    "palette-patch-with-255-in-7-bits",
    "palette-patch-with-255-in-5-bits")
bug("patch-values-outside-the-palette-alone", PATCH_VALUE, 'require(value < 2**width and value != values[position], "patch-value"',
    "huffman-patches-of-coded-exponents",
    "palette-patches-of-coded-exponents")
bug("patches-are-differences", "        values[position] = value\n", "        values[position] = values[position] + value & 255\n",
    "huffman-patch-at-the-last-weight",
    "huffman-patch-at-the-first-weight")
bug("the-last-patch-is-lost", "    for offset in range(patches_at, patches_at + 3 * patch_count, 3):\n", "    for offset in range(patches_at, patches_at + 3 * patch_count - 3, 3):\n",
    "huffman-last-patch-twice",
    "huffman-last-patch-before-the-others")
bug("at-most-255-patches", "    for offset in range(patches_at, patches_at + 3 * patch_count, 3):\n", "    for offset in range(patches_at, patches_at + 3 * min(patch_count, 255), 3):\n",
    "huffman-patches-at-alternate-positions",
    "huffman-record-with-the-greatest-number-of-patches")

# 6 Huffman code
bug.several("code-lengths-{}", 'require(length <= 8 or length == 15, "code-length"', [
    ("up-to-9", 'require(length <= 9 or length == 15, "code-length"',
     "code-lengths-complete-with-9-bits"),
    ("above-8-are-none", 'length = length if length <= 8 else 15\n        require(length <= 8 or length == 15, "code-length"',
     "code-length-9",
     "code-length-10"),
    ("14-is-none", 'length = 15 if length == 14 else length\n        require(length <= 8 or length == 15, "code-length"',
     "code-length-14"),
    ("up-to-7", 'require(length <= 7 or length == 15, "code-length"',
     "skewed-code-of-9-entries",
     "skewed-code-of-10-entries"),
    ("0-are-none", 'length = length or 15\n        require(length <= 8 or length == 15, "code-length"',
     "code-lengths-of-0-behind-those-of-3-bits",
     "code-lengths-of-0-behind-those-of-2-bits"),
    ("0-is-for-entry-0", 'require(length or j == 0, "code-length", at, "", 0, 0)\n        require(length <= 8 or length == 15, "code-length"',
     "lanes-without-bits"),
    ("of-the-last-entry-are-free", 'length = 15 if j == 15 and length > 8 else length\n        require(length <= 8 or length == 15, "code-length"',
     "code-length-of-9-as-no-code-at-the-last-entry"),
])
bug("code-lengths-9-and-more-shift-to-nothing", 'require(length <= 8 or length == 15, "code-length"', 'require(True, "code-length"',
    "code-length-9",
    "code-length-10",
    also=[("    claimed = sum(2**(8 - length) for length, _ in coded)\n", "    claimed = sum(256 >> length for length, _ in coded)\n    coded = [pair for pair in coded if pair[0] <= 8]\n")])
MISSING = 'require(j < len(palette) or length == 15, "code-length"'
bug("codes-for-entry-2-to-the-width", MISSING, 'require(j <= len(palette) or length == 15, "code-length"',
    "code-of-entry-8-of-3-bits",
    "code-of-entry-4-of-2-bits", also=[("            table[index] = (palette[j], length)\n", "            table[index] = ((*palette, 0)[min(j, len(palette))], length)\n")])
bug("missing-entries-have-any-length", MISSING, 'length = length if j < len(palette) else 15\n        require(j < len(palette) or length == 15, "code-length"',
    "code-lengths-of-0-behind-those-of-3-bits",
    "code-lengths-of-0-behind-those-of-2-bits")
bug("missing-entries-have-the-nibble-0", MISSING, 'require(j < len(palette) or length in (0, 15), "code-length"',
    "code-lengths-of-0-behind-those-of-3-bits",
    "code-lengths-of-0-behind-those-of-2-bits", also=[("        if length != 15:\n", "        if length != 15 and j < len(palette):\n")])
OVER = 'require(claimed <= 256, "code-oversubscribed"'
UNDER = 'require(claimed >= 256, "code-incomplete"'
TABLE = "            table[index] = (palette[j], length)\n"
FIRST_WINS = "            table[index] = table[index] or (palette[j], length)\n"
bug("oversubscribed-codes-where-the-last-wins", OVER, 'require(True, "code-oversubscribed"',
    "code-oversubscribed-by-257-of-256", also=[("    table = [None] * 256\n", "    table = {}\n"), ("        for index in range(reversed_code, 256, 2**length):\n", "        for index in range(reversed_code % 256, 256, 2**length):\n")])
bug("oversubscribed-codes-where-the-first-wins", OVER, 'require(True, "code-oversubscribed"',
    "code-oversubscribed-by-257-of-256", also=[(TABLE, FIRST_WINS), ("        for index in range(reversed_code, 256, 2**length):\n", "        for index in range(reversed_code % 256, 256, 2**length):\n")])
bug("two-codes-of-0-bits-where-the-first-wins", OVER, 'require(claimed <= 256 or all(length == 0 for length, _ in coded), "code-oversubscribed"',
    "code-oversubscribed-with-lanes-that-fit-two-codes-of-0-bits-where-the-first-wins", also=[(TABLE, FIRST_WINS)])
bug("two-codes-of-0-bits-where-the-last-wins", OVER, 'require(claimed <= 256 or all(length == 0 for length, _ in coded), "code-oversubscribed"',
    "code-oversubscribed-with-lanes-that-fit-two-codes-of-0-bits-where-the-last-wins",
    "code-oversubscribed-with-lanes-that-fit-three-codes-of-0-bits-where-the-last-wins", also=[("        reversed_code = sum(", "        code &= (1 << length) - 1\n        reversed_code = sum(")])
bug("codes-beside-one-of-0-bits", OVER, 'require(claimed <= 256 or coded and min(coded)[0] == 0, "code-oversubscribed"',
    "code-oversubscribed-with-lanes-that-fit-codes-of-0-and-8-bits-where-the-first-wins",
    "code-oversubscribed-with-lanes-that-fit-two-codes-of-0-bits-where-the-first-wins", also=[(TABLE, FIRST_WINS), ("        for index in range(reversed_code, 256, 2**length):\n", "        for index in range(reversed_code % 256, 256, 2**length):\n")])
bug("sums-in-8-bits", "    claimed = sum(2**(8 - length) for length, _ in coded)\n", "    claimed = sum(2**(8 - length) for length, _ in coded) % 256 or 256\n",
    "code-incomplete-without-a-code", also=[(TABLE, FIRST_WINS), ("        for index in range(reversed_code, 256, 2**length):\n", "        for index in range(reversed_code % 256, 256, 2**length):\n")])
bug("sums-up-to-257", OVER, 'require(claimed <= 257, "code-oversubscribed"',
    "code-oversubscribed-by-257-of-256", also=[(TABLE, FIRST_WINS), ("        for index in range(reversed_code, 256, 2**length):\n", "        for index in range(reversed_code % 256, 256, 2**length):\n")])
ZEROS = [("    table = [None] * 256\n", "    table = [(palette[0], 0)] * 256\n")]
bug("incomplete-codes", UNDER, 'require(True, "code-incomplete"',
    "code-incomplete-with-lanes-that-fit-one-code-of-1-bit",
    "code-incomplete-with-lanes-that-fit-one-code-of-1-bit-at-the-last-entry", also=[("    table = [None] * 256\n", "    table = [(palette[0], 1)] * 256\n")])
bug("incomplete-codes-of-one-entry", UNDER, 'require(claimed >= 256 or len(coded) == 1, "code-incomplete"',
    "code-incomplete-with-lanes-that-fit-one-code-of-1-bit",
    "code-incomplete-with-lanes-that-fit-one-code-of-1-bit-at-the-last-entry", also=[("    table = [None] * 256\n", "    table = [(palette[0], 1)] * 256\n")])
bug("codes-of-no-entry", UNDER, 'require(claimed >= 256 or not coded, "code-incomplete"',
    "code-incomplete-with-lanes-that-fit-no-code-for-entry-0",
    "code-incomplete-with-lanes-that-fit-no-code-for-the-value-0", also=ZEROS)
bug("codes-from-255-on", UNDER, 'require(claimed >= 255, "code-incomplete"',
    "code-incomplete-with-lanes-that-fit-255-of-256", also=[("    table = [None] * 256\n", "    table = [(palette[0], 1)] * 256\n")])
bug("codes-of-half-the-space", UNDER, 'require(claimed >= 128, "code-incomplete"',
    "code-incomplete-with-lanes-that-fit-one-code-of-1-bit",
    "code-incomplete-with-lanes-that-fit-one-code-of-1-bit-at-the-last-entry", also=[("    table = [None] * 256\n", "    table = [(palette[0], 1)] * 256\n")])
bug("codes-by-entry-alone", "    for length, j in sorted(coded):\n        code = (code + 1) << (length - previous_length)\n",
    "    for length, j in coded:\n        code = (code + 1) << (length - previous_length) if length >= previous_length else (code + 1) >> (previous_length - length)\n",
    "most-skewed-code-in-both-directions",
    "every-record-with-its-own-code",
    also=[("        for index in range(reversed_code, 256, 2**length):\n", "        for index in range(reversed_code % 256, 256, 2**length):\n")])
bug("codes-from-the-longest-on", "        code = (code + 1) << (length - previous_length)\n", "        code = (code + 1) << (length - previous_length)\n        inverse = (1 << length) - 1 - code\n",
    "code-of-the-last-two-entries-of-7-bits",
    "even-code-of-2-entries",
    also=[("(code >> bit & 1) << (length - 1 - bit)", "(inverse >> bit & 1) << (length - 1 - bit)")])

# 7 and 8
bug("constants-are-not-shifted", "    constants = sum(palette[0] << low for", "    constants = sum(palette[0] << 7 for",
    "forms-that-no-canonical-encoder-chooses-to-huffman-decodes",
    "forms-that-no-canonical-encoder-chooses-to-palette-decodes")
bug("the-first-constant-alone", "                    if form == CONSTANT)\n", "                    if form == CONSTANT and form not in tensor.forms[:tensor.fields.index((_, low))])\n",
    "constants-at-128-bits-huffman-12-decodes",
    "constants-at-128-bits-palette-12-decodes")
bug("tensor-checksums-of-empty-tensors-are-free", 'require(checksum == tensor.checksum, "tensor-crc"', 'require(checksum == tensor.checksum or not tensor.weights, "tensor-crc"',
    "tensor-checksum-of-an-empty-tensor-wrong")
bug.several("tensor-checksums-{}", 'require(checksum == tensor.checksum, "tensor-crc"', [
    ("are-free", 'require(True, "tensor-crc"',
     "tensor-checksum-of-a-raw-tensor-wrong",
     "tensor-checksum-of-an-empty-tensor-wrong"),
    ("0-are-none", 'require(tensor.checksum in (0, checksum), "tensor-crc"',
     "tensor-checksum-zero"),
    ("of-coded-tensors-are-free", 'require(checksum == tensor.checksum or tensor.chunk_size, "tensor-crc"',
     "tensor-checksum-of-a-huffman-tensor-wrong",
     "verbatim-value-of-4-bits-changed-with-its-checksum"),
    ("of-raw-tensors-are-free", 'require(checksum == tensor.checksum or any(tensor.forms), "tensor-crc"',
     "verbatim-value-of-4-bits-changed-with-its-checksum",
     "constant-changed-with-its-checksum"),
    ("of-planes-with-block-checksums-are-free", 'require(checksum == tensor.checksum or parts(tensor).b, "tensor-crc"',
     "raw-data-changed-with-its-block-checksum"),
    ("of-constant-tensors-are-free", 'require(checksum == tensor.checksum or tensor.chunk_size == 0 and any(tensor.forms), "tensor-crc"',
     "constant-changed-with-its-checksum"),
    ("in-16-bits", 'require((checksum ^ tensor.checksum) & 0xFFFF == 0, "tensor-crc"',
     "tensor-checksum-wrong-in-its-greatest-bit"),
])
bug("the-last-tensor-is-lost", "    for tensor in tensors:\n        decode_tensor(", "    for tensor in tensors[:-1] or tensors:\n        decode_tensor(",
    "constants-that-save-nothing-to-huffman-decodes")
bug("every-chunk-has-the-size-of-the-first-tensor", "    for tensor in tensors:\n        decode_tensor(file, tensor, output)\n",
    "    for tensor in tensors:\n        size = next((one.chunk_size for one in tensors if one.chunk_size), 0)\n        decode_tensor(file, tensor._replace(chunk_size=size if tensor.chunk_size else 0), output)\n",
    "tensors-of-all-chunk-sizes-to-huffman-decodes",
    "tensors-of-all-chunk-sizes-to-palette-decodes")
bug("source-behind-the-tensors", "    output.write(read_source_section(file, header, tensors))\n", "    section = read_source_section(file, header, tensors)\n",
    "source-amid-white-space-and-coded-tensors-to-palette-decodes",
    "source-amid-white-space-and-coded-tensors-to-huffman-decodes",
    also=[("    check_all_padding(file, header, tensors)\n", "    check_all_padding(file, header, tensors)\n    output.write(section)\n")])
bug("tensors-in-the-order-of-names", "    for tensor in tensors:\n        decode_tensor(", "    for tensor in sorted(tensors):\n        decode_tensor(",
    "constants-that-save-nothing-to-huffman-decodes")
bug("weights-are-big-endian", 'return struct.pack(f"<{n}', 'return struct.pack(f">{n}',
    "every-field-of-bf16-verbatim",
    "constants-that-save-nothing-to-huffman-decodes")
