"""The product of vLLM's experts by packed weights, which its CPU build has no use for."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("vllm", reason="vLLM is not installed")

from vllm.model_executor.layers.fused_moe.activation import MoEActivation  # noqa: E402
from vllm.platforms import current_platform  # noqa: E402

from unweight.vllm._experts import PackedExpertsMethod  # noqa: E402

current_platform.import_kernels()
EXPERTS, HIDDEN, SIZE, TOKENS, TOP_K = 6, 128, 64, 9, 2


def layer(first: Any, second: Any) -> Any:
    """A layer of vLLM, as far as its method uses it."""
    found = torch.nn.Module()
    found.w13_weight = torch.nn.Parameter(first.clone(), requires_grad=False)
    found.w2_weight = torch.nn.Parameter(second.clone(), requires_grad=False)
    found.expert_map = None
    found.activation = MoEActivation.SILU
    found.apply_router_weight_on_input = False
    return found


def method(of: Any) -> PackedExpertsMethod:
    """The method of a layer after loading, as on a CUDA device. Its class needs an engine."""
    found = PackedExpertsMethod.__new__(PackedExpertsMethod)
    torch.nn.Module.__init__(found)
    found.prefix, found.exact = "experts", False
    found._is_loaded, found._shapes, found.moe_kernel = False, {}, None
    found.unquantized_backend = None
    for _ in range(2):
        found.process_weights_after_loading(of)
    return found


def weights() -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((EXPERTS, 2 * SIZE, HIDDEN), (EXPERTS, HIDDEN, SIZE))
    first, second = (torch.randn(shape, generator=generator).mul(0.1) for shape in shapes)
    return first.bfloat16(), second.bfloat16()


def tokens(top_k: int = TOP_K) -> tuple[Any, Any, Any]:
    """The input, factors, and experts."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(TOKENS, HIDDEN, generator=generator).bfloat16()
    scores = torch.rand(TOKENS, EXPERTS, generator=generator)
    factors, ids = scores.topk(top_k)
    return x, factors, ids.to(torch.int32)


def expected(first: Any, second: Any, x: Any, factors: Any, ids: Any) -> Any:
    """The sum over the experts of each token, in FP32."""
    found = torch.zeros(TOKENS, HIDDEN)
    for token in range(TOKENS):
        for factor, expert in zip(factors[token], ids[token].tolist(), strict=True):
            gate, up = (first[expert].float() @ x[token].float()).chunk(2)
            h = torch.nn.functional.silu(gate) * up
            found[token] += factor * (second[expert].float() @ h)
    return found


def require_near(found: Any, exact: Any) -> None:
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), exact, rtol=0.02, atol=0.02)
    assert exact.abs().max() > 0.5


def test_packed_experts_make_the_sum_of_plain_ones() -> None:
    made = layer(*weights())
    kept = made.w13_weight
    by = method(made)
    assert not by.is_monolithic and not by.supports_eplb and not by.supports_internal_mk
    assert by.maybe_make_prepare_finalize() is None
    names = {name for name, _ in made.named_parameters()}
    fields = ("k_tiles", "patches", "patch_ends", "palette")
    assert names == {f"{name}_{field}" for name in ("w13", "w2") for field in fields}
    assert kept.numel() == 0
    x, factors, ids = tokens()
    found = by.apply(made, x, factors, ids, None, None)
    require_near(found, expected(*weights(), x, factors, ids))


def test_ranks_with_some_of_the_experts_add_up() -> None:
    first, second = weights()
    x, factors, ids = tokens()
    total = torch.zeros(TOKENS, HIDDEN)
    for mine in (range(0, 2), range(2, EXPERTS)):
        made = layer(first[mine.start : mine.stop], second[mine.start : mine.stop])
        made.expert_map = torch.full((EXPERTS,), -1, dtype=torch.int32)
        made.expert_map[mine.start : mine.stop] = torch.arange(len(mine), dtype=torch.int32)
        by = method(made)
        total += by.apply(made, x, factors, ids, None, None)
        # Tokens without any expert.
        assert not by.apply(made, x, factors, torch.full_like(ids, -1), None, None).any()
    require_near(total.bfloat16(), expected(first, second, x, factors, ids))


def test_factors_may_be_those_of_the_input() -> None:
    made = layer(*weights())
    made.apply_router_weight_on_input = True
    x, factors, ids = tokens(top_k=1)
    found = method(made).apply(made, x, factors, ids, None, None)
    scaled = x * factors.bfloat16()
    require_near(found, expected(*weights(), scaled, torch.ones_like(factors), ids))


def test_weights_of_one_layer_are_packed_together_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = weights()
    bits = torch.randint(-(1 << 15), 1 << 15, second.shape, dtype=torch.int16) & -0x4001
    made = layer(first, bits.view(torch.bfloat16))
    processed = []
    plain = PackedExpertsMethod.__bases__[0]
    monkeypatch.setattr(
        plain, "process_weights_after_loading", lambda self, layer: processed.append(layer)
    )
    by = method(made)
    # Once, by vLLM's own method.
    assert processed == [made] and not by._shapes
    assert {name for name, _ in made.named_parameters()} == {"w13_weight", "w2_weight"}
    assert torch.equal(made.w13_weight, first)
