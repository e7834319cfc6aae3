"""Products by packed experts beside `torch._grouped_mm` with BF16 ones, on a CUDA device:

    python packed_experts.py

Weights are normal, sigma 0.02, each row times exp(0.15 z); tokens have random experts, others in
each call. A figure is the time of a call in a CUDA graph of several, so that caches are cold; the
median of some launches, all ways in turn.

    gate and up, down   one product. Torch's tokens are sorted, and ours are routed, before.
    layer               from the tokens to the sum over their experts: torch in the way of
                        transformers (sort, gather, products, activation, weights, sum), and
                        `route`, two times `grouped_linear`, activation, weights, sum
    kernel, restored    both ways of `grouped_linear`, which takes the second for many tokens
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch.nn.functional import silu

from unweight import _experts, _packed

TOKENS = (1, 8, 32, 128, 1024, 4096)
MANY_TOKENS = 128

Work = Callable[[int], Any]


class Model(NamedTuple):
    """The experts of a layer."""

    name: str
    experts: int
    top_k: int
    hidden: int
    intermediate: int


MODELS = (Model("Mixtral-8x7B", 8, 2, 4096, 14336), Model("Qwen3-30B-A3B", 128, 8, 2048, 768))


class Stack:
    """Matrices of experts, plain and packed."""

    def __init__(self, experts: int, rows: int, columns: int) -> None:
        self.shape = experts, rows, columns
        self.plain = torch.empty(self.shape, dtype=torch.bfloat16, device="cuda")
        for weight in self.plain:
            factors = torch.randn(rows, 1, device="cuda").mul(0.15).exp() * 0.02
            weight.copy_(torch.randn(rows, columns, device="cuda") * factors)
        self.packed = _packed.pack(self.plain.view(experts * rows, columns))

    def multiply(self, x: torch.Tensor, routing: torch.Tensor, top_k: int) -> torch.Tensor:
        experts, rows, _ = self.shape
        product: torch.Tensor = torch.ops.unweight.grouped_linear(
            x, *self.packed, routing, experts, rows, top_k
        )
        return product

    def multiply_plain(self, x: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = torch._grouped_mm(x, self.plain.transpose(1, 2), offs=ends)
        return product


class Choice:
    """The experts of some tokens."""

    def __init__(self, model: Model, tokens: int) -> None:
        scores = torch.rand(tokens, model.experts, device="cuda")
        weights, self.ids = scores.topk(model.top_k)
        self.weights = weights.bfloat16()
        self.order, self.ends = sort(self.ids, model.experts)
        self.routing = torch.ops.unweight.route(self.ids, model.experts)


def sort(ids: torch.Tensor, experts: int) -> tuple[torch.Tensor, torch.Tensor]:
    """As transformers does it."""
    of_slot, order = ids.reshape(-1).sort()
    counts = torch.histc(of_slot.int(), bins=experts, min=0, max=experts - 1)
    return order, torch.cumsum(counts, dim=0, dtype=torch.int32)


def plain_layer(
    first: Stack, second: Stack, x: torch.Tensor, choice: Choice
) -> torch.Tensor:
    top_k = choice.ids.shape[1]
    order, ends = sort(choice.ids, first.shape[0])
    gate, up = first.multiply_plain(x[order // top_k], ends).chunk(2, dim=-1)
    y = second.multiply_plain(silu(gate) * up, ends)
    y = y * choice.weights.reshape(-1)[order].unsqueeze(1)
    places = torch.empty_like(order)
    places[order] = torch.arange(len(order), device=order.device)
    return y[places].view(-1, top_k, y.shape[1]).sum(dim=1)


def packed_layer(
    first: Stack, second: Stack, x: torch.Tensor, choice: Choice
) -> torch.Tensor:
    top_k = choice.ids.shape[1]
    routing = torch.ops.unweight.route(choice.ids, first.shape[0])
    gate, up = first.multiply(x, routing, top_k).chunk(2, dim=-1)
    y = second.multiply(silu(gate) * up, routing, 1)
    y = y * choice.weights.reshape(-1, 1)
    return y.view(-1, top_k, y.shape[1]).sum(dim=1)


def microseconds(tokens: int, *works: Work) -> list[float]:
    """Times of a call in graphs, which take turns."""
    calls, launches = (12, 10) if tokens <= MANY_TOKENS else (3, 5)
    graphs = []
    for work in works:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            work(0)
            stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=stream):
                for number in range(calls):
                    work(number)
        graphs.append(graph)
    times: list[list[float]] = [[] for _ in works]
    for _ in range(launches):
        for graph, found in zip(graphs, times, strict=True):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            graph.replay()
            end.record()
            torch.cuda.synchronize()
            found.append(start.elapsed_time(end) / calls * 1e3)
    return [statistics.median(found) for found in times]


@contextmanager
def most_slots_per_expert(number: int) -> Iterator[None]:
    """Has `grouped_linear` take one of its ways."""
    before = _experts._MOST_SLOTS_PER_EXPERT
    vars(_experts)["_MOST_SLOTS_PER_EXPERT"] = number
    try:
        yield
    finally:
        vars(_experts)["_MOST_SLOTS_PER_EXPERT"] = before


def require_same(plain: torch.Tensor, packed: torch.Tensor) -> None:
    difference = (plain.float() - packed.float()).abs().max() / plain.float().abs().max()
    assert float(difference) < 0.02, f"results differ by {float(difference)}"


def measure(model: Model, tokens: int, first: Stack, second: Stack) -> str:
    """A line of the table."""
    top_k, slots = model.top_k, tokens * model.top_k
    xs = [torch.randn(tokens, model.hidden, device="cuda").bfloat16() for _ in range(3)]
    hs = [torch.randn(slots, model.intermediate, device="cuda").bfloat16() for _ in range(3)]
    choices = [Choice(model, tokens) for _ in range(12)]
    sorted_xs = [x[choices[i].order // top_k] for i, x in enumerate(xs)]
    require_same(plain_layer(first, second, xs[0], choices[0]),
                 packed_layer(first, second, xs[0], choices[0]))  # fmt: skip
    up = microseconds(
        tokens,
        lambda i: first.multiply_plain(sorted_xs[i % 3], choices[i].ends),
        lambda i: first.multiply(xs[i % 3], choices[i].routing, top_k),
    )
    down = microseconds(
        tokens,
        lambda i: second.multiply_plain(hs[i % 3], choices[i].ends),
        lambda i: second.multiply(hs[i % 3], choices[i].routing, 1),
    )
    layer = microseconds(
        tokens,
        lambda i: plain_layer(first, second, xs[i % 3], choices[i]),
        lambda i: packed_layer(first, second, xs[i % 3], choices[i]),
    )
    cells = [model.name, str(tokens)]
    for plain, packed in (up, down, layer):
        cells += [f"{plain:.0f}", f"{packed:.0f}", f"{plain / packed:.2f}"]
    ways = []
    for number in (1 << 30, 0):
        if tokens < MANY_TOKENS:
            ways.append("")
            continue
        with most_slots_per_expert(number):
            routings = [torch.ops.unweight.route(choice.ids, model.experts) for choice in choices]
            (found,) = microseconds(
                tokens, lambda i: first.multiply(xs[i % 3], routings[i], top_k)
            )
            ways.append(f"{found:.0f}")
    return "| " + " | ".join(cells + ways) + " |"


def main() -> None:
    if not torch.cuda.is_available():
        sys.exit("there is no CUDA device")
    torch.manual_seed(0)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}\n")
    products = ("gate and up", "down", "layer")
    heads = [head for name in products for head in (f"{name}: torch us", "packed us", "ratio")]
    heads = ["model", "tokens", *heads, "gate and up: kernel us", "restored us"]
    print("| " + " | ".join(heads) + " |\n" + "| --- " * len(heads) + "|")
    with torch.no_grad():
        for model in MODELS:
            first = Stack(model.experts, 2 * model.intermediate, model.hidden)
            second = Stack(model.experts, model.hidden, model.intermediate)
            for tokens in TOKENS:
                print(measure(model, tokens, first, second), flush=True)


if __name__ == "__main__":
    main()
