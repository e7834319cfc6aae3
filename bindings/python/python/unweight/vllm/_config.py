"""The quantization methods: which layers of a model are packed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from vllm.model_executor.layers.quantization.base_config import (
    QuantizationConfig,
    QuantizeMethodBase,
)

from .._errors import WrongArgument
from ._versions import LOGGER, warn_if_untested

METHOD = "unweight"
EXACT_METHOD = "unweight_exact"


class UnweightConfig(QuantizationConfig):
    """Packs the BF16 weights of linear layers, experts, embeddings and the LM head as they are
    loaded.

    Args:
        modules_to_not_convert: Names of modules to leave as they are, as in transformers: from the
            start (``"model.layers.0"``), as a regular expression, or the end of a name
            (``"lm_head"``).
    """

    method = METHOD
    exact = False

    def __init__(self, modules_to_not_convert: Sequence[str] = ()) -> None:
        super().__init__()
        warn_if_untested()
        self.modules_to_not_convert = list(modules_to_not_convert)
        self._is_tied = False

    def get_name(self) -> Any:
        return self.method

    def get_supported_act_dtypes(self) -> list[torch.dtype]:
        return [torch.bfloat16]

    @classmethod
    def get_min_capability(cls) -> int:
        return 80

    @staticmethod
    def get_config_filenames() -> list[str]:
        return []

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> UnweightConfig:
        if "kept_plain" in config:
            raise WrongArgument(
                "found a model that transformers saved with packed weights, expected one with "
                "BF16 weights: vLLM packs them as it loads them; use the original model"
            )
        names = config.get("modules_to_not_convert") or ()
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise WrongArgument(f"found modules_to_not_convert {names!r}, expected a list of names")
        return cls(names)

    @classmethod
    def override_quantization_method(
        cls, hf_quant_cfg: dict[str, Any], user_quant: str | None, hf_config: Any = None
    ) -> Any:
        # The method's name tells how products are calculated, because vLLM's compile cache knows
        # that name.
        if hf_quant_cfg.get("quant_method") != METHOD:
            return None
        is_exact = user_quant is None and hf_quant_cfg.get("exact") is True
        return EXACT_METHOD if is_exact or user_quant == EXACT_METHOD else None

    def maybe_update_config(
        self, model_name: str, hf_config: Any = None, revision: str | None = None
    ) -> None:
        text = hf_config.get_text_config() if hf_config is not None else None
        self._is_tied = bool(getattr(text, "tie_word_embeddings", False))

    def get_quant_method(self, layer: torch.nn.Module, prefix: str) -> QuantizeMethodBase | None:
        # These modules take seconds to import, and plugins are loaded by every command of vLLM.
        from vllm.model_executor.layers.linear import LinearBase, UnquantizedLinearMethod
        from vllm.model_executor.layers.vocab_parallel_embedding import (
            UnquantizedEmbeddingMethod,
            VocabParallelEmbedding,
        )

        from ._embedding import PackedEmbeddingMethod
        from ._linear import PackedLinearMethod

        if isinstance(layer, LinearBase):
            reason = self._reason_to_keep(prefix)
            if reason is None and not self.exact:
                self._fuse()
            if reason is None:
                return PackedLinearMethod(prefix, self.exact)
            log_kept(prefix, reason)
            return UnquantizedLinearMethod()
        if isinstance(layer, VocabParallelEmbedding):
            # Some models give their embedding no name.
            prefix = prefix or "embed_tokens"
            reason = self._reason_to_keep(prefix)
            if reason is None and self._is_tied and self._is_excluded("lm_head"):
                reason = "tied to lm_head, which is in modules_to_not_convert"
            if reason is None:
                return PackedEmbeddingMethod(prefix, self.exact)
            log_kept(prefix, reason)
            return UnquantizedEmbeddingMethod()
        return self._of_experts(layer, prefix)

    @staticmethod
    def _fuse() -> None:
        """Has products take in what comes between them, on CUDA devices, if this version of vLLM lets
        passes in."""
        import vllm.envs as envs
        from vllm.platforms import current_platform

        # Products are exact if they must not depend on the batch.
        if not current_platform.is_cuda() or envs.VLLM_BATCH_INVARIANT:
            return
        try:
            from vllm.config import get_current_vllm_config_or_none

            from ._fusion import enable
        except ImportError as error:
            LOGGER.info_once("products do not take in norms and gates: %s", str(error))
            return
        config = get_current_vllm_config_or_none()
        if config is not None:
            enable(config.compilation_config, config.parallel_config.tensor_parallel_size > 1)

    def _of_experts(self, layer: torch.nn.Module, prefix: str) -> QuantizeMethodBase | None:
        """The method of the experts of a mixture. None means that of vLLM without quantization."""
        from vllm.model_executor.layers.fused_moe import RoutedExperts

        if not isinstance(layer, RoutedExperts):
            return None
        from ._experts import PackedExpertsMethod, reason_to_keep_experts

        reason = self._reason_to_keep(prefix) or reason_to_keep_experts(layer, self.exact)
        if reason is None:
            return PackedExpertsMethod(layer, prefix, self.exact)
        log_kept(prefix, reason)
        return None

    def _reason_to_keep(self, prefix: str) -> str | None:
        if self._is_excluded(prefix):
            return "in modules_to_not_convert"
        if prefix.endswith("kv_b_proj"):
            return "latent attention reads this weight itself"
        return None

    def _is_excluded(self, prefix: str) -> bool:
        # A layer that vLLM makes of several is left out if one of them is.
        parent, dot, name = prefix.rpartition(".")
        names = [
            prefix,
            *(parent + dot + part for part in self.packed_modules_mapping.get(name, ())),
        ]
        return any(_matches(key, name) for key in self.modules_to_not_convert for name in names)


class UnweightExactConfig(UnweightConfig):
    """Same, and products are those of the plain model bit for bit: each weight is restored when it
    is used."""

    method = EXACT_METHOD
    exact = True


METHODS = {config.method: config for config in (UnweightConfig, UnweightExactConfig)}


def log_kept(prefix: str, reason: str) -> None:
    """Logs that a layer keeps plain weights."""
    LOGGER.info("%s stays plain: %s", prefix, reason)


def _matches(key: str, name: str) -> bool:
    # The rule of transformers.
    return re.match(key, name) is not None or name.endswith(key)
