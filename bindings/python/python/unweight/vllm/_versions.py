"""The versions of vLLM that were tested."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import vllm
from vllm.logger import init_logger

TESTED = ("0.24",)

# vLLM prints what loggers below its own say.
LOGGER = init_logger("vllm.plugins.unweight")


@contextmanager
def reported() -> Iterator[None]:
    """Warns if vLLM lacks a module or a name that is imported in this context."""
    try:
        yield
    except ImportError as error:
        LOGGER.warning(
            "unweight does not work with vLLM %s: %s. Tested versions of vLLM: %s",
            vllm.__version__,
            error,
            ", ".join(TESTED),
        )


def warn_if_untested() -> None:
    """Warns, once in a process, if this version of vLLM was not tested."""
    version = vllm.__version__
    if not any(version == tested or version.startswith(tested + ".") for tested in TESTED):
        LOGGER.warning_once(
            "unweight was not tested with vLLM %s. Tested versions: %s", version, ", ".join(TESTED)
        )
