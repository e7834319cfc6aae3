"""Tensors of a model folder that are read when they are copied.

The weight loaders of vLLM get whole tensors. They cut the share of their rank out of them by views,
and copy it to a parameter. So they get deferred tensors, of which a copy reads what it needs, on the
device of the parameter.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch

from .._deferred import DeferredTensor, Layout
from .._errors import NoDevice
from .._folder import LazyTensor, ModelFolder

# Smaller tensors are read at once.
_SMALLEST = 1 << 14
_CPU = torch.device("cpu")


def decoding_device(destination: torch.device, has_all_rows: bool) -> str:
    """The device, as `safe_open` names it, that decodes the elements for a parameter.

    Args:
        destination: The device of the parameter.
        has_all_rows: Whether elements of all rows are needed. CUDA devices decode whole tensors
            alone, so a range of rows is decoded on the CPU and copied.
    """
    if destination.type != "cuda" or torch.version.hip is not None or not has_all_rows:
        return "cpu"
    return f"cuda:{destination.index or 0}"


class Weights:
    """The tensors of a model folder, to be read on any device.

    Args:
        folder: The folder.
        warn: Called with a message if a device cannot decode, and the CPU does.

    Attributes:
        decoded_bytes: The bytes that were decoded.

    Raises:
        NotFound: As `ModelFolder`.
        BadFile: As `ModelFolder`.
    """

    def __init__(self, folder: str | os.PathLike[str], warn: Any) -> None:
        self._folder = folder
        self._warn = warn
        self._tensors = ModelFolder(folder).lazy_tensors()
        # For each device that was asked for, the one that decodes, and its tensors.
        self._on = {"cpu": ("cpu", self._tensors)}
        self.decoded_bytes = 0

    @property
    def nbytes(self) -> int:
        """The bytes of all tensors."""
        return sum(tensor.nbytes for tensor in self._tensors.values())

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Names and tensors, in the order of their data."""
        for name, tensor in self._tensors.items():
            # Two elements of F4 are one of torch.
            if tensor.nbytes >= _SMALLEST and tensor.get_dtype() != "F4":
                yield name, DeferredTensor.of(_Source(self, name))
            else:
                self.decoded_bytes += tensor.nbytes
                yield name, tensor.read()

    def on(self, device: str, name: str) -> tuple[str, LazyTensor]:
        """A tensor to be decoded on a device, or on the CPU if the device cannot; and which it is."""
        if device not in self._on:
            try:
                self._on[device] = device, ModelFolder(self._folder, device=device).lazy_tensors()
            except NoDevice as error:
                self._warn(f"weights are decoded on the CPU: {error}")
                self._on[device] = self._on["cpu"]
        decoder, tensors = self._on[device]
        return decoder, tensors[name]


class Region(NamedTuple):
    """A box of a tensor, and the layout of a view in the box."""

    box: tuple[slice, ...]
    shape: tuple[int, ...]
    layout: Layout

    @classmethod
    def of(cls, layout: Layout, shape: Sequence[int]) -> Region:
        """The region of a view with elements of a contiguous tensor of this shape: the box that they
        span if each dimension of the view is one of the tensor, otherwise a range of rows."""
        steps = _strides(shape)
        start = [layout.offset // step % size for step, size in zip(steps, shape, strict=True)]
        box, places = [1] * len(shape), []
        for size, stride in zip(layout.sizes, layout.strides, strict=True):
            stride = stride if size > 1 else 0
            dimension = next(at for at, step in enumerate(steps) if stride % step == 0)
            places.append((dimension, stride // steps[dimension]))
            box[dimension] += (size - 1) * places[-1][1]
        if all(at + size <= of for at, size, of in zip(start, box, shape, strict=True)):
            strides = _strides(box)
            inside = tuple(many * strides[dimension] for dimension, many in places)
            return cls(_index(start, box), tuple(box), Layout(layout.sizes, inside, 0))
        end = layout.offset + _dot([size - 1 for size in layout.sizes], layout.strides)
        first, last = layout.offset // steps[0], end // steps[0]
        rows = (last + 1 - first, *shape[1:])
        index = (slice(first, last + 1),)
        return cls(index, rows, layout._replace(offset=layout.offset - first * steps[0]))


class _Source:
    """A tensor of a model folder, and what was written to it."""

    # For vLLM, as those of safetensors files.
    device = _CPU

    def __init__(self, weights: Weights, name: str) -> None:
        _, tensor = weights.on("cpu", name)
        self.dtype: torch.dtype = tensor.dtype
        self.shape = tuple(tensor.get_shape())
        self._weights = weights
        self._name = name
        self._changed: torch.Tensor | None = None

    def read(
        self, layout: Layout, device: torch.device, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        if self._changed is not None:
            return _copied(self._changed, layout, device, out)
        if not math.prod(layout.sizes):
            return torch.empty(layout.sizes, dtype=self.dtype, device=device) if out is None else out
        region = Region.of(layout, self.shape)
        wanted = decoding_device(device, region.shape[0] == self.shape[0])
        decoder, tensor = self._weights.on(wanted, self._name)
        index: Any = ...
        shape = self.shape
        if decoder == "cpu" and region.shape != shape:
            index, shape, layout = region
        # All columns of the rows are decoded.
        row = math.prod(self.shape[1:]) * self.dtype.itemsize
        self._weights.decoded_bytes += shape[0] * row
        if (
            out is not None
            and torch.device(decoder) == device
            and _fills(layout, shape)
            and (out.dtype, tuple(out.shape)) == (self.dtype, layout.sizes)
            and out.is_contiguous()
        ):
            tensor.read(index, out=out.view(shape))
            return out
        return _copied(tensor.read(index), layout, device, out)

    def changed(self) -> torch.Tensor:
        if self._changed is None:
            whole = Layout(self.shape, tuple(_strides(self.shape)), 0)
            self._changed = self.read(whole, _CPU)
        return self._changed


def _copied(
    tensor: torch.Tensor, layout: Layout, device: torch.device, out: torch.Tensor | None
) -> torch.Tensor:
    found = tensor.as_strided(*layout)
    return found.to(device) if out is None else out.copy_(found)


def _fills(layout: Layout, shape: Sequence[int]) -> bool:
    """Whether a view has all elements of a contiguous tensor in their order."""
    steps = zip(layout.sizes, layout.strides, _strides(layout.sizes), strict=True)
    in_order = all(size == 1 or stride == step for size, stride, step in steps)
    return in_order and not layout.offset and math.prod(layout.sizes) == math.prod(shape)


def _strides(shape: Sequence[int]) -> list[int]:
    """The strides of a contiguous tensor."""
    return [math.prod(shape[at + 1 :]) for at in range(len(shape))]


def _index(start: Sequence[int], shape: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(at, at + size) for at, size in zip(start, shape, strict=True))


def _dot(one: Sequence[int], other: Sequence[int]) -> int:
    return sum(a * b for a, b in zip(one, other, strict=True))
