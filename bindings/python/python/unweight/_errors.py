"""Exceptions."""

from __future__ import annotations

TYPE_CHECKING = False  # That of typing, whose import takes as long as that of this package.
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class UnweightError(Exception):
    """Something that this package could not do. The base of its exceptions.

    Attributes:
        rule: Id of the rule of the specification that a file breaks, such as ``"record-crc"``.
        category: Category of that rule: ``"truncated"``, ``"malformed"``, ``"unsupported"`` or
            ``"limit"``.
        offset: Offset in the file, in bytes, of what is wrong.
        tensor: Name of the tensor, if a single one is concerned.
        path: Path of the file or folder, if it was given by a path.

    Each is None if it is not known.
    """

    rule: str | None
    category: str | None
    offset: int | None
    tensor: str | None
    path: str | None

    def __init__(
        self,
        message: str = "",
        *,
        rule: str | None = None,
        category: str | None = None,
        offset: int | None = None,
        tensor: str | None = None,
        path: str | None = None,
        errno: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.rule = rule
        self.category = category
        self.offset = offset
        self.tensor = tensor
        self.path = path
        self._set_errno(errno)

    def _set_errno(self, errno: int | None) -> None:
        """Sets what exceptions of the system have beside the attributes of this class."""

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Callable[..., UnweightError], tuple[object, ...]]:
        details = {
            name: getattr(self, name) for name in ("rule", "category", "offset", "tensor", "path")
        }
        details["errno"] = getattr(self, "errno", None)
        return _again, (type(self), self.message, details)


def _again(
    kind: type[UnweightError], message: str, details: dict[str, object]
) -> UnweightError:
    return kind(message, **details)  # type: ignore[arg-type]


class BadFile(UnweightError):
    """A file breaks a rule of its format, was cut short, or differs from another one."""


class OverBudget(UnweightError, MemoryError):
    """A file needs more memory than is allowed, or than a device has. The file may be valid."""


class NoDevice(UnweightError):
    """The device that was asked for is missing or not supported, or has no driver."""


class NoTensor(UnweightError, KeyError):
    """A file has no tensor of this name."""


class WrongArgument(UnweightError, ValueError):
    """A call cannot be done as it was made. Nothing was changed."""


class OutsideOfTensor(WrongArgument, IndexError):
    """An integer index is outside of the tensor. A loop over a slice ends with it."""


class UnsupportedDtype(UnweightError, TypeError):
    """A framework has no type for a tensor, or safetensors files have none for an array."""


class ExportError(UnweightError, BufferError):
    """An array cannot be shared with another library as asked."""


class IoError(UnweightError, OSError):
    """The system could not read or write. This does not say that a file is bad.

    ``errno`` is None if the system gave no number.
    """

    filename: Any

    def _set_errno(self, errno: int | None) -> None:
        self.errno = errno
        self.filename = self.path


class NotFound(IoError, FileNotFoundError):
    """A file or folder does not exist."""


class NotPermitted(IoError, PermissionError):
    """The system does not permit to read or write a file or folder."""


class Exists(IoError, FileExistsError):
    """Something has the name of the output already."""
