"""Checks of arguments before they reach the extension module."""

from __future__ import annotations

import operator
from collections.abc import Mapping

from ._errors import WrongArgument

_LARGEST = 2**32 - 1
_LARGEST_MEMORY = 2**64 - 1


def threads(count: int | None) -> int | None:
    """A number of threads that the extension module takes."""
    return _count("threads", count, _LARGEST)


def memory(count: int | None) -> int | None:
    """A number of bytes that the extension module takes."""
    return _count("memory", count, _LARGEST_MEMORY)


def metadata(strings: Mapping[str, str] | None) -> list[tuple[str, str]] | None:
    """The strings of ``__metadata__`` in their order."""
    return None if strings is None else list(strings.items())


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
