"""Bugs of decoders: bounds that fit where they should not. Lengths, ends, widths and checksums of sections 3 to 5."""
from planted import DECODE, READER, Bugs

bug = Bugs("decode", DECODE)
text = Bugs("decode", READER)
ALL = [bug, text]

bug("header-checksum-without-the-reserved-bytes",
    'require(found == zlib.crc32(head[:60]), "file-header-crc"',
    'require(found in (zlib.crc32(head[:60]), zlib.crc32(head[:57] + bytes(3))), "file-header-crc"',
    equivalent="the two checksums differ only where a reserved byte is not zero, which file-reserved rejects")
bug("tensor-count-is-signed",
    "require(header.tensor_count <= 2**20,",
    "require(header.tensor_count <= 2**20 or header.tensor_count >> 31,",
    equivalent="the entries of 2^31 tensors need a directory above its limit: dir-length")
bug("extension-length-is-signed",
    "    _, _, directory_length, source_length, _, _, extension_length, _, kind = header\n",
    "    header = header._replace(extension_length=header.extension_length - "
    "(header.extension_length >> 31 << 32))\n"
    "    _, _, directory_length, source_length, _, _, extension_length, _, kind = header\n",
    equivalent="a length of 2^31 or more becomes negative, and so many bytes are not in the file: file-truncated")
bug("directory-length-wraps-in-32-bits",
    "    expected = align(names_at + name_end, 8)\n",
    "    expected = align(names_at + name_end, 8) % 2**32\n",
    equivalent="names of almost 2^32 bytes go on behind the directory, where more than one is empty: name-duplicate")
bug("items-aligned-in-the-file",
    "        position = align(contents_end, 8)\n",
    "        position = align(at + contents_end, 8) - at\n",
    "items-behind-a-source-of-69-bytes")
bug("block-checksums-of-coded-tensors-too",
    "    b = (P + 65535) // 65536 if q == 0 and P > 65536 else 0\n",
    "    b = (P + 65535) // 65536 if P > 65536 else 0\n",
    "huffman-plane-of-65792-bytes",
    "padding-behind-a-coded-plane-of-65793-bytes")
bug("block-checksums-one-too-many",
    "    b = (P + 65535) // 65536 if q == 0 and P > 65536 else 0\n",
    "    b = P // 65536 + 1 if q == 0 and P > 65536 else 0\n",
    "raw-tensor-of-131072-bytes")
bug("payload-ends-of-empty-tensors-are-0-or-right",
    '        require(end == tensor.payload_begin, "payload-end"',
    '        require(end in (0, tensor.payload_begin), "payload-end"',
    "empty-tensor-with-a-payload-end-of-0-before-a-tensor-from-0-on")
bug("payload-ends-may-be-early",
    '        require(end == expected, "payload-end"',
    '        require(end <= expected, "payload-end"',
    "raw-payload-end-four-bytes-early-in-zeros")
bug("payload-ends-in-32-bits",
    '        require(end == expected, "payload-end"',
    '        require(end & 0xFFFFFFFF == expected & 0xFFFFFFFF, "payload-end"',
    equivalent="what follows begins behind 2^32, where the file has ended: file-length, or file-truncated")
bug("room-for-records-may-be-a-multiple-of-8",
    'require(least <= records <= most and records % 16 == 0, "payload-end"',
    'require(least <= records <= most and records % 8 == 0, "payload-end"',
    "coded-payload-end-eight-bytes-late")
bug("room-for-records-may-be-too-great",
    'require(least <= records <= most and records % 16 == 0, "payload-end"',
    'require(least <= records and records % 16 == 0, "payload-end"',
    equivalent="each record is at most as long as the verbatim one, and the last ends with the payload: "
    "record-too-long, record-ends")
bug("room-for-records-may-be-too-small",
    'require(least <= records <= most and records % 16 == 0, "payload-end"',
    'require(records <= most and records % 16 == 0, "payload-end"',
    equivalent="record ends ascend from 1 on, so that records for which there is no room do not end in the "
    "payload: record-ends")
bug("room-for-records-for-one-field",
    'require(least <= records <= most and records % 16 == 0, "payload-end"',
    'require(16 * part.c <= records <= most and records % 16 == 0, "payload-end"',
    equivalent="record ends ascend from 1 on, so that records for which there is no room do not end in the "
    "payload: record-ends")
bug("room-for-records-for-one-chunk",
    'require(least <= records <= most and records % 16 == 0, "payload-end"',
    'require(16 * part.q <= records <= most and records % 16 == 0, "payload-end"',
    equivalent="record ends ascend from 1 on, so that records for which there is no room do not end in the "
    "payload: record-ends")
bug("room-for-records-is-above-the-least",
    'require(least <= records <= most and records % 16 == 0, "payload-end"',
    'require(least < records <= most and records % 16 == 0, "payload-end"',
    equivalent="no record has 16 bytes, because a chunk has a weight")
bug("last-chunk-is-full",
    "    rest = tensor.weights - (part.c - 1) * size\n",
    "    rest = size\n",
    equivalent="each record is at most as long as the verbatim one, and the last ends with the payload: "
    "record-too-long, record-ends")
bug("records-of-any-field-are-8-bits-wide",
    "    most = sum((part.c - 1) * greatest_record(size, high - low + 1) + greatest_record(rest, high - low + 1)\n",
    "    most = sum((part.c - 1) * greatest_record(size, 8) + greatest_record(rest, 8)\n",
    "huffman-record-of-3-bits-longer-than-verbatim",
    also=[('require(length <= greatest_record(n, width), "record-too-long"', 'require(length <= greatest_record(n, 8), "record-too-long"')])
bug("records-may-be-16-bytes-longer",
    'require(length <= greatest_record(n, width), "record-too-long"',
    'require(length <= greatest_record(n, width) + 16, "record-too-long"',
    "huffman-record-16-bytes-longer-than-verbatim")
bug("records-of-8-bits-for-each-value",
    'require(length <= greatest_record(n, width), "record-too-long"',
    'require(length <= greatest_record(n, 8), "record-too-long"',
    "huffman-record-of-3-bits-longer-than-verbatim")
bug("palettes-ascend-but-at-the-end",
    "palette[j] < palette[j + 1] for j in range(entries - 1)",
    "palette[j] < palette[j + 1] for j in range(entries - 2)",
    "palette-with-last-two-equal-unused",
    "palette-of-a-palette-tensor-with-last-two-equal-unused",
    "palette-with-the-last-below-the-one-before-unused")
bug("constants-take-any-value",
    '        require(palette[-1] < 2**width, "palette-values"',
    '        require(palette[-1] < 2**width or form == CONSTANT, "palette-values"',
    "constant-of-11-in-3-bits-below-a-bit-that-is-set")
bug("palettes-go-on-in-the-middle",
    '        require_zero(data[16 * i + entries:16 * i + 16], "palette-values"',
    "        fill = data[16 * i + entries:16 * i + 16]\n"
    '        require_zero(fill[:1] + fill[-1:], "palette-values"',
    "constant-with-a-middle-byte-behind-its-value",
    "palette-of-2-bits-with-a-byte-in-the-middle-of-its-zeros",
    "palette-of-3-bits-with-a-byte-in-the-middle-of-its-zeros")
bug("record-ends-may-leave-the-payload",
    'require(previous_end < end <= total, "record-ends"',
    'require(previous_end < end, "record-ends"',
    equivalent="ends ascend, and the last one is that of the payload")
bug("f6-e2m3-has-fields",
    "DTYPE_NAMES = {name",
    "DTYPES[10] = ('F6_E2M3', 6, 1, NIBBLES[6:])\n"
    "DTYPE_NAMES = {name",
    "f6-e2m3-with-the-first-field-of-u8")
bug("f6-e3m2-has-fields",
    "DTYPE_NAMES = {name",
    "DTYPES[11] = ('F6_E3M2', 6, 1, NIBBLES[6:])\n"
    "DTYPE_NAMES = {name",
    "f6-e3m2-with-the-first-field-of-u8")
bug("dtype-23-is-known",
    'require(code in DTYPES, "dtype-unknown"',
    "code = min(code, 22) if code < 24 else code\n"
    '    require(code in DTYPES, "dtype-unknown"',
    "dtype-code-23-of-c64")
bug("dtype-in-5-bits",
    'require(code in DTYPES, "dtype-unknown"',
    "code &= 31\n"
    '    require(code in DTYPES, "dtype-unknown"',
    "dtype-code-47-of-bf16",
    "dtype-code-79-of-bf16",
    "dtype-code-143-of-bf16")
bug("chunk-sizes-in-5-bits",
    'require(12 <= chunk_size <= 16, "chunk-size"',
    'require(12 <= chunk_size & 31 <= 16, "chunk-size"',
    "chunk-size-44")
bug("chunk-sizes-0-is-15",
    'require(12 <= chunk_size <= 16, "chunk-size"',
    "chunk_size = chunk_size or 15\n"
    '        require(12 <= chunk_size <= 16, "chunk-size"',
    "chunk-size-0-with-a-record-for-each-weight")
bug("chunk-sizes-of-large-raw-tensors-are-free",
    'require(chunk_size == 0, "chunk-size"',
    'require(chunk_size == 0 or length > 65535, "chunk-size"',
    "large-raw-tensor-with-a-chunk-size")
bug("record-checksums-of-palette-records-are-free",
    'require(stated == found, "record-crc"',
    'require(stated == found or kind == PALETTE, "record-crc"',
    "palette-record-checksum-wrong-by-a-bit")
bug("records-may-be-longer-if-verbatim",
    '    require(len(record) == align(contents_end, 16), "record-length"',
    "    require(len(record) == align(contents_end, 16) or kind == VERBATIM and len(record) > "
    'contents_end, "record-length"',
    equivalent="a record longer than the verbatim one is rejected: record-too-long")
bug("records-of-contents-that-wrap-in-16-bits",
    '    require(len(record) == align(contents_end, 16), "record-length"',
    '    require(len(record) % 65536 == align(contents_end, 16) % 65536, "record-length"',
    "patch-count-of-21845-in-a-small-record-whose-patches-have-almost-2-to-the-16-bytes")
bug("records-need-no-lane-ends",
    'require(len(record) >= 80, "record-length"',
    'record = record.ljust(80, b"\\0")\n'
    '        require(len(record) >= 80, "record-length"',
    "huffman-record-with-0-lane-ends-of-empty-lanes",
    "huffman-record-with-24-lane-ends-of-empty-lanes")
bug("patch-bytes-in-16-bits",
    "    contents_end = patches_at + 3 * patch_count\n",
    "    contents_end = patches_at + (3 * patch_count & 0xFFFF)\n",
    equivalent="patches that the length does not cover lie in the padding, whose zeros are position 0 again: patch-order")
bug("lanes-go-on-with-ones",
    '        stream = int.from_bytes(record[80 + begin:80 + end], "little")\n',
    '        stream = int.from_bytes(record[80 + begin:80 + end], "little")\n'
    "        stream |= -1 << 8 * (end - begin)\n",
    equivalent="a code that reaches behind the end of its lane takes more bits than the lane has: lane-overrun",
    also=[('require(stream >> used == 0, "lane-padding"', 'require(stream >> used & ((1 << max(0, 8 * (end - begin) - used)) - 1) == 0, "lane-padding"')])
bug("lanes-go-on-in-the-record",
    '        stream = int.from_bytes(record[80 + begin:80 + end], "little")\n',
    '        stream = int.from_bytes(record[80 + begin:], "little")\n',
    equivalent="a code that reaches behind the end of its lane takes more bits than the lane has: lane-overrun",
    also=[('require(stream >> used == 0, "lane-padding"', 'require(stream >> used & ((1 << max(0, 8 * (end - begin) - used)) - 1) == 0, "lane-padding"')])
bug("patch-positions-wrap",
    'require(position < n, "patch-position"',
    "position %= n\n"
    '        require(position < n, "patch-position"',
    "huffman-patch-300-behind-its-place-in-300",
    "palette-patch-300-behind-its-place-in-300")
bug("patch-values-of-4-bits-at-least",
    'require(value < 2**width, "patch-value"',
    'require(value < max(16, 2**width), "patch-value"',
    "patch-of-11-in-3-bits-below-a-bit-that-is-set")
bug("extensions-of-files-without-tensors-are-free",
    "    read_extensions(file, header)\n",
    "    if tensors:\n"
    "        read_extensions(file, header)\n",
    "critical-extension-without-tensors")
bug("json-takes-other-members",
    'need(fields.keys() == {"dtype", "shape", "data_offsets"},',
    'need(len(fields) == 3 and fields.setdefault("dtype", "BF16") and fields.setdefault("shape", []) '
    'is not None and fields.setdefault("data_offsets", [0, 0]),',
    "json-with-another-member-of-5-letters-for-shape")
bug("json-without-a-dtype",
    'need(fields.keys() == {"dtype", "shape", "data_offsets"},',
    'need(fields.setdefault("dtype", "BF16") and fields.keys() == {"dtype", "shape", "data_offsets"},',
    "json-without-the-dtype-of-a-tensor-of-bf16")
bug("json-integers-up-to-2-to-the-64",
    "    return value if value < 2**64",
    "    return value if value <= 2**64",
    "json-with-offsets-of-2-to-the-64-for-0",
    also=[("need(begin == expected_begin,", "need(begin % 2**64 == expected_begin,")])
text("json-in-any-word",
    '        for word, value in ((b"null", None), (b"true", True), (b"false", False)):\n'
    "            if self.data[self.at:self.at + len(word)] == word:\n",
    '        for word, value in ((b"null", None), (b"true", True), (b"false", False)):\n'
    "            if self.data[self.at:self.at + 1] == word[:1]:\n",
    "json-with-metadata-as-null-of-another-last-letter")
text("json-numbers-overflow-where-they-get-less",
    "            if value >= 2**64:\n"
    '                raise ValueError("2^64 or more")\n',
    "            if value % 2**64 < value // 10 % 2**64:\n"
    '                raise ValueError("2^64 or more")\n'
    "            value %= 2**64\n",
    "json-with-a-dimension-of-2-to-the-64-more-that-grows-with-each-digit")
text("json-hexadecimal-with-slashes",
    "            if 0x30 <= digit <= 0x39:\n",
    "            if 0x2F <= digit <= 0x39:\n",
    "json-with-a-slash-behind-a-digit-in-an-escape")

# Counts in 16 bits.
bug("tensors-in-16-bits",
    "    _, _, directory_length, source_length, _, _, extension_length, _, kind = header\n",
    "    header = header._replace(tensor_count=header.tensor_count & 0xFFFF)\n"
    "    _, _, directory_length, source_length, _, _, extension_length, _, kind = header\n",
    "65537-tensors")
bug("dims-ends-in-16-bits",
    "        rank = dims_end - previous_dims_end\n",
    "        dims_end &= 0xFFFF\n        rank = dims_end - previous_dims_end\n",
    "65537-tensors")
bug("by-name-in-16-bits-where-there-are-more",
    "        order.append(by_name)\n",
    "        order.append(by_name & 0xFFFF if count > 65536 else by_name)\n",
    "65537-tensors")
bug("sources-of-1-mib",
    "    source = read_exactly(file, at, header.source_length)\n",
    '    require(header.source_length <= 2**20, "limit-source", 32, "source length", header.source_length, "2^20")\n'
    "    source = read_exactly(file, at, header.source_length)\n",
    "65537-tensors")
