"""Lookup of rows of a packed matrix, as an embedding needs it.

A matrix that stays packed for a multiplication can so serve as an embedding too: only the rows that
are asked for are restored. ``unweight::lookup`` works under ``torch.compile``, which sees it as one
call, and in graphs of a CUDA device.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from ._operators import define
from ._packed import K_TILE_COLUMNS, PANEL_ROWS, Packed, columns_of

# 32-bit words of a K tile: three for each MMA step of each lane; lanes are in eight groups of four.
_K_TILE_WORDS = (3, 8, 4, 4)


class RowPatches(NamedTuple):
    """The patches of a packed matrix, sorted by row."""

    starts: torch.Tensor
    """``int32`` [rows + 1]: the position of each row's first patch, and the number of patches."""
    entries: torch.Tensor
    """``int32`` [n]: ``column << 8 | exponent``."""


def lookup(
    indices: torch.Tensor, k_tiles: torch.Tensor, palette: torch.Tensor, patches: RowPatches
) -> torch.Tensor:
    """Rows of a packed matrix: ``bfloat16`` [..., columns] for indices [...].

    Args:
        indices: Numbers of rows, ``int64`` or ``int32``. On a CUDA device they are not checked: the
            first or the last row takes the place of those that are outside.
        k_tiles: Its K tiles.
        palette: Its palette.
        patches: Its patches, sorted by row.
    """
    rows: torch.Tensor = torch.ops.unweight.lookup(indices, k_tiles, palette, *patches)
    return rows


def row_patches(packed: Packed, rows: int) -> RowPatches:
    """Sorts the patches of a packed matrix by row. The result is on the matrix's device."""
    patches, ends = packed.patches, packed.patch_ends
    counts = torch.diff(ends, prepend=ends.new_zeros(1)).long()
    panel = torch.repeat_interleave(counts)
    lane, number = patches >> 13 & 31, patches >> 8 & 31
    step, pair, odd = number >> 3, number >> 1 & 3, number & 1
    row = panel * PANEL_ROWS + (lane >> 2) + 8 * (pair & 1)
    k_tile = patches >> 18 & 0x3FFF
    column = k_tile * K_TILE_COLUMNS + 16 * step + 2 * (lane & 3) + odd + 8 * (pair >> 1)
    counts = torch.bincount(row, minlength=rows)
    starts = torch.cat((counts.new_zeros(1), counts.cumsum(0))).int()
    entries = column << 8 | patches & 255
    return RowPatches(starts, entries[torch.argsort(row, stable=True)].contiguous())


def _lookup(
    indices: torch.Tensor,
    k_tiles: torch.Tensor,
    palette: torch.Tensor,
    starts: torch.Tensor,
    entries: torch.Tensor,
) -> torch.Tensor:
    if k_tiles.is_cuda:
        from . import _embedding_triton

        return _embedding_triton.lookup(indices, k_tiles, palette, starts, entries)
    panels, count, _ = k_tiles.shape
    columns = columns_of(k_tiles)
    words = k_tiles.view(torch.int32).view(panels, count, *_K_TILE_WORDS)
    index = indices.reshape(-1).long()
    if (index < 0).any():
        raise IndexError(f"found index {int(index.min())}, expected 0 or more")
    row = index & 15
    first, second, third = words[index >> 4, :, :, row & 7].unbind(2)
    # Two pairs of columns of each lane and MMA step. Rows from the eighth have the second pair, and
    # the fourth, whose thirds are in bits that the others leave free.
    rotated = third >> 12 & 0xFFFFF | third << 20
    fourth = first >> 4 & 0x0780_0780 | second >> 8 & 0x0078_0078 | rotated & -0x7FF8_7FF9
    is_upper = (row >= 8).view(-1, 1, 1, 1)
    pairs = torch.stack(
        (torch.where(is_upper, second, first), torch.where(is_upper, fourth, third)), -1
    )
    halves = torch.stack((pairs & 0xFFFF, pairs >> 16 & 0xFFFF), -1)
    # The dimensions are row, K tile, lane, step, pair and odd column. Columns need another order.
    weights = halves.permute(0, 1, 3, 4, 2, 5).reshape(index.shape[0], columns)
    known = palette.int()
    number = weights >> 7 & 15
    exponent = known[number.long()] if known.shape[0] > 1 else known + number
    _patch(exponent, starts[index].long(), starts[index + 1].long(), entries)
    bits = weights & 0x807F | exponent << 7
    return bits.to(torch.int16).view(torch.bfloat16).view(*indices.shape, columns)


def _patch(
    exponent: torch.Tensor, starts: torch.Tensor, stops: torch.Tensor, entries: torch.Tensor
) -> None:
    """Writes the exponents that the palette lacks to those of each row."""
    counts = stops - starts
    row = torch.repeat_interleave(counts)
    before = counts.cumsum(0) - counts
    at = torch.arange(row.shape[0], device=row.device) - before[row] + starts[row]
    entry = entries[at]
    exponent[row, (entry >> 8).long()] = entry & 255


def _lookup_fake(
    indices: torch.Tensor,
    k_tiles: torch.Tensor,
    palette: torch.Tensor,
    starts: torch.Tensor,
    entries: torch.Tensor,
) -> torch.Tensor:
    columns = columns_of(k_tiles)
    return k_tiles.new_empty((*indices.shape, columns), dtype=torch.bfloat16)


define(
    "lookup",
    "(Tensor indices, Tensor k_tiles, Tensor palette, Tensor starts, Tensor entries) -> Tensor",
    _lookup,
    _lookup_fake,
)
