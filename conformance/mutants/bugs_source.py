"""Bugs of decoders: what the JSON of the source section describes (section 3.3)."""
from planted import DECODE, Bugs

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
bug("json-counts-three-members",
    'need(fields.keys() == {"dtype", "shape", "data_offsets"},',
    "need(len(value) == 3,",
    "json-with-dtype-twice-and-no-shape",
    "json-with-offsets-twice-and-no-shape",
    "json-with-shape-twice-and-no-offsets",
    "json-with-dtype-twice-and-no-offsets",
    also=[("need(len(members) == len(value),", "need(True,"),
          ('fields["dtype"], fields["shape"], fields["data_offsets"]\n',
           'fields["dtype"], fields.get("shape", []), fields.get("data_offsets", [0, 0])\n')])
bug("json-tells-members-by-their-lengths",
    'need(fields.keys() == {"dtype", "shape", "data_offsets"},',
    'fields = {"shape" if len(member) == 5 and member != "dtype" else member: fields[member] for member in fields}\n'
    '        need(fields.keys() == {"dtype", "shape", "data_offsets"},',
    "json-with-another-member-of-5-letters-for-shape")
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
bug("tensors-in-an-unstable-order-above-20", SORTED,
    "return sorted(described if len(described) <= 20 else described[::-1], key=lambda tensor: tensor[3:])",
    "sixty-empty-tensors-at-0")
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
    ("dtypes-that-sort-behind", "        need(found[0] == expected[0] and found[1] >= expected[1] and found[2:] == expected[2:], "
     "\"name, dtype, shape, length\", found, expected)\n",
     "source-with-a-dtype-that-sorts-behind"),
    ("dtypes-that-sort-before", "        need(found[0] == expected[0] and found[1] <= expected[1] and found[2:] == expected[2:], "
     "\"name, dtype, shape, length\", found, expected)\n",
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
bug("json-offsets-backwards", "len(offsets) == 2 and offsets[0] <= offsets[1],", "len(offsets) == 2,",
    equivalent="a length below 0 is not that of the directory")
