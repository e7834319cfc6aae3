"""Matrices of BF16 weights that stay packed in memory, in 12 bits for each weight.

The layout is the fragment form of the crate ``unweight-matmul``: the order in which the tensor cores
of a CUDA device read a matrix. The tensors are the same on every device.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional

from . import _unweight
from ._errors import NoDevice, WrongArgument
from ._to_torch import bytes_of


# The layout of K tiles, as the crate `unweight-matmul` describes it.
PANEL_ROWS = 16
K_TILE_COLUMNS = 64


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
    """``uint8`` [16]: exponents in ascending order. Or ``uint8`` [1]: the first of 16 consecutive
    ones, as it is for most matrices."""

    @property
    def columns(self) -> int:
        """The number of columns of the matrix."""
        return columns_of(self.k_tiles)

    @property
    def nbytes(self) -> int:
        """The size of the tensors in bytes."""
        return sum(tensor.nbytes for tensor in self)


def columns_of(k_tiles: torch.Tensor) -> int:
    """The number of columns of the matrix with these K tiles."""
    columns: int = K_TILE_COLUMNS * k_tiles.shape[1]
    return columns


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
    """Packs a matrix on its device: on the CPU, or on a CUDA device, which is waited for.

    Raises:
        NoPackedForm: The matrix cannot be packed.
        WrongArgument: It is not a matrix of ``bfloat16``.
        NoDevice: It is on another device, or there are no kernels for this one.
    """
    if weight.dtype != torch.bfloat16 or weight.dim() != 2:
        raise WrongArgument(
            f"found {weight.dtype} of shape {tuple(weight.shape)}, expected a matrix of bfloat16"
        )
    require_one_device(weight)
    rows, columns = weight.shape
    shape = layout(rows, columns)
    k_tiles = torch.empty(shape, dtype=torch.uint8, device=weight.device)
    return (_pack_cuda if weight.is_cuda else _pack_cpu)(weight, k_tiles)


def _pack_cpu(weight: torch.Tensor, k_tiles: torch.Tensor) -> Packed:
    plain = weight.detach().contiguous()
    rows, columns = weight.shape
    done = _unweight.pack(
        bytes_of(plain), rows, columns, bytes_of(k_tiles), torch.get_num_threads()
    )
    if isinstance(done, str):
        raise NoPackedForm(done)
    palette, patches, patch_ends = done
    return Packed(
        k_tiles,
        _tensor(patches, torch.int32),
        _tensor(patch_ends, torch.int32),
        _tensor(palette, torch.uint8),
    )


def _pack_cuda(weight: torch.Tensor, k_tiles: torch.Tensor) -> Packed:
    from . import _packed_cuda

    plain = _packed_cuda.aligned(weight)
    chosen = _unweight.choose_palette(_packed_cuda.count_exponents(plain), *weight.shape)
    if isinstance(chosen, str):
        raise NoPackedForm(chosen)
    palette, patches = chosen
    device = weight.device
    packed = Packed(
        k_tiles,
        torch.empty(patches, dtype=torch.int32, device=device),
        torch.empty(k_tiles.shape[0], dtype=torch.int32, device=device),
        torch.tensor(list(palette), dtype=torch.uint8, device=device),
    )
    _packed_cuda.arrange(plain, packed)
    return packed


def restore(packed: Packed, rows: int) -> torch.Tensor:
    """The matrix that was packed: ``bfloat16`` [rows, columns].

    On a CUDA device the values of the tensors are not checked, because that would wait for it:
    wrong ones give wrong weights. `check_values` checks them.

    Raises:
        WrongArgument: The tensors are not those of a packed matrix with this number of rows.
        NoDevice: They are not on the CPU or one CUDA device.
    """
    columns = check(packed, rows)
    weight = torch.empty((rows, columns), dtype=torch.bfloat16, device=packed.k_tiles.device)
    if weight.is_cuda:
        from . import _packed_cuda

        _packed_cuda.restore(packed, rows, weight)
        return weight
    k_tiles, patches, patch_ends, palette = (bytes_of(tensor) for tensor in packed)
    threads = torch.get_num_threads()
    _unweight.restore(
        k_tiles, patches, patch_ends, palette, rows, columns, bytes_of(weight), threads
    )
    return weight


def linear(
    x: torch.Tensor, packed: Packed, rows: int, bias: torch.Tensor | None
) -> torch.Tensor:
    """x W^T + bias, ``bfloat16``. On a CUDA device W stays packed: its weights are rebuilt on the way
    to the tensor cores, sums are FP32, and rounded once.

    Raises:
        WrongArgument: The tensors are not those of a packed matrix, or shapes do not fit.
        NoDevice: They are not on the CPU or one CUDA device.
    """
    check_input(x, packed, rows)
    require_one_device(x, bias)
    if bias is not None and (bias.dtype != torch.bfloat16 or bias.shape != (rows,)):
        raise WrongArgument(
            f"found a bias of {bias.dtype} with shape {tuple(bias.shape)}, expected bfloat16 with "
            f"shape {(rows,)}"
        )
    return product(x, packed, rows, bias)


def product(
    x: torch.Tensor, packed: Packed, rows: int, bias: torch.Tensor | None
) -> torch.Tensor:
    """Same as `linear`, for tensors that were checked."""
    if x.is_cuda:
        from . import _packed_cuda

        y = _packed_cuda.multiply(x.reshape(-1, packed.columns), packed, rows, bias)
        if y is not None:
            return y.reshape(*x.shape[:-1], rows)
    return functional.linear(x, restore(packed, rows), bias)


def check_input(x: torch.Tensor, packed: Packed, rows: int) -> int:
    """The number of columns of a packed matrix, after a check of it and of the input of a product.

    Raises:
        WrongArgument: The tensors are not those of a packed matrix with this number of rows, or the
            input does not fit it.
        NoDevice: They are not on the CPU or one CUDA device.
    """
    columns = check(packed, rows)
    require_one_device(packed.k_tiles, x)
    if x.dtype != torch.bfloat16 or x.dim() == 0 or x.shape[-1] != columns:
        raise WrongArgument(
            f"found an input of {x.dtype} with shape {tuple(x.shape)}, expected bfloat16 with "
            f"{columns} in the last dimension"
        )
    return columns


def check_values(packed: Packed, rows: int) -> None:
    """Checks palette and patches. Waits for the device.

    Raises:
        WrongArgument: They are not those of a packed matrix with this number of rows.
        NoDevice: They are not on the CPU or one CUDA device.
    """
    columns = check(packed, rows)
    patches, ends, palette = (bytes_of(tensor.cpu()) for tensor in packed[1:])
    _unweight.check_tables(patches, ends, palette, rows, columns)


def check_loaded(name: str, packed: Packed, rows: int) -> None:
    """Same as `check_values`, for the module ``name`` of a model, so that a bad file is an error when
    it is loaded."""
    try:
        check_values(packed, rows)
    except WrongArgument as error:
        raise WrongArgument(f"the packed weight of {name}: {error}", tensor=name) from error


def check(packed: Packed, rows: int) -> int:
    """The number of columns of a packed matrix, after a check of the tensors' types, shapes and
    device.

    Raises:
        WrongArgument: They are not those of a packed matrix with this number of rows.
        NoDevice: They are not on the CPU or one CUDA device.
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
    columns = packed.columns
    if tuple(packed.k_tiles.shape) != layout(rows, columns):
        raise WrongArgument(
            f"found k_tiles of shape {tuple(packed.k_tiles.shape)}, {rows} x {columns} weights "
            f"need {layout(rows, columns)}"
        )
    panels = packed.k_tiles.shape[0]
    if packed.patch_ends.numel() != panels or packed.palette.numel() not in (1, 16):
        raise WrongArgument(
            f"found {packed.patch_ends.numel()} ends of patches and {packed.palette.numel()} "
            f"exponents in the palette, expected an end for each of {panels} row panels, and 16 "
            "exponents, or 1 for consecutive ones"
        )
    require_one_device(*packed)
    return columns


def require_one_device(*tensors: torch.Tensor | None) -> None:
    """Raises `NoDevice` unless all tensors are on the CPU, or all on one CUDA device."""
    devices = [tensor.device for tensor in tensors if tensor is not None]
    first = devices[0]
    if first.type not in ("cpu", "cuda") or any(device != first for device in devices):
        found = " and ".join(sorted({str(device) for device in devices}))
        raise NoDevice(
            f"found tensors on {found}, expected all of them on 'cpu' or one CUDA device; move the "
            "module with .to(device)"
        )


def _tensor(data: bytes, dtype: torch.dtype) -> torch.Tensor:
    if not data:
        return torch.empty(0, dtype=dtype, device="cpu")
    return torch.frombuffer(bytearray(data), dtype=dtype)
