"""Arrays of this package, for libraries that take arrays by DLPack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._errors import WrongArgument
from ._unweight import Array, new_array


class Dlpack:
    """Makes arrays of this package."""

    def new(self, tensor: str, dtype: str, shape: Sequence[int], size: int) -> tuple[Array, Array]:
        array = new_array(dtype, shape)
        return array, array._as_bytes()

    def view(self, out: Any, tensor: str, dtype: str, shape: Sequence[int], size: int) -> Array:
        if not isinstance(out, Array):
            found = f"found out of type {type(out).__name__}"
        elif (out.dtype, out.shape) != (dtype, tuple(shape)):
            found = f"found out of {out.dtype} with shape {out.shape}"
        else:
            return out._as_bytes()
        raise WrongArgument(
            f"{found}, expected an unweight.Array of {dtype} with shape {tuple(shape)}",
            tensor=tensor,
        )

    def changed(self, out: Any) -> None:
        """Nothing is kept about the content of an array."""
