"""Time to load a checkpoint to a CUDA device and to the CPU, beside safetensors:
`python cuda.py [GIB [FOLDER [PROGRAM]]]`. PROGRAM is that of `rust_library.py`.

Makes a BF16 checkpoint in a folder that is there, or in a temporary one (TMPDIR): normal weights of
sigma 0.02, each row times a factor of its own, in tensors of 8192 x 4096. The page cache is warm.
Loads take turns, so that the ratios of one run can be compared; the medians of five turns are printed.
Before each load the memory of the one before is given back to torch's allocator, which keeps it.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch

import unweight
import unweight.torch
from rust_library import RustLibrary

ROUNDS = 5
SHAPE = (8192, 4096)


def checkpoint(count: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator("cuda").manual_seed(0)
    made = {}
    for number in range(count):
        rows = torch.rand(SHAPE[0], 1, generator=generator, device="cuda") + 0.5
        weights = torch.randn(SHAPE, generator=generator, device="cuda") * 0.02 * rows
        made[f"layers.{number}.weight"] = weights.bfloat16().cpu()
    return made


def report(title: str, size: int, works: Mapping[str, Callable[[], object]]) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(ROUNDS):
        for name, work in works.items():
            torch.cuda.synchronize()
            start = time.perf_counter()
            loaded = work()
            torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - start)
            del loaded
    first = statistics.median(next(iter(seconds.values())))
    print(title)
    for name, times in seconds.items():
        median = statistics.median(times)
        spread = f"{size / max(times) / 1e9:.2f} to {size / min(times) / 1e9:.2f}"
        print(
            f"  {name:44} {size / median / 1e9:6.2f} GB/s ({spread})  {first / median:5.2f} of the first",
            flush=True,
        )


def one_by_one(
    opened: Callable[[], unweight.safe_open], out: Mapping[str, torch.Tensor] | None = None
) -> list[torch.Tensor]:
    with opened() as file:
        names = file.offset_keys()
        if out is None:
            return [file.get_tensor(name) for name in names]
        return [file.get_tensor(name, out=out[name]) for name in names]


def main(gib: float, folder: Path, program: str | None) -> None:
    count = max(1, round(gib * 2**30 / (2 * SHAPE[0] * SHAPE[1])))
    weights = checkpoint(count)
    size = sum(tensor.nbytes for tensor in weights.values())
    plain, unw = folder / "model.safetensors", folder / "model.unw"
    safetensors.torch.save_file(weights, plain)
    start = time.perf_counter()
    unweight.compress(plain, unw)
    seconds = time.perf_counter() - start
    print(
        f"{size} bytes in {count} tensors, {unw.stat().st_size / plain.stat().st_size:.2%} compressed "
        f"in {seconds:.1f} s; torch {torch.__version__}, {torch.cuda.get_device_name()}, "
        f"{torch.get_num_threads()} threads",
        flush=True,
    )
    for name, tensor in unweight.torch.load_file(unw, "cuda").items():
        assert torch.equal(tensor.cpu().view(torch.int16), weights[name].view(torch.int16)), name

    def theirs() -> list[torch.Tensor]:
        with safetensors.safe_open(plain, "pt", device="cuda") as file:
            return [file.get_tensor(name) for name in file.keys()]

    report(
        "to CUDA",
        size,
        {
            "safetensors.torch.load_file": lambda: safetensors.torch.load_file(plain, "cuda"),
            "unweight.torch.load_file": lambda: unweight.torch.load_file(unw, "cuda"),
            "unweight.torch.load_file of the safetensors": lambda: unweight.torch.load_file(plain, "cuda"),
            "safetensors, get_tensor one by one": theirs,
            "unweight, get_tensor one by one": lambda: one_by_one(
                lambda: unweight.safe_open(unw, "pt", "cuda")
            ),
        },
    )
    # The bound of the bus.
    pinned = torch.empty(2**30, dtype=torch.uint8, pin_memory=True)
    on_device = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    copy = {"copy_": lambda: on_device.copy_(pinned, non_blocking=True)}
    report("pinned host memory to CUDA", 2**30, copy)
    del pinned, on_device
    out = {name: torch.empty_like(tensor) for name, tensor in weights.items()}
    loads: dict[str, Callable[[], object]] = {
        "unweight.verify (no output)": lambda: unweight.verify(unw),
        "unweight, get_tensor(out=)": lambda: one_by_one(lambda: unweight.safe_open(unw, "pt"), out),
        "unweight.torch.load_file": lambda: unweight.torch.load_file(unw),
        "safetensors.torch.load_file, cloned": lambda: [
            tensor.clone() for tensor in safetensors.torch.load_file(plain).values()
        ],
    }
    if program is not None:
        rust = RustLibrary(program, unw)
        loads["Rust library, memory used again"] = lambda: rust.load("reused")
        loads["Rust library, new memory"] = lambda: rust.load("fresh")
    report("to the CPU", size, loads)


if __name__ == "__main__":
    size = float(sys.argv[1]) if len(sys.argv) > 1 else 4.0
    rust_program = sys.argv[3] if len(sys.argv) > 3 else None
    if len(sys.argv) > 2:
        main(size, Path(sys.argv[2]), rust_program)
    else:
        with tempfile.TemporaryDirectory() as place:
            main(size, Path(place), None)
