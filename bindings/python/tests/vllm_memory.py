"""What a model of vLLM has in memory. vLLM imports this in the processes of its ranks."""

from __future__ import annotations

from typing import Any

import torch

PACKED = ("k_tiles", "patches", "patch_ends", "palette")


def memory(model: torch.nn.Module) -> dict[str, Any]:
    """The bytes of packed matrices, and of each plain matrix by name. Shared ones count once."""
    packed, plain = 0, {}
    for name, parameter in model.named_parameters():
        if name.endswith(PACKED):
            packed += parameter.nbytes
        elif parameter.dim() >= 2:
            plain[name] = parameter.nbytes
    return {"packed": packed, "plain": plain}
