"""Time to load and save weights, beside other libraries: `python load.py [GIB]`.

Makes a file of BF16 weights (normal, sigma 0.02) in a temporary folder, and loads it to numpy and to
torch with each library that is installed. The page cache is warm. Libraries take turns, so that the
ratios of one run can be compared; the median of each is printed, and its ratio to unweight's.

ZipNN and zstd have no container of tensors: their figures are those of one compressed buffer a
tensor in memory, without reading a file.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

import unweight
import unweight.numpy

ROUNDS = 5
TENSOR = (4096, 4096)


def tensors(count: int) -> dict[str, np.ndarray[Any, Any]]:
    generator = np.random.default_rng(0)
    made = {}
    for number in range(count):
        values = generator.standard_normal(TENSOR, np.float32) * np.float32(0.02)
        made[f"{number}.weight"] = (values.view(np.uint32) >> 16).astype(np.uint16)
    return made


def report(title: str, bytes: int, works: dict[str, Callable[[], object]]) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(ROUNDS):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(of) for name, of in seconds.items()}
    ours = next(iter(medians.values()))
    print(title)
    for name, median in medians.items():
        print(f"  {name:34} {bytes / median / 1e9:6.2f} GB/s  {ours / median:5.2f} of unweight")


def main(gib: float, folder: Path) -> None:
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
        "unweight.numpy": lambda: unweight.numpy.load_file(unw, as_bits=True),
        "unweight, out=": lambda: into(unw, out),
        "unweight, one thread": lambda: unweight.numpy.load_file(unw, threads=1, as_bits=True),
        "unweight of the safetensors file": lambda: unweight.numpy.load_file(plain, as_bits=True),
        "unweight.verify (no output)": lambda: unweight.verify(unw),
    }
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
        main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0, Path(place))
