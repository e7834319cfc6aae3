"""Tiny random models of transformers, and comparisons of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

IDS = torch.tensor([[1, 5, 17, 99, 400, 7, 8, 9]])
SIZES = {
    "vocab_size": 500,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 128,
    "initializer_range": 0.1,
    "dtype": "bfloat16",
}


def config(name: str, **sizes: Any) -> Any:
    """The configuration of a tiny model; `sizes` replace those of SIZES."""
    given = SIZES | sizes
    experts = {"num_experts_per_tok": 2}
    match name:
        case "llama":
            return transformers.LlamaConfig(attention_bias=True, **given)
        case "qwen3":
            return transformers.Qwen3Config(tie_word_embeddings=True, **given)
        case "mixtral":
            return transformers.MixtralConfig(num_local_experts=4, **experts, **given)
        case "qwen3_moe":
            hidden = given["intermediate_size"]
            return transformers.Qwen3MoeConfig(
                num_experts=4, moe_intermediate_size=hidden, **experts, **given
            )
        case "gpt_oss":
            rope = {"rope_type": "default", "rope_theta": 10000.0}
            return transformers.GptOssConfig(
                num_local_experts=4, rope_parameters=rope, **experts, **given
            )
        case "hrm_text":
            given.pop("num_key_value_heads")
            return transformers.HrmTextConfig(H_cycles=1, L_cycles=1, **given)
    raise ValueError(f"found {name}, expected the name of a tiny model")


def save(name: str, folder: Path, **sizes: Any) -> Path:
    """Makes a folder with a model in several BF16 safetensors files."""
    torch.manual_seed(0)
    made = transformers.AutoModelForCausalLM.from_config(
        config(name, **sizes), dtype=torch.bfloat16
    )
    with torch.no_grad():
        for parameter_name, parameter in made.named_parameters():
            if parameter_name.endswith("bias"):
                parameter.normal_()
    made.generation_config.max_new_tokens = 5
    made.save_pretrained(folder, max_shard_size="400KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    return folder


def bits(tensor: Any) -> Any:
    return tensor.detach().contiguous().view(torch.int16)


def logits(model: Any, ids: Any = IDS) -> Any:
    """The bits of the logits."""
    with torch.no_grad():
        return bits(model(ids.to(model.device)).logits)


def tokens(model: Any, count: int = 8, **options: Any) -> list[int]:
    """Greedy tokens."""
    made = model.generate(
        IDS.to(model.device),
        max_new_tokens=count,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
        **options,
    )
    return list(made[0].tolist())


def same_model(found: Any, expected: Any) -> bool:
    return torch.equal(logits(found), logits(expected)) and tokens(found) == tokens(expected)
