#!/usr/bin/env python3
"""A decoder for Unweight files, written from the specification (spec/unweight.md) and nothing else.

    python3 unweight_decode.py INPUT OUTPUT

Exit status 0: INPUT was accepted and OUTPUT holds the restored source. 1: INPUT was rejected; the first line on
stderr is "rule: message". 3: INPUT could not be read or OUTPUT could not be written, or there was no memory for it.

Profile full. Standard library only. The functions stand in the order of the specification, and each one's docstring
opens with the section that it implements. Integers are exact in Python, so no sum or product needs an overflow check.
"""
import json
import os
import struct
import sys
import zlib
from typing import NamedTuple

# ---- Section 2: conventions -----------------------------------------------------------------------------------------


def align(x, k):
    """Section 2. The least multiple of k that is at least x."""
    return (x + k - 1) // k * k


class Rejected(Exception):
    """Sections 1 and 10. The file breaks a rule; the text of the exception is "rule: message"."""


def require(holds, rule, offset, what, found, expected):
    """Sections 1 and 10. Reject the file under the name of `rule` unless the condition holds."""
    if not holds:
        raise Rejected(f"{rule}: {what} at offset {offset}: found {found}, expected {expected}")


def read_exactly(file, offset, count):
    """Section 13. Bytes offset .. offset+count of the file. Every caller has checked the range against the file's
    length before, so that no number out of the file makes us allocate more than the file is long."""
    file.seek(offset)
    data = file.read(count)
    # This can only happen when the file shrinks while it is read.
    require(len(data) == count, "file-truncated", offset, "bytes", len(data), count)
    return data


def unpack(data, w, n):
    """Section 2. The first n numbers of w bits of a bit string, as a list. Eight numbers take w bytes."""
    if w == 8:
        return list(data[:n])
    mask = 2**w - 1
    numbers = []
    for at in range(0, (n * w + 7) // 8, w):
        eight = int.from_bytes(data[at:at + w], "little")
        for i in range(8):
            numbers.append(eight >> i * w & mask)
    return numbers[:n]


def require_zero_after(data, bits, rule, offset, what):
    """Section 2. The bits from number `bits` on, in the last byte of a bit string at offset `offset`, are zero."""
    if bits % 8:
        require(data[-1] >> bits % 8 == 0, rule, offset + len(data) - 1, what, data[-1] >> bits % 8, 0)


def require_zero(data, rule, offset, what):
    """Section 2. Reserved and padding bytes are zero."""
    if data.count(0) != len(data):
        position = next(i for i, byte in enumerate(data) if byte)
        raise Rejected(f"{rule}: {what} at offset {offset + position}: found {data[position]}, expected 0")


# ---- Section 3: container -------------------------------------------------------------------------------------------

MAGIC = b"\x89UNW\r\n\x1a\n"


class Header(NamedTuple):
    """Section 3.1. The fields that are needed after the header has been checked."""
    tensor_count: int
    file_length: int
    directory_length: int
    source_length: int
    directory_checksum: int
    source_checksum: int
    extension_length: int
    extension_checksum: int
    source_kind: int


class Tensor(NamedTuple):
    """Section 3.2. One directory entry, with its name and dimensions, and where its payload begins."""
    name: bytes
    dtype: str
    dimensions: tuple
    weights: int
    weight_bytes: int
    length: int             # of the original bytes
    fields: tuple           # (high, low) of every field
    forms: tuple            # the form of every field
    chunk_size: int
    checksum: int
    palette_checksum: int
    payload_begin: int
    payload_end: int


def read_header(file):
    """Section 3.1. Read and check the file header, and the true length of the file."""
    true_length = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(64)
    require(head[:8] == MAGIC[:len(head)], "file-magic", 0, "magic", head[:8].hex(), MAGIC.hex())
    require(len(head) == 64, "file-truncated", 0, "length of the file", len(head), "at least 64")
    major_version, = struct.unpack_from("<H", head, 8)
    require(major_version == 1, "file-version", 8, "major version", major_version, 1)
    found, = struct.unpack_from("<I", head, 60)
    require(found == zlib.crc32(head[:60]), "file-header-crc", 60, "header checksum", found, zlib.crc32(head[:60]))
    require_zero(head[57:60], "file-reserved", 57, "reserved byte")

    header = Header(*struct.unpack_from("<IQQQIIIIB", head, 12))
    _, _, directory_length, source_length, _, _, extension_length, _, kind = header
    require(header.tensor_count <= 2**20, "limit-tensors", 12, "tensor count", header.tensor_count, "at most 2^20")
    require(directory_length <= 2**28, "limit-directory", 24, "directory length", directory_length, "at most 2^28")
    require(source_length <= 2**28, "limit-source", 32, "source length", source_length, "at most 2^28")
    require(extension_length <= 2**28, "limit-extensions", 48, "extension length", extension_length, "at most 2^28")
    require(kind <= 1, "source-kind", 56, "source kind", kind, "0 or 1")
    require(source_length >= 8 if kind else source_length == 0, "source-length", 32,
            f"source length of kind {kind}", source_length, "at least 8" if kind else 0)
    require(true_length >= header.file_length, "file-truncated", true_length, "length", true_length, header.file_length)
    require(true_length <= header.file_length, "file-trailing", header.file_length, "length", true_length,
            header.file_length)
    # Rule 7, as far as it can be checked before the directory is read.
    least = payload_start(header) + 64
    require(true_length >= least, "file-length", 16, "file length", true_length, f"at least {least}")
    return header


def payload_start(header):
    """Section 3. P0, where the payload begins."""
    return align(64 + header.directory_length + header.source_length + header.extension_length, 256)


ENTRY = struct.Struct("<BBHIQIIIIII")


def read_directory(file, header):
    """Section 3.2. Read and check the directory; give the list of tensors."""
    count, length = header.tensor_count, header.directory_length
    require(length >= 40 * count, "dir-length", 24, "directory length", length, f"at least {40 * count}")
    directory = read_exactly(file, 64, length)
    found = zlib.crc32(directory)
    require(found == header.directory_checksum, "dir-crc", 40, "directory checksum", header.directory_checksum, found)

    # The last entry's two ends tell how long everything is. They are checked before anything is located by them.
    dims_end, name_end = struct.unpack_from("<II", directory, 40 * count - 16) if count else (0, 0)
    names_at = 40 * count + 8 * dims_end
    expected = align(names_at + name_end, 8)
    require(length == expected, "dir-length", 24, "directory length", length, expected)
    require_zero(directory[names_at + name_end:], "dir-padding", 64 + names_at + name_end, "padding byte")

    tensors, order = [], []
    previous_dims_end, previous_name_end = 0, 0
    payload_end = payload_start(header)
    for i, entry in enumerate(ENTRY.iter_unpack(directory[:40 * count])):
        (dtype_code, chunk_size, reserved, forms, stated_end, checksum, palette_checksum, dims_end, name_end, by_name,
         reserved_word) = entry
        at = 64 + 40 * i
        require(reserved == 0, "dir-reserved", at + 2, "reserved field", reserved, 0)
        require(reserved_word == 0, "dir-reserved", at + 36, "reserved field", reserved_word, 0)
        require(dims_end >= previous_dims_end, "dims-end", at + 24, "dims end", dims_end,
                f"at least {previous_dims_end}")
        rank = dims_end - previous_dims_end
        require(rank <= 64, "limit-rank", at + 24, "number of dimensions", rank, "at most 64")
        require(name_end >= previous_name_end, "name-end", at + 28, "name end", name_end,
                f"at least {previous_name_end}")
        name_length = name_end - previous_name_end
        require(name_length <= 65535, "limit-name", at + 28, "length of the name", name_length, "at most 65535")
        # An end that is too great here makes one of the later ends decrease, so slices beyond the directory do no harm
        # for the names. The dimensions are unpacked, so their range is checked first.
        require(names_at >= 40 * count + 8 * dims_end, "dims-end", at + 24, "dims end", dims_end,
                f"at most {(names_at - 40 * count) // 8}, the last one")
        name = directory[names_at + previous_name_end:names_at + name_end]
        require(is_utf8(name), "name-utf8", 64 + names_at + previous_name_end, "name", name[:200], "UTF-8")
        dimensions = struct.unpack_from(f"<{rank}Q", directory, 40 * count + 8 * previous_dims_end)
        dtype, fields, weight_bytes, length = check_type(at, dtype_code, dimensions)
        weights = length // weight_bytes
        forms = check_forms(at, fields, length, forms, chunk_size, palette_checksum)
        begin = align(payload_end, alignment(length)) if length else payload_end
        tensor = Tensor(name, dtype, dimensions, weights, weight_bytes, length, fields, forms, chunk_size, checksum,
                        palette_checksum, begin, stated_end)
        check_payload_end(at, tensor)
        tensors.append(tensor)
        order.append(by_name)
        previous_dims_end, previous_name_end, payload_end = dims_end, name_end, stated_end

    previous_name = None
    for i, number in enumerate(order):
        at = 64 + 40 * i + 32
        require(number < count, "name-order", at, "by name", number, f"less than {count}")
        name = tensors[number].name
        if previous_name is not None:
            require(name != previous_name, "name-duplicate", at, "name", name, "a name that occurs once")
            require(name > previous_name, "name-order", at, "name", name, f"a name after {previous_name}")
        previous_name = name
    require(header.file_length == payload_end + 64, "file-length", 16, "file length", header.file_length,
            payload_end + 64)
    return tensors


def is_utf8(name):
    """Section 3.2, rule 4. Python's decoder follows RFC 3629."""
    try:
        name.decode("utf-8")
        return True
    except UnicodeDecodeError:
        return False


class JsonObject(list):
    """Section 3.3. The members of a JSON object as (name, value) pairs: a dict would lose those that occur twice."""


def parse_json_integer(digits):
    """Section 3.3, rule 2. Integers are written in digits alone, and are below 2^64. What is not becomes a float, as numbers
    with a fraction or an exponent do. More than 20 digits need not be converted (Python refuses from 4300 on)."""
    value = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 20 else 2**64
    return value if value < 2**64 else float("inf")


def refuse_json_constant(constant):
    """Section 3.3. Python's parser takes NaN and Infinity, which are not JSON."""
    raise ValueError(f"{constant} is not JSON")


def is_unicode(text):
    """Section 3.3, rule 1. Python's parser joins pairs of surrogate escapes; one that is left has no pair."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def read_json(data):
    """Section 3.3, rule 1. The value that stands in the JSON, with its integers and floats apart. ValueError if there is no
    JSON, or more than one value."""
    parser = json.JSONDecoder(object_pairs_hook=JsonObject, parse_int=parse_json_integer,
                              parse_float=float, parse_constant=refuse_json_constant)
    text = data.decode("utf-8")
    value, end = parser.raw_decode(text)
    rest = text[end:].strip(" \t\n\r")
    if rest:
        raise ValueError(f"text after the JSON object: {ascii(rest[:16])}")
    return value


def read_source_section(file, header, tensors):
    """Section 3.3. Read and check the source section."""
    at = 64 + header.directory_length
    source = read_exactly(file, at, header.source_length)
    found = zlib.crc32(source)
    require(found == header.source_checksum, "source-crc", 44, "source checksum", header.source_checksum, found)
    if header.source_kind == 1:
        check_safetensors_header(at, source, tensors)
    return source


def safetensors_tensors(at, source):
    """Section 3.3, rules 1 and 2. The tensors that the JSON describes, sorted as rule 3 says: name, dtype, shape,
    begin and end."""
    def need(holds, what, found, expected):
        """Section 3.3. All of its rules for the JSON have one name."""
        require(holds, "source-header", at, what, found, expected)

    json_length, = struct.unpack_from("<Q", source)
    need(json_length == len(source) - 8, "length of the JSON", json_length, len(source) - 8)
    need(source[8:9] == b"{", "first byte of the JSON", source[8:9], b"{")
    try:
        members = read_json(source[8:])
    except (ValueError, RecursionError) as error:
        # What nests deeper than Python's parser can follow nests deeper than three, and is broken anyway.
        raise Rejected(f"source-header: JSON at offset {at + 8}: found {type(error).__name__}: {error}, "
                       "expected one JSON object in UTF-8") from None

    def members_of(value, what):
        """Section 3.3, rules 1 and 2. The members of an object by name; no name twice, and every name Unicode."""
        need(isinstance(value, JsonObject), what, type(value).__name__, "an object")
        members = dict(value)
        need(len(members) == len(value), f"number of members of {what}", len(value), f"{len(members)} different ones")
        need(all(map(is_unicode, members)), f"names in {what}", "half a surrogate pair", "Unicode")
        return members

    def is_list_of_integers(value):
        """Section 3.3, rule 2. All other numbers are floats."""
        # An exact comparison of types, because True is an int to isinstance, and a JsonObject a list.
        return type(value) is list and all(type(item) is int for item in value)

    described = []
    for name, value in members_of(members, "the JSON").items():
        if name == "__metadata__" and value is None:
            continue
        fields = members_of(value, f"member {ascii(name)}")
        if name == "__metadata__":
            need(all(isinstance(text, str) and is_unicode(text) for text in fields.values()), "__metadata__",
                 "another value", "strings of Unicode only")
            continue
        need(fields.keys() == {"dtype", "shape", "data_offsets"}, f"members of {ascii(name)}", sorted(fields),
             "dtype, shape, data_offsets")
        dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
        need(isinstance(dtype, str) and dtype in DTYPE_NAMES, f"dtype of {ascii(name)}", ascii(dtype), "a known type")
        need(is_list_of_integers(shape), f"shape of {ascii(name)}", shape, "integers of digits alone below 2^64")
        need(is_list_of_integers(offsets) and len(offsets) == 2 and offsets[0] <= offsets[1],
             f"data_offsets of {ascii(name)}", offsets, "two ascending integers")
        described.append((name, dtype, tuple(shape), offsets[0], offsets[1]))

    return sorted(described, key=lambda tensor: tensor[3:])     # stable: equal offsets keep their order


def check_safetensors_header(at, source, tensors):
    """Section 3.3, rules 3 and 4. The JSON describes the tensors of the directory."""
    def need(holds, what, found, expected):
        """Section 3.3. All of its rules for the JSON have one name."""
        require(holds, "source-header", at, what, found, expected)

    described = safetensors_tensors(at, source)
    need(len(described) == len(tensors), "number of tensors", len(described), len(tensors))
    expected_begin = 0
    for (name, dtype, shape, begin, end), tensor in zip(described, tensors):
        need(begin == expected_begin, f"begin of {ascii(name)}", begin, expected_begin)
        found = (name.encode("utf-8"), dtype, shape, end - begin)
        expected = (tensor.name, tensor.dtype, tensor.dimensions, tensor.length)
        need(found == expected, "name, dtype, shape, length", found, expected)
        expected_begin = end


def read_extensions(file, header):
    """Section 3.4. Check the extensions. Version 1.0 knows no kind of item."""
    at = 64 + header.directory_length + header.source_length
    extensions = read_exactly(file, at, header.extension_length)
    found = zlib.crc32(extensions)
    require(found == header.extension_checksum, "extension-crc", 52, "extension checksum", header.extension_checksum,
            found)
    total = len(extensions)
    require(total % 8 == 0, "extension-length", 48, "extension length", total, "a multiple of 8")
    position = 0
    while position < total:
        # Eight bytes are left, because all of it, and each item, is a multiple of 8.
        kind, length = struct.unpack_from("<II", extensions, position)
        contents_end = position + 8 + length
        require(contents_end <= total, "extension-length", at + position + 4, "length of the item", length,
                f"at most {total - position - 8}")
        require_zero(extensions[contents_end:align(contents_end, 8)], "extension-padding", at + contents_end,
                     "padding byte")
        require(kind < 2**31, "extension-unknown", at + position, "critical item of kind", hex(kind),
                "no critical item")
        position = align(contents_end, 8)


def alignment(length):
    """Section 3.5. A: the alignment of a tensor with this many original bytes."""
    return 256 if length >= 65536 else 16


class Parts(NamedTuple):
    """Section 3.5. The letters of a tensor, and where the parts of its payload begin."""
    W: int      # plain bits of a weight
    P: int      # bytes of the plain plane
    c: int      # chunks
    q: int      # coded fields
    m: int      # fields that are not plain
    b: int      # block checksums
    B: int      # begin of the plain plane
    C: int      # begin of the block checksums
    G: int      # begin of the palettes
    ends: int   # begin of the record ends
    R: int      # begin of the records


def parts(tensor):
    """Sections 2 and 3.5. The letters and the table of parts."""
    W = 8 * tensor.weight_bytes - sum(high - low + 1 for _, (high, low) in not_plain(tensor))
    q = sum(form in (HUFFMAN, PALETTE) for form in tensor.forms)
    m = sum(form != PLAIN for form in tensor.forms)
    P = (tensor.weights * W + 7) // 8
    c = (tensor.weights + 2**tensor.chunk_size - 1) >> tensor.chunk_size if q else 0
    b = (P + 65535) // 65536 if q == 0 and P > 65536 else 0
    B = tensor.payload_begin
    C = align(B + P, 4)
    G = align(C + 4 * b, alignment(tensor.length))
    ends = G + 16 * m
    return Parts(W, P, c, q, m, b, B, C, G, ends, align(ends + 4 * c * q, 16))


def greatest_record(n, w):
    """Section 5.1. The length of the verbatim record of n weights and w bits, which no record exceeds."""
    return align(16 + (n * w + 7) // 8, 16)


def check_payload_end(at, tensor):
    """Section 3.5, rule 1. The payload end fits the tensor."""
    end = tensor.payload_end
    if tensor.weights == 0:
        require(end == tensor.payload_begin, "payload-end", at + 8, "payload end", end, tensor.payload_begin)
        return
    part = parts(tensor)
    if part.q == 0:
        expected = part.G + 16 * part.m if part.m else part.C + 4 * part.b if part.b else part.B + part.P
        require(end == expected, "payload-end", at + 8, "payload end", end, expected)
        return
    size = 2**tensor.chunk_size
    rest = tensor.weights - (part.c - 1) * size
    most = sum((part.c - 1) * greatest_record(size, high - low + 1) + greatest_record(rest, high - low + 1)
               for form, (high, low) in not_plain(tensor) if form != CONSTANT)
    least = 16 * part.c * part.q
    records = end - part.R
    require(least <= records <= most and records % 16 == 0, "payload-end", at + 8, "payload end", end,
            f"{part.R} and a multiple of 16 from {least} to {most}")


def check_padding(file, begin, end):
    """Section 3.5, rule 2. Bytes begin .. end of the file are zero; at most 255 of them, or the guard."""
    require_zero(read_exactly(file, begin, end - begin), "padding", begin, "padding byte")


def check_all_padding(file, header, tensors):
    """Section 3.5, rule 2. All padding in front of the payload, around and inside the tensors, and the guard."""
    extensions_end = 64 + header.directory_length + header.source_length + header.extension_length
    payload_end = payload_start(header)
    check_padding(file, extensions_end, payload_end)
    for tensor in tensors:
        check_padding(file, payload_end, tensor.payload_begin)
        payload_end = tensor.payload_end
        if tensor.weights == 0:
            continue
        part = parts(tensor)
        plain_end = part.B + part.P
        require_zero_after(read_exactly(file, plain_end - 1, 1), tensor.weights * part.W, "padding", plain_end - 1,
                           "padding bits of the plain plane")
        if part.b:
            check_padding(file, plain_end, part.C)
        if part.m:
            check_padding(file, part.C + 4 * part.b if part.b else plain_end, part.G)
        if part.q:
            check_padding(file, part.ends + 4 * part.c * part.q, part.R)
    check_padding(file, payload_end, payload_end + 64)


def read_palettes(file, tensor, part):
    """Section 3.5, rule 4. The palette of every field that is not plain, in the order of fields: its values, or the
    one value of a constant field."""
    data = read_exactly(file, part.G, 16 * part.m)
    if part.m:
        found = zlib.crc32(data)
        require(found == tensor.palette_checksum, "palette-crc", part.G, "palette checksum", tensor.palette_checksum,
                found)
    palettes = []
    for i, (form, (high, low)) in enumerate(not_plain(tensor)):
        width = high - low + 1
        entries = 1 if form == CONSTANT else min(16, 2**width)
        at = part.G + 16 * i
        palette = data[16 * i:16 * i + entries]
        require(all(palette[j] < palette[j + 1] for j in range(entries - 1)), "palette-values", at, "palette",
                list(palette), "strictly ascending values")
        require(palette[-1] < 2**width, "palette-values", at + entries - 1, "value", palette[-1],
                f"less than {2**width}")
        require_zero(data[16 * i + entries:16 * i + 16], "palette-values", at + entries, "byte behind the palette")
        palettes.append(palette)
    return palettes


def plain_blocks(file, part):
    """Section 3.5, rule 3. The plain plane of a tensor without records, each of its blocks checked."""
    for start in range(0, part.P, 65536):
        offset = part.B + start
        block = read_exactly(file, offset, min(65536, part.P - start))
        if part.b:
            stated, = struct.unpack("<I", read_exactly(file, part.C + start // 65536 * 4, 4))
            found = zlib.crc32(block)
            require(stated == found, "block-crc", offset, "checksum of the block", stated, found)
        yield block


def coded_chunks(file, tensor, part, palettes):
    """Section 3.5, rule 5. The chunks of a coded tensor, one after the other: plain bytes, and the values of every
    coded field."""
    coded = [(form, high - low + 1, palette) for (form, (high, low)), palette in zip(not_plain(tensor), palettes)
             if form != CONSTANT]
    total = (tensor.payload_end - part.R) // 16
    previous_end = 0
    for j in range(part.c):
        first = j << tensor.chunk_size
        n = min(1 << tensor.chunk_size, tensor.weights - first)
        plain = read_exactly(file, part.B + first * part.W // 8, (n * part.W + 7) // 8)
        chunk = []
        for i, (form, width, palette) in enumerate(coded):
            number = j * part.q + i
            end_at = part.ends + 4 * number
            end, = struct.unpack("<I", read_exactly(file, end_at, 4))
            require(previous_end < end <= total, "record-ends", end_at, f"end of record {number}", end,
                    f"more than {previous_end} and at most {total}")
            require(end == total or number < part.c * part.q - 1, "record-ends", end_at, "end of the last record", end,
                    total)
            length = 16 * (end - previous_end)
            require(length <= greatest_record(n, width), "record-too-long", end_at, f"length of record {number}",
                    length, f"at most {greatest_record(n, width)}")
            offset = part.R + 16 * previous_end
            record = read_exactly(file, offset, length)
            chunk.append(decode_record(record, offset, plain if i == 0 else b"", n, width, form, palette))
            previous_end = end
        yield n, plain, chunk


# ---- Section 4: types, fields and forms --------------------------------------------------------------------------------

NIBBLES = ((31, 28), (27, 24), (23, 20), (19, 16), (15, 12), (11, 8), (7, 4), (3, 1))
BYTES = ((63, 56), (55, 48), (47, 40), (39, 32), (31, 24), (23, 16), (15, 8), (7, 1))
# code: (name, bits of an element, bytes of a weight, fields)
DTYPES = {
    1: ("BOOL", 8, 1, NIBBLES[6:]),
    2: ("U8", 8, 1, NIBBLES[6:]),
    3: ("I8", 8, 1, NIBBLES[6:]),
    4: ("F8_E5M2", 8, 1, ((6, 2), (1, 0))),
    5: ("F8_E4M3", 8, 1, ((6, 3), (2, 0))),
    6: ("F8_E8M0", 8, 1, ((7, 1),)),
    7: ("F8_E4M3FNUZ", 8, 1, ((6, 3), (2, 0))),
    8: ("F8_E5M2FNUZ", 8, 1, ((6, 2), (1, 0))),
    9: ("F4", 4, 1, NIBBLES[6:]),
    10: ("F6_E2M3", 6, 1, ()),
    11: ("F6_E3M2", 6, 1, ()),
    12: ("I16", 16, 2, NIBBLES[4:]),
    13: ("U16", 16, 2, NIBBLES[4:]),
    14: ("F16", 16, 2, ((14, 10), (9, 7), (6, 3), (2, 0))),
    15: ("BF16", 16, 2, ((14, 7), (6, 4), (3, 0))),
    16: ("I32", 32, 4, NIBBLES),
    17: ("U32", 32, 4, NIBBLES),
    18: ("F32", 32, 4, ((30, 23), (22, 20), (19, 16), (15, 13), (12, 8), (7, 0))),
    19: ("I64", 64, 8, BYTES),
    20: ("U64", 64, 8, BYTES),
    21: ("F64", 64, 8, ((59, 52), (62, 60), (47, 40), (39, 32), (31, 24), (23, 16), (15, 8), (7, 0))),
    22: ("C64", 64, 8, ((30, 23), (22, 16), (15, 8), (7, 0), (62, 55), (54, 48), (47, 40), (39, 32))),
}
DTYPE_NAMES = {name for name, _, _, _ in DTYPES.values()}


def check_type(at, code, dimensions):
    """Section 4.1. The dtype's name, its fields, the bytes of a weight, and the data length."""
    require(code in DTYPES, "dtype-unknown", at, "dtype", code, "1 to 22")
    dtype, bits, weight_bytes, fields = DTYPES[code]
    elements = 0 if 0 in dimensions else 1
    if elements:
        for dimension in dimensions:
            elements *= dimension
    require(elements <= 2**56, "limit-elements", at, "element count", elements, "at most 2^56")
    require(elements * bits % 8 == 0, "tensor-bits", at, "number of bits", elements * bits, "a multiple of 8")
    return dtype, fields, weight_bytes, elements * bits // 8


PLAIN, HUFFMAN, PALETTE, CONSTANT = 0, 1, 2, 3


def check_forms(at, fields, length, number, chunk_size, palette_checksum):
    """Section 4.2, rules 1 to 4. The form of every field, of the entry at offset `at`."""
    forms = tuple(number >> 4 * f & 15 for f in range(8))
    for f, form in enumerate(forms):
        require(form <= CONSTANT, "form-unknown", at + 4 + f // 2, f"form of field {f}", form, "0 to 3")
        require(form == PLAIN or f < len(fields), "form-field", at + 4 + f // 2, f"form of field {f}", form,
                "0, because the type has no such field")
        if form == PALETTE:
            high, low = fields[f]
            require(high - low + 1 > 4, "form-field", at + 4 + f // 2, f"form of a field of {high - low + 1} bits",
                    form, "another one than palette")
    require(number == 0 or length > 0, "form-empty", at + 4, "forms of a tensor without weights", number, 0)
    if HUFFMAN in forms or PALETTE in forms:
        require(length <= 2**36, "limit-coded", at, "original bytes of a coded tensor", length, "at most 2^36")
        require(12 <= chunk_size <= 16, "chunk-size", at + 1, "chunk size", chunk_size, "12 to 16")
    else:
        require(chunk_size == 0, "chunk-size", at + 1, "chunk size", chunk_size, 0)
    require(number or palette_checksum == 0, "palette-crc", at + 20, "palette checksum", palette_checksum, 0)
    return forms[:len(fields)]


def not_plain(tensor):
    """Section 4.2. Form and field, of all fields that are not plain, in the order of fields."""
    return [(form, field) for form, field in zip(tensor.forms, tensor.fields) if form != PLAIN]


def spread_tables(tensor):
    """Section 4.2. Tables for pdep: entry x of table i is what the value x of byte i of a plain value becomes."""
    coded = sum((2 << high) - (1 << low) for _, (high, low) in not_plain(tensor))
    plain_bits = [bit for bit in range(8 * tensor.weight_bytes) if not coded >> bit & 1]
    return [[sum(1 << bit for i, bit in enumerate(plain_bits[at:at + 8]) if x >> i & 1) for x in range(256)]
            for at in range(0, len(plain_bits), 8)]


# ---- Section 5: records ---------------------------------------------------------------------------------------------

VERBATIM = 0    # as a record kind; HUFFMAN and PALETTE are the same numbers as the forms


def decode_record(record, at, plain, n, width, form, palette):
    """Section 5.1. Check one record, which stands at offset `at`, and give the values of its chunk. `plain` has the
    chunk's bytes of the plain plane if the record's checksum covers them."""
    steps = (n + 255) // 256
    stated, kind, reserved, patch_count = struct.unpack_from("<IBBH", record)
    code_lengths = record[8:16]
    found = zlib.crc32(plain, zlib.crc32(memoryview(record)[4:]))
    require(stated == found, "record-crc", at, "record checksum", stated, found)
    require(kind in (VERBATIM, HUFFMAN, PALETTE), "record-kind", at + 4, "record kind", kind, "0, 1 or 2")
    require(kind in (VERBATIM, form), "record-form", at + 4, "record kind", kind, f"{VERBATIM} or {form}")
    require(reserved == 0, "record-reserved", at + 5, "reserved byte", reserved, 0)
    if kind == VERBATIM:
        require(patch_count == 0, "record-reserved", at + 6, "patch count of a verbatim record", patch_count, 0)
    if kind != HUFFMAN:
        require_zero(code_lengths, "record-reserved", at + 8, "byte of code lengths")

    if kind == HUFFMAN:
        require(len(record) >= 80, "record-length", at, "length of the record", len(record), "at least 80")
        lane_ends = read_lane_ends(record, at)
        patches_at = 80 + lane_ends[31]
    else:
        patches_at = 16 + ((n * width + 7) // 8 if kind == VERBATIM else 128 * steps)
    contents_end = patches_at + 3 * patch_count
    require(len(record) == align(contents_end, 16), "record-length", at, "length of the record", len(record),
            align(contents_end, 16))
    require_zero(record[contents_end:], "record-padding", at + contents_end, "padding byte")

    if kind == VERBATIM:
        return decode_verbatim(record[16:patches_at], at + 16, n, width)
    if kind == HUFFMAN:
        values = decode_huffman(record, at, lane_ends, build_table(code_lengths, at + 8, palette), steps)
    else:
        values = decode_palette(record[16:patches_at], palette)
    apply_patches(values, record, at, patches_at, patch_count, n, width)
    return values[:n]


def read_lane_ends(record, at):
    """Section 5.2, rule 1. The 32 lane ends."""
    lane_ends = struct.unpack_from("<32H", record, 16)
    for lane in range(1, 32):
        require(lane_ends[lane - 1] <= lane_ends[lane], "lane-ends", at + 16 + 2 * lane, f"end of lane {lane}",
                lane_ends[lane], f"at least {lane_ends[lane - 1]}")
    return lane_ends


def decode_huffman(record, at, lane_ends, table, steps):
    """Section 5.2, and section 7 step 4. The values of all steps, the surplus of a short last one included."""
    values = bytearray(256 * steps)
    begin = 0
    for lane, end in enumerate(lane_ends):
        # The whole lane as one integer: bit 0 of its first byte is bit 0. Past the end it continues with zeros.
        stream = int.from_bytes(record[80 + begin:80 + end], "little")
        used = 0
        lane_values = bytearray()
        for _ in range(steps):
            # Eight codes of at most 8 bits each: a window of 64 bits holds them, and is quicker to shift than the lane.
            window = stream >> used & 0xFFFFFFFFFFFFFFFF
            for _ in range(8):
                value, length = table[window & 0xFF]
                window >>= length
                used += length
                lane_values.append(value)
        unused = 8 * (end - begin) - used
        require(unused >= 0, "lane-overrun", at + 80 + begin, f"bits of lane {lane}", 8 * (end - begin), used)
        require(unused < 8, "lane-underrun", at + 80 + begin, f"bits of lane {lane}", 8 * (end - begin), used)
        require(stream >> used == 0, "lane-padding", at + 79 + end, f"unused bits of lane {lane}", stream >> used, 0)
        # Weight m of the lane's eight in every step: the lane has them 8 apart, the chunk 256 apart.
        for m in range(8):
            values[8 * lane + m::256] = lane_values[m::8]
        begin = end
    return values


def decode_palette(indices, palette):
    """Section 5.3, and section 7 step 5. The values of all steps, the surplus of a short last one included."""
    values = bytearray(2 * len(indices))
    values[0::2] = indices.translate(bytes(palette[byte & 15] for byte in range(256)))
    values[1::2] = indices.translate(bytes(palette[byte >> 4] for byte in range(256)))
    return values


def decode_verbatim(body, at, n, width):
    """Section 5.4, and section 7 step 2. The values stand there as a bit string."""
    require_zero_after(body, n * width, "record-padding", at, "padding bits of the body")
    return unpack(body, width, n)


def apply_patches(values, record, at, patches_at, patch_count, n, width):
    """Section 5.5, and section 7 step 6. Replace the values that the record does not code."""
    previous = -1
    for offset in range(patches_at, patches_at + 3 * patch_count, 3):
        position, value = struct.unpack_from("<HB", record, offset)
        require(position > previous, "patch-order", at + offset, "patch position", position, f"more than {previous}")
        require(position < n, "patch-position", at + offset, "patch position", position, f"less than {n}")
        require(value < 2**width, "patch-value", at + offset + 2, "patch value", value, f"less than {2**width}")
        values[position] = value
        previous = position


# ---- Section 6: Huffman code ----------------------------------------------------------------------------------------


def build_table(code_lengths, at, palette):
    """Section 6. The table Q: for each of the next 8 bits' patterns, a value and the number of bits that it takes."""
    coded = []      # (length, palette index) of the entries that have a code
    for j in range(16):
        length = code_lengths[j // 2] >> 4 * (j % 2) & 15
        require(length <= 8 or length == 15, "code-length", at + j // 2, f"code length of entry {j}", length,
                "0 to 8, or 15")
        require(j < len(palette) or length == 15, "code-length", at + j // 2, f"code length of entry {j}", length,
                "15, because the palette has no such entry")
        if length != 15:
            coded.append((length, j))
    claimed = sum(2**(8 - length) for length, _ in coded)
    require(claimed <= 256, "code-oversubscribed", at, "sum over the code lengths", claimed, 256)
    require(claimed >= 256, "code-incomplete", at, "sum over the code lengths", claimed, 256)

    table = [None] * 256
    code, previous_length = -1, 0
    for length, j in sorted(coded):
        code = (code + 1) << (length - previous_length)
        previous_length = length
        # The first bit of the stream is the code's most significant one, and the table is indexed by the stream.
        reversed_code = sum((code >> bit & 1) << (length - 1 - bit) for bit in range(length))
        for index in range(reversed_code, 256, 2**length):
            table[index] = (palette[j], length)
    return table


# ---- Section 7: decode procedure ------------------------------------------------------------------------------------


def join_weights(tensor, W, tables, constants, n, plain, chunk):
    """Section 7, "Tensor", steps 2 and 3. The original bytes of n weights: their plain values spread by pdep, then the
    constants, then the values of the coded fields."""
    numbers = unpack(plain, W, n)
    weights = [constants | tables[0][number & 255] for number in numbers]
    for i, table in enumerate(tables[1:], 1):
        weights = [weight | table[number >> 8 * i & 255] for weight, number in zip(weights, numbers)]
    lows = [low for form, (_, low) in not_plain(tensor) if form != CONSTANT]
    for low, values in zip(lows, chunk):
        weights = [weight | value << low for weight, value in zip(weights, values)]
    return struct.pack(f"<{n}{' BH I   Q'[tensor.weight_bytes]}", *weights)


def tensor_pieces(file, tensor):
    """Section 7, "Tensor", steps 1 to 3. The original bytes, piece after piece."""
    part = parts(tensor)
    if part.m == 0:     # raw
        yield from plain_blocks(file, part)
        return
    palettes = read_palettes(file, tensor, part)
    tables = spread_tables(tensor)
    constants = sum(palette[0] << low for (form, (_, low)), palette in zip(not_plain(tensor), palettes)
                    if form == CONSTANT)
    if part.q:
        for n, plain, chunk in coded_chunks(file, tensor, part, palettes):
            yield join_weights(tensor, part.W, tables, constants, n, plain, chunk)
    else:
        # Blocks do not end where weights do: the weights of W blocks, 8 * 65536 of them, take whole bytes.
        data = b"".join(plain_blocks(file, part))
        for first in range(0, tensor.weights, 8 * 65536):
            n = min(8 * 65536, tensor.weights - first)
            plain = data[first * part.W // 8:(first + n) * part.W // 8 + 1]
            yield join_weights(tensor, part.W, tables, constants, n, plain, [])


def decode_tensor(file, tensor, output):
    """Section 7, "Tensor", and section 8, rule 1. Output the tensor's original bytes."""
    checksum = 0
    for data in tensor_pieces(file, tensor) if tensor.weights else ():
        checksum = zlib.crc32(data, checksum)
        output.write(data)
    require(checksum == tensor.checksum, "tensor-crc", tensor.payload_begin, f"checksum of {tensor.name[:200]}",
            checksum, tensor.checksum)


def decode_file(file, output):
    """Section 7, "File". Write the restored source to `output`, or raise Rejected."""
    header = read_header(file)
    tensors = read_directory(file, header)
    output.write(read_source_section(file, header, tensors))
    read_extensions(file, header)
    for tensor in tensors:
        decode_tensor(file, tensor, output)
    check_all_padding(file, header, tensors)


# ---- The command line -----------------------------------------------------------------------------------------------


def main(arguments):
    """Section 7, end. Success is reported, and OUTPUT gets its name, only after every rule has been checked."""
    if len(arguments) != 2:
        print("usage: unweight_decode.py INPUT OUTPUT", file=sys.stderr)
        return 3
    input_path, output_path = arguments
    if os.path.exists(output_path) and not os.path.isfile(output_path):
        print(f"cannot replace {output_path}: it is not a plain file", file=sys.stderr)
        return 3
    partial_path = f"{output_path}.{os.getpid()}.partial"
    opened = False
    try:
        with open(input_path, "rb") as file, open(partial_path, "xb") as output:
            opened = True
            decode_file(file, output)
        os.replace(partial_path, output_path)
        opened = False
        return 0
    except Rejected as rejection:
        message = str(rejection).encode("ascii", "backslashreplace").decode()
        print(message if len(message) <= 1000 else message[:1000] + "...", file=sys.stderr)
        return 1
    except (OSError, ValueError, MemoryError) as error:     # ValueError: a path with a zero byte in it
        print(f"cannot decode {ascii(input_path)}: {type(error).__name__}: {error}", file=sys.stderr)
        return 3
    finally:
        if opened:      # what is there was not accepted
            os.unlink(partial_path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
