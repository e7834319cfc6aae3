#!/usr/bin/env python3
"""Decoders with a planted bug: does the corpus find them?

    python3 mutants.py list                      the names, one a line
    python3 mutants.py decode NAME INPUT OUTPUT  decodes as that mutant; a decoder's command for unweight-conformance
    python3 mutants.py serve NAME                the same for many files: reads lines "INPUT<tab>OUTPUT", answers each with a line

Each mutant is conformance/decoders/python/unweight_decode.py with one piece of its text replaced. The text must occur
exactly once, so that no mutant silently becomes the original. `none` is the original; `without-RULE` is a decoder that
never rejects under the name of that rule. `core` is a decoder of profile core, without a bug. The test
conformance/generator/tests/mutants.rs says which cases find which.

`serve` answers: accepted; rejected RULE; crashed WHY.
"""
import os
import signal
import sys
import types

HERE = os.path.dirname(os.path.abspath(__file__))
DECODER = os.path.join(HERE, os.pardir, "decoders", "python", "unweight_decode.py")

# Name: what stands in the decoder, and what stands in the mutant.
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


def source_of(name):
    """The text of a mutant."""
    with open(DECODER, encoding="utf-8") as file:
        text = file.read()
    if name == "core":
        text = replace(text, "require(form <= CONSTANT, \"form-unknown\"", "require(form in (PLAIN, HUFFMAN, CONSTANT), \"form-unknown\"")
        return replace(text, "        check_safetensors_header(at, source, tensors)\n", "        pass\n")
    if name.startswith("without-"):
        rule = name[len("without-"):]
        text = replace(text, "    if not holds:\n", f"    if not holds and rule != {rule!r}:\n")
        text = replace(text, "    if data.count(0) != len(data):\n",
                       f"    if data.count(0) != len(data) and rule != {rule!r}:\n")
        if rule == "name-utf8":
            text = replace(text, "            name.decode(\"utf-8\")\n", "            pass\n")
        return text
    return replace(text, *MUTANTS[name]) if name != "none" else text


def replace(text, old, new):
    """Replace a piece of text that must occur exactly once."""
    if text.count(old) != 1:
        raise SystemExit(f"the decoder has this text {text.count(old)} times, expected once:\n{old}")
    return text.replace(old, new)


def load(name):
    """The module of a mutant."""
    module = types.ModuleType(name)
    exec(compile(source_of(name), DECODER, "exec"), module.__dict__)
    return module


def answer(decoder, input_path, output_path):
    """Decode one file, and say how it ended."""
    try:
        with open(input_path, "rb") as file, open(output_path, "wb") as output:
            decoder.decode_file(file, output)
        return "accepted"
    except decoder.Rejected as rejection:
        os.unlink(output_path)
        return "rejected " + str(rejection).split(":")[0]
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


def serve(name):
    """Answer until the end of stdin."""
    bound_memory()
    decoder = load(name)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, time_is_up)
    for line in sys.stdin:
        if hasattr(signal, "SIGALRM"):
            signal.alarm(20)
        print(answer(decoder, *line.rstrip("\n").split("\t")), flush=True)


def main(arguments):
    if arguments == ["list"]:
        print("\n".join(MUTANTS))
        return 0
    if len(arguments) == 2 and arguments[0] == "serve":
        serve(arguments[1])
        return 0
    if len(arguments) == 4 and arguments[0] == "decode":
        bound_memory()
        # A mutant may leave anything uncaught; that is a crash, not a rejection.
        try:
            return load(arguments[1]).main(arguments[2:])
        except Exception as error:
            print(f"crashed: {type(error).__name__}", file=sys.stderr)
            return 70
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
