"""Files that the runner makes of a recipe: `recipe` in conformance/manifest.schema.json, written from its description."""
import struct
import zlib

EXTENSION_KIND = 77


def names(recipe):
    """The tensors' names."""
    return [f"{i:0{recipe['name_length']}}" for i in range(recipe["tensors"])]


def source_section(recipe):
    """The source section, or nothing."""
    if "source_spaces" not in recipe:
        return b""
    members = (f'"{name}":{{"dtype":"U8","shape":[1],"data_offsets":[{i},{i + 1}]}}' for i, name in enumerate(names(recipe)))
    json = ("{" + ",".join(members) + "}").encode() + b" " * recipe["source_spaces"]
    return struct.pack("<Q", len(json)) + json


def data(recipe):
    """The data of all tensors."""
    return bytes(i % 251 for i in range(recipe["tensors"]))


def restored(recipe):
    """The restored source of the file."""
    return source_section(recipe) + data(recipe)


def file_of(recipe):
    """The file."""
    count, source, contents = recipe["tensors"], source_section(recipe), data(recipe)
    extensions = b""
    if "extension" in recipe:
        length = recipe["extension"]
        extensions = struct.pack("<II", EXTENSION_KIND, length) + bytes(length + -length % 8)
    all_names = "".join(names(recipe)).encode()
    directory_length = 40 * count + 8 * count + len(all_names)
    directory_length += -directory_length % 8
    start = 64 + directory_length + len(source) + len(extensions)
    begin = start + -start % 256
    entries = [struct.pack("<BBHIQIIIIII", 2, 0, 0, 0, begin + 16 * i + 1, zlib.crc32(contents[i:i + 1]), 0, i + 1,
                           (i + 1) * recipe["name_length"] & 0xFFFFFFFF, i, 0) for i in range(count)]
    directory = (b"".join(entries) + struct.pack("<Q", 1) * count + all_names).ljust(directory_length, b"\0")
    payload = b"".join(contents[i:i + 1].ljust(16, b"\0") for i in range(count))[:16 * count - 15 if count else 0]
    header = b"\x89UNW\r\n\x1a\n" + struct.pack(
        "<HHIQQQIIIIB3x", 1, 0, count, begin + len(payload) + 64, directory_length, len(source), zlib.crc32(directory),
        zlib.crc32(source), len(extensions), zlib.crc32(extensions), int("source_spaces" in recipe))
    header += struct.pack("<I", zlib.crc32(header))
    return header + directory + source + extensions + bytes(begin - start) + payload + bytes(64)
