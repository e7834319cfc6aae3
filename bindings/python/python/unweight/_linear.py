"""Operators of torch for packed matrices, and the module `Linear`.

``unweight::restore`` and ``unweight::linear`` take the tensors of a packed matrix. They work under
``torch.compile``, which sees them as one call each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional

from . import _packed
from ._errors import UnsupportedDtype, WrongArgument
from ._open import safe_open
from ._packed import NoPackedForm, Packed

__all__ = ["Linear", "NoPackedForm", "Packed"]

_BUFFERS = Packed._fields


def _restore(
    k_tiles: torch.Tensor,
    patches: torch.Tensor,
    patch_ends: torch.Tensor,
    palette: torch.Tensor,
    out_features: int,
) -> torch.Tensor:
    return _packed.restore(Packed(k_tiles, patches, patch_ends, palette), out_features)


def _restore_fake(
    k_tiles: torch.Tensor,
    patches: torch.Tensor,
    patch_ends: torch.Tensor,
    palette: torch.Tensor,
    out_features: int,
) -> torch.Tensor:
    return k_tiles.new_empty((out_features, 64 * k_tiles.shape[1]), dtype=torch.bfloat16)


def _linear(
    x: torch.Tensor,
    k_tiles: torch.Tensor,
    patches: torch.Tensor,
    patch_ends: torch.Tensor,
    palette: torch.Tensor,
    out_features: int,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    _packed.require_cpu(x, bias)
    weight = _restore(k_tiles, patches, patch_ends, palette, out_features)
    return functional.linear(x, weight, bias)


def _linear_fake(
    x: torch.Tensor,
    k_tiles: torch.Tensor,
    patches: torch.Tensor,
    patch_ends: torch.Tensor,
    palette: torch.Tensor,
    out_features: int,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    return x.new_empty((*x.shape[:-1], out_features))


# The schemas are given, because annotations are strings here.
_TENSORS = "Tensor k_tiles, Tensor patches, Tensor patch_ends, Tensor palette, SymInt out_features"
_restore_op = torch.library.custom_op(
    "unweight::restore", _restore, mutates_args=(), schema=f"({_TENSORS}) -> Tensor"
)
_restore_op.register_fake(_restore_fake)
_linear_op = torch.library.custom_op(
    "unweight::linear",
    _linear,
    mutates_args=(),
    schema=f"(Tensor x, {_TENSORS}, Tensor? bias=None) -> Tensor",
)
_linear_op.register_fake(_linear_fake)


class Linear(torch.nn.Module):
    """Same as `torch.nn.Linear`, with a BF16 weight that stays packed: 12 bits for each weight
    instead of 16, restored exactly whenever it is used.

    Results equal those of `torch.nn.Linear` with the same weight bit for bit: the weight is
    restored, and torch multiplies. The weight gets no gradient; the input and the bias do.

    This version multiplies on the CPU only. `NoDevice` is raised elsewhere.

    Attributes:
        in_features, out_features: Columns and rows of the weight.
        k_tiles, patches, patch_ends, palette: Buffers, the packed weight. ``patches`` has another
            length for each matrix; ``load_state_dict`` takes any.
        bias: A parameter, or None.
    """

    k_tiles: torch.Tensor
    patches: torch.Tensor
    patch_ends: torch.Tensor
    palette: torch.Tensor
    bias: torch.nn.Parameter | None

    def __init__(
        self, packed: Packed, out_features: int, bias: torch.nn.Parameter | None = None
    ) -> None:
        super().__init__()
        self.in_features = 64 * packed.k_tiles.shape[1]
        self.out_features = out_features
        for name, tensor in zip(_BUFFERS, packed, strict=True):
            self.register_buffer(name, tensor)
        self.register_parameter("bias", bias)

    @classmethod
    def from_linear(cls, linear: torch.nn.Linear) -> Linear:
        """Packs the weight of a module. The bias is shared with it.

        Raises:
            NoPackedForm: The weight has no packed form; keep the module.
            WrongArgument: The weight is not BF16.
        """
        return cls.from_weight(linear.weight, linear.bias)

    @classmethod
    def from_weight(
        cls, weight: torch.Tensor, bias: torch.nn.Parameter | None = None
    ) -> Linear:
        """Packs a BF16 matrix of outputs x inputs.

        Raises:
            NoPackedForm: It has no packed form.
            WrongArgument: It is not a matrix of BF16.
        """
        return cls(_packed.pack(weight), weight.shape[0], bias)

    @classmethod
    def from_file(cls, file: safe_open, name: str, bias: str | None = None) -> Linear:
        """Packs the tensor ``name`` of a file that was opened for torch, and takes ``bias`` of it.

        Raises:
            NoPackedForm: The tensor has no packed form.
            WrongArgument: It is not a matrix of BF16.
            NoTensor: The file has no tensor of this name.
        """
        weight = file.get_tensor(name)
        if not isinstance(weight, torch.Tensor):
            raise WrongArgument("found a file opened for numpy, expected framework 'pt'")
        given = None
        if bias is not None:
            values = file.get_tensor(bias)
            given = torch.nn.Parameter(values, requires_grad=values.is_floating_point())
        return cls.from_weight(weight, given)

    @classmethod
    def empty(
        cls, in_features: int, out_features: int, bias: bool = False, device: Any = None
    ) -> Linear:
        """A module whose packed weight is not set yet: call ``load_state_dict``.

        Raises:
            NoPackedForm: A matrix of this shape has no packed form.
        """
        k_tiles = torch.empty(_packed.layout(out_features, in_features), dtype=torch.uint8, device=device)
        packed = Packed(
            k_tiles,
            torch.empty(0, dtype=torch.int32, device=device),
            torch.empty(k_tiles.shape[0], dtype=torch.int32, device=device),
            torch.empty(16, dtype=torch.uint8, device=device),
        )
        values = torch.empty(out_features, dtype=torch.bfloat16, device=device) if bias else None
        return cls(packed, out_features, None if values is None else torch.nn.Parameter(values))

    @property
    def packed(self) -> Packed:
        """The packed weight."""
        return Packed(self.k_tiles, self.patches, self.patch_ends, self.palette)

    @property
    def weight(self) -> torch.Tensor:
        """The weight, restored: ``bfloat16`` [out_features, in_features]. Each access makes a new
        tensor."""
        weight: torch.Tensor = torch.ops.unweight.restore(*self.packed, self.out_features)
        return weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x W^T + bias, for ``bfloat16`` [..., in_features]."""
        if x.dtype != torch.bfloat16:
            raise UnsupportedDtype(
                f"found an input of {x.dtype}, expected bfloat16, the type of the packed weight"
            )
        if x.device.type == "cpu" and self.k_tiles.device.type == "cpu":
            # In two steps, so that a compiler treats the product as that of a plain module.
            return functional.linear(x, self.weight, self.bias)
        product: torch.Tensor = torch.ops.unweight.linear(
            x, *self.packed, self.out_features, self.bias
        )
        return product

    def to_linear(self) -> torch.nn.Linear:
        """The module with a plain weight."""
        weight = self.weight
        linear = torch.nn.Linear(
            self.in_features, self.out_features, bias=False, device="meta", dtype=weight.dtype
        )
        linear.weight = torch.nn.Parameter(weight)
        linear.bias = self.bias  # type: ignore[assignment]
        return linear

    def extra_repr(self) -> str:
        bits = 8 * self.packed.nbytes / (self.in_features * self.out_features)
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, bits_per_weight={bits:.2f}"
        )

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *arguments: Any, **options: Any
    ) -> None:
        # The number of patches depends on the weights.
        patches = state_dict.get(prefix + "patches")
        if isinstance(patches, torch.Tensor) and patches.shape != self.patches.shape:
            self.patches = self.patches.new_empty(patches.shape)
        super()._load_from_state_dict(state_dict, prefix, *arguments, **options)
