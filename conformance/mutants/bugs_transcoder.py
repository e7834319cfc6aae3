"""Bugs of transcoders (section 11.9)."""
from planted import DECODE, ENCODE, TRANSCODE, Bugs

bug = Bugs("transcode", TRANSCODE)
written = Bugs("transcode", ENCODE)
read = Bugs("transcode", DECODE)
ALL = [bug, written, read]

bug("narrow-fields-take-the-form-palette",
    "if is_coded and high - low + 1 > 4 else form",
    "if is_coded else form",
    "coded-fields-of-2-to-8-bits-to-palette")
bug("narrow-fields-become-plain",
    "if is_coded and high - low + 1 > 4 else form",
    "if is_coded and high - low + 1 > 4 else form if form == CONSTANT or encoding == HUFFMAN else PLAIN",
    "coded-fields-of-2-to-8-bits-to-palette")
bug("fields-of-5-bits-are-narrow",
    "high - low + 1 > 4",
    "high - low + 1 > 5",
    "coded-fields-of-2-to-8-bits-to-palette")
bug("fields-of-4-bits-are-wide",
    "high - low + 1 > 4",
    "high - low + 1 > 3",
    "coded-fields-of-2-to-8-bits-to-palette")
bug("the-first-field-alone",
    "if is_coded and high - low + 1 > 4 else form",
    "if is_coded and high - low + 1 > 4 and not forms else form",
    "coded-fields-of-2-to-8-bits-to-huffman",
    "types-of-64-bits-huffman-12-to-palette")
bug("constants-become-plain",
    "if is_coded and high - low + 1 > 4 else form",
    "if is_coded and high - low + 1 > 4 else form if is_coded else PLAIN",
    "forms-that-no-canonical-encoder-chooses-to-huffman")
bug("chooses-forms-anew",
    "    forms = transcoded_forms(tensor, encoding)\n",
    "    forms = tuple(encoder.choose_form(encoder.values_of(weights, field), field[0] - field[1] + 1, tensor.weight_bytes, encoding, tensor.chunk_size or 15) for field in tensor.fields)\n",
    "forms-that-no-canonical-encoder-chooses-to-huffman",
    "types-of-64-bits-huffman-12-to-palette")
bug("chunk-size-becomes-15",
    "encoder.lay_out(weights, tensor.weight_bytes, tensor.fields, forms, tensor.chunk_size, len(data))\n"
    "    if not",
    "encoder.lay_out(weights, tensor.weight_bytes, tensor.fields, forms, 15, len(data))\n"
    "    if not",
    "tensors-of-all-chunk-sizes-to-huffman")
bug("chunk-size-of-the-first-tensor",
    "transcode_tensor(read.tensors[i],",
    "transcode_tensor(read.tensors[i]._replace(chunk_size=read.tensors[0].chunk_size),",
    "tensors-of-all-chunk-sizes-to-palette")
bug("copies-tensors-whose-forms-stay",
    "    return encoder.write_file(read.source_kind, read.section, tensors,\n"
    "                              lambda i: transcode_tensor(read.tensors[i], read.data[i], encoding))\n",
    "    def payload(i):\n"
    "        tensor = read.tensors[i]\n"
    "        if transcoded_forms(tensor, encoding) != tensor.forms:\n"
    "            return transcode_tensor(tensor, read.data[i], encoding)\n"
    "        file.seek(tensor.payload_begin)\n"
    "        return encoder.Payload(file.read(tensor.payload_end - tensor.payload_begin), tensor.forms, tensor.chunk_size,\n"
    "                               tensor.palette_checksum)\n"
    "    return encoder.write_file(read.source_kind, read.section, tensors, payload)\n",
    "exponents-with-another-code-to-huffman",
    "exponents-with-another-palette-to-huffman",
    "exponents-verbatim-to-huffman",
    "exponents-with-lone-patches-to-huffman",
    "exponents-with-a-lone-patch-at-the-end-to-huffman",
    "exponents-with-any-surplus-to-huffman",
    "exponents-in-palette-records-to-palette",
    "coded-fields-of-2-to-8-bits-to-palette")
bug("no-tensor-becomes-raw",
    "    return encoder.raw_if_no_longer(stored, raw, len(data))\n",
    "    return stored\n",
    "coded-tensors-that-save-nothing-to-huffman",
    "coded-tensors-around-112-weights-to-palette")
written("raw-only-where-it-is-shorter",
    "align(len(stored.data), unit) >= align(len(raw.data), unit)",
    "align(len(stored.data), unit) > align(len(raw.data), unit)",
    "coded-tensors-around-112-weights-to-huffman")
written("large-tensors-save-16-bytes",
    "align(len(stored.data), unit) >= align(len(raw.data), unit)",
    "align(len(stored.data), 16) >= align(len(raw.data), 16)",
    "large-coded-tensor-that-saves-less-than-256-bytes-to-huffman")
bug("constants-alone-become-raw",
    "    if not any(form not in (PLAIN, CONSTANT) for form in forms):\n",
    "    if not any(forms):\n",
    "constants-that-save-nothing-to-huffman",
    "forms-that-no-canonical-encoder-chooses-to-palette")
bug("raw-with-the-chunk-size",
    "    return encoder.raw_if_no_longer(stored, raw, len(data))\n",
    "    return encoder.raw_if_no_longer(stored, raw, len(data))._replace(chunk_size=tensor.chunk_size)\n",
    "coded-tensors-that-save-nothing-to-huffman")
bug("raw-with-the-palette-checksum",
    "    return encoder.raw_if_no_longer(stored, raw, len(data))\n",
    "    return encoder.raw_if_no_longer(stored, raw, len(data))._replace(palette_checksum=stored.palette_checksum)\n",
    "coded-tensors-that-save-nothing-to-palette")
written("raw-without-block-checksums",
    "    if not coded and P > 65536:\n",
    "    if False:\n",
    "large-coded-tensor-that-saves-nothing-to-huffman")
written("payloads-stay-where-they-are",
    "payload += bytes(-len(payload) % alignment(len(tensor.data))) + stored.data",
    "payload += bytes(-len(payload) % 16) + stored.data",
    "large-raw-tensor-behind-a-coded-one-to-palette")
bug("keeps-the-minor-version",
    "    return encoder.write_file(read.source_kind, read.section, tensors,\n"
    "                              lambda i: transcode_tensor(read.tensors[i], read.data[i], encoding))\n",
    "    made = encoder.write_file(read.source_kind, read.section, tensors,\n"
    "                              lambda i: transcode_tensor(read.tensors[i], read.data[i], encoding))\n"
    "    file.seek(10)\n"
    '    made = made[:10] + file.read(2) + made[12:60]  + b"----" + made[64:]\n'
    '    return made[:60] + encoder.zlib.crc32(made[:60]).to_bytes(4, "little") + made[64:]\n',
    "minor-version-7-and-coded-tensors-to-huffman")
bug("keeps-extensions",
    "    return encoder.write_file(read.source_kind, read.section, tensors,\n"
    "                              lambda i: transcode_tensor(read.tensors[i], read.data[i], encoding))\n",
    "    made = encoder.write_file(read.source_kind, read.section, tensors,\n"
    "                              lambda i: transcode_tensor(read.tensors[i], read.data[i], encoding))\n"
    "    header = decoder.read_header(file)\n"
    "    begin = 64 + header.directory_length + header.source_length\n"
    "    file.seek(begin)\n"
    "    items = file.read(header.extension_length)\n"
    '    assert begin + len(items) <= decoder.align(begin, 256), "the items fit into the padding"\n'
    '    made = (made[:48] + len(items).to_bytes(4, "little") + encoder.zlib.crc32(items).to_bytes(4, "little") + made[56:60] + b"----"\n'
    "            + made[64:begin] + items + made[begin + len(items):])\n"
    '    return made[:60] + encoder.zlib.crc32(made[:60]).to_bytes(4, "little") + made[64:]\n',
    "extensions-and-coded-tensors-to-huffman",
    "extensions-without-tensors-to-huffman")
bug("drops-the-source",
    "encoder.write_file(read.source_kind, read.section,",
    'encoder.write_file(0, b"",',
    "source-amid-white-space-and-coded-tensors-to-huffman")
bug("always-has-a-source",
    "encoder.write_file(read.source_kind, read.section,",
    "encoder.write_file(1, read.section or bytes(8),",
    "tensors-out-of-name-order-to-huffman")
bug("writes-the-source-anew",
    "read.section, tensors,",
    'len(read.section[8:].rstrip()).to_bytes(8, "little") + read.section[8:].rstrip(), tensors,',
    "source-amid-white-space-and-coded-tensors-to-palette")
bug("sorts-tensors-by-name",
    "    return encoder.write_file(read.source_kind, read.section, tensors,\n"
    "                              lambda i: transcode_tensor(read.tensors[i], read.data[i], encoding))\n",
    "    order = sorted(range(len(tensors)), key=lambda i: tensors[i].name)\n"
    "    return encoder.write_file(read.source_kind, read.section, [tensors[i] for i in order],\n"
    "                              lambda i: transcode_tensor(read.tensors[order[i]], read.data[order[i]], encoding))\n",
    "tensors-out-of-name-order-to-palette")
bug("drops-empty-tensors",
    "    return encoder.write_file(read.source_kind, read.section, tensors,\n"
    "                              lambda i: transcode_tensor(read.tensors[i], read.data[i], encoding))\n",
    "    order = [i for i in range(len(tensors)) if tensors[i].data]\n"
    "    return encoder.write_file(read.source_kind, read.section, [tensors[i] for i in order],\n"
    "                              lambda i: transcode_tensor(read.tensors[order[i]], read.data[order[i]], encoding))\n",
    "tensors-out-of-name-order-to-huffman",
    "empty-tensors-to-palette")
read("critical-extensions-are-dropped-too",
    'require(kind < 2**31, "extension-unknown"',
    'require(True, "extension-unknown"',
    "critical-extension-of-kind-5-not-transcoded-to-palette",
    "critical-extension-behind-others-not-transcoded-to-palette")
read("critical-extensions-for-private-use-are-dropped",
    'require(kind < 2**31, "extension-unknown"',
    'require(kind < 2**31 or kind >= 0xF0000000, "extension-unknown"',
    "critical-extension-for-private-use-not-transcoded-to-palette")
read("no-tensor-checksum",
    'require(checksum == tensor.checksum, "tensor-crc"',
    'require(True, "tensor-crc"',
    "tensor-checksum-of-a-huffman-tensor-wrong-not-transcoded-to-palette",
    "tensor-checksum-of-an-empty-tensor-wrong-not-transcoded-to-palette",
    "chunks-exchanged-not-transcoded-to-palette")
read("no-tensor-checksum-of-raw-tensors",
    'require(checksum == tensor.checksum, "tensor-crc"',
    'require(checksum == tensor.checksum or not any(tensor.forms), "tensor-crc"',
    "tensor-checksum-of-a-raw-tensor-wrong-not-transcoded-to-palette")
read("no-tensor-checksum-of-tensors-without-records",
    'require(checksum == tensor.checksum, "tensor-crc"',
    'require(checksum == tensor.checksum or not tensor.chunk_size, "tensor-crc"',
    "constant-changed-with-its-checksum-not-transcoded-to-palette")
read("no-block-checksums",
    'require(stated == found, "block-crc"',
    'require(True, "block-crc"',
    "last-block-checksum-wrong-by-a-bit-not-transcoded-to-palette")
bug("no-padding",
    "    decoder.check_all_padding(file, header, tensors)\n",
    "",
    "padding-behind-the-extensions-not-transcoded-to-palette",
    "padding-guard-last-byte-not-transcoded-to-palette")
read("no-source-header",
    "        check_safetensors_header(at, source, tensors)\n",
    "        pass\n",
    "json-with-a-tensor-twice-not-transcoded-to-palette")
bug("no-extension-checks",
    "    decoder.read_extensions(file, header)\n",
    "",
    "extension-contents-changed-without-the-checksum-not-transcoded-to-huffman",
    "critical-extension-of-kind-5-not-transcoded-to-palette")

# What a transcoder decides.
FORMS = "forms.append(encoding if is_coded and high - low + 1 > 4 else form)"
bug("constants-become-coded", FORMS, "forms.append(encoding if form and high - low + 1 > 4 else form)",
    "constants-that-save-nothing-to-huffman",
    "mixed-tensors-huffman-12-to-palette")
bug("plain-fields-become-coded", FORMS, "forms.append(encoding if high - low + 1 > 4 and form != CONSTANT and any(tensor.forms) else form)",
    "types-of-64-bits-huffman-12-to-huffman",
    "types-of-64-bits-huffman-12-to-palette")
bug("fields-of-8-bits-alone", FORMS, "forms.append(encoding if is_coded and high - low + 1 == 8 else form)",
    "types-of-64-bits-huffman-12-to-palette-to-huffman",
    "types-of-64-bits-huffman-12-to-palette")
bug("fields-of-7-bits-are-narrow", FORMS, "forms.append(encoding if is_coded and high - low + 1 in (5, 8) else form)",
    "types-of-64-bits-huffman-12-to-palette-to-huffman",
    "types-of-64-bits-huffman-12-to-palette")
bug("only-the-other-encoding-is-made-anew", "    return encoder.raw_if_no_longer(stored, raw, len(data))\n", "    return encoder.raw_if_no_longer(stored, raw, len(data)) if forms != tensor.forms else stored\n",
    "coded-tensors-that-save-nothing-to-huffman",
    "coded-tensors-around-112-weights-to-huffman")
bug("empty-directories-of-raw-files", "    forms = transcoded_forms(tensor, encoding)\n", "    forms = transcoded_forms(tensor, encoding)\n    forms = forms if any(forms) else (PLAIN,) * len(forms)\n", equivalent="the forms are the same")
bug("raw-tensors-are-coded-anew", "    forms = transcoded_forms(tensor, encoding)\n",
    "    forms = transcoded_forms(tensor, encoding)\n    if not any(forms):\n        return encoder.encode_tensor(data, encoder.CODES[tensor.dtype], encoding, 15)\n",
    "forms-that-no-canonical-encoder-chooses-to-huffman",
    "forms-that-no-canonical-encoder-chooses-to-palette")
bug("coded-tensors-are-encoded-anew", "    forms = transcoded_forms(tensor, encoding)\n",
    "    forms = transcoded_forms(tensor, encoding)\n    if tensor.chunk_size:\n        return encoder.encode_tensor(data, encoder.CODES[tensor.dtype], encoding, tensor.chunk_size)\n",
    "coded-tensors-around-112-weights-to-palette",
    "coded-tensors-around-112-weights-to-huffman")
bug("chunk-size-by-the-length", "stored = encoder.lay_out(weights, tensor.weight_bytes, tensor.fields, forms, tensor.chunk_size, len(data))",
    "stored = encoder.lay_out(weights, tensor.weight_bytes, tensor.fields, forms, 12 if len(weights) <= 4096 else tensor.chunk_size, len(data))",
    "tensors-of-all-chunk-sizes-to-huffman",
    "tensors-of-all-chunk-sizes-to-palette")
bug("checks-no-rule-of-the-source", "    section = decoder.read_source_section(file, header, tensors)\n",
    "    section = decoder.read_exactly(file, 64 + header.directory_length, header.source_length)\n",
    "source-changed-without-its-checksum-not-transcoded-to-huffman",
    "json-length-one-less-not-transcoded-to-huffman")
read("checks-no-record-checksums", 'require(stated == found, "record-crc"', 'require(True, "record-crc"',
    "record-checksum-wrong-by-a-bit-not-transcoded-to-huffman")
read("checks-no-palette-checksums", 'require(found == tensor.palette_checksum, "palette-crc"', 'require(True, "palette-crc"',
    "palette-changed-without-its-checksum-not-transcoded-to-huffman")
read("checks-no-names", 'require(name > previous_name, "name-order"', 'require(True, "name-order"',
    "by-name-in-directory-order-not-transcoded-to-huffman")
read("checks-no-lane-padding", 'require(stream >> used == 0, "lane-padding"', 'require(True, "lane-padding"',
    "lane-padding-first-bit-not-transcoded-to-huffman")
read("checks-no-record-padding", '    require_zero(record[contents_end:], "record-padding"', '    require_zero(b"", "record-padding"',
    "huffman-record-padding-first-byte-not-transcoded-to-huffman")
read("checks-no-patch-order", 'require(position > previous, "patch-order"', 'require(True, "patch-order"',
    "huffman-patches-exchanged-not-transcoded-to-huffman")
read("checks-no-header-checksum", 'require(found == zlib.crc32(head[:60]), "file-header-crc"', 'require(True, "file-header-crc"',
    "header-checksum-wrong-by-a-bit-not-transcoded-to-huffman")
read("checks-no-trailing-bytes", 'require(true_length <= header.file_length, "file-trailing"', 'require(True, "file-trailing"',
    "one-zero-byte-behind-the-file-not-transcoded-to-huffman")

LONGER = "    if align(16 + len(body), 16) > decoder.greatest_record(len(values), width):\n"
written("lengths-of-records-in-16-bits", LONGER, LONGER.replace("align(16 + len(body), 16)", "align(16 + len(body), 16) % 65536"),
        "verbatim-record-of-65552-bytes-to-palette",
        "verbatim-record-of-65552-bytes-to-huffman")
bug("65536-tensors-at-most", "zip(read.tensors, read.data)]", "zip(read.tensors[:65536], read.data)]",
    "65537-tensors-to-palette")
