"""Experts of a mixture whose weights are packed as they are loaded."""

from __future__ import annotations

from typing import Any

import torch
import vllm.envs as envs
from vllm.model_executor.layers.fused_moe.activation import apply_moe_activation
from vllm.model_executor.layers.fused_moe.unquantized_fused_moe_method import (
    UnquantizedFusedMoEMethod,
)
from vllm.model_executor.model_loader.reload.layerwise import initialize_online_processing
from vllm.platforms import current_platform

from .. import _experts as _operators  # noqa: F401  # Registers the operators.
from .._errors import WrongArgument
from .._packed import Packed, pack
from ._config import log_kept
from ._linear import reason_to_keep, register_packed

# Parameters of vLLM: gate and up, and down, of all experts of this rank.
_FIRST, _SECOND = "w13", "w2"


def reason_to_keep_experts(layer: Any, exact: bool) -> str | None:
    """Why the experts of a layer are not packed, if they are not."""
    moe = layer.moe_config
    if moe.has_bias:
        return "its experts have biases"
    if moe.is_lora_enabled:
        return "LoRA reads the weights of experts itself"
    if moe.moe_parallel_config.dp_size > 1:
        return "experts of data-parallel ranks are not packed"
    limits = (moe.swiglu_limit, moe.swiglu_alpha, moe.swiglu_beta)
    if not _is_exact(exact) and any(limit is not None for limit in limits):
        return "its activation function has a limit"
    size = moe.intermediate_size_per_partition
    rows = size * (2 if moe.is_act_and_mul else 1)
    experts, hidden = moe.num_local_experts, moe.hidden_dim
    shapes = ((experts * rows, hidden), (experts * hidden, size))
    reasons = (reason_to_keep(*shape, layer.params_dtype) for shape in shapes)
    return next((reason for reason in reasons if reason is not None), None)


def _is_exact(exact: bool) -> bool:
    # The CPU's product is vLLM's. And a product that does not depend on the batch is promised for
    # vLLM's own kernels.
    return exact or envs.VLLM_BATCH_INVARIANT or not current_platform.is_cuda()


class PackedExpertsMethod(UnquantizedFusedMoEMethod):
    """Has vLLM load the weights of experts by its own loaders, packs them when a layer is complete,
    and frees them. Each rank packs what it has: ranges of all experts, or some of the experts.

    If exact, weights are packed in the order that vLLM's kernel wants. For each use those of a layer
    are restored, and that kernel multiplies.
    """

    uses_meta_device = True

    def __init__(self, layer: Any, prefix: str, exact: bool) -> None:
        super().__init__(layer.moe_config)
        self.prefix = prefix
        self.exact = _is_exact(exact)
        self._is_loaded = False
        # Shapes of the packed weights by name.
        self._shapes: dict[str, torch.Size] = {}
        self._is_monolithic: bool = super().is_monolithic

    @property
    def is_monolithic(self) -> bool:
        """Whether vLLM's kernel chooses the experts too. Otherwise vLLM's router does."""
        return self._is_monolithic

    @property
    def supports_eplb(self) -> bool:
        # It moves the weights of experts between ranks.
        return False

    def maybe_make_prepare_finalize(self, routing_tables: Any = None) -> Any:
        """vLLM asks methods without a kernel of its own how tokens get to the experts of other ranks.
        Here each rank has all tokens, and vLLM adds up what the ranks make."""
        return None

    def create_weights(self, layer: Any, *arguments: Any, **options: Any) -> None:
        with torch.device("meta"):
            super().create_weights(layer, *arguments, **options)
        initialize_online_processing(layer)

    def process_weights_after_loading(self, layer: Any) -> None:
        if self._is_loaded:
            # vLLM calls this when the weights are complete, and again at the end.
            return
        self._is_loaded = True
        if self.exact:
            self._pack_for_plain_kernel(layer)
        else:
            self._pack_for_packed_product(layer)
        is_packed = bool(self._shapes) and not self.exact
        # An attribute, because torch.compile cannot follow a property of a base class.
        self._is_monolithic = not is_packed and super().is_monolithic

    def _pack_for_plain_kernel(self, layer: Any) -> None:
        names = [f"{name}_weight" for name in (_FIRST, _SECOND)]
        loaded = [layer.get_parameter(name) for name in names]
        super().process_weights_after_loading(layer)
        if hasattr(layer, "gate_up_linear"):
            log_kept(self.prefix, "vLLM's product on this processor has weights of its own")
            return
        kept = [layer.get_parameter(name) for name in names]
        for parameter in loaded:
            if all(parameter is not other for other in kept):
                _free(parameter)
        for name in (_FIRST, _SECOND):
            self._pack(layer, name)

    def _pack_for_packed_product(self, layer: Any) -> None:
        if self._pack(layer, _FIRST) and not self._pack(layer, _SECOND):
            # The product needs both.
            weight = self._restored(layer, _FIRST)
            self._shapes.clear()
            for field in Packed._fields:
                delattr(layer, f"{_FIRST}_{field}")
            layer.register_parameter(
                f"{_FIRST}_weight", torch.nn.Parameter(weight, requires_grad=False)
            )
        if not self._shapes:
            super().process_weights_after_loading(layer)

    def _pack(self, layer: Any, name: str) -> bool:
        """Gives a layer a packed weight. False if it has no packed form, and stays."""
        parameter = layer.get_parameter(f"{name}_weight")
        weight = parameter.data
        try:
            packed = pack(weight.reshape(-1, weight.shape[-1]))
        except WrongArgument as error:
            log_kept(f"{self.prefix}.{name}_weight", str(error))
            return False
        delattr(layer, f"{name}_weight")
        _free(parameter)
        register_packed(layer, packed, f"{name}_")
        self._shapes[name] = weight.shape
        return True

    def _packed(self, layer: Any, name: str) -> tuple[torch.Tensor, ...]:
        return tuple(getattr(layer, f"{name}_{field}") for field in Packed._fields)

    def _restored(self, layer: Any, name: str) -> torch.Tensor:
        """A weight of a layer, packed or not."""
        shape = self._shapes.get(name)
        if shape is None:
            plain: torch.Tensor = getattr(layer, f"{name}_weight")
            return plain
        rows = shape.numel() // shape[-1]
        weight: torch.Tensor = torch.ops.unweight.restore(*self._packed(layer, name), rows)
        return weight.view(shape)

    def _with_weights(self, layer: Any) -> Any:
        """The layer for vLLM's own product."""
        if not self._shapes:
            return layer
        return _WithWeights(layer, self._restored(layer, _FIRST), self._restored(layer, _SECOND))

    def apply_monolithic(
        self,
        layer: Any,
        x: torch.Tensor,
        router_logits: torch.Tensor,
        input_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        found: torch.Tensor = super().apply_monolithic(
            self._with_weights(layer), x, router_logits, input_ids
        )
        return found

    def apply(
        self,
        layer: Any,
        x: torch.Tensor,
        topk_weights: torch.Tensor,
        topk_ids: torch.Tensor,
        shared_experts: Any,
        shared_experts_input: torch.Tensor | None,
    ) -> torch.Tensor:
        if self._shapes and not self.exact:
            # vLLM calls the shared experts itself if no kernel of its own does.
            return self._multiply(layer, x, topk_weights, topk_ids)
        found: torch.Tensor = super().apply(
            self._with_weights(layer), x, topk_weights, topk_ids, shared_experts, shared_experts_input
        )
        return found

    def _multiply(
        self, layer: Any, x: torch.Tensor, weights: torch.Tensor, ids: torch.Tensor
    ) -> torch.Tensor:
        """The product by packed weights. Experts of other ranks add zeros."""
        grouped_linear = torch.ops.unweight.grouped_linear
        top_k, scales = ids.shape[1], None
        if layer.expert_map is not None:
            ids = torch.where(ids < 0, -1, layer.expert_map[ids.clamp(min=0)])
        if layer.apply_router_weight_on_input:
            x = x * weights.to(x.dtype)
        else:
            scales = weights.float()
        (experts, rows, _), (_, hidden, size) = (self._shapes[name] for name in (_FIRST, _SECOND))
        routing = torch.ops.unweight.route(ids, experts, scales)
        h = grouped_linear(x, *self._packed(layer, _FIRST), routing, experts, rows, top_k)
        activated = h.new_empty(h.shape[0], size)
        apply_moe_activation(layer.activation, activated, h)
        y = grouped_linear(
            activated, *self._packed(layer, _SECOND), routing, experts, hidden, 1, scales is not None
        )
        summed: torch.Tensor = y.view(-1, top_k, hidden).sum(dim=1)
        return summed


def _free(parameter: torch.nn.Parameter) -> None:
    """Frees the memory of a parameter, which vLLM keeps until a layer is complete."""
    parameter.data = parameter.data.new_empty(0)


class _WithWeights:
    """A layer with restored weights."""

    def __init__(self, layer: Any, w13_weight: torch.Tensor, w2_weight: torch.Tensor) -> None:
        self._layer = layer
        self.w13_weight = w13_weight
        self.w2_weight = w2_weight

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)
