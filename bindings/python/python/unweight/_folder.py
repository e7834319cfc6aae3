"""Model folders whose shards are Unweight files, read tensor by tensor."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ._errors import BadFile, NotFound
from ._open import safe_open

_INDEX = "model.safetensors.index.json"


def shards(folder: str | os.PathLike[str]) -> list[Path]:
    """The weight files of a model folder as ``unweight compress`` makes it: those that its index
    names, each as ``.unw`` or as it was; without an index ``model.unw``, or all ``.unw`` files.

    Raises:
        NotFound: The folder has no Unweight files, or lacks a shard that its index names.
        BadFile: The index cannot be used.
    """
    root = Path(folder)
    if not root.is_dir():
        raise NotFound(f"{root}: expected a model folder on this machine", path=str(root))
    index, single = root / _INDEX, root / "model.unw"
    if index.is_file() and not single.is_file():
        return [_shard(root, name) for name in _indexed(index)]
    found = [single] if single.is_file() else sorted(root.glob("*.unw"))
    if not found:
        raise NotFound(
            f"{root}: found no .unw files; make such a folder with `unweight compress FOLDER`",
            path=str(root),
        )
    return found


def _indexed(index: Path) -> list[str]:
    names = None
    try:
        found = set(json.loads(index.read_bytes())["weight_map"].values())
        # A shard is in the folder itself: an index may come from anywhere.
        if all(Path(name).name == name for name in found):
            names = found
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    if names is None:
        raise BadFile(
            f"{index}: expected a JSON object whose weight_map has the names of files in the folder",
            path=str(index),
        )
    return sorted(names)


def _shard(root: Path, name: str) -> Path:
    for path in ((root / name).with_suffix(".unw"), root / name):
        if path.is_file():
            return path
    raise NotFound(
        f"{root / name}: the index names this shard, and neither it nor its .unw file exists",
        path=str(root / name),
    )


class ModelFolder:
    """The open weight files of a model folder.

    Args:
        folder: The folder.
        threads: The number of threads that decode; None means one for each processor.
        device: Where tensors are decoded, as that of `safe_open`.

    Raises:
        NotFound: As `shards`.
        BadFile: A file breaks a rule, or two files have a tensor of the same name.
        NoDevice: As `safe_open`.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        threads: int | None = None,
        device: Any = "cpu",
    ) -> None:
        self.files = shards(folder)
        self._file_of: dict[str, safe_open] = {}
        for path in self.files:
            file = safe_open(path, "pt", device, threads=threads)
            for name in file.offset_keys():
                if name in self._file_of:
                    raise BadFile(
                        f"{path}: tensor {name!r} is in another file of the folder too",
                        path=str(path),
                        tensor=name,
                    )
                self._file_of[name] = file

    def __iter__(self) -> Iterator[str]:
        """The names of the tensors, in the order of their data, file by file."""
        return iter(self._file_of)

    def get_tensor(self, name: str) -> Any:
        """A tensor. All its checksums are checked."""
        return self._file_of[name].get_tensor(name)

    def lazy_tensors(self) -> dict[str, LazyTensor]:
        """The tensors by name, to be read when they are indexed."""
        return {name: LazyTensor(file, name) for name, file in self._file_of.items()}


class LazyTensor:
    """A tensor of an open file that is read when it is indexed, with the methods of a slice of
    safetensors. With ``...`` the whole tensor is read, and all its checksums are checked."""

    def __init__(self, file: safe_open, name: str) -> None:
        self._file = file
        self._name = name
        self._slice = file.get_slice(name)

    def get_shape(self) -> list[int]:
        """The shape of the tensor."""
        return self._slice.get_shape()

    def get_dtype(self) -> str:
        """The type of the elements, as safetensors names it: ``"BF16"``."""
        return self._slice.get_dtype()

    @property
    def dtype(self) -> Any:
        """The type of torch."""
        from ._to_torch import torch_dtype

        return torch_dtype(self._name, self.get_dtype())

    def is_floating_point(self) -> bool:
        """Whether the elements are floating-point numbers."""
        return bool(self.dtype.is_floating_point)

    @property
    def nbytes(self) -> int:
        """The bytes of the tensor."""
        return self._slice.nbytes

    def __getitem__(self, index: Any) -> Any:
        return self.read(index)

    def read(self, index: Any = ..., *, out: Any = None) -> Any:
        """The elements at this index as a new tensor, or in ``out``, as `TensorSlice.read`."""
        if index is Ellipsis:
            return self._file.get_tensor(self._name, out=out)
        return self._slice.read(index, out=out)
