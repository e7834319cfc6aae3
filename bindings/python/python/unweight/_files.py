"""Operations on files and model folders."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from . import _arguments, _unweight

Path = str | os.PathLike[str]
Encoding = Literal["huffman", "palette"]


@dataclass(frozen=True)
class Progress:
    """How far the work on a file is."""

    action: str
    """``"compress"``, ``"decompress"``, ``"transcode"``, ``"verify"``, ``"copy"``, ``"compare"`` or
    ``"inspect"``. A file is worked on several times if it is compressed and then verified."""
    path: str
    """The file: the input of an operation on a file, or the path relative to the folder."""
    number: int
    """Number of the file among those of the folder with the same action, from 1."""
    count: int
    """Number of those files."""
    done_bytes: int
    """Bytes that have been read."""
    total_bytes: int
    """Estimate of the bytes that will have been read at the end."""


@dataclass(frozen=True)
class FileReport:
    """The result of converting a file."""

    input: str
    output: str
    input_bytes: int
    output_bytes: int
    tensors: int
    """Number of tensors."""
    compressed_tensors: int
    """Number of tensors that the Unweight file does not store as they are."""
    no_gain: str | None
    """Why compressing did not make the file smaller. None if it did."""
    verified: bool
    """Whether the output was compared with the input."""
    kept: bool
    """Whether the output is from an earlier operation, and was compared."""


@dataclass(frozen=True)
class Report:
    """The result of converting a file or a folder."""

    files: tuple[FileReport, ...]
    """The converted files, in a fixed order; one for an operation on a file."""
    copied_files: int
    """Number of files of the folder that were copied."""
    copied_bytes: int
    """Their length in bytes."""
    left_out: tuple[str, ...]
    """Files and folders that are not part of the model, relative to the folder."""
    warnings: tuple[str, ...]
    """What the caller should know, though nothing failed."""

    @property
    def input_bytes(self) -> int:
        """Bytes of all converted and copied files, before."""
        return self.copied_bytes + sum(file.input_bytes for file in self.files)

    @property
    def output_bytes(self) -> int:
        """Bytes of all converted and copied files, after."""
        return self.copied_bytes + sum(file.output_bytes for file in self.files)


@dataclass(frozen=True)
class VerifyReport:
    """The result of verifying a file or a folder: everything is right."""

    files: tuple[str, ...]
    """The paths of the verified files."""
    restored_bytes: int
    """The number of bytes that they restore."""
    left_out: tuple[str, ...]
    """Files of the folder that it was compared with that were not compared."""


@dataclass(frozen=True)
class FieldInspection:
    """A field of the weights of a tensor."""

    kind: str
    """``"exponent"``, ``"mantissa"`` or ``"bits"``."""
    high: int
    """Its highest bit in a weight."""
    low: int
    """Its lowest bit in a weight."""
    form: str
    """``"plain"``, ``"huffman"``, ``"palette"`` or ``"constant"``."""
    entropy_bits: float
    """Shannon entropy of its values in bits per weight."""
    stored_bits: int
    """The bits that are stored for it."""


@dataclass(frozen=True)
class TensorInspection:
    """A tensor of a file, and what is stored for it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    forms: tuple[str, ...]
    """The form of each field."""
    chunk_size_log2: int | None
    """Binary logarithm of the number of weights in a chunk; None without coded fields."""
    data_bytes: int
    """Original bytes."""
    stored_bytes: int
    """Bytes in the file, with the padding in front of them."""
    weights: int
    entropy_bits: float | None
    """Entropy of the fields in bits per weight. None if only the directory was read, or without
    weights."""
    fields: tuple[FieldInspection, ...]
    """Empty if only the directory was read."""

    @property
    def bits_per_weight(self) -> float | None:
        """Stored bits for each weight; None without weights."""
        return 8 * self.stored_bytes / self.weights if self.weights else None


@dataclass(frozen=True)
class FileInspection:
    """Where the bits of a file go."""

    path: str
    file_bytes: int
    restored_bytes: int
    tensors: tuple[TensorInspection, ...]
    """The tensors, in the order of their data."""


def compress(
    source: Path,
    output: Path,
    *,
    encoding: Encoding = "huffman",
    select: Callable[[str], bool] | None = None,
    verify: bool = False,
    force: bool = False,
    resume: bool = False,
    all_files: bool = False,
    threads: int | None = None,
    memory: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Compresses a safetensors file, or all of those of a model folder.

    Args:
        source: A safetensors file or a folder.
        output: The name of the file or folder to make. It gets the name when it is complete.
        encoding: How fields are coded.
        select: Called with the name of each tensor; those for which it is false are stored as they
            are. It may be called by other threads.
        verify: Decode each file again and compare it with its source before it gets its name.
        force: Replace what has the name of the output.
        resume: Keep the finished files of a folder if the operation fails or is interrupted, and go
            on with those of an earlier operation.
        all_files: Also copy files of a folder that are not part of a model, such as ``.git``.
        threads: The number of threads; None means one for each processor.
        memory: The most bytes that may be allocated for a file; None means enough for every valid
            one.
        progress: Called from time to time, on the calling thread. An exception that it raises
            cancels the operation, as Ctrl-C does, and nothing half-written remains.

    Raises:
        BadFile: The source is not a safetensors file.
        Exists: Something has the name of the output.
        OverBudget: ``memory`` does not suffice.
        IoError: The system could not read or write.
        WrongArgument: The output cannot be made as asked.
    """
    options = _options(force, verify, resume, all_files, threads, memory)
    done = _unweight.compress(source, output, options, encoding, select, _reporting(progress))
    return _report(done)


def decompress(
    container: Path,
    output: Path,
    *,
    force: bool = False,
    resume: bool = False,
    all_files: bool = False,
    threads: int | None = None,
    memory: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Restores a file, or all files of a folder, byte for byte, and checks every rule of the
    specification. ``container`` is an Unweight file or a folder of them. The other arguments and
    the exceptions are those of `compress`; the exceptions have the rule that a bad file breaks.
    """
    options = _options(force, False, resume, all_files, threads, memory)
    return _report(_unweight.decompress(container, output, options, _reporting(progress)))


def transcode(
    container: Path,
    output: Path,
    encoding: Encoding,
    *,
    force: bool = False,
    all_files: bool = False,
    threads: int | None = None,
    memory: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Makes an Unweight file, or a folder of them, with the same tensors in another encoding.
    ``container`` is an Unweight file or a folder of them. The other arguments and the exceptions
    are those of `compress`.
    """
    options = _options(force, False, False, all_files, threads, memory)
    done = _unweight.transcode(container, output, options, encoding, _reporting(progress))
    return _report(done)


def verify(
    path: Path,
    *,
    against: Path | None = None,
    all_files: bool = False,
    threads: int | None = None,
    memory: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> VerifyReport:
    """Checks every rule of the specification and every checksum of a file, or of all files of a
    folder.

    Args:
        path: An Unweight file or a folder of them.
        against: The file or folder that it was made from, to compare it with.

    The other arguments are those of `compress`.

    Raises:
        BadFile: A file breaks a rule, or does not restore what it is compared with.
        OverBudget: ``memory`` does not suffice.
        IoError: The system could not read.
    """
    options = _options(False, False, False, all_files, threads, memory)
    done = _unweight.verify(path, against, options, _reporting(progress))
    return VerifyReport(
        files=tuple(done["files"]),
        restored_bytes=done["restored_bytes"],
        left_out=tuple(done["left_out"]),
    )


def inspect(
    path: Path,
    *,
    directory_only: bool = False,
    threads: int | None = None,
    memory: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> list[FileInspection]:
    """Says where the bits of a file, or of each Unweight file of a folder, go. All tensors are read
    and checked, unless ``directory_only`` is set. The exceptions are those of `verify`.
    """
    counts = _arguments.threads(threads), _arguments.memory(memory)
    done = _unweight.inspect(path, bool(directory_only), *counts, _reporting(progress))
    return [
        FileInspection(
            path=file["path"],
            file_bytes=file["file_bytes"],
            restored_bytes=file["restored_bytes"],
            tensors=tuple(_tensor(tensor) for tensor in file["tensors"]),
        )
        for file in done
    ]


def _options(
    force: bool,
    verify: bool,
    resume: bool,
    all_files: bool,
    threads: int | None,
    memory: int | None,
) -> dict[str, Any]:
    return {
        "force": bool(force),
        "verify": bool(verify),
        "resume": bool(resume),
        "all_files": bool(all_files),
        "threads": _arguments.threads(threads),
        "memory": _arguments.memory(memory),
    }


def _reporting(progress: Callable[[Progress], None] | None) -> Callable[..., None] | None:
    if progress is None:
        return None
    return lambda *event: progress(Progress(*event))


def _report(done: dict[str, Any]) -> Report:
    return Report(
        files=tuple(FileReport(**file) for file in done["files"]),
        copied_files=done["copied_files"],
        copied_bytes=done["copied_bytes"],
        left_out=tuple(done["left_out"]),
        warnings=tuple(done["warnings"]),
    )


def _tensor(tensor: dict[str, Any]) -> TensorInspection:
    fields = tuple(FieldInspection(**field) for field in tensor.pop("fields"))
    shape, forms = tuple(tensor.pop("shape")), tuple(tensor.pop("forms"))
    return TensorInspection(shape=shape, forms=forms, fields=fields, **tensor)
