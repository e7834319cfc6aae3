"""Matrices of BF16 weights that stay packed in memory, in 12 bits for each weight.

The layout is the fragment form of the crate ``unweight-matmul``: the order in which the tensor cores
of a CUDA device read a matrix. The tensors are the same on every device.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from . import _unweight
from ._errors import NoDevice, WrongArgument
from ._to_torch import bytes_of


class NoPackedForm(WrongArgument):
    """A matrix cannot be packed. Its columns are not a multiple of 64, or too many of its weights
    have exponents that are not among the 16 most frequent ones."""


class Packed(NamedTuple):
    """A packed matrix of ``rows`` x ``columns`` weights."""

    k_tiles: torch.Tensor
    """``uint8`` [ceil(rows / 16), columns / 64, 1536]: sign, index of the exponent in the palette,
    and mantissa of each weight."""
    patches: torch.Tensor
    """``int32`` [n]: the weights whose exponents the palette lacks."""
    patch_ends: torch.Tensor
    """``int32`` [ceil(rows / 16)]: the end of each row panel's patches."""
    palette: torch.Tensor
    """``uint8`` [16]: exponents in ascending order."""

    @property
    def nbytes(self) -> int:
        """The size of the tensors in bytes."""
        return sum(tensor.nbytes for tensor in self)


def layout(rows: int, columns: int) -> tuple[int, int, int]:
    """The shape of the K tiles of a matrix.

    Raises:
        NoPackedForm: A matrix of this shape cannot be packed.
    """
    found = _unweight.packed_layout(rows, columns)
    if isinstance(found, str):
        raise NoPackedForm(found)
    return found


def pack(weight: torch.Tensor) -> Packed:
    """Packs a matrix on the CPU. The result is on the weight's device.

    Raises:
        NoPackedForm: The matrix cannot be packed.
        WrongArgument: It is not a matrix of ``bfloat16``.
    """
    if weight.dtype != torch.bfloat16 or weight.dim() != 2:
        raise WrongArgument(
            f"found {weight.dtype} of shape {tuple(weight.shape)}, expected a matrix of bfloat16"
        )
    rows, columns = weight.shape
    plain = weight.detach().cpu().contiguous()
    k_tiles = torch.empty(layout(rows, columns), dtype=torch.uint8, device="cpu")
    done = _unweight.pack(
        bytes_of(plain), rows, columns, bytes_of(k_tiles), torch.get_num_threads()
    )
    if isinstance(done, str):
        raise NoPackedForm(done)
    palette, patches, patch_ends = done
    packed = Packed(
        k_tiles,
        _tensor(patches, torch.int32),
        _tensor(patch_ends, torch.int32),
        _tensor(palette, torch.uint8),
    )
    return Packed(*(tensor.to(weight.device) for tensor in packed))


def restore(packed: Packed, rows: int) -> torch.Tensor:
    """The matrix that was packed: ``bfloat16`` [rows, columns].

    Raises:
        WrongArgument: The tensors are not those of a packed matrix with this number of rows.
        NoDevice: They are not on the CPU.
    """
    columns = check(packed, rows)
    weight = torch.empty((rows, columns), dtype=torch.bfloat16, device="cpu")
    k_tiles, patches, patch_ends, palette = (bytes_of(tensor) for tensor in packed)
    threads = torch.get_num_threads()
    _unweight.restore(
        k_tiles, patches, patch_ends, palette, rows, columns, bytes_of(weight), threads
    )
    return weight


def check(packed: Packed, rows: int) -> int:
    """The number of columns of a packed matrix, after a check of the tensors' types, shapes and
    device. Their values are checked when the matrix is restored.

    Raises:
        WrongArgument: They are not those of a packed matrix with this number of rows.
        NoDevice: They are not on the CPU.
    """
    expected = {"k_tiles": torch.uint8, "patches": torch.int32}
    expected |= {"patch_ends": torch.int32, "palette": torch.uint8}
    dimensions = (3, 1, 1, 1)
    named = zip(expected.items(), dimensions, packed, strict=True)
    for (name, dtype), dimension, tensor in named:
        if tensor.dtype != dtype or tensor.dim() != dimension or not tensor.is_contiguous():
            raise WrongArgument(
                f"found {name} of {tensor.dtype} with shape {tuple(tensor.shape)}, expected a "
                f"contiguous tensor of {dtype} with {dimension} dimensions"
            )
    columns: int = 64 * packed.k_tiles.shape[1]
    if tuple(packed.k_tiles.shape) != layout(rows, columns):
        raise WrongArgument(
            f"found k_tiles of shape {tuple(packed.k_tiles.shape)}, {rows} x {columns} weights "
            f"need {layout(rows, columns)}"
        )
    require_cpu(packed.k_tiles)
    return columns


def require_cpu(*tensors: torch.Tensor | None) -> None:
    """Raises `NoDevice` for a tensor that is elsewhere."""
    for tensor in tensors:
        if tensor is not None and tensor.device.type != "cpu":
            raise NoDevice(
                f"found a tensor on {tensor.device}, expected 'cpu': this version multiplies by "
                "packed weights on the CPU only; move the model with .to('cpu')"
            )


def _tensor(data: bytes, dtype: torch.dtype) -> torch.Tensor:
    if not data:
        return torch.empty(0, dtype=dtype, device="cpu")
    return torch.frombuffer(bytearray(data), dtype=dtype)
