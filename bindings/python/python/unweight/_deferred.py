"""Tensors that are made when they are used.

A `DeferredTensor` has the type, shape and device of a tensor, and a source that makes its elements.
It keeps track of views, so that the source can make a part of the tensor, and where a copy needs it.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
from torch.utils import _pytree

_aten = torch.ops.aten


class Layout(NamedTuple):
    """Where the elements of a view are in memory."""

    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @classmethod
    def of(cls, view: torch.Tensor) -> Layout:
        """The layout of a tensor."""
        return cls(tuple(view.size()), tuple(view.stride()), int(view.storage_offset()))


class Source(Protocol):
    """Makes the elements of a contiguous tensor."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    def read(
        self, layout: Layout, device: torch.device, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The elements of a view of the tensor on a device, in a new tensor or in ``out``, which is
        there."""
        ...

    def changed(self) -> torch.Tensor:
        """The tensor, to be written to. What is read from then on is that of this tensor."""
        ...


class DeferredTensor(torch.Tensor):
    """A tensor, or a view of one, that its source makes when it is copied or used otherwise. If
    somebody writes to it, all views of the tensor change."""

    # A tensor without memory that has the layout.
    _view: torch.Tensor
    _source: Source

    @staticmethod
    def __new__(cls, source: Source, view: torch.Tensor) -> DeferredTensor:
        made: DeferredTensor = torch.Tensor._make_wrapper_subclass(
            cls,
            view.size(),
            strides=view.stride(),
            storage_offset=view.storage_offset(),
            dtype=view.dtype,
            device=source.device,
        )
        made._source, made._view = source, view
        return made

    @classmethod
    def of(cls, source: Source) -> DeferredTensor:
        """The whole tensor of a source."""
        return cls(source, torch.empty(source.shape, dtype=source.dtype, device="meta"))

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        first, *others = args
        if func is _aten.copy_.default and not isinstance(first, cls):
            # Counting copies to the meta device tells vLLM when a layer is complete.
            if first.is_meta:
                return first
            deferred = others[0]
            return deferred._source.read(Layout.of(deferred._view), first.device, first)
        alias = func._schema.arguments[0].alias_info
        if alias is not None and isinstance(first, cls):
            if alias.is_write:
                first = first._source.changed().as_strided(*Layout.of(first._view))
            else:
                found = func(first._view, *others, **kwargs)
                if all(_is_view(made, first._view) for made in _pytree.tree_leaves(found)):
                    return _pytree.tree_map(lambda made: cls(first._source, made), found)
        device = kwargs.get("device")

        def read(deferred: DeferredTensor) -> torch.Tensor:
            source = deferred._source
            return source.read(Layout.of(deferred._view), torch.device(device or source.device))

        args, kwargs = _pytree.tree_map_only(cls, read, ((first, *others), kwargs))
        return func(*args, **kwargs)

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"DeferredTensor(shape={tuple(self.shape)}, dtype={self.dtype})"


def _is_view(made: Any, of: torch.Tensor) -> bool:
    """Whether a tensor that was made of one without memory is a view of it."""
    return bool(
        isinstance(made, torch.Tensor)
        and made.is_meta
        and made.dtype == of.dtype
        and made.untyped_storage()._cdata == of.untyped_storage()._cdata
    )
