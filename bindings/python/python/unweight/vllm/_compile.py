"""Options of torch.compile for models with packed weights."""

from __future__ import annotations

from typing import Any

import torch
from vllm.config import get_current_vllm_config
from vllm.platforms import current_platform

_EARLY_LAUNCHES = "triton.enable_pdl"


def overlap_launches() -> None:
    """Has the compiled kernels of the model that is being made start, and let the next kernel start,
    before the one before has ended (programmatic dependent launch).

    A packed product then reads its first weights while the kernel before it runs. A user's own
    choice of the option stays.
    """
    if current_platform.is_cuda() and torch.cuda.get_device_capability()[0] >= 9:
        prefer_early_launches(get_current_vllm_config().compilation_config.inductor_compile_config)


def prefer_early_launches(options: dict[str, Any]) -> None:
    """Sets the option in torch.compile's, if this torch has it and it is not set."""
    import torch._inductor.config

    if hasattr(torch._inductor.config.triton, "enable_pdl"):
        options.setdefault(_EARLY_LAUNCHES, True)
