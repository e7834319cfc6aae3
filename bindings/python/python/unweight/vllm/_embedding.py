"""Embeddings and LM heads whose weights are packed as they are loaded."""

from __future__ import annotations

from typing import Any

import torch
from vllm.model_executor.layers.quantization.base_config import QuantizeMethodBase
from vllm.model_executor.layers.vocab_parallel_embedding import UnquantizedEmbeddingMethod

from .._embedding import RowPatches, lookup, row_patches
from .._packed import Packed
from ._linear import PackedLinearMethod


class PackedEmbeddingMethod(PackedLinearMethod):
    """Restores the rows of the tokens, and multiplies by the packed weight as an LM head. A head
    that is tied to an embedding has the same tensors."""

    plain_method: type[QuantizeMethodBase] = UnquantizedEmbeddingMethod

    def process_weights_after_loading(self, layer: Any) -> None:
        weight = layer._parameters.get("weight")
        if weight is None:
            # Packed before.
            return
        owner = weight.unweight_owner() if hasattr(weight, "unweight_owner") else None
        if owner is layer:
            super().process_weights_after_loading(layer)
        elif owner is None or not isinstance(owner.quant_method, PackedEmbeddingMethod):
            if owner is not None:
                layer.weight = owner.weight
            self._keep(layer, "tied to a weight that stays plain")
        elif "weight" not in owner._parameters:
            del layer.weight
            _share(owner, layer)
        # Otherwise the embedding is packed later, and then vLLM calls this again.

    def embedding(self, layer: Any, input_: torch.Tensor) -> torch.Tensor:
        patches = RowPatches(layer.row_patch_starts, layer.row_patches)
        return lookup(input_, layer.k_tiles, layer.palette, patches)

    def tie_weights(self, layer: Any, embed_tokens: Any) -> Any:
        layer.weight = embed_tokens.weight
        return layer

    def _place(self, layer: Any, packed: Packed) -> None:
        super()._place(layer, packed)
        patches = row_patches(packed, layer.unweight_rows)
        layer.register_buffer("row_patch_starts", patches.starts, persistent=False)
        layer.register_buffer("row_patches", patches.entries, persistent=False)


def _share(owner: Any, layer: Any) -> None:
    """Gives a layer the packed weight of another. vLLM may use either as the LM head."""
    for name, parameter in owner.named_parameters(recurse=False):
        if name in Packed._fields:
            layer.register_parameter(name, parameter)
    layer.register_buffer("row_patch_starts", owner.row_patch_starts, persistent=False)
    layer.register_buffer("row_patches", owner.row_patches, persistent=False)
    layer.unweight_rows = owner.unweight_rows
