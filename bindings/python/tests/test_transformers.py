"""Models of transformers: folders of Unweight files, and checkpoints that are packed as they load.

All models are tiny and random. Logits are compared bit for bit, and greedy tokens with them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import unweight

torch = pytest.importorskip("torch", reason="torch is not installed")
transformers = pytest.importorskip(
    "transformers", minversion="5.0", reason="transformers 5 is not installed"
)
pytest.importorskip("accelerate", reason="accelerate, which device_map needs, is not installed")

from tiny_models import IDS, SIZES, bits, logits, same_model, save  # noqa: E402

import unweight.torch  # noqa: E402
import unweight.transformers  # noqa: E402
from unweight.transformers import UnweightConfig, packing  # noqa: E402

AutoModelForCausalLM = transformers.AutoModelForCausalLM


@pytest.fixture(scope="module", params=["llama", "qwen3", "mixtral"])
def folder(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of BF16 safetensors files."""
    return save(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def compressed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same folder, compressed."""
    path = tmp_path_factory.mktemp("compressed") / folder.name
    unweight.compress(folder, path)
    assert not list(path.glob("*.safetensors"))
    return path


def test_a_compressed_folder_is_the_same_model(folder: Path, compressed: Path) -> None:
    plain, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values())
    found, info = unweight.transformers.from_pretrained(compressed, output_loading_info=True)
    assert not any(info.values())
    assert type(found) is type(plain) and found.dtype == torch.bfloat16
    states = found.state_dict(), plain.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(bits(states[0][name]), bits(states[1][name])) for name in states[1])
    assert same_model(found, plain)
    assert found.generation_config.max_new_tokens == 5
    assert found.name_or_path == str(compressed)
    if found.config.tie_word_embeddings:
        assert found.lm_head.weight is found.model.embed_tokens.weight


def test_arguments_of_from_pretrained_have_their_effect(folder: Path, compressed: Path) -> None:
    load = unweight.transformers.from_pretrained
    found = load(compressed, dtype=torch.float32, device_map="cpu", use_cache=False, threads=1)
    assert found.dtype == torch.float32 and found.config.use_cache is False
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        assert torch.equal(found(IDS).logits, plain(IDS).logits)
    kind = type(plain)
    assert type(load(compressed, kind)) is kind
    base = load(compressed, transformers.AutoModel)
    hidden = [bits(model(IDS).last_hidden_state) for model in (base, load(compressed).model)]
    assert torch.equal(*hidden)


def test_a_folder_is_decoded_on_the_only_cuda_device_of_a_device_map() -> None:
    from unweight.transformers._load import _decoding_device

    for device_map, expected in (
        (None, "cpu"),
        ("auto", "cpu"),
        ("cuda", "cuda"),
        (1, "cuda:1"),
        (torch.device("cuda", 2), "cuda:2"),
        ({"": 0}, "cuda:0"),
        ({"model": 0, "lm_head": torch.device("cuda", 1)}, "cpu"),
        ({"": "cpu"}, "cpu"),
    ):
        assert _decoding_device(device_map) == expected


def test_a_bias_that_is_missing_is_zero_as_in_a_plain_layer(folder: Path, tmp_path: Path) -> None:
    found = transformers.AutoConfig.from_pretrained(folder)
    if not getattr(found, "attention_bias", False):
        pytest.skip("this model has no bias")
    plain = AutoModelForCausalLM.from_pretrained(folder)
    missing = "model.layers.1.self_attn.q_proj.bias"
    state = {name: value for name, value in plain.state_dict().items() if name != missing}
    plain.save_pretrained(tmp_path, state_dict=state)
    packed, info = AutoModelForCausalLM.from_pretrained(
        tmp_path, quantization_config=UnweightConfig(), output_loading_info=True
    )
    assert set(info["missing_keys"]) == {missing}
    assert not packed.get_parameter(missing).any()
    other = missing.replace(".1.", ".0.")
    assert packed.get_parameter(other).any()
    assert torch.equal(bits(packed.get_parameter(other)), bits(plain.get_parameter(other)))


def test_weights_are_packed_as_they_load(folder: Path, compressed: Path) -> None:
    plain = AutoModelForCausalLM.from_pretrained(folder)
    for load, path in (
        (AutoModelForCausalLM.from_pretrained, folder),
        (unweight.transformers.from_pretrained, compressed),
    ):
        found, info = load(path, quantization_config=UnweightConfig(), output_loading_info=True)
        assert not any(info.values())
        assert isinstance(found.model.layers[0].self_attn.q_proj, unweight.torch.Linear)
        assert same_model(found, plain)
    summary = packing(found)
    linears = [name for name, module in plain.named_modules() if type(module) is torch.nn.Linear]
    tied = plain.config.tie_word_embeddings
    experts = 2 * 2 * 4 if "Mixtral" in type(plain).__name__ else 0
    assert summary.matrices == 1 + len(linears) - tied + experts
    assert summary.packed_bytes < 0.77 * 2 * summary.weights
    assert len(summary.plain) == (2 if experts else 0)
    if experts:
        reason = summary.plain["model.layers.0.mlp.gate.weight"]
        assert reason.startswith("a parameter of MixtralTopKRouter, expected torch.nn.Linear, ")


def test_a_packed_model_is_saved_and_loaded(folder: Path, tmp_path: Path) -> None:
    config = UnweightConfig(modules_to_not_convert=["model.layers.1", "q_proj"], exact=True)
    found = AutoModelForCausalLM.from_pretrained(folder, quantization_config=config)
    first, second = (layer.self_attn for layer in found.model.layers)
    kinds = [type(module) for module in (first.q_proj, first.k_proj, second.k_proj)]
    assert kinds == [torch.nn.Linear, unweight.torch.Linear, torch.nn.Linear]
    kept = found.config.quantization_config.kept_plain
    assert kept["model.layers.0.self_attn.q_proj"] == "in modules_to_not_convert"
    found.save_pretrained(tmp_path / "packed", max_shard_size="400KB")
    saved = json.loads((tmp_path / "packed" / "config.json").read_text())["quantization_config"]
    assert saved["quant_method"] == "unweight" and saved["exact"]
    load = AutoModelForCausalLM.from_pretrained
    again, info = load(tmp_path / "packed", output_loading_info=True)
    assert not any(info.values())
    assert packing(again) == packing(found)
    assert again.model.layers[0].self_attn.k_proj.exact
    assert same_model(again, found)
    assert same_model(again, AutoModelForCausalLM.from_pretrained(folder))
    # The packed model is a model folder, which can be compressed again.
    unweight.compress(tmp_path / "packed", tmp_path / "unw")
    assert same_model(unweight.transformers.from_pretrained(tmp_path / "unw"), found)


def test_a_tensor_that_is_divided_into_several_layers_is_packed(tmp_path: Path) -> None:
    folder = save("hrm_text", tmp_path / "plain", num_hidden_layers=1)
    load = AutoModelForCausalLM.from_pretrained
    config = UnweightConfig(modules_to_not_convert=["q_proj"])
    found, info = load(folder, quantization_config=config, output_loading_info=True)
    assert not any(info.values())
    attention = found.model.L_module.layers[0].self_attn
    assert isinstance(attention.gate_proj, unweight.torch.Linear)
    assert isinstance(attention.v_proj, unweight.torch.Linear)
    assert type(attention.q_proj) is torch.nn.Linear
    expected = logits(load(folder))
    assert torch.equal(logits(found), expected)
    found.save_pretrained(tmp_path / "packed")
    again, info = load(tmp_path / "packed", output_loading_info=True)
    assert not any(info.values())
    assert torch.equal(logits(again), expected)


# `aot_eager` takes whole graphs, as `inductor` does, which compiles C++ for most of a minute.
@pytest.mark.parametrize(("name", "backend"), [("llama", "inductor"), ("qwen3", "aot_eager")])
def test_compiled_models_agree(name: str, backend: str, tmp_path: Path) -> None:
    folder = save(name, tmp_path, num_hidden_layers=1)
    plain = AutoModelForCausalLM.from_pretrained(folder)
    found = AutoModelForCausalLM.from_pretrained(folder, quantization_config=UnweightConfig())
    compiled = [
        torch.compile(model, fullgraph=True, backend=backend) for model in (found, plain)
    ]
    one, other = (logits(model) for model in compiled)
    assert torch.equal(one, other)


def test_dequantize_makes_the_plain_model(folder: Path, tmp_path: Path) -> None:
    plain = AutoModelForCausalLM.from_pretrained(folder)
    found = AutoModelForCausalLM.from_pretrained(folder, quantization_config=UnweightConfig())
    found = found.dequantize() or found
    assert not packing(found).matrices
    assert same_model(found, plain)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder with a model whose down projections have no packed form."""
    torch.manual_seed(1)
    sizes = SIZES | {"intermediate_size": 100, "num_hidden_layers": 1}
    made = AutoModelForCausalLM.from_config(
        transformers.LlamaConfig(**sizes), dtype=torch.bfloat16
    )
    with torch.no_grad():
        every = torch.arange(128 * 128).mul(3).to(torch.int16).view(torch.bfloat16)
        every = torch.nan_to_num(every, nan=0, posinf=1, neginf=1)
        made.model.layers[0].self_attn.q_proj.weight.copy_(every.reshape(128, 128))
    made.save_pretrained(tmp_path / "small")
    return tmp_path / "small"


def test_matrices_without_a_packed_form_stay_plain_and_are_reported(
    small: Path, tmp_path: Path
) -> None:
    found = AutoModelForCausalLM.from_pretrained(small, quantization_config=UnweightConfig())
    assert type(found.model.layers[0].mlp.down_proj) is torch.nn.Linear
    assert type(found.model.layers[0].self_attn.q_proj) is torch.nn.Linear
    plain = packing(found).plain
    assert "multiples of 64" in plain["model.layers.0.mlp.down_proj.weight"]
    assert "one in 16" in plain["model.layers.0.self_attn.q_proj.weight"]
    found.save_pretrained(tmp_path / "packed")
    load = AutoModelForCausalLM.from_pretrained
    again, info = load(tmp_path / "packed", output_loading_info=True)
    assert not any(info.values())
    assert packing(again) == packing(found)
    assert torch.equal(logits(again), logits(AutoModelForCausalLM.from_pretrained(small)))


def test_a_damaged_packed_model_is_an_error(small: Path, tmp_path: Path) -> None:
    found = AutoModelForCausalLM.from_pretrained(small, quantization_config=UnweightConfig())
    found.model.layers[0].mlp.up_proj.palette.zero_()
    found.save_pretrained(tmp_path / "packed")
    with pytest.raises(unweight.WrongArgument, match="layers.0.mlp.up_proj: found the palette"):
        AutoModelForCausalLM.from_pretrained(tmp_path / "packed")


def test_single_files_load(small: Path, tmp_path: Path) -> None:
    unweight.compress(small, tmp_path / "unw")
    assert [path.name for path in (tmp_path / "unw").glob("*.unw")] == ["model.unw"]
    expected = logits(AutoModelForCausalLM.from_pretrained(small))
    assert torch.equal(logits(unweight.transformers.from_pretrained(tmp_path / "unw")), expected)


def test_folders_that_cannot_be_opened_are_errors(small: Path, tmp_path: Path) -> None:
    load = unweight.transformers.from_pretrained
    with pytest.raises(unweight.NotFound, match="unweight compress FOLDER"):
        load(small)
    with pytest.raises(unweight.NotFound, match="expected a model folder"):
        load(tmp_path / "nothing")
    unweight.compress(small, tmp_path / "unw")
    for wrong in ({"gguf_file": "a"}, {"state_dict": {"a": 1}}, {"trust_remote_code": True}):
        with pytest.raises(unweight.WrongArgument, match=next(iter(wrong))):
            load(tmp_path / "unw", **wrong)
    with pytest.raises(unweight.WrongArgument, match="disk"):
        load(tmp_path / "unw", device_map={"": "disk"})
    with pytest.raises(unweight.WrongArgument, match="expected one of bfloat16"):
        load(tmp_path / "unw", dtype=torch.float32, quantization_config=UnweightConfig())
    index = tmp_path / "unw" / "model.safetensors.index.json"
    (tmp_path / "unw" / "model.unw").rename(tmp_path / "unw" / "one.unw")
    index.write_text('{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}')
    with pytest.raises(unweight.NotFound, match="two.safetensors.*names this shard"):
        load(tmp_path / "unw")
    for wrong_index in ('{"weight_map": {"a": "../one.safetensors"}}', "[]", "{"):
        index.write_text(wrong_index)
        with pytest.raises(unweight.BadFile, match="weight_map"):
            load(tmp_path / "unw")
    index.unlink()
    (tmp_path / "unw" / "two.unw").write_bytes((tmp_path / "unw" / "one.unw").read_bytes())
    with pytest.raises(unweight.BadFile, match="in another file"):
        load(tmp_path / "unw")
