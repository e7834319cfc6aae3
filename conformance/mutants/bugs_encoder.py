"""Bugs of encoders (section 11)."""
from planted import DECODE, ENCODE, Bugs

bug = Bugs("encode", ENCODE)
shared = Bugs("encode", DECODE)
ALL = [bug, shared]

bug("header-length-wraps",
    'length = 8 + int.from_bytes(data[:8], "little")',
    'length = (8 + int.from_bytes(data[:8], "little")) % 2**64',
    "source-with-a-header-that-wraps-to-0-refused")
bug("takes-bytes-behind-the-data",
    "if len(data) != length + expected:",
    "if len(data) < length + expected:",
    "source-with-a-zero-byte-behind-refused",
    "source-without-tensors-and-a-byte-refused")
bug("takes-data-cut-short",
    "if len(data) != length + expected:",
    "if len(data) > length + expected:",
    "source-without-its-last-byte-refused",
    "source-without-data-refused")
bug("takes-gaps",
    "if begin != expected:",
    "if begin < expected:",
    "source-with-a-gap-refused",
    "source-with-a-byte-before-the-first-tensor-refused",
    "source-with-an-empty-tensor-behind-refused")
bug("takes-overlaps",
    "if begin != expected:",
    "if begin > expected:",
    "source-with-an-overlap-refused",
    "source-with-a-tensor-in-another-refused")
bug("takes-data-of-any-length",
    "if end - begin != size:",
    "if False:",
    "source-with-one-more-byte-than-its-shape-refused",
    "source-with-one-byte-less-than-its-shape-refused",
    "source-with-two-bytes-less-than-its-shape-refused",
    "source-with-as-many-bytes-as-elements-of-2-refused",
    "source-with-no-bytes-and-one-element-refused",
    "source-with-bytes-and-no-elements-refused",
    "source-with-a-byte-for-each-element-of-4-bits-refused",
    "source-with-a-byte-for-each-element-of-6-bits-refused")
bug("bits-wrap-at-2-to-the-64",
    "_, _, _, size = decoder.check_type(0, code, shape)",
    'size = DTYPES[code][1] * __import__("math").prod(shape) % 2**64 // 8',
    "source-with-bits-that-wrap-to-8-refused",
    "source-with-bytes-that-wrap-to-8-refused")
bug("takes-any-rank",
    " or len(shape) > 64:",
    ":",
    "source-of-rank-65-refused",
    "source-of-rank-65-and-no-elements-refused")
bug("takes-names-of-any-length",
    "if len(name.encode()) > 65535 or",
    "if",
    "source-with-a-name-of-65536-bytes-refused")
bug("names-counted-in-characters",
    "if len(name.encode()) > 65535 or",
    "if len(name) > 65535 or",
    "source-with-a-name-of-32768-characters-of-2-bytes-refused")
bug("constants-from-128-bits-on",
    "n * width > 128",
    "n * width >= 128",
    "constants-at-128-bits-huffman-12")
bug("constants-of-more-than-16-weights",
    "n * width > 128",
    "n > 16",
    "constants-at-128-bits-palette-12")
bug("samples-32768-weights",
    "sample = values if n <= 32768",
    "sample = values if n < 32768",
    "sample-of-more-than-32768-weights-huffman-12")
bug("samples-every-16th-step",
    "256 * 17)",
    "256 * 16)",
    "sample-of-more-than-32768-weights-huffman-12")
bug("palette-of-all-weights-for-the-sample",
    "choose_palette(counts, width)\n"
    "    if enc",
    "choose_palette(Counter(values), width)\n"
    "    if enc",
    "sample-with-a-palette-of-its-own-huffman-12",
    "sample-with-a-palette-of-its-own-palette-12")
bug("every-chunk-is-full",
    "y = Counter(sample), len(sample), min(n, 2**k)",
    "y = Counter(sample), len(sample), 2**k",
    "constants-at-128-bits-huffman-12")
bug("a-huffman-record-costs-799-bits",
    "+ 800 * size",
    "+ 799 * size",
    "form-huffman-at-the-threshold-huffman-12")
bug("a-palette-record-costs-159-bits",
    "+ 160 * size",
    "+ 159 * size",
    "form-palette-at-the-threshold-palette-12")
bug("coded-at-the-threshold",
    "64 * bits < 63 *",
    "64 * bits <= 63 *",
    "form-huffman-at-the-threshold-huffman-12")
bug("a-patch-costs-20-bits-more-than-an-index",
    "(4 * size + 24 * outside)",
    "(4 * size + 20 * outside)",
    "form-palette-at-the-threshold-palette-12")
bug("greater-values-first",
    "key=lambda x: (-counts[x], x))[:16]",
    "key=lambda x: (-counts[x], -x))[:16]",
    "palette-of-equal-counts-huffman-12")
bug("completes-palettes-upwards",
    "[*range(g - 1, -1, -1), *range(g + 1, 2**width)]",
    "[*range(g + 1, 2**width), *range(g - 1, -1, -1)]",
    "palette-completion-huffman-12")
bug("codes-of-7-bits",
    "for _ in range(7):",
    "for _ in range(6):",
    "code-lengths-at-the-limit-huffman-12")
bug("packages-before-items",
    "level = sorted(items + packages",
    "level = sorted(packages + items",
    "code-lengths-where-packages-tie-huffman-12")
bug("later-items-first",
    "package_merge(sorted((counts[palette[j]], j) for j in entries))",
    "package_merge(sorted(((counts[palette[j]], j) for j in entries), key=lambda item: (item[0], -item[1])))",
    "code-lengths-of-equal-counts-huffman-12")
bug("placeholder-is-the-last-of-the-shortest",
    "return min(lengths, key=lambda j: (lengths[j], j))",
    "return min(lengths, key=lambda j: (lengths[j], -j))",
    "palette-of-equal-counts-huffman-12")
bug("placeholder-is-the-first-entry",
    "return min(lengths, key=lambda j: (lengths[j], j))",
    "return min(lengths)",
    "placeholders-huffman-12")
bug("a-patch-costs-no-placeholder",
    "without = lengths[placeholder(lengths)] + 24",
    "without = 24",
    "one-in-4096-huffman-12")
bug("a-code-for-more-than-one-in-4096",
    "4096 * counts[x] >= total",
    "4096 * counts[x] > total",
    "one-in-4096-huffman-12")
bug("a-code-for-every-value",
    "counts[x] > 0 and 4096 * counts[x] >= total",
    "counts[x] > 0",
    "one-in-4096-huffman-12")
bug("frequent-is-more-than-one-in-64",
    "64 * counts[x] >= total",
    "64 * counts[x] > total",
    "patches-for-rare-values-huffman-12")
bug("rare-is-less-than-one-in-64",
    "64 * outside <= total",
    "64 * outside < total",
    "patches-for-rare-values-huffman-12")
bug("frequent-values-at-equal-costs",
    "< cost(chosen, counts, palette)",
    "<= cost(chosen, counts, palette)",
    "patches-for-rare-values-huffman-12")
bug("rare-values-always-have-codes",
    "if frequent and frequent != usual and 64 * outside <= total:",
    "if False:",
    "patches-for-rare-values-huffman-12")
bug("own-code-at-equal-costs",
    "if not 256 * cost(lengths, counts, palette) < 255",
    "if not 256 * cost(lengths, counts, palette) <= 255",
    "own-code-at-equal-costs-huffman-12")
bug("field-code-of-the-first-chunk",
    "choose_code(Counter(values), n, palette)",
    "choose_code(Counter(values[:2**k]), min(n, 2**k), palette)",
    "code-lengths-at-the-limit-huffman-12")
bug("surplus-is-index-1",
    "index_of.get(x, 0) for x in values] + [0]",
    "index_of.get(x, 0) for x in values] + [1]",
    "two-chunks-of-2-to-the-12-palette-12")
bug("verbatim-where-no-shorter",
    "if align(16 + len(body), 16) > decoder",
    "if align(16 + len(body), 16) >= decoder",
    "verbatim-in-palette-palette-12",
    "verbatim-in-huffman-huffman-12")
bug("every-record-checksum-covers-the-plain-bytes",
    '            covered = b""\n',
    "",
    "types-of-16-and-32-bits-huffman-12")
bug("raw-only-where-it-is-shorter",
    "align(len(stored.data), unit) >= align",
    "align(len(stored.data), unit) > align",
    "raw-where-nothing-is-saved-huffman-12")
bug("small-tensors-save-256-bytes",
    "align(len(stored.data), unit) >= align(len(raw.data), unit)",
    "align(len(stored.data), 256) >= align(len(raw.data), 256)",
    "palette-of-equal-counts-huffman-12")
shared("takes-elements-of-half-a-byte",
    "require(elements * bits % 8 == 0,",
    "require(True,",
    "source-with-one-element-of-4-bits-in-no-byte-refused",
    "source-with-three-elements-of-4-bits-in-one-byte-refused",
    "source-with-three-elements-of-6-bits-refused")
shared("dimensions-wrap-at-2-to-the-64",
    "            elements *= dimension\n",
    "            elements = elements * dimension % 2**64\n",
    "source-with-dimensions-that-wrap-to-0-refused",
    "source-with-dimensions-that-wrap-to-1-refused")
shared("names-in-any-bytes",
    'text = data.decode("utf-8")',
    'text = data.decode("utf-8", "replace")',
    "source-with-a-name-with-a-byte-of-latin-1-refused",
    "source-with-a-name-with-an-overlong-slash-refused",
    "source-with-a-name-with-a-surrogate-refused")
shared("keeps-the-last-of-two-names",
    "need(len(members) == len(value),",
    "need(True,",
    "json-with-a-tensor-twice-refused",
    "json-with-a-tensor-twice-once-escaped-refused")
shared("takes-text-behind-the-object",
    "    if rest:\n",
    "    if False:\n",
    "json-before-a-second-object-refused",
    "json-before-a-zero-byte-refused")
shared("takes-half-a-surrogate-pair",
    "    return not any(",
    "    return True or not any(",
    "json-with-a-high-surrogate-alone-in-metadata-refused")
shared("takes-unknown-members",
    'need(fields.keys() == {"dtype", "shape", "data_offsets"},',
    'need(fields.keys() >= {"dtype", "shape", "data_offsets"},',
    "json-with-an-unknown-member-refused")
shared("takes-fractions",
    "parse_float=float",
    "parse_float=lambda digits: int(float(digits))",
    "json-with-an-offset-of-0-with-a-fraction-refused")

# 11.1 Container
bug("writes-the-tensors-in-the-order-of-names", "    return write_file(1, source.section, source.tensors,\n",
    "    source = source._replace(tensors=sorted(source.tensors))\n    return write_file(1, source.section, source.tensors,\n",
    "mixed-tensors-huffman-12",
    "mixed-tensors-palette-12")
bug("writes-kind-0", "    return write_file(1, source.section, source.tensors,\n", "    return write_file(0, source.section, source.tensors,\n",
    "no-tensors-huffman-12",
    "no-tensors-palette-12")
bug("writes-a-minor-version", '"<HHIQQQIIIIB3x", 1, 0, count,', '"<HHIQQQIIIIB3x", 1, 1, count,',
    "no-tensors-huffman-12",
    "no-tensors-palette-12")
bug("writes-by-name-as-ranks", "sorted_by_name[i], 0)", "sorted_by_name.index(i), 0)",
    "raw-where-nothing-is-saved-palette-12",
    "raw-where-nothing-is-saved-huffman-12")
bug("writes-by-name-in-directory-order", "sorted_by_name[i], 0)", "i, 0)",
    "raw-where-nothing-is-saved-palette-12",
    "raw-where-nothing-is-saved-huffman-12")
bug("writes-a-chunk-size-for-every-tensor", "    if not used:\n        return Payload(bytes(payload), forms, 0, 0)\n", "    if not used:\n        return Payload(bytes(payload), forms, k, 0)\n",
    "raw-where-nothing-is-saved-palette-12",
    "raw-where-nothing-is-saved-huffman-12")
bug("writes-a-chunk-size-for-constants", "        return Payload(bytes(payload), forms, 0, zlib.crc32(stored))\n", "        return Payload(bytes(payload), forms, k, zlib.crc32(stored))\n",
    "raw-where-nothing-is-saved-huffman-12",
    "form-palette-at-the-threshold-palette-12")
bug("compresses-no-empty-tensors-but-names-their-forms", "    for i, tensor in enumerate(tensors):\n        stored = Payload(b\"\", (), 0, 0)\n", "    for i, tensor in enumerate(tensors):\n        stored = Payload(b\"\", (3,) if not tensor.data else (), 0, 0)\n",
    "mixed-tensors-huffman-12",
    "mixed-tensors-palette-12")
bug("writes-the-source-to-a-multiple-of-8", "    return write_file(1, source.section, source.tensors,\n", "    return write_file(1, source.section.rstrip(b' '), source.tensors,\n",
    "no-tensors-huffman-12",
    "no-tensors-palette-12")

# 11.2 Forms
bug("constants-of-more-than-128-bytes", "if n * width > 128 and", "if n * width > 1024 and",
    "form-of-few-weights-huffman-12",
    "form-of-few-weights-palette-12")
bug("constants-by-their-first-and-last-weight", "values.count(values[0]) == n:", "values[0] == values[-1] and len(set(values[:300])) == 1:",
    "patches-for-rare-values-huffman-13",
    "patches-for-rare-values-huffman-12")
bug("constants-of-the-sample", "values.count(values[0]) == n:", "len(set(values if n <= 32768 else b''.join(values[at:at + 256] for at in range(0, n, 256 * 17)))) == 1:",
    "raw-where-the-sample-misleads-huffman-12",
    "sample-of-more-than-32768-weights-huffman-12")
bug("samples-without-a-short-last-step", "for at in range(0, n, 256 * 17))\n    counts, size", "for at in range(0, n - 255, 256 * 17))\n    counts, size",
    "sample-of-more-than-32768-weights-huffman-12")
bug("samples-from-step-1-on", "for at in range(0, n, 256 * 17))\n    counts, size", "for at in range(256, n, 256 * 17))\n    counts, size",
    "raw-where-the-sample-misleads-huffman-12",
    "sample-of-more-than-32768-weights-huffman-12")
bug("samples-every-18th-step", "for at in range(0, n, 256 * 17))\n    counts, size", "for at in range(0, n, 256 * 18))\n    counts, size",
    "sample-with-a-palette-of-its-own-huffman-12",
    "sample-with-a-palette-of-its-own-palette-12")
bug("samples-32769-weights", "sample = values if n <= 32768", "sample = values if n <= 32769",
    "sample-of-more-than-32768-weights-huffman-12")
bug("chunks-of-the-sample", "Counter(sample), len(sample), min(n, 2**k)", "Counter(sample), len(sample), min(len(sample), 2**k)",
    "sample-of-more-than-32768-weights-huffman-12")
bug("a-patch-of-a-palette-costs-25-bits", "(4 * size + 24 * outside)", "(4 * size + 25 * outside)",
    "form-palette-at-the-threshold-palette-12")
bug("a-patch-of-a-palette-costs-23-bits", "(4 * size + 24 * outside)", "(4 * size + 23 * outside)",
    "form-palette-at-the-threshold-palette-12")
bug("saves-one-part-in-65", "return encoding if 64 * bits < 63 * width * size * y else PLAIN", "return encoding if 65 * bits < 64 * width * size * y else PLAIN",
    "form-huffman-at-the-threshold-huffman-12",
    "form-palette-at-the-threshold-palette-12")
bug("saves-anything", "return encoding if 64 * bits < 63 * width * size * y else PLAIN", "return encoding if bits < width * size * y else PLAIN",
    "form-huffman-at-the-threshold-huffman-12",
    "form-palette-at-the-threshold-palette-12")
bug("saves-by-integer-division", "return encoding if 64 * bits < 63 * width * size * y else PLAIN", "return encoding if bits // (size * y) * 64 < 63 * width else PLAIN",
    "form-huffman-at-the-threshold-huffman-12",
    "form-palette-at-the-threshold-palette-12")
bug("products-of-forms-in-32-bits", "return encoding if 64 * bits < 63 * width * size * y else PLAIN", "return encoding if 64 * bits % 2**32 < 63 * width * size * y % 2**32 else PLAIN",
    "two-chunks-of-2-to-the-12-huffman-12",
    "sample-of-more-than-32768-weights-huffman-12")
bug("fields-of-5-bits-are-plain-in-palette", "encoding == PALETTE and width <= 4:", "encoding == PALETTE and width <= 5:",
    "types-of-16-and-32-bits-palette-12",
    "types-of-8-bits-palette-12")
bug("narrow-fields-are-huffman-in-palette", "encoding == PALETTE and width <= 4:", "False:",
    "types-of-64-bits-palette-12",
    "types-of-8-bits-palette-12", also=[("    counts, size, y = Counter", "    encoding = HUFFMAN if width <= 4 else encoding\n    counts, size, y = Counter")])

# 11.3 Palettes
bug("palettes-by-count-alone", "key=lambda x: (-counts[x], x))[:16]", "key=lambda x: -counts[x])[:16]",
    "palette-of-equal-counts-palette-12",
    "palette-of-equal-counts-huffman-12")
bug("palettes-of-15", "key=lambda x: (-counts[x], x))[:16]", "key=lambda x: (-counts[x], x))[:15]",
    "palette-completion-huffman-12",
    "palette-completion-palette-12")
bug("completes-palettes-from-the-least", "        g = max(palette)\n", "        g = min(palette)\n",
    "palette-completion-huffman-12",
    "palette-completion-palette-12")
bug("completes-palettes-from-the-most-frequent", "        g = max(palette)\n", "        g = palette[0]\n",
    "palette-completion-huffman-12",
    "palette-completion-palette-12")
bug("completes-palettes-with-repetition", "[x for x in completion if x not in palette][:16 - len(palette)]", "completion[:16 - len(palette)]",
    "types-of-8-bits-palette-12",
    "types-of-8-bits-huffman-12")
bug("palettes-in-order-of-counts", "    return sorted(palette)\n", "    return palette\n",
    "types-of-8-bits-palette-12",
    "types-of-8-bits-huffman-12")

# 11.4 Codes
bug("single-codes-of-1-bit", "        return {entries[0]: 0}\n", "        return {entries[0]: 1}\n",
    "own-codes-of-frequent-values-huffman-12",
    "code-lengths-at-the-limit-huffman-12")
bug("codes-of-9-bits", "for _ in range(7):", "for _ in range(8):",
    "real-weights-huffman-12",
    "code-lengths-at-the-limit-huffman-12")
bug("merges-by-count-and-entry", "level = sorted(items + packages, key=lambda element: element[0])", "level = sorted(items + packages)",
    "real-weights-huffman-12",
    "code-lengths-where-packages-tie-huffman-12")
bug("packages-with-an-odd-last-element", "        pairs = zip(level[0::2], level[1::2])\n", "        pairs = zip(level[len(level) % 2::2], level[len(level) % 2 + 1::2])\n",
    "code-lengths-where-packages-tie-huffman-12",
    "placeholders-huffman-12")
bug("takes-one-element-less", "level[:2 * len(items) - 2]", "level[:2 * len(items) - 3]",
    "code-lengths-where-packages-tie-huffman-12",
    "placeholders-huffman-12")
bug("items-by-count-alone", "package_merge(sorted((counts[palette[j]], j) for j in entries))", "package_merge(sorted(((counts[palette[j]], j) for j in reversed(entries)), key=lambda item: item[0]))",
    "code-lengths-where-packages-tie-huffman-12",
    "placeholders-huffman-12")
bug("items-by-count-descending-entries", "package_merge(sorted((counts[palette[j]], j) for j in entries))", "package_merge(sorted(((counts[palette[j]], j) for j in entries), key=lambda item: (item[0], -item[1])))",
    "code-lengths-where-packages-tie-huffman-12",
    "placeholders-huffman-12")
bug("lengths-given-out-by-index", "    return dict(Counter(entry for _, entries in level[:2 * len(items) - 2] for entry in entries))\n",
    "    found = Counter(entry for _, entries in level[:2 * len(items) - 2] for entry in entries)\n"
    "    return dict(zip(sorted(found, key=lambda j: (-dict((e, c) for c, (e,) in items)[j], j)), sorted(found.values())))\n",
    "code-lengths-where-packages-tie-huffman-12",
    "placeholders-huffman-12")
bug("a-patch-costs-23-bits", "without = lengths[placeholder(lengths)] + 24", "without = lengths[placeholder(lengths)] + 23",
    "patches-for-rare-values-huffman-12",
    "one-in-4096-huffman-12")
bug("a-patch-costs-25-bits", "without = lengths[placeholder(lengths)] + 24", "without = lengths[placeholder(lengths)] + 25",
    "patches-for-rare-values-huffman-12",
    "one-in-4096-huffman-12")
bug("a-patch-costs-32-bits", "without = lengths[placeholder(lengths)] + 24", "without = lengths[placeholder(lengths)] + 32",
    "patches-for-rare-values-huffman-12",
    "one-in-4096-huffman-12")
bug("a-patch-costs-the-longest-code", "without = lengths[placeholder(lengths)] + 24", "without = max(lengths.values()) + 24",
    "one-in-4096-huffman-12")
bug("patches-cost-nothing", "    return sum(count * of_value.get(x, without) for x, count in counts.items())\n", "    return sum(count * of_value.get(x, 0) for x, count in counts.items())\n",
    "code-lengths-at-the-limit-huffman-12",
    "one-in-4096-huffman-12")
bug("costs-in-16-bits", "    return sum(count * of_value.get(x, without) for x, count in counts.items())\n", "    return sum(count * of_value.get(x, without) for x, count in counts.items()) & 0xFFFF\n",
    "own-codes-of-frequent-values-huffman-12",
    "real-weights-huffman-12")
bug("a-code-for-one-in-4095", "4096 * counts[x] >= total", "4095 * counts[x] >= total",
    "one-in-4096-huffman-13",
    "one-in-4096-huffman-12")
bug("a-code-for-one-in-4097", "4096 * counts[x] >= total", "4097 * counts[x] >= total",
    "one-in-4096-huffman-13",
    "one-in-4096-huffman-12")
bug("a-code-for-one-in-4096-by-division", "4096 * counts[x] >= total", "counts[x] >= total // 4096",
    "one-in-4096-huffman-13",
    "one-in-4096-huffman-12")
bug("frequent-of-one-in-63", "64 * counts[x] >= total", "63 * counts[x] >= total",
    "patches-for-rare-values-huffman-13",
    "patches-for-rare-values-huffman-12")
bug("frequent-of-one-in-65", "64 * counts[x] >= total", "65 * counts[x] >= total",
    "patches-for-rare-values-huffman-13",
    "patches-for-rare-values-huffman-12")
bug("frequent-by-division", "64 * counts[x] >= total", "counts[x] >= total // 64",
    "patches-for-rare-values-huffman-13",
    "patches-for-rare-values-huffman-12")
bug("rare-is-at-most-one-in-63", "64 * outside <= total", "63 * outside <= total",
    "patches-for-rare-values-huffman-13",
    "patches-for-rare-values-huffman-12")
bug("rare-is-at-most-one-in-65", "64 * outside <= total", "65 * outside <= total",
    "patches-for-rare-values-huffman-13",
    "patches-for-rare-values-huffman-12")
bug("rare-by-division", "64 * outside <= total", "outside <= total // 64",
    equivalent="outside is an integer, so 64 * outside <= total says the same as outside <= floor(total / 64)")
bug("frequent-values-without-a-comparison", "        if cost(other, counts, palette) < cost(chosen, counts, palette):\n", "        if True:\n",
    "code-lengths-at-the-limit-huffman-12",
    "patches-for-rare-values-huffman-12")
bug("frequent-values-that-are-the-usual-ones", "if frequent and frequent != usual and 64", "if frequent and 64", equivalent="the codes are the same, so their costs are equal")
bug("values-that-do-not-occur-have-codes", "if counts[x] > 0 and 4096 * counts[x] >= total]", "if 4096 * counts[x] >= total // 4096 * 4096]",
    "code-lengths-at-the-limit-huffman-12",
    "one-in-4096-huffman-12")

# 11.5 Huffman records
OWN = "if not 256 * cost(lengths, counts, palette) < 255 * cost(field_code, counts, palette):"
bug("own-codes-always", OWN, "if False:",
    "own-code-at-equal-costs-huffman-12",
    "own-code-or-the-tensors-huffman-12")
bug("own-codes-never", OWN, "if True:",
    "patches-huffman-12",
    "two-chunks-of-2-to-the-12-huffman-12")
bug("own-codes-that-save-a-bit", OWN, "if not cost(lengths, counts, palette) < cost(field_code, counts, palette):",
    "own-code-at-equal-costs-huffman-12",
    "own-code-or-the-tensors-huffman-12")
bug("own-codes-by-integer-division", OWN, "if not cost(lengths, counts, palette) < 255 * cost(field_code, counts, palette) // 256:",
    "one-in-4096-huffman-12")
bug("own-codes-by-single-floats", OWN, "if not cost(lengths, counts, palette) < struct.unpack('f', struct.pack('f', cost(field_code, counts, palette) * struct.unpack('f', struct.pack('f', 0.996))[0]))[0]:",
    "one-in-4096-huffman-12")
bug("own-codes-in-bytes", OWN, "if not 256 * (cost(lengths, counts, palette) // 8) < 255 * (cost(field_code, counts, palette) // 8):",
    "own-code-at-equal-costs-huffman-12",
    "own-code-or-the-tensors-huffman-12")
bug("filler-of-the-surplus-is-entry-0-of-the-palette", "[filler] * (-len(values) % 256)", "[codes.get(0, filler)] * (-len(values) % 256)",
    "types-of-64-bits-huffman-12",
    "types-of-8-bits-huffman-12")
bug("filler-of-the-surplus-is-the-last-weight", "[filler] * (-len(values) % 256)", "[code_of.get(values[-1], filler)] * (-len(values) % 256)",
    "two-chunks-of-2-to-the-12-huffman-12",
    "types-of-8-bits-huffman-12")
bug("patches-for-the-surplus", "[filler] * (-len(values) % 256)", "[codes[max(codes)]] * (-len(values) % 256)",
    "patches-huffman-12",
    "one-in-4096-huffman-13")
bug("filler-of-patches-is-the-last-code", "    filler = codes[placeholder(lengths)]\n", "    filler = codes[max(lengths, key=lambda j: (lengths[j], j))]\n",
    "patches-huffman-12",
    "two-chunks-of-2-to-the-12-huffman-12")
bug("lanes-of-neighbouring-steps-exchanged", "padded[step + 8 * lane:step + 8 * lane + 8]:", "padded[step + 8 * (lane ^ 1):step + 8 * (lane ^ 1) + 8]:",
    "patches-huffman-12",
    "two-chunks-of-2-to-the-12-huffman-12")
bug("nibbles-of-missing-entries-are-0", "nibbles = [lengths.get(j, 15) for j in range(16)]", "nibbles = [lengths.get(j, 15 if j < len(palette) else 0) for j in range(16)]",
    "types-of-64-bits-huffman-12",
    "types-of-8-bits-huffman-12")

# 11.6 to 11.8
bug("index-of-patches-is-15", "indices = [index_of.get(x, 0) for x in values]", "indices = [index_of.get(x, 15) for x in values]",
    "patches-palette-12",
    "patches-palette-13")
bug("index-of-patches-is-that-before", "indices = [index_of.get(x, 0) for x in values]", "indices = []\n    for x in values:\n        indices.append(index_of.get(x, indices[-1] if indices else 0))\n    indices = indices",
    "patches-palette-12",
    "patches-palette-13")
VERBATIM = "if align(16 + len(body), 16) > decoder"
bug("verbatim-without-padding", VERBATIM, "if 16 + len(body) > 16 + (len(values) * width + 7) // 8 or align(16 + len(body), 16) > decoder",
    "verbatim-last-chunks-huffman-12",
    "form-of-few-weights-palette-12")
bug("verbatim-never", VERBATIM, "if align(16 + len(body), 16) > 65536 + decoder",
    "placeholders-huffman-12",
    "form-palette-at-the-threshold-palette-12")
bug("verbatim-always", VERBATIM, "if True or align(16 + len(body), 16) > decoder",
    "form-of-few-weights-huffman-12",
    "form-of-few-weights-palette-12")
bug("verbatim-by-the-length-of-a-full-chunk", VERBATIM, "if align(16 + len(body), 16) > 4096 * width // 8 + 16 or align(16 + len(body), 16) > 16 * decoder",
    "placeholders-huffman-12",
    "form-palette-at-the-threshold-palette-12")
RAW = "return raw if align(len(stored.data), unit) >= align(len(raw.data), unit) else stored"
bug("raw-never", RAW, "return stored",
    "raw-where-nothing-is-saved-palette-12",
    "raw-where-nothing-is-saved-huffman-12")
bug("raw-where-256-bytes-are-saved", RAW, "return raw if align(len(stored.data), unit) + 256 > align(len(raw.data), unit) else stored",
    "raw-where-nothing-is-saved-palette-12",
    "raw-where-nothing-is-saved-huffman-12")
