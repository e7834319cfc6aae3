"""Arrays of numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._errors import UnsupportedDtype, WrongArgument

Array = NDArray[Any]

_OWN = {
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
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
}
# Names in ml_dtypes, and integers with the same bits.
_FOREIGN = {
    "BF16": ("bfloat16", "uint16"),
    "F8_E4M3": ("float8_e4m3fn", "uint8"),
    "F8_E5M2": ("float8_e5m2", "uint8"),
    "F8_E8M0": ("float8_e8m0fnu", "uint8"),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", "uint8"),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", "uint8"),
}
_NAMES = {numpy: name for name, numpy in _OWN.items()}
_NAMES |= {foreign: name for name, (foreign, _) in _FOREIGN.items()}


class Numpy:
    """Makes arrays of numpy. With ``as_bits`` types that numpy lacks become unsigned integers."""

    def __init__(self, as_bits: bool) -> None:
        self._as_bits = as_bits

    def new(self, tensor: str, dtype: str, shape: Sequence[int], size: int) -> tuple[Array, Array]:
        kind, shape = self._form(tensor, dtype, shape, size)
        try:
            array = np.empty(shape, kind)
        except ValueError:
            raise WrongArgument(
                f"tensor {tensor!r} has shape {shape}, which numpy cannot have", tensor=tensor
            ) from None
        return array, _bytes_of(array)

    def view(self, out: Any, tensor: str, dtype: str, shape: Sequence[int], size: int) -> Array:
        kind, shape = self._form(tensor, dtype, shape, size)
        if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
            found = f"found out of type {type(out).__name__}"
        elif (out.dtype, out.shape) != (kind, tuple(shape)):
            found = f"found out of {out.dtype} with shape {out.shape}"
        elif not out.flags.c_contiguous:
            found = "found out that is not C-contiguous"
        elif not out.flags.writeable:
            found = "found out that is read-only"
        else:
            return _bytes_of(out)
        raise WrongArgument(
            f"{found}, expected a numpy array of {kind} with shape {tuple(shape)}", tensor=tensor
        )

    def changed(self, out: Any) -> None:
        """numpy keeps nothing about the content of an array."""

    def _form(
        self, tensor: str, dtype: str, shape: Sequence[int], size: int
    ) -> tuple[np.dtype[Any], Sequence[int]]:
        """Type and shape of the array for a tensor."""
        if dtype in _OWN:
            return np.dtype(_OWN[dtype]), shape
        if dtype not in _FOREIGN:
            if self._as_bits:
                return np.dtype(np.uint8), (size,)
            raise UnsupportedDtype(
                f"tensor {tensor!r} is {dtype}, which numpy lacks; with as_bits=True it is read "
                "as packed uint8",
                tensor=tensor,
            )
        foreign, bits = _FOREIGN[dtype]
        if self._as_bits:
            return np.dtype(bits), shape
        try:
            import ml_dtypes

            return np.dtype(getattr(ml_dtypes, foreign)), shape
        except (ImportError, AttributeError):
            raise UnsupportedDtype(
                f"tensor {tensor!r} is {dtype}, which numpy lacks; install ml_dtypes for "
                f"ml_dtypes.{foreign}, or read it as {bits} with as_bits=True",
                tensor=tensor,
            ) from None


def given(name: str, array: Any) -> tuple[str, str, Sequence[int], Array]:
    """What the extension module needs to save an array."""
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        kind = type(array).__name__
        raise WrongArgument(f"found {kind} for {name!r}, expected a numpy array", tensor=name)
    dtype = _NAMES.get(array.dtype.name)
    if dtype is None:
        raise UnsupportedDtype(
            f"array {name!r} is {array.dtype}, which safetensors files cannot hold", tensor=name
        )
    shape = array.shape
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return name, dtype, shape, _readable(_bytes_of(np.ascontiguousarray(array)))


def _bytes_of(array: Array) -> Array:
    # A matrix has two dimensions in every shape.
    return array.view(np.ndarray).reshape(-1).view(np.uint8)


def _readable(array: Array) -> Array:
    """The array, or a copy if numpy before 2.1 cannot share it because it is read-only."""
    if array.flags.writeable or np.lib.NumpyVersion(np.__version__) >= "2.1.0":
        return array
    return array.copy()
