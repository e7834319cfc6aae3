"""The module `Embedding`, whose weight stays packed, and the linear layer that shares it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch

from ._deferred import DeferredTensor, Layout
from ._embedding import RowPatches, lookup, row_patches
from ._errors import WrongArgument
from ._linear import Linear, fit_buffers
from ._packed import Packed, check_values, pack

__all__ = ["Embedding", "TiedLinear"]

_OF_ROWS = ("row_patch_starts", "row_patches")


class Embedding(torch.nn.Embedding):
    """Same as `torch.nn.Embedding`, with a BF16 weight that stays packed: 12 bits for each weight
    instead of 16. Rows are restored exactly when they are looked up. The weight gets no gradient.

    Attributes:
        num_embeddings, embedding_dim: Rows and columns of the weight.
        k_tiles, patches, patch_ends, palette: Buffers, the packed weight, as those of `Linear`.
        row_patch_starts, row_patches: Buffers that are not saved: the patches, sorted by row.
    """

    k_tiles: torch.Tensor
    patches: torch.Tensor
    patch_ends: torch.Tensor
    palette: torch.Tensor
    row_patch_starts: torch.Tensor
    row_patches: torch.Tensor

    def __init__(self, *arguments: Any, **options: Any) -> None:
        raise WrongArgument("an embedding is packed by Embedding.from_embedding")

    @classmethod
    def from_embedding(cls, embedding: torch.nn.Embedding) -> Embedding:
        """Packs the weight of a module on its device. The result has the other attributes of the
        module, and the methods of its class, to which this class is the base in place of
        `torch.nn.Embedding`.

        Raises:
            NoPackedForm: The weight has no packed form; keep the module.
            WrongArgument: The weight is not BF16; or the module has a ``max_norm``, by which a look-up
                changes the weight.
        """
        if embedding.max_norm is not None:
            raise WrongArgument("found an embedding with max_norm, whose weight changes; keep it")
        return cls.with_packed(embedding, pack(embedding.weight))

    @classmethod
    def with_packed(cls, embedding: torch.nn.Embedding, packed: Packed) -> Embedding:
        """Same, for a weight that was packed before. On the device ``"meta"`` it is set later."""
        made: Embedding = _copied(embedding, _packed_kind(type(embedding)))
        del made._parameters["weight"]
        for name, tensor in packed._asdict().items():
            made.register_buffer(name, tensor)
        starts = packed.k_tiles.new_empty(embedding.num_embeddings + 1, dtype=torch.int32)
        for name, tensor in zip(_OF_ROWS, (starts, packed.patches.new_empty(0)), strict=True):
            made.register_buffer(name, tensor, persistent=False)
        if packed.k_tiles.device.type != "meta":
            made.sort_patches()
        return made

    @property
    def packed(self) -> Packed:
        """The packed weight."""
        return Packed(self.k_tiles, self.patches, self.patch_ends, self.palette)

    @property
    def nbytes(self) -> int:
        """The size of the buffers in bytes."""
        of_rows: int = self.row_patch_starts.nbytes + self.row_patches.nbytes
        return self.packed.nbytes + of_rows

    @property
    def weight(self) -> torch.Tensor:  # type: ignore[override]
        """The weight: ``bfloat16`` [num_embeddings, embedding_dim]. It is restored when it is used,
        not for its type, shape or device. What is written to it does not change the module."""
        if torch.compiler.is_compiling():
            return self.restored()
        weight: Any = DeferredTensor.of(_Weight(self))
        # transformers initializes what it has not read.
        weight._is_hf_initialized = True
        return weight  # type: ignore[no-any-return]

    def restored(self) -> torch.Tensor:
        """The weight, restored."""
        weight: torch.Tensor = torch.ops.unweight.restore(*self.packed, self.num_embeddings)
        return weight

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Rows of the weight: ``bfloat16`` [..., embedding_dim] for indices [...]. On a CUDA device
        indices are not checked: the first or the last row takes the place of those that are
        outside."""
        patches = RowPatches(self.row_patch_starts, self.row_patches)
        return lookup(input, self.k_tiles, self.palette, patches)

    def sort_patches(self) -> None:
        """Sorts the patches by row, after the packed weight was set.

        Raises:
            WrongArgument: The buffers are not those of a packed matrix.
        """
        check_values(self.packed, self.num_embeddings)
        sorted_patches = row_patches(self.packed, self.num_embeddings)
        for name, tensor in zip(_OF_ROWS, sorted_patches, strict=True):
            setattr(self, name, tensor)

    def to_embedding(self) -> torch.nn.Embedding:
        """The module with a plain weight."""
        made: torch.nn.Embedding = _copied(self, _plain_kind(type(self)))
        for name in (*Packed._fields, *_OF_ROWS):
            delattr(made, name)
        made.weight = torch.nn.Parameter(self.restored())
        return made

    def extra_repr(self) -> str:
        bits = 8 * self.nbytes / (self.num_embeddings * self.embedding_dim)
        return f"{super().extra_repr()}, bits_per_weight={bits:.2f}"

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *arguments: Any, **options: Any
    ) -> None:
        fit_buffers(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *arguments, **options)
        if self.k_tiles.device.type != "meta":
            self.sort_patches()

    def __reduce__(self) -> Any:
        # The class may be one that no module has.
        return _new, (_plain_kind(type(self)),), self.__dict__


class TiedLinear(Linear):
    """A linear layer with the weight of an `Embedding`, as the head of many language models. It has no
    weight of its own, so that the weight is in memory once, whatever device the model is moved to.

    Attributes:
        in_features, out_features: Columns and rows of the weight.
        exact: As that of `Linear`.
        bias: A parameter, or None.
    """

    def __init__(
        self,
        embedding: Embedding,
        bias: torch.nn.Parameter | None = None,
        exact: bool = False,
    ) -> None:
        torch.nn.Module.__init__(self)
        self.in_features = embedding.embedding_dim
        self.out_features = embedding.num_embeddings
        self.exact = exact
        self.register_parameter("bias", bias)
        # In a tuple, because as a submodule it would be saved twice.
        self._embedding = (embedding,)

    @property
    def embedding(self) -> Embedding:
        """The module that has the weight."""
        return self._embedding[0]

    @property
    def packed(self) -> Packed:
        return self.embedding.packed

    def _load_from_state_dict(self, *arguments: Any, **options: Any) -> None:
        torch.nn.Module._load_from_state_dict(self, *arguments, **options)


class _Weight:
    """The weight of an embedding, for a tensor that is restored when it is used. What is written to
    that tensor does not change the embedding."""

    dtype = torch.bfloat16

    def __init__(self, embedding: Embedding) -> None:
        self._embedding = embedding
        self.shape: tuple[int, ...] = (embedding.num_embeddings, embedding.embedding_dim)
        self.device = embedding.k_tiles.device
        self._changed: torch.Tensor | None = None

    def read(
        self, layout: Layout, device: torch.device, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        weight = self._embedding.restored() if self._changed is None else self._changed
        found = weight.as_strided(*layout)
        return found.to(device) if out is None else out.copy_(found)

    def changed(self) -> torch.Tensor:
        if self._changed is None:
            self._changed = self._embedding.restored()
        return self._changed


# Classes for packed modules of other classes.
_KINDS: dict[Any, Any] = {torch.nn.Embedding: Embedding}


def _packed_kind(kind: Any) -> Any:
    """The class for packed modules of a class."""
    if issubclass(kind, Embedding):
        return kind
    if kind not in _KINDS:
        members = {"__module__": kind.__module__}
        _KINDS[kind] = type(f"Packed{kind.__name__}", (kind, Embedding), members)
    return _KINDS[kind]


def _plain_kind(kind: type[Embedding]) -> type[torch.nn.Embedding]:
    return torch.nn.Embedding if kind is Embedding else kind.__bases__[0]


def _new(kind: type[torch.nn.Embedding]) -> Embedding:
    packed: Any = _packed_kind(kind)
    made: Embedding = packed.__new__(packed)
    return made


def _copied(module: torch.nn.Module, kind: Any) -> Any:
    """A module of a class with the attributes of another one, whose tensors it shares."""
    made = kind.__new__(kind)
    for name, value in module.__dict__.items():
        made.__dict__[name] = copy.copy(value) if isinstance(value, (dict, set)) else value
    return made
