"""Weights of experts that stay packed.

transformers keeps the matrices of all experts of a layer in one parameter of three dimensions.
A `Stack` takes its place, so that the code of transformers runs unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.utils import _pytree

from .. import _experts as _operators  # noqa: F401  # Registers the operators.
from .. import _linear, _packed
from .._packed import Packed

__all__ = ["Stack", "is_experts", "parameters"]

_BUFFERS = Packed._fields


def parameters(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module, str]]:
    """The parameters that a `Stack` can replace: name, module, and name in the module."""
    for name, module in model.named_modules():
        if not is_experts(module):
            continue
        for tensor, parameter in list(module.named_parameters(recurse=False)):
            if parameter.dim() == 3:
                yield f"{name}.{tensor}", module, tensor


def is_experts(module: torch.nn.Module) -> bool:
    """Whether a module has the experts of a layer in parameters of three dimensions."""
    # Set by the decorator `use_experts_implementation`. Other modules may use their parameters in
    # ways that a stack does not support.
    return all(hasattr(module, name) for name in ("config", "has_gate", "is_transposed"))


class Stack(torch.nn.Module):
    """Experts x rows x columns of BF16 weights, packed as one matrix of experts * rows rows.

    Indexing it gives the tensor that indexing the plain parameter gives, and a function of torch
    that gets it as an argument gets the restored tensor. Only the experts that an index names are
    restored, except while a CUDA graph is captured.

    Attributes:
        shape: Experts, rows and columns.
        k_tiles, patches, patch_ends, palette: Buffers, as those of `unweight.torch.Linear`.
    """

    k_tiles: torch.Tensor
    patches: torch.Tensor
    patch_ends: torch.Tensor
    palette: torch.Tensor

    dtype = torch.bfloat16
    ndim = 3
    # transformers initializes what it has not read.
    _is_hf_initialized = True

    def __init__(self, packed: Packed, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = torch.Size(shape)
        for name, tensor in zip(_BUFFERS, packed, strict=True):
            self.register_buffer(name, tensor)

    @classmethod
    def from_weight(cls, weight: torch.Tensor) -> Stack:
        """Packs a tensor of three dimensions.

        Raises:
            NoPackedForm: It has no packed form.
        """
        experts, rows, columns = weight.shape
        return cls(_packed.pack(weight.reshape(experts * rows, columns)), (experts, rows, columns))

    @classmethod
    def empty(cls, shape: tuple[int, int, int], device: Any = None) -> Stack:
        """A stack whose weights are not set yet.

        Raises:
            NoPackedForm: Weights of this shape have no packed form.
        """
        experts, rows, columns = shape
        return cls(_linear.Linear.empty(columns, experts * rows, device=device).packed, shape)

    @property
    def packed(self) -> Packed:
        """The packed weights."""
        return Packed(self.k_tiles, self.patches, self.patch_ends, self.palette)

    @property
    def rows(self) -> int:
        """The number of rows of the packed matrix."""
        experts, rows, _ = self.shape
        count: int = experts * rows
        return count

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.k_tiles.device

    def restored(self) -> torch.Tensor:
        """All weights."""
        weights: torch.Tensor = torch.ops.unweight.restore(*self.packed, self.rows)
        return weights.view(self.shape)

    def grouped_linear(
        self, x: torch.Tensor, routing: torch.Tensor, top_k: int
    ) -> torch.Tensor:
        """x W^T for each slot, with the W of its expert: ``torch.ops.unweight.grouped_linear``. The
        experts' number of rows has to be a multiple of 16."""
        experts, rows, _ = self.shape
        product: torch.Tensor = torch.ops.unweight.grouped_linear(
            x, *self.packed, routing, experts, rows, top_k
        )
        return product

    def transpose(self, dim0: int, dim1: int) -> torch.Tensor:
        """All weights, transposed."""
        return self.restored().transpose(dim0, dim1)

    def __getitem__(self, index: Any) -> torch.Tensor:
        if isinstance(index, int):
            index = torch.tensor(index)
        if not isinstance(index, torch.Tensor) or index.dtype not in (torch.int64, torch.int32):
            return self.restored()[index]
        experts, rows, columns = self.shape
        found: torch.Tensor = torch.ops.unweight.restore_experts(
            *self.packed, index.reshape(-1), experts, rows
        )
        return found.view(*index.shape, rows, columns)

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        args, kwargs = _pytree.tree_map_only(Stack, Stack.restored, (args, kwargs or {}))
        return func(*args, **kwargs)

    def extra_repr(self) -> str:
        bits = 8 * self.packed.nbytes / self.shape.numel()
        return f"shape={tuple(self.shape)}, bits_per_weight={bits:.2f}"

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *arguments: Any, **options: Any
    ) -> None:
        _linear.fit_buffers(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *arguments, **options)
