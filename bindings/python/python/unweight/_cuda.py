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
from ._open import Index, TensorSlice, stored_form
from ._to_torch import Torch, form
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
        require_kernels()
        # It says what is missing: driver, device, or kernels.
        self._loader = Loader(self._index)
        if not torch.cuda.is_available():
            raise NoDevice(
                f"there is a CUDA device, but torch {torch.__version__} cannot use it; "
                "install torch with CUDA"
            )
        self._on_device = Torch(torch.device("cuda", self._index))
        self._host = Torch()

    def tensors(
        self, file: File, names: Sequence[str], out: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Tensors by name, in new memory, or a single one in ``out``."""
        made = [self._made(file, name, out) for name in names]
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
            return host.to(self._on_device.device)
        self._on_device.require_fitting(out, host.dtype, host.shape)
        out.detach().copy_(host)
        self._host.changed(out)
        return out

    @property
    def host(self) -> Torch:
        """The framework for parts of tensors, which are decoded on the CPU."""
        return self._host

    def _made(self, file: File, name: str, out: torch.Tensor | None) -> torch.Tensor:
        """The tensor to load into: ``out``, or a new one."""
        dtype, _, shape = stored_form(file, name)
        if out is None:
            return self._on_device.empty(name, dtype, shape)
        self._on_device.require_fitting(out, *form(name, dtype, shape), name)
        return out

    def _load(self, file: File, places: list[tuple[str, int, int]]) -> None:
        with torch.cuda.device(self._index):
            stream = torch.cuda.current_stream(self._index).cuda_stream
            try:
                self._loader.load(file, places, stream)
            except OverBudget:
                # The loader needs memory of the device too, of which torch may keep unused parts.
                torch.cuda.empty_cache()
                self._loader.load(file, places, stream)


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


def require_kernels() -> None:
    """Loads the compiler of kernels that torch brings, if this package has no kernels and the system
    no compiler. Its name finds it from then on."""
    if kernels_are_built_in:
        return
    packages = importlib.util.find_spec("nvidia")
    for folder in (packages and packages.submodule_search_locations) or ():
        for library in sorted(Path(folder).glob("*/lib/libnvrtc.so.[0-9]*")):
            try:
                ctypes.CDLL(str(library))
            except OSError:
                continue
            return
