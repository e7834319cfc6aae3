"""Grouped matmuls of PyTorch with BF16 weights, in the way of the bench `grouped`: us of a matmul.

    python3 grouped_torch.py

`torch` is `torch._grouped_mm` on tokens that are sorted already. `triton` is a kernel in the manner
of vLLM's fused MoE: slots are sorted by expert into tiles, and x is gathered. Its tile sizes are
those that vLLM has for an H200. Both get the sort of the tokens; neither makes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

TOKENS = (1, 2, 4, 8, 16, 32, 64, 128, 512, 4096)
MANY_TOKENS = 128


class Tiles(NamedTuple):
    """Tile sizes of the Triton kernel."""

    slots: int
    rows: int
    columns: int
    group: int
    warps: int
    stages: int


MIXTRAL = {
    1: Tiles(16, 128, 128, 16, 4, 5),
    2: Tiles(32, 64, 128, 1, 4, 5),
    4: Tiles(16, 64, 64, 1, 4, 5),
    8: Tiles(16, 128, 128, 1, 4, 5),
    16: Tiles(16, 64, 256, 16, 4, 3),
    32: Tiles(16, 128, 128, 16, 8, 3),
    64: Tiles(32, 128, 128, 64, 4, 3),
    128: Tiles(64, 128, 128, 1, 8, 4),
    512: Tiles(128, 256, 64, 16, 8, 4),
    4096: Tiles(128, 256, 64, 16, 8, 4),
}
QWEN3 = {
    1: Tiles(16, 64, 64, 1, 4, 5),
    2: Tiles(16, 64, 64, 1, 4, 4),
    4: Tiles(16, 64, 128, 16, 4, 2),
    8: Tiles(16, 64, 128, 1, 4, 3),
    16: Tiles(16, 64, 256, 1, 4, 2),
    32: Tiles(16, 64, 128, 16, 4, 2),
    64: Tiles(16, 256, 128, 1, 8, 2),
    128: Tiles(16, 128, 128, 1, 4, 2),
    512: Tiles(64, 128, 64, 1, 4, 3),
    4096: Tiles(128, 256, 64, 16, 8, 4),
}


class Layer(NamedTuple):
    """A matmul of a layer of experts."""

    name: str
    experts: int
    top_k: int
    rows: int
    columns: int
    sets: int
    second: bool
    tiles: dict[int, Tiles]


LAYERS = (
    Layer("Mixtral-8x7B, gate and up", 8, 2, 28672, 4096, 1, False, MIXTRAL),
    Layer("Mixtral-8x7B, down", 8, 2, 4096, 14336, 2, True, MIXTRAL),
    Layer("Qwen3-30B-A3B, gate and up", 128, 8, 1536, 2048, 3, False, QWEN3),
    Layer("Qwen3-30B-A3B, down", 128, 8, 2048, 768, 5, True, QWEN3),
)


@triton.jit  # type: ignore[untyped-decorator]
def grouped_kernel(
    x, w, y, scales, sorted_slots, tile_experts, slot_end, rows, columns, slots,
    SCALED: tl.constexpr, SLOTS_OF_X: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr, GROUP: tl.constexpr,
):  # type: ignore[no-untyped-def]
    """A tile of slots of one expert, and BLOCK_N rows of its matrix. Columns are a multiple of BLOCK_K."""
    program = tl.program_id(0)
    across = tl.cdiv(rows, BLOCK_N)
    down = tl.num_programs(0) // across
    group = program // (GROUP * across)
    height = min(down - group * GROUP, GROUP)
    m = group * GROUP + program % (GROUP * across) % height
    n = program % (GROUP * across) // height
    if m * BLOCK_M >= tl.load(slot_end):
        return
    slot = tl.load(sorted_slots + m * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)
    inside = slot < slots
    expert = tl.load(tile_experts + m).to(tl.int64)
    row = (n * BLOCK_N + tl.arange(0, BLOCK_N)) % rows
    column = tl.arange(0, BLOCK_K)
    x_at = x + (slot // SLOTS_OF_X)[:, None] * columns + column[None, :]
    w_at = w + expert * rows * columns + row[None, :].to(tl.int64) * columns + column[:, None]
    sums = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for _ in range(0, columns // BLOCK_K):
        sums += tl.dot(tl.load(x_at, mask=inside[:, None], other=0.0), tl.load(w_at))
        x_at += BLOCK_K
        w_at += BLOCK_K
    if SCALED:
        sums *= tl.load(scales + slot, mask=inside, other=0.0)[:, None]
    to = n * BLOCK_N + tl.arange(0, BLOCK_N)
    mask = inside[:, None] & (to[None, :] < rows)
    tl.store(y + slot[:, None] * rows + to[None, :], sums.to(tl.bfloat16), mask=mask)


class Routing(NamedTuple):
    """Slots sorted by expert into tiles, each padded with a slot that does not exist."""

    slots: torch.Tensor
    experts: torch.Tensor
    slot_end: torch.Tensor

    @staticmethod
    def of(chosen: torch.Tensor, experts: int, tile: int) -> Routing:
        """Sorts on the host: the sort is not measured."""
        flat = chosen.flatten()
        order = torch.argsort(flat, stable=True).tolist()
        slots: list[int] = []
        of_tiles: list[int] = []
        at = 0
        for expert, count in enumerate(torch.bincount(flat, minlength=experts).tolist()):
            own = order[at : at + count] + [len(order)] * (-count % tile)
            at += count
            slots += own
            of_tiles += [expert] * (len(own) // tile)
        most = min(len(order) + min(experts, len(order)) * (tile - 1), len(order) * tile)
        end = len(slots)
        tiles = -(-most // tile)
        slots += [len(order)] * (tiles * tile - end)
        of_tiles += [0] * (tiles - len(of_tiles))
        return Routing(*(torch.tensor(v, dtype=torch.int32, device="cuda") for v in (slots, of_tiles, [end])))


def microseconds(count: int, launch: Callable[[int], object]) -> float:
    """Median time of one of `count` launches, which are captured as one."""
    launch(0)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for number in range(count):
            launch(number)
    times = []
    for run in range(16):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        if run > 0:
            times.append(start.elapsed_time(end))
    return sorted(times)[len(times) // 2] * 1e3 / count


def measure(layer: Layer, weights: list[torch.Tensor], tokens: int) -> None:
    """Prints a line."""
    count = 24 if tokens < MANY_TOKENS else 4
    slots = tokens * layer.top_k
    x_rows = slots if layer.second else tokens
    x = torch.randn(x_rows, layer.columns, dtype=torch.bfloat16, device="cuda")
    y = torch.empty(slots, layer.rows, dtype=torch.bfloat16, device="cuda")
    scales = torch.rand(slots, device="cuda")
    chosen = [torch.rand(tokens, layer.experts, device="cuda").topk(layer.top_k, 1).indices for _ in range(count)]
    order = [torch.argsort(ids.flatten(), stable=True) for ids in chosen]
    sorted_x = [x[slot if layer.second else slot // layer.top_k].contiguous() for slot in order]
    ends = [torch.cumsum(torch.bincount(ids.flatten(), minlength=layer.experts), 0).int() for ids in chosen]
    tiles = layer.tiles[tokens]
    routings = [Routing.of(ids, layer.experts, tiles.slots) for ids in chosen]
    grouped_mm: Any = torch._grouped_mm  # type: ignore[attr-defined]

    def by_torch(number: int) -> torch.Tensor:
        matrices = weights[number % layer.sets].transpose(1, 2)
        result: torch.Tensor = grouped_mm(sorted_x[number], matrices, offs=ends[number])
        return result

    def by_triton(number: int) -> None:
        routing = routings[number]
        grid = (len(routing.experts) * triton.cdiv(layer.rows, tiles.rows),)
        grouped_kernel[grid](
            x, weights[number % layer.sets], y, scales, *routing, layer.rows, layer.columns, slots, layer.second,
            1 if layer.second else layer.top_k, tiles.slots, tiles.rows, tiles.columns, tiles.group,
            num_warps=tiles.warps, num_stages=tiles.stages,
        )  # fmt: skip

    expected = by_torch(0).float() * (scales[order[0]][:, None] if layer.second else 1)
    by_triton(0)
    torch.testing.assert_close(y[order[0]].float(), expected, rtol=0.02, atol=0.02)
    print(f"{tokens:>6} {microseconds(count, by_torch):>10.1f} {microseconds(count, by_triton):>10.1f}", flush=True)


def main() -> None:
    """Measures every layer."""
    print(torch.cuda.get_device_name(), torch.__version__, triton.__version__)
    for layer in LAYERS:
        print(f"\n{layer.name}\ntokens      torch     triton")
        size = (layer.experts, layer.rows, layer.columns)
        weights = [torch.empty(size, dtype=torch.bfloat16, device="cuda").normal_(0, 0.02) for _ in range(layer.sets)]
        for tokens in TOKENS:
            measure(layer, weights, tokens)
        del weights


if __name__ == "__main__":
    main()
