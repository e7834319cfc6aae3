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
from ._operators import LIBRARY, PACKED, define
from ._packed import NoPackedForm, Packed, columns_of

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
    return k_tiles.new_empty((out_features, columns_of(k_tiles)), dtype=torch.bfloat16)


def _linear(
    x: torch.Tensor,
    k_tiles: torch.Tensor,
    patches: torch.Tensor,
    patch_ends: torch.Tensor,
    palette: torch.Tensor,
    out_features: int,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    packed = Packed(k_tiles, patches, patch_ends, palette)
    return _packed.linear(x, packed, out_features, bias)


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


define("restore", f"({PACKED}, SymInt out_features) -> Tensor", _restore, _restore_fake)
define(
    "linear",
    f"(Tensor x, {PACKED}, SymInt out_features, Tensor? bias=None) -> Tensor",
    _linear,
    _linear_fake,
)


def _save_for_backward(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    _, k_tiles, patches, patch_ends, palette, out_features, _ = inputs
    ctx.save_for_backward(k_tiles, patches, patch_ends, palette)
    ctx.out_features = out_features


def _backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    """Gradients of the input and the bias. The weight has none."""
    of_input = of_bias = None
    if ctx.needs_input_grad[0]:
        weight = torch.ops.unweight.restore(*ctx.saved_tensors, ctx.out_features)
        of_input = gradient @ weight
    if ctx.needs_input_grad[6]:
        of_bias = gradient.reshape(-1, ctx.out_features).sum(0)
    return of_input, None, None, None, None, None, of_bias


torch.library.register_autograd(
    "unweight::linear", _backward, setup_context=_save_for_backward, lib=LIBRARY
)


class Linear(torch.nn.Module):
    """Same as `torch.nn.Linear`, with a BF16 weight that stays packed: 12 bits for each weight
    instead of 16, restored exactly whenever it is used.

    On the CPU, and anywhere if ``exact``, results equal those of `torch.nn.Linear` with the same
    weight bit for bit: the weight is restored, and torch multiplies. On a CUDA device without
    ``exact``, weights are rebuilt on the way to the tensor cores, which is faster than torch with a
    plain weight for few rows of input. Each sum is FP32, in another order than torch's, and rounded
    once. The weight gets no gradient; the input and the bias do.

    Attributes:
        in_features, out_features: Columns and rows of the weight.
        exact: Whether results are torch's bit for bit on every device.
        k_tiles, patches, patch_ends, palette: Buffers, the packed weight. ``patches`` and ``palette``
            have other lengths for other matrices; ``load_state_dict`` takes any.
        bias: A parameter, or None.
    """

    k_tiles: torch.Tensor
    patches: torch.Tensor
    patch_ends: torch.Tensor
    palette: torch.Tensor
    bias: torch.nn.Parameter | None

    def __init__(
        self,
        packed: Packed,
        out_features: int,
        bias: torch.nn.Parameter | None = None,
        exact: bool = False,
    ) -> None:
        super().__init__()
        self.in_features = packed.columns
        self.out_features = out_features
        self.exact = exact
        for name, tensor in zip(_BUFFERS, packed, strict=True):
            self.register_buffer(name, tensor)
        self.register_parameter("bias", bias)

    @classmethod
    def from_linear(cls, linear: torch.nn.Linear, exact: bool = False) -> Linear:
        """Packs the weight of a module on its device. The bias is shared with it.

        Raises:
            NoPackedForm: The weight has no packed form; keep the module.
            WrongArgument: The weight is not BF16.
        """
        return cls.from_weight(linear.weight, linear.bias, exact)

    @classmethod
    def from_weight(
        cls,
        weight: torch.Tensor,
        bias: torch.nn.Parameter | None = None,
        exact: bool = False,
    ) -> Linear:
        """Packs a BF16 matrix of outputs x inputs on its device.

        Raises:
            NoPackedForm: It has no packed form.
            WrongArgument: It is not a matrix of BF16.
        """
        return cls(_packed.pack(weight), weight.shape[0], bias, exact)

    @classmethod
    def from_file(
        cls, file: safe_open, name: str, bias: str | None = None, exact: bool = False
    ) -> Linear:
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
        return cls.from_weight(weight, given, exact)

    @classmethod
    def empty(
        cls,
        in_features: int,
        out_features: int,
        bias: bool = False,
        device: Any = None,
        exact: bool = False,
    ) -> Linear:
        """A module whose packed weight is not set yet: call ``load_state_dict``.

        Raises:
            NoPackedForm: A matrix of this shape has no packed form.
        """
        k_tiles = torch.empty(_packed.layout(out_features, in_features), dtype=torch.uint8, device=device)
        packed = Packed(
            k_tiles,
            torch.empty(0, dtype=torch.int32, device=device),
            # No matrix has these, so that a use is an error on the CPU.
            torch.full((k_tiles.shape[0],), -1, dtype=torch.int32, device=device),
            torch.empty(1, dtype=torch.uint8, device=device),
        )
        values = torch.empty(out_features, dtype=torch.bfloat16, device=device) if bias else None
        parameter = None if values is None else torch.nn.Parameter(values)
        return cls(packed, out_features, parameter, exact)

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
        if self.exact or (x.device.type == "cpu" and self.packed.k_tiles.device.type == "cpu"):
            # In two steps, so that a compiler treats the product as that of a plain module.
            return functional.linear(x, self.weight, self.bias)
        product: torch.Tensor = torch.ops.unweight.linear(
            x, *self.packed, self.out_features, self.bias
        )
        return product

    def to_linear(self) -> torch.nn.Linear:
        """The module with a plain weight."""
        return self._with_weight(torch.nn.Parameter(self.weight))

    def _with_weight(self, weight: torch.Tensor) -> torch.nn.Linear:
        """The module with this parameter as its weight, which may be that of another module too."""
        linear = torch.nn.Linear(
            self.in_features, self.out_features, bias=False, device="meta", dtype=weight.dtype
        )
        linear.weight = weight
        linear.bias = self.bias  # type: ignore[assignment]
        return linear

    def extra_repr(self) -> str:
        bits = 8 * self.packed.nbytes / (self.in_features * self.out_features)
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, bits_per_weight={bits:.2f}"
            + (", exact" if self.exact else "")
        )

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *arguments: Any, **options: Any
    ) -> None:
        fit_buffers(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *arguments, **options)


def fit_buffers(module: torch.nn.Module, state_dict: Mapping[str, Any], prefix: str) -> None:
    """Gives the buffers of a packed matrix, whose lengths depend on the weights, those of a state."""
    for name in ("patches", "palette"):
        given, own = state_dict.get(prefix + name), module.get_buffer(name)
        if isinstance(given, torch.Tensor) and given.shape != own.shape:
            setattr(module, name, own.new_empty(given.shape))
