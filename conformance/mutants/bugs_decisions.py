"""Bugs of encoders: decisions that differ for few weights, and counts (section 11)."""
from planted import ENCODE, Bugs

bug = Bugs("encode", ENCODE)
ALL = [bug]

bug("samples-128-weights-of-a-step",
    "values[at:at + 256] for at in range(0, n, 256 * 17))\n"
    "    counts, size",
    "values[at:at + 128] for at in range(0, n, 256 * 17))\n"
    "    counts, size",
    "sample-of-whole-steps-huffman-12")
bug("saves-by-division-of-the-cost",
    "return encoding if 64 * bits < 63 * width * size * y else PLAIN",
    "return encoding if bits * 64 // 63 < width * size * y else PLAIN",
    equivalent="floor(a / 63) < b where a < 63 b, for integers")
bug("narrow-fields-take-the-form-palette",
    "encoding == PALETTE and width <= 4:",
    "encoding == PALETTE and width <= 3:",
    equivalent="4 bits for each of 4 never save one part in 64")
bug("palettes-of-narrow-fields-by-count",
    "    if width <= 4:\n"
    "        return list(range(2**width))\n",
    "    if width <= 3:\n"
    "        return list(range(2**width))\n",
    equivalent="16 entries are all values of 4 bits")
bug("completes-palettes-up-to-255",
    "*range(g + 1, 2**width)]",
    "*range(g + 1, 256)]",
    equivalent="16 values are complete before 31, and a field of more than 4 bits has 32")
bug("a-code-of-the-weights-in-the-palette",
    "usual = [j for j, x in enumerate(palette) if",
    "total = sum(counts[x] for x in palette)\n"
    "    usual = [j for j, x in enumerate(palette) if",
    "codes-count-weights-outside-the-palette-huffman-12",
    "own-codes-count-the-weights-of-their-chunk-huffman-12")
bug("rare-of-the-palette-alone",
    "    outside = total - sum(counts[palette[j]] for j in frequent)\n",
    "    outside = sum(counts[x] for x in palette) - sum(counts[palette[j]] for j in frequent)\n",
    "codes-count-weights-outside-the-palette-huffman-12",
    "own-codes-count-the-weights-of-their-chunk-huffman-12")
bug("no-usual-value-is-entry-0",
    "usual = [max(range(len(palette)), key=lambda j: (counts[palette[j]], -j))]",
    "usual = [0]",
    equivalent="a chunk without a usual value has patches for almost all weights, so that its record is "
    "verbatim (section 11.7)")
bug("no-usual-value-is-the-last-of-the-greatest",
    "key=lambda j: (counts[palette[j]], -j))]",
    "key=lambda j: (counts[palette[j]], j))]",
    equivalent="a chunk without a usual value has patches for almost all weights, so that its record is "
    "verbatim (section 11.7)")
bug("own-codes-by-division-of-the-saving",
    "if not 256 * cost(lengths, counts, palette) < 255 * cost(field_code, counts, palette):",
    "if not cost(lengths, counts, palette) < cost(field_code, counts, palette) - cost(field_code, "
    "counts, palette) // 256:",
    equivalent="a < b - floor(b / 256) where 256 a < 255 b, for integers")
bug("own-codes-that-save-one-part-in-255",
    "if not 256 * cost(lengths, counts, palette) < 255 * cost(field_code, counts, palette):",
    "if not 255 * cost(lengths, counts, palette) < 254 * cost(field_code, counts, palette):",
    "own-code-of-254-bits-for-255-huffman-12")
bug("own-codes-with-the-surplus-in-their-cost",
    "if not 256 * cost(lengths, counts, palette) < 255 * cost(field_code, counts, palette):",
    "surplus = -len(values) % 256\n"
    "    if not 256 * (cost(lengths, counts, palette) + surplus * lengths[placeholder(lengths)]) < "
    "255 * (cost(field_code, counts, palette) + surplus * field_code[placeholder(field_code)]):",
    "own-code-of-254-bits-for-255-huffman-12")
bug("own-codes-of-the-field-palette-alone",
    "    lengths = choose_code(counts, len(values), palette)\n",
    "    lengths = choose_code(counts, sum(counts[x] for x in palette), palette)\n",
    "own-codes-count-the-weights-of-their-chunk-huffman-12")
bug("own-codes-with-the-number-of-a-full-chunk",
    "    lengths = choose_code(counts, len(values), palette)\n",
    "    lengths = choose_code(counts, max(len(values), 4096), palette)\n",
    "own-codes-count-the-weights-of-their-chunk-huffman-12")
bug("field-codes-of-the-palette-alone",
    "choose_code(Counter(values), n, palette)",
    "choose_code(Counter(values), sum(Counter(values)[x] for x in palette), palette)",
    "codes-count-weights-outside-the-palette-huffman-12")
bug("raw-by-unaligned-lengths",
    "return raw if align(len(stored.data), unit) >= align(len(raw.data), unit) else stored",
    "return raw if len(stored.data) >= len(raw.data) else stored",
    "raw-at-equal-aligned-lengths-huffman-12")
bug("raw-by-lengths-aligned-to-16",
    "return raw if align(len(stored.data), unit) >= align(len(raw.data), unit) else stored",
    "return raw if align(len(stored.data), 16) >= align(len(raw.data), 16) else stored",
    "raw-at-equal-aligned-lengths-huffman-12")

# More than 65,536 tensors.
bug("by-name-in-16-bits", "sorted_by_name[i], 0)", "sorted_by_name[i] & 0xFFFF, 0)",
    "65537-tensors-huffman-12")
bug("dims-ends-in-16-bits", "stored.palette_checksum, dims_end, name_end,", "stored.palette_checksum, dims_end & 0xFFFF, name_end,",
    "65537-tensors-huffman-12")
