"""Lookup of rows of a packed matrix on a CUDA device, by a kernel of Triton, which torch's builds
for CUDA bring along."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from ._errors import WrongArgument
from ._packed import PANEL_ROWS, columns_of

_BLOCK = 1024


# Compiling again for a pointer of other alignment would break the capture of a graph.
@triton.jit(do_not_specialize_on_alignment=["indices"])
def _lookup(  # type: ignore[no-untyped-def]  # Triton reads annotations.
    indices, k_tiles, palette, starts, entries, rows,
    row_count, entry_count, k_tile_count, IS_CONSECUTIVE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A block of columns of a row. The layout is that of `unweight-matmul`'s fragment form. Wrong
    indices and patches give other weights, but nothing outside of the tensors is read."""
    row = tl.load(indices + tl.program_id(0)).to(tl.int64)
    row = tl.minimum(tl.maximum(row, 0), row_count - 1)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    columns = k_tile_count * 64
    inside = column < columns
    lane = (row & 7).to(tl.int32) * 4 + (column >> 1 & 3)
    step = column >> 4 & 3
    k_tile = (row >> 4) * k_tile_count + (column >> 6)
    # The position among the first 128 words of a K tile. The other two thirds have the same order.
    word = k_tiles + k_tile * 384 + lane * 4 + step
    first = tl.load(word, mask=inside, other=0)
    second = tl.load(word + 128, mask=inside, other=0)
    third = tl.load(word + 256, mask=inside, other=0)
    rotated = (third >> 12) & 0xFFFFF | (third << 20)
    fourth = (first >> 4) & 0x07800780 | (second >> 8) & 0x00780078 | rotated & -0x7FF87FF9
    is_upper = (row & 8) != 0
    pair = tl.where(
        (column & 8) != 0,
        tl.where(is_upper, fourth, third),
        tl.where(is_upper, second, first),
    )
    weight = pair >> ((column & 1) * 16)
    number = (weight >> 7) & 15
    if IS_CONSECUTIVE:
        exponent = tl.load(palette).to(tl.int32) + number
    else:
        exponent = tl.load(palette + number).to(tl.int32)
    first_entry = tl.maximum(tl.load(starts + row), 0)
    for at in range(first_entry, tl.minimum(tl.load(starts + row + 1), entry_count)):
        entry = tl.load(entries + at)
        exponent = tl.where(column == entry >> 8, entry & 255, exponent)
    bits = weight & 0x807F | exponent << 7
    tl.store(
        rows + tl.program_id(0).to(tl.int64) * columns + column, bits.to(tl.int16), mask=inside
    )


def lookup(
    indices: torch.Tensor,
    k_tiles: torch.Tensor,
    palette: torch.Tensor,
    starts: torch.Tensor,
    entries: torch.Tensor,
) -> torch.Tensor:
    """Rows of a packed matrix: ``bfloat16`` [..., columns] for ``int64`` indices [...].

    Raises:
        WrongArgument: The tensors are not those of one packed matrix.
    """
    panels, count, size = k_tiles.shape
    row_count = starts.numel() - 1
    if not 0 < row_count <= panels * PANEL_ROWS or size != 1536 or palette.numel() not in (1, 16):
        raise WrongArgument(
            f"found K tiles of shape {tuple(k_tiles.shape)}, {palette.numel()} exponents in the "
            f"palette and the patches of {row_count} rows, expected those of one packed matrix"
        )
    columns = columns_of(k_tiles)
    rows = k_tiles.new_empty((*indices.shape, columns), dtype=torch.bfloat16)
    if rows.numel():
        _lookup[(indices.numel(), triton.cdiv(columns, _BLOCK))](
            indices.contiguous(),
            k_tiles.view(torch.int32),
            palette,
            starts,
            entries,
            rows.view(torch.int16),
            row_count,
            entries.numel(),
            count,
            IS_CONSECUTIVE=palette.shape[0] == 1,
            BLOCK=_BLOCK,
        )
    return rows
