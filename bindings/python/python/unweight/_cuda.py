"""Tensors of torch on CUDA devices."""

from __future__ import annotations

import ctypes
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ._errors import NoDevice, OverBudget, WrongArgument
from ._open import Index, TensorSlice
from ._to_torch import Torch, _form
from ._unweight import File, Loader, kernels_are_built_in

# Kernels store 16 bytes at a time.
_ALIGNMENT = 16


class Cuda:
    """Loads tensors to one device, into memory of torch's allocator, ordered behind the work on
    torch's current stream. Tensors are complete when a method returns."""

    def __init__(self, device: str) -> None:
        if torch.version.cuda is None and torch.version.hip is not None:
            raise NoDevice(f"found device {device!r}, but torch {torch.__version__} is for ROCm")
        number = re.fullmatch(r"cuda(?::(\d+))?", device)
        if number is None:
            raise NoDevice(
                f"found device {device!r}, expected 'cpu', 'cuda' or 'cuda:N'; "
                f"move tensors with tensor.to({device!r})"
            )
        if number[1] is not None:
            self._index = int(number[1])
        else:
            self._index = torch.cuda.current_device() if torch.cuda.is_available() else 0
        if not kernels_are_built_in:
            _load_nvrtc()
        # It says what is missing: driver, device, or kernels.
        self._loader = Loader(self._index)
        if not torch.cuda.is_available():
            raise NoDevice(
                f"there is a CUDA device, but torch {torch.__version__} cannot use it; "
                "install torch with CUDA"
            )
        self._device = torch.device("cuda", self._index)
        self._host = Torch()

    def tensors(
        self, file: File, names: Sequence[str], out: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Tensors by name, in new memory, or a single one in ``out``."""
        forms = [file.tensor(name) for name in names]
        if out is not None:
            made = [self._given(out, name, *form) for name, form in zip(names, forms, strict=True)]
        else:
            made = [self._new(name, *form) for name, form in zip(names, forms, strict=True)]
        # A view may begin anywhere in its memory.
        memory = [
            tensor if tensor.data_ptr() % _ALIGNMENT == 0 else torch.empty_like(tensor)
            for tensor in made
        ]
        places = [
            (name, tensor.data_ptr(), tensor.numel() * tensor.element_size())
            for name, tensor in zip(names, memory, strict=True)
        ]
        try:
            self._load(file, places)
            for tensor, loaded in zip(made, memory, strict=True):
                if loaded is not tensor:
                    tensor.detach().copy_(loaded)
        finally:
            if out is not None:
                self._host.changed(out)
        return dict(zip(names, made, strict=True))

    def slice(self, file: File, name: str) -> CudaSlice:
        """A tensor to be read in part."""
        return CudaSlice(file, self, name)

    def part(self, host: torch.Tensor, out: torch.Tensor | None) -> torch.Tensor:
        """A copy of a tensor of the CPU on the device, new or in ``out``."""
        if out is None:
            return host.to(self._device)
        self._require_fitting(out, host.dtype, host.shape)
        out.detach().copy_(host)
        self._host.changed(out)
        return out

    @property
    def host(self) -> Torch:
        """The framework for parts of tensors, which are decoded on the CPU."""
        return self._host

    def _load(self, file: File, places: list[tuple[str, int, int]]) -> None:
        with torch.cuda.device(self._index):
            stream = torch.cuda.current_stream(self._index).cuda_stream
            try:
                self._loader.load(file, places, stream)
            except OverBudget:
                # The loader needs memory of the device too, of which torch may keep unused parts.
                torch.cuda.empty_cache()
                self._loader.load(file, places, stream)

    def _new(self, name: str, dtype: str, bits: int, shape: Sequence[int]) -> torch.Tensor:
        kind, shape = _form(name, dtype, shape)
        try:
            return torch.empty(tuple(shape), dtype=kind, device=self._device)
        except (OverflowError, TypeError):
            raise WrongArgument(
                f"tensor {name!r} has shape {shape}, which torch cannot have", tensor=name
            ) from None

    def _given(
        self, out: Any, name: str, dtype: str, bits: int, shape: Sequence[int]
    ) -> torch.Tensor:
        kind, shape = _form(name, dtype, shape)
        self._require_fitting(out, kind, shape, name)
        made: torch.Tensor = out
        return made

    def _require_fitting(
        self, out: Any, kind: torch.dtype, shape: Sequence[int], name: str | None = None
    ) -> None:
        if not isinstance(out, torch.Tensor):
            found = f"found out of type {type(out).__name__}"
        elif out.device != self._device or out.layout != torch.strided:
            found = f"found out of layout {out.layout} on {out.device}"
        elif (out.dtype, tuple(out.shape)) != (kind, tuple(shape)):
            found = f"found out of {out.dtype} with shape {tuple(out.shape)}"
        elif out.is_conj() or out.is_neg():
            found = "found out whose conjugation or negation is pending"
        elif not out.is_contiguous():
            found = "found out that is not contiguous"
        else:
            return
        raise WrongArgument(
            f"{found}, expected a torch tensor on {self._device} of {kind} with shape {tuple(shape)}",
            tensor=name,
        )


class CudaSlice(TensorSlice):
    """A tensor of an open file, to be read in part to a device: parts are decoded on the CPU and
    copied."""

    def __init__(self, file: File, cuda: Cuda, name: str) -> None:
        super().__init__(file, cuda.host, name)
        self._cuda = cuda

    def read(self, index: Index = ..., *, out: Any = None) -> Any:
        if index is Ellipsis:
            return self._cuda.tensors(self._file, [self._name], out)[self._name]
        return self._cuda.part(super().read(index), out)


def _load_nvrtc() -> None:
    """Loads the compiler of kernels that torch brings, where the system has none. Its name finds it
    from then on."""
    packages = importlib.util.find_spec("nvidia")
    for folder in (packages and packages.submodule_search_locations) or ():
        for library in sorted(Path(folder).glob("*/lib/libnvrtc.so.[0-9]*")):
            try:
                ctypes.CDLL(str(library))
            except OSError:
                continue
            return
