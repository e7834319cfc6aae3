"""Opens model folders whose shards are Unweight files."""

from __future__ import annotations

import copy
import os
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
)

from .._errors import WrongArgument
from .._folder import ModelFolder

# Arguments of `from_pretrained` that are attributes of a configuration too.
_OF_LOADING = {"dtype", "quantization_config", "attn_implementation"}
_UNSUPPORTED = {"state_dict", "gguf_file", "trust_remote_code", "subfolder", "tp_plan", "tp_size"}


def from_pretrained(
    folder: str | os.PathLike[str],
    auto_class: Any = AutoModelForCausalLM,
    *,
    config: PreTrainedConfig | None = None,
    threads: int | None = None,
    **kwargs: Any,
) -> Any:
    """Opens a model folder as ``unweight compress FOLDER`` makes it. Weights have the bits of the
    original checkpoint. Each tensor is decoded when transformers asks for it, so that memory stays
    near the size of the model: on the CUDA device that ``device_map`` names, or on the CPU if it
    names none or several.

    Args:
        folder: The folder, on this machine: ``config.json``, ``.unw`` files, and their index if there
            are several.
        auto_class: The class whose ``from_pretrained`` is called: ``AutoModelForCausalLM``,
            ``AutoModel``, ``LlamaForCausalLM`` ...
        config: The configuration; that of the folder if it is None.
        threads: The number of threads that decode; None means one for each processor.
        kwargs: As for ``from_pretrained`` of the class: ``dtype``, ``device_map``,
            ``quantization_config``, ``output_loading_info`` ... and attributes of the configuration.
            Code from the folder (``trust_remote_code``), ``subfolder``, tensor parallelism and
            devices of ``"disk"`` are not supported.

    Raises:
        NotFound: The folder has no Unweight files, or lacks a shard.
        BadFile: A file breaks a rule.
        WrongArgument: An argument is not supported.
    """
    used = sorted(name for name in _UNSUPPORTED if kwargs.get(name))
    if used:
        raise WrongArgument(
            f"found {', '.join(used)}, which a folder of Unweight files does not support; "
            "make a folder of safetensors files with `unweight decompress`"
        )
    device_map = kwargs.get("device_map")
    if isinstance(device_map, dict) and "disk" in device_map.values():
        raise WrongArgument("found 'disk' in device_map, expected devices with memory of their own")
    tensors = ModelFolder(folder, threads=threads, device=_decoding_device(device_map))
    folder = os.fspath(folder)
    if config is None:
        # A class of one architecture has its own kind of configuration.
        kind = getattr(auto_class, "config_class", None) or AutoConfig
        config = kind.from_pretrained(folder, local_files_only=True)
        for name in [name for name in kwargs if name not in _OF_LOADING and hasattr(config, name)]:
            setattr(config, name, kwargs.pop(name))
    if "generation_config" not in kwargs and os.path.isfile(
        os.path.join(folder, "generation_config.json")
    ):
        kwargs["generation_config"] = GenerationConfig.from_pretrained(folder, local_files_only=True)
    kind, config = _class(auto_class, config)
    loaded = kind.from_pretrained(None, config=config, state_dict=tensors.lazy_tensors(), **kwargs)
    model = loaded[0] if isinstance(loaded, tuple) else loaded
    model.name_or_path = model.config.name_or_path = folder
    return loaded


def _decoding_device(device_map: Any) -> str:
    """The CUDA device that a device map names for the whole model, or the CPU."""
    if isinstance(device_map, dict):
        devices = {str(device) for device in device_map.values()}
        device_map = devices.pop() if len(devices) == 1 else None
    name = f"cuda:{device_map}" if str(device_map).isdecimal() else str(device_map)
    return name if name.startswith("cuda") else "cpu"


def _class(auto_class: Any, config: PreTrainedConfig) -> tuple[Any, PreTrainedConfig]:
    """The class of the model, and the configuration that it takes. An auto class needs a name to
    load from, so it is asked for a model without memory instead."""
    if isinstance(auto_class, type) and issubclass(auto_class, PreTrainedModel):
        return auto_class, config
    with torch.device("meta"):
        kind = type(auto_class.from_config(copy.deepcopy(config)))
    takes = getattr(kind, "config_class", None)
    if takes is not None and not isinstance(config, takes):
        # A model of text of a configuration with several parts.
        config = config.get_text_config()
    return kind, config
