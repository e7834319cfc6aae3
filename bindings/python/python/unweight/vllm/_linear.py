"""Linear layers whose weights are packed as they are loaded."""

from __future__ import annotations

import weakref
from typing import Any

import torch
import vllm.envs as envs
from torch.nn import functional
from vllm.model_executor.layers.batch_invariant import linear_batch_invariant
from vllm.model_executor.layers.linear import LinearMethodBase, UnquantizedLinearMethod
from vllm.model_executor.layers.quantization.base_config import QuantizeMethodBase
from vllm.model_executor.model_loader.reload.layerwise import initialize_online_processing
from vllm.model_executor.parameter import ModelWeightParameter
from vllm.model_executor.utils import set_weight_attrs
from vllm.platforms import current_platform

from .. import _linear as _operators  # noqa: F401  # Registers the operators.
from .._packed import NoPackedForm, Packed, layout, pack
from ._config import log_kept

# A graph of torch.compile depends on the lengths of its inputs. So the number of patches is rounded
# up to one for each of this many weights, times a power of two: layers of a shape share a graph.
_WEIGHTS_PER_PATCH = 4096


class PackedLinearMethod(LinearMethodBase):
    """Has vLLM load a weight by its own loaders, packs it when it is complete, and frees it.

    The weight is on the meta device until vLLM has all of it, so that one plain weight is in memory
    beside the packed model. Layers that are merged, such as ``qkv_proj``, are one matrix, and each
    tensor-parallel rank packs its part.

    Args:
        prefix: The name of the layer.
        exact: Restore the weight and multiply as without quantization.
    """

    uses_meta_device = True
    plain_method: type[QuantizeMethodBase] = UnquantizedLinearMethod

    def __init__(self, prefix: str, exact: bool) -> None:
        self.prefix = prefix
        # A product that does not depend on the batch is promised for vLLM's own kernels.
        self.exact = exact or envs.VLLM_BATCH_INVARIANT

    def create_weights(
        self,
        layer: Any,
        input_size_per_partition: int,
        output_partition_sizes: list[int],
        input_size: int,
        output_size: int,
        params_dtype: torch.dtype,
        **extra_weight_attrs: Any,
    ) -> None:
        rows, columns = sum(output_partition_sizes), input_size_per_partition
        reason = reason_to_keep(rows, columns, params_dtype)
        if reason is not None:
            self._keep(layer, reason)
            layer.quant_method.create_weights(
                layer,
                input_size_per_partition,
                output_partition_sizes,
                input_size,
                output_size,
                params_dtype,
                **extra_weight_attrs,
            )
            return
        weight = ModelWeightParameter(
            data=torch.empty(rows, columns, dtype=params_dtype, device="meta"),
            input_dim=1,
            output_dim=0,
            weight_loader=extra_weight_attrs.pop("weight_loader"),
        )
        set_weight_attrs(weight, {**extra_weight_attrs, "unweight_owner": weakref.ref(layer)})
        layer.register_parameter("weight", weight)
        layer.unweight_rows = rows
        initialize_online_processing(layer)

    def process_weights_after_loading(self, layer: Any) -> None:
        if "weight" not in layer._parameters:
            # Packed before: vLLM calls this when the weight is complete, and again at the end.
            return
        weight = layer.weight.data
        try:
            packed = pack(weight)
        except NoPackedForm as error:
            self._keep(layer, str(error))
            return
        del layer.weight
        self._place(layer, packed)

    def apply(self, layer: Any, x: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        packed = (layer.k_tiles, layer.patches, layer.patch_ends, layer.palette)
        if self.exact:
            weight = torch.ops.unweight.restore(*packed, layer.unweight_rows)
            return _plain_product(x, weight, bias)
        product: torch.Tensor = torch.ops.unweight.linear(x, *packed, layer.unweight_rows, bias)
        return product

    def _place(self, layer: Any, packed: Packed) -> None:
        """Gives a layer its packed weight."""
        register_packed(layer, packed._replace(patches=_padded(packed, layer.unweight_rows)))

    def _keep(self, layer: Any, reason: str) -> None:
        """Leaves a layer as it is without quantization."""
        log_kept(self.prefix, reason)
        layer.quant_method = self.plain_method()


def register_packed(layer: Any, packed: Packed, prefix: str = "") -> None:
    """Registers the tensors of a packed weight as parameters of a layer."""
    for name, tensor in packed._asdict().items():
        layer.register_parameter(prefix + name, torch.nn.Parameter(tensor, requires_grad=False))


def reason_to_keep(rows: int, columns: int, dtype: torch.dtype) -> str | None:
    """Why no matrix of this shape and type is packed, if none is."""
    if dtype != torch.bfloat16:
        return f"its weight is of {dtype}, only bfloat16 is packed"
    try:
        layout(rows, columns)
    except NoPackedForm as error:
        return str(error)
    return None


def _padded(packed: Packed, rows: int) -> torch.Tensor:
    """The patches, with zeros behind them that no end of a row panel reaches."""
    patches = packed.patches
    if patches.device.type == "cpu":
        # There each call checks that nothing is behind the patches.
        return patches
    length = padded_length(patches.shape[0], rows * packed.columns)
    return functional.pad(patches, (0, length - patches.shape[0]))


def padded_length(patches: int, weights: int) -> int:
    """The number of patches that a matrix gets."""
    length = -(-weights // _WEIGHTS_PER_PATCH)
    while length < patches:
        length *= 2
    return length


def _plain_product(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """The product of vLLM without quantization."""
    if envs.VLLM_BATCH_INVARIANT and current_platform.is_cuda_alike():
        product: torch.Tensor = linear_batch_invariant(x, weight, bias)
        return product
    return functional.linear(x, weight, bias)
