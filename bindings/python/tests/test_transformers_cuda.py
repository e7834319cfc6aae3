"""Packed models of transformers on a CUDA device. All models are tiny and random."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest

import unweight

torch = pytest.importorskip("torch", reason="torch is not installed")
if not torch.cuda.is_available():
    pytest.skip("there is no CUDA device", allow_module_level=True)
transformers = pytest.importorskip(
    "transformers", minversion="5.0", reason="transformers 5 is not installed"
)
pytest.importorskip("accelerate", reason="accelerate, which device_map needs, is not installed")

from tiny_models import IDS, bits, logits, save, tokens  # noqa: E402

import unweight.torch  # noqa: E402
import unweight.transformers  # noqa: E402
from unweight.transformers import UnweightConfig, packing  # noqa: E402
from unweight.transformers._experts import Stack  # noqa: E402


def load(folder: Path, **options: Any) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, device_map="cuda", **options)


@pytest.fixture(scope="module", params=["llama", "qwen3", "mixtral"])
def folder(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save("llama", tmp_path_factory.mktemp("llama"))


def on_the_device(model: Any) -> bool:
    tensors = [*model.parameters(), *model.buffers()]
    return all(tensor.device.type == "cuda" for tensor in tensors)


def test_exact_results_are_those_of_bf16(folder: Path, tmp_path: Path) -> None:
    plain = load(folder)
    config = UnweightConfig(exact=True)
    unweight.compress(folder, tmp_path / "unw")
    found, info = load(folder, quantization_config=config, output_loading_info=True)
    assert not any(info.values())
    unw = unweight.transformers.from_pretrained(
        tmp_path / "unw", device_map="cuda", quantization_config=config
    )
    for model in (found, unw):
        assert on_the_device(model) and packing(model).matrices
        assert all(module.exact for module in model.modules() if hasattr(module, "exact"))
        assert torch.equal(logits(model), logits(plain))
        assert tokens(model) == tokens(plain)


def test_fast_results_differ_in_rounding_alone(llama: Path) -> None:
    # Not with experts: rounding may choose another one.
    plain = load(llama)
    found = load(llama, quantization_config=UnweightConfig())
    with torch.no_grad():
        one, other = (model(IDS.cuda()).logits.float() for model in (found, plain))
    assert (one - other).abs().max() <= 0.02 * other.abs().max()
    assert type(found.model.layers[0].self_attn.q_proj) is unweight.torch.Linear


def test_saved_models_load_to_the_device(folder: Path, tmp_path: Path) -> None:
    found = load(folder, quantization_config=UnweightConfig(exact=True))
    found.save_pretrained(tmp_path / "packed")
    again, info = load(tmp_path / "packed", output_loading_info=True)
    assert not any(info.values())
    assert on_the_device(again) and packing(again) == packing(found)
    assert torch.equal(logits(again), logits(found))
    # Packed on either device, the tensors are the same.
    on_the_cpu = transformers.AutoModelForCausalLM.from_pretrained(
        folder, quantization_config=UnweightConfig()
    )
    there = found.state_dict()
    assert all(torch.equal(there[name].cpu(), value) for name, value in on_the_cpu.state_dict().items())


def test_a_damaged_packed_model_is_an_error(llama: Path, tmp_path: Path) -> None:
    found = load(llama, quantization_config=UnweightConfig())
    found.model.layers[0].mlp.up_proj.patch_ends.fill_(-1)
    found.save_pretrained(tmp_path)
    with pytest.raises(unweight.WrongArgument, match="layers.0.mlp.up_proj"):
        load(tmp_path)


def test_dequantize_makes_the_plain_model(folder: Path) -> None:
    found = load(folder, quantization_config=UnweightConfig()).dequantize()
    assert on_the_device(found) and not packing(found).matrices
    assert torch.equal(logits(found), logits(load(folder)))


def test_the_device_holds_the_packed_model_and_few_weights_more(tmp_path: Path) -> None:
    folder = save("llama", tmp_path, hidden_size=1024, intermediate_size=4096, num_hidden_layers=4)
    sizes = []
    for config in (UnweightConfig(), None):
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        model = load(folder, quantization_config=config)
        held = torch.cuda.memory_allocated() - before
        sizes.append((held, torch.cuda.max_memory_allocated() - before))
        largest = 2 * 1024 * 4096
        del model
    (packed, peak), (plain, _) = sizes
    assert packed < 0.78 * plain
    # What is beside the packed model: a plain weight, and what packing needs.
    assert peak - packed < 2.5 * largest


@pytest.fixture(scope="module")
def compiled_tokens(llama: Path) -> list[int]:
    """Those of BF16. transformers compiles the steps of a static cache, and captures CUDA graphs."""
    return tokens(load(llama), 12, cache_implementation="static")


@pytest.mark.parametrize("exact", [False, True])
def test_compiled_steps_with_a_static_cache(
    llama: Path, exact: bool, compiled_tokens: list[int]
) -> None:
    found = load(llama, quantization_config=UnweightConfig(exact=exact))
    made, again = (tokens(found, 12, cache_implementation="static") for _ in range(2))
    assert made == again and len(made) == len(compiled_tokens)
    assert made == compiled_tokens or not exact


def test_a_stack_is_indexed_as_the_tensor() -> None:
    generator = torch.Generator().manual_seed(0)
    plain = (torch.randn(4, 40, 64, generator=generator) * 0.02).bfloat16().cuda()
    plain[1, 3:9] = 2.0**40
    stack = Stack.from_weight(plain)
    assert torch.equal(bits(stack.restored()), bits(plain))
    several = torch.tensor([3, 1, 3], device="cuda")
    for index in (0, several[1], several, slice(1, 3)):
        assert torch.equal(bits(stack[index]), bits(plain[index])), index
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    with torch.cuda.stream(stream):
        stack.restored()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph, stream=stream):
        found = stack[several]
    several.copy_(torch.tensor([1, 0, 2]))
    graph.replay()
    assert torch.equal(bits(found), bits(plain[[1, 0, 2]]))
