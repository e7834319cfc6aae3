"""Products and the norms and gates between them: the operators on the CPU."""

from __future__ import annotations

from typing import Any

import pytest
from test_linear import changed, same, spread, torch

import unweight
from unweight import _fused, _packed  # noqa: F401  # Registers the operators.

EPSILON = 1e-5


def inputs(*shape: int, seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).bfloat16()


def weights(rows: int, columns: int) -> Any:
    return spread(rows, columns).nan_to_num(0, 1, -1).clamp(-4, 4)


def add_norm(y: Any, residual: Any, weight: Any) -> tuple[Any, Any]:
    """The norm as vLLM and transformers calculate it, and the sum."""
    total = y.float() + residual.float()
    scale = torch.rsqrt(total.pow(2).mean(-1, keepdim=True) + EPSILON)
    return (total * scale).bfloat16() * weight, total.bfloat16()


def silu_mul(gate: Any, up: Any) -> Any:
    return (torch.nn.functional.silu(gate.float()) * up.float()).bfloat16()


@pytest.mark.parametrize("batch", [0, 1, 5, 40])
@pytest.mark.parametrize("gated", [False, True])
def test_both_halves_of_a_norm_equal_products_and_a_norm(batch: int, gated: bool) -> None:
    first, second = weights(128, 192), weights(256, 128)
    x, residual = inputs(batch, 192), inputs(batch, 128, seed=1)
    weight = inputs(128, seed=2)
    rows, total, squares = torch.ops.unweight.linear_add_norm(
        x, *_packed.pack(first), 128, residual, weight, EPSILON
    )
    found = torch.ops.unweight.linear_of_norm(
        rows, squares, EPSILON, *_packed.pack(second), 256, gated
    )
    normalized, expected_total = add_norm(torch.nn.functional.linear(x, first), residual, weight)
    expected = torch.nn.functional.linear(normalized, second)
    if gated:
        gate, up = expected.chunk(2, -1)
        expected = silu_mul(gate, up)
    assert same(total, expected_total)
    assert same(found, expected)


def test_a_gate_needs_no_norm_before_it() -> None:
    weight, x = weights(128, 64), inputs(3, 64)
    packed = _packed.pack(weight)
    found = torch.ops.unweight.linear_of_norm(x, None, 0.0, *packed, 128, True)
    gate, up = torch.nn.functional.linear(x, weight).chunk(2, -1)
    assert same(found, silu_mul(gate, up))


def test_operators_pass_the_checks_of_torch() -> None:
    first, second = _packed.pack(weights(128, 192)), _packed.pack(weights(64, 128))
    for batch in (1, 6):
        x, residual = inputs(batch, 192), inputs(batch, 128, seed=1)
        arguments = (x, *first, 128, residual, inputs(128, seed=2), EPSILON)
        # The squares are not written on the CPU, so that two runs may differ in them.
        checks = ("test_schema", "test_faketensor")
        torch.library.opcheck(
            torch.ops.unweight.linear_add_norm.default, arguments, test_utils=checks
        )
        rows, _, squares = torch.ops.unweight.linear_add_norm(*arguments)
        for given in (squares, None):
            for gated in (False, True):
                torch.library.opcheck(
                    torch.ops.unweight.linear_of_norm.default,
                    (rows, given, EPSILON, *second, 64, gated),
                )


def test_wrong_tensors_are_refused() -> None:
    first, second = _packed.pack(weights(128, 192)), _packed.pack(weights(96, 128))
    x, residual, weight = inputs(2, 192), inputs(2, 128), inputs(128)
    add, of = torch.ops.unweight.linear_add_norm, torch.ops.unweight.linear_of_norm
    for arguments, message in (
        ((x, *first, 128, residual[:1], weight), "residual"),
        ((x, *first, 128, residual.float(), weight), "residual"),
        ((x, *first, 128, residual, weight[:64]), "weight"),
        ((x[0], *first, 128, residual, weight), "two dimensions"),
        ((x[:, :128], *first, 128, residual, weight), "192"),
        ((x, *_packed.pack(weights(40, 192)), 40, residual[:, :40], weight[:40]), "multiple of 16"),
        ((x, *changed(first, k_tiles=first.k_tiles[:2]), 128, residual, weight), "k_tiles"),
    ):
        with pytest.raises(unweight.WrongArgument, match=message):
            add(*arguments, EPSILON)
    rows, squares = inputs(2, 128), torch.ones(2, 8)
    for tensor, given, gated, message in (
        (rows, squares, True, "multiple of 64"),
        (rows, squares[:1], False, "squares"),
        (rows, squares.bfloat16(), False, "squares"),
        (rows[0], squares, False, "two dimensions"),
        (rows.float(), squares, False, "bfloat16"),
    ):
        with pytest.raises(unweight.WrongArgument, match=message):
            of(tensor, given, EPSILON, *second, 96, gated)
