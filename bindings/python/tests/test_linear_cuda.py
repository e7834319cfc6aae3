"""Packed matrices on a CUDA device: the tensors of the CPU, exact restoration, products, graphs."""

from __future__ import annotations

from typing import Any

import pytest
from test_linear import SHAPES, matrix, same, spread, torch

if not torch.cuda.is_available():
    pytest.skip("there is no CUDA device", allow_module_level=True)

import unweight.torch  # noqa: E402
from unweight import WrongArgument, _packed  # noqa: E402
from unweight._packed import NoPackedForm, Packed  # noqa: E402

Linear = unweight.torch.Linear
BATCHES = [1, 7, 16, 17, 33, 64, 65, 200, 1000]


def inputs(*shape: int, seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).bfloat16().cuda()


def require_near(found: Any, x: Any, weight: Any, bias: Any = None) -> None:
    """Sums are as near to the exact ones as FP32 sums and one rounding to BF16 allow."""
    x, weight = x.double(), weight.double()
    exact, size = x @ weight.T, x.abs() @ weight.abs().T
    if bias is not None:
        exact, size = exact + bias.double(), size + bias.double().abs()
    allowed = exact.abs() / 256 + size * 1e-6
    assert bool(((found.double() - exact).abs() <= allowed).all())


@pytest.mark.parametrize("make", [matrix, spread])
def test_the_device_packs_as_the_cpu_does(make: Any) -> None:
    for shape in [*SHAPES, (4096, 1024)]:
        weight = make(*shape)
        expected, found = _packed.pack(weight), _packed.pack(weight.cuda())
        for name, one, other in zip(Packed._fields, expected, found, strict=True):
            assert other.is_cuda and torch.equal(one, other.cpu()), (shape, name)
        assert same(_packed.restore(found, shape[0]).cpu(), weight), shape
        _packed.check_values(found, shape[0])


def test_matrices_without_a_packed_form_are_refused() -> None:
    for weight in (torch.zeros(16, 100), torch.zeros(0, 64)):
        with pytest.raises(NoPackedForm):
            _packed.pack(weight.bfloat16().cuda())
    bits = torch.arange(64 * 64, dtype=torch.int32).reshape(64, 64) * 16 % 32768
    with pytest.raises(NoPackedForm, match="palette lacks"):
        _packed.pack(bits.to(torch.int16).view(torch.bfloat16).cuda())


@pytest.mark.parametrize("make", [matrix, spread])
@pytest.mark.parametrize("shape", [(24, 192), (1000, 256), (1024, 4096)])
def test_products_are_near_the_exact_ones(make: Any, shape: tuple[int, int]) -> None:
    rows, columns = shape
    weight = make(rows, columns).cuda().nan_to_num(0, 1, -1).clamp(-4, 4)
    packed = _packed.pack(weight)
    bias = inputs(rows, seed=1)
    for batch in BATCHES:
        x = inputs(batch, columns)
        for given in (None, bias):
            found = torch.ops.unweight.linear(x, *packed, rows, given)
            require_near(found, x, weight, given)


def test_torch_multiplies_where_no_kernel_does() -> None:
    # Kernels for many rows of input take 8 rows of the weight at a time.
    weight = matrix(17, 192).cuda()
    packed, x, bias = _packed.pack(weight), inputs(200, 192), inputs(17)
    found = torch.ops.unweight.linear(x, *packed, 17, bias)
    assert same(found, torch.nn.functional.linear(x, weight, bias))
    require_near(torch.ops.unweight.linear(x[:16], *packed, 17, bias), x[:16], weight, bias)


def test_any_input_shape_is_taken() -> None:
    weight = matrix(128, 256).cuda()
    packed, linear = _packed.pack(weight), Linear.from_weight(weight)
    for shape in [(256,), (0, 256), (2, 3, 256), (2, 0, 256)]:
        found = linear(inputs(*shape))
        assert found.shape == (*shape[:-1], 128)
    strided = inputs(8, 512)[:, ::2]
    assert same(linear(strided), linear(strided.contiguous()))
    shifted = inputs(8 * 256 + 1)[1:].reshape(8, 256)
    assert same(linear(shifted), linear(shifted.clone()))
    for wrong in (inputs(4, 128), inputs(4, 256).float()):
        with pytest.raises(WrongArgument):
            torch.ops.unweight.linear(wrong, *packed, 128, None)


def test_exact_modules_have_torch_s_bits() -> None:
    plain = torch.nn.Linear(512, 384, dtype=torch.bfloat16, device="cuda")
    exact = Linear.from_linear(plain, exact=True)
    for batch in BATCHES:
        x = inputs(batch, 512)
        assert same(exact(x), plain(x)), batch
    assert same(exact.weight, plain.weight)


def test_tensors_on_two_devices_are_refused() -> None:
    linear = Linear.from_weight(matrix(64, 64).cuda())
    with pytest.raises(unweight.NoDevice):
        linear(inputs(2, 64).cpu())
    with pytest.raises(unweight.NoDevice):
        Linear.from_weight(matrix(64, 64))(inputs(2, 64))


def test_modules_move_and_come_back_from_their_state() -> None:
    linear = Linear.from_weight(spread(100, 128))
    x = inputs(3, 128)
    moved = linear.to("cuda")(x)
    other = Linear.empty(128, 100, device="cuda")
    other.load_state_dict(linear.state_dict())
    assert same(other(x), moved)


def test_inputs_and_biases_have_gradients() -> None:
    plain = torch.nn.Linear(256, 128, dtype=torch.bfloat16, device="cuda")
    packed = Linear.from_linear(plain)
    packed.bias = torch.nn.Parameter(plain.bias.detach().clone())
    gradients = []
    for module in (plain, packed):
        x = inputs(5, 256).requires_grad_()
        module(x).float().sum().backward()
        gradients.append((x.grad, module.bias.grad))
    assert all(same(one, other) for one, other in zip(*gradients, strict=True))


def test_operators_are_as_torch_expects() -> None:
    packed = _packed.pack(matrix(64, 128).cuda())
    x, bias = inputs(4, 128), inputs(64)
    torch.library.opcheck(torch.ops.unweight.restore.default, (*packed, 64))
    for given in (None, bias):
        torch.library.opcheck(torch.ops.unweight.linear.default, (x, *packed, 64, given))


def layers() -> tuple[Any, Any]:
    """Two layers of which the second takes what the first gives, and an input."""
    sizes = [(512, 256), (256, 512)]
    modules = [Linear.from_weight(matrix(*size).cuda() * 0.1) for size in sizes]
    return torch.nn.Sequential(*modules), inputs(4, 256)


@pytest.mark.parametrize("is_warm", [True, False])
def test_graphs_capture_products(is_warm: bool) -> None:
    model, x = layers()
    with torch.no_grad():
        expected = [model(x), model(2 * x)]
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            if is_warm:
                model(x)
            stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            given = x.clone()
            # Without a call before, the operator makes its workspace during the capture.
            with torch.cuda.graph(graph, stream=stream):
                y = model(given)
        for factor, result in zip((1, 2), expected, strict=True):
            given.copy_(factor * x)
            for _ in range(3):
                graph.replay()
            assert same(y, result)


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_compiled_modules_give_the_same(mode: str) -> None:
    model, x = layers()
    with torch.no_grad():
        expected = model(x)
        compiled = torch.compile(model, fullgraph=True, mode=mode)
        for _ in range(4):
            assert same(compiled(x), expected)


def test_streams_have_workspaces_of_their_own() -> None:
    model, x = layers()
    many = x.repeat(50, 1)
    with torch.no_grad():
        expected = model(many)
        streams = [torch.cuda.Stream() for _ in range(4)]
        torch.cuda.synchronize()
        results = []
        for _ in range(20):
            for stream in streams:
                with torch.cuda.stream(stream):
                    results.append(model(many))
        torch.cuda.synchronize()
    assert all(same(result, expected) for result in results)


def test_any_values_give_something() -> None:
    """Wrong patches and palettes give wrong weights, but no error of the device."""
    weight = matrix(256, 1024).cuda()
    good = _packed.pack(weight)
    number = torch.arange(500, dtype=torch.int32, device="cuda")
    for patches in (number * 2654435, number * 0 + (3 << 18 | 5), number * 0 - 1):
        for ends in (good.patch_ends * 0 + 500, good.patch_ends * 0 - 1, good.patch_ends % 7):
            for palette in (good.palette * 0 + 255, torch.zeros_like(number[:16]).byte()):
                bad = Packed(good.k_tiles, patches, ends, palette)
                _packed.restore(bad, 256)
                for batch in BATCHES:
                    torch.ops.unweight.linear(inputs(batch, 1024), *bad, 256, None)
                with pytest.raises(WrongArgument):
                    _packed.check_values(bad, 256)
    torch.cuda.synchronize()
    assert same(_packed.restore(good, 256), weight)
