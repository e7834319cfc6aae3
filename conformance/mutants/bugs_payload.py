"""Bugs of decoders: payload, types and forms (sections 3.5 and 4)."""
from planted import DECODE, Bugs

bug = Bugs("decode", DECODE)
ALL = [bug]

bug("drops-the-highest-plain-bit",
    "if x >> i & 1) for x in range(256)]",
    "if x >> i & 1 and bit != plain_bits[-1]) for x in range(256)]",
    "every-bit-pattern-in-huffman",
    "every-bit-pattern-in-palette",
    "every-bit-pattern-verbatim")
bug("drops-the-lowest-plain-bit",
    "if x >> i & 1) for x in range(256)]",
    "if x >> i & 1 and bit != plain_bits[0]) for x in range(256)]",
    "every-bit-pattern-in-huffman",
    "three-coded-fields-of-4097-weights")
bug("mixes-forms-of-two-fields",
    "forms = tuple(number >> 4 * f & 15 for f in range(8))",
    "forms = tuple(number >> 4 * (f ^ 1) & 15 for f in range(8))",
    "second-field-coded-alone",
    "mixed-forms-of-i32-from-2")
bug("allows-bytes-behind-the-last-record",
    "require(end == total or number < part.c * part.q - 1,",
    "require(True,",
    "bytes-hidden-behind-the-last-record")
bug("last-chunk-takes-the-length-of-the-first",
    "n = min(1 << tensor.chunk_size, tensor.weights - first)",
    "n = min(1 << tensor.chunk_size, tensor.weights)",
    "huffman-tensor-of-4097-weights",
    "palette-tensor-of-4097-weights")
bug("last-block-unchecked",
    'require(stated == found, "block-crc"',
    'require(stated == found or len(block) < 65536, "block-crc"',
    "last-block-checksum-wrong-by-a-bit")
bug("small-tensors-are-aligned-to-256",
    "return 256 if length >= 65536 else 16",
    "return 256",
    "raw-payloads-around-multiples-of-16",
    "tensor-of-65535-bytes-between-small-ones")
bug("no-tensor-is-large",
    "return 256 if length >= 65536 else 16",
    "return 256 if length > 65536 else 16",
    "tensor-of-65536-bytes-between-small-ones")
bug("chunk-size-always-12",
    "first = j << tensor.chunk_size",
    "first = j << 12",
    "huffman-chunks-of-2-to-the-13",
    "palette-chunks-of-2-to-the-16")
bug("plain-bytes-of-a-chunk-without-its-last",
    "plain = read_exactly(file, part.B + first * part.W // 8, (n * part.W + 7) // 8)",
    "plain = read_exactly(file, part.B + first * part.W // 8, n * part.W // 8)",
    "two-coded-fields-of-4097-weights")
bug("records-field-by-field",
    "number = j * part.q + i",
    "number = i * part.c + j",
    "two-coded-fields-of-8449-weights",
    "three-coded-fields-of-8201-weights")
bug("ignores-the-guard",
    "    check_padding(file, payload_end, payload_end + 64)\n",
    "",
    "padding-guard-first-byte",
    "padding-guard-last-byte")
bug("every-record-checksum-covers-the-plain-bytes",
    'plain if i == 0 else b""',
    "plain",
    "two-coded-fields-of-4097-weights")
bug("only-the-first-field-covers-the-plain-bytes",
    'plain if i == 0 else b""',
    'plain if i == 0 and tensor.forms[0] in (HUFFMAN, PALETTE) else b""',
    "second-field-coded-alone",
    "constant-exponent-beside-a-coded-mantissa")
bug("palettes-take-any-value",
    "        require(palette[-1] < 2**width,",
    "        require(True,",
    "palette-with-32-in-5-bits",
    "palette-of-3-bits-with-a-value-too-great")
bug("palettes-go-on",
    '        require_zero(data[16 * i + entries:16 * i + 16], "palette-values", at + entries, "byte behind the palette")\n',
    "",
    "constant-with-a-last-byte-behind-its-value",
    "palette-of-2-bits-that-goes-on")
bug("narrow-fields-take-the-form-palette",
    '            require(high - low + 1 > 4, "form-field"',
    '            require(True, "form-field"',
    "form-palette-of-3-bits",
    "form-palette-of-4-bits-of-f8-e4m3")
bug("missing-fields-take-forms",
    'require(form == PLAIN or f < len(fields), "form-field"',
    'require(True, "form-field"',
    "fourth-field-of-bf16-constant",
    "first-field-of-f6-constant")
bug("dimensions-wrap-at-2-to-the-64",
    "            elements *= dimension\n",
    "            elements = elements * dimension % 2**64\n",
    "dimensions-whose-product-wraps-to-1")

# 3.5 Parts
ALIGNMENT = "return 256 if length >= 65536 else 16"
bug("alignment-is-always-16", ALIGNMENT, "return 16",
    "tensor-of-65536-bytes-between-small-ones",
    "constants-of-58255-weights")
PARTS = "    P = (tensor.weights * W + 7) // 8\n"
bug("planes-without-their-last-bits", PARTS, "    P = tensor.weights * W // 8\n",
    "two-coded-fields-of-1-weight",
    "two-coded-fields-of-7-weights")
bug("planes-of-whole-bytes-for-each-weight", PARTS, "    P = tensor.weights * ((W + 7) // 8)\n",
    "every-field-of-f8-e8m0-verbatim",
    "every-field-of-f8-e5m2-verbatim")
CHECKSUMS = "    b = (P + 65535) // 65536 if q == 0 and P > 65536 else 0\n"
bug.several("block-checksums-{}", CHECKSUMS, [
    ("of-full-blocks-alone", "    b = P // 65536 if q == 0 and P > 65536 else 0\n",
     "raw-tensor-of-65537-bytes"),
    ("of-raw-tensors-alone", "    b = (P + 65535) // 65536 if m == 0 and P > 65536 else 0\n",
     "constants-of-58255-weights"),
    ("of-the-original-bytes", "    b = (P + 65535) // 65536 if q == 0 and tensor.length > 65536 else 0\n",
     "constants-of-58254-weights"),
])
bug("block-checksums-unaligned", "    C = align(B + P, 4)\n", "    C = B + P\n",
    "raw-tensor-of-65537-bytes")
bug("block-checksums-aligned-to-8", "    C = align(B + P, 4)\n", "    C = align(B + P, 8)\n",
    "raw-tensor-of-65537-bytes")
bug("palettes-aligned-to-16", "G = align(C + 4 * b, alignment(tensor.length))", "G = align(C + 4 * b, 16)",
    "huffman-chunks-of-2-to-the-15")
bug("palettes-unaligned", "G = align(C + 4 * b, alignment(tensor.length))", "G = C + 4 * b",
    "two-coded-fields-of-1-weight",
    "two-coded-fields-of-7-weights")
bug("records-aligned-to-256", "align(ends + 4 * c * q, 16))", "align(ends + 4 * c * q, alignment(tensor.length)))",
    "every-bit-pattern-verbatim")
bug("records-unaligned", "align(ends + 4 * c * q, 16))", "ends + 4 * c * q)",
    "two-coded-fields-of-1-weight",
    "two-coded-fields-of-7-weights")
bug("record-ends-of-8-bytes", "align(ends + 4 * c * q, 16))", "align(ends + 8 * c * q, 16))",
    "three-coded-fields-of-1-weight",
    "three-coded-fields-of-8-weights")
bug("one-record-end-for-all-fields", "align(ends + 4 * c * q, 16))", "align(ends + 4 * c, 16))",
    "every-field-of-f32-verbatim",
    "every-field-of-i32-verbatim")
bug("chunks-rounded-down", "c = (tensor.weights + 2**tensor.chunk_size - 1) >> tensor.chunk_size if q else 0",
    "c = max(1, tensor.weights >> tensor.chunk_size) if q else 0",
    "three-coded-fields-of-4097-weights")
bug("chunks-one-too-many", "c = (tensor.weights + 2**tensor.chunk_size - 1) >> tensor.chunk_size if q else 0",
    "c = (tensor.weights >> tensor.chunk_size) + 1 if q else 0",
    "two-coded-fields-of-4096-weights",
    "every-bit-pattern-in-palette")
bug("palettes-of-coded-fields-alone", "    m = sum(form != PLAIN for form in tensor.forms)\n", "    m = q\n",
    "constants-of-1-weight",
    "constants-of-7-weights")
bug("constants-have-records", "    q = sum(form in (HUFFMAN, PALETTE) for form in tensor.forms)\n", "    q = sum(form != PLAIN for form in tensor.forms)\n",
    "constants-of-1-weight",
    "constants-of-7-weights")
bug("constants-stay-in-the-plane", "sum(high - low + 1 for _, (high, low) in not_plain(tensor))\n    q =",
    "sum(high - low + 1 for form, (high, low) in not_plain(tensor) if form != CONSTANT)\n    q =",
    "every-field-of-f8-e8m0-constant",
    "constants-of-7-weights")
bug.several("payload-ends-of-empty-tensors-{}", '        require(end == tensor.payload_begin, "payload-end"', [
    ("are-free", '        require(True, "payload-end"',
     "empty-tensor-with-four-bytes",
     "empty-tensor-aligned-to-16"),
    ("may-be-aligned", '        require(end in (tensor.payload_begin, align(tensor.payload_begin, 16)), "payload-end"',
     "empty-tensor-aligned-to-16"),
    ("may-be-late", '        require(end >= tensor.payload_begin, "payload-end"',
     "empty-tensor-with-four-bytes",
     "empty-tensor-aligned-to-16"),
])
END = '        require(end == expected, "payload-end"'
bug.several("payload-ends-{}", END, [
    ("may-be-late", '        require(end >= expected, "payload-end"',
     "raw-payload-end-one-byte-late",
     "raw-payload-end-with-a-block-checksum"),
    ("may-be-aligned", '        require(end in (expected, align(expected, 16)), "payload-end"',
     "raw-payload-end-on-a-multiple-of-16",
     "raw-payload-end-with-three-block-checksums-of-two"),
    ("of-constants-are-free", '        require(end == expected or part.m, "payload-end"',
     "constant-payload-end-16-bytes-late",
     "constant-payload-end-with-the-constant-field-in-the-plane"),
    ("of-constants-in-multiples-of-16", '        require(end == expected or part.m and end % 16 == 0, "payload-end"',
     "constant-payload-end-16-bytes-late",
     "constant-payload-end-with-the-constant-field-in-the-plane"),
])
bug("constants-end-behind-their-value", "expected = part.G + 16 * part.m if part.m", "expected = part.G + 16 * part.m - 15 if part.m",
    "constants-of-1-weight",
    "constants-of-7-weights")
ROOM = 'require(least <= records <= most and records % 16 == 0, "payload-end"'
bug.several("room-for-records-{}", ROOM, [
    ("may-be-odd", 'require(least <= records <= most, "payload-end"',
     "coded-payload-end-one-byte-late"),
    ("is-below-the-most", 'require(least <= records < most and records % 16 == 0, "payload-end"',
     "two-coded-fields-of-1-weight",
     "two-coded-fields-of-7-weights"),
])
bug("records-of-a-short-chunk-as-long-as-of-a-full-one", 'require(length <= greatest_record(n, width), "record-too-long"',
    'require(length <= greatest_record(1 << tensor.chunk_size, width), "record-too-long"',
    "last-record-longer-than-verbatim")
bug("records-below-the-greatest-length", 'require(length <= greatest_record(n, width), "record-too-long"',
    'require(length < greatest_record(n, width), "record-too-long"',
    "two-coded-fields-of-1-weight",
    "two-coded-fields-of-7-weights")
PADDING = "    require_zero(read_exactly(file, begin, end - begin), \"padding\", begin, \"padding byte\")\n"
bug.several("padding-{}", PADDING, [
    ("without-first-bytes", PADDING.replace("read_exactly(file, begin, end - begin)", "read_exactly(file, begin, end - begin)[1:]"),
     "padding-behind-the-source",
     "padding-of-a-file-without-tensors"),
    ("without-last-bytes", PADDING.replace("read_exactly(file, begin, end - begin)", "read_exactly(file, begin, end - begin)[:-1]"),
     "padding-before-constants-last-byte",
     "padding-of-the-guard-of-a-file-without-tensors"),
    ("without-middle-bytes", "    gap = read_exactly(file, begin, end - begin)\n"
     "    require_zero(gap[:1] + gap[1:][-1:], \"padding\", begin, \"padding byte\")\n",
     "padding-before-the-payload-middle-byte",
     "padding-guard-middle-byte"),
    ("of-whole-words", PADDING.replace("read_exactly(file, begin, end - begin)", "read_exactly(file, begin, (end - begin) // 8 * 8)"),
     "padding-between-two-payloads-last-byte",
     "padding-before-constants-last-byte"),
    ("of-16-bytes-at-most", PADDING.replace("read_exactly(file, begin, end - begin)", "read_exactly(file, begin, min(16, end - begin))"),
     "padding-before-the-payload-last-byte",
     "padding-of-the-guard-of-a-file-without-tensors"),
    ("of-63-bytes-at-most", PADDING.replace("read_exactly(file, begin, end - begin)", "read_exactly(file, begin, min(63, end - begin))"),
     "padding-guard-last-byte",
     "padding-of-the-guard-of-a-file-without-tensors"),
])
bug("padding-before-the-payload-is-free", "    check_padding(file, extensions_end, payload_end)\n", "",
    "padding-behind-the-source",
    "padding-of-a-file-without-tensors")
bug("padding-before-the-payload-of-files-with-tensors", "    check_padding(file, extensions_end, payload_end)\n",
    "    if tensors:\n        check_padding(file, extensions_end, payload_end)\n",
    "padding-of-a-file-without-tensors")
BETWEEN = "        check_padding(file, payload_end, tensor.payload_begin)\n"
bug("padding-between-tensors-is-free", BETWEEN, "",
    "padding-between-two-payloads-first-byte",
    "padding-between-two-payloads-last-byte")
bug("padding-before-the-first-tensor-alone", BETWEEN, "        if tensor is tensors[0]:\n    " + BETWEEN,
    "padding-between-two-payloads-first-byte",
    "padding-between-two-payloads-last-byte")
bug("padding-between-neighbours-alone", BETWEEN, "        if payload_end == tensor.payload_begin or tensor is tensors[0] or tensors[tensors.index(tensor) - 1].weights:\n    " + BETWEEN,
    "padding-behind-two-empty-tensors")
bug("padding-behind-coded-tensors-is-free", BETWEEN, "        if tensor is tensors[0] or not tensors[tensors.index(tensor) - 1].chunk_size:\n    " + BETWEEN,
    "padding-behind-a-coded-payload")
PLANE_BITS = '        require_zero_after(read_exactly(file, plain_end - 1, 1), tensor.weights * part.W, "padding", plain_end - 1,\n                           "padding bits of the plain plane")\n'
bug("padding-bits-of-planes-are-free", PLANE_BITS, "",
    "padding-first-bit-of-a-plane-beside-constants",
    "padding-last-bit-of-a-plane-beside-constants")
bug("padding-bits-of-coded-planes-are-free", PLANE_BITS, "        if not part.q:\n            require_zero_after(read_exactly(file, plain_end - 1, 1), tensor.weights * part.W, \"padding\", 0, \"bits\")\n",
    "padding-first-bit-of-a-plane-beside-huffman",
    "padding-last-bit-of-a-plane-beside-huffman")
bug("padding-bits-of-uncoded-planes-are-free", PLANE_BITS, "        if part.q:\n            require_zero_after(read_exactly(file, plain_end - 1, 1), tensor.weights * part.W, \"padding\", 0, \"bits\")\n",
    "padding-first-bit-of-a-plane-beside-constants",
    "padding-last-bit-of-a-plane-beside-constants")
bug("padding-before-block-checksums-is-free", "        if part.b:\n            check_padding(file, plain_end, part.C)\n", "",
    "padding-before-block-checksums-first-byte",
    "padding-before-block-checksums-last-byte")
bug("padding-before-palettes-is-free", "        if part.m:\n            check_padding(file, part.C", "        if False:\n            check_padding(file, part.C",
    "padding-before-constants-first-byte",
    "padding-before-constants-last-byte")
bug("padding-before-constants-is-free", "        if part.m:\n            check_padding(file, part.C", "        if part.q:\n            check_padding(file, part.C",
    "padding-before-constants-first-byte",
    "padding-before-constants-last-byte")
bug("padding-before-palettes-of-records-is-free", "        if part.m:\n            check_padding(file, part.C", "        if part.m and not part.q:\n            check_padding(file, part.C",
    "padding-behind-the-plain-plane-first-byte",
    "padding-behind-the-plain-plane-last-byte")
bug("padding-behind-record-ends-is-free", "        if part.q:\n            check_padding(file, part.ends", "        if False:\n            check_padding(file, part.ends",
    "padding-behind-record-ends-first-byte",
    "padding-behind-record-ends-last-byte")
bug("padding-behind-empty-tensors-is-skipped", "        payload_end = tensor.payload_end\n        if tensor.weights == 0:\n            continue\n",
    "        payload_end = tensor.payload_end\n        if tensor.weights == 0:\n            break\n",
    "padding-behind-two-empty-tensors",
    also=[("    check_padding(file, payload_end, payload_end + 64)\n", "    check_padding(file, tensors[-1].payload_end if tensors else payload_end, header.file_length)\n")])
bug("guard-of-32-bytes", "    check_padding(file, payload_end, payload_end + 64)\n", "    check_padding(file, payload_end, payload_end + 32)\n",
    "padding-guard-last-byte",
    "padding-of-the-guard-of-a-file-without-tensors")
bug("guard-of-files-with-tensors", "    check_padding(file, payload_end, payload_end + 64)\n", "    if tensors:\n        check_padding(file, payload_end, payload_end + 64)\n",
    "padding-of-the-guard-of-a-file-without-tensors")
PALETTE_CRC = 'require(found == tensor.palette_checksum, "palette-crc"'
bug.several("palette-checksum-{}", PALETTE_CRC, [
    ("is-free", 'require(True, "palette-crc"',
     "palette-changed-without-its-checksum",
     "palette-checksum-of-the-first-palette-alone"),
    ("0-is-none", 'require(tensor.palette_checksum in (0, found), "palette-crc"',
     "palette-checksum-zero"),
    ("of-coded-tensors-alone", 'require(part.q == 0 or found == tensor.palette_checksum, "palette-crc"',
     "palette-checksum-of-the-first-palette-alone"),
    ("of-constants-alone", 'require(part.q > 0 or found == tensor.palette_checksum, "palette-crc"',
     "palette-checksum-wrong-by-a-bit",
     "palette-changed-without-its-checksum"),
    ("of-the-first-palette", 'require(tensor.palette_checksum in (found, zlib.crc32(data[:16])), "palette-crc"',
     "palette-checksum-of-the-first-palette-alone"),
])
ASCENDING = "palette[j] < palette[j + 1] for j in range(entries - 1)"
bug.several("palettes-{}", ASCENDING, [
    ("may-repeat", "palette[j] <= palette[j + 1] for j in range(entries - 1)",
     "palette-first-two-equal",
     "palette-of-a-palette-tensor-not-ascending"),
    ("ascend-but-at-the-begin", "palette[j] < palette[j + 1] for j in range(1, entries - 1)",
     "palette-first-two-equal",
     "palette-of-a-palette-tensor-not-ascending"),
    ("ascend-from-first-to-last", "palette[0] < palette[-1] for j in range(entries - 1)",
     "palette-two-exchanged",
     "palette-first-two-equal"),
    ("ascend-as-signed-bytes", "palette[j] ^ 128 < palette[j + 1] ^ 128 for j in range(entries - 1)",
     "palette-with-gaps",
     "mixed-forms-of-bf16-from-1"),
    ("in-any-order", "len(set(palette)) == entries for j in range(entries - 1)",
     "palette-two-exchanged"),
    ("ascend-for-huffman-alone", "palette[j] < palette[j + 1] or form == PALETTE for j in range(entries - 1)",
     "palette-of-a-palette-tensor-not-ascending"),
])
bug("palettes-ascend-by-1", ASCENDING, "palette[j] + 1 == palette[j + 1] for j in range(entries - 1)",
    "palette-with-gaps",
    "mixed-forms-of-bf16-from-1")
LAST = '        require(palette[-1] < 2**width, "palette-values"'
bug("coded-palettes-take-any-value", LAST, '        require(palette[-1] < 2**width or form != CONSTANT, "palette-values"',
    "palette-with-255-in-5-bits",
    "palette-with-32-in-5-bits")
bug("palettes-take-2-to-the-width", LAST, '        require(palette[-1] <= 2**width, "palette-values"',
    "palette-of-2-bits-with-a-value-too-great",
    "palette-with-32-in-5-bits")
bug("palettes-take-values-below-2-to-the-width-minus-1", LAST, '        require(palette[-1] < 2**width - 1, "palette-values"',
    "constants-of-1-weight",
    "constants-of-7-weights")
FILL = '        require_zero(data[16 * i + entries:16 * i + 16], "palette-values"'
bug("constants-go-on", FILL, '        require_zero(data[16 * i + entries:16 * i + 16] if form != CONSTANT else b"", "palette-values"',
    "constant-with-a-first-byte-behind-its-value",
    "constant-with-a-last-byte-behind-its-value")
bug("palettes-go-on-but-by-a-byte", FILL, '        require_zero(data[16 * i + entries:16 * i + entries + 1][:16 - entries], "palette-values"',
    "constant-with-a-last-byte-behind-its-value",
    "palette-of-2-bits-with-a-last-byte")
bug("palettes-go-on-but-at-the-end", FILL, '        require_zero(data[16 * i + entries:16 * i + 16][-1:], "palette-values"',
    "constant-with-a-first-byte-behind-its-value",
    "palette-of-2-bits-that-goes-on")
bug("coded-palettes-go-on", FILL, '        require_zero(data[16 * i + entries:16 * i + 16] if form == CONSTANT else b"", "palette-values"',
    "palette-of-2-bits-that-goes-on",
    "palette-of-2-bits-with-a-last-byte")
BLOCK = 'require(stated == found, "block-crc"'
bug.several("block-checksums-{}", BLOCK, [
    ("of-the-first-block-alone", 'require(stated == found or start, "block-crc"',
     "last-block-checksum-wrong-by-a-bit"),
    ("of-the-last-block-alone", 'require(stated == found or start + 65536 < part.P, "block-crc"',
     "block-checksum-wrong-by-a-bit",
     "block-checksum-zero"),
    ("without-the-middle", 'require(stated == found or start and start + 65536 < part.P, "block-crc"',
     "second-of-three-block-checksums-wrong",
     "second-of-three-block-checksums-wrong-beside-constants"),
    ("0-are-none", 'require(stated in (0, found), "block-crc"',
     "block-checksum-zero"),
    ("beside-constants-are-free", 'require(stated == found or part.m, "block-crc"',
     "first-of-three-block-checksums-wrong-beside-constants",
     "second-of-three-block-checksums-wrong-beside-constants"),
    ("in-16-bits", 'require((stated ^ found) & 0xFFFF == 0, "block-crc"',
     "block-checksum-wrong-by-a-bit"),
])
bug("blocks-in-the-opposite-order", "part.C + start // 65536 * 4, 4))", "part.C + (part.b - 1 - start // 65536) * 4, 4))",
    "block-checksums-exchanged")
bug("checksums-of-one-block", "part.C + start // 65536 * 4, 4))", "part.C, 4))",
    "raw-tensor-of-65537-bytes",
    "constants-of-58255-weights")
RECORD_END = 'require(previous_end < end <= total, "record-ends"'
bug.several("record-ends-{}", RECORD_END, [
    ("may-be-equal", 'require(previous_end <= end <= total, "record-ends"',
     "record-end-of-a-second-field-equal-to-the-first",
     "record-end-of-a-second-chunk-equal-to-the-one-before"),
    ("may-start-with-0", 'require(previous_end < end <= total or number == 0, "record-ends"',
     "first-record-end-0"),
    ("ascend-within-a-chunk", 'require(previous_end < end <= total or i == 0, "record-ends"',
     "record-end-of-a-second-chunk-equal-to-the-one-before",
     "record-end-equal-to-the-one-before"),
    ("ascend-between-chunks", 'require(previous_end < end <= total or i > 0, "record-ends"',
     "record-end-of-a-second-field-equal-to-the-first"),
    ("in-16-bits", 'end &= 0xFFFF\n            require(previous_end < end <= total, "record-ends"',
     "last-record-end-that-wraps-2-to-the-32-in-bytes"),
])
bug("records-start-at-a-multiple-of-256", "offset = part.R + 16 * previous_end", "offset = align(part.R, 256) + 16 * previous_end",
    "two-coded-fields-of-1-weight",
    "two-coded-fields-of-7-weights")

# 4.1 Types
FIELDS_OF = {
    1: "BOOL", 2: "U8", 3: "I8", 4: "F8_E5M2", 5: "F8_E4M3", 6: "F8_E8M0", 7: "F8_E4M3FNUZ", 8: "F8_E5M2FNUZ", 9: "F4", 12: "I16", 13: "U16",
    14: "F16", 15: "BF16", 16: "I32", 17: "U32", 18: "F32", 19: "I64", 20: "U64", 21: "F64", 22: "C64"}
for _code, _name in FIELDS_OF.items():
    _id = _name.lower().replace("_", "-")
    # The two lowest fields exchanged, or the only one a bit lower.
    bug(f"fields-of-{_id}-in-another-order", "DTYPE_NAMES = {name", f"_n, _b, _w, _f = DTYPES[{_code}]\n"
        f"DTYPES[{_code}] = (_n, _b, _w, _f[:-2] + _f[:-3:-1] if len(_f) > 1 else ((6, 0),))\nDTYPE_NAMES = {{name",
        f"every-field-of-{_id}-in-huffman")
for _one, _other in ((1, 2), (2, 3), (4, 8), (5, 7), (10, 11), (12, 13), (16, 17), (19, 20), (14, 15), (21, 22), (18, 17)):
    bug(f"codes-{_one}-and-{_other}-exchanged", "DTYPE_NAMES = {name", f"DTYPES[{_one}], DTYPES[{_other}] = DTYPES[{_other}], DTYPES[{_one}]\nDTYPE_NAMES = {{name",
        "raw-tensors-of-every-dtype-with-source")
bug("f4-is-a-byte", "DTYPE_NAMES = {name", "DTYPES[9] = ('F4', 8, 1, NIBBLES[6:])\nDTYPE_NAMES = {name",
    "one-element-of-f4-in-a-byte")
bug("f6-is-a-byte", "DTYPE_NAMES = {name", "DTYPES[10] = ('F6_E2M3', 8, 1, ())\nDTYPE_NAMES = {name",
    "one-element-of-f6-in-a-byte")
bug("c64-is-two-weights", "DTYPE_NAMES = {name", "DTYPES[22] = ('C64', 64, 4, DTYPES[18][3])\nDTYPE_NAMES = {name",
    "every-field-of-c64-verbatim",
    "every-field-of-c64-constant")
bug.several("dtype-{}", 'require(code in DTYPES, "dtype-unknown"', [
    ("0-is-bool", 'code = code or 1\n    require(code in DTYPES, "dtype-unknown"',
     "dtype-code-0"),
])
bug("no-dimensions-are-no-elements", "    elements = 0 if 0 in dimensions else 1\n", "    elements = 0 if 0 in dimensions or not dimensions else 1\n",
    "coded-tensor-without-dimensions",
    "tensor-without-dimensions")
bug("dimensions-of-0-are-1", "            elements *= dimension\n", "            elements *= dimension or 1\n",
    "only-empty-tensors",
    "empty-tensor-whose-other-dimensions-overflow", also=[("    elements = 0 if 0 in dimensions else 1\n", "    elements = 1\n")])
bug("limit-before-0", "            elements *= dimension\n", "            elements *= dimension\n            require(elements <= 2**56, \"limit-elements\", at, \"\", 0, 0)\n",
    "empty-tensor-whose-other-dimensions-overflow",
    also=[("    elements = 0 if 0 in dimensions else 1\n", "    elements = 1\n")])
bug("elements-in-doubles", "            elements *= dimension\n", "            elements = int(float(elements) * float(dimension))\n",
    "sixty-four-greatest-dimensions")
bug("dimensions-in-32-bits", "            elements *= dimension\n", "            elements *= dimension & 0xFFFFFFFF\n",
    "dimensions-whose-product-wraps-to-1-in-32-bits",
    "2-to-the-56-plus-1-elements")
bug("elements-wrap-in-32-bits", "            elements *= dimension\n", "            elements = elements * dimension % 2**32\n",
    "dimensions-whose-product-wraps-to-1",
    "2-to-the-56-plus-1-elements")
TENSOR_BITS = 'require(elements * bits % 8 == 0, "tensor-bits"'
bug("half-bytes-are-rounded-down", TENSOR_BITS, 'require(True, "tensor-bits"',
    "one-element-of-f4-in-no-byte",
    "three-elements-of-f4-in-a-byte")
bug("half-bytes-are-rounded-up", TENSOR_BITS, 'require(True, "tensor-bits"',
    "one-element-of-f4-in-a-byte",
    "one-element-of-f6-in-a-byte", also=[("return dtype, fields, weight_bytes, elements * bits // 8", "return dtype, fields, weight_bytes, (elements * bits + 7) // 8")])
bug("half-bytes-of-f6-are-fine", TENSOR_BITS, 'require(elements * bits % 8 == 0 or bits == 6, "tensor-bits"',
    "f6-without-dimensions",
    "one-element-of-f6-in-a-byte", also=[("return dtype, fields, weight_bytes, elements * bits // 8", "return dtype, fields, weight_bytes, (elements * bits + 7) // 8")])
bug("half-bytes-of-f4-are-fine", TENSOR_BITS, 'require(elements * bits % 8 == 0 or bits == 4, "tensor-bits"',
    "three-elements-of-f4-in-2-bytes",
    "one-element-of-f4-in-a-byte", also=[("return dtype, fields, weight_bytes, elements * bits // 8", "return dtype, fields, weight_bytes, (elements * bits + 7) // 8")])

# 4.2 Forms
FORM = 'require(form <= CONSTANT, "form-unknown"'
bug.several("forms-{}", "    forms = tuple(number >> 4 * f & 15 for f in range(8))\n", [
    ("in-2-bits", "    forms = tuple(number >> 4 * f & 3 for f in range(8))\n",
     "raw-tensor-with-form-4",
     "raw-tensor-with-form-8"),
    ("in-3-bits", "    forms = tuple(number >> 4 * f & 7 for f in range(8))\n",
     "raw-tensor-with-form-8"),
    ("of-4-fields", "    forms = tuple(number >> 4 * f & 15 for f in range(4)) + (0,) * 4\n",
     "seventh-field-of-f32-constant",
     "eighth-field-with-form-4"),
    ("of-7-fields", "    forms = tuple(number >> 4 * f & 15 for f in range(7)) + (0,)\n",
     "eighth-field-of-bf16-constant",
     "eighth-field-with-form-4"),
    ("of-the-fields-of-the-type", "    forms = tuple(number >> 4 * f & 15 if f < len(fields) else 0 for f in range(8))\n",
     "third-field-of-u8-constant",
     "first-field-of-f6-constant"),
])
bug("form-4-is-plain", FORM, 'require(form <= 4, "form-unknown"',
    "raw-tensor-with-form-4",
    "eighth-field-with-form-4", also=[("    return forms[:len(fields)]\n", "    return tuple(form % 4 for form in forms[:len(fields)])\n")])
MISSING = 'require(form == PLAIN or f < len(fields), "form-field"'
bug("one-field-more-may-have-a-form", MISSING, 'require(form == PLAIN or f <= len(fields), "form-field"',
    "third-field-of-u8-constant",
    "first-field-of-f6-constant",
    also=[("            high, low = fields[f]\n", "            high, low = (fields + ((7, 0),))[f]\n")])
bug("missing-fields-may-be-constant", MISSING, 'require(form in (PLAIN, CONSTANT) or f < len(fields), "form-field"',
    "third-field-of-u8-constant",
    "first-field-of-f6-constant")
NARROW = 'require(high - low + 1 > 4, "form-field"'
bug("fields-of-4-bits-take-the-form-palette", NARROW, 'require(high - low + 1 > 3, "form-field"',
    "form-palette-of-4-bits-of-f8-e4m3",
    "form-palette-of-4-bits")
bug("fields-of-5-bits-take-no-form-palette", NARROW, 'require(high - low + 1 > 5, "form-field"',
    "wide-fields-of-f8-e5m2-in-palette",
    "wide-fields-of-f8-e5m2fnuz-in-palette")
bug("fields-of-7-bits-take-no-form-palette", NARROW, 'require(high - low + 1 == 8 or high - low + 1 == 5, "form-field"',
    "wide-fields-of-f8-e8m0-in-palette")
EMPTY = 'require(number == 0 or length > 0, "form-empty"'
bug("empty-tensors-take-forms", EMPTY, 'require(True, "form-empty"',
    "coded-tensor-without-weights",
    "constant-tensor-without-weights")
bug("empty-tensors-may-be-constant", EMPTY, 'require(length > 0 or HUFFMAN not in forms and PALETTE not in forms, "form-empty"',
    "constant-tensor-without-weights")
bug("empty-tensors-may-be-coded", EMPTY, 'require(length > 0 or CONSTANT not in forms, "form-empty"',
    "coded-tensor-without-weights")
CHUNK = 'require(12 <= chunk_size <= 16, "chunk-size"'
bug.several("chunk-sizes-{}", CHUNK, [
    ("from-11-on", 'require(11 <= chunk_size <= 16, "chunk-size"',
     "chunk-size-11",
     "palette-tensor-with-chunk-size-11"),
    ("up-to-17", 'require(12 <= chunk_size <= 17, "chunk-size"',
     "chunk-size-17"),
    ("from-13-on", 'require(13 <= chunk_size <= 16, "chunk-size"',
     "palette-tensor-of-1-weight",
     "huffman-tensor-of-1-weight"),
    ("up-to-15", 'require(12 <= chunk_size <= 15, "chunk-size"',
     "tensors-with-different-chunk-sizes",
     "tensors-of-all-chunk-sizes"),
    ("of-any-number-up-to-16", 'require(chunk_size <= 16, "chunk-size"',
     "chunk-size-11",
     "palette-tensor-with-chunk-size-11"),
    ("from-12-on", 'require(12 <= chunk_size, "chunk-size"',
     "chunk-size-32",
     "chunk-size-17"),
])
NO_CHUNK = 'require(chunk_size == 0, "chunk-size"'
bug.several("chunk-sizes-of-{}-are-free", NO_CHUNK, [
    ("uncoded-tensors", 'require(True, "chunk-size"',
     "raw-tensor-with-a-chunk-size",
     "empty-tensor-with-a-chunk-size"),
    ("raw-tensors", 'require(chunk_size == 0 or number == 0, "chunk-size"',
     "raw-tensor-with-a-chunk-size",
     "empty-tensor-with-a-chunk-size"),
    ("constant-tensors", 'require(chunk_size == 0 or number, "chunk-size"',
     "constant-tensor-with-a-chunk-size"),
    ("empty-tensors", 'require(chunk_size == 0 or length == 0, "chunk-size"',
     "empty-tensor-with-a-chunk-size"),
])
bug("chunk-sizes-of-uncoded-tensors-may-be-12-to-16", NO_CHUNK, 'require(chunk_size in (0, 12, 13, 14, 15, 16), "chunk-size"',
    "raw-tensor-with-a-chunk-size",
    "empty-tensor-with-a-chunk-size")
NO_PALETTE = 'require(number or palette_checksum == 0, "palette-crc"'
bug.several("palette-checksums-{}", NO_PALETTE, [
    ("without-palettes-are-free", 'require(True, "palette-crc"',
     "raw-tensor-with-a-palette-checksum",
     "empty-tensor-with-a-palette-checksum"),
    ("of-empty-tensors-are-free", 'require(number or palette_checksum == 0 or length == 0, "palette-crc"',
     "empty-tensor-with-a-palette-checksum"),
    ("of-raw-tensors-in-24-bits", 'require(number or palette_checksum & 0xFFFFFF == 0, "palette-crc"',
     "raw-tensor-with-a-last-byte-of-a-palette-checksum"),
])
bug("planes-in-the-opposite-order-of-bits", "    plain_bits = [bit for bit in range(8 * tensor.weight_bytes) if not coded >> bit & 1]\n",
    "    plain_bits = [bit for bit in range(8 * tensor.weight_bytes) if not coded >> bit & 1][::-1]\n",
    "huffman-tensor-of-1-weight",
    "constants-of-7-weights")
bug("sign-below-the-mantissa", "    plain_bits = [bit for bit in range(8 * tensor.weight_bytes) if not coded >> bit & 1]\n",
    "    plain_bits = [bit for bit in range(8 * tensor.weight_bytes) if not coded >> bit & 1]\n    plain_bits = plain_bits[-1:] + plain_bits[:-1]\n",
    "huffman-tensor-of-1-weight",
    "constants-of-7-weights")
bug("masks-in-32-bits", "if not coded >> bit & 1]\n    return", "if not (coded & 0xFFFFFFFF) >> bit & 1][:8 * tensor.weight_bytes - sum(high - low + 1 for _, (high, low) in not_plain(tensor))]\n    return",
    "every-field-of-c64-constant")
