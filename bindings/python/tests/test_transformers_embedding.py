"""The embedding of tokens, and the head that is tied to it, which stay packed."""

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

from safetensors.torch import load_file, save_file  # noqa: E402
from tiny_models import IDS, bits, logits, same_model, save, tokens  # noqa: E402

import unweight.torch  # noqa: E402
import unweight.transformers  # noqa: E402
from unweight import _packed  # noqa: E402
from unweight._packed_embedding import TiedLinear  # noqa: E402
from unweight.transformers import UnweightConfig, packing  # noqa: E402

load = transformers.AutoModelForCausalLM.from_pretrained


def packed_model(folder: Path, **options: Any) -> Any:
    found, info = load(
        folder, quantization_config=UnweightConfig(**options), output_loading_info=True
    )
    assert not any(info.values())
    return found


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save("qwen3", tmp_path_factory.mktemp("tied"))


@pytest.fixture(scope="module")
def untied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save("llama", tmp_path_factory.mktemp("untied"))


def in_memory(model: Any) -> int:
    """The bytes of all parameters and buffers."""
    tensors = [*model.parameters(), *model.buffers()]
    memory = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for tensor in tensors}
    return sum(storage.nbytes() for storage in memory.values())


@pytest.mark.parametrize("name", ["qwen3", "llama"])
def test_weights_with_embedding_and_head_take_three_quarters_of_bf16(
    name: str, tmp_path: Path
) -> None:
    folder = save(name, tmp_path, hidden_size=512, vocab_size=4001, head_dim=128)
    found, plain = packed_model(folder), load(folder)
    assert packing(found).plain == {}
    assert in_memory(found) <= 0.755 * in_memory(plain)
    assert torch.equal(logits(found), logits(plain))


def test_a_tied_weight_is_in_memory_once(tied: Path) -> None:
    found = packed_model(tied)
    embedding, head = found.model.embed_tokens, found.lm_head
    assert isinstance(embedding, unweight.torch.Embedding)
    assert isinstance(head, TiedLinear) and head.embedding is embedding
    assert not [name for name in found.state_dict() if name.startswith("lm_head")]
    size = in_memory(found)
    again = copy.deepcopy(found)
    assert again.lm_head.embedding is again.model.embed_tokens
    # A move to another device makes new tensors like this.
    again = again._apply(torch.clone)
    assert in_memory(again) == size
    assert same_model(again, load(tied))
    found.tie_weights()
    assert same_model(found, load(tied))


def test_a_saved_model_has_the_weight_once_and_is_loaded(tied: Path, tmp_path: Path) -> None:
    found = packed_model(tied, exact=True)
    found.save_pretrained(tmp_path / "packed")
    (saved,) = (tmp_path / "packed").glob("*.safetensors")
    assert not [name for name in load_file(saved) if name.startswith("lm_head")]
    again, info = load(tmp_path / "packed", output_loading_info=True)
    assert not any(info.values())
    assert packing(again) == packing(found)
    assert again.lm_head.embedding is again.model.embed_tokens and again.lm_head.exact
    assert same_model(again, load(tied))


@pytest.mark.parametrize("kind", ["tied", "untied"])
def test_a_dequantized_model_is_saved_as_the_original(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = request.getfixturevalue(kind)
    packed_model(folder).save_pretrained(tmp_path / "packed")
    found = load(tmp_path / "packed").dequantize()
    assert type(found.model.embed_tokens) is torch.nn.Embedding
    is_tied = found.lm_head.weight is found.model.embed_tokens.weight
    assert is_tied == (kind == "tied")
    found.tie_weights()
    found.save_pretrained(tmp_path / "plain")
    expected: dict[str, Any] = {}
    for path in folder.glob("*.safetensors"):
        expected |= load_file(path)
    (path,) = (tmp_path / "plain").glob("*.safetensors")
    saved = load_file(path)
    assert saved.keys() == expected.keys()
    assert all(torch.equal(bits(saved[name]), bits(expected[name])) for name in expected)


@pytest.mark.parametrize("kind", ["tied", "untied"])
def test_embeddings_are_resized(kind: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(kind)
    found, plain = packed_model(folder), load(folder)
    assert found.resize_token_embeddings(500) is found.model.embed_tokens
    for size in (450, 530):
        for model in (found, plain):
            embedding = model.resize_token_embeddings(size, mean_resizing=False)
            assert embedding is model.get_input_embeddings()
            assert embedding.num_embeddings == model.config.vocab_size == size
        assert isinstance(found.model.embed_tokens, unweight.torch.Embedding)
        assert isinstance(found.lm_head, unweight.torch.Linear)
        assert isinstance(found.lm_head, TiedLinear) == (kind == "tied")
        # Rows that are new are random.
        known = logits(found)[..., :450], logits(plain)[..., :450]
        assert torch.equal(*known)
    assert packing(found).plain == {}


def test_modules_to_not_convert_have_their_effect(tied: Path, untied: Path) -> None:
    for name in ("lm_head", "embed_tokens"):
        found = packed_model(tied, modules_to_not_convert=[name])
        assert type(found.model.embed_tokens) is torch.nn.Embedding
        assert found.lm_head.weight is found.model.embed_tokens.weight
        assert "in modules_to_not_convert" in packing(found).plain["model.embed_tokens.weight"]
        assert same_model(found, load(tied))
    found = packed_model(untied, modules_to_not_convert=["embed_tokens"])
    assert packing(found).plain == {"model.embed_tokens.weight": "in modules_to_not_convert"}
    found = packed_model(untied, modules_to_not_convert=["lm_head"])
    assert packing(found).plain == {"lm_head.weight": "in modules_to_not_convert"}
    assert isinstance(found.model.embed_tokens, unweight.torch.Embedding)


@pytest.mark.parametrize("cause", ["columns", "exponents"])
def test_embeddings_without_a_packed_form_stay_plain(cause: str, tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"hidden_size": 96} if cause == "columns" else {}
    folder = save("qwen3", tmp_path / "plain", **sizes)
    if cause == "exponents":
        change(folder, lambda state: state["model.embed_tokens.weight"].view(torch.int16).copy_(
            torch.arange(500 * 128).reshape(500, 128) % 0x7F00
        ))  # fmt: skip
    found = packed_model(folder)
    assert found.lm_head.weight is found.model.embed_tokens.weight
    plain = packing(found).plain
    expected = "multiples of 64" if cause == "columns" else "one in 16"
    assert expected in plain["model.embed_tokens.weight"]
    assert plain["lm_head.weight"] == "tied to another module"
    found.save_pretrained(tmp_path / "packed")
    again, info = load(tmp_path / "packed", output_loading_info=True)
    assert not any(info.values())
    assert packing(again) == packing(found)
    assert torch.equal(logits(again), logits(load(folder)))


def change(folder: Path, edit: Any) -> None:
    """Changes the tensors of a folder, which has one file from then on."""
    state: dict[str, Any] = {}
    for path in folder.glob("*.safetensors"):
        state |= load_file(path)
        path.unlink()
    (folder / "model.safetensors.index.json").unlink()
    edit(state)
    save_file(state, folder / "model.safetensors", {"format": "pt"})


HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


def test_the_weight_may_have_the_name_of_the_head_or_both(tied: Path, tmp_path: Path) -> None:
    expected = load(tied)
    for name, edit in (
        ("head", lambda state: state.update({HEAD: state.pop(EMBEDDING)})),
        ("both", lambda state: state.update({HEAD: state[EMBEDDING].clone()})),
    ):
        save("qwen3", tmp_path / name)
        change(tmp_path / name, edit)
        found = packed_model(tmp_path / name)
        assert isinstance(found.lm_head, TiedLinear)
        assert same_model(found, expected)


def test_different_weights_are_not_tied(tmp_path: Path) -> None:
    folder = save("qwen3", tmp_path / "plain")
    change(folder, lambda state: state.update({HEAD: state[EMBEDDING].roll(1, 0)}))
    found, expected = packed_model(folder), load(folder)
    assert not isinstance(found.lm_head, TiedLinear)
    assert torch.equal(bits(found.lm_head.weight), bits(expected.lm_head.weight))
    assert same_model(found, expected)
    found.save_pretrained(tmp_path / "packed")
    again, info = load(tmp_path / "packed", output_loading_info=True)
    assert not any(info.values())
    assert same_model(again, expected)


def test_a_damaged_embedding_is_an_error(tied: Path, tmp_path: Path) -> None:
    found = packed_model(tied)
    found.model.embed_tokens.patch_ends.fill_(-1)
    found.save_pretrained(tmp_path)
    with pytest.raises(unweight.WrongArgument, match="model.embed_tokens: "):
        load(tmp_path)


@pytest.fixture
def gemma(tmp_path: Path) -> Path:
    """A model whose embedding has a class of its own, which scales what it looks up."""
    torch.manual_seed(0)
    config = transformers.Gemma3TextConfig(
        vocab_size=500,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=128,
        dtype="bfloat16",
    )
    made = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    made.save_pretrained(tmp_path / "gemma")
    return tmp_path / "gemma"


def test_an_embedding_of_a_class_of_its_own_is_packed(
    gemma: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, plain = packed_model(gemma), load(gemma)
    assert packing(found).plain == {}
    embedding = found.model.embed_tokens
    assert isinstance(embedding, type(plain.model.embed_tokens))
    assert type(embedding).__name__ == "PackedGemma3TextScaledWordEmbedding"
    assert torch.equal(logits(found), logits(plain))
    again = pickle.loads(pickle.dumps(embedding))
    compiled = torch.compile(again, backend="aot_eager", fullgraph=True)
    # It asks for the type of the weight in each step, which needs no weight.
    monkeypatch.setattr(_packed, "restore", lambda *_: pytest.fail("a weight was restored"))
    for module in (embedding, again, compiled):
        assert torch.equal(module(IDS), plain.model.embed_tokens(IDS))


@pytest.mark.parametrize("kind", ["tied", "untied"])
def test_compiled_steps_make_the_tokens_of_bf16(
    kind: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(kind)
    made = []
    for model in (packed_model(folder), load(folder)):
        model.forward = torch.compile(model.forward, backend="aot_eager", fullgraph=True)
        made.append(tokens(model, cache_implementation="static"))
    assert made[0] == made[1]
