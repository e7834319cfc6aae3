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
    source_kind: int


class Tensor(NamedTuple):
    """Section 3.2. One directory entry, with its name and dimensions, and where its payload begins."""
    name: bytes
    dtype: str
    dimensions: tuple
    elements: int
    length: int         # of the original bytes
    encoding: int
    chunk_size: int
    checksum: int
    palette: bytes
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
    require_zero(head[49:60], "file-reserved", 49, "reserved byte")

    header = Header(*struct.unpack_from("<IQQQIIB", head, 12))
    _, _, directory_length, source_length, _, _, kind = header
    require(header.tensor_count <= 2**20, "limit-tensors", 12, "tensor count", header.tensor_count, "at most 2^20")
    require(directory_length <= 2**28, "limit-directory", 24, "directory length", directory_length, "at most 2^28")
    require(source_length <= 2**28, "limit-source", 32, "source length", source_length, "at most 2^28")
    require(kind <= 1, "source-kind", 48, "source kind", kind, "0 or 1")
    require(source_length >= 8 if kind else source_length == 0, "source-length", 32,
            f"source length of kind {kind}", source_length, "at least 8" if kind else 0)
    require(true_length >= header.file_length, "file-truncated", true_length, "length", true_length, header.file_length)
    require(true_length <= header.file_length, "file-trailing", header.file_length, "length", true_length,
            header.file_length)
    # Rule 7, as far as it can be checked before the directory and the source section are read.
    least = align(64 + directory_length + source_length, 256) + 64
    require(true_length >= least, "file-length", 16, "file length", true_length, f"at least {least}")
    return header


ENTRY = struct.Struct("<BBBBIIIQ16sII")


def read_directory(file, header):
    """Section 3.2. Read and check the directory; give the list of tensors."""
    count, length = header.tensor_count, header.directory_length
    require(length >= 48 * count, "dir-length", 24, "directory length", length, f"at least {48 * count}")
    directory = read_exactly(file, 64, length)
    found = zlib.crc32(directory)
    require(found == header.directory_checksum, "dir-crc", 40, "directory checksum", header.directory_checksum, found)

    # The last entry's two ends tell how long everything is. They are checked before anything is located by them.
    dims_end, name_end = struct.unpack_from("<II", directory, 48 * count - 40) if count else (0, 0)
    names_at = 48 * count + 8 * dims_end
    expected = align(names_at + name_end, 8)
    require(length == expected, "dir-length", 24, "directory length", length, expected)
    require_zero(directory[names_at + name_end:], "dir-padding", 64 + names_at + name_end, "padding byte")

    tensors, order = [], []
    previous_dims_end, previous_name_end = 0, 0
    payload_end = align(64 + length + header.source_length, 256)
    for i, entry in enumerate(ENTRY.iter_unpack(directory[:48 * count])):
        (dtype_code, encoding, chunk_size, reserved, checksum, dims_end, name_end,
         stated_end, palette, by_name, reserved_word) = entry
        at = 64 + 48 * i
        require(reserved == 0, "dir-reserved", at + 3, "reserved byte", reserved, 0)
        require(reserved_word == 0, "dir-reserved", at + 44, "reserved field", reserved_word, 0)
        require(dims_end >= previous_dims_end, "dims-end", at + 8, "dims end", dims_end,
                f"at least {previous_dims_end}")
        rank = dims_end - previous_dims_end
        require(rank <= 64, "limit-rank", at + 8, "number of dimensions", rank, "at most 64")
        require(name_end >= previous_name_end, "name-end", at + 12, "name end", name_end,
                f"at least {previous_name_end}")
        name_length = name_end - previous_name_end
        require(name_length <= 65535, "limit-name", at + 12, "length of the name", name_length, "at most 65535")
        # An end that is too great here makes one of the later ends decrease, so slices beyond the directory do no harm
        # for the names. The dimensions are unpacked, so their range is checked first.
        require(names_at >= 48 * count + 8 * dims_end, "dims-end", at + 8, "dims end", dims_end,
                f"at most {(names_at - 48 * count) // 8}, the last one")
        name = directory[names_at + previous_name_end:names_at + name_end]
        try:
            name.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Rejected(f"name-utf8: name at offset {64 + names_at + previous_name_end + error.start}: "
                           f"found byte {name[error.start]}, expected UTF-8") from None
        dimensions = struct.unpack_from(f"<{rank}Q", directory, 48 * count + 8 * previous_dims_end)
        dtype, elements, data_length = check_type(at, dtype_code, dimensions)
        check_encoding(at, dtype, elements, encoding, chunk_size, palette)
        begin = align(payload_end, 256) if data_length else payload_end
        tensor = Tensor(name, dtype, dimensions, elements, data_length, encoding, chunk_size, checksum, palette,
                        begin, stated_end)
        check_payload_end(at, tensor)
        tensors.append(tensor)
        order.append(by_name)
        previous_dims_end, previous_name_end, payload_end = dims_end, name_end, stated_end

    previous_name = None
    for i, number in enumerate(order):
        at = 64 + 48 * i + 40
        require(number < count, "name-order", at, "by name", number, f"less than {count}")
        name = tensors[number].name
        if previous_name is not None:
            require(name != previous_name, "name-duplicate", at, "name", name, "a name that occurs once")
            require(name > previous_name, "name-order", at, "name", name, f"a name after {previous_name}")
        previous_name = name
    require(header.file_length == payload_end + 64, "file-length", 16, "file length", header.file_length,
            payload_end + 64)
    return tensors


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


def read_source_section(file, header, tensors):
    """Section 3.3. Read and check the source section."""
    at = 64 + header.directory_length
    source = read_exactly(file, at, header.source_length)
    found = zlib.crc32(source)
    require(found == header.source_checksum, "source-crc", 44, "source checksum", header.source_checksum, found)
    if header.source_kind == 1:
        check_safetensors_header(at, source, tensors)
    return source


def check_safetensors_header(at, source, tensors):
    """Section 3.3, rules 1 to 4. The JSON must describe the tensors of the directory."""
    def need(holds, what, found, expected):
        """Section 3.3. All of its rules for the JSON have one name."""
        require(holds, "source-header", at, what, found, expected)

    json_length, = struct.unpack_from("<Q", source)
    need(json_length == len(source) - 8, "length of the JSON", json_length, len(source) - 8)
    need(source[8:9] == b"{", "first byte of the JSON", source[8:9], b"{")
    parser = json.JSONDecoder(object_pairs_hook=JsonObject, parse_int=parse_json_integer,
                              parse_float=float, parse_constant=refuse_json_constant)
    try:
        text = source[8:].decode("utf-8")
        members, end = parser.raw_decode(text)
    except (ValueError, RecursionError) as error:
        # JSON that nests too deeply for Python's parser nests deeper than three, and is invalid anyway.
        raise Rejected(f"source-header: JSON at offset {at + 8}: found {type(error).__name__}: {error}, "
                       "expected one JSON object in UTF-8") from None
    need(not text[end:].strip(" \t\n\r"), "text after the JSON object", ascii(text[end:end + 16]), "white space")

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

    described.sort(key=lambda tensor: tensor[3:])       # stable: members with equal offsets keep their order
    need(len(described) == len(tensors), "number of tensors", len(described), len(tensors))
    expected_begin = 0
    for (name, dtype, shape, begin, end), tensor in zip(described, tensors):
        need(begin == expected_begin, f"begin of {ascii(name)}", begin, expected_begin)
        found = (name.encode("utf-8"), dtype, shape, end - begin)
        expected = (tensor.name, tensor.dtype, tensor.dimensions, tensor.length)
        need(found == expected, "name, dtype, shape, length", found, expected)
        expected_begin = end


def exponent_plane(tensor):
    """Section 3.4, second picture. Where the record ends (X) and the records (R) begin, and the number of chunks."""
    chunks = (tensor.elements + 2**tensor.chunk_size - 1) >> tensor.chunk_size
    record_ends_at = tensor.payload_begin + align(tensor.elements, 256)
    return record_ends_at, record_ends_at + align(4 * chunks, 16), chunks


def check_payload_end(at, tensor):
    """Section 3.4, rule 1. The payload end fits the tensor."""
    begin, end = tensor.payload_begin, tensor.payload_end
    if tensor.encoding == RAW:
        blocks = (tensor.length + 65535) // 65536
        expected = begin + align(tensor.length, 4) + 4 * blocks
        require(end == expected, "payload-end", at + 16, "payload end", end, expected)
    else:
        _, records_at, chunks = exponent_plane(tensor)
        size = 2**tensor.chunk_size
        most = (chunks - 1) * (16 + size) + align(16 + tensor.elements - (chunks - 1) * size, 16)
        require(16 * chunks <= end - records_at <= most and (end - records_at) % 16 == 0, "payload-end", at + 16,
                "payload end", end, f"{records_at} and a multiple of 16 from {16 * chunks} to {most}")


def check_padding(file, begin, end):
    """Section 3.4, rule 2. Bytes begin .. end of the file are zero; at most 255 of them, or the guard."""
    require_zero(read_exactly(file, begin, end - begin), "padding", begin, "padding byte")


def check_all_padding(file, header, tensors):
    """Section 3.4, rule 2. All padding in front of the payload, around and inside the planes, and the guard."""
    source_end = 64 + header.directory_length + header.source_length
    payload_end = align(source_end, 256)
    check_padding(file, source_end, payload_end)
    for tensor in tensors:
        begin = tensor.payload_begin
        check_padding(file, payload_end, begin)
        payload_end = tensor.payload_end
        if tensor.encoding == RAW:
            check_padding(file, begin + tensor.length, begin + align(tensor.length, 4))
        else:
            record_ends_at, records_at, chunks = exponent_plane(tensor)
            check_padding(file, begin + tensor.elements, record_ends_at)
            check_padding(file, record_ends_at + 4 * chunks, records_at)
    check_padding(file, payload_end, payload_end + 64)


# ---- Section 4: tensors and planes ----------------------------------------------------------------------------------

DTYPES = {
    1: ("BOOL", 8), 2: ("U8", 8), 3: ("I8", 8), 4: ("F8_E5M2", 8), 5: ("F8_E4M3", 8), 6: ("F8_E8M0", 8),
    7: ("F8_E4M3FNUZ", 8), 8: ("F8_E5M2FNUZ", 8), 9: ("F4", 4), 10: ("F6_E2M3", 6), 11: ("F6_E3M2", 6),
    12: ("I16", 16), 13: ("U16", 16), 14: ("F16", 16), 15: ("BF16", 16), 16: ("I32", 32), 17: ("U32", 32),
    18: ("F32", 32), 19: ("I64", 64), 20: ("U64", 64), 21: ("F64", 64), 22: ("C64", 64),
}
DTYPE_NAMES = {name for name, _ in DTYPES.values()}


def check_type(at, code, dimensions):
    """Section 4.1. The dtype's name, the element count and the data length of the entry at offset `at`."""
    require(code in DTYPES, "dtype-unknown", at, "dtype", code, "1 to 22")
    dtype, bits = DTYPES[code]
    elements = 0 if 0 in dimensions else 1
    if elements:
        for dimension in dimensions:
            elements *= dimension
    require(elements <= 2**56, "limit-elements", at, "element count", elements, "at most 2^56")
    require(elements * bits % 8 == 0, "tensor-bits", at, "number of bits", elements * bits, "a multiple of 8")
    return dtype, elements, elements * bits // 8


RAW, HUFFMAN, PALETTE = 0, 1, 2


def check_encoding(at, dtype, elements, encoding, chunk_size, palette):
    """Sections 4.2 (rules 1 and 2) and 4.3 (rules 1 and 2). The fields that say how the tensor is stored."""
    require(encoding in (RAW, HUFFMAN, PALETTE), "encoding-unknown", at + 1, "encoding", encoding, "0, 1 or 2")
    if encoding == RAW:
        require(chunk_size == 0, "raw-fields", at + 2, "chunk size", chunk_size, 0)
        require_zero(palette, "raw-fields", at + 24, "palette byte")
        return
    require(dtype == "BF16", "encoding-dtype", at, "dtype of a coded tensor", dtype, "BF16")
    require(elements > 0, "encoding-empty", at, "weights of a coded tensor", elements, "at least 1")
    require(elements <= 2**35, "limit-coded", at, "weights of a coded tensor", elements, "at most 2^35")
    require(12 <= chunk_size <= 16, "chunk-size", at + 2, "chunk size", chunk_size, "12 to 16")
    require(all(palette[i] < palette[i + 1] for i in range(15)), "palette-order", at + 24, "palette", list(palette),
            "strictly ascending exponents")


def raw_blocks(file, tensor):
    """Section 4.2, rule 3. The blocks of a raw tensor's data, one after the other, each one checked."""
    checksum_at = tensor.payload_begin + align(tensor.length, 4)
    for start in range(0, tensor.length, 65536):
        offset = tensor.payload_begin + start
        block = read_exactly(file, offset, min(65536, tensor.length - start))
        stated, = struct.unpack("<I", read_exactly(file, checksum_at + start // 65536 * 4, 4))
        found = zlib.crc32(block)
        require(stated == found, "raw-crc", offset, "checksum of the block", stated, found)
        yield block


def coded_chunks(file, tensor):
    """Section 4.3, rule 3. The chunks of a coded tensor, one after the other, decoded."""
    record_ends_at, records_at, chunks = exponent_plane(tensor)
    total = (tensor.payload_end - records_at) // 16
    previous_end = 0
    for j in range(chunks):
        first = j << tensor.chunk_size
        n = min(1 << tensor.chunk_size, tensor.elements - first)
        end_at = record_ends_at + 4 * j
        end, = struct.unpack("<I", read_exactly(file, end_at, 4))
        require(previous_end < end <= total, "record-ends", end_at, f"end of record {j}", end,
                f"more than {previous_end} and at most {total}")
        require(end == total or j < chunks - 1, "record-ends", end_at, "end of the last record", end, total)
        length = 16 * (end - previous_end)
        require(length <= align(16 + n, 16), "record-too-long", end_at, f"length of record {j}", length,
                f"at most {align(16 + n, 16)}")
        offset = records_at + 16 * previous_end
        record = read_exactly(file, offset, length)
        sign_mantissa = read_exactly(file, tensor.payload_begin + first, n)
        exponents = decode_record(record, offset, sign_mantissa, tensor)
        yield join_weights(sign_mantissa, exponents)
        previous_end = end


# ---- Section 5: records ---------------------------------------------------------------------------------------------

VERBATIM = 0    # as a record kind; HUFFMAN and PALETTE are the same numbers as the tensor's encoding


def decode_record(record, at, sign_mantissa, tensor):
    """Section 5.1. Check one record, which stands at offset `at`, and give the exponents of its chunk."""
    n = len(sign_mantissa)
    steps = (n + 255) // 256
    stated, kind, reserved, patch_count = struct.unpack_from("<IBBH", record)
    code_lengths = record[8:16]
    found = zlib.crc32(sign_mantissa, zlib.crc32(memoryview(record)[4:]))
    require(stated == found, "record-crc", at, "chunk checksum", stated, found)
    require(kind in (VERBATIM, HUFFMAN, PALETTE), "record-kind", at + 4, "record kind", kind, "0, 1 or 2")
    require(kind in (VERBATIM, tensor.encoding), "record-encoding", at + 4, "record kind", kind,
            f"{VERBATIM} or {tensor.encoding}")
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
        patches_at = 16 + (n if kind == VERBATIM else 128 * steps)
    contents_end = patches_at + 3 * patch_count
    require(len(record) == align(contents_end, 16), "record-length", at, "length of the record", len(record),
            align(contents_end, 16))
    require_zero(record[contents_end:], "record-padding", at + contents_end, "padding byte")

    if kind == VERBATIM:
        return decode_verbatim(record, n)
    if kind == HUFFMAN:
        exponents = decode_huffman(record, at, lane_ends, build_table(code_lengths, at + 8, tensor.palette), steps)
    else:
        exponents = decode_palette(record[16:patches_at], tensor.palette)
    apply_patches(exponents, record, at, patches_at, patch_count, n)
    return exponents[:n]


def read_lane_ends(record, at):
    """Section 5.2, rule 1. The 32 lane ends."""
    lane_ends = struct.unpack_from("<32H", record, 16)
    for lane in range(1, 32):
        require(lane_ends[lane - 1] <= lane_ends[lane], "lane-ends", at + 16 + 2 * lane, f"end of lane {lane}",
                lane_ends[lane], f"at least {lane_ends[lane - 1]}")
    return lane_ends


def decode_huffman(record, at, lane_ends, table, steps):
    """Section 5.2, and section 7 step 4. The exponents of all steps, the surplus of a short last one included."""
    exponents = bytearray(256 * steps)
    begin = 0
    for lane, end in enumerate(lane_ends):
        # The whole lane as one integer: bit 0 of its first byte is bit 0. Past the end it continues with zeros.
        stream = int.from_bytes(record[80 + begin:80 + end], "little")
        used = 0
        lane_exponents = bytearray()
        for _ in range(steps):
            # Eight codes of at most 8 bits each: a window of 64 bits holds them, and is quicker to shift than the lane.
            window = stream >> used & 0xFFFFFFFFFFFFFFFF
            for _ in range(8):
                exponent, length = table[window & 0xFF]
                window >>= length
                used += length
                lane_exponents.append(exponent)
        unused = 8 * (end - begin) - used
        require(unused >= 0, "lane-overrun", at + 80 + begin, f"bits of lane {lane}", 8 * (end - begin), used)
        require(unused < 8, "lane-underrun", at + 80 + begin, f"bits of lane {lane}", 8 * (end - begin), used)
        require(stream >> used == 0, "lane-padding", at + 79 + end, f"unused bits of lane {lane}", stream >> used, 0)
        # Weight m of the lane's eight in every step: the lane has them 8 apart, the chunk 256 apart.
        for m in range(8):
            exponents[8 * lane + m::256] = lane_exponents[m::8]
        begin = end
    return exponents


def decode_palette(indices, palette):
    """Section 5.3, and section 7 step 5. The exponents of all steps, the surplus of a short last one included."""
    exponents = bytearray(2 * len(indices))
    exponents[0::2] = indices.translate(bytes(palette[byte & 15] for byte in range(256)))
    exponents[1::2] = indices.translate(bytes(palette[byte >> 4] for byte in range(256)))
    return exponents


def decode_verbatim(record, n):
    """Section 5.4, and section 7 step 2. The exponents stand there as bytes."""
    return record[16:16 + n]


def apply_patches(exponents, record, at, patches_at, patch_count, n):
    """Section 5.5, and section 7 step 6. Replace the exponents that the record does not code."""
    previous = -1
    for offset in range(patches_at, patches_at + 3 * patch_count, 3):
        position, exponent = struct.unpack_from("<HB", record, offset)
        require(position > previous, "patch-order", at + offset, "patch position", position, f"more than {previous}")
        require(position < n, "patch-position", at + offset, "patch position", position, f"less than {n}")
        exponents[position] = exponent
        previous = position


# ---- Section 6: Huffman code ----------------------------------------------------------------------------------------


def build_table(code_lengths, at, palette):
    """Section 6. The table Q: for every value of the next 8 bits, an exponent and the number of bits that it takes."""
    coded = []      # (length, palette index) of the entries that have a code
    for j in range(16):
        length = code_lengths[j // 2] >> 4 * (j % 2) & 15
        require(length <= 8 or length == 15, "code-length", at + j // 2, f"code length of entry {j}", length,
                "0 to 8, or 15")
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


def join_weights(sign_mantissa, exponents):
    """Section 7, step 7. The original bytes of a chunk. All weights at once: the chunk is taken as one long integer of
    n bytes, and each mask repeats a byte n times. No shift moves a bit that its mask has kept into another byte."""
    n = len(sign_mantissa)
    a = int.from_bytes(sign_mantissa, "little")
    e = int.from_bytes(exponents, "little")

    def mask(byte):
        """Section 7, step 7. The same byte for each weight."""
        return int.from_bytes(bytes([byte]) * n, "little")

    weights = bytearray(2 * n)
    weights[0::2] = (a & mask(0x7F) | (e & mask(0x01)) << 7).to_bytes(n, "little")
    weights[1::2] = (a & mask(0x80) | e >> 1 & mask(0x7F)).to_bytes(n, "little")
    return weights


def decode_tensor(file, tensor, output):
    """Section 7, "Raw tensor" and "Coded tensor", and section 8, rule 1. Output the tensor's original bytes."""
    checksum = 0
    for data in raw_blocks(file, tensor) if tensor.encoding == RAW else coded_chunks(file, tensor):
        checksum = zlib.crc32(data, checksum)
        output.write(data)
    require(checksum == tensor.checksum, "tensor-crc", tensor.payload_begin, f"checksum of {tensor.name[:200]}",
            checksum, tensor.checksum)


def decode_file(file, output):
    """Section 7, "File". Write the restored source to `output`, or raise Rejected."""
    header = read_header(file)
    tensors = read_directory(file, header)
    output.write(read_source_section(file, header, tensors))
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
