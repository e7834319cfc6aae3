"""Packs the weights of linear layers while transformers loads a checkpoint.

For transformers this is a quantization method, though no bit of a weight changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import initialization
from transformers.core_model_loading import ConversionOps
from transformers.quantizers.auto import (
    AUTO_QUANTIZER_MAPPING,
    register_quantization_config,
    register_quantizer,
)
from transformers.quantizers.base import HfQuantizer
from transformers.quantizers.quantizers_utils import get_module_from_name, should_convert_module
from transformers.utils import logging
from transformers.utils.quantization_config import QuantizationConfigMixin

from .._errors import WrongArgument
from .._linear import Linear
from .._packed import NoPackedForm, Packed, layout

METHOD = "unweight"
_BUFFERS = set(Packed._fields)
_LOGGER = logging.get_logger(__name__)


@dataclass(frozen=True)
class Packing:
    """What of a model is packed."""

    modules: int
    """Number of packed matrices."""
    packed_bytes: int
    """Their size in memory."""
    weights: int
    """Number of their weights."""
    plain: dict[str, str]
    """Names of BF16 parameters of two or more dimensions that are not packed, with the reason."""
    plain_bytes: int
    """The size of these in memory. Shared parameters count once."""


class UnweightConfig(QuantizationConfigMixin):
    """Packs the BF16 weights of linear layers as they are loaded: 12 bits each in memory.

    Args:
        modules_to_not_convert: Names of modules to leave as they are, as for other methods of
            transformers: from the start (``"model.layers.0"``), as a regular expression, or the end
            of a name (``"lm_head"``).
        kept_plain: Set when a model is loaded: the modules without a packed form, with the reason.
            A saved model needs it to be loaded again.
    """

    def __init__(
        self,
        modules_to_not_convert: list[str] | None = None,
        kept_plain: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        self.quant_method = METHOD  # type: ignore[assignment]  # Methods of others are strings.
        self.modules_to_not_convert = modules_to_not_convert
        self.kept_plain = dict(kept_plain or {})


class UnweightQuantizer(HfQuantizer):
    """Replaces linear layers by packed ones."""

    requires_calibration = False
    quantization_config: UnweightConfig

    def __init__(self, quantization_config: UnweightConfig, **kwargs: Any) -> None:
        super().__init__(quantization_config, **kwargs)
        self._to_pack: set[str] = set()

    def update_dtype(self, dtype: torch.dtype) -> torch.dtype:
        if dtype != torch.bfloat16:
            raise WrongArgument(
                f"found a model of {dtype}, expected one of bfloat16, the only type that is packed; "
                "without quantization_config it loads as it is"
            )
        return dtype

    def _process_model_before_weight_loading(self, model: Any, **kwargs: Any) -> Any:
        config = self.quantization_config
        if not self.pre_quantized:
            config.kept_plain = {}
        for name, module in list(model.named_modules()):
            # Modules derived from it may read the weight themselves.
            if type(module) is not torch.nn.Linear:
                continue
            reason = self._reason_to_keep(model, name, module)
            if reason is not None:
                config.kept_plain[name] = reason
            elif name in config.kept_plain:
                continue
            elif self.pre_quantized:
                empty = Linear.empty(
                    module.in_features, module.out_features, module.bias is not None, "meta"
                )
                model.set_submodule(name, empty)
            else:
                self._to_pack.add(name)
        return model

    def _reason_to_keep(self, model: Any, name: str, module: torch.nn.Linear) -> str | None:
        skipped = self.get_modules_to_not_convert(
            model, self.quantization_config.modules_to_not_convert or [], model._keep_in_fp32_modules
        )
        if not should_convert_module(name, skipped):
            return "in modules_to_not_convert"
        tied = getattr(model, "all_tied_weights_keys", {})
        if f"{name}.weight" in {*tied.keys(), *tied.values()}:
            return "tied to another module"
        try:
            layout(module.out_features, module.in_features)
        except NoPackedForm as error:
            return str(error)
        return None

    def param_needs_quantization(self, model: Any, param_name: str, **kwargs: Any) -> bool:
        if not self.pre_quantized:
            name, _, tensor = param_name.rpartition(".")
            return tensor == "weight" and name in self._to_pack
        # The shapes are those of the file: the number of patches differs.
        module, tensor = get_module_from_name(model, param_name)
        return isinstance(module, Linear) and tensor == "patches"

    def get_quantize_ops(self) -> ConversionOps:
        return _Pack(self)

    def _process_model_after_weight_loading(self, model: Any, **kwargs: Any) -> Any:
        for name, module in model.named_modules():
            if not isinstance(module, Linear):
                continue
            if self.pre_quantized:
                _require_valid(name, module)
            if module.bias is not None:
                # Zeros only if the checkpoint has no bias, as in every linear layer: transformers
                # marks what it has read, and this function leaves that as it is.
                initialization.zeros_(module.bias)
        found = packing(model)
        _LOGGER.info(
            f"packed {found.modules} matrices in {found.packed_bytes} bytes; "
            f"{found.plain_bytes} bytes of BF16 stay plain: {sorted(found.plain)}"
        )
        return model

    def get_state_dict_and_metadata(self, model: Any) -> tuple[dict[str, Any], dict[str, str]]:
        state = model.state_dict()
        for name, tensor in state.items():
            if name.rpartition(".")[2] in _BUFFERS and tensor.numel() == 0:
                # transformers takes tensors without memory for one shared tensor.
                state[name] = tensor.new_empty(1)[:0]
        return state, {}

    def is_serializable(self, *args: Any, **kwargs: Any) -> bool:
        return True

    @property
    def is_trainable(self) -> bool:
        return False

    @property
    def is_compileable(self) -> bool:
        return True

    def _dequantize(self, model: Any, dtype: Any = None) -> Any:
        for name, module in list(model.named_modules()):
            if isinstance(module, Linear):
                model.set_submodule(name, module.to_linear())
        return model


class _Pack(ConversionOps):
    """Packs a weight that was read, and replaces its module."""

    def __init__(self, quantizer: UnweightQuantizer) -> None:
        self._quantizer = quantizer

    def convert(
        self,
        input_dict: dict[str, Any],
        *args: Any,
        model: Any = None,
        full_layer_name: str = "",
        missing_keys: Any = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        (weight,) = input_dict.values()
        weight = weight[0] if isinstance(weight, list) else weight
        name = full_layer_name.rpartition(".")[0]
        plain = model.get_submodule(name)
        if weight.shape != plain.weight.shape:
            # Reported by transformers, as for every other parameter.
            self._quantizer._to_pack.discard(name)
            return {full_layer_name: weight}
        try:
            packed = Linear.from_weight(weight, plain.bias)
        except NoPackedForm as error:
            self._quantizer._to_pack.discard(name)
            self._quantizer.quantization_config.kept_plain[name] = str(error)
            return {full_layer_name: weight}
        packed.train(plain.training)
        model.set_submodule(name, packed)
        if missing_keys is not None:
            missing_keys.discard(full_layer_name)
        return {}


def packing(model: Any) -> Packing:
    """What of a model is packed, and what is not."""
    packed = [module for module in model.modules() if isinstance(module, Linear)]
    reasons = getattr(getattr(model.config, "quantization_config", None), "kept_plain", {})
    plain, sizes = {}, {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if parameter.dtype != torch.bfloat16 or parameter.dim() < 2:
            continue
        owner = name.rpartition(".")[0]
        kind = type(model.get_submodule(owner)).__name__
        plain[name] = reasons.get(owner, f"a parameter of {kind}, expected torch.nn.Linear")
        sizes[id(parameter)] = parameter.nbytes
    return Packing(
        modules=len(packed),
        packed_bytes=sum(module.packed.nbytes for module in packed),
        weights=sum(module.in_features * module.out_features for module in packed),
        plain=plain,
        plain_bytes=sum(sizes.values()),
    )


def _require_valid(name: str, module: Linear) -> None:
    """Checks what was read, so that a bad file is an error when it is loaded."""
    if module.k_tiles.device.type != "cpu":
        return
    try:
        module.weight
    except WrongArgument as error:
        raise WrongArgument(f"the packed weight of {name}: {error}", tensor=name) from error


def _register() -> None:
    # The module may be imported again.
    if METHOD not in AUTO_QUANTIZER_MAPPING:
        register_quantization_config(METHOD)(UnweightConfig)
        register_quantizer(METHOD)(UnweightQuantizer)


_register()
