"""The pass of the vLLM plugin: which products take in norms and gates, and that results stay."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("vllm", reason="vLLM is not installed")

import vllm.ir.ops  # noqa: E402
from test_fused import EPSILON, inputs, weights  # noqa: E402

from unweight import _packed  # noqa: E402
from unweight.vllm import _fusion  # noqa: E402

HIDDEN, INNER = 128, 192


class Layer:
    """The matrices of a layer."""

    def __init__(self) -> None:
        self.qkv = pack(256, HIDDEN)
        self.o = pack(HIDDEN, 256)
        self.gate_up = pack(2 * INNER, HIDDEN)
        self.down = pack(HIDDEN, INNER)
        self.norms = [inputs(HIDDEN, seed=seed) for seed in (5, 6)]


def pack(rows: int, columns: int) -> tuple[Any, ...]:
    return (*_packed.pack(weights(rows, columns)), rows)


def product(x: Any, packed: tuple[Any, ...], bias: Any = None) -> Any:
    return torch.ops.unweight.linear(x, *packed, bias)


def add_norm(x: Any, residual: Any, weight: Any) -> Any:
    return torch.ops.vllm_ir.fused_add_rms_norm(x, residual, weight, EPSILON)


def silu_mul(y: Any) -> Any:
    half = y.shape[-1] // 2
    return torch.nn.functional.silu(y[..., :half]) * y[..., half:]


def block(x: Any, residual: Any, layers: list[Layer]) -> tuple[Any, Any]:
    """Products, norms and gates in the order of a model without attention."""
    for layer in layers:
        x, residual = add_norm(product(x, layer.o), residual, layer.norms[0])
        x = product(silu_mul(product(x, layer.gate_up)), layer.down)
        x, residual = add_norm(x, residual, layer.norms[1])
        x = torch.tanh(product(x, layer.qkv))
    return x, residual


def compiled(function: Any, *arguments: Any, fuse: bool = True) -> tuple[Any, Any]:
    """The results of a function that was compiled with the pass, and the pass."""
    torch._dynamo.reset()
    fusion = _fusion.FusionPass()
    options = {"post_grad_custom_post_pass": fusion} if fuse else {}
    options |= {"fx_graph_cache": False}
    run = torch.compile(function, fullgraph=True, options=options)
    return run(*arguments), fusion


def near(found: Any, expected: Any) -> bool:
    """torch.compile rounds a gate less often than operators do."""
    pairs = zip(found, expected, strict=True)
    return all((one - other).abs().max() <= 0.03 * other.abs().max() for one, other in pairs)


def same(found: Any, expected: Any) -> bool:
    return all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("batch", [1, 20])
def test_norms_and_gates_of_layers_are_fused(batch: int) -> None:
    layers = [Layer(), Layer()]
    arguments = inputs(batch, 256), inputs(batch, HIDDEN, seed=1), layers
    expected, _ = compiled(block, *arguments, fuse=False)
    found, fusion = compiled(block, *arguments)
    assert (fusion.norms, fusion.gates) == (4, 2)
    assert near(found, expected)


def test_what_others_read_is_not_fused() -> None:
    layer = Layer()
    x, residual = inputs(3, 256), inputs(3, HIDDEN, seed=1)
    bias = inputs(2 * INNER, seed=2)

    def read_twice(x: Any, residual: Any) -> Any:
        y = product(x, layer.o)
        normed, total = add_norm(y, residual, layer.norms[0])
        both = product(normed, layer.gate_up)
        return normed.sum(), total, silu_mul(both), both

    def reads_the_product(x: Any, residual: Any) -> Any:
        y = product(x, layer.o)
        normed, total = add_norm(y, residual, layer.norms[0])
        return y, total, silu_mul(product(normed, layer.gate_up, bias))

    def swapped(x: Any, residual: Any) -> Any:
        y = product(product(x, layer.o), layer.gate_up)
        return y[..., :INNER] * torch.nn.functional.silu(y[..., INNER:]), residual

    def factors_of_fp32(x: Any, residual: Any) -> Any:
        normed, total = add_norm(product(x, layer.o), residual, layer.norms[0].float() + 1)
        return product(normed, layer.gate_up), total

    for function in (read_twice, reads_the_product, swapped, factors_of_fp32):
        expected, _ = compiled(function, x, residual, fuse=False)
        found, fusion = compiled(function, x, residual)
        assert (fusion.norms, fusion.gates) == (0, 0), function.__name__
        assert same(found, expected), function.__name__


def test_the_pass_is_enabled_once_and_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def options(**given: Any) -> Any:
        return SimpleNamespace(inductor_compile_config=given, compile_ranges_endpoints=[2048])

    found = options()
    _fusion.enable(found, False)
    fusion = found.inductor_compile_config["post_grad_custom_post_pass"]
    assert found.compile_ranges_endpoints == [_fusion.MOST_NORM_ROWS, 2048]
    _fusion.enable(found, False)
    assert found.inductor_compile_config["post_grad_custom_post_pass"] is fusion
    assert fusion.uuid() == _fusion.FusionPass().uuid()

    ranks = options()
    _fusion.enable(ranks, True)
    assert ranks.compile_ranges_endpoints == [2048]

    given = options(post_grad_custom_post_pass="the user's")
    _fusion.enable(given, False)
    assert given.inductor_compile_config["post_grad_custom_post_pass"] == "the user's"

    monkeypatch.setenv(_fusion.VARIABLE, "0")
    off = options()
    _fusion.enable(off, False)
    assert off.inductor_compile_config == {} and off.compile_ranges_endpoints == [2048]
