"""Dictionaries of torch tensors, and models, loaded and saved."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from . import _arguments, _unweight
from ._errors import WrongArgument
from ._files import Encoding
from ._open import Source, safe_open
from ._to_torch import given

if TYPE_CHECKING:
    from ._linear import Linear, NoPackedForm
    from ._packed_embedding import Embedding

__all__ = [
    "Embedding",
    "Linear",
    "NoPackedForm",
    "load",
    "load_file",
    "load_model",
    "save",
    "save_file",
    "save_model",
]


def __getattr__(name: str) -> Any:
    # Operators are registered when they are needed first.
    if name in ("Linear", "NoPackedForm"):
        from . import _linear

        return getattr(_linear, name)
    if name == "Embedding":
        from . import _packed_embedding

        return _packed_embedding.Embedding
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load_file(
    filename: Source,
    device: Any = "cpu",
    *,
    threads: int | None = None,
    memory: int | None = None,
) -> dict[str, torch.Tensor]:
    """All tensors of an Unweight or safetensors file by name. The arguments and exceptions are those
    of `unweight.safe_open`."""
    with safe_open(filename, "pt", device, threads=threads, memory=memory) as file:
        return file.get_tensors()


def load(
    data: bytes, *, threads: int | None = None, memory: int | None = None
) -> dict[str, torch.Tensor]:
    """Same as `load_file`, for the content of a file."""
    return load_file(data, threads=threads, memory=memory)


def save_file(
    tensors: Mapping[str, torch.Tensor],
    filename: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
    *,
    encoding: Encoding = "huffman",
    threads: int | None = None,
) -> None:
    """Saves tensors as an Unweight file, whatever its name, in place of a file of that name.
    ``decompress`` makes the file of it that ``safetensors`` would have saved, if ``metadata`` has
    at most one string: ``safetensors`` writes several in random order.

    Tensors on a device are copied to the CPU. Nobody may write to the tensors meanwhile.

    Args:
        tensors: Contiguous dense tensors by name, which do not share memory.
        filename: The file. It gets its name when it is complete.
        metadata: The strings of ``__metadata__``.
        encoding: How fields are coded.
        threads: The number of threads; None means one for each processor.

    Raises:
        WrongArgument: A tensor is not contiguous or not dense, or tensors share memory.
        UnsupportedDtype: safetensors has no type for a tensor.
        IoError: The system could not write.
    """
    named = _arguments.tensors(tensors, "torch tensors")
    _require_own_memory(tensors)
    arrays = [given(name, tensor) for name, tensor in named]
    _unweight.save_file(arrays, filename, _arguments.metadata(metadata), encoding, _arguments.threads(threads))


def save(
    tensors: Mapping[str, torch.Tensor],
    metadata: Mapping[str, str] | None = None,
    *,
    encoding: Encoding = "huffman",
    threads: int | None = None,
) -> bytes:
    """Same as `save_file`, but returns the content of the file."""
    named = _arguments.tensors(tensors, "torch tensors")
    _require_own_memory(tensors)
    arrays = [given(name, tensor) for name, tensor in named]
    return _unweight.save(arrays, _arguments.metadata(metadata), encoding, _arguments.threads(threads))


def save_model(
    model: torch.nn.Module,
    filename: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
    force_contiguous: bool = True,
    *,
    encoding: Encoding = "huffman",
    threads: int | None = None,
) -> None:
    """Saves the tensors of a model. If tensors share memory, the one that has all of it is saved,
    and ``metadata`` gets the names of the others with the name of that one.

    Args:
        force_contiguous: Make tensors contiguous; otherwise one that is not is an error.

    The other arguments and exceptions are those of `save_file`.
    """
    tensors: dict[str, torch.Tensor] = model.state_dict()
    strings = dict(metadata or {})
    for kept, others in _shared(tensors, ()).items():
        for other in others:
            strings.setdefault(other, kept)
            del tensors[other]
    if force_contiguous:
        tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    has_metadata = metadata is not None or strings
    save_file(
        tensors, filename, strings if has_metadata else None, encoding=encoding, threads=threads
    )


def load_model(
    model: torch.nn.Module,
    filename: Source,
    strict: bool = True,
    device: Any = "cpu",
    *,
    threads: int | None = None,
    memory: int | None = None,
) -> tuple[set[str], list[str]]:
    """Loads the tensors of a file into a model that was saved with `save_model`.

    Args:
        strict: Raise an exception if the model has tensors that the file lacks, or the other way
            round.

    Returns:
        The names of the model's tensors that were not loaded, and those of the file's that the model
        lacks.

    Raises:
        RuntimeError: With ``strict``, names differ. Without, shapes do.

    The other exceptions are those of `load_file`.
    """
    tensors = load_file(filename, device, threads=threads, memory=memory)
    shared = _shared(model.state_dict(), tensors)
    lacking, unexpected = model.load_state_dict(tensors, strict=False)
    missing = set(lacking)
    for others in shared.values():
        for other in others:
            # The tensor that it shares memory with was loaded.
            if other in missing:
                missing.remove(other)
            else:
                unexpected.append(other)
    if strict and (missing or unexpected):
        lines = [f"the file does not fit {type(model).__name__}"]
        lines += [f"missing in the file: {sorted(missing)}"] if missing else []
        lines += [f"not in the model: {sorted(unexpected)}"] if unexpected else []
        raise RuntimeError("; ".join(lines))
    return missing, list(unexpected)


_Memory = tuple[str, int, int]


def _memory(tensor: torch.Tensor) -> _Memory | None:
    """Device, address and end of the memory of a tensor's elements. None without memory."""
    if tensor.layout != torch.strided or tensor.device.type == "meta" or not tensor.numel():
        return None
    last = sum((length - 1) * stride for length, stride in zip(tensor.shape, tensor.stride()))
    start = tensor.data_ptr()
    return str(tensor.device), start, start + (last + 1) * tensor.element_size()


def _groups(tensors: Mapping[str, torch.Tensor]) -> list[list[str]]:
    """Names of tensors whose memory overlaps, group by group."""
    found = [
        (memory, name) for name, tensor in tensors.items() if (memory := _memory(tensor)) is not None
    ]
    groups: list[list[str]] = []
    device, end = "", 0
    for (on, start, stop), name in sorted(found):
        if on == device and start < end and groups:
            groups[-1].append(name)
            end = max(end, stop)
        else:
            groups.append([name])
            device, end = on, stop
    return [sorted(group) for group in groups if len(group) > 1]


def _shared(
    tensors: Mapping[str, torch.Tensor], preferred: Iterable[str]
) -> dict[str, list[str]]:
    """The name of one tensor of each group that shares memory, with the names of the others. It has
    all of the memory, and is a preferred one if there is one."""
    preferred = set(preferred)
    result: dict[str, list[str]] = defaultdict(list)
    for group in _groups(tensors):
        memory = {name: _memory(tensors[name]) for name in group}
        starts = [span[1] for span in memory.values() if span]
        ends = [span[2] for span in memory.values() if span]
        whole = [
            name
            for name, span in memory.items()
            if span and span[1:] == (min(starts), max(ends)) and _is_dense(tensors[name])
        ]
        if not whole:
            raise WrongArgument(
                f"tensors {group} share memory, and none of them has all of it; clone some of them"
            )
        kept = min((name for name in whole if name in preferred), default=whole[0])
        result[kept] = [name for name in group if name != kept]
    return result


def _is_dense(tensor: torch.Tensor) -> bool:
    """Whether the elements fill the memory from the first to the last."""
    memory = _memory(tensor)
    return memory is not None and memory[2] - memory[1] == tensor.numel() * tensor.element_size()


def _require_own_memory(tensors: Mapping[str, torch.Tensor]) -> None:
    plain = {name: tensor for name, tensor in tensors.items() if isinstance(tensor, torch.Tensor)}
    groups = _groups(plain)
    if groups:
        raise WrongArgument(
            f"tensors {groups[0]} share memory, which a file cannot express; "
            "use save_model, or clone them"
        )
