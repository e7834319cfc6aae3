"""Plugin of vLLM: ``--quantization unweight`` keeps BF16 weights packed in memory, and
``--load-format unweight`` opens model folders whose shards are Unweight files.

vLLM finds `register` by the entry point ``vllm.general_plugins`` and calls it in each process.
"""

from __future__ import annotations

__all__ = ["register"]

_registered = False


def register() -> None:
    """Registers the quantization methods and the load format. Further calls do nothing. If this
    version of vLLM lacks an interface that they need, a warning says so, and vLLM works without
    them."""
    global _registered
    if _registered:
        return
    # vLLM is imported when it loads plugins, and not before.
    from . import _versions

    with _versions.reported():
        from vllm.model_executor.layers.quantization import register_quantization_config
        from vllm.model_executor.model_loader import register_model_loader

        from ._config import METHODS
        from ._loader import FORMAT, UnweightLoader

        for name, config in METHODS.items():
            register_quantization_config(name)(config)
        register_model_loader(FORMAT)(UnweightLoader)
        _registered = True
