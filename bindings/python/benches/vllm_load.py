"""Loading of a model in vLLM, from safetensors files and from Unweight files:

    python vllm_load.py FOLDER [--rounds N] [--ranks N]

FOLDER is a BF16 model without experts, whose weights vLLM puts in an order of its own;
`vllm_speed.py` makes a random one. FOLDER.unw is made if it is not there. The first round warms the
page cache, and its times are left out.

    safetensors     vLLM alone
    file            --load-format unweight
    packed          --quantization unweight
    file, packed    both

Compared are the digests of all parameters with those of the first, packed ones restored. They are
equal if every bit is; the program fails otherwise. vLLM's CPU build has plain weights in an order of
its own, so there packed ones are compared with packed ones.

Printed are the medians of the seconds that vLLM's loader takes for the weights, and with what it does
to them afterwards, and the most memory that torch allocated on the device meanwhile. With several
tensor-parallel ranks, digests are those of each rank, and vLLM prints its times itself.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

FILE, PACKED = {"load_format": "unweight"}, {"quantization": "unweight"}
OPTIONS: dict[str, dict[str, Any]] = {
    "safetensors": {}, "file": FILE, "packed": PACKED, "file, packed": FILE | PACKED
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--ranks", type=int, default=1)
    arguments = parser.parse_args()
    os.environ |= {
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_ALLOW_INSECURE_SERIALIZATION": "1",  # For the function that makes digests.
    }
    if arguments.ranks == 1:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    folder = arguments.folder.resolve()
    files = folder.with_name(folder.name + ".unw")
    if not files.exists():
        import unweight

        unweight.compress(folder, files)
    expected: dict[bool, Any] = {}
    measured: dict[str, list[tuple[float, float, int]]] = {name: [] for name in OPTIONS}
    different = []
    for round in range(arguments.rounds):
        for name, options in OPTIONS.items():
            path = files if "load_format" in options else folder
            found, seconds = load(str(path), options, arguments.ranks)
            same_as = expected.setdefault(is_cpu() and "quantization" in options, found)
            if found != same_as:
                different.append(name)
                for one, other in zip(found, same_as, strict=True):
                    names = sorted(key for key in one | other if one.get(key) != other.get(key))
                    print(f"{name}: these parameters differ: {names}", flush=True)
            if round and arguments.ranks == 1:
                measured[name].append(seconds)
    count = len(expected[False][0])
    print(f"\n{count} parameters of each rank are equal" if not different else f"\n{different} differ")
    if any(measured.values()):
        print_table(measured)
    sys.exit(1 if different else 0)


def is_cpu() -> bool:
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def load(folder: str, options: dict[str, Any], ranks: int) -> tuple[Any, tuple[float, float, int]]:
    """The digests of each rank's parameters; seconds of the loader, and for all, and the peak of
    memory, if there is one rank."""
    import torch
    from vllm import LLM
    from vllm.model_executor.model_loader.base_loader import BaseModelLoader
    from vllm.model_executor.model_loader.default_loader import DefaultModelLoader

    seconds: dict[str, float] = {}
    originals = [(DefaultModelLoader, "load_weights"), (BaseModelLoader, "load_model")]
    before = [getattr(kind, name) for kind, name in originals]

    def timed(name: str, function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            result = function(*args, **kwargs)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds[name] = time.perf_counter() - start
            return result

        return call

    for (kind, name), function in zip(originals, before, strict=True):
        setattr(kind, name, timed(name, function))
    has_device = torch.cuda.is_available() and ranks == 1
    if has_device:
        torch.cuda.reset_peak_memory_stats()
    try:
        llm = LLM(
            model=folder,
            skip_tokenizer_init=True,
            dtype="bfloat16",
            max_model_len=256,
            max_num_seqs=1,
            enforce_eager=True,
            tensor_parallel_size=ranks,
            **options,
        )
    finally:
        for (kind, name), function in zip(originals, before, strict=True):
            setattr(kind, name, function)
    peak = torch.cuda.max_memory_allocated() if has_device else 0
    digests = llm.apply_model(digests_of)
    llm.llm_engine.engine_core.shutdown()
    del llm
    gc.collect()
    if has_device:
        torch.cuda.empty_cache()
    return digests, (seconds.get("load_weights", 0), seconds.get("load_model", 0), peak)


def digests_of(model: Any) -> dict[str, str]:
    """The SHA-256 of the bytes of each parameter. Packed ones are restored."""
    import torch

    tensors: dict[str, Any] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        for key, tensor in module.named_parameters(recurse=False):
            if hasattr(module, "unweight_rows") and key in (
                "k_tiles", "patches", "patch_ends", "palette"
            ):  # fmt: skip
                tensors[f"{name}.weight"] = module
            else:
                tensors[f"{name}.{key}"] = tensor

    def digest(value: Any) -> str:
        if isinstance(value, torch.nn.Module):
            packed = (value.k_tiles, value.patches, value.patch_ends, value.palette)
            value = torch.ops.unweight.restore(*packed, value.unweight_rows)
        plain = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        return hashlib.sha256(plain.numpy()).hexdigest()

    with torch.no_grad(), ThreadPoolExecutor(8) as pool:
        return dict(zip(tensors, pool.map(digest, tensors.values()), strict=True))


def print_table(measured: dict[str, list[tuple[float, float, int]]]) -> None:
    print("\n| weights | loader s | with packing s | of safetensors | peak GiB |")
    print("| --- | --- | --- | --- | --- |")
    medians = {
        name: [statistics.median(values) for values in zip(*rounds, strict=True)]
        for name, rounds in measured.items()
    }
    reference = medians["safetensors"][1]
    for name, (weights, every, peak) in medians.items():
        print(f"| {name} | {weights:.2f} | {every:.2f} | {every / reference:.2f} | {peak / 2**30:.2f} |")


if __name__ == "__main__":
    main()
