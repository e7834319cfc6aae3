"""Models of diffusers that are packed as they load. All are tiny and random."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import unweight

torch = pytest.importorskip("torch", reason="torch is not installed")
diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")

import unweight.torch  # noqa: E402
from unweight.diffusers import UnweightConfig  # noqa: E402

Linear = unweight.torch.Linear


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a transformer in BF16."""
    torch.manual_seed(0)
    made = diffusers.Transformer2DModel(
        num_attention_heads=2,
        attention_head_dim=32,
        in_channels=4,
        num_layers=2,
        cross_attention_dim=64,
        norm_num_groups=4,
    ).to(torch.bfloat16)
    path = tmp_path_factory.mktemp("transformer")
    made.save_pretrained(path)
    return path


def load(folder: Path, **options: Any) -> Any:
    return diffusers.Transformer2DModel.from_pretrained(
        folder, torch_dtype=torch.bfloat16, local_files_only=True, **options
    )


def output(model: Any) -> Any:
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(1, 4, 8, 8, generator=generator).bfloat16()
    context = torch.randn(1, 5, 64, generator=generator).bfloat16()
    with torch.no_grad():
        return model(hidden, encoder_hidden_states=context).sample.view(torch.int16)


def linears(model: Any, kind: Any) -> list[str]:
    return [name for name, module in model.named_modules() if type(module) is kind]


def test_weights_are_packed_as_they_load(folder: Path) -> None:
    plain, found = load(folder), load(folder, quantization_config=UnweightConfig())
    assert linears(found, Linear) == linears(plain, torch.nn.Linear)
    assert len(linears(found, Linear)) > 10
    assert torch.equal(output(found), output(plain))
    found = found.dequantize()
    assert not linears(found, Linear)
    assert torch.equal(output(found), output(plain))


def test_a_packed_model_is_saved_and_loaded(folder: Path, tmp_path: Path) -> None:
    config = UnweightConfig(modules_to_not_convert=["attn1"], exact=True)
    found = load(folder, quantization_config=config)
    kept = linears(found, torch.nn.Linear)
    assert kept and all(".attn1." in name for name in kept)
    found.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())["quantization_config"]
    assert saved["quant_method"] == "unweight" and saved["exact"]
    again = load(tmp_path)
    assert linears(again, Linear) == linears(found, Linear)
    assert all(module.exact for module in again.modules() if isinstance(module, Linear))
    assert torch.equal(output(again), output(load(folder)))


def test_a_damaged_packed_model_is_an_error(folder: Path, tmp_path: Path) -> None:
    found = load(folder, quantization_config=UnweightConfig())
    name = linears(found, Linear)[0]
    found.get_submodule(name).patch_ends.fill_(-1)
    found.save_pretrained(tmp_path)
    with pytest.raises(unweight.WrongArgument, match=name):
        load(tmp_path)


def test_other_types_are_refused(folder: Path) -> None:
    with pytest.raises(unweight.WrongArgument, match="expected bfloat16"):
        diffusers.Transformer2DModel.from_pretrained(
            folder, torch_dtype=torch.float32, quantization_config=UnweightConfig()
        )
