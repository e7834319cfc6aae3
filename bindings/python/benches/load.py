"""Time to load and save weights, beside other libraries: `python load.py [GIB] [PROGRAM]`.

PROGRAM is that of `rust_library.py`, and then a part of the comparison.

Makes a file of BF16 weights (normal, sigma 0.02) in a temporary folder, and loads it to numpy and to
torch with each library that is installed. The page cache is warm. Libraries take turns in random
order, so that the ratios of one run can be compared. Printed are the lower quartiles of the time that
passed and of the processor time, which other programs on the machine disturb less, each with its
ratio to unweight's.

ZipNN and zstd have no container of tensors: their figures are those of one compressed buffer a
tensor in memory, without reading a file.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import safetensors.numpy

import unweight
import unweight.numpy
from rust_library import RustLibrary

ROUNDS = 9
TENSOR = (4096, 4096)


def tensors(count: int) -> dict[str, np.ndarray[Any, Any]]:
    generator = np.random.default_rng(0)
    made = {}
    for number in range(count):
        values = generator.standard_normal(TENSOR, np.float32) * np.float32(0.02)
        made[f"{number}.weight"] = (values.view(np.uint32) >> 16).astype(np.uint16)
    return made


def report(title: str, bytes: int, works: dict[str, Callable[[], object]]) -> None:
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(ROUNDS):
        for name in random.sample(list(works), len(works)):
            start = clock()
            works[name]()
            elapsed, processors = (end - begin for begin, end in zip(start, clock(), strict=True))
            seconds[name].append((elapsed, processors))
    quartiles = {
        name: [statistics.quantiles(of, n=4)[0] for of in zip(*turns, strict=True)]
        for name, turns in seconds.items()
    }
    ours = next(iter(quartiles.values()))
    print(f"{title:36} elapsed             processors")
    for name, (elapsed, processors) in quartiles.items():
        # A slice takes less than the clock of processor time can tell.
        ratio = f"{ours[1] / processors:5.2f}" if processors else "    -"
        print(
            f"  {name:34} {bytes / elapsed / 1e9:6.2f} GB/s {ours[0] / elapsed:5.2f} "
            f"{1e3 * processors:6.0f} ms {ratio}"
        )


def clock() -> tuple[float, float]:
    """The time, and the processor time of this process and of the one of the Rust library."""
    used = [psutil.Process().cpu_times(), *(child.cpu_times() for child in psutil.Process().children())]
    return time.perf_counter(), sum(times.user + times.system for times in used)


def main(gib: float, program: str | None, folder: Path) -> None:
    count = max(1, round(gib * 2**30 / (2 * TENSOR[0] * TENSOR[1])))
    saved = tensors(count)
    size = sum(tensor.nbytes for tensor in saved.values())
    plain, unw = folder / "w.safetensors", folder / "w.unw"
    # The weights are BF16, so that the file compresses their exponents.
    save_bf16(saved, plain)
    unweight.compress(plain, unw)
    print(f"{size} bytes in {count} tensors; {unw.stat().st_size / plain.stat().st_size:.2%} compressed")

    names = list(saved)
    out = {name: np.empty_like(tensor) for name, tensor in saved.items()}
    loads: dict[str, Callable[[], object]] = {
        "unweight, out=": lambda: into(unw, out),
        "unweight.numpy": lambda: unweight.numpy.load_file(unw, as_bits=True),
        "unweight, one thread": lambda: unweight.numpy.load_file(unw, threads=1, as_bits=True),
        "unweight of the safetensors file": lambda: unweight.numpy.load_file(plain, as_bits=True),
        "unweight for DLPack": lambda: by_dlpack(unw),
        "unweight.verify (no output)": lambda: unweight.verify(unw),
    }
    if program is not None:
        rust = RustLibrary(program, unw)
        loads["Rust library, memory used again"] = lambda: rust.load("reused")
        loads["Rust library, new memory"] = lambda: rust.load("fresh")
    torch_loads(saved, plain, unw, loads)
    zstd(saved, loads)
    zipnn(saved, loads)
    report("load", size, loads)

    with unweight.safe_open(unw, "np", as_bits=True) as ours, unweight.safe_open(plain, "np", as_bits=True) as theirs:
        for title, index in (("rows 1000:1100", np.s_[1000:1100]), ("columns 0:512", np.s_[:, :512])):
            part = saved[names[0]][index].nbytes * len(names)

            def read(file: Any, index: Any = index) -> list[Any]:
                return [file.get_slice(name)[index] for name in names]

            report(
                f"slices, {title}",
                part,
                {"unweight": lambda: read(ours), "unweight of the safetensors file": lambda: read(theirs)},
            )

    import ml_dtypes

    bf16 = {name: tensor.view(ml_dtypes.bfloat16) for name, tensor in saved.items()}
    report(
        "save",
        size,
        {
            "unweight.numpy": lambda: unweight.numpy.save_file(bf16, folder / "again.unw"),
            "unweight.compress of the file": lambda: unweight.compress(plain, folder / "again.unw", force=True),
            "safetensors.numpy": lambda: safetensors.numpy.save_file(saved, folder / "again"),
        },
    )


def torch_loads(
    saved: dict[str, Any], plain: Path, unw: Path, loads: dict[str, Callable[[], object]]
) -> None:
    try:
        import torch
        from safetensors.torch import load_file as theirs

        from unweight.torch import load_file as ours
    except ImportError:
        print("torch is not installed: its figures are left out")
        return
    for name, tensor in ours(unw).items():
        assert np.array_equal(tensor.view(torch.int16).numpy().view(np.uint16), saved[name])
    loads["unweight.torch"] = lambda: ours(unw)
    # It maps the file and reads nothing.
    loads["safetensors.torch, mapped alone"] = lambda: theirs(plain)
    loads["safetensors.torch, copied"] = lambda: [tensor.clone() for tensor in theirs(plain).values()]


def by_dlpack(path: Path) -> dict[str, unweight.Array]:
    with unweight.safe_open(path, "dlpack") as file:
        return file.get_tensors()


def into(path: Path, out: dict[str, Any]) -> None:
    with unweight.safe_open(path, "np", as_bits=True) as file:
        for name, array in out.items():
            file.get_tensor(name, out=array)


def save_bf16(saved: dict[str, Any], path: Path) -> None:
    import json

    end, header = 0, {}
    for name, tensor in saved.items():
        header[name] = {"dtype": "BF16", "shape": tensor.shape, "data_offsets": [end, end + tensor.nbytes]}
        end += tensor.nbytes
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in saved.values():
            file.write(tensor.data)


def zstd(saved: dict[str, Any], loads: dict[str, Callable[[], object]]) -> None:
    try:
        import zstandard
    except ImportError:
        print("zstandard is not installed: its figures are left out")
        return
    packed = [zstandard.ZstdCompressor(level=1).compress(tensor.data) for tensor in saved.values()]
    size = sum(tensor.nbytes for tensor in saved.values())
    print(f"zstd -1: {sum(map(len, packed)) / size:.2%}")
    loads["zstd -1, in memory, one thread"] = lambda: [
        zstandard.ZstdDecompressor().decompress(one) for one in packed
    ]


def zipnn(saved: dict[str, Any], loads: dict[str, Callable[[], object]]) -> None:
    try:
        from zipnn import ZipNN
    except ImportError:
        print("zipnn is not installed: its figures are left out")
        return
    codec = ZipNN(bytearray_dtype="bfloat16", threads=1)
    packed = [bytes(codec.compress(bytearray(tensor.tobytes()))) for tensor in saved.values()]
    size = sum(tensor.nbytes for tensor in saved.values())
    print(f"ZipNN: {sum(map(len, packed)) / size:.2%}")
    loads["ZipNN, in memory, one thread"] = lambda: [codec.decompress(one) for one in packed]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        size = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
        main(size, sys.argv[2] if len(sys.argv) > 2 else None, Path(place))
