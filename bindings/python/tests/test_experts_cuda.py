"""Products of tokens by packed experts on a CUDA device: exactness, routings, graphs, compilation."""

from __future__ import annotations

from typing import Any

import pytest
from test_experts import chosen
from test_experts import inputs as inputs_of_cpu
from test_experts import product
from test_linear import matrix, same, spread, torch

if not torch.cuda.is_available():
    pytest.skip("there is no CUDA device", allow_module_level=True)

import unweight  # noqa: E402
from unweight import _experts, _packed  # noqa: E402

MOST_SLOTS = _experts._MOST_SLOTS_PER_EXPERT
# Experts, rows of each, and columns: matrices by either kernel of grouped products.
SHAPES = [(8, 208, 4096), (16, 64, 768), (3, 16, 2112)]
TOKENS = [1, 7, 16, 33, 150, 700]


def inputs(*shape: int, seed: int = 0) -> Any:
    return inputs_of_cpu(*shape, seed=seed).cuda()


def stack(shape: tuple[int, int, int], make: Any = matrix) -> tuple[Any, Any]:
    """The weights of experts, and these packed as one matrix."""
    experts, rows, columns = shape
    weight = make(experts * rows, columns).nan_to_num(0, 1, -1).clamp(-4, 4).cuda()
    return weight.view(shape), _packed.pack(weight)


def require_near(found: Any, x: Any, weight: Any, ids: Any, scales: Any = None) -> None:
    """Sums are as near to the exact ones as FP32 sums and one rounding to BF16 allow; torch rounds
    twice if there are factors. Slots without an expert are zeros."""
    slots = ids.numel()
    x = x.repeat_interleave(slots // x.shape[0], dim=0).double()
    for expert in range(-1, weight.shape[0]):
        mine = torch.where(ids.reshape(-1) == expert)[0]
        if expert < 0:
            assert not found[mine].any()
            continue
        of_expert = weight[expert].double()
        exact, size = x[mine] @ of_expert.T, x[mine].abs() @ of_expert.abs().T
        if scales is not None:
            factors = scales.reshape(-1, 1)[mine].double()
            exact, size = exact * factors, size * factors
        allowed = exact.abs() / (256 if scales is None else 127) + size * 1e-6
        assert bool(((found[mine].double() - exact).abs() <= allowed).all()), expert


@pytest.mark.parametrize("make", [matrix, spread])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_products_are_near_the_exact_ones(make: Any, shape: tuple[int, int, int]) -> None:
    experts, rows, columns = shape
    weight, packed = stack(shape, make)
    for tokens in TOKENS:
        top_k = min(2, experts - 1)
        ids = chosen(tokens, top_k, experts).cuda()
        ids[::5, 0] = -1
        x = inputs(tokens, columns)
        require_near(product(x, packed, ids, (experts, rows, top_k)), x, weight, ids)
        scales = torch.rand(tokens, top_k, device="cuda")
        x = inputs(tokens * top_k, columns)
        found = product(x, packed, ids, (experts, rows, 1), scales)
        require_near(found, x, weight, ids, scales)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_many_tokens_are_multiplied_by_torch(shape: tuple[int, int, int]) -> None:
    experts, rows, columns = shape
    weight, packed = stack(shape)
    tokens = experts * MOST_SLOTS
    for top_k in (1, 2):
        # The last number of slots for the kernel, and more than that.
        ids = (chosen(tokens, 2, max(experts, 3))[:, :top_k] % experts).cuda()
        ids[3::50, 0] = -1
        x = inputs(tokens, columns)
        found = product(x, packed, ids, (experts, rows, top_k))
        require_near(found, x, weight, ids)
        scales = torch.rand(tokens, top_k, device="cuda")
        found = product(x, packed, ids, (experts, rows, top_k), scales)
        require_near(found, x, weight, ids, scales)
    order = ids.reshape(-1).masked_fill(ids.reshape(-1) < 0, experts).argsort(stable=True)
    ends = torch.bincount(ids[ids >= 0], minlength=experts).cumsum(0).int()
    there = int(ends[-1])
    sorted_x = x[order // 2]
    expected = torch._grouped_mm(sorted_x, weight.transpose(1, 2), offs=ends)
    found = product(x, packed, ids, (experts, rows, 2))
    assert same(found[order][:there], expected[:there])


def test_experts_are_restored_exactly() -> None:
    for make in (matrix, spread):
        weight, packed = stack((4, 40, 192), make)
        indices = torch.tensor([3, 0, 3], device="cuda")
        found = torch.ops.unweight.restore_experts(*packed, indices, 4, 40)
        assert same(found, weight[indices])
        assert same(torch.ops.unweight.restore(*packed, 160), weight.view(160, 192))


def test_results_are_the_same_from_run_to_run() -> None:
    shape = SHAPES[0]
    _, packed = stack(shape)
    x, ids = inputs(33, shape[2]), chosen(33, 2, shape[0]).cuda()
    first = product(x, packed, ids, (*shape[:2], 2))
    for _ in range(5):
        assert same(product(x, packed, ids, (*shape[:2], 2)), first)


def test_no_tokens_and_strided_tensors_are_taken() -> None:
    experts, rows, columns = shape = SHAPES[1]
    weight, packed = stack(shape)
    ids = chosen(9, 2, experts).cuda()
    assert product(inputs(0, columns), packed, ids[:0], (experts, rows, 2)).shape == (0, rows)
    wide = inputs(9, 2 * columns)
    for x in (wide[:, ::2], wide.reshape(-1)[1:][: 9 * columns].view(9, columns)):
        found = product(x, packed, ids, (experts, rows, 2))
        assert same(found, product(x.clone(), packed, ids, (experts, rows, 2)))
    both = torch.stack([ids, ids + 1], dim=2).to(torch.int32)[..., 0]
    x = inputs(9, columns)
    assert same(
        product(x, packed, both, (experts, rows, 2)), product(x, packed, ids, (experts, rows, 2))
    )
    routing = torch.ops.unweight.route(ids, experts)
    with pytest.raises(unweight.WrongArgument):
        torch.ops.unweight.grouped_linear(x, *packed, routing[1:], experts, rows, 2)
    with pytest.raises(unweight.NoDevice):
        torch.ops.unweight.grouped_linear(x.cpu(), *packed, routing, experts, rows, 2)


def layer(shape: tuple[int, int, int]) -> Any:
    """The experts of a layer: a routing, two products, an activation, and the sum."""
    experts, rows, columns = shape
    _, first = stack((experts, 2 * rows, columns))
    _, second = stack((experts, columns, rows))

    def run(x: Any, ids: Any, scales: Any) -> Any:
        grouped_linear = torch.ops.unweight.grouped_linear
        routing = torch.ops.unweight.route(ids, experts, scales)
        h = grouped_linear(x, *first, routing, experts, 2 * rows, 2)
        gate, up = h.chunk(2, dim=-1)
        h = torch.nn.functional.silu(gate) * up
        y = grouped_linear(h, *second, routing, experts, columns, 1, True)
        return y.view(-1, 2, columns).sum(1)

    return run


@pytest.mark.parametrize("is_warm", [True, False])
@pytest.mark.parametrize("tokens", [1, 12, 8 * MOST_SLOTS])
def test_a_graph_follows_the_experts_on_the_device(tokens: int, is_warm: bool) -> None:
    experts = 8
    run = layer((experts, 64, 256))
    with torch.no_grad():
        x, scales = inputs(tokens, 256), torch.rand(tokens, 2, device="cuda")
        ids = chosen(tokens, 2, experts).cuda()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            if is_warm:
                run(x, ids, scales)
            stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            # Without a call before, the operator makes its workspace during the capture.
            with torch.cuda.graph(graph, stream=stream):
                y = run(x, ids, scales)
        for step in range(5):
            ids.copy_((chosen(tokens, 2, experts).cuda() * 3 + step) % (experts + 1) - 1)
            x.copy_(inputs(tokens, 256, seed=step))
            scales.copy_(torch.rand(tokens, 2))
            expected = run(x, ids, scales)
            graph.replay()
            torch.cuda.synchronize()
            assert same(y, expected), step


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_a_compiled_layer_gives_the_same(mode: str) -> None:
    run = layer((8, 64, 256))
    compiled = torch.compile(run, fullgraph=True, mode=mode)
    with torch.no_grad():
        for step in range(4):
            x, scales = inputs(6, 256, seed=step), torch.rand(6, 2, device="cuda")
            ids = (chosen(6, 2, 8).cuda() + step) % 8
            # The activation's steps may be rounded less often in one kernel.
            found, expected = compiled(x, ids, scales).float(), run(x, ids, scales).float()
            torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-2)


def test_streams_have_workspaces_of_their_own() -> None:
    experts, rows, columns = shape = SHAPES[0]
    _, packed = stack(shape)
    x, ids = inputs(60, columns), chosen(60, 2, experts).cuda()
    expected = product(x, packed, ids, (experts, rows, 2))
    streams = [torch.cuda.Stream() for _ in range(4)]
    torch.cuda.synchronize()
    results = []
    for _ in range(20):
        for stream in streams:
            with torch.cuda.stream(stream):
                results.append(product(x, packed, ids, (experts, rows, 2)))
    torch.cuda.synchronize()
    assert all(same(result, expected) for result in results)


def test_operators_are_as_torch_expects() -> None:
    experts, rows, columns = shape = SHAPES[1]
    _, packed = stack(shape)
    x, ids = inputs(6, columns), chosen(6, 2, experts).cuda()
    for scales in (None, torch.rand(12, device="cuda")):
        routing = torch.ops.unweight.route(ids, experts, scales)
        # Parts of a routing have no values, and the last check compares values.
        torch.library.opcheck(
            torch.ops.unweight.route.default,
            (ids, experts, scales),
            test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
        )
        arguments = (x, *packed, routing, experts, rows, 2, scales is not None)
        torch.library.opcheck(torch.ops.unweight.grouped_linear.default, arguments)


def test_any_values_of_a_routing_give_something() -> None:
    """A wrong routing gives wrong products, but no error of the device."""
    experts, rows, columns = shape = SHAPES[1]
    _, packed = stack(shape)
    x, ids = inputs(6, columns), chosen(6, 2, experts).cuda()
    good = torch.ops.unweight.route(ids, experts)
    expected = torch.ops.unweight.grouped_linear(x, *packed, good, experts, rows, 2)
    for bad in (good * 0, good * 0 - 1, good * 7, good.flip(0), good * 0 + (1 << 30)):
        torch.ops.unweight.grouped_linear(x, *packed, bad, experts, rows, 2)
    torch.cuda.synchronize()
    assert same(torch.ops.unweight.grouped_linear(x, *packed, good, experts, rows, 2), expected)
