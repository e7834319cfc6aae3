"""Products by packed weights beside torch's with plain ones, on a CUDA device:

    python packed_linear.py [ROWSxCOLUMNS ...]

Weights are normal, sigma 0.02, each row times exp(0.15 z). Each figure is the time of a product in
a CUDA graph of 24 over rotating weights of more than 512 MB, so that caches are cold; the median of
15 launches, all ways in turn.

    torch    torch.nn.functional.linear, BF16
    packed   torch.ops.unweight.linear
    exact    torch.ops.unweight.restore, then torch.nn.functional.linear: torch's results to the bit
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import linear

from unweight.torch import Linear

SHAPES = [(14336, 4096), (4096, 14336), (6144, 4096)]
BATCHES = (1, 8, 32, 64, 128, 256, 512, 1024, 2048, 4096)
PRODUCTS, LAUNCHES, CALLS = 24, 15, 500
ROTATED_BYTES = 512e6

Work = Callable[[int], Any]


def matrix(rows: int, columns: int) -> torch.Tensor:
    factors = torch.randn(rows, 1, device="cuda").mul(0.15).exp()
    return (torch.randn(rows, columns, device="cuda") * factors * 0.02).bfloat16()


def graph_of(work: Work) -> tuple[torch.cuda.CUDAGraph, list[Any]]:
    """A graph of many calls, and what they return, whose memory must stay."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for number in range(3):
            work(number)
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            results = [work(number) for number in range(PRODUCTS)]
    return graph, results


def microseconds(*works: Work) -> list[float]:
    """Times of a call in graphs, which take turns."""
    graphs = [graph_of(work) for work in works]
    times: list[list[float]] = [[] for _ in works]
    for _ in range(LAUNCHES):
        for (graph, _), found in zip(graphs, times, strict=True):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            graph.replay()
            end.record()
            torch.cuda.synchronize()
            found.append(start.elapsed_time(end) / PRODUCTS * 1e3)
    return [statistics.median(found) for found in times]


def measure_shape(rows: int, columns: int) -> None:
    count = max(2, int(ROTATED_BYTES / (2 * rows * columns)) + 1)
    plain = [matrix(rows, columns) for _ in range(count)]
    start = time.perf_counter()
    packed = [Linear.from_weight(weight) for weight in plain]
    torch.cuda.synchronize()
    seconds = (time.perf_counter() - start) / count
    assert torch.equal(packed[0].weight, plain[0])
    bits = 8 * packed[0].packed.nbytes / (rows * columns)
    (restore,) = microseconds(lambda i: packed[i % count].weight)
    print(f"\n{rows} x {columns}: {bits:.2f} bits a weight, packed in {1e3 * seconds:.2f} ms, "
          f"restored in {restore:.0f} us\n")  # fmt: skip
    print("| rows of x | torch us | packed us | ratio | exact us | ratio |\n" + "| --- " * 6 + "|")
    for batch in BATCHES:
        x = [torch.randn(batch, columns, device="cuda").bfloat16() for _ in range(4)]
        reference, fast, exact = microseconds(
            lambda i: linear(x[i % 4], plain[i % count]),
            lambda i: packed[i % count](x[i % 4]),
            lambda i: linear(x[i % 4], packed[i % count].weight),
        )
        print(f"| {batch} | {reference:.1f} | {fast:.1f} | {reference / fast:.2f} "
              f"| {exact:.1f} | {reference / exact:.2f} |", flush=True)  # fmt: skip


def measure_host() -> None:
    """Host time of a call that is not in a graph."""
    weight, x = matrix(64, 4096), torch.randn(1, 4096, device="cuda").bfloat16()
    packed = Linear.from_weight(weight)
    for name, work in (("packed", lambda: packed(x)), ("torch", lambda: linear(x, weight))):
        for _ in range(20):
            work()
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(CALLS):
            work()
        seconds = time.perf_counter() - start
        torch.cuda.synchronize()
        print(f"{name}: {1e6 * seconds / CALLS:.1f} us of host time a call")


def main() -> None:
    if not torch.cuda.is_available():
        sys.exit("there is no CUDA device")
    torch.manual_seed(0)
    shapes = [(int(rows), int(columns)) for rows, columns in (a.split("x") for a in sys.argv[1:])]
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    with torch.no_grad():
        for rows, columns in shapes or SHAPES:
            measure_shape(rows, columns)
        measure_host()


if __name__ == "__main__":
    main()
