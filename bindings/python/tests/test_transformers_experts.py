"""Experts of transformers that stay packed, with each of its implementations."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

import unweight

torch = pytest.importorskip("torch", reason="torch is not installed")
transformers = pytest.importorskip(
    "transformers", minversion="5.0", reason="transformers 5 is not installed"
)

from tiny_models import IDS, bits, logits, same_model, save, tokens  # noqa: E402

import unweight.transformers  # noqa: E402
from unweight import _packed  # noqa: E402
from unweight.transformers import UnweightConfig, packing  # noqa: E402
from unweight.transformers._experts import Stack  # noqa: E402

load = transformers.AutoModelForCausalLM.from_pretrained
NAMES = ["mixtral", "qwen3_moe", "gpt_oss"]


@pytest.fixture(scope="module", params=NAMES)
def folder(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(request.param, tmp_path_factory.mktemp(request.param))


def experts(model: Any, layer: int = 0) -> Any:
    return model.model.layers[layer].mlp.experts


@pytest.mark.parametrize("implementation", ["eager", "batched_mm", "grouped_mm"])
def test_experts_of_each_implementation_stay_packed(folder: Path, implementation: str) -> None:
    plain = load(folder, experts_implementation=implementation)
    found, info = load(
        folder,
        experts_implementation=implementation,
        quantization_config=UnweightConfig(),
        output_loading_info=True,
    )
    assert not any(info.values())
    assert isinstance(experts(found).gate_up_proj, Stack)
    assert isinstance(experts(found).down_proj, Stack)
    # The default is replaced where packed matrices can be multiplied by.
    is_replaced = implementation == "grouped_mm" and not experts(found).is_transposed
    used = "unweight" if is_replaced else implementation
    assert found.config._experts_implementation == used
    assert type(experts(found)) is type(experts(plain))
    assert same_model(found, plain)


def test_exact_experts_are_restored(folder: Path) -> None:
    found = load(folder, quantization_config=UnweightConfig(exact=True))
    assert found.config._experts_implementation == "grouped_mm"
    assert same_model(found, load(folder))


@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe"])
def test_products_restore_no_more_than_the_experts_of_a_token(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = load(save(name, tmp_path), quantization_config=UnweightConfig())
    restored = []

    def watched(packed: Any, rows: int) -> Any:
        restored.append(rows)
        return restore(packed, rows)

    restore = _packed.restore
    monkeypatch.setattr(_packed, "restore", watched)
    layer = experts(found)
    x = torch.randn(1, 128).to(torch.bfloat16)
    ids, weights = torch.tensor([[2, 0]]), torch.tensor([[0.7, 0.3]], dtype=torch.bfloat16)
    with torch.no_grad():
        layer(x, ids, weights)
    assert restored == [512, 512, 128, 128]


def test_experts_have_gradients(tmp_path: Path) -> None:
    folder = save("mixtral", tmp_path, num_hidden_layers=1)
    gradients = []
    for options in ({}, {"quantization_config": UnweightConfig()}):
        model = load(folder, **options)
        x = torch.randn(8, 128, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
        x.requires_grad_()
        ids = torch.arange(8).unsqueeze(1) % 4
        weights = torch.ones(8, 1, dtype=torch.bfloat16)
        experts(model)(x, ids, weights).float().sum().backward()
        gradients.append(x.grad)
    assert torch.equal(*gradients) and gradients[0].any()


def test_experts_of_other_devices_are_left_out(tmp_path: Path) -> None:
    """Expert parallelism of transformers: numbers behind the last one, with a weight of zero."""
    folder = save("mixtral", tmp_path, num_hidden_layers=1)
    ids = torch.tensor([[0, 4], [4, 4], [3, 1]])
    weights = torch.where(ids < 4, 0.5, 0).to(torch.bfloat16)
    x = torch.randn(3, 128).to(torch.bfloat16)
    results = []
    for options in ({}, {"quantization_config": UnweightConfig()}):
        layer = experts(load(folder, **options))
        layer._is_expert_parallel = True
        with torch.no_grad():
            results.append(layer(x, ids, weights))
    assert torch.equal(*results) and results[0][0].any() and not results[0][1].any()


def test_packed_experts_are_saved_and_loaded(folder: Path, tmp_path: Path) -> None:
    found = load(folder, quantization_config=UnweightConfig(["model.layers.1.mlp.experts"]))
    kept = "model.layers.1.mlp.experts.down_proj"
    assert packing(found).plain[kept] == "in modules_to_not_convert"
    assert isinstance(experts(found, 1).down_proj, torch.nn.Parameter)
    found.save_pretrained(tmp_path / "packed", max_shard_size="400KB")
    again, info = load(tmp_path / "packed", output_loading_info=True)
    assert not any(info.values())
    assert packing(again) == packing(found)
    assert same_model(again, load(folder))
    again.save_pretrained(tmp_path / "twice")
    assert torch.equal(logits(load(tmp_path / "twice")), logits(found))


def test_dequantized_experts_are_saved_as_the_original(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    found = load(folder, quantization_config=UnweightConfig()).dequantize()
    assert not packing(found).matrices
    found.save_pretrained(tmp_path)
    (saved,) = tmp_path.glob("*.safetensors")
    expected: dict[str, Any] = {}
    for path in folder.glob("*.safetensors"):
        expected |= load_file(path)
    tensors = load_file(saved)
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(bits(tensors[name]), bits(expected[name])) for name in expected)


def test_experts_whose_rows_end_inside_a_row_panel_are_packed(tmp_path: Path) -> None:
    folder = save("mixtral", tmp_path, intermediate_size=100, num_hidden_layers=1)
    # torch's grouped product takes no 100 columns.
    for implementation in ("eager", "batched_mm"):
        found = load(
            folder, experts_implementation=implementation, quantization_config=UnweightConfig()
        )
        assert experts(found).gate_up_proj.shape == (4, 200, 128)
        reason = packing(found).plain["model.layers.0.mlp.experts.down_proj"]
        assert "multiples of 64" in reason
        plain = load(folder, experts_implementation=implementation)
        assert torch.equal(logits(found), logits(plain))


def weights() -> Any:
    """Four experts of 40 x 64 weights; every 50th weight has a rare exponent."""
    values = torch.arange(4 * 40 * 64)
    exponents = torch.where(values % 50 == 3, values % 251, 110 + values % 14)
    found = ((values * 40503 % 128) | exponents << 7).to(torch.int16).view(torch.bfloat16)
    return found.reshape(4, 40, 64)


def test_a_stack_is_indexed_as_the_tensor() -> None:
    plain = weights()
    stack = Stack.from_weight(plain)
    assert len(stack.patches) > 100
    assert torch.equal(bits(stack.restored()), bits(plain))
    tensor = torch.tensor
    for index in (2, 0, tensor(3), tensor([3, 0, 3]), tensor([[1], [2]]), slice(1, 3), (1, 2)):
        assert torch.equal(bits(stack[index]), bits(plain[index])), index
    assert torch.equal(stack[tensor([], dtype=torch.int64)], plain[:0])
    for index in (4, -5, tensor([0, 4])):
        with pytest.raises(IndexError, match="expected one of 0 to 3"):
            stack[index]
    assert (stack.shape, stack.dtype, stack.ndim) == (plain.shape, plain.dtype, 3)
    x = torch.randn(4, 8, 64).to(torch.bfloat16)
    assert torch.equal(torch.bmm(x, stack.transpose(1, 2)), torch.bmm(x, plain.transpose(1, 2)))
    assert torch.equal(torch.matmul(stack, x.transpose(1, 2)), plain @ x.transpose(1, 2))


def test_a_stack_is_copied_saved_and_loaded() -> None:
    stack = Stack.from_weight(weights())
    again = Stack.empty((4, 40, 64))
    again.load_state_dict(stack.state_dict())
    for other in (again, copy.deepcopy(stack), pickle.loads(pickle.dumps(stack))):
        assert torch.equal(bits(other[1]), bits(weights()[1]))
    assert repr(stack).startswith("Stack(shape=(4, 40, 64), bits_per_weight=1")
    with pytest.raises(unweight.WrongArgument):
        Stack.empty((4, 40, 64)).restored()


def test_the_operator_passes_the_checks_of_torch() -> None:
    stack = Stack.from_weight(weights())
    for indices in ([1, 3, 1], [2]):
        arguments = (*stack.packed, torch.tensor(indices), 4, 40)
        torch.library.opcheck(torch.ops.unweight.restore_experts, arguments)


@pytest.mark.parametrize("implementation", ["batched_mm", "grouped_mm"])
def test_experts_are_compiled_without_a_graph_break(implementation: str, tmp_path: Path) -> None:
    folder = save("mixtral", tmp_path, num_hidden_layers=1)
    options = {"experts_implementation": implementation}
    plain = load(folder, **options)
    found = load(folder, quantization_config=UnweightConfig(), **options)
    assert found.config._experts_implementation != "grouped_mm"
    # The backend takes whole graphs as others do, and compiles no C++.
    one, other = (
        logits(torch.compile(model, fullgraph=True, backend="aot_eager"))
        for model in (found, plain)
    )
    assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe"])
def test_compiled_generation_makes_the_same_tokens(name: str, tmp_path: Path) -> None:
    folder = save(name, tmp_path)
    compiling = transformers.CompileConfig(backend="aot_eager", fullgraph=True)
    compiling._compile_all_devices = True
    options = {"cache_implementation": "static", "compile_config": compiling}
    found = load(folder, quantization_config=UnweightConfig())
    made = tokens(found, **options)
    assert found.config._experts_implementation == "unweight"
    assert made == tokens(load(folder), **options)
    assert len(set(made[IDS.shape[1] :])) > 3
