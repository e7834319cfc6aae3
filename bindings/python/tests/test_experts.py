"""Products of tokens by packed experts: the operators on the CPU."""

from __future__ import annotations

from typing import Any

import pytest
from test_linear import matrix, same, spread, torch

import unweight
from unweight import _experts, _packed, _unweight

EXPERTS, ROWS, COLUMNS = 5, 48, 128


def stack(make: Any = matrix, experts: int = EXPERTS, rows: int = ROWS) -> tuple[Any, Any]:
    """The weights of experts, and these packed as one matrix."""
    weight = make(experts * rows, COLUMNS).nan_to_num(0, 1, -1).clamp(-4, 4)
    return weight.view(experts, rows, COLUMNS), _packed.pack(weight)


def inputs(*shape: int, seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).bfloat16()


def chosen(tokens: int, top_k: int, experts: int = EXPERTS) -> Any:
    """Different experts for each token; the last one has none."""
    scores = torch.rand(tokens, max(experts - 1, 1), generator=torch.Generator().manual_seed(3))
    return scores.topk(top_k, dim=1).indices


def product(
    x: Any, packed: Any, ids: Any, shape: tuple[int, int, int], scales: Any = None
) -> Any:
    """x W^T for each slot. `shape` is the number of experts, their rows, and the experts of a row
    of x."""
    experts, rows, top_k = shape
    routing = torch.ops.unweight.route(ids, experts, scales)
    return torch.ops.unweight.grouped_linear(
        x, *packed, routing, experts, rows, top_k, scales is not None
    )


@pytest.mark.parametrize("make", [matrix, spread])
def test_each_slot_is_multiplied_by_its_expert(make: Any) -> None:
    weight, packed = stack(make)
    for tokens, top_k in [(1, 1), (1, 4), (9, 2), (200, 3)]:
        ids, x = chosen(tokens, top_k), inputs(tokens, COLUMNS)
        found = product(x, packed, ids, (EXPERTS, ROWS, top_k))
        for expert in range(EXPERTS):
            token, choice = torch.where(ids == expert)
            expected = torch.nn.functional.linear(x[token], weight[expert])
            assert same(found.view(tokens, top_k, ROWS)[token, choice], expected)
        # The second product of experts has a row of x for each slot.
        x = inputs(tokens * top_k, COLUMNS)
        found = product(x, packed, ids, (EXPERTS, ROWS, 1))
        slots = torch.where(ids.reshape(-1) == 0)[0]
        assert same(found[slots], torch.nn.functional.linear(x[slots], weight[0]))


def test_sums_are_scaled() -> None:
    _, packed = stack()
    ids, x = chosen(7, 2), inputs(7, COLUMNS)
    scales = torch.rand(7, 2)
    plain = product(x, packed, ids, (EXPERTS, ROWS, 2))
    expected = (plain.float() * scales.reshape(-1, 1)).bfloat16()
    assert same(product(x, packed, ids, (EXPERTS, ROWS, 2), scales), expected)


def test_slots_without_an_expert_are_zeros() -> None:
    _, packed = stack()
    ids = chosen(6, 2)
    all_of_them = product(inputs(6, COLUMNS), packed, ids, (EXPERTS, ROWS, 2))
    absent = torch.tensor([1, 4, 11])
    for number in (-1, EXPERTS, 1000):
        some = ids.reshape(-1).clone()
        some[absent] = number
        found = product(inputs(6, COLUMNS), packed, some, (EXPERTS, ROWS, 2))
        assert not found[absent].any()
        there = torch.tensor([slot for slot in range(12) if slot not in absent.tolist()])
        torch.testing.assert_close(found[there], all_of_them[there])
    nothing = product(inputs(6, COLUMNS), packed, torch.full((6, 2), -1), (EXPERTS, ROWS, 2))
    assert not nothing.any()
    assert product(inputs(0, COLUMNS), packed, ids[:0], (EXPERTS, ROWS, 2)).shape == (0, ROWS)


def test_numbers_of_experts_may_have_any_integer_type() -> None:
    _, packed = stack()
    ids, x = chosen(6, 2), inputs(6, COLUMNS)
    expected = product(x, packed, ids, (EXPERTS, ROWS, 2))
    for dtype in (torch.int32, torch.int16, torch.uint8):
        assert same(product(x, packed, ids.to(dtype), (EXPERTS, ROWS, 2)), expected)
    strided = torch.stack([ids, ids + 1], dim=2)[..., 0]
    assert same(product(x, packed, strided, (EXPERTS, ROWS, 2)), expected)


def test_the_routing_has_memory_for_every_device() -> None:
    for tokens, top_k, experts in [(0, 1, 1), (1, 8, 128), (4096, 8, 128), (5, 2, 4096)]:
        needed = _unweight.routing_bytes((tokens, top_k, experts))
        assert needed <= 4 * _experts.routing_words(tokens * top_k, experts)


def test_wrong_arguments_are_errors() -> None:
    _, packed = stack()
    ids, x = chosen(6, 2), inputs(6, COLUMNS)
    route, grouped_linear = torch.ops.unweight.route, torch.ops.unweight.grouped_linear
    routing = route(ids, EXPERTS)
    right = (x, *packed, routing, EXPERTS, ROWS, 2)
    assert grouped_linear(*right).shape == (12, ROWS)
    for place, wrong in [
        (0, x.float()),
        (0, x[:5]),
        (0, x[:, :64]),
        (0, x[0]),
        (5, routing[1:]),
        (5, routing.long()),
        (6, EXPERTS + 1),
        (7, ROWS + 16),
        (8, 3),
    ]:
        arguments = [*right[:place], wrong, *right[place + 1 :]]
        with pytest.raises(unweight.WrongArgument):
            grouped_linear(*arguments)
    for wrong_ids, scales in [(ids.float(), None), (ids, torch.ones(6)), (ids, ids)]:
        with pytest.raises(unweight.WrongArgument):
            route(wrong_ids, EXPERTS, scales)
    with pytest.raises(unweight.WrongArgument, match="expected a multiple of 16"):
        # 40 experts of 6 rows.
        product(x, packed, ids, (40, 6, 2))


@pytest.mark.parametrize("scaled", [False, True])
def test_operators_are_as_torch_expects(scaled: bool) -> None:
    _, packed = stack()
    ids, x = chosen(6, 2), inputs(6, COLUMNS)
    scales = torch.rand(12) if scaled else None
    routing = torch.ops.unweight.route(ids, EXPERTS, scales)
    # Parts of a routing have no values here, and the check compares values.
    torch.library.opcheck(
        torch.ops.unweight.route.default,
        (ids, EXPERTS, scales),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )
    arguments = (x, *packed, routing, EXPERTS, ROWS, 2, scaled)
    torch.library.opcheck(torch.ops.unweight.grouped_linear.default, arguments)


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_layer_is_compiled_without_a_graph_break(dynamic: bool) -> None:
    _, packed = stack()

    def layer(x: Any, ids: Any) -> Any:
        y = product(x, packed, ids, (EXPERTS, ROWS, 2))
        return torch.nn.functional.silu(y).view(-1, 2, ROWS).sum(1)

    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for tokens in (4, 9):
        x, ids = inputs(tokens, COLUMNS), chosen(tokens, 2)
        assert same(compiled(x, ids), layer(x, ids))
