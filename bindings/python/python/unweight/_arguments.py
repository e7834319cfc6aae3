"""Checks of arguments before they reach the extension module."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import TypeVar

from ._errors import WrongArgument

_Tensor = TypeVar("_Tensor")

_LARGEST = 2**32 - 1
_LARGEST_MEMORY = 2**64 - 1


def threads(count: int | None) -> int | None:
    """A number of threads that the extension module takes."""
    return _count("threads", count, _LARGEST)


def memory(count: int | None) -> int | None:
    """A number of bytes that the extension module takes."""
    return _count("memory", count, _LARGEST_MEMORY)


def tensors(given: Mapping[str, _Tensor], kind: str) -> list[tuple[str, _Tensor]]:
    """Tensors by name, in their order. ``kind`` says what a tensor should be."""
    if not isinstance(given, Mapping):
        raise WrongArgument(f"found {type(given).__name__}, expected a mapping of names to {kind}")
    for name in given:
        _require_text("a name of a tensor", name)
    return list(given.items())


def metadata(strings: Mapping[str, str] | None) -> list[tuple[str, str]] | None:
    """The strings of ``__metadata__`` in their order."""
    if strings is None:
        return None
    if not isinstance(strings, Mapping):
        kind = type(strings).__name__
        raise WrongArgument(f"found metadata of type {kind}, expected a mapping of strings")
    for name, value in strings.items():
        _require_text("a name in metadata", name)
        _require_text(f"metadata[{name!r}]", value)
    return list(strings.items())


def _require_text(what: str, text: object) -> None:
    if not isinstance(text, str):
        raise WrongArgument(f"found {what} of type {type(text).__name__}, expected str")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise WrongArgument(
            f"found {what} that is no Unicode text, {text!r}; replace its surrogates"
        ) from None


def _count(name: str, count: int | None, largest: int) -> int | None:
    if count is None:
        return None
    try:
        number = operator.index(count)
    except TypeError:
        kind = type(count).__name__
        raise WrongArgument(f"found {name} of type {kind}, expected an integer or None") from None
    if number < 0:
        raise WrongArgument(f"found {name}={number}, expected 0 or more")
    return min(number, largest)
