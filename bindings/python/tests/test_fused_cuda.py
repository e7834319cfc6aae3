"""Products and the norms and gates between them on a CUDA device."""

from __future__ import annotations

from typing import Any

import pytest
from test_fused import EPSILON, add_norm, inputs, silu_mul, torch, weights

if not torch.cuda.is_available():
    pytest.skip("there is no CUDA device", allow_module_level=True)

from unweight import _packed  # noqa: E402

BATCHES = [0, 1, 8, 15, 16, 17, 40, 300]


def near(found: Any, expected: Any, roundings: int) -> bool:
    """Whether values differ by no more than so many roundings to BF16 of the largest ones."""
    if not expected.numel():
        return bool(found.shape == expected.shape)
    error = (found.float() - expected.float()).abs().max()
    return bool(error <= roundings / 256 * expected.float().abs().max())


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("gated", [False, True])
def test_both_halves_of_a_norm_are_near_products_and_a_norm(batch: int, gated: bool) -> None:
    first, second = weights(256, 1024).cuda(), weights(512, 256).cuda()
    x, residual = inputs(batch, 1024).cuda(), inputs(batch, 256, seed=1).cuda()
    weight = inputs(256, seed=2).cuda()
    packed = _packed.pack(first)
    rows, total, squares = torch.ops.unweight.linear_add_norm(
        x, *packed, 256, residual, weight, EPSILON
    )
    found = torch.ops.unweight.linear_of_norm(
        rows, squares, EPSILON, *_packed.pack(second), 512, gated
    )
    y = torch.ops.unweight.linear(x, *packed, 256)
    normalized, expected_total = add_norm(y, residual, weight)
    expected = normalized.float() @ second.float().T
    if gated:
        expected = silu_mul(*expected.chunk(2, -1))
    assert torch.equal(total, expected_total)
    assert near(found, expected, 3)


@pytest.mark.parametrize("batch", BATCHES)
def test_a_gate_needs_no_norm_before_it(batch: int) -> None:
    weight, x = weights(512, 256).cuda(), inputs(batch, 256).cuda()
    packed = _packed.pack(weight)
    found = torch.ops.unweight.linear_of_norm(x, None, 0.0, *packed, 512, True)
    assert near(found, silu_mul(*(x.float() @ weight.float().T).chunk(2, -1)), 3)


def test_graphs_of_norms_and_gates_follow_their_inputs() -> None:
    first, second = _packed.pack(weights(256, 1024).cuda()), _packed.pack(weights(512, 256).cuda())
    x, residual = torch.empty(4, 1024).bfloat16().cuda(), torch.empty(4, 256).bfloat16().cuda()
    weight = inputs(256, seed=2).cuda()

    def run() -> Any:
        rows, total, squares = torch.ops.unweight.linear_add_norm(
            x, *first, 256, residual, weight, EPSILON
        )
        y = torch.ops.unweight.linear_of_norm(rows, squares, EPSILON, *second, 512, True)
        return y, total

    def fill(seed: int) -> None:
        x.copy_(inputs(4, 1024, seed=seed))
        residual.copy_(inputs(4, 256, seed=seed + 1))

    fill(0)
    run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = run()
    for seed in (10, 20, 30):
        fill(seed)
        expected = run()
        graph.replay()
        torch.cuda.synchronize()
        assert all(torch.equal(*pair) for pair in zip(captured, expected))
