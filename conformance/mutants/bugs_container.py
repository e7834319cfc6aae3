"""Bugs of decoders: file header, directory and extensions (sections 3.1, 3.2 and 3.4)."""
from planted import DECODE, Bugs

bug = Bugs("decode", DECODE)
ALL = [bug]

bug("packs-numbers-from-the-highest-bit",
    'eight = int.from_bytes(data[at:at + w], "little")',
    "eight = int.from_bytes(bytes(int(f'{byte:08b}'[::-1], 2) for byte in data[at:at + w]), \"little\")",
    "verbatim-records-of-5-bits",
    "two-coded-fields-of-9-weights",
    "constants-of-7-weights")
bug("allows-equal-names",
    '            require(name != previous_name, "name-duplicate", at, "name", name, "a name that occurs once")\n'
    "            require(name > previous_name,",
    "            require(name >= previous_name,",
    "two-tensors-of-one-name",
    "two-tensors-without-a-name")
bug("small-planes-have-block-checksums",
    "if q == 0 and P > 65536 else 0",
    "if q == 0 else 0",
    "raw-payloads-around-multiples-of-16",
    "raw-tensor-of-65536-bytes")
bug("a-full-block-has-a-checksum",
    "if q == 0 and P > 65536 else 0",
    "if q == 0 and P >= 65536 else 0",
    "raw-tensor-of-65536-bytes",
    "constants-of-58254-weights")
bug("alignment-of-the-plane-not-the-tensor",
    "G = align(C + 4 * b, alignment(tensor.length))",
    "G = align(C + 4 * b, alignment(P))",
    "huffman-chunks-of-2-to-the-15")
bug("no-crc-check",
    "    if not holds:\n",
    '    if not holds and not rule.endswith("-crc"):\n',
    "header-checksum-wrong-by-a-bit",
    "directory-checksum-wrong-by-a-bit",
    "source-checksum-wrong-by-a-bit",
    "extension-checksum-wrong-by-a-bit",
    "block-checksum-wrong-by-a-bit",
    "palette-checksum-wrong-by-a-bit",
    "record-checksum-wrong-by-a-bit",
    "tensor-checksum-of-a-huffman-tensor-wrong")
bug("accepts-trailing-bytes",
    "    if not holds:\n",
    '    if not holds and rule != "file-trailing":\n',
    "one-zero-byte-behind-the-file",
    "file-behind-the-file")
bug("ignores-all-reserved-bytes",
    "    if data.count(0) != len(data):\n",
    "    if False:\n",
    "header-reserved-byte-57",
    "verbatim-record-padding-last-byte",
    "directory-padding-last-byte")
bug("ignores-padding-bits",
    "    if bits % 8:\n",
    "    if False:\n",
    "padding-first-bit-of-a-plane-beside-huffman",
    "verbatim-record-of-7-bits-last-padding-bit")
bug("critical-extensions-are-ignored",
    'require(kind < 2**31, "extension-unknown"',
    'require(True, "extension-unknown"',
    "critical-extension-of-kind-5",
    "critical-extension-behind-others")
bug("every-extension-is-critical",
    'require(kind < 2**31, "extension-unknown"',
    'require(False, "extension-unknown"',
    "extension-for-private-use",
    "extensions-without-tensors")
bug("only-the-first-extension-counts",
    "        position = align(contents_end, 8)\n",
    "        position = total\n",
    "critical-extension-behind-others")
bug("empty-tensors-are-aligned",
    "begin = align(payload_end, alignment(length)) if length else payload_end",
    "begin = align(payload_end, alignment(length))",
    "empty-tensors",
    "empty-tensor-aligned-to-16")
bug("minor-version-must-be-0",
    "    require(major_version == 1,",
    '    require(major_version == 1 and head[10:12] == b"\\0\\0",',
    "minor-version-1")

# 3.1 File header
MAGIC_CHECK = 'require(head[:8] == MAGIC[:len(head)], "file-magic"'
bug("magic-without-its-first-byte", MAGIC_CHECK, 'require(head[1:8] == MAGIC[1:len(head)], "file-magic"',
    "magic-with-a-wrong-first-byte")
bug("magic-of-7-bytes", MAGIC_CHECK, 'require(head[:7] == MAGIC[:7][:len(head)], "file-magic"',
    "magic-with-a-wrong-last-byte")
bug("magic-of-4-bytes", MAGIC_CHECK, 'require(head[:4] == MAGIC[:4][:len(head)], "file-magic"',
    "magic-with-a-wrong-last-byte")
bug("magic-without-the-high-bit", MAGIC_CHECK,
    'require(bytes(byte & 127 for byte in head[:8]) == bytes(byte & 127 for byte in MAGIC[:len(head)]), "file-magic"',
    "magic-with-a-wrong-first-byte")
bug("magic-in-any-case", MAGIC_CHECK, 'require(head[:8].upper() == MAGIC[:len(head)].upper(), "file-magic"',
    "magic-of-another-case")
bug("version-of-one-byte", 'struct.unpack_from("<H", head, 8)', 'struct.unpack_from("<B", head, 8)',
    "major-version-257",
    "major-version-513")
bug("version-is-odd", "require(major_version == 1,", "require(major_version & 1,",
    "major-version-65535")
bug("version-is-at-least-1", "require(major_version == 1,", "require(major_version >= 1,",
    "major-version-2",
    "major-version-256")
bug("version-is-at-most-1", "require(major_version == 1,", "require(major_version <= 1,",
    "major-version-0")
bug("version-with-the-minor-one", "require(major_version == 1,", 'require(struct.unpack_from("<I", head, 8)[0] == 1,',
    "minor-version-1",
    "minor-version-65535")
HEADER_CRC = 'require(found == zlib.crc32(head[:60]), "file-header-crc"'
bug("header-checksum-in-16-bits", HEADER_CRC, 'require((found ^ zlib.crc32(head[:60])) & 0xFFFF == 0, "file-header-crc"',
    "header-checksum-wrong-by-a-bit")
bug("header-checksum-in-its-high-bits", HEADER_CRC, 'require((found ^ zlib.crc32(head[:60])) >> 16 == 0, "file-header-crc"',
    "header-checksum-wrong-in-its-least-bit")
bug("header-checksum-0-is-none", HEADER_CRC, 'require(found == 0 or found == zlib.crc32(head[:60]), "file-header-crc"',
    "header-checksum-zero")
bug("header-checksum-in-either-order", HEADER_CRC,
    'require(found in (zlib.crc32(head[:60]), int.from_bytes(head[60:], "big") and zlib.crc32(head[:60])) or '
    'int.from_bytes(head[60:], "big") == zlib.crc32(head[:60]), "file-header-crc"',
    "header-checksum-big-endian",
    "header-checksum-zero")
bug.several("reserved-header-bytes-{}", 'require_zero(head[57:60], "file-reserved"', [
    ("without-the-first", 'require_zero(head[58:60], "file-reserved"',
     "header-reserved-byte-57"),
    ("without-the-last", 'require_zero(head[57:59], "file-reserved"',
     "header-reserved-byte-59"),
    ("without-the-middle", 'require_zero(head[57:58] + head[59:60], "file-reserved"',
     "header-reserved-byte-58"),
])
bug("tensor-count-in-16-bits", "    count, length = header.tensor_count, header.directory_length\n",
    "    count, length = header.tensor_count & 0xFFFF, header.directory_length\n",
    "tensor-count-of-2-to-the-20-plus-1",
    also=[("require(header.tensor_count <= 2**20,", "require(True,")])
LENGTHS = "    _, _, directory_length, source_length, _, _, extension_length, _, kind = header\n"
for _field, _case in (("directory_length", "directory-length-above-2-to-the-32"), ("source_length", "source-length-above-2-to-the-32"),
                      ("file_length", "stated-length-of-2-to-the-32-more")):
    bug(f"{_field.replace('_', '-')}-in-32-bits", LENGTHS,
        f"    header = header._replace({_field}=header.{_field} & 0xFFFFFFFF)\n" + LENGTHS, _case)
    bug(f"{_field.replace('_', '-')}-is-signed", LENGTHS,
        f"    header = header._replace({_field}=header.{_field} - (header.{_field} >> 63 << 64))\n" + LENGTHS,
        equivalent="a negative length is rejected under another rule")
bug("extension-length-in-16-bits", LENGTHS,
    "    header = header._replace(extension_length=header.extension_length & 0xFFFF)\n" + LENGTHS,
    "extensions-of-2-to-the-28-bytes-in-a-tiny-file")
bug("source-kind-in-1-bit", 'require(kind <= 1, "source-kind"', 'require(True, "source-kind"',
    "source-kind-255",
    also=[(LENGTHS, "    header = header._replace(source_kind=header.source_kind & 1)\n" + LENGTHS)])
bug("source-kinds-above-1-are-none", 'require(kind <= 1, "source-kind"', 'require(True, "source-kind"',
    "source-kind-2-without-a-source",
    "source-kind-3-without-a-source",
    also=[(LENGTHS, "    header = header._replace(source_kind=header.source_kind if header.source_kind < 2 else 0)\n" + LENGTHS)])
bug("source-kinds-above-1-are-safetensors", 'require(kind <= 1, "source-kind"', 'require(True, "source-kind"',
    "source-kind-2",
    "source-kind-255",
    also=[(LENGTHS, "    header = header._replace(source_kind=header.source_kind and 1)\n" + LENGTHS)])
SOURCE_LENGTH = "require(source_length >= 8 if kind else source_length == 0,"
bug("source-kind-none-with-any-length", SOURCE_LENGTH, "require(source_length >= 8 or not kind,",
    "source-kind-none-with-a-source")
bug("source-kind-safetensors-with-any-length", SOURCE_LENGTH, "require(source_length == 0 or kind,",
    "safetensors-source-of-7-bytes",
    "source-kind-safetensors-without-a-source")
bug("source-kind-safetensors-from-0-bytes-on", SOURCE_LENGTH, "require(source_length >= 8 or kind == 1 if kind else source_length == 0,",
    "source-kind-safetensors-without-a-source",
    also=[("    if header.source_kind == 1:\n", "    if header.source_kind == 1 and len(source) >= 8:\n")])
bug("file-may-be-longer-by-a-byte", "require(true_length <= header.file_length,", "require(true_length <= header.file_length + 1,",
    "one-zero-byte-behind-the-file",
    "line-feed-behind-the-file")
bug("file-may-be-shorter-by-a-byte", 'require(true_length >= header.file_length, "file-truncated"',
    'require(true_length >= header.file_length - 1, "file-truncated"',
    "cut-before-the-last-byte",
    "every-prefix-of-a-file-with-raw",
    also=[("    check_padding(file, payload_end, payload_end + 64)\n", "    check_padding(file, payload_end, payload_end + 63)\n")])
bug("stated-length-may-be-anything-if-the-file-fits",
    "    require(header.file_length == payload_end + 64,", "    require(header.file_length >= payload_end + 64,",
    "guard-of-65-bytes",
    "guard-of-128-bytes")
bug("stated-length-may-be-short", "    require(header.file_length == payload_end + 64,", "    require(header.file_length <= payload_end + 64,",
    "guard-of-63-bytes",
    also=[("    check_padding(file, payload_end, payload_end + 64)\n", "    check_padding(file, payload_end, header.file_length)\n")])
bug("stated-length-without-tensors-is-free", "    require(header.file_length == payload_end + 64,",
    "    require(count == 0 or header.file_length == payload_end + 64,",
    "no-tensors-and-bytes-before-the-guard")
bug("guard-of-63-bytes-will-do", "    require(header.file_length == payload_end + 64,",
    "    require(header.file_length in (payload_end + 63, payload_end + 64),",
    "guard-of-63-bytes",
    also=[("    check_padding(file, payload_end, payload_end + 64)\n", "    check_padding(file, payload_end, header.file_length)\n"),
          ("    least = payload_start(header) + 64\n", "    least = payload_start(header) + 63\n")])
bug("payload-starts-on-a-multiple-of-64", "header.source_length + header.extension_length, 256)",
    "header.source_length + header.extension_length, 64)",
    "no-tensors-and-no-source",
    "shortest-safetensors-source")
bug("payload-starts-behind-the-source", "header.source_length + header.extension_length, 256)", "header.source_length, 256)",
    "extensions-end-behind-a-multiple-of-256",
    "extensions-behind-a-source")
bug("payload-starts-on-the-next-multiple", "header.source_length + header.extension_length, 256)",
    "header.source_length + header.extension_length + 1, 256)",
    "source-ends-on-a-multiple-of-256",
    "extensions-end-on-a-multiple-of-256")

# 3.2 Directory
bug("directory-may-be-longer", '    require(length == expected, "dir-length"', '    require(length >= expected, "dir-length"',
    "directory-with-8-more-zeros",
    "directory-with-1-more-zero")
bug("directory-may-be-longer-by-zeros-without-tensors", '    require(length == expected, "dir-length"',
    '    require(length == expected or count == 0, "dir-length"',
    "no-tensors-and-a-directory-of-8-zeros",
    "no-tensors-and-a-directory-of-64-zeros")
bug("directory-needs-no-padding", '    require(length == expected, "dir-length"',
    '    require(length in (expected, names_at + name_end), "dir-length"',
    "directory-without-its-padding")
bug("directory-always-has-padding", "    expected = align(names_at + name_end, 8)\n", "    expected = align(names_at + name_end + 1, 8)\n",
    "no-tensors-and-no-source",
    "directory-with-0-bytes-of-padding")
bug("directory-is-padded-to-4", "    expected = align(names_at + name_end, 8)\n", "    expected = align(names_at + name_end, 4)\n",
    "name-dunder-metadata-without-source",
    "directory-with-7-bytes-of-padding")
DIRECTORY_CRC = 'require(found == header.directory_checksum, "dir-crc"'
bug("directory-checksum-of-no-directory-is-free", DIRECTORY_CRC, 'require(length == 0 or found == header.directory_checksum, "dir-crc"',
    "checksum-of-no-directory-wrong")
bug("directory-checksum-in-16-bits", DIRECTORY_CRC, 'require((found ^ header.directory_checksum) & 0xFFFF == 0, "dir-crc"',
    "directory-checksum-wrong-in-its-greatest-bit")
bug("directory-checksum-of-the-entries", DIRECTORY_CRC,
    'require(found == header.directory_checksum or length == 0 or zlib.crc32(directory[:40 * count]) != found and '
    'directory[:40 * count] == directory[:40 * count] and False, "dir-crc"',
    "checksum-of-no-directory-wrong")
DIRECTORY_PADDING = '    require_zero(directory[names_at + name_end:], "dir-padding", 64 + names_at + name_end, "padding byte")\n'
bug.several("directory-padding-{}", DIRECTORY_PADDING, [
    ("is-free", "",
     "directory-padding-first-byte",
     "directory-padding-last-byte"),
    ("without-its-first-byte", DIRECTORY_PADDING.replace("name_end:]", "name_end + 1:]"),
     "directory-padding-first-byte"),
    ("without-its-last-byte", DIRECTORY_PADDING.replace("name_end:]", "name_end:-1]"),
     "directory-padding-last-byte"),
    ("without-its-middle", '    require_zero(directory[names_at + name_end:][:1] + directory[names_at + name_end:][1:][-1:], '
     '"dir-padding", 0, "padding byte")\n',
     "directory-padding-second-byte",
     "directory-padding-middle-byte"),
])
bug.several("reserved-field-of-an-entry-{}", '            require(reserved == 0, "dir-reserved"'[4:], [
    ("in-its-low-byte", 'require(reserved & 255 == 0, "dir-reserved"'.rjust(0).join(["        ", ""]),
     "entry-reserved-byte-3",
     "last-entry-reserved-byte-3"),
    ("in-its-high-byte", '        require(reserved >> 8 == 0, "dir-reserved"',
     "entry-reserved-byte-2"),
    ("in-the-first-entry-alone", '        require(reserved == 0 or i > 0, "dir-reserved"',
     "last-entry-reserved-byte-3"),
    ("in-the-last-entry-alone", '        require(reserved == 0 or i + 1 < count, "dir-reserved"',
     "entry-reserved-byte-2",
     "entry-reserved-byte-3"),
])
bug.several("reserved-word-of-an-entry-{}", 'require(reserved_word == 0, "dir-reserved"', [
    ("in-its-low-half", 'require(reserved_word & 0xFFFF == 0, "dir-reserved"',
     "entry-reserved-byte-39",
     "entry-reserved-byte-38"),
    ("in-its-high-half", 'require(reserved_word >> 16 == 0, "dir-reserved"',
     "entry-reserved-byte-36",
     "entry-reserved-byte-37"),
    ("without-byte-1", 'require(reserved_word & 0xFFFF00FF == 0, "dir-reserved"',
     "entry-reserved-byte-37"),
    ("without-byte-2", 'require(reserved_word & 0xFF00FFFF == 0, "dir-reserved"',
     "entry-reserved-byte-38"),
    ("in-the-first-entry-alone", 'require(reserved_word == 0 or i > 0, "dir-reserved"',
     "last-entry-reserved-byte-39"),
])
bug("dims-ends-may-decrease", 'require(dims_end >= previous_dims_end, "dims-end"', 'require(True, "dims-end"',
    "dims-end-decreases",
    also=[("        rank = dims_end - previous_dims_end\n", "        rank = max(0, dims_end - previous_dims_end)\n")])
bug("dims-ends-strictly-ascend", 'require(dims_end >= previous_dims_end, "dims-end"', 'require(dims_end > previous_dims_end, "dims-end"',
    "tensor-without-dimensions")
bug("name-ends-may-decrease", 'require(name_end >= previous_name_end, "name-end"', 'require(True, "name-end"',
    "name-end-decreases")
bug("name-ends-strictly-ascend", 'require(name_end >= previous_name_end, "name-end"', 'require(name_end > previous_name_end, "name-end"',
    "directory-with-0-bytes-of-padding",
    "empty-name")
bug.several("rank-{}", 'require(rank <= 64, "limit-rank"', [
    ("of-65", 'require(rank <= 65, "limit-rank"',
     "rank-65",
     "rank-65-with-an-empty-dimension"),
    ("below-64", 'require(rank < 64, "limit-rank"',
     "rank-64",
     "two-tensors-of-rank-64"),
    ("of-any-number", 'require(True, "limit-rank"',
     "rank-65",
     "rank-65-with-an-empty-dimension"),
    ("in-a-byte", 'require(rank & 255 <= 64, "limit-rank"',
     "rank-256",
     "rank-320"),
    ("in-a-signed-byte", 'require(rank & 255 <= 64 or rank & 128, "limit-rank"',
     "rank-1000"),
    ("in-16-bits", 'require(rank & 0xFFFF <= 64, "limit-rank"',
     "rank-65536"),
    ("of-tensors-with-elements", 'require(rank <= 64 or 0 in struct.unpack_from(f"<{rank}Q", directory, 40 * count + 8 * '
     'previous_dims_end), "limit-rank"',
     "rank-65-with-an-empty-dimension"),
    ("of-all-tensors", 'require(dims_end <= 64, "limit-rank"',
     "two-tensors-of-rank-64",
     "three-hundred-tensors"),
])
bug.several("name-length-{}", 'require(name_length <= 65535, "limit-name"', [
    ("of-65536", 'require(name_length <= 65536, "limit-name"',
     "name-of-65536-bytes"),
    ("below-65535", 'require(name_length < 65535, "limit-name"',
     "name-of-65535-bytes"),
    ("in-16-bits", 'require(name_length & 0xFFFF <= 65535, "limit-name"',
     "name-of-65536-bytes"),
    ("of-at-least-1", 'require(0 < name_length <= 65535, "limit-name"',
     "directory-with-0-bytes-of-padding",
     "empty-name"),
    ("of-4096", 'require(name_length <= 4096, "limit-name"',
     "name-of-65535-bytes"),
    ("of-all-names", 'require(name_end <= 65535, "limit-name"',
     "name-of-65535-bytes"),
])
bug("names-in-any-bytes", 'require(is_utf8(name), "name-utf8"', 'require(True, "name-utf8"',
    "name-with-a-byte-of-latin-1",
    "name-with-a-continuation-byte-alone")
bug("names-are-utf-8-as-a-whole", 'require(is_utf8(name), "name-utf8"',
    'require(is_utf8(directory[names_at:names_at + struct.unpack_from("<I", directory, 40 * count - 12)[0]]), "name-utf8"',
    "name-with-a-sequence-cut-between-two-names")
bug("names-without-nul", 'require(is_utf8(name), "name-utf8"', 'require(is_utf8(name) and b"\\0" not in name, "name-utf8"',
    "names-with-nul-and-dots-and-controls",
    "names-of-every-utf-8-length")
bug("names-without-control-characters", 'require(is_utf8(name), "name-utf8"',
    'require(is_utf8(name) and min(name, default=32) >= 32, "name-utf8"',
    "names-with-nul-and-dots-and-controls",
    "names-of-every-utf-8-length")
bug("names-without-dots", 'require(is_utf8(name), "name-utf8"', 'require(is_utf8(name) and b".." not in name, "name-utf8"',
    "names-with-nul-and-dots-and-controls")
bug("names-without-non-characters", 'require(is_utf8(name), "name-utf8"',
    'require(is_utf8(name) and b"\\xef\\xbf\\xbf" not in name, "name-utf8"',
    "names-sort-as-unsigned-bytes")
bug("by-name-of-the-tensor-count", 'require(number < count, "name-order"', 'require(number <= count, "name-order"',
    "by-name-of-the-only-tensor-is-1",
    also=[("        name = tensors[number].name\n", "        name = tensors[min(number, count - 1)].name\n")])
bug("by-name-of-any-number", 'require(number < count, "name-order"', 'require(True, "name-order"',
    "by-name-of-the-only-tensor-is-1",
    also=[("        name = tensors[number].name\n", "        name = tensors[number % count].name\n")])
bug("by-name-of-one-tensor-is-free", 'require(number < count, "name-order"', 'require(number < count or count == 1, "name-order"',
    "by-name-of-the-only-tensor-is-1",
    also=[("        name = tensors[number].name\n", "        name = tensors[number % count].name\n")])
bug("by-name-from-8-bits", "        order.append(by_name)\n", "        order.append(by_name & 0xFF)\n",
    "three-hundred-tensors")
ORDER = '            require(name > previous_name, "name-order"'
EQUAL = '            require(name != previous_name, "name-duplicate"'
bug("by-name-not-compared", ORDER, '            require(True, "name-order"',
    "by-name-as-signed-bytes",
    "by-name-as-utf-16")
bug("by-name-backwards", ORDER, '            require(name < previous_name, "name-order"',
    "by-name-as-signed-bytes",
    "by-name-as-utf-16")
bug("by-name-of-signed-bytes", ORDER,
    '            require(bytes(byte ^ 128 for byte in name) > bytes(byte ^ 128 for byte in previous_name), "name-order"',
    "by-name-as-signed-bytes",
    "names-that-differ-in-unicode-normal-form")
bug("by-name-in-utf-16", ORDER, '            require(name.decode().encode("utf-16-be") > previous_name.decode().encode("utf-16-be"), "name-order"',
    "by-name-as-utf-16",
    "names-sort-as-unsigned-bytes")
bug("by-name-by-length-first", ORDER, '            require((len(name), name) > (len(previous_name), previous_name), "name-order"',
    "by-name-by-length",
    "names-that-differ-in-unicode-normal-form")
bug("by-name-in-any-case", ORDER, '            require(name.lower() > previous_name.lower(), "name-order"',
    "names-that-differ-in-unicode-normal-form",
    "names-sort-as-unsigned-bytes")
bug("by-name-up-to-a-nul", ORDER, '            require(name.split(b"\\0")[0] >= previous_name.split(b"\\0")[0], "name-order"',
    "by-name-in-the-wrong-order-behind-a-nul",
    "by-name-in-the-wrong-order-of-a-nul-behind-the-whole")
bug("by-name-of-c-strings", ORDER, '            require(name.split(b"\\0")[0] > previous_name.split(b"\\0")[0], "name-order"',
    "names-with-nul-and-dots-and-controls")
bug("by-name-of-the-shorter-length", ORDER,
    '            require(name[:len(previous_name)] >= previous_name[:len(name)], "name-order"',
    "by-name-with-a-beginning-behind-the-whole")
bug("by-name-of-8-bytes", ORDER, '            require(name[:8] >= previous_name[:8], "name-order"',
    "by-name-in-the-wrong-order-behind-8-bytes",
    "by-name-in-the-wrong-order-behind-300-bytes")
bug("by-name-of-255-bytes", ORDER, '            require(name[:255] >= previous_name[:255], "name-order"',
    "by-name-in-the-wrong-order-behind-300-bytes")
bug("by-name-without-the-last", ORDER, '            require(name > previous_name or i == count - 1, "name-order"',
    "by-name-as-signed-bytes",
    "by-name-as-utf-16")
bug("by-name-without-the-second", ORDER, '            require(name > previous_name or i == 1, "name-order"',
    "by-name-as-signed-bytes",
    "by-name-as-utf-16")
bug("names-equal-up-to-a-nul", EQUAL, '            require(name.split(b"\\0")[0] != previous_name.split(b"\\0")[0], "name-duplicate"',
    "names-with-nul-and-dots-and-controls")
bug("names-equal-in-any-case", EQUAL, '            require(name.lower() != previous_name.lower(), "name-duplicate"',
    "names-that-differ-in-case-alone")
bug("names-equal-when-normalised", EQUAL,
    '            import unicodedata\n'
    '            require(unicodedata.normalize("NFC", name.decode()) != unicodedata.normalize("NFC", previous_name.decode()), "name-duplicate"',
    "names-that-differ-in-unicode-normal-form")
bug("names-equal-in-their-first-8-bytes", EQUAL, '            require(name[:8] != previous_name[:8] or len(name) < 8, "name-duplicate"',
    "names-that-begin-alike")
bug("duplicates-of-empty-names-are-fine", EQUAL, '            require(name != previous_name or not name, "name-duplicate"',
    "two-tensors-without-a-name",
    also=[(ORDER, '            require(name > previous_name or not name, "name-order"')])
bug("at-most-4096-tensors", 'require(header.tensor_count <= 2**20,', 'require(header.tensor_count <= 4096,',
    "tensors-above-4096")
bug("directory-of-at-most-1-mib", 'require(directory_length <= 2**28,', 'require(directory_length <= 2**20,',
    "directory-above-1-mib")
bug("source-of-at-most-1-mib", 'require(source_length <= 2**28,', 'require(source_length <= 2**20,',
    "source-above-1-mib")
bug("extensions-of-at-most-64-kib", 'require(extension_length <= 2**28,', 'require(extension_length <= 2**16,',
    "extensions-above-64-kib")
bug("directory-of-at-most-64-kib", 'require(directory_length <= 2**28,', 'require(directory_length <= 2**16,',
    "tensors-above-4096")
bug("source-of-at-most-64-kib", 'require(source_length <= 2**28,', 'require(source_length <= 2**16,',
    "source-above-1-mib")
bug("tensors-in-8-bits", 'require(header.tensor_count <= 2**20,', 'require(header.tensor_count <= 255,',
    "three-hundred-tensors")

# 3.3 Checksum of the source
bug("source-checksum-of-no-source-is-free", 'require(found == header.source_checksum, "source-crc"',
    'require(not source or found == header.source_checksum, "source-crc"',
    "checksum-of-no-source-wrong")
bug("source-checksum-0-is-none", 'require(found == header.source_checksum, "source-crc"',
    'require(header.source_checksum == 0 or found == header.source_checksum, "source-crc"',
    "source-checksum-zero")
bug("source-checksum-in-8-bits", 'require(found == header.source_checksum, "source-crc"',
    'require((found ^ header.source_checksum) & 0xFE == 0, "source-crc"',
    "source-checksum-wrong-by-a-bit",
    "checksum-of-no-source-wrong")

# 3.4 Extensions
EXTENSION_CRC = 'require(found == header.extension_checksum, "extension-crc"'
bug("extension-checksum-of-no-extensions-is-free", EXTENSION_CRC,
    'require(not extensions or found == header.extension_checksum, "extension-crc"',
    "checksum-of-no-extensions-wrong")
bug("extension-checksum-0-is-none", EXTENSION_CRC,
    'require(header.extension_checksum == 0 or found == header.extension_checksum, "extension-crc"',
    "extension-checksum-zero")
bug("extension-checksum-is-free", EXTENSION_CRC, 'require(True, "extension-crc"',
    "extension-contents-changed-without-the-checksum",
    "extension-kind-changed-without-the-checksum")
bug("extension-length-is-no-multiple-of-8", 'require(total % 8 == 0, "extension-length"', 'require(True, "extension-length"',
    "extensions-of-33-bytes",
    also=[("    while position < total:\n", "    while position + 8 <= total:\n")])
bug("extension-length-is-a-multiple-of-4", 'require(total % 8 == 0, "extension-length"', 'require(total % 4 == 0, "extension-length"',
    "extensions-of-12-bytes",
    also=[("    while position < total:\n", "    while position + 8 <= total:\n")])
ITEM_END = 'require(contents_end <= total, "extension-length"'
bug("items-may-leave-the-extensions", ITEM_END, 'require(True, "extension-length"',
    "extension-item-one-byte-too-long",
    "extension-item-with-a-length-of-2-to-the-32-minus-1")
bug("items-may-leave-by-their-padding", ITEM_END, 'require(contents_end <= total + 7, "extension-length"',
    "extension-item-without-room-for-contents",
    "extension-item-one-byte-too-long")
bug("item-lengths-wrap-in-32-bits", ITEM_END, 'require(contents_end % 2**32 <= total, "extension-length"',
    "extension-item-whose-padded-length-wraps-2-to-the-32",
    "extension-item-with-a-length-of-2-to-the-32-minus-1")
bug("padded-item-lengths-wrap-in-32-bits", ITEM_END, 'require(align(length, 8) % 2**32 <= total - position - 8, "extension-length"',
    "extension-item-with-a-length-of-2-to-the-32-minus-1")
bug("item-lengths-are-signed", ITEM_END, 'require(contents_end - (length >> 31 << 32) <= total, "extension-length"',
    "extension-item-whose-padded-length-wraps-2-to-the-32",
    "extension-item-with-a-length-of-2-to-the-32-minus-1")
bug("item-lengths-in-16-bits", ITEM_END, 'require(position + 8 + (length & 0xFFFF) <= total, "extension-length"',
    "extension-item-with-a-length-of-65536-more",
    "extension-item-with-a-length-of-16777216-more")
bug("items-end-before-the-extensions-end", ITEM_END, 'require(contents_end < total, "extension-length"',
    "extension-of-kind-0",
    "extension-of-the-greatest-kind-that-is-not-critical")
ITEM_PADDING = "require_zero(extensions[contents_end:align(contents_end, 8)],"
bug.several("item-padding-{}", ITEM_PADDING, [
    ("is-free", 'require_zero(b"",',
     "extension-padding-first-byte",
     "extension-padding-last-byte"),
    ("without-its-first-byte", "require_zero(extensions[contents_end + 1:align(contents_end, 8)],",
     "extension-padding-first-byte",
     "extension-padding-at-the-end"),
    ("without-its-last-byte", "require_zero(extensions[contents_end:align(contents_end, 8) - 1],",
     "extension-padding-last-byte",
     "extension-padding-at-the-end"),
    ("without-its-middle", "require_zero(extensions[contents_end:align(contents_end, 8)][:1] + extensions[contents_end:align(contents_end, 8)][1:][-1:],",
     "extension-padding-second-byte",
     "extension-padding-third-byte"),
    ("of-critical-items-alone", 'require_zero(extensions[contents_end:align(contents_end, 8)] if kind >> 31 else b"",',
     "extension-padding-first-byte",
     "extension-padding-last-byte"),
    ("of-the-last-item-is-free", 'require_zero(extensions[contents_end:align(contents_end, 8)] if align(contents_end, 8) < total else b"",',
     "extension-padding-at-the-end"),
])
NEXT_ITEM = "        position = align(contents_end, 8)\n"
bug("items-without-padding", NEXT_ITEM, "        position = contents_end\n",
    "extensions-of-every-padding",
    "extensions-in-any-order-and-twice")
bug("items-are-padded-to-4", NEXT_ITEM, "        position = align(contents_end, 4)\n",
    "extensions-of-every-padding",
    "extensions-in-any-order-and-twice")
bug("item-lengths-with-their-heads", "        contents_end = position + 8 + length\n", "        contents_end = position + max(8, length)\n",
    "extensions-without-tensors",
    "extension-item-without-room-for-contents")
bug("kind-0-ends-the-extensions", NEXT_ITEM, "        position = align(contents_end, 8) if kind else total\n",
    "critical-extension-behind-one-of-kind-0")
bug("items-of-a-kind-occur-once", NEXT_ITEM,
    "        seen = set() if position == 0 else seen\n"
    '        require(kind not in seen, "extension-unknown", at, "kind", kind, "one")\n'
    "        seen.add(kind)\n" + NEXT_ITEM,
    "extensions-and-coded-tensors",
    "extensions-in-any-order-and-twice")
bug("items-in-ascending-order", NEXT_ITEM,
    "        seen = kind if position == 0 else seen\n"
    '        require(kind >= seen, "extension-unknown", at, "kind", kind, "ascending")\n'
    "        seen = kind\n" + NEXT_ITEM,
    "extensions-and-coded-tensors",
    "extensions-in-any-order-and-twice")
CRITICAL = 'require(kind < 2**31, "extension-unknown"'
bug("kind-5-is-known", CRITICAL, 'require(kind < 2**31 or kind & 0x7FFFFFFF == 5, "extension-unknown"',
    "critical-extension-of-kind-5")
bug("kinds-for-private-use-are-known", CRITICAL, 'require(kind < 2**31 or kind >= 0xF0000000, "extension-unknown"',
    "critical-extension-for-private-use",
    "critical-extension-of-the-greatest-kind")
bug("kind-0-is-never-critical", CRITICAL, 'require(kind <= 2**31, "extension-unknown"',
    "critical-extension-of-kind-0")
bug("the-greatest-kind-is-none", CRITICAL, 'require(kind < 2**31 or kind == 2**32 - 1, "extension-unknown"',
    "critical-extension-of-the-greatest-kind")
bug("critical-is-bit-30", CRITICAL, 'require(kind < 2**30, "extension-unknown"',
    "extension-of-the-greatest-kind-that-is-not-critical",
    "extension-for-private-use")
bug("critical-is-bit-31-of-the-length", CRITICAL, 'require(length < 2**31, "extension-unknown"',
    "critical-extension-of-kind-5",
    "critical-extension-of-kind-0")
bug("only-the-last-item-is-critical", CRITICAL, 'require(kind < 2**31 or align(contents_end, 8) < total, "extension-unknown"',
    "critical-extension-before-others",
    "critical-extension-between-others")
bug("empty-items-are-never-critical", CRITICAL, 'require(kind < 2**31 or length == 0, "extension-unknown"',
    "critical-extension-behind-others",
    "critical-extension-of-kind-0")
bug("extensions-are-not-read", "    while position < total:\n", "    while False:\n",
    "extension-item-one-byte-too-long",
    "extension-item-with-a-length-of-2-to-the-32-minus-1")
