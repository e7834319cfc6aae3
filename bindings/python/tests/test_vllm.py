"""The load format of vLLM, on its CPU build. Each run of vLLM is a process of its own.

Greedy tokens are compared with those of the same model without compression.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import unweight

pytest.importorskip("vllm", reason="vLLM is not installed")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import unweight.torch  # noqa: E402

PROGRAM = """
import json, sys
from vllm import LLM, SamplingParams

if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    llm = LLM(skip_tokenizer_init=True, dtype="bfloat16", max_model_len=128, max_num_seqs=2, seed=0,
              enforce_eager=True, **options)
    prompts = [{"prompt_token_ids": [1, 5, 17, 99, 400]}, {"prompt_token_ids": [1, 7, 3, 3, 12, 64]}]
    sampling = SamplingParams(temperature=0, max_tokens=16, ignore_eos=True, detokenize=False)
    made = [list(output.outputs[0].token_ids) for output in llm.generate(prompts, sampling)]
    print("TOKENS", json.dumps(made))
"""


def run(tmp_path: Path, ranks: int, **options: Any) -> subprocess.CompletedProcess[str]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    environment = os.environ | {
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
    }
    if ranks == 1:
        environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        options["distributed_executor_backend"] = "uni"
    else:
        environment["VLLM_CPU_OMP_THREADS_BIND"] = "|".join(map(str, range(ranks)))
        options["tensor_parallel_size"] = ranks
    command = [sys.executable, str(program), json.dumps(options)]
    return subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )


def tokens(tmp_path: Path, ranks: int, **options: Any) -> list[list[int]]:
    done = run(tmp_path, ranks, **options)
    assert done.returncode == 0, done.stderr[-4000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("TOKENS ")]
    made: list[list[int]] = json.loads(line.removeprefix("TOKENS "))
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of BF16 safetensors files of a tiny random Llama."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=512,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=256,
        initializer_range=0.1,
        dtype="bfloat16",
    )
    made = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
    path = tmp_path_factory.mktemp("llama")
    made.save_pretrained(path, max_shard_size="1MB")
    assert len(list(path.glob("*.safetensors"))) > 2
    return path


@pytest.fixture(scope="module")
def compressed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compressed") / "llama"
    unweight.compress(folder, path)
    return path


@pytest.mark.parametrize("ranks", [1, 2])
def test_tokens_are_those_of_the_plain_model(
    folder: Path, compressed: Path, tmp_path: Path, ranks: int
) -> None:
    expected = tokens(tmp_path, ranks, model=str(folder))
    assert len(set(expected[0])) > 3
    found = tokens(tmp_path, ranks, model=str(compressed), load_format="unweight")
    assert found == expected


def test_a_folder_without_all_weights_is_an_error(compressed: Path, tmp_path: Path) -> None:
    tensors: dict[str, Any] = {}
    for path in compressed.glob("*.unw"):
        tensors |= unweight.torch.load_file(path)
    del tensors["model.layers.1.mlp.down_proj.weight"]
    (tmp_path / "model").mkdir()
    config = (compressed / "config.json").read_bytes()
    (tmp_path / "model" / "config.json").write_bytes(config)
    unweight.torch.save_file(tensors, tmp_path / "model" / "model.unw", {"format": "pt"})
    done = run(tmp_path, 1, model=str(tmp_path / "model"), load_format="unweight")
    assert done.returncode != 0
    assert "lacks the weights of 1 of" in done.stderr + done.stdout
    assert "model.layers.1.mlp.down_proj.weight" in done.stderr + done.stdout
