"""The plugin of vLLM, on its CPU build. Each group of runs is a process of its own.

Greedy tokens are compared with those of the same model without the plugin, in the same mode.
"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import unweight

vllm = pytest.importorskip("vllm", reason="vLLM is not installed")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import unweight.torch  # noqa: E402
import unweight.vllm  # noqa: E402

PROGRAM = Path(__file__).with_name("vllm_program.py")
PACKED = {"quantization": "unweight"}
EXACT = {"quantization": "unweight_exact"}
FILE = {"load_format": "unweight"}
SHAPE = {
    "vocab_size": 512,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 256,
    "initializer_range": 0.1,
    "dtype": "bfloat16",
}


def start(
    tmp_path: Path, runs: list[dict[str, Any]], ranks: int = 1
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CACHE_ROOT": str(tmp_path / "cache"),
        # For the function that counts bytes.
        "VLLM_ALLOW_INSECURE_SERIALIZATION": "1",
    }
    if ranks == 1:
        environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        more: dict[str, Any] = {"distributed_executor_backend": "uni"}
    else:
        environment["VLLM_CPU_OMP_THREADS_BIND"] = "|".join(map(str, range(ranks)))
        more = {"tensor_parallel_size": ranks}
    command = [sys.executable, str(PROGRAM), json.dumps([options | more for options in runs])]
    return subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )


class Results:
    """The results of runs by model and options, and what vLLM printed."""

    def __init__(
        self, tmp_path: Path, models: dict[str, list[dict[str, Any]]], ranks: int = 1, **more: Any
    ) -> None:
        given = [
            (name, options) for name, of_model in models.items() for options in [{}, *of_model]
        ]
        runs = [{"model": name} | options | more for name, options in given]
        done = start(tmp_path, runs, ranks)
        self.printed = done.stdout + done.stderr
        assert done.returncode == 0, self.printed[-6000:]
        lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        found = [json.loads(line.removeprefix("RESULT ")) for line in lines]
        self.by_model: dict[str, list[dict[str, Any]]] = {}
        for (name, _), result in zip(given, found, strict=True):
            self.by_model.setdefault(Path(name).name, []).append(result)

    def require_same_tokens(self) -> None:
        for name, (plain, *others) in self.by_model.items():
            assert all(len(set(tokens)) > 3 for tokens in plain["tokens"]), name
            assert plain["ranks"][0]["packed"] == 0
            for other in others:
                assert other["tokens"] == plain["tokens"], name


def model(kind: str, **more: Any) -> Any:
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**SHAPE | more)
    return getattr(transformers, f"{kind}ForCausalLM")(config).to(torch.bfloat16)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Model folders with random weights, some of them compressed."""
    root = tmp_path_factory.mktemp("models")
    model("Llama", attention_bias=True).save_pretrained(root / "llama", max_shard_size="1MB")
    model("Qwen3", tie_word_embeddings=True).save_pretrained(root / "qwen3", max_shard_size="1MB")
    model("Mixtral", num_local_experts=4, num_experts_per_tok=2).save_pretrained(
        root / "mixtral", max_shard_size="1MB"
    )
    model(
        "Qwen3Moe", num_experts=8, num_experts_per_tok=2, moe_intermediate_size=128
    ).save_pretrained(root / "qwen3_moe", max_shard_size="1MB")
    assert len(list((root / "llama").glob("*.safetensors"))) > 2
    for name in ("llama", "qwen3", "mixtral"):
        unweight.compress(root / name, root / f"{name}.unw")
    return {path.name: str(path) for path in root.iterdir()}


def of_file(folders: dict[str, str], name: str) -> dict[str, Any]:
    return {"model": folders[f"{name}.unw"], **FILE}


def test_tokens_are_those_of_the_plain_model(folders: dict[str, str], tmp_path: Path) -> None:
    llama, qwen3 = of_file(folders, "llama"), of_file(folders, "qwen3")
    models = {
        folders["llama"]: [PACKED, EXACT, llama, llama | PACKED],
        folders["qwen3"]: [PACKED, EXACT, qwen3 | PACKED],
        folders["mixtral"]: [PACKED, EXACT, of_file(folders, "mixtral") | PACKED],
        folders["qwen3_moe"]: [PACKED],
    }
    results = Results(tmp_path, models, enforce_eager=True)
    results.require_same_tokens()

    plain, packed, exact, file, packed_file = results.by_model["llama"]
    whole = sum(plain_bytes(folders["llama"]).values())
    for result in (packed, exact, packed_file):
        (rank,) = result["ranks"]
        # All of it is packed, in 12 bits for each weight and a little more.
        assert rank["plain"] == {}
        assert 0.75 * whole < rank["packed"] < 0.755 * whole
        # One weight at a time was plain: the largest is gate_up_proj.
        assert result["most_plain"] == 2 * 1024 * 256
    assert file["ranks"] == plain["ranks"]

    # An embedding that is the head too is there once.
    (rank,) = results.by_model["qwen3"][1]["ranks"]
    assert rank["plain"] == {}
    assert rank["packed"] < 0.755 * sum(plain_bytes(folders["qwen3"]).values())

    # Mixtral does not offer its embedding.
    for name, left in (("mixtral", {"model.embed_tokens.weight"}), ("qwen3_moe", set())):
        sizes = plain_bytes(folders[name])
        for result in results.by_model[name][1:]:
            (rank,) = result["ranks"]
            assert set(rank["plain"]) == left
            assert rank["packed"] < 0.755 * sum(sizes.values())
            # The experts of one layer at a time were plain, beside routers.
            of_layer = sum(size for key, size in sizes.items() if "layers.0." in key and ".experts." in key)
            assert of_layer <= result["most_plain"] < 1.01 * of_layer


def plain_bytes(folder: str) -> dict[str, int]:
    """The bytes of the matrices of a model folder."""
    found = {}
    for path in Path(folder).glob("*.safetensors"):
        for name, tensor in unweight.torch.load_file(path).items():
            if tensor.dim() == 2:
                found[name] = tensor.nbytes
    return found


def test_compiled_models_make_the_same_tokens(folders: dict[str, str], tmp_path: Path) -> None:
    models = {folders["llama"]: [PACKED, EXACT], folders["qwen3"]: [PACKED]}
    Results(tmp_path, models).require_same_tokens()
    # The compile cache keeps them apart.
    compiled = list((tmp_path / "cache" / "torch_compile_cache" / "torch_aot_compile").iterdir())
    assert len(compiled) == 5


def test_compiled_experts_make_the_same_tokens(folders: dict[str, str], tmp_path: Path) -> None:
    Results(tmp_path, {folders["mixtral"]: [PACKED]}).require_same_tokens()


def test_two_ranks_pack_their_parts(folders: dict[str, str], tmp_path: Path) -> None:
    # Each start of two ranks takes a minute.
    llama = of_file(folders, "llama")
    models = {
        folders["llama"]: [llama, llama | PACKED],
        folders["qwen3"]: [PACKED],
        folders["mixtral"]: [PACKED],
    }
    results = Results(tmp_path, models, ranks=2, enforce_eager=True)
    results.require_same_tokens()
    whole = sum(plain_bytes(folders["llama"]).values())
    for rank in results.by_model["llama"][2]["ranks"]:
        assert rank["plain"] == {}
        assert rank["packed"] < 0.76 * whole / 2
    # Each rank decodes half of all weights, but all of those that are divided by columns.
    by_columns = sum(
        size
        for name, size in plain_bytes(folders["llama"]).items()
        if name.endswith(("o_proj.weight", "down_proj.weight"))
    )
    decoded = re.findall(r"decoded (\d+) of (\d+) bytes of weights", results.printed)
    assert len(decoded) == 2 * 2
    for part, every in decoded:
        assert int(every) > whole
        assert int(part) < (whole + by_columns) / 2 + 20_000
    experts = [
        size for name, size in plain_bytes(folders["mixtral"]).items() if ".experts." in name
    ]
    for rank in results.by_model["mixtral"][1]["ranks"]:
        assert set(rank["plain"]) == {"model.embed_tokens.weight"}
        # Half of each expert.
        assert 0.75 * sum(experts) / 2 < rank["packed"] < 0.76 * sum(experts)


def test_two_ranks_compiled(folders: dict[str, str], tmp_path: Path) -> None:
    Results(tmp_path, {folders["llama"]: [PACKED]}, ranks=2).require_same_tokens()


def test_layers_without_a_packed_form_stay_plain(tmp_path: Path) -> None:
    # The columns of down_proj are no multiple of 64.
    made = model("Llama", tie_word_embeddings=True, intermediate_size=480)
    # Finite weights whose exponents are all as frequent.
    random = torch.randint(-(1 << 15), 1 << 15, (512, 256), dtype=torch.int16) & -0x4001
    made.model.embed_tokens.weight.data = random.view(torch.bfloat16)
    made.model.layers[1].self_attn.q_proj.weight.data = random[:256].clone().view(torch.bfloat16)
    made.save_pretrained(tmp_path / "partly")
    config = {
        "quant_method": "unweight",
        "modules_to_not_convert": [r"model.*\.0\.self_attn\.o_proj"],
    }
    options = {"hf_overrides": {"quantization_config": config}}
    results = Results(tmp_path, {str(tmp_path / "partly"): [options]}, enforce_eager=True)
    results.require_same_tokens()
    (rank,) = results.by_model["partly"][1]["ranks"]
    assert rank["packed"] > 0
    for line in (
        "model.layers.0.mlp.down_proj stays plain: ",
        "model.layers.1.self_attn.qkv_proj stays plain: ",
        "model.layers.0.self_attn.o_proj stays plain: in modules_to_not_convert",
        "embed_tokens stays plain: ",
        "lm_head stays plain: tied to a weight that stays plain",
    ):
        assert line in results.printed, line
    assert "model.layers.1.self_attn.o_proj stays plain" not in results.printed
    assert "model.layers.0.self_attn.qkv_proj stays plain" not in results.printed


def test_experts_without_a_packed_form_stay_plain(tmp_path: Path) -> None:
    # The columns of w2 are no multiple of 64.
    experts: dict[str, Any] = {"num_local_experts": 4, "num_experts_per_tok": 2}
    model("Mixtral", intermediate_size=96, **experts).save_pretrained(tmp_path / "narrow")
    made = model("Mixtral", num_hidden_layers=3, **experts)
    # Finite weights whose exponents are all as frequent.
    random = torch.randint(-(1 << 15), 1 << 15, (4, 256, 512), dtype=torch.int16) & -0x4001
    made.model.layers[1].mlp.experts.down_proj.data = random.view(torch.bfloat16)
    made.save_pretrained(tmp_path / "partly")
    excluded = {"quant_method": "unweight", "modules_to_not_convert": ["model.layers.0"]}
    overrides = {"hf_overrides": {"quantization_config": excluded}}
    models = {str(tmp_path / "narrow"): [PACKED], str(tmp_path / "partly"): [overrides]}
    results = Results(tmp_path, models, enforce_eager=True)
    results.require_same_tokens()
    of_layer = "model.layers.{}.block_sparse_moe.experts"
    (rank,) = results.by_model["partly"][1]["ranks"]
    found = {name for name in rank["plain"] if ".experts." in name}
    plain = {(0, "w13"), (0, "w2"), (1, "w2")}
    assert found == {
        f"{of_layer.format(layer)}.routed_experts.{name}_weight" for layer, name in plain
    }
    for line in (
        f"{of_layer.format(0)} stays plain: in modules_to_not_convert",
        f"{of_layer.format(1)}.w2_weight stays plain: ",
        "multiples of 64",
    ):
        assert line in results.printed, line


def test_a_folder_without_all_weights_is_an_error(
    folders: dict[str, str], tmp_path: Path
) -> None:
    tensors: dict[str, Any] = {}
    compressed = Path(folders["llama.unw"])
    for path in compressed.glob("*.unw"):
        tensors |= unweight.torch.load_file(path)
    del tensors["model.layers.1.mlp.down_proj.weight"]
    (tmp_path / "model").mkdir()
    config = (compressed / "config.json").read_bytes()
    (tmp_path / "model" / "config.json").write_bytes(config)
    unweight.torch.save_file(tensors, tmp_path / "model" / "model.unw", {"format": "pt"})
    model = {"model": str(tmp_path / "model"), "enforce_eager": True}
    done = start(tmp_path, [model | FILE, model | FILE | PACKED])
    errors = [line for line in done.stdout.splitlines() if line.startswith("ERROR ")]
    assert len(errors) == 2, (done.stdout + done.stderr)[-6000:]
    for error in errors:
        assert "BadFile: the folder lacks the weights of 1 of" in error
        assert error.endswith(": model.layers.1.mlp.down_proj.weight")


class Messages(logging.Handler):
    """What is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record.getMessage())


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the plugin warns of."""
    from unweight.vllm import _versions

    messages = Messages()
    _versions.LOGGER.addHandler(messages)
    monkeypatch.setattr(unweight.vllm, "_registered", False)
    yield messages.found
    _versions.LOGGER.removeHandler(messages)


def test_a_version_that_was_not_tested_is_warned_of(
    warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from unweight.vllm._config import UnweightConfig

    UnweightConfig()
    assert warnings == []
    monkeypatch.setattr(vllm, "__version__", "0.240.0")
    UnweightConfig()
    assert warnings == ["unweight was not tested with vLLM 0.240.0. Tested versions: 0.24"]


def test_a_version_with_other_interfaces_is_warned_of(
    warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import vllm.model_executor.model_loader as loaders

    monkeypatch.delattr(loaders, "register_model_loader")
    monkeypatch.setattr(vllm, "__version__", "0.99.0")
    unweight.vllm.register()
    (warning,) = warnings
    assert warning.startswith("unweight does not work with vLLM 0.99.0: cannot import")


def test_the_configuration_may_choose_the_exact_method() -> None:
    from unweight.vllm._config import UnweightConfig

    override = UnweightConfig.override_quantization_method
    config = {"quant_method": "unweight"}
    assert override(config, None) is None
    assert override(config, "unweight_exact") == "unweight_exact"
    assert override(config | {"exact": True}, None) == "unweight_exact"
    assert override(config | {"exact": True}, "unweight") is None
    assert override({"quant_method": "fp8", "exact": True}, None) is None


def test_a_model_that_was_saved_packed_is_refused() -> None:
    from unweight.vllm._config import UnweightConfig

    with pytest.raises(unweight.UnweightError, match="use the original model"):
        UnweightConfig.from_config({"quant_method": "unweight", "kept_plain": {}})
    with pytest.raises(unweight.UnweightError, match="expected a list of names"):
        UnweightConfig.from_config({"modules_to_not_convert": "lm_head"})


def test_layers_of_a_shape_get_as_many_patches() -> None:
    from unweight.vllm._linear import padded_length

    weights = 14336 * 4096
    assert {padded_length(patches, weights) for patches in (0, 2000, 14336)} == {14336}
    assert padded_length(14337, weights) == 28672
    assert padded_length(weights // 16, weights) < weights // 8
