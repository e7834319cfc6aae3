"""Operators of torch for products by packed matrices and what comes between them in a model: the RMS
norm of a residual sum, and the gate of an MLP.

``unweight::linear_add_norm`` and ``unweight::linear_of_norm`` are the two halves of a norm. The first
one returns rows that only the second one takes: on a CUDA device, for few rows, they are not
normalized yet, and the second one scales its sums.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from . import _packed, _unweight
from ._errors import WrongArgument
from ._operators import PACKED, define
from ._packed import PANEL_ROWS, Packed

__all__ = ["GATED_ROWS", "MOST_NORM_ROWS"]

# Gate and up together have a multiple of so many rows.
GATED_ROWS = 64
# With more rows than this, a norm of its own takes less time.
MOST_NORM_ROWS: int = _unweight.most_rows_of_fused_norm()


def _linear_add_norm(
    x: torch.Tensor,
    k_tiles: torch.Tensor,
    patches: torch.Tensor,
    patch_ends: torch.Tensor,
    palette: torch.Tensor,
    out_features: int,
    residual: torch.Tensor,
    weight: torch.Tensor,
    epsilon: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows for `linear_of_norm`, x W^T + residual, and the sums of the squares of 16 columns."""
    packed = Packed(k_tiles, patches, patch_ends, palette)
    _packed.check_input(x, packed, out_features)
    _require_rows(x, out_features, PANEL_ROWS)
    _packed.require_one_device(x, residual, weight)
    expected = {"residual": (residual, (x.shape[0], out_features)), "weight": (weight, (out_features,))}
    for name, (tensor, shape) in expected.items():
        if tensor.dtype != torch.bfloat16 or tensor.shape != shape:
            raise WrongArgument(
                f"found a {name} of {tensor.dtype} with shape {tuple(tensor.shape)}, expected "
                f"bfloat16 with shape {shape}"
            )
    if _halves_norm(x):
        from . import _packed_cuda

        return _packed_cuda.linear_add(x, packed, out_features, residual, weight)
    y = _packed.product(x, packed, out_features, None)
    total = y.float() + residual.float()
    variance = total.pow(2).mean(-1, keepdim=True)
    normalized = (total * torch.rsqrt(variance + epsilon)).to(x.dtype) * weight
    return normalized, total.to(x.dtype), _no_squares(x, out_features)


def _linear_add_norm_fake(
    x: torch.Tensor,
    k_tiles: torch.Tensor,
    patches: torch.Tensor,
    patch_ends: torch.Tensor,
    palette: torch.Tensor,
    out_features: int,
    residual: torch.Tensor,
    weight: torch.Tensor,
    epsilon: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rows = x.new_empty((x.shape[0], out_features))
    return rows, torch.empty_like(rows), _no_squares(x, out_features)


def _linear_of_norm(
    x: torch.Tensor,
    squares: torch.Tensor | None,
    epsilon: float,
    k_tiles: torch.Tensor,
    patches: torch.Tensor,
    patch_ends: torch.Tensor,
    palette: torch.Tensor,
    out_features: int,
    gated: bool,
) -> torch.Tensor:
    """x W^T, where x and its squares are the results of `linear_add_norm`, or x is as it is, without
    squares. If `gated`, silu of the first half of the columns times the second half."""
    packed = Packed(k_tiles, patches, patch_ends, palette)
    columns = _packed.check_input(x, packed, out_features)
    _require_rows(x, out_features, GATED_ROWS if gated else 1)
    if squares is not None:
        _packed.require_one_device(x, squares)
        shape = (x.shape[0], columns // PANEL_ROWS)
        if squares.dtype != torch.float32 or squares.shape != shape:
            raise WrongArgument(
                f"found squares of {squares.dtype} with shape {tuple(squares.shape)}, expected "
                f"float32 with shape {shape}"
            )
    if x.is_cuda:
        from . import _packed_cuda

        scaled = squares if _halves_norm(x) else None
        if gated or scaled is not None:
            y = _packed_cuda.linear_of_norm(x, scaled, epsilon, packed, out_features, gated)
            if y is not None:
                return y
            # The rows are not normalized in that case.
            assert scaled is None
    y = _packed.product(x, packed, out_features, None)
    return _silu_mul(y) if gated else y


def _linear_of_norm_fake(
    x: torch.Tensor,
    squares: torch.Tensor | None,
    epsilon: float,
    k_tiles: torch.Tensor,
    patches: torch.Tensor,
    patch_ends: torch.Tensor,
    palette: torch.Tensor,
    out_features: int,
    gated: bool,
) -> torch.Tensor:
    return x.new_empty((x.shape[0], out_features // 2 if gated else out_features))


define(
    "linear_add_norm",
    f"(Tensor x, {PACKED}, SymInt out_features, Tensor residual, Tensor weight, float epsilon)"
    " -> (Tensor, Tensor, Tensor)",
    _linear_add_norm,
    _linear_add_norm_fake,
)
define(
    "linear_of_norm",
    f"(Tensor x, Tensor? squares, float epsilon, {PACKED}, SymInt out_features, bool gated) -> Tensor",
    _linear_of_norm,
    _linear_of_norm_fake,
)


def _halves_norm(x: torch.Tensor) -> bool:
    """Whether a norm of so many rows is divided among the two products around it."""
    return bool(x.is_cuda) and int(x.shape[0]) <= MOST_NORM_ROWS


def _no_squares(x: torch.Tensor, out_features: int) -> torch.Tensor:
    return x.new_empty((x.shape[0], out_features // PANEL_ROWS), dtype=torch.float32)


def _require_rows(x: torch.Tensor, rows: int, multiple: int) -> None:
    if x.dim() != 2 or rows % multiple:
        raise WrongArgument(
            f"found an input of shape {tuple(x.shape)} and a matrix of {rows} rows, expected two "
            f"dimensions and a multiple of {multiple}"
        )


def _silu_mul(y: torch.Tensor) -> torch.Tensor:
    """silu(gate) * up, by vLLM's kernel where that is loaded."""
    gate, up = y.chunk(2, -1)
    operators = torch.ops._C
    if y.is_cuda and hasattr(operators, "silu_and_mul"):
        result = torch.empty_like(gate, memory_format=torch.contiguous_format)
        operators.silu_and_mul(result, y)
        return result
    return (functional.silu(gate.float()) * up.float()).to(y.dtype)
