"""Models of diffusers whose weights stay packed in memory.

Importing this module adds `UnweightConfig` to the quantization methods of diffusers, though no bit of
a weight changes.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import torch
from diffusers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING, AUTO_QUANTIZER_MAPPING
from diffusers.quantizers.base import DiffusersQuantizer
from diffusers.quantizers.quantization_config import QuantizationConfigMixin
from diffusers.utils import get_module_from_name

from ._errors import WrongArgument
from ._linear import Linear
from ._packed import NoPackedForm, check_loaded, layout

__all__ = ["UnweightConfig"]


class _Method(str, Enum):
    UNWEIGHT = "unweight"


class UnweightConfig(QuantizationConfigMixin):
    """Packs the BF16 weights of linear layers as they are loaded: 12 bits each in memory.

    Args:
        modules_to_not_convert: Names of modules to leave as they are; a module with such a name
            leaves what it contains.
        exact: Whether results are those of BF16 bit for bit on every device, as
            `unweight.torch.Linear` has it. On the CPU they always are.
        kept_plain: Set when a model is loaded: the linear layers that are not packed, with the reason.
            A saved model needs it to be loaded again.
    """

    def __init__(
        self,
        modules_to_not_convert: list[str] | None = None,
        exact: bool = False,
        kept_plain: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        self.quant_method = _Method.UNWEIGHT
        self.modules_to_not_convert = modules_to_not_convert
        self.exact = exact
        self.kept_plain = dict(kept_plain or {})

    def to_diff_dict(self) -> dict[str, Any]:
        """What `repr` prints: everything."""
        found: dict[str, Any] = self.to_dict()
        return found


class UnweightQuantizer(DiffusersQuantizer):
    """Replaces linear layers by packed ones."""

    quantization_config: UnweightConfig

    def __init__(self, quantization_config: UnweightConfig, **kwargs: Any) -> None:
        super().__init__(quantization_config, **kwargs)
        # Names of parameters.
        self._to_pack: set[str] = set()

    def update_torch_dtype(self, torch_dtype: torch.dtype | None) -> torch.dtype:
        if torch_dtype not in (None, torch.bfloat16):
            raise WrongArgument(
                f"found torch_dtype={torch_dtype}, expected bfloat16, the only type that is packed; "
                "without quantization_config the model loads as it is"
            )
        return torch.bfloat16

    @property
    def supports_parallel_loading(self) -> bool:
        # Modules are replaced while the model is loaded.
        return False

    def _process_model_before_weight_loading(
        self, model: Any, keep_in_fp32_modules: Any = (), **kwargs: Any
    ) -> None:
        config = self.quantization_config
        if not self.pre_quantized:
            config.kept_plain = {}
        skipped = [*(config.modules_to_not_convert or []), *(keep_in_fp32_modules or [])]
        for name, module in list(model.named_modules()):
            # Modules derived from it may read the weight themselves.
            if type(module) is not torch.nn.Linear:
                continue
            reason = _reason_to_keep(name, module, skipped)
            if reason is not None:
                config.kept_plain[name] = reason
            elif name in config.kept_plain:
                continue
            elif self.pre_quantized:
                empty = Linear.empty(
                    module.in_features,
                    module.out_features,
                    bias=module.bias is not None,
                    device="meta",
                    exact=config.exact,
                )
                model.set_submodule(name, empty)
            else:
                self._to_pack.add(f"{name}.weight")

    def check_if_quantized_param(
        self, model: Any, param_value: Any, param_name: str, state_dict: Any, **kwargs: Any
    ) -> bool:
        if not self.pre_quantized:
            return param_name in self._to_pack
        # Types and shapes of these are those of the file.
        module, _ = get_module_from_name(model, param_name)
        return isinstance(module, Linear) and param_name.rpartition(".")[2] in module._buffers

    def create_quantized_param(
        self,
        model: Any,
        param_value: torch.Tensor,
        param_name: str,
        target_device: Any,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        module, tensor = get_module_from_name(model, param_name)
        value = param_value.to(target_device)
        if self.pre_quantized:
            module._buffers[tensor] = value
            return
        name = param_name.rpartition(".")[0]
        config = self.quantization_config
        try:
            # The bias is read before or after the weight.
            packed = Linear.from_weight(value, module.bias, config.exact)
        except NoPackedForm as error:
            config.kept_plain[name] = str(error)
            module.weight = torch.nn.Parameter(value)
        else:
            model.set_submodule(name, packed.train(module.training))

    def _process_model_after_weight_loading(self, model: Any, **kwargs: Any) -> Any:
        if self.pre_quantized:
            for name, module in model.named_modules():
                if isinstance(module, Linear):
                    check_loaded(name, module.packed, module.out_features)
        return model

    def _dequantize(self, model: Any) -> Any:
        for name, module in list(model.named_modules()):
            if isinstance(module, Linear):
                model.set_submodule(name, module.to_linear())
        return model

    @property
    def is_serializable(self) -> bool:
        return True

    @property
    def is_trainable(self) -> bool:
        return False

    @property
    def is_compileable(self) -> bool:
        return True


def _reason_to_keep(name: str, module: torch.nn.Linear, skipped: list[str]) -> str | None:
    if any(f".{part}." in f".{name}." for part in skipped):
        return "in modules_to_not_convert"
    try:
        layout(module.out_features, module.in_features)
    except NoPackedForm as error:
        return str(error)
    return None


AUTO_QUANTIZATION_CONFIG_MAPPING[_Method.UNWEIGHT.value] = UnweightConfig
AUTO_QUANTIZER_MAPPING[_Method.UNWEIGHT.value] = UnweightQuantizer
