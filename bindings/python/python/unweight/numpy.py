"""Dictionaries of numpy arrays, loaded and saved."""

from __future__ import annotations

import os
from collections.abc import Mapping

from . import _arguments, _unweight
from ._files import Encoding
from ._open import Source, safe_open
from ._to_numpy import Array, given

__all__ = ["load", "load_file", "save", "save_file"]


def load_file(
    filename: Source,
    *,
    threads: int | None = None,
    memory: int | None = None,
    as_bits: bool = False,
) -> dict[str, Array]:
    """All tensors of an Unweight or safetensors file by name. The arguments and exceptions are those
    of `unweight.safe_open`."""
    opened = safe_open(filename, "np", threads=threads, memory=memory, as_bits=as_bits)
    with opened as file:
        return file.get_tensors()


def load(
    data: bytes,
    *,
    threads: int | None = None,
    memory: int | None = None,
    as_bits: bool = False,
) -> dict[str, Array]:
    """Same as `load_file`, for the content of a file."""
    return load_file(data, threads=threads, memory=memory, as_bits=as_bits)


def save_file(
    tensors: Mapping[str, Array],
    filename: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
    *,
    encoding: Encoding = "huffman",
    threads: int | None = None,
) -> None:
    """Saves arrays as an Unweight file, whatever its name, in place of a file of that name.
    ``decompress`` makes the file of it that ``safetensors`` would have saved, if ``metadata`` has
    at most one string: ``safetensors`` writes several in random order.

    Arrays that are not C-contiguous or not in the byte order of the machine are copied. Nobody may
    write to the arrays meanwhile.

    Args:
        tensors: Arrays by name.
        filename: The file. It gets its name when it is complete.
        metadata: The strings of ``__metadata__``.
        encoding: How fields are coded.
        threads: The number of threads; None means one for each processor.

    Raises:
        UnsupportedDtype: safetensors has no type for an array.
        IoError: The system could not write.
    """
    named = _arguments.tensors(tensors, "numpy arrays")
    arrays = [given(name, array) for name, array in named]
    _unweight.save_file(arrays, filename, _arguments.metadata(metadata), encoding, _arguments.threads(threads))


def save(
    tensors: Mapping[str, Array],
    metadata: Mapping[str, str] | None = None,
    *,
    encoding: Encoding = "huffman",
    threads: int | None = None,
) -> bytes:
    """Same as `save_file`, but returns the content of the file."""
    named = _arguments.tensors(tensors, "numpy arrays")
    arrays = [given(name, array) for name, array in named]
    return _unweight.save(arrays, _arguments.metadata(metadata), encoding, _arguments.threads(threads))
