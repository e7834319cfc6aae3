"""The embedding of tokens, and the head that is tied to it, as packed modules of a model."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel
from transformers.utils import logging

from .._linear import Linear
from .._packed import NoPackedForm, Packed, layout, pack
from .._packed_embedding import Embedding, TiedLinear

__all__ = ["TokenEmbedding", "dequantize", "find", "make_resizable"]

_LOGGER = logging.get_logger(__name__)


class TokenEmbedding(NamedTuple):
    """The names of an embedding, and of the linear layer that has the same weight, if there is one."""

    embedding: str
    head: str | None

    @property
    def parameters(self) -> list[str]:
        """The names of their weights."""
        return [f"{name}.weight" for name in (self.embedding, self.head) if name is not None]

    def reason_to_keep(self, model: Any, is_excluded: Callable[[str], bool]) -> str | None:
        """Why it is not packed; None if it is.

        Args:
            model: The model.
            is_excluded: Whether a module of this name stays as it is.
        """
        if is_excluded(self.embedding):
            return "in modules_to_not_convert"
        if self.head is not None and is_excluded(self.head):
            return f"tied to {self.head}, which is in modules_to_not_convert"
        module = model.get_submodule(self.embedding)
        if module.max_norm is not None or module.sparse:
            return "an embedding with max_norm or sparse gradients"
        heads = [] if self.head is None else [model.get_submodule(self.head)]
        tied = _tied(model, self.parameters[0]) - set(self.parameters)
        if tied or any(type(head) is not torch.nn.Linear for head in heads):
            return "tied to another module than one torch.nn.Linear"
        try:
            layout(module.num_embeddings, module.embedding_dim)
        except NoPackedForm as error:
            return str(error)
        return None

    def place(self, model: Any, name: str, packed: Packed, exact: bool) -> None:
        """Gives the modules a packed weight that was read for one of them. transformers does not know
        any more that they are tied."""
        if isinstance(model.get_submodule(self.embedding), Embedding):
            self._place_second(model, name, packed)
            return
        if self.head is not None:
            _forget_tying(model, set(self.parameters))
        plain = model.get_submodule(self.embedding)
        embedding = Embedding.with_packed(plain, packed)
        model.set_submodule(self.embedding, embedding)
        if self.head is not None:
            head = model.get_submodule(self.head)
            tied = TiedLinear(embedding, head.bias, exact).train(head.training)
            model.set_submodule(self.head, tied)

    def _place_second(self, model: Any, name: str, packed: Packed) -> None:
        """Gives a module a weight of its own if it has another one in the checkpoint than the module
        that it is tied to."""
        embedding: Any = model.get_submodule(self.embedding)
        head: Any = None if self.head is None else model.get_submodule(self.head)
        pairs = zip(embedding.packed, packed, strict=True)
        if head is None or all(torch.equal(one, other) for one, other in pairs):
            return
        _LOGGER.warning(
            f"found different weights for {self.embedding} and {self.head}, which the configuration "
            "ties, so they are not tied"
        )
        of_head = packed
        if name == self.embedding:
            of_head = embedding.packed
            model.set_submodule(name, Embedding.with_packed(embedding.to_embedding(), packed))
        linear = Linear(of_head, head.out_features, head.bias, head.exact).train(head.training)
        model.set_submodule(self.head, linear)
        # So that a saved model is loaded with both.
        model.config.get_text_config().tie_word_embeddings = False


def find(model: Any) -> TokenEmbedding | None:
    """The embedding of tokens of a model; None if it has none that is an embedding of torch."""
    try:
        module = model.get_input_embeddings()
    except NotImplementedError:
        return None
    names = [name for name, other in model.named_modules() if other is module]
    if not isinstance(module, torch.nn.Embedding) or not names:
        return None
    weight = f"{names[0]}.weight"
    heads = [
        name.rpartition(".")[0]
        for name in sorted(_tied(model, weight) - {weight})
        if name.endswith(".weight")
    ]
    return TokenEmbedding(names[0], heads[0] if heads else None)


def dequantize(model: Any) -> None:
    """Makes plain modules of packed embeddings and of what is tied to them."""
    plain = {}
    for name, module in list(model.named_modules()):
        if isinstance(module, Embedding):
            plain[module] = module.to_embedding()
            model.set_submodule(name, plain[module])
    for name, module in list(model.named_modules()):
        if isinstance(module, TiedLinear):
            linear = module._with_weight(plain[module.embedding].weight)
            model.set_submodule(name, linear.train(module.training))
    for _, part in _models(model):
        part.__dict__.pop("_tied_weights_keys", None)
    for _, part in _models(model):
        part.all_tied_weights_keys = part.get_expanded_tied_weights_keys(all_submodels=True)
    model.__dict__.pop("resize_token_embeddings", None)


def make_resizable(model: Any, config: Any) -> None:
    """Makes `resize_token_embeddings` of a model work: it gets plain modules, which are packed again.

    Args:
        model: The model, whose embedding is packed.
        config: Its `UnweightConfig`.
    """
    model.resize_token_embeddings = functools.partial(_resize, model, config)


def _resize(model: Any, config: Any, *args: Any, **kwargs: Any) -> Any:
    head = model.get_output_embeddings()
    has_packed_head = isinstance(head, Linear) and not isinstance(head, TiedLinear)
    dequantize(model)
    if has_packed_head:
        model.set_output_embeddings(head.to_linear())
    model.resize_token_embeddings(*args, **kwargs)
    # Its rows are others, and its columns the same.
    names = find(model)
    if names is not None:
        try:
            packed = pack(model.get_submodule(names.embedding).weight)
        except NoPackedForm as error:
            config.kept_plain[names.embedding] = str(error)
        else:
            names.place(model, names.embedding, packed, config.exact)
            make_resizable(model, config)
    if has_packed_head:
        head = model.get_output_embeddings()
        try:
            model.set_output_embeddings(Linear.from_linear(head, config.exact))
        except NoPackedForm as error:
            name = next(name for name, module in model.named_modules() if module is head)
            config.kept_plain[name] = str(error)
    return model.get_input_embeddings()


def _tied(model: Any, parameter: str) -> set[str]:
    """The names of the parameters that are tied to one, and its own."""
    tied = getattr(model, "all_tied_weights_keys", {})
    source = tied.get(parameter, parameter)
    return {source, parameter, *(name for name, other in tied.items() if other == source)}


def _models(model: Any) -> list[tuple[str, Any]]:
    """The models that a model consists of, with itself, and the prefixes of their parameters."""
    return [
        (f"{name}." if name else "", module)
        for name, module in model.named_modules()
        if isinstance(module, PreTrainedModel)
    ]


def _forget_tying(model: Any, parameters: set[str]) -> None:
    for prefix, part in _models(model):
        for attribute, tied in (
            ("_tied_weights_keys", part.get_expanded_tied_weights_keys()),
            ("all_tied_weights_keys", getattr(part, "all_tied_weights_keys", {})),
        ):
            left = {key: of for key, of in tied.items() if prefix + key not in parameters}
            setattr(part, attribute, left)
