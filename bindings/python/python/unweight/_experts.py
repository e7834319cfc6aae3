"""Operators of torch for the matrices of experts, packed as one: the rows of the first expert, then
those of the second.

A **slot** is a token and one of its experts: slot = token * top_k + the number of the choice.
``unweight::route`` sorts slots by expert, once for all products of these tokens, and
``unweight::grouped_linear`` multiplies each slot by the matrix of its expert. They work under
``torch.compile`` and in CUDA graphs, because experts are known on the device only.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional

from . import _linear  # noqa: F401  # Registers `restore`.
from . import _packed
from ._errors import WrongArgument
from ._operators import PACKED, define
from ._packed import PANEL_ROWS, Packed, columns_of

__all__ = ["has_grouped_product", "routing_words"]

# Words of a routing on a CUDA device, as `RoutingShape::sufficient_bytes` has them.
_HEADER_WORDS, _WORDS_PER_SLOT = 4, 24
# With more slots for each expert, restoring all experts and torch's product take less time on an H200.
_MOST_SLOTS_PER_EXPERT = 128


def has_grouped_product(rows: int) -> bool:
    """Whether experts of so many rows each can be multiplied by ``grouped_linear``."""
    return rows % PANEL_ROWS == 0


def routing_words(slots: int, experts: int) -> int:
    """The number of elements of what ``route`` returns."""
    return _HEADER_WORDS + experts + _WORDS_PER_SLOT * slots


def _stays_packed(device: torch.device, slots: int, experts: int) -> bool:
    """Whether a kernel multiplies by the packed matrices. Otherwise they are restored."""
    return device.type == "cuda" and slots <= _MOST_SLOTS_PER_EXPERT * experts


class _Sorted(NamedTuple):
    """A routing for restored matrices."""

    order: torch.Tensor
    """The slots in the order of their experts, and at last those without one."""
    scales: torch.Tensor
    """FP32, the factor of each slot."""
    ends: torch.Tensor
    """Where the slots of each expert end."""

    @classmethod
    def of(cls, routing: torch.Tensor, slots: int, experts: int) -> _Sorted:
        scales, ends = routing[slots : 2 * slots], routing[2 * slots :][:experts]
        return cls(routing[:slots], scales.view(torch.float32), ends)


def _route(
    expert_ids: torch.Tensor, experts: int, scales: torch.Tensor | None = None
) -> torch.Tensor:
    _packed.require_one_device(expert_ids, scales)
    slots = expert_ids.numel()
    if expert_ids.is_floating_point() or experts < 1:
        raise WrongArgument(
            f"found expert_ids of {expert_ids.dtype} for {experts} experts, expected whole numbers "
            "for one or more"
        )
    if scales is not None and (scales.dtype != torch.float32 or scales.numel() != slots):
        raise WrongArgument(
            f"found {scales.numel()} scales of {scales.dtype}, expected float32 for {slots} slots"
        )
    ids = expert_ids.reshape(-1)
    if ids.dtype == torch.int64:
        # Both ends are no experts.
        ids = ids.clamp(-1, experts)
    ids = ids.to(torch.int32)
    words = routing_words(slots, experts)
    routing = torch.empty(words, dtype=torch.int32, device=ids.device)
    if _stays_packed(ids.device, slots, experts):
        from . import _packed_cuda

        _packed_cuda.route(ids, experts, scales, routing)
        return routing
    parts = _Sorted.of(routing, slots, experts)
    absent = (ids < 0) | (ids >= experts)
    ids, order = ids.masked_fill(absent, experts).sort(stable=True)
    parts.order.copy_(order)
    numbers = torch.arange(experts, dtype=torch.int32, device=ids.device)
    torch.searchsorted(ids, numbers, right=True, out_int32=True, out=parts.ends)
    if scales is None:
        parts.scales.fill_(1)
    else:
        parts.scales.copy_(scales.reshape(-1))
    return routing


def _route_fake(
    expert_ids: torch.Tensor, experts: int, scales: torch.Tensor | None = None
) -> torch.Tensor:
    words = routing_words(expert_ids.numel(), experts)
    return expert_ids.new_empty(words, dtype=torch.int32)


def _grouped_linear(
    x: torch.Tensor,
    k_tiles: torch.Tensor,
    patches: torch.Tensor,
    patch_ends: torch.Tensor,
    palette: torch.Tensor,
    routing: torch.Tensor,
    experts: int,
    rows: int,
    top_k: int,
    scaled: bool = False,
) -> torch.Tensor:
    packed = Packed(k_tiles, patches, patch_ends, palette)
    columns = _packed.check(packed, experts * rows)
    _packed.require_one_device(k_tiles, x, routing)
    if x.dtype != torch.bfloat16 or x.dim() != 2 or x.shape[1] != columns:
        raise WrongArgument(
            f"found an input of {x.dtype} with shape {tuple(x.shape)}, expected bfloat16 with "
            f"{columns} columns"
        )
    slots = top_k * x.shape[0]
    words = routing_words(slots, experts)
    if routing.dtype != torch.int32 or routing.shape != (words,):
        raise WrongArgument(
            f"found a routing of {routing.dtype} with shape {tuple(routing.shape)}, expected what "
            f"`route` returns for {slots} slots and {experts} experts"
        )
    if not has_grouped_product(rows):
        raise WrongArgument(
            f"found experts of {rows} rows, expected a multiple of {PANEL_ROWS}; restore them"
        )
    if _stays_packed(x.device, slots, experts):
        from . import _packed_cuda

        return _packed_cuda.multiply_grouped(x, packed, routing, (top_k, experts, rows), scaled)
    parts = _Sorted.of(routing, slots, experts)
    x = x[parts.order // top_k]
    product = _product_of_torch if x.is_cuda else _product_of_each
    y = product(x, packed, parts.ends, rows)
    if scaled:
        y.mul_(parts.scales[parts.order].unsqueeze(1))
    numbers = torch.arange(slots, dtype=torch.int32, device=x.device)
    # `torch._grouped_mm` does not write the rows after the last end.
    y.masked_fill_((numbers >= parts.ends[-1]).unsqueeze(1), 0)
    found = torch.empty_like(y)
    found[parts.order] = y
    return found


def _product_of_torch(
    x: torch.Tensor, packed: Packed, ends: torch.Tensor, rows: int
) -> torch.Tensor:
    """The product by all matrices, restored. Nothing waits for the device."""
    experts, columns = len(ends), packed.columns
    weights = _packed.restore(packed, experts * rows).view(experts, rows, columns)
    y: torch.Tensor = torch._grouped_mm(x, weights.transpose(1, 2), offs=ends)
    return y


def _product_of_each(
    x: torch.Tensor, packed: Packed, ends: torch.Tensor, rows: int
) -> torch.Tensor:
    """The product by the matrices that are used, restored one at a time."""
    y = x.new_empty((x.shape[0], rows))
    start = 0
    for expert, end in enumerate(ends.tolist()):
        if start < end:
            weight = restore_expert(packed, expert * rows, rows, len(ends) * rows)
            y[start:end] = functional.linear(x[start:end], weight)
        start = end
    return y


def _grouped_linear_fake(
    x: torch.Tensor,
    k_tiles: torch.Tensor,
    patches: torch.Tensor,
    patch_ends: torch.Tensor,
    palette: torch.Tensor,
    routing: torch.Tensor,
    experts: int,
    rows: int,
    top_k: int,
    scaled: bool = False,
) -> torch.Tensor:
    return x.new_empty((top_k * x.shape[0], rows))


def restore_expert(packed: Packed, first_row: int, rows: int, all_rows: int) -> torch.Tensor:
    """Rows of a matrix. Row panels that have some of them are restored whole."""
    first, last = first_row // PANEL_ROWS, -(-(first_row + rows) // PANEL_ROWS)
    ends = packed.patch_ends[first:last]
    start = int(packed.patch_ends[first - 1]) if first else 0
    part = Packed(
        packed.k_tiles[first:last],
        packed.patches[start : int(ends[-1])],
        ends - start,
        packed.palette,
    )
    row = PANEL_ROWS * first
    restored = _packed.restore(part, min(PANEL_ROWS * last, all_rows) - row)
    return restored[first_row - row :][:rows]


def _restore_experts(
    k_tiles: torch.Tensor,
    patches: torch.Tensor,
    patch_ends: torch.Tensor,
    palette: torch.Tensor,
    indices: torch.Tensor,
    experts: int,
    rows: int,
) -> torch.Tensor:
    packed = Packed(k_tiles, patches, patch_ends, palette)
    if k_tiles.is_cuda and torch.cuda.is_current_stream_capturing():
        # The positions of an expert's patches are not known here.
        return _packed.restore(packed, experts * rows).view(experts, rows, -1)[indices]
    found = k_tiles.new_empty((indices.shape[0], rows, packed.columns), dtype=torch.bfloat16)
    positions: dict[int, list[int]] = {}
    for position, expert in enumerate(indices.tolist()):
        positions.setdefault(expert, []).append(position)
    for expert, places in positions.items():
        if not 0 <= expert < experts:
            raise IndexError(f"found expert {expert}, expected one of 0 to {experts - 1}")
        restored = restore_expert(packed, expert * rows, rows, experts * rows)
        for place in places:
            found[place] = restored
    return found


def _restore_experts_fake(
    k_tiles: torch.Tensor,
    patches: torch.Tensor,
    patch_ends: torch.Tensor,
    palette: torch.Tensor,
    indices: torch.Tensor,
    experts: int,
    rows: int,
) -> torch.Tensor:
    shape = (indices.shape[0], rows, columns_of(k_tiles))
    return k_tiles.new_empty(shape, dtype=torch.bfloat16)


define(
    "route",
    "(Tensor expert_ids, SymInt experts, Tensor? scales=None) -> Tensor",
    _route,
    _route_fake,
)
define(
    "grouped_linear",
    f"(Tensor x, {PACKED}, Tensor routing, SymInt experts, SymInt rows, SymInt top_k, "
    "bool scaled=False) -> Tensor",
    _grouped_linear,
    _grouped_linear_fake,
)
define(
    "restore_experts",
    f"({PACKED}, Tensor indices, SymInt experts, SymInt rows) -> Tensor",
    _restore_experts,
    _restore_experts_fake,
)
