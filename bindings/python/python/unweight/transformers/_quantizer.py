"""Packs the weights of linear layers, experts and the embedding of tokens while transformers loads a
checkpoint.

For transformers this is a quantization method, though no bit of a weight changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import initialization
from transformers.core_model_loading import ConversionOps, WeightConverter
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
from .._packed import NoPackedForm, Packed, check_loaded, layout, pack
from .._packed_embedding import Embedding, TiedLinear
from . import _embeddings, _experts
from ._embeddings import TokenEmbedding
from ._experts import Stack
from ._grouped_experts import use_packed_products, use_plain_products

METHOD = "unweight"
_TIED = "tied to another module"
_PACKED = (Linear, Embedding, Stack)
_BUFFERS = set(Packed._fields)
_LOGGER = logging.get_logger(__name__)


@dataclass(frozen=True)
class Packing:
    """What of a model is packed."""

    matrices: int
    """Number of packed matrices. Each expert has its own."""
    packed_bytes: int
    """Their size in memory."""
    weights: int
    """Number of their weights."""
    plain: dict[str, str]
    """Names of BF16 parameters of two or more dimensions that are not packed, with the reason."""
    plain_bytes: int
    """The size of these in memory. Shared parameters count once."""


class UnweightConfig(QuantizationConfigMixin):
    """Packs the BF16 weights of linear layers, experts and the embedding of tokens as they are loaded:
    12 bits each in memory.

    Args:
        modules_to_not_convert: Names of modules to leave as they are, as for other methods of
            transformers: from the start (``"model.layers.0"``), as a regular expression, or the end
            of a name (``"lm_head"``).
        exact: Whether results are those of BF16 bit for bit on every device: each weight is restored
            when it is used, and torch multiplies. Otherwise CUDA devices multiply by packed weights,
            which is faster, and sums may differ in the last bit. On the CPU both are the same.
        kept_plain: Set when a model is loaded: linear layers, embeddings and parameters of experts
            that are not packed, with the reason. A saved model needs it to be loaded again.
    """

    def __init__(
        self,
        modules_to_not_convert: list[str] | None = None,
        exact: bool = False,
        kept_plain: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        self.quant_method = METHOD  # type: ignore[assignment]  # Methods of others are strings.
        self.modules_to_not_convert = modules_to_not_convert
        self.exact = exact
        self.kept_plain = dict(kept_plain or {})


class UnweightQuantizer(HfQuantizer):
    """Replaces linear layers, the embedding of tokens and parameters of experts by packed ones."""

    requires_calibration = False
    quantization_config: UnweightConfig

    def __init__(self, quantization_config: UnweightConfig, **kwargs: Any) -> None:
        super().__init__(quantization_config, **kwargs)
        # Names of parameters.
        self._to_pack: set[str] = set()
        self._embedding: TokenEmbedding | None = None

    def update_dtype(self, dtype: torch.dtype) -> torch.dtype:
        if dtype != torch.bfloat16:
            raise WrongArgument(
                f"found a model of {dtype}, expected one of bfloat16, the only type that is packed; "
                "without quantization_config it loads as it is"
            )
        return dtype

    def param_element_size(self, model: Any, param_name: str, param: torch.Tensor) -> float:
        # For the memory that transformers allocates before it loads, and for device_map="auto". A
        # packed weight takes 12 bits.
        size: int = param.element_size()
        return 1.5 if param_name in self._to_pack else size

    def _process_model_before_weight_loading(self, model: Any, **kwargs: Any) -> Any:
        if not self.pre_quantized:
            self.quantization_config.kept_plain = {}
        self._prepare_embedding(model)
        for name, module in list(model.named_modules()):
            if f"{name}.weight" in self._to_pack:
                continue
            # Modules derived from it may read the weight themselves.
            if type(module) is torch.nn.Linear and self._is_packed(
                model, name, f"{name}.weight", (module.out_features, module.in_features)
            ):
                empty = Linear.empty(
                    module.in_features,
                    module.out_features,
                    bias=module.bias is not None,
                    device="meta",
                    exact=self.quantization_config.exact,
                )
                model.set_submodule(name, empty)
        for name, module, tensor in list(_experts.parameters(model)):
            shape = getattr(module, tensor).shape
            if self._is_packed(model, name, name, (shape[0] * shape[1], shape[2])):
                delattr(module, tensor)
                setattr(module, tensor, Stack.empty(tuple(shape), "meta"))
        return model

    def _prepare_embedding(self, model: Any) -> None:
        found = _embeddings.find(model)
        if found is None:
            return
        kept = self.quantization_config.kept_plain
        reason = found.reason_to_keep(model, lambda name: self._is_excluded(model, name))
        if reason is not None:
            kept[found.embedding] = reason
        elif found.embedding not in kept:
            self._embedding = found
            if self.pre_quantized:
                module = model.get_submodule(found.embedding)
                shape = module.embedding_dim, module.num_embeddings
                empty = Linear.empty(*shape, bias=False, device="meta").packed
                found.place(model, found.embedding, empty, self.quantization_config.exact)
            else:
                self._to_pack |= set(found.parameters)

    def _is_packed(self, model: Any, name: str, parameter: str, shape: tuple[int, int]) -> bool:
        """Whether the checkpoint has it packed. Notes what is to be packed, and why others are not.

        Args:
            model: The model.
            name: The name of a linear layer, or of a parameter of experts.
            parameter: The name of the parameter.
            shape: The shape of the matrix.
        """
        kept = self.quantization_config.kept_plain
        reason = self._reason_to_keep(model, name, parameter, shape)
        if reason is not None:
            kept[name] = reason
        elif name not in kept:
            if self.pre_quantized:
                return True
            self._to_pack.add(parameter)
        return False

    def _reason_to_keep(
        self, model: Any, name: str, parameter: str, shape: tuple[int, int]
    ) -> str | None:
        # The end of a name may be that of a parameter of experts, or that of its module.
        if any(self._is_excluded(model, end) for end in {name, parameter.rpartition(".")[0]}):
            return "in modules_to_not_convert"
        tied = getattr(model, "all_tied_weights_keys", {})
        if parameter in {*tied.keys(), *tied.values()}:
            return _TIED
        try:
            layout(*shape)
        except NoPackedForm as error:
            return str(error)
        return None

    def _is_excluded(self, model: Any, name: str) -> bool:
        skipped = self.get_modules_to_not_convert(
            model, self.quantization_config.modules_to_not_convert or [], model._keep_in_fp32_modules
        )
        return not should_convert_module(name, skipped)

    def with_same_weight(self, parameter: str) -> set[str]:
        """The names of the parameters that are packed with one, and its own."""
        embedding = self._embedding
        if embedding is None or parameter not in embedding.parameters:
            return {parameter}
        return set(embedding.parameters)

    def keep(self, parameter: str, name: str, reason: str) -> None:
        """Notes that a weight has no packed form.

        Args:
            parameter: The name of the parameter.
            name: The name of a module, or of a parameter of experts.
            reason: Why.
        """
        same = self.with_same_weight(parameter)
        self._to_pack -= same
        kept = self.quantization_config.kept_plain
        kept |= {other.rpartition(".")[0]: _TIED for other in same - {parameter}}
        kept[name] = reason

    def param_needs_quantization(self, model: Any, param_name: str, **kwargs: Any) -> bool:
        if not self.pre_quantized:
            return param_name in self._to_pack
        # The shapes of these are those of the file.
        module, tensor = get_module_from_name(model, param_name)
        return isinstance(module, _PACKED) and tensor in ("patches", "palette")

    def get_quantize_ops(self) -> ConversionOps:
        return _Pack(self)

    def _process_model_after_weight_loading(self, model: Any, **kwargs: Any) -> Any:
        for name, module in model.named_modules():
            if self.pre_quantized and isinstance(module, _PACKED):
                check_loaded(name, module.packed, _rows(module))
            if isinstance(module, Embedding):
                # transformers makes new buffers in place of those that are not saved.
                module.sort_patches()
                _embeddings.make_resizable(model, self.quantization_config)
            if isinstance(module, Linear) and module.bias is not None:
                # Zeros only if the checkpoint has no bias, as in every linear layer: transformers
                # marks what it has read, and this function leaves that as it is.
                initialization.zeros_(module.bias)
        # `save_pretrained` would revert conversions of tensors that are packed now.
        conversions = getattr(model, "_weight_conversions", None) or []
        model._weight_conversions = [
            each for each in conversions if not isinstance(each, WeightConverter)
        ]
        if not self.quantization_config.exact:
            use_packed_products(model)
        found = packing(model)
        _LOGGER.info(
            f"packed {found.matrices} matrices in {found.packed_bytes} bytes; "
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
        _embeddings.dequantize(model)
        use_plain_products(model)
        for name, module in list(model.named_modules()):
            if isinstance(module, Linear):
                model.set_submodule(name, module.to_linear())
            elif isinstance(module, Stack):
                owner, tensor = get_module_from_name(model, name)
                delattr(owner, tensor)
                setattr(owner, tensor, torch.nn.Parameter(module.restored()))
        # `save_pretrained` looks up the conversions of the plain model, which are not known any more.
        if hasattr(model, "_weight_conversions"):
            del model._weight_conversions
        return model


class _Pack(ConversionOps):
    """Packs weights that were read, and replaces their modules or parameters."""

    def __init__(self, quantizer: UnweightQuantizer) -> None:
        self._quantizer = quantizer

    def convert(
        self,
        input_dict: dict[str, Any],
        *args: Any,
        model: Any = None,
        missing_keys: Any = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        plain = {}
        # A tensor of the checkpoint may be divided into several parameters.
        for name in list(input_dict):
            value = input_dict.pop(name)
            weight = value[0] if isinstance(value, list) else value
            if not self._pack(model, name, weight):
                plain[name] = weight
            elif missing_keys is not None:
                missing_keys.difference_update(self._quantizer.with_same_weight(name))
        return plain

    def _pack(self, model: Any, name: str, weight: torch.Tensor) -> bool:
        quantizer = self._quantizer
        if name not in quantizer._to_pack:
            return False
        module, tensor = get_module_from_name(model, name)
        owner = name.rpartition(".")[0]
        exact = quantizer.quantization_config.exact
        if weight.shape != getattr(module, tensor).shape:
            # Reported by transformers, as for every other parameter.
            quantizer._to_pack -= quantizer.with_same_weight(name)
            return False
        try:
            embedding = quantizer._embedding
            if embedding is not None and name in embedding.parameters:
                embedding.place(model, owner, pack(weight), exact)
            elif type(module) is torch.nn.Linear:
                packed = Linear.from_weight(weight, module.bias, exact)
                model.set_submodule(owner, packed.train(module.training))
            else:
                stack = Stack.from_weight(weight)
                delattr(module, tensor)
                setattr(module, tensor, stack)
        except NoPackedForm as error:
            quantizer.keep(name, owner if tensor == "weight" else name, str(error))
            return False
        return True


def packing(model: Any) -> Packing:
    """What of a model is packed, and what is not."""
    packed = [
        module
        for module in model.modules()
        # The weight of these is counted with their embeddings.
        if isinstance(module, _PACKED) and not isinstance(module, TiedLinear)
    ]
    reasons = getattr(getattr(model.config, "quantization_config", None), "kept_plain", {})
    plain, sizes = {}, {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if parameter.dtype != torch.bfloat16 or parameter.dim() < 2:
            continue
        owner = name.rpartition(".")[0]
        kind = type(model.get_submodule(owner)).__name__
        other = (
            f"a parameter of {kind}, expected torch.nn.Linear, the embedding of tokens, or experts"
        )
        plain[name] = reasons.get(name) or reasons.get(owner, other)
        sizes[id(parameter)] = parameter.nbytes
    return Packing(
        matrices=sum(module.shape[0] if isinstance(module, Stack) else 1 for module in packed),
        packed_bytes=sum(
            module.nbytes if isinstance(module, Embedding) else module.packed.nbytes
            for module in packed
        ),
        weights=sum(_rows(module) * module.packed.columns for module in packed),
        plain=plain,
        plain_bytes=sum(sizes.values()),
    )


def _rows(module: Any) -> int:
    """The number of rows of a packed module's matrix."""
    if isinstance(module, Stack):
        return module.rows
    rows: int = module.num_embeddings if isinstance(module, Embedding) else module.out_features
    return rows


def _register() -> None:
    # The module may be imported again.
    if METHOD not in AUTO_QUANTIZER_MAPPING:
        register_quantization_config(METHOD)(UnweightConfig)
        register_quantizer(METHOD)(UnweightQuantizer)


_register()
