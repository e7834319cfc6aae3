"""Open files, and slices of their tensors."""

from __future__ import annotations

import io
import math
import operator
import os
import re
import threading
from collections.abc import Callable, Sequence
from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from . import _arguments
from ._errors import NoDevice, NoTensor, OutsideOfTensor, WrongArgument
from ._unweight import File

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._cuda import Cuda

_Part = int | slice | EllipsisType
Index = _Part | tuple[_Part, ...] | list[int]


class Readable(Protocol):
    """A file object that can be read at any offset, such as those of ``open(..., "rb")`` and of
    fsspec."""

    def seek(self, offset: int, whence: int = 0, /) -> Any: ...
    def tell(self) -> int: ...
    def read(self, size: int = -1, /) -> bytes: ...


Source = str | os.PathLike[str] | bytes | bytearray | memoryview | Readable


class Framework(Protocol):
    """Makes arrays of one library, and views of their bytes."""

    def new(self, tensor: str, dtype: str, shape: Sequence[int], size: int) -> tuple[Any, Any]:
        """A new array for elements of a type of safetensors, with this shape and number of bytes;
        and a view of its bytes."""
        ...

    def view(self, out: Any, tensor: str, dtype: str, shape: Sequence[int], size: int) -> Any:
        """A view of the bytes of an array of the caller, whose type and shape are checked."""

    def changed(self, out: Any) -> None:
        """Tells the library that the bytes of an array have changed."""


class TensorSlice:
    """A tensor of an open file, to be read in part: ``f.get_slice("w")[:, 2:8]``.

    An index is an integer, a slice with a positive step, ``...``, or a tuple of these. Only the
    chunks that contain the elements are read, and their checksums are checked: those of the blocks
    that are read if the tensor is stored as it is, and none of a safetensors file. An index outside
    of the tensor is an error.
    """

    def __init__(self, file: File, framework: Framework, name: str) -> None:
        self._file = file
        self._framework = framework
        self._name = name
        self._dtype, self._bits, self._shape = stored_form(file, name)

    def get_shape(self) -> list[int]:
        """The shape of the whole tensor."""
        return list(self._shape)

    def get_dtype(self) -> str:
        """The type of the elements, as safetensors names it: ``"BF16"``."""
        return self._dtype

    @property
    def nbytes(self) -> int:
        """The bytes of the whole tensor."""
        return _bytes(self._bits, self._shape)

    def __getitem__(self, index: Index) -> Any:
        return self.read(index)

    def read(self, index: Index = ..., *, out: Any = None) -> Any:
        """The elements at this index as a new array, or in ``out``, a contiguous array of the
        framework with their type and shape.

        Raises:
            WrongArgument: The index does not fit the tensor, or ``out`` does not fit the index.
            BadFile: The file breaks a rule.
        """
        slices, shape = _slices(index, self._shape)
        form = (self._dtype, self._bits, shape)

        def fill(view: Any, is_new: bool) -> None:
            self._file.read_slice_into(self._name, slices, view, is_new)

        return _read(self._framework, self._name, form, out, fill)


class safe_open:
    """An open Unweight or safetensors file, as a context manager.

    Several threads may use it. A forked process may use files that were opened by path or from
    bytes before the fork, on one thread, if no other thread was reading them at that moment. A
    file object has one position for both processes: reading it in the forked process raises
    `WrongArgument`, and it has to be opened again there.

    Args:
        filename: A path, the content of a file as bytes, or a file object that can be read at any
            offset. A file object has to stay open.
        framework: ``"np"`` or ``"numpy"``; ``"pt"``, ``"torch"`` or ``"pytorch"``; ``"dlpack"``
            for arrays of this package, `unweight.Array`, which any other library takes.
        device: ``"cpu"``; with torch also ``"cuda"``, ``"cuda:N"`` or N: tensors are decoded there.
        threads: The number of threads that decode; None means one for each processor.
        memory: The most bytes that may be allocated for the file beside the arrays; None means
            enough for every valid file. Arrays are not counted. They take at most 64 times the
            length of the file.
        as_bits: With numpy, types that numpy lacks become unsigned integers with the same bits: BF16
            ``uint16``, F8 ``uint8``; F4 and F6 become ``uint8`` in one dimension. Otherwise BF16 and
            F8 need ml_dtypes.

    Raises:
        BadFile: The file is neither an Unweight nor a safetensors file, or breaks a rule.
        NotFound: There is no such file.
        IoError: The system could not read.
        NoDevice: The device is not supported, or there is no driver for it.
        OverBudget: ``memory`` does not suffice.
        WrongArgument: ``framework``, ``threads`` or ``memory`` is not one of these.
    """

    def __init__(
        self,
        filename: Source,
        framework: str,
        device: Any = "cpu",
        *,
        threads: int | None = None,
        memory: int | None = None,
        as_bits: bool = False,
    ) -> None:
        self._framework = _framework(framework, as_bits)
        self._cuda = _cuda(device, framework)
        counts = _arguments.threads(threads), _arguments.memory(memory)
        self._file = _opened(filename, *counts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file. Arrays that were read stay valid."""
        self._file.close()

    def keys(self) -> list[str]:
        """The names of the tensors, sorted."""
        return self._file.keys()

    def offset_keys(self) -> list[str]:
        """The names of the tensors, in the order of their data."""
        return self._file.offset_keys()

    def metadata(self) -> dict[str, str] | None:
        """The strings of ``__metadata__``. None if the file has none."""
        metadata = self._file.metadata()
        return None if metadata is None else dict(metadata)

    def get_tensor(self, name: str, *, out: Any = None) -> Any:
        """A tensor as a new array, or in ``out``, a contiguous array of the framework with its type
        and shape. All checksums of the tensor are checked; a safetensors file has none. The content
        of ``out`` is unspecified after an error, and nobody else may use it meanwhile.

        Raises:
            NoTensor: The file has no tensor of this name.
            BadFile: The file breaks a rule.
            UnsupportedDtype: The framework has no such type.
            WrongArgument: ``out`` does not fit the tensor.
        """
        if self._cuda is not None:
            return self._cuda.tensors(self._file, [name], out)[name]
        form = stored_form(self._file, name)

        def fill(view: Any, is_new: bool) -> None:
            self._file.read_into(name, view, is_new)

        return _read(self._framework, name, form, out, fill)

    def get_tensors(self) -> dict[str, Any]:
        """All tensors by name, in the order of their data."""
        if self._cuda is not None:
            return self._cuda.tensors(self._file, self.offset_keys())
        return {name: self.get_tensor(name) for name in self.offset_keys()}

    def get_slice(self, name: str) -> TensorSlice:
        """A tensor to be read in part."""
        if self._cuda is not None:
            return self._cuda.slice(self._file, name)
        return TensorSlice(self._file, self._framework, name)


def stored_form(file: File, name: str) -> tuple[str, int, Sequence[int]]:
    """Type, bits of an element and shape of a tensor."""
    try:
        return file.tensor(name)
    except UnicodeEncodeError:
        raise NoTensor(f"there is no tensor {name!r}", tensor=name) from None


def _read(
    framework: Framework,
    name: str,
    form: tuple[str, int, Sequence[int]],
    out: Any,
    fill: Callable[[Any, bool], None],
) -> Any:
    """An array of this type, bits of an element and shape, ``out`` or a new one, whose bytes ``fill``
    writes. ``name`` is that of the tensor.
    """
    dtype, bits, shape = form
    size = _bytes(bits, shape)
    is_new = out is None
    if is_new:
        out, view = framework.new(name, dtype, shape, size)
    else:
        view = framework.view(out, name, dtype, shape, size)
    try:
        fill(view, is_new)
    finally:
        framework.changed(out)
    return out


def _framework(name: str, as_bits: bool) -> Framework:
    if name in ("np", "numpy"):
        from ._to_numpy import Numpy

        return Numpy(as_bits)
    if name in ("pt", "torch", "pytorch"):
        from ._to_torch import Torch

        return Torch()
    if name == "dlpack":
        from ._to_dlpack import Dlpack

        return Dlpack()
    raise WrongArgument(f"found framework {name!r}, expected 'numpy', 'torch' or 'dlpack'")


def _cuda(device: Any, framework: str) -> Cuda | None:
    """What loads to a device; None for the CPU."""
    name = f"cuda:{device}" if isinstance(device, int) else str(device)
    if re.fullmatch(r"cpu(:\d+)?", name):
        return None
    if framework not in ("pt", "torch", "pytorch"):
        raise NoDevice(
            f"found device {name!r}, expected 'cpu': {framework} has arrays in host memory; "
            "use framework='torch'"
        )
    from ._cuda import Cuda

    return Cuda(name)


def _opened(source: Source, threads: int | None, memory: int | None) -> File:
    if isinstance(source, str | os.PathLike):
        return File.open_path(source, threads, memory)
    if isinstance(source, bytes | bytearray | memoryview):
        return File.open_bytes(bytes(source), threads, memory)
    # The bytes of a text file are in its buffer.
    file: Any = getattr(source, "buffer", source)
    if not (hasattr(file, "read") and hasattr(file, "seek") and hasattr(file, "tell")):
        kind = type(source).__name__
        raise WrongArgument(f"found {kind}, expected a path, bytes or a file object")
    try:
        file.seek(0, os.SEEK_END)  # That of mmap returns None before Python 3.13.
    except io.UnsupportedOperation as error:
        raise WrongArgument(
            f"the file object cannot be read at any offset ({error}); read all of it, and pass the bytes"
        ) from error
    length = file.tell()
    if not isinstance(length, int) or not 0 <= length < 2**64:
        raise WrongArgument(f"tell() of the file object returned {length!r}, expected its length")
    return File.open_reader(_reader(file), length, threads, memory)


def _reader(file: Readable) -> Any:
    lock = threading.Lock()
    owner = os.getpid()

    def read(offset: int, length: int) -> bytes:
        # Both processes would move one position. A thread of the other one may have the lock.
        if os.getpid() != owner:
            raise WrongArgument(
                "the file object was opened in another process; open it again in this one"
            )
        with lock:
            file.seek(offset)
            found = file.read(length)
        if not isinstance(found, bytes | bytearray | memoryview):
            raise WrongArgument(
                f"read() of the file object returned {type(found).__name__}, expected bytes"
            )
        return bytes(found)

    return read


def _bytes(bits: int, shape: Sequence[int]) -> int:
    """The bytes of elements of this many bits. Whether they are whole bytes is checked when they are
    read."""
    return -(-bits * math.prod(shape) // 8)


def _slices(
    index: Index, shape: Sequence[int]
) -> tuple[list[tuple[int, int, int]], list[int]]:
    """Start, end and step for each dimension, and the shape of the result."""
    parts: list[Any] = list(index) if isinstance(index, tuple) else [index]
    # By identity: an array as part of an index compares element by element.
    places = [place for place, part in enumerate(parts) if part is Ellipsis]
    if len(places) > 1:
        raise WrongArgument("found several '...' in an index, expected at most one")
    explicit = len(parts) - len(places)
    if explicit > len(shape):
        raise WrongArgument(
            f"found an index of {explicit} dimensions, the tensor has {len(shape)}"
        )
    rest = [slice(None)] * (len(shape) - explicit)
    for place in places:
        parts[place : place + 1] = rest
    if not places:
        parts += rest
    slices, result = [], []
    for dimension, (part, length) in enumerate(zip(parts, shape, strict=True)):
        if isinstance(part, slice):
            start, stop, step = _range(part, dimension, length)
            slices.append((start, stop, step))
            result.append(len(range(start, stop, step)))
        elif isinstance(part, list) and not part:
            slices.append((0, 0, 1))
            result.append(0)
        else:
            start = _position(part, dimension, length)
            slices.append((start, start + 1, 1))
    return slices, result


def _position(part: Any, dimension: int, length: int) -> int:
    if isinstance(part, bool) or not hasattr(part, "__index__"):
        raise WrongArgument(
            f"found {type(part).__name__} as index of dimension {dimension}, "
            "expected an integer, a slice or '...'"
        )
    position = _index(part, dimension)
    if not -length <= position < length:
        raise OutsideOfTensor(
            f"index {position} is outside of dimension {dimension} of size {length}"
        )
    return position % length


def _range(part: slice, dimension: int, length: int) -> tuple[int, int, int]:
    step = 1 if part.step is None else _index(part.step, dimension)
    if step <= 0:
        raise WrongArgument(f"found step {step}, expected a positive one")
    start, stop = (
        default if bound is None else _index(bound, dimension)
        for bound, default in ((part.start, 0), (part.stop, length))
    )
    for bound in (start, stop):
        if not -length <= bound <= length:
            raise WrongArgument(
                f"bound {bound} of a slice is outside of dimension {dimension} of size {length}"
            )
    start, stop = (bound + length if bound < 0 else bound for bound in (start, stop))
    # A step past the end selects the first element alone, as does the length.
    return start, max(start, stop), min(step, max(length, 1))


def _index(bound: Any, dimension: int) -> int:
    try:
        return operator.index(bound)
    except TypeError:
        raise WrongArgument(
            f"found {type(bound).__name__} as index of dimension {dimension}, expected an integer"
        ) from None
