"""Steps of generation with transformers on a CUDA device, BF16 beside packed weights:
`python transformers_cuda.py [--layers 32] [--batches 1 8 32 128] [--configurations bf16 fast exact]`.

Makes a checkpoint of Llama-3.1-8B's shape, with fewer layers if so asked, in a folder that is removed
again: normal weights of sigma 0.02, each row times a factor of its own. Loads it from the page cache with
`device_map`, once for each configuration, and times

- a step with a static cache, compiled by torch.compile in the mode of `generate` (CUDA graphs);
- the prompt of 2,048 tokens, not compiled.

Prints a line of JSON for each configuration as it is done, then a table beside the first one. Logits of the
first step are compared with those of the first configuration, bit for bit.

The configurations: `bf16`; `fast` and `exact`, UnweightConfig; `unw`, a folder of Unweight files; `unw-fast`,
such a folder with UnweightConfig.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import transformers

import unweight
import unweight.transformers
from unweight.transformers import UnweightConfig, packing

CONFIGURATIONS = ["bf16", "fast", "exact", "unw", "unw-fast"]
PROMPT = 32
LONG_PROMPT = 2048
# Compilation, and the recording of graphs.
WARM_STEPS = 4
SHARD = 2 << 30


def checkpoint(folder: Path, layers: int, tiny: bool) -> None:
    """Saves the model. `tiny` is for a test of this program."""
    shape: dict[str, Any] = {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
    }
    if tiny:
        shape |= {"hidden_size": 512, "intermediate_size": 1024, "vocab_size": 1024}
        shape |= {"num_attention_heads": 8, "num_key_value_heads": 2}
    config = transformers.LlamaConfig(
        num_hidden_layers=layers, max_position_embeddings=8192, dtype="bfloat16", **shape
    )
    with torch.device(device()):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    generator = torch.Generator(device()).manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(0, 0.02, generator=generator)
                rows = torch.rand(parameter.shape[0], 1, generator=generator, device=device())
                parameter.mul_(rows + 0.5)
    model.save_pretrained(folder, max_shard_size=SHARD)


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def load(name: str, plain: Path, unw: Path) -> Any:
    options: dict[str, Any] = {"device_map": device()}
    if name in ("fast", "exact", "unw-fast"):
        options["quantization_config"] = UnweightConfig(exact=name == "exact")
    if name in ("unw", "unw-fast"):
        return unweight.transformers.from_pretrained(unw, **options)
    return transformers.AutoModelForCausalLM.from_pretrained(plain, **options)


class Timer:
    """Milliseconds between the two calls, on the device."""

    def __init__(self) -> None:
        self._start = self._now()

    def _now(self) -> Any:
        if device() == "cpu":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def stop(self) -> float:
        end = self._now()
        if device() == "cpu":
            return float(1e3 * (end - self._start))
        torch.cuda.synchronize()
        return float(self._start.elapsed_time(end))


def prompt(model: Any, batch: int, length: int) -> torch.Tensor:
    numbers = torch.arange(batch * length, device=device())
    ids: torch.Tensor = numbers * 7919 % model.config.vocab_size
    return ids.reshape(batch, length)


def step_ms(model: Any, batch: int, steps: int) -> float:
    """Milliseconds a step of `batch` sequences."""
    torch._dynamo.reset()
    cache = transformers.StaticCache(
        config=model.config, max_cache_len=PROMPT + WARM_STEPS + steps + 1
    )
    mode = "reduce-overhead" if device() == "cuda" else "default"
    step = torch.compile(model.forward, mode=mode, fullgraph=True, dynamic=False)
    with torch.no_grad():
        logits = model(prompt(model, batch, PROMPT), past_key_values=cache, logits_to_keep=1).logits
        timer = Timer()
        for number in range(WARM_STEPS + steps):
            if number == WARM_STEPS:
                timer = Timer()
            ids = logits.argmax(-1)
            torch.compiler.cudagraph_mark_step_begin()
            logits = step(ids, past_key_values=cache, logits_to_keep=1).logits
        return timer.stop() / steps


def prompt_ms(model: Any, rounds: int = 5) -> float:
    """Milliseconds for the prompt of LONG_PROMPT tokens; the median."""
    ids = prompt(model, 1, LONG_PROMPT)
    times = []
    with torch.no_grad():
        for _ in range(1 + rounds):
            timer = Timer()
            model(ids, logits_to_keep=1)
            times.append(timer.stop())
    return statistics.median(times[1:])


def memory() -> tuple[int, int]:
    if device() == "cpu":
        return 0, 0
    return torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()


def free() -> None:
    gc.collect()
    if device() == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def measure(name: str, given: argparse.Namespace, plain: Path, unw: Path) -> tuple[Any, Any]:
    """What was measured, and the bits of the logits."""
    free()
    before, _ = memory()
    start = time.perf_counter()
    model = load(name, plain, unw)
    if device() == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    held, peak = (size - before for size in memory())
    with torch.no_grad():
        logits = model(prompt(model, 1, PROMPT)).logits.view(torch.int16).cpu()
    found = packing(model)
    measured = {
        "configuration": name,
        "layers": given.layers,
        "device": torch.cuda.get_device_name() if device() == "cuda" else "cpu",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "load_seconds": round(seconds, 2),
        "allocated_gb": round(held / 1e9, 3),
        "load_peak_gb": round(peak / 1e9, 3),
        "packed_matrices": found.matrices,
        "bits_per_weight": round(8 * found.packed_bytes / max(found.weights, 1), 3),
        "prompt_ms": round(prompt_ms(model), 3),
        "step_ms": {batch: round(step_ms(model, batch, given.steps), 3) for batch in given.batches},
    }
    torch._dynamo.reset()
    return measured, logits


def table(measured: list[dict[str, Any]]) -> str:
    """Milliseconds, and in brackets how many times as fast as the first configuration."""
    first = measured[0]
    batches = list(first["step_ms"])
    rows = [["", "load s", "GB", "peak GB", "2,048 tokens"]]
    rows[0] += [f"step, batch {batch}" for batch in batches] + ["logits"]
    for each in measured:
        row = [each["configuration"]]
        row += [f"{each[name]:.2f}" for name in ("load_seconds", "allocated_gb", "load_peak_gb")]
        pairs = [(first["prompt_ms"], each["prompt_ms"])]
        pairs += [(first["step_ms"][batch], each["step_ms"][batch]) for batch in batches]
        row += [f"{time:.2f} ({base / time:.2f})" for base, time in pairs]
        rows.append([*row, "same bits" if each["same_logits"] else "differ"])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--configurations", nargs="+", choices=CONFIGURATIONS, default=CONFIGURATIONS[:3])
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--tiny", action="store_true", help="small matrices, to test this program")
    given = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as made:
        plain, unw = Path(made, "plain"), Path(made, "unw")
        start = time.perf_counter()
        checkpoint(plain, given.layers, given.tiny)
        if any(name.startswith("unw") for name in given.configurations):
            unweight.compress(plain, unw)
        print(f"made the checkpoint in {time.perf_counter() - start:.1f} s", flush=True)
        results, expected = [], None
        for name in given.configurations:
            measured, logits = measure(name, given, plain, unw)
            expected = logits if expected is None else expected
            results.append(measured | {"same_logits": torch.equal(logits, expected)})
            print(json.dumps(results[-1]), flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
