"""Tensors of torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ._errors import UnsupportedDtype, WrongArgument

# Older versions of torch lack some of these.
_NAMED = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F4": "float4_e2m1fn_x2",
}
_DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, named) for name, named in _NAMED.items() if hasattr(torch, named)
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
# Older versions of torch lack it.
_INCREMENT_VERSION: Any = getattr(torch.autograd.graph, "increment_version", None)


class Torch:
    """Makes tensors of torch on one device."""

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)

    def new(
        self, tensor: str, dtype: str, shape: Sequence[int], size: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        made = self.empty(tensor, dtype, shape)
        return made, bytes_of(made)

    def empty(self, tensor: str, dtype: str, shape: Sequence[int]) -> torch.Tensor:
        """A new tensor, whose elements have any values."""
        kind, shape = form(tensor, dtype, shape)
        try:
            return torch.empty(tuple(shape), dtype=kind, device=self.device)
        except (OverflowError, TypeError):
            raise WrongArgument(
                f"tensor {tensor!r} has shape {shape}, which torch cannot have", tensor=tensor
            ) from None

    def view(
        self, out: Any, tensor: str, dtype: str, shape: Sequence[int], size: int
    ) -> torch.Tensor:
        self.require_fitting(out, *form(tensor, dtype, shape), tensor)
        return bytes_of(out)

    def require_fitting(
        self, out: Any, kind: torch.dtype, shape: Sequence[int], tensor: str | None = None
    ) -> None:
        """Raises `WrongArgument` for a tensor of the caller that cannot get these elements."""
        if not isinstance(out, torch.Tensor):
            found = f"found out of type {type(out).__name__}"
        elif not self._has(out) or out.layout != torch.strided:
            found = f"found out of layout {out.layout} on {out.device}"
        elif (out.dtype, tuple(out.shape)) != (kind, tuple(shape)):
            found = f"found out of {out.dtype} with shape {tuple(out.shape)}"
        elif out.is_conj() or out.is_neg():
            found = "found out whose conjugation or negation is pending"
        elif not out.is_contiguous():
            found = "found out that is not contiguous"
        else:
            return
        place = "the CPU" if self.device.type == "cpu" else self.device
        raise WrongArgument(
            f"{found}, expected a torch tensor on {place} of {kind} with shape {tuple(shape)}",
            tensor=tensor,
        )

    def _has(self, tensor: torch.Tensor) -> bool:
        # The CPU has no number.
        same_number = self.device.index in (None, tensor.device.index)
        return tensor.device.type == self.device.type and same_number

    def changed(self, out: Any) -> None:
        # Otherwise autograd computes gradients from the new values of a tensor that it has kept.
        if _INCREMENT_VERSION is not None and not out.is_inference():
            _INCREMENT_VERSION(out)


def torch_dtype(tensor: str, dtype: str) -> torch.dtype:
    """The type of torch for a tensor's."""
    kind = _DTYPES.get(dtype)
    if kind is None:
        raise UnsupportedDtype(
            f"tensor {tensor!r} is {dtype}, which torch {torch.__version__} lacks", tensor=tensor
        )
    return kind


def form(
    tensor: str, dtype: str, shape: Sequence[int]
) -> tuple[torch.dtype, Sequence[int]]:
    """Type and shape of the torch tensor for a tensor."""
    kind = torch_dtype(tensor, dtype)
    if dtype != "F4":
        return kind, shape
    # An element of torch holds two.
    if not shape or shape[-1] % 2:
        raise UnsupportedDtype(
            f"tensor {tensor!r} is F4 with shape {tuple(shape)}; torch needs an even last dimension",
            tensor=tensor,
        )
    return kind, [*shape[:-1], shape[-1] // 2]


def given(name: str, tensor: Any) -> tuple[str, str, Sequence[int], torch.Tensor]:
    """What the extension module needs to save a tensor."""
    if not isinstance(tensor, torch.Tensor):
        kind = type(tensor).__name__
        raise WrongArgument(f"found {kind} for {name!r}, expected a torch tensor", tensor=name)
    if tensor.layout != torch.strided:
        raise WrongArgument(
            f"tensor {name!r} is {tensor.layout}, expected a dense one; use to_dense()", tensor=name
        )
    if not tensor.is_contiguous():
        raise WrongArgument(
            f"tensor {name!r} is not contiguous; call contiguous() before saving it", tensor=name
        )
    dtype = _NAMES.get(tensor.dtype)
    if dtype is None:
        raise UnsupportedDtype(
            f"tensor {name!r} is {tensor.dtype}, which safetensors files cannot hold", tensor=name
        )
    shape = list(tensor.shape)
    if dtype == "F4":
        if not shape:
            raise UnsupportedDtype(f"tensor {name!r} is a scalar of {tensor.dtype}", tensor=name)
        shape[-1] *= 2
    # A tensor whose negation or conjugation is pending gets it.
    plain = tensor.detach().resolve_neg().resolve_conj().cpu()
    return name, dtype, shape, bytes_of(plain)


def bytes_of(tensor: torch.Tensor) -> torch.Tensor:
    """A view of the bytes of a contiguous tensor."""
    return tensor.detach().reshape(-1).view(torch.uint8)
