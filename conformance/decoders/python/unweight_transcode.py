#!/usr/bin/env python3
"""A transcoder for Unweight files, written from the specification (spec/unweight.md, section 11.9).

    python3 unweight_transcode.py INPUT OUTPUT huffman|palette

Exit status 0: OUTPUT holds the file. 1: INPUT was rejected; the first line on stderr is "rule: message", and there is no
OUTPUT. 3: a file could not be read or written, or the call is wrong.

It consists of the decoder and the encoder beside it. Standard library only. The whole file is in memory.
"""
import io
import sys
from typing import NamedTuple

import unweight_decode as decoder
import unweight_encode as encoder
from unweight_decode import CONSTANT, HUFFMAN, PALETTE, PLAIN


class File(NamedTuple):
    """Section 3. What a file holds, with every rule checked."""
    source_kind: int
    section: bytes
    tensors: list       # directory entries
    data: list          # the original bytes of each


def read_file(file):
    """Section 7, "File". Everything in a file that breaks no rule."""
    header = decoder.read_header(file)
    tensors = decoder.read_directory(file, header)
    section = decoder.read_source_section(file, header, tensors)
    # A critical item is one that the decoder does not know, so it is rejected here. Other items are dropped.
    decoder.read_extensions(file, header)
    data = []
    for tensor in tensors:
        output = io.BytesIO()
        decoder.decode_tensor(file, tensor, output)
        data.append(output.getvalue())
    decoder.check_all_padding(file, header, tensors)
    return File(header.source_kind, section, tensors, data)


def transcoded_forms(tensor, encoding):
    """Section 11.9. Coded fields of more than 4 bits get the form of the encoding. All others keep theirs."""
    forms = []
    for form, (high, low) in zip(tensor.forms, tensor.fields):
        is_coded = form in (HUFFMAN, PALETTE)
        forms.append(encoding if is_coded and high - low + 1 > 4 else form)
    return tuple(forms)


def transcode_tensor(tensor, data, encoding):
    """Section 11.9. The payload of a tensor with weights."""
    weights = encoder.read_weights(data, tensor.weight_bytes)
    forms = transcoded_forms(tensor, encoding)
    stored = encoder.lay_out(weights, tensor.weight_bytes, tensor.fields, forms, tensor.chunk_size, len(data))
    if not any(form not in (PLAIN, CONSTANT) for form in forms):
        return stored
    plain = (PLAIN,) * len(forms)
    raw = encoder.lay_out(weights, tensor.weight_bytes, tensor.fields, plain, tensor.chunk_size, len(data))
    return encoder.raw_if_no_longer(stored, raw, len(data))


def transcode_file(file, encoding):
    """Section 11.9. The file in another encoding."""
    read = read_file(file)
    tensors = [encoder.Tensor(tensor.name, encoder.CODES[tensor.dtype], tensor.dimensions, data)
               for tensor, data in zip(read.tensors, read.data)]
    return encoder.write_file(read.source_kind, read.section, tensors,
                              lambda i: transcode_tensor(read.tensors[i], read.data[i], encoding))


def transcode(input_path, encoding):
    """The file at a path in another encoding."""
    with open(input_path, "rb") as file:
        return transcode_file(file, encoding)


def main(arguments):
    """The command line."""
    if len(arguments) != 3 or arguments[2] not in ("huffman", "palette"):
        print("usage: unweight_transcode.py INPUT OUTPUT huffman|palette", file=sys.stderr)
        return 3
    try:
        encoding = HUFFMAN if arguments[2] == "huffman" else PALETTE
        encoder.write_output(arguments[1], transcode(arguments[0], encoding))
        return 0
    except decoder.Rejected as rejection:
        print(str(rejection).encode("ascii", "backslashreplace").decode()[:1000], file=sys.stderr)
        return 1
    except (OSError, ValueError, MemoryError) as error:     # ValueError: a path with a zero byte in it
        print(f"cannot transcode {arguments[0]!a}: {type(error).__name__}: {error}", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
