"""Packed matrices on CUDA devices, in torch's memory and on torch's streams."""

from __future__ import annotations

from functools import cache

import torch

from . import _unweight
from ._cuda import require_kernels
from ._errors import WrongArgument
from ._packed import PANEL_ROWS, Packed

_EXPONENTS = 256
# Kernels load and store so many bytes at a time.
_ALIGNMENT = 16
_WORD = 4


@cache
def _kernels(index: int) -> _unweight.PackedKernels:
    require_kernels()
    return _unweight.PackedKernels(index)


def _of(tensor: torch.Tensor) -> tuple[_unweight.PackedKernels, int]:
    """The kernels of a tensor's device, and torch's current stream there."""
    index = tensor.device.index
    return _kernels(index), torch.cuda.current_stream(index).cuda_stream


def _matrix(packed: Packed, rows: int) -> tuple[int, int, int, int, int, int, int, int]:
    """Addresses, lengths and shape of a packed matrix, whose tensors were checked."""
    _, patches, _, palette = packed
    addresses = [tensor.data_ptr() for tensor in packed]
    # One exponent is a byte.
    of_words = addresses[1:] if palette.numel() > 1 else addresses[1:3]
    if addresses[0] % _ALIGNMENT or any(address % _WORD for address in of_words):
        raise WrongArgument(
            f"found packed tensors at addresses {addresses}, expected K tiles at a multiple of "
            f"{_ALIGNMENT} and the others at multiples of {_WORD}; clone them"
        )
    tiles, words, ends, exponents = addresses
    return tiles, words, ends, exponents, patches.numel(), palette.numel(), rows, packed.columns


def count_exponents(weight: torch.Tensor) -> list[int]:
    """How many weights of a matrix have each exponent. Waits for the device."""
    kernels, stream = _of(weight)
    counts = torch.zeros(_EXPONENTS, dtype=torch.int64, device=weight.device)
    rows, columns = weight.shape
    kernels.count_exponents(weight.data_ptr(), rows, columns, counts.data_ptr(), stream)
    found: list[int] = counts.tolist()
    return found


def arrange(weight: torch.Tensor, packed: Packed) -> None:
    """Packs a contiguous matrix into tensors that have its palette, and as many patches as it
    needs."""
    kernels, stream = _of(weight)
    matrix = _matrix(packed, weight.shape[0])
    kernels.count_patches(matrix, weight.data_ptr(), stream)
    counts = packed.patch_ends
    counts.copy_(counts.cumsum(0, dtype=counts.dtype))
    kernels.arrange(matrix, weight.data_ptr(), stream)


def restore(packed: Packed, rows: int, weight: torch.Tensor) -> None:
    """Restores a packed matrix into a contiguous tensor."""
    kernels, stream = _of(weight)
    kernels.restore(_matrix(packed, rows), weight.data_ptr(), stream)


def multiply(
    x: torch.Tensor, packed: Packed, rows: int, bias: torch.Tensor | None
) -> torch.Tensor | None:
    """x W^T + bias for a matrix of x. None if the matrix should be restored for so many rows of x."""
    kernels, stream = _of(x)
    x, bias = aligned(x), None if bias is None else aligned(bias)
    batch = x.shape[0]
    y = torch.empty((batch, rows), dtype=x.dtype, device=x.device)
    at = 0 if bias is None else bias.data_ptr()
    matrix = _matrix(packed, rows)
    done = kernels.multiply(matrix, x.data_ptr(), batch, y.data_ptr(), at, stream)
    return y if done else None


def linear_add(
    x: torch.Tensor, packed: Packed, rows: int, residual: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The first half of a norm: for s = x W^T + residual, s times the norm's factors, s, and the sums
    of the squares of 16 columns of s."""
    kernels, stream = _of(x)
    x, residual, weight = aligned(x), aligned(residual), aligned(weight)
    batch = x.shape[0]
    scaled, total = (torch.empty_like(residual) for _ in range(2))
    squares = torch.empty((batch, rows // PANEL_ROWS), dtype=torch.float32, device=x.device)
    written = residual, weight, total, squares
    after = tuple(tensor.data_ptr() for tensor in written)
    matrix, at = _matrix(packed, rows), (x.data_ptr(), batch, scaled.data_ptr())
    kernels.multiply_fused(matrix, *at, after, None, False, stream)
    return scaled, total, squares


def linear_of_norm(
    x: torch.Tensor,
    squares: torch.Tensor | None,
    epsilon: float,
    packed: Packed,
    rows: int,
    gated: bool,
) -> torch.Tensor | None:
    """The second half of a norm: x W^T, where x and its squares are the results of `linear_add`. If
    `gated`, silu of the first half of the columns times the second half; without squares, x itself
    is multiplied. None if the gate should better be calculated after the product."""
    kernels, stream = _of(x)
    x, squares = aligned(x), None if squares is None else aligned(squares)
    batch, outputs = x.shape[0], rows // 2 if gated else rows
    y = torch.empty((batch, outputs), dtype=x.dtype, device=x.device)
    norm = None if squares is None else (squares.data_ptr(), epsilon)
    matrix, at = _matrix(packed, rows), (x.data_ptr(), batch, y.data_ptr())
    done = kernels.multiply_fused(matrix, *at, None, norm, gated, stream)
    return y if done else None


def route(
    expert_ids: torch.Tensor, experts: int, scales: torch.Tensor | None, routing: torch.Tensor
) -> None:
    """Sorts slots by expert into a contiguous tensor. `expert_ids` are of 32 bits."""
    kernels, stream = _of(routing)
    expert_ids = expert_ids.contiguous()
    scales = None if scales is None else scales.detach().contiguous()
    at = 0 if scales is None else scales.data_ptr()
    numbers = (expert_ids.numel(), 1, experts)
    kernels.route(numbers, expert_ids.data_ptr(), at, _memory(routing), stream)


def multiply_grouped(
    x: torch.Tensor,
    packed: Packed,
    routing: torch.Tensor,
    numbers: tuple[int, int, int],
    scaled: bool,
) -> torch.Tensor:
    """x W^T for each slot, with the W of its expert. `numbers` are the experts of each token, all
    experts, and the rows of each."""
    kernels, stream = _of(x)
    x, routing = aligned(x), aligned(routing)
    top_k, experts, rows = numbers
    tokens = x.shape[0]
    y = torch.empty((tokens * top_k, rows), dtype=x.dtype, device=x.device)
    matrix, shape = _matrix(packed, experts * rows), (tokens, top_k, experts)
    at = x.data_ptr(), scaled, y.data_ptr(), stream
    kernels.multiply_grouped(matrix, shape, _memory(routing), *at)
    return y


def _memory(tensor: torch.Tensor) -> tuple[int, int]:
    """Address and size in bytes."""
    return tensor.data_ptr(), tensor.nbytes


def aligned(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, or a copy of it, in contiguous memory that kernels can load from."""
    tensor = tensor.detach().contiguous()
    return tensor if tensor.data_ptr() % _ALIGNMENT == 0 else tensor.clone()
