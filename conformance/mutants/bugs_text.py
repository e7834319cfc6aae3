"""Bugs of decoders: the source section and its text (section 3.3)."""
from planted import DECODE, READER, Bugs

bug = Bugs("decode", DECODE)
ALL = [bug]

bug("json-keeps-the-last-of-two",
    "need(len(members) == len(value),",
    "need(True,",
    "json-with-a-tensor-twice",
    "json-with-a-name-twice-in-metadata",
    "json-with-metadata-as-null-twice",
    "json-with-metadata-as-null-and-as-an-object")
bug("json-takes-half-a-surrogate-pair",
    "    return not any(",
    "    return True or not any(",
    "json-with-a-high-surrogate-alone-in-metadata")
bug("json-takes-floats",
    "parse_float=float",
    "parse_float=lambda digits: int(float(digits))",
    "json-with-a-dimension-of-a-fraction-of-0",
    "json-with-an-offset-of-0-with-an-exponent")
bug("json-takes-unknown-members",
    'need(fields.keys() == {"dtype", "shape", "data_offsets"},',
    'need(fields.keys() >= {"dtype", "shape", "data_offsets"},',
    "json-with-an-unknown-member")
bug("json-takes-no-null-for-metadata",
    'if name == "__metadata__" and value is None:',
    "if False:",
    "json-with-metadata-as-null",
    "json-with-metadata-as-null-at-the-end",
    "json-with-metadata-as-null-amid-white-space",
    "json-with-metadata-as-null-and-no-tensors",
    "json-with-metadata-as-null-by-an-escaped-name",
    "metadata-as-null-huffman-12-decodes")
bug("json-takes-null-for-a-tensor",
    'if name == "__metadata__" and value is None:',
    "if value is None:",
    "json-with-an-extra-tensor-as-null")
bug("json-takes-null-in-metadata",
    "isinstance(text, str) and is_unicode(text)",
    "text is None or isinstance(text, str) and is_unicode(text)",
    "json-with-null-in-metadata")
bug("json-takes-other-numbers-for-null",
    "parse_float=float",
    "parse_float=lambda digits: None",
    "json-with-metadata-as-a-fraction")
bug("json-takes-false-for-null",
    "value is None:",
    "not value and not isinstance(value, JsonObject):",
    "json-with-metadata-as-false",
    "json-with-metadata-as-0",
    "json-with-metadata-as-a-string",
    "json-with-metadata-as-an-array")
bug("json-takes-null-in-any-case",
    '    text = data.decode("utf-8")\n',
    '    text = data.decode("utf-8").replace("NULL", "null")\n',
    "json-with-metadata-as-null-in-upper-case")
bug("json-in-the-order-of-the-text",
    "return sorted(described, key=lambda tensor: tensor[3:])",
    "return described",
    "json-with-tensors-out-of-offset-order",
    "empty-tensors-at-equal-offsets")

# What the JSON describes.
bug("json-length-may-be-less", "need(json_length == len(source) - 8,", "need(json_length <= len(source) - 8,",
    "json-length-one-less")
bug("json-length-may-be-more", "need(json_length == len(source) - 8,", "need(json_length >= len(source) - 8,",
    "json-length-one-more",
    "json-length-above-2-to-the-32")
bug("json-length-in-32-bits", "need(json_length == len(source) - 8,", "need(json_length % 2**32 == len(source) - 8,",
    "json-length-above-2-to-the-32")
bug("json-length-wraps", "need(json_length == len(source) - 8,", "need((json_length + 8) % 2**64 % 2**32 == len(source),",
    "json-length-above-2-to-the-32")
bug("json-after-white-space", 'need(source[8:9] == b"{",', 'need(source[8:].lstrip(b" \\t\\r\\n")[:1] == b"{",',
    "json-behind-a-space",
    "json-behind-a-line-feed",
    also=[('    text = data.decode("utf-8")\n', '    text = data.decode("utf-8").lstrip(" \\t\\r\\n")\n')])
bug("json-after-a-byte-order-mark", 'need(source[8:9] == b"{",', 'need(source[8:9] == b"{" or source[8:11] == b"\\xef\\xbb\\xbf",',
    "json-behind-a-byte-order-mark",
    also=[('    text = data.decode("utf-8")\n', '    text = data.decode("utf-8-sig")\n')])
bug("json-before-any-white-space", 'text[end:].strip(" \\t\\n\\r")', "text[end:].strip()",
    "json-before-a-no-break-space",
    "json-before-a-form-feed")
bug("json-before-zeros", 'text[end:].strip(" \\t\\n\\r")', 'text[end:].strip(" \\t\\n\\r\\0")',
    "json-before-a-zero-byte")
bug("json-before-anything", 'text[end:].strip(" \\t\\n\\r")', '""',
    "json-before-a-second-object",
    "json-before-a-zero-byte")
bug("json-before-spaces-alone", 'text[end:].strip(" \\t\\n\\r")', 'text[end:].strip(" ")',
    "json-with-white-space-behind",
    "json-with-metadata-as-null-amid-white-space-and-no-tensors")
bug("json-before-nothing", 'text[end:].strip(" \\t\\n\\r")', "text[end:]",
    "json-of-tensors-without-dimensions",
    "json-with-metadata-as-null-amid-white-space-and-no-tensors")
bug("json-names-of-the-outermost-object-alone", 'need(len(members) == len(value), f"number of members of {what}"',
    'need(len(members) == len(value) or what != "the JSON", f"number of members of {what}"',
    "json-with-dtype-twice",
    "json-with-shape-twice")
bug("json-names-of-the-inner-objects-alone", 'need(len(members) == len(value), f"number of members of {what}"',
    'need(len(members) == len(value) or what == "the JSON", f"number of members of {what}"',
    "json-with-a-tensor-twice",
    "json-with-a-tensor-twice-differently")
bug("json-without-a-shape", 'need(fields.keys() == {"dtype", "shape", "data_offsets"},',
    'need(fields.setdefault("shape", [(fields["data_offsets"][1] - fields["data_offsets"][0]) // 2]) and '
    'fields.keys() == {"dtype", "shape", "data_offsets"},',
    "safetensors-source",
    "json-of-tensors-without-dimensions")
bug("json-names-in-any-case", 'need(fields.keys() == {"dtype", "shape", "data_offsets"},',
    'fields = {name.lower(): value for name, value in fields.items()}\n'
    '        need(fields.keys() == {"dtype", "shape", "data_offsets"},',
    "json-with-members-in-upper-case")
bug("json-dtypes-in-any-case", "isinstance(dtype, str) and dtype in DTYPE_NAMES,",
    "isinstance(dtype, str) and dtype.upper() in DTYPE_NAMES,",
    "json-with-a-dtype-in-lower-case",
    also=[("        described.append((name, dtype,", "        described.append((name, dtype.upper(),")])
bug("json-dtypes-amid-spaces", "isinstance(dtype, str) and dtype in DTYPE_NAMES,",
    "isinstance(dtype, str) and dtype.strip() in DTYPE_NAMES,",
    "json-with-a-dtype-and-a-space",
    also=[("        described.append((name, dtype,", "        described.append((name, dtype.strip(),")])
bug("json-dtypes-up-to-a-nul", "isinstance(dtype, str) and dtype in DTYPE_NAMES,",
    'isinstance(dtype, str) and dtype.split("\\0")[0] in DTYPE_NAMES,',
    "json-with-a-dtype-and-an-escaped-nul",
    "json-with-a-dtype-and-letters-behind-a-nul",
    also=[("        described.append((name, dtype,", '        described.append((name, dtype.split("\\0")[0],')])
bug("json-dtypes-by-their-beginning", "        described.append((name, dtype,",
    '        dtype = next((known for known in sorted(DTYPE_NAMES, key=len, reverse=True) if dtype.startswith(known)), dtype)\n'
    "        described.append((name, dtype,",
    "json-with-a-dtype-and-a-space", also=[("isinstance(dtype, str) and dtype in DTYPE_NAMES,", "isinstance(dtype, str),")])
bug("json-offsets-of-2-or-more", "is_list_of_integers(offsets) and len(offsets) == 2 and", "is_list_of_integers(offsets) and len(offsets) >= 2 and",
    "json-with-three-offsets")
bug("json-offsets-strictly-ascend", "len(offsets) == 2 and offsets[0] <= offsets[1],", "len(offsets) == 2 and offsets[0] < offsets[1],",
    "empty-tensors-at-equal-offsets",
    "json-with-the-greatest-integers")
bug("json-true-is-an-integer", "all(type(item) is int for item in value)", "all(isinstance(item, int) for item in value)",
    "json-with-a-dimension-of-false-for-0",
    "json-with-a-dimension-of-true-for-1")
bug("json-objects-are-arrays", "return type(value) is list and", "return isinstance(value, list) and",
    "json-with-an-object-for-a-shape-of-no-dimensions")
bug("json-fractions-of-0-are-integers", "parse_float=float", "parse_float=lambda digits: int(float(digits)) if float(digits) == int(float(digits)) else 0.5",
    "json-with-a-dimension-of-a-fraction-of-0",
    "json-with-a-dimension-of-an-exponent-of-0")
bug("json-integers-have-signs", "if digits.isascii() and digits.isdigit() and len(digits) <= 20", "if len(digits) <= 20",
    "json-with-an-offset-of-minus-0")
bug("json-minus-0-is-0", "    value = int(digits)", '    digits = "0" if digits == "-0" else digits\n    value = int(digits)',
    "json-with-an-offset-of-minus-0")
bug("json-integers-below-2-to-the-63", "    return value if value < 2**64", "    return value if value < 2**63",
    "json-with-the-greatest-integers")
bug("json-integers-below-2-to-the-53", "    return value if value < 2**64", "    return value if value < 2**53",
    "json-with-the-greatest-integers")
bug("json-integers-below-2-to-the-32", "    return value if value < 2**64", "    return value if value < 2**32",
    "source-amid-white-space-and-coded-tensors",
    "json-with-the-greatest-integers")
bug("json-integers-wrap-in-64-bits", "    return value if value < 2**64 else float(\"inf\")", "    return value % 2**64",
    "json-with-a-dimension-of-2-to-the-64-more",
    "json-with-an-offset-of-minus-0",
    also=[("and len(digits) <= 20 else 2**64", "else 2**64")])
bug("json-integers-saturate", '    return value if value < 2**64 else float("inf")', "    return min(value, 2**64 - 1)",
    "json-with-a-dimension-of-2-to-the-64-for-one-less")
bug("json-integers-in-doubles", '    return value if value < 2**64 else float("inf")', '    return int(float(value)) if value < 2**64 else float("inf")',
    "json-with-the-greatest-integers")
bug("json-integers-in-floats", '    return value if value < 2**64 else float("inf")',
    '    import struct as s\n    return int(s.unpack("f", s.pack("f", value))[0]) if value < 2**64 else float("inf")',
    "json-with-the-greatest-integers")
bug("json-integers-are-signed", '    return value if value < 2**64 else float("inf")',
    '    return value - (value >> 63 << 64) if value < 2**64 else float("inf")',
    "json-with-the-greatest-integers")
bug("json-takes-nan", '    raise ValueError(f"{constant} is not JSON")', "    return 0",
    "json-with-a-dimension-of-nan-for-0")
bug("metadata-is-a-tensor", 'if name == "__metadata__" and value is None:', "if False:",
    "json-with-metadata-as-null-and-no-tensors",
    "tensor-named-dunder-metadata-with-a-source",
    also=[('        if name == "__metadata__":\n', "        if False:\n")])
bug("metadata-may-be-a-string", "        fields = members_of(value, f\"member {ascii(name)}\")\n",
    '        if name == "__metadata__" and isinstance(value, str):\n            continue\n'
    "        fields = members_of(value, f\"member {ascii(name)}\")\n",
    "json-with-metadata-as-a-string",
    "json-with-metadata-as-the-string-null")
bug("metadata-of-any-values", "isinstance(text, str) and is_unicode(text)", "not isinstance(text, str) or is_unicode(text)",
    "json-with-a-number-in-metadata",
    "json-with-null-in-metadata")
bug("metadata-of-any-text", "isinstance(text, str) and is_unicode(text)", "isinstance(text, str)",
    "json-with-a-high-surrogate-alone-in-metadata",
    "json-with-a-low-surrogate-alone-in-metadata")
bug("names-of-half-a-pair", "need(all(map(is_unicode, members)),", "need(True,",
    "json-with-a-surrogate-alone-in-a-metadata-name")
SORTED = "return sorted(described, key=lambda tensor: tensor[3:])"
bug.several("tensors-{}", SORTED, [
    ("by-begin-alone", "return sorted(described, key=lambda tensor: tensor[3])",
     "empty-tensors-at-equal-offsets",
     "source-amid-white-space-and-coded-tensors"),
    ("by-end-alone", "return sorted(described, key=lambda tensor: tensor[4])",
     "empty-tensors-at-equal-offsets",
     "source-amid-white-space-and-coded-tensors"),
    ("by-offsets-and-name", "return sorted(described, key=lambda tensor: (tensor[3:], tensor[0]))",
     "directory-with-equal-offsets-in-another-order",
     "empty-tensors-at-equal-offsets"),
    ("by-offsets-and-the-last-first", "return sorted(described[::-1], key=lambda tensor: tensor[3:])",
     "directory-with-equal-offsets-in-another-order",
     "empty-tensors-at-equal-offsets"),
    ("by-name", "return sorted(described, key=lambda tensor: tensor[0])",
     "safetensors-source",
     "empty-tensors-at-equal-offsets"),
])
bug("fewer-tensors-will-do", "need(len(described) == len(tensors),", "need(len(described) <= len(tensors),",
    "source-without-the-last-tensor",
    "source-without-tensors")
bug("more-tensors-will-do", "need(len(described) == len(tensors),", "need(len(described) >= len(tensors),",
    "source-with-an-extra-tensor",
    "source-with-an-extra-empty-tensor")
bug("gaps-will-do", "need(begin == expected_begin,", "need(begin >= expected_begin,",
    "source-with-a-hole",
    "source-that-begins-behind-0")
bug("overlaps-will-do", "need(begin == expected_begin,", "need(begin <= expected_begin,",
    "source-with-an-overlap",
    "source-with-both-tensors-at-0")
bug("the-first-begins-anywhere", "need(begin == expected_begin,", "need(begin == expected_begin or expected_begin == 0,",
    "source-that-begins-behind-0")
SAME = "        need(found == expected, \"name, dtype, shape, length\", found, expected)\n"
bug.several("source-and-directory-differ-in-{}", SAME, [
    ("name", "        need(found[1:] == expected[1:], \"name, dtype, shape, length\", found, expected)\n",
     "source-with-names-swapped",
     "directory-with-equal-offsets-in-another-order"),
    ("dtype", "        need(found[0] == expected[0] and found[2:] == expected[2:], \"name, dtype, shape, length\", found, expected)\n",
     "source-with-another-dtype-of-the-same-size"),
    ("shape", "        need(found[:2] == expected[:2] and found[3] == expected[3], \"name, dtype, shape, length\", found, expected)\n",
     "source-with-another-shape-of-the-same-size",
     "source-with-one-dimension-fewer"),
    ("length", "        need(found[:3] == expected[:3], \"name, dtype, shape, length\", found, expected)\n",
     "source-with-offsets-longer-than-the-shape",
     "source-with-offsets-shorter-than-the-shape"),
    ("rank", "        need(found[:2] == expected[:2] and found[3] == expected[3] and all(a == b for a, b in zip(found[2], expected[2])), "
     "\"name, dtype, shape, length\", found, expected)\n",
     "source-with-one-dimension-more"),
    ("size-alone", "        import math\n        need(found[:2] == expected[:2] and found[3] == expected[3] and math.prod(found[2]) == "
     "math.prod(expected[2]), \"name, dtype, shape, length\", found, expected)\n",
     "source-with-another-shape-of-the-same-size",
     "source-with-one-dimension-fewer"),
    ("high-halves-of-dimensions", "        need(found[:2] == expected[:2] and found[3] == expected[3] and [a % 2**32 for a in found[2]] == "
     "[a % 2**32 for a in expected[2]], \"name, dtype, shape, length\", found, expected)\n",
     "json-with-a-dimension-of-2-to-the-32-more",
     "json-with-a-dimension-of-2-to-the-32-for-0"),
    ("name-behind-a-nul", "        need(found[0].split(b'\\0')[0] == expected[0].split(b'\\0')[0] and found[1:] == expected[1:], "
     "\"name, dtype, shape, length\", found, expected)\n",
     "source-with-a-longer-name"),
    ("case-of-the-name", "        need(found[0].lower() == expected[0].lower() and found[1:] == expected[1:], "
     "\"name, dtype, shape, length\", found, expected)\n",
     "source-with-another-name"),
    ("last-tensor", "        need(found == expected or tensor is tensors[-1], \"name, dtype, shape, length\", found, expected)\n",
     "source-with-another-name",
     "source-with-a-longer-name"),
    ("first-tensor", "        need(found == expected or tensor is tensors[0], \"name, dtype, shape, length\", found, expected)\n",
     "json-with-a-dimension-of-2-to-the-32-more",
     "json-with-a-dimension-of-2-to-the-32-for-0"),
    ("empty-tensors", "        need(found == expected or not tensor.length, \"name, dtype, shape, length\", found, expected)\n",
     "directory-with-equal-offsets-in-another-order"),
])
bug("shapes-of-64-dimensions", "need(is_list_of_integers(shape),", "need(is_list_of_integers(shape) and len(shape) < 64,",
    "json-of-rank-64")

# UTF-8, byte by byte.
text = Bugs("decode", READER)
ALL.append(text)
text("utf-8-of-c0-and-c1", "elif 0xC2 <= first <= 0xDF:", "elif 0xC0 <= first <= 0xDF:",
    "name-with-an-overlong-zero")
text("utf-8-of-c1", "elif 0xC2 <= first <= 0xDF:", "elif 0xC1 <= first <= 0xDF:",
    "name-with-an-overlong-byte-of-c1")
text("utf-8-without-df", "elif 0xC2 <= first <= 0xDF:", "elif 0xC2 <= first < 0xDF:",
    "names-of-every-utf-8-length")
text("utf-8-without-c2", "elif 0xC2 <= first <= 0xDF:", "elif 0xC2 < first <= 0xDF:",
    "names-of-every-utf-8-length")
text("utf-8-overlong-of-3-bytes", "            if first == 0xE0:\n                least = 0xA0\n", "",
    "name-with-an-overlong-zero-of-3-bytes",
    "name-with-an-overlong-sequence-of-e0-9f")
text("utf-8-surrogates", "            if first == 0xED:\n                most = 0x9F\n", "",
    "name-with-a-surrogate")
text("utf-8-high-surrogates", "                most = 0x9F\n", "                most = 0xAF\n",
    "name-with-a-surrogate")
text("utf-8-low-surrogates", "            if first == 0xED:\n                most = 0x9F\n",
     "            if first == 0xED and i + 1 < len(data) and data[i + 1] < 0xB0:\n                most = 0x9F\n",
    "name-with-a-first-low-surrogate",
    "name-with-a-last-low-surrogate")
text("utf-8-without-u-d7ff", "                most = 0x9F\n", "                most = 0x9E\n",
    "names-of-every-utf-8-length")
text("utf-8-without-u-e000", "elif 0xE0 <= first <= 0xEF:", "elif 0xE0 <= first <= 0xEF and first != 0xEE:",
    "names-of-every-utf-8-length")
text("utf-8-overlong-of-4-bytes", "            if first == 0xF0:\n                least = 0x90\n", "",
    "name-with-an-overlong-zero-of-4-bytes",
    "name-with-an-overlong-sequence-of-f0-8f")
text("utf-8-above-10ffff", "            if first == 0xF4:\n                most = 0x8F\n", "",
    "name-with-a-code-point-above-10ffff")
text("utf-8-of-f5", "elif 0xF0 <= first <= 0xF4:", "elif 0xF0 <= first <= 0xF5:",
    "name-with-a-sequence-of-f5")
text("utf-8-of-f5-to-f7", "elif 0xF0 <= first <= 0xF4:", "elif 0xF0 <= first <= 0xF7:",
    "name-with-a-sequence-of-f5",
    "name-with-a-sequence-of-f6")
text("utf-8-of-f6", "elif 0xF0 <= first <= 0xF4:", "elif 0xF0 <= first <= 0xF4 or first == 0xF6:",
    "name-with-a-sequence-of-f6")
text("utf-8-up-to-f3", "elif 0xF0 <= first <= 0xF4:", "elif 0xF0 <= first <= 0xF3:",
    "names-of-every-utf-8-length")
text("utf-8-up-to-3-bytes", "elif 0xF0 <= first <= 0xF4:", "elif False:",
    "names-sort-as-unsigned-bytes",
    "names-of-every-utf-8-length")
text("utf-8-of-lone-continuation-bytes", "        if first < 0x80:\n", "        if first < 0xC0:\n",
    "name-with-a-continuation-byte-alone")
text("utf-8-without-del", "        if first < 0x80:\n", "        if first < 0x7F:\n",
    "names-of-every-utf-8-length")
text("utf-8-that-ends-early", "        if i + more >= len(data):\n            return False\n", "        if i + more >= len(data):\n            return True\n",
    "name-with-a-cut-sequence-at-the-end")
text("utf-8-without-the-last-byte", "        if i + more >= len(data):\n", "        if i + more + 1 >= len(data) and more:\n",
    "names-that-differ-in-unicode-normal-form",
    "names-sort-as-unsigned-bytes")
text("utf-8-with-any-second-byte", "        if more and not least <= data[i + 1] <= most:\n            return False\n", "",
    "name-with-a-code-point-above-10ffff",
    "name-with-a-surrogate")
text("utf-8-with-a-second-byte-of-bit-7", "        if more and not least <= data[i + 1] <= most:\n", "        if more and (data[i + 1] < least or more == 1 and data[i + 1] < 0x80):\n",
    "name-with-a-code-point-above-10ffff",
    "name-with-a-surrogate")
text("utf-8-with-any-third-byte", "        if more > 1 and not 0x80 <= data[i + 2] <= 0xBF:\n            return False\n", "",
    "name-with-an-ascii-third-byte",
    "name-with-a-third-byte-of-c0")
text("utf-8-with-a-third-byte-of-bit-7", "        if more > 1 and not 0x80 <= data[i + 2] <= 0xBF:\n", "        if more > 1 and not 0x80 <= data[i + 2]:\n",
    "name-with-a-third-byte-of-c0")
text("utf-8-with-any-fourth-byte", "        if more > 2 and not 0x80 <= data[i + 3] <= 0xBF:\n            return False\n", "",
    "name-with-an-ascii-fourth-byte",
    "name-with-a-fourth-byte-of-c0")
text("utf-8-with-a-fourth-byte-of-bit-7", "        if more > 2 and not 0x80 <= data[i + 3] <= 0xBF:\n", "        if more > 2 and not 0x80 <= data[i + 3]:\n",
    "name-with-a-fourth-byte-of-c0")
text("json-in-any-bytes", "    if not is_utf8(data):\n", "    if False:\n",
    "json-with-a-byte-of-latin-1",
    "json-with-a-surrogate-in-utf-8")
text("json-in-ascii", "    if not is_utf8(data):\n", "    if max(data) > 127:\n",
    "json-with-metadata",
    "source-amid-white-space-and-coded-tensors")

# JSON, byte by byte.
text("json-with-vertical-tabs", "        while self.byte() in (0x20, 0x09, 0x0A, 0x0D):\n", "        while self.byte() in (0x20, 0x09, 0x0A, 0x0B, 0x0D):\n",
    "json-with-a-vertical-tab-between-tokens",
    "json-before-a-vertical-tab")
text("json-with-form-feeds", "        while self.byte() in (0x20, 0x09, 0x0A, 0x0D):\n", "        while self.byte() in (0x20, 0x09, 0x0A, 0x0C, 0x0D):\n",
    "json-with-a-form-feed-between-tokens",
    "json-before-a-form-feed")
text("json-with-any-control-as-white-space", "        while self.byte() in (0x20, 0x09, 0x0A, 0x0D):\n", "        while 0 <= self.byte() <= 0x20:\n",
    "json-before-a-form-feed",
    "json-before-a-zero-byte")
text("json-without-tabs", "        while self.byte() in (0x20, 0x09, 0x0A, 0x0D):\n", "        while self.byte() in (0x20, 0x0A, 0x0D):\n",
    "json-with-white-space-everywhere",
    "json-with-metadata-as-null-amid-white-space-and-no-tensors")
text("json-without-carriage-returns", "        while self.byte() in (0x20, 0x09, 0x0A, 0x0D):\n", "        while self.byte() in (0x20, 0x09, 0x0A):\n",
    "json-with-white-space-everywhere",
    "json-with-metadata-as-null-amid-white-space-and-no-tensors")
text("json-without-line-feeds", "        while self.byte() in (0x20, 0x09, 0x0A, 0x0D):\n", "        while self.byte() in (0x20, 0x09, 0x0D):\n",
    "json-with-white-space-everywhere",
    "json-with-metadata-as-null-amid-white-space-and-no-tensors")
text("json-with-one-space-at-most", "        while self.byte() in (0x20, 0x09, 0x0A, 0x0D):\n", "        if self.byte() in (0x20, 0x09, 0x0A, 0x0D):\n",
    "json-of-tensors-without-dimensions",
    "json-with-metadata-as-null-amid-white-space-and-no-tensors")
text("json-with-two-values", "    if reader.at != len(data):\n", "    if False:\n",
    "json-before-a-second-object",
    "json-before-a-zero-byte")
text("json-without-white-space-behind", "    reader.space()\n    if reader.at", "    if reader.at",
    "json-of-tensors-without-dimensions",
    "json-with-metadata-as-null-amid-white-space-and-no-tensors")
text("json-words-in-any-case", "            if self.data[self.at:self.at + len(word)] == word:\n", "            if self.data[self.at:self.at + len(word)].lower() == word:\n",
    "json-with-metadata-as-null-in-upper-case",
    "json-with-metadata-as-null-capitalized")
text("json-nested-two-deep", '        """Section 3.3, rule 2. The items of an array."""\n        if depth > 2:\n', '        """Section 3.3, rule 2. The items of an array."""\n        if depth > 1:\n',
    "json-of-tensors-without-dimensions",
    "json-with-the-greatest-integers")
OBJECT = '        members = JsonObject()\n        self.space()\n        if self.byte() == ord("}"):\n'
text("json-without-empty-objects", OBJECT, OBJECT.replace('self.byte() == ord("}")', "False"),
    "json-with-empty-metadata-at-the-end",
    "shortest-safetensors-source")
text("json-without-space-in-empty-objects", OBJECT, OBJECT.replace("        self.space()\n", ""),
    "json-with-white-space-in-empty-arrays-and-objects")
COMMA = '            members.append((name, self.value(depth + 1)))\n            self.space()\n            if self.byte() == ord("}"):\n                self.at += 1\n                return members\n            self.take(ord(","))\n'
text("json-with-a-trailing-comma-in-objects", COMMA, COMMA + '            self.space()\n            if self.byte() == ord("}"):\n                self.at += 1\n                return members\n',
    "json-with-a-trailing-comma")
text("json-with-a-trailing-comma-in-the-outermost-object", COMMA, COMMA + '            self.space()\n            if self.byte() == ord("}") and depth == 0:\n                self.at += 1\n                return members\n',
    "json-with-a-trailing-comma")
text("json-with-a-trailing-comma-in-inner-objects", COMMA, COMMA + '            self.space()\n            if self.byte() == ord("}") and depth == 1:\n                self.at += 1\n                return members\n',
    "json-with-a-trailing-comma-in-a-member",
    "json-with-a-trailing-comma-in-metadata")
text("json-without-commas-in-objects", COMMA, COMMA.replace('            self.take(ord(","))\n', '            if self.byte() == ord(","):\n                self.at += 1\n'),
    "json-without-a-comma-between-members",
    "json-without-a-comma-between-tensors")
text("json-without-commas-in-the-outermost-object", COMMA, COMMA.replace('            self.take(ord(","))\n', '            if depth or self.byte() == ord(","):\n                self.take(ord(","))\n'),
    "json-without-a-comma-between-tensors")
text("json-with-two-commas-in-objects", COMMA, COMMA + '            while self.byte() == ord(","):\n                self.at += 1\n',
    "json-with-two-commas-between-tensors")
text("json-with-a-comma-first-in-objects", '        self.take(ord("{"))\n', '        self.take(ord("{"))\n        if self.byte() == ord(","):\n            self.at += 1\n',
    "json-with-a-comma-alone-in-metadata",
    "json-with-a-comma-before-the-first-tensor")
text("json-with-semicolons", COMMA, COMMA.replace('            self.take(ord(","))\n', '            if self.byte() == ord(";"):\n                self.at += 1\n            else:\n                self.take(ord(","))\n'),
    "json-with-a-semicolon-between-tensors")
text("json-without-colons", '            self.take(ord(":"))\n', '            self.space()\n            if self.byte() == ord(":"):\n                self.at += 1\n',
    "json-without-a-colon")
text("json-with-equals-signs", '            self.take(ord(":"))\n', '            self.space()\n            if self.byte() in (ord(":"), ord("=")):\n                self.at += 1\n',
    "json-with-an-equals-sign")
text("json-with-two-colons", '            self.take(ord(":"))\n', '            self.take(ord(":"))\n            if self.byte() == ord(":"):\n                self.at += 1\n',
    "json-with-two-colons")
text("json-without-space-before-colons", '            self.take(ord(":"))\n', '            if self.byte() != ord(":"):\n                raise ValueError("space")\n            self.at += 1\n',
    "json-with-white-space-everywhere",
    "json-with-metadata-as-null-amid-white-space-and-no-tensors")
text("json-of-objects-without-an-end", '            members.append((name, self.value(depth + 1)))\n            self.space()\n            if self.byte() == ord("}"):\n',
     '            members.append((name, self.value(depth + 1)))\n            self.space()\n            if self.byte() == -1:\n                return members\n            if self.byte() == ord("}"):\n',
    "json-without-its-end")
text("json-of-objects-that-end-with-brackets", '            self.space()\n            if self.byte() == ord("}"):\n                self.at += 1\n                return members\n            self.take(ord(","))\n',
     '            self.space()\n            if self.byte() in (ord("}"), ord("]")):\n                self.at += 1\n                return members\n            self.take(ord(","))\n',
    "json-with-a-bracket-for-the-last-brace")
ITEM = '            items.append(self.value(depth + 1))\n            self.space()\n            if self.byte() == ord("]"):\n                self.at += 1\n                return items\n            self.take(ord(","))\n'
text("json-without-space-in-empty-arrays", '        items = []\n        self.space()\n', '        items = []\n',
    "json-with-white-space-in-empty-arrays-and-objects")
text("json-without-empty-arrays", '        items = []\n        self.space()\n        if self.byte() == ord("]"):\n', '        items = []\n        self.space()\n        if False:\n',
    "safetensors-source",
    "json-of-tensors-without-dimensions")
text("json-with-a-trailing-comma-in-arrays", ITEM, ITEM + '            self.space()\n            if self.byte() == ord("]"):\n                self.at += 1\n                return items\n',
    "json-with-a-trailing-comma-in-an-array")
text("json-without-commas-in-arrays", ITEM, ITEM.replace('            self.take(ord(","))\n', '            if self.byte() == ord(","):\n                self.at += 1\n'),
    "json-without-a-comma-between-offsets")
text("json-with-two-commas-in-arrays", ITEM, ITEM + '            self.space()\n            while self.byte() == ord(","):\n                self.at += 1\n',
    "json-with-two-commas-between-offsets")
text("json-with-a-comma-first-in-arrays", '        self.take(ord("["))\n', '        self.take(ord("["))\n        if self.byte() == ord(","):\n            self.at += 1\n',
    "json-with-a-comma-before-the-first-offset")
text("json-of-arrays-that-end-with-braces", ITEM, ITEM.replace('self.byte() == ord("]")', 'self.byte() in (ord("]"), ord("}"))'),
    "json-with-a-brace-for-a-bracket")
text("json-numbers-with-leading-zeros", '        if self.data[begin] == 0x30 and digits > 1:\n', "        if False:\n",
    "json-with-a-dimension-of-a-leading-zero")
text("json-zeros-alone-lead", '        if self.data[begin] == 0x30 and digits > 1:\n', '        if self.data[begin] == 0x30 and self.data[begin:self.at].strip(b"0"):\n',
    "json-with-a-dimension-of-two-zeros",
    "json-with-a-dimension-of-three-zeros")
text("json-numbers-with-plus-signs", "        begin = self.at\n        value = 0\n", '        if self.byte() == ord("+"):\n            self.at += 1\n        begin = self.at\n        value = 0\n',
    "json-with-a-dimension-of-a-plus-sign")
text("json-numbers-with-minus-signs", "        begin = self.at\n        value = 0\n", '        if self.byte() == ord("-"):\n            self.at += 1\n        begin = self.at\n        value = 0\n',
    "json-with-an-offset-of-minus-0")
text("json-numbers-with-a-fraction-dropped", "        digits = self.at - begin\n",
     '        digits = self.at - begin\n        if self.byte() == ord("."):\n            self.at += 1\n            while 0x30 <= self.byte() <= 0x39:\n                self.at += 1\n',
    "json-with-an-offset-of-0-with-a-fraction",
    "json-with-a-dimension-of-a-fraction-of-0")
text("json-numbers-with-an-exponent-dropped", "        digits = self.at - begin\n",
     '        digits = self.at - begin\n        if self.byte() in b"eE":\n            self.at += 1\n            while 0x30 <= self.byte() <= 0x39:\n                self.at += 1\n',
    "json-with-a-dimension-of-an-upper-case-exponent",
    "json-with-a-dimension-of-an-exponent-of-0")
text("json-numbers-up-to-a-letter", "        digits = self.at - begin\n",
     '        digits = self.at - begin\n        while 0x41 <= self.byte() <= 0x7A and self.byte() not in (0x5B, 0x5D):\n            self.at += 1\n',
    "json-with-a-dimension-of-digits-and-a-letter")
text("json-numbers-wrap", "            if value >= 2**64:\n                raise ValueError(\"2^64 or more\")\n", "            value %= 2**64\n",
    "json-with-an-offset-of-2-to-the-64-more",
    "json-with-a-dimension-of-2-to-the-64-more")
text("json-numbers-of-19-digits", "            if value >= 2**64:\n", "            if value >= 10**19:\n",
    "json-with-the-greatest-integers")
text("json-numbers-of-20-digits", "            if value >= 2**64:\n                raise ValueError(\"2^64 or more\")\n",
     "            if self.at - begin >= 20:\n                raise ValueError(\"2^64 or more\")\n            value %= 2**64\n",
    "json-with-an-offset-of-2-to-the-64-more",
    "json-with-a-dimension-of-2-to-the-64-more")
text("json-numbers-below-2-to-the-64-minus-1", "            if value >= 2**64:\n", "            if value >= 2**64 - 1:\n",
    "json-with-the-greatest-integers")
CONTROL = "            if byte < 0x20:\n                raise ValueError(\"a control character, or no end\")\n"
for _byte, _name in ((0x00, "nul"), (0x01, "byte-01"), (0x08, "backspaces"), (0x09, "tabs"), (0x0A, "line-feeds"), (0x0B, "vertical-tabs"), (0x0C, "form-feeds"),
                     (0x0D, "carriage-returns"), (0x1B, "escapes"), (0x1F, "byte-1f")):
    text(f"json-strings-with-{_name}", CONTROL, CONTROL.replace("byte < 0x20", f"byte < 0x20 and byte != {_byte}"),
         f"json-with-the-byte-{_byte:02x}-in-a-string" if _byte else "json-with-a-zero-byte-in-a-string")
text("json-strings-with-any-control-character", CONTROL, CONTROL.replace("byte < 0x20", "byte < 0"),
    "json-with-a-line-feed-in-a-string",
    "json-with-a-zero-byte-in-a-string")
text("json-strings-without-bytes-above-127", CONTROL, CONTROL.replace("byte < 0x20", "byte < 0x20 or byte > 127"),
    "json-with-metadata",
    "source-amid-white-space-and-coded-tensors")
text("json-strings-without-del", CONTROL, CONTROL.replace("byte < 0x20", "byte < 0x20 or byte == 127"),
    "json-with-escapes-at-their-edges")
text("json-strings-without-spaces", CONTROL, CONTROL.replace("byte < 0x20", "byte <= 0x20"),
    "json-with-every-escape")
text("json-strings-end-at-a-single-quote", "        if self.byte() != ord('\"'):\n", "        if self.byte() not in b'\"\\'':\n",
    "json-with-escapes-at-their-edges",
     also=[("        while self.byte() != ord('\"'):\n", "        while self.byte() not in (34, 39):\n")])
text("json-strings-end-at-escaped-quotes", '            if byte != ord("\\\\"):\n', '            if byte != ord("\\\\") or self.byte() == ord(\'"\'):\n',
    "json-with-every-escape")
text("json-strings-end-at-a-nul", '        return text.decode("utf-8", "replace")\n', '        return text.split(b"\\0")[0].decode("utf-8", "replace")\n',
    "source-with-a-longer-name",
    "json-with-every-escape")
text("json-strings-of-255-bytes", '        return text.decode("utf-8", "replace")\n', '        return text[:255].decode("utf-8", "replace")\n',
    "json-with-a-name-of-65532-bytes")
text("json-strings-of-1023-bytes", '        return text.decode("utf-8", "replace")\n', '        return text[:1023].decode("utf-8", "replace")\n',
    "json-with-a-name-of-65532-bytes")
SHORT = '        short = {0x22: b\'"\', 0x5C: b"\\\\", 0x2F: b"/", 0x62: b"\\b", 0x66: b"\\f", 0x6E: b"\\n", 0x72: b"\\r", 0x74: b"\\t"}\n'
for _letter, _name in (('"', "quotes"), ("\\", "backslashes"), ("/", "slashes"), ("b", "backspaces"), ("f", "form-feeds"), ("n", "line-feeds"),
                       ("r", "carriage-returns"), ("t", "tabs")):
    text(f"json-without-escaped-{_name}", SHORT, SHORT + f"        short.pop({ord(_letter)})\n",
         "json-with-every-escape")
text("json-with-escaped-single-quotes", SHORT, SHORT + "        short[0x27] = b\"'\"\n",
    "json-with-an-escaped-single-quote")
text("json-with-escaped-vertical-tabs", SHORT, SHORT + "        short[0x76] = b\"\\v\"\n",
    "json-with-an-escaped-vertical-tab")
text("json-with-escaped-nul", SHORT, SHORT + "        short[0x30] = b\"\\0\"\n",
    "json-with-an-escaped-nul-of-c")
text("json-with-escaped-bells", SHORT, SHORT + "        short[0x61] = b\"\\a\"\n",
    "json-with-an-escaped-bell")
text("json-with-escaped-line-ends", SHORT, SHORT + "        short[0x0A] = b\"\"\n",
    "json-with-an-escaped-line-end")
text("json-with-escapes-in-upper-case", SHORT, SHORT + "        short.update({code - 32: text for code, text in list(short.items()) if code > 96})\n",
    "json-with-an-escape-of-n-in-upper-case")
text("json-with-any-escape", '            raise ValueError("an unknown escape")\n', "            return bytes([byte])\n",
    "json-with-an-unknown-escape")
text("json-with-escapes-by-u-in-upper-case", '        if byte != ord("u"):\n', '        if byte not in b"uU":\n',
    "json-with-an-escape-of-u-in-upper-case")
text("json-with-escapes-by-x", '        if byte != ord("u"):\n',
     '        if byte == ord("x"):\n            self.at += 2\n            return bytes([int(self.data[self.at - 2:self.at], 16)])\n        if byte != ord("u"):\n',
    "json-with-an-unknown-escape")
text("json-escapes-of-slashes-stay", SHORT, SHORT.replace('0x2F: b"/"', '0x2F: b"\\\\/"'),
    "json-with-every-escape")
text("json-escapes-of-form-feeds-and-backspaces-exchanged", SHORT, SHORT.replace('0x62: b"\\b", 0x66: b"\\f"', '0x62: b"\\f", 0x66: b"\\b"'),
    "json-with-every-escape")
HIGH = "        if 0xD800 <= unit <= 0xDBFF:\n"
LOW = "        elif 0xDC00 <= unit <= 0xDFFF:\n"
text("json-surrogates-up-to-dbfe", HIGH, "        if 0xD800 <= unit <= 0xDBFE:\n",
    "json-with-escapes-at-their-edges", also=[(LOW, "        elif 0xDBFF <= unit <= 0xDFFF:\n")])
text("json-surrogates-from-d801-on", HIGH, "        if 0xD800 < unit <= 0xDBFF:\n",
    "json-with-escapes-at-their-edges", also=[(LOW, "        elif 0xDC00 <= unit <= 0xDFFF or unit == 0xD800:\n")])
text("json-low-surrogates-from-dc01-on", "            if not 0xDC00 <= low <= 0xDFFF:\n", "            if not 0xDC00 < low <= 0xDFFF:\n",
    "json-with-escapes-at-their-edges")
text("json-low-surrogates-up-to-dffe", "            if not 0xDC00 <= low <= 0xDFFF:\n", "            if not 0xDC00 <= low < 0xDFFF:\n",
    "json-with-escapes-at-their-edges")
text("json-low-surrogates-up-to-e000", "            if not 0xDC00 <= low <= 0xDFFF:\n", "            if not 0xDC00 <= low <= 0xE000:\n",
    "json-with-d800-before-e000")
text("json-low-surrogates-from-dbff-on", "            if not 0xDC00 <= low <= 0xDFFF:\n", "            if not 0xDBFF <= low <= 0xDFFF:\n",
    "json-with-d800-before-dbff")
text("json-pairs-with-any-unit", "            if not 0xDC00 <= low <= 0xDFFF:\n", "            if False:\n",
    "json-with-a-high-surrogate-before-another-escape", also=[("            unit = 0x10000 + (unit - 0xD800 << 10) + (low - 0xDC00)\n", "            unit = 0x10000 + (unit - 0xD800 << 10) + (low & 0x3FF)\n")])
text("json-lone-high-surrogates", '            if self.data[self.at:self.at + 2] != b"\\\\u":\n                raise ValueError("half a surrogate pair")\n',
     '            if self.data[self.at:self.at + 2] != b"\\\\u":\n                return b"?"\n',
    "json-with-a-high-surrogate-before-a-letter",
    "json-with-a-high-surrogate-alone-in-metadata")
text("json-lone-low-surrogates", LOW, LOW + '            return b"?"\n',
    "json-with-a-low-surrogate-alone-in-metadata",
    "json-with-a-surrogate-alone-in-a-metadata-name")
text("json-lone-low-surrogates-of-dfff", LOW, "        elif 0xDC00 <= unit < 0xDFFF:\n",
    "json-with-a-surrogate-alone-in-a-metadata-name", also=[('        return chr(unit).encode("utf-8", "surrogatepass")\n', '        return chr(unit).encode("utf-8", "replace")\n')])
text("json-lone-low-surrogates-of-dc00", LOW, "        elif 0xDC00 < unit <= 0xDFFF:\n",
    "json-with-dc00-alone", also=[('        return chr(unit).encode("utf-8", "surrogatepass")\n', '        return chr(unit).encode("utf-8", "replace")\n')])
text("json-without-u-d7ff", HIGH, "        if 0xD7FF <= unit <= 0xDBFF:\n",
    "json-with-escapes-at-their-edges")
text("json-without-u-e000", LOW, "        elif 0xDC00 <= unit <= 0xE000:\n",
    "json-with-escapes-at-their-edges")
text("json-pairs-10000-too-low", "            unit = 0x10000 + (unit", "            unit = (unit",
    "json-with-every-escape")
text("json-pairs-as-two-characters", "            unit = 0x10000 + (unit - 0xD800 << 10) + (low - 0xDC00)\n",
     '            return (chr(unit) + chr(low)).encode("utf-8", "surrogatepass")\n',
    "json-with-every-escape")
text("json-hexadecimal-up-to-g", "            elif 0x41 <= digit <= 0x46:\n", "            elif 0x41 <= digit <= 0x47:\n",
    "json-with-a-g-in-an-escape",
    "json-with-a-last-g-in-an-escape")
text("json-hexadecimal-up-to-small-g", "            elif 0x61 <= digit <= 0x66:\n", "            elif 0x61 <= digit <= 0x67:\n",
    "json-with-a-small-g-in-an-escape")
text("json-hexadecimal-in-capitals", "            elif 0x61 <= digit <= 0x66:\n", "            elif False:\n",
    "json-with-metadata-as-null-by-an-escaped-name",
    "json-with-escaped-names")
text("json-hexadecimal-in-small-letters", "            elif 0x41 <= digit <= 0x46:\n", "            elif False:\n",
    "json-with-metadata-as-null-by-an-escaped-name",
    "json-with-escaped-names")
text("json-hexadecimal-of-any-bytes", '                raise ValueError("no hexadecimal digit")\n', "                digit &= 15\n",
    "json-with-a-sign-in-an-escape")
text("json-hexadecimal-with-colons", "            if 0x30 <= digit <= 0x39:\n", "            if 0x30 <= digit <= 0x3A:\n",
    "json-with-a-colon-in-an-escape")
text("json-hexadecimal-with-at-signs", "            elif 0x41 <= digit <= 0x46:\n", "            elif 0x40 <= digit <= 0x46:\n",
    "json-with-an-at-sign-in-an-escape")
text("json-hexadecimal-with-graves", "            elif 0x61 <= digit <= 0x66:\n", "            elif 0x60 <= digit <= 0x66:\n",
    "json-with-a-grave-in-an-escape")
text("json-hexadecimal-with-spaces", '            if 0x30 <= digit <= 0x39:\n', '            if digit == 0x20:\n                continue\n            if 0x30 <= digit <= 0x39:\n',
    "json-with-a-space-in-an-escape",
    "json-with-a-space-at-the-end-of-an-escape")
text("json-hexadecimal-of-up-to-4-digits", '            else:\n                raise ValueError("no hexadecimal digit")\n',
     '            else:\n                self.at -= 4 - digits.index(digit)\n                break\n',
    "json-with-an-escape-cut-short",
    "json-with-a-sign-in-an-escape")
