"""The implementation "unweight" of experts for transformers: products by packed matrices."""

from __future__ import annotations

from typing import Any

import torch
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from .._experts import has_grouped_product
from ._experts import Stack, is_experts

__all__ = ["IMPLEMENTATION", "use_packed_products"]

IMPLEMENTATION = "unweight"
# The default of transformers. Its results are those of this implementation on the CPU.
_REPLACED = "grouped_mm"


def use_packed_products(model: Any) -> None:
    """Has a model multiply by packed experts where transformers would restore and use its default.
    Another implementation, which the user has asked for, stays."""
    if any(_is_supported(module) for module in model.modules() if is_experts(module)):
        _replace(model, _REPLACED, IMPLEMENTATION)


def use_plain_products(model: Any) -> None:
    """Undoes `use_packed_products`."""
    _replace(model, IMPLEMENTATION, _REPLACED)


def _replace(model: Any, old: str, new: str) -> None:
    # The first versions of transformers 5 have no such function.
    if hasattr(model, "get_experts_implementation"):
        found = model.get_experts_implementation()
        model.set_experts_implementation(
            {name: new if value == old else value for name, value in found.items()}
        )


def _forward(
    module: Any,
    hidden_states: torch.Tensor,
    top_k_index: torch.Tensor,
    top_k_weights: torch.Tensor,
) -> torch.Tensor:
    """The experts of a layer, as transformers calls them."""
    needs_gradient = torch.is_grad_enabled() and hidden_states.requires_grad
    if needs_gradient or hidden_states.dtype != torch.bfloat16 or not _is_supported(module):
        plain: Any = ALL_EXPERTS_FUNCTIONS[_REPLACED]
        found: torch.Tensor = plain(module, hidden_states, top_k_index, top_k_weights)
        return found
    tokens, top_k = top_k_index.shape
    ids = top_k_index.reshape(-1)
    routing = torch.ops.unweight.route(ids, module.num_experts)
    first, name = _first(module)
    x = first.grouped_linear(hidden_states, routing, top_k)
    # Experts of other devices have numbers behind the last one, and weights of zero.
    ids = ids.clamp(max=module.num_experts - 1)
    if module.has_bias:
        x = x + getattr(module, f"{name}_bias")[ids]
    x = module._apply_gate(x) if module.has_gate else module.act_fn(x)
    y = module.down_proj.grouped_linear(x, routing, 1)
    if module.has_bias:
        y = y + module.down_proj_bias[ids]
    if getattr(module, "has_post_expert_norm", False):
        y = module.post_expert_norm(y)
    y = y * top_k_weights.reshape(-1, 1)
    summed: torch.Tensor = y.view(tokens, top_k, -1).sum(dim=1).to(hidden_states.dtype)
    return summed


def _first(module: Any) -> tuple[Any, str]:
    name = "gate_up_proj" if module.has_gate else "up_proj"
    return getattr(module, name, None), name


def _is_supported(module: Any) -> bool:
    matrices = (_first(module)[0], getattr(module, "down_proj", None))
    return not module.is_transposed and all(
        isinstance(matrix, Stack) and has_grouped_product(matrix.shape[1]) for matrix in matrices
    )


ALL_EXPERTS_FUNCTIONS.register(IMPLEMENTATION, _forward)
