#!/usr/bin/env python3
"""A checkpoint in shards, end to end: Unweight beside cp, zstd, ZipNN and safetensors.

    benches/checkpoint.py [--gigabytes 2] [--shards 4] [--runs 3] [--threads N...] [--cold]
                          [--only REGEX] [--folder DIR] [--unweight PATH] [--python PYTHON] [--json]

Makes a model folder of Llama-shaped BF16 tensors in DIR (a new temporary folder by default), runs every
operation in turn, and prints medians of wall-clock seconds, GB/s of original bytes, and the time relative
to `cp`. DIR needs nine times the size of the checkpoint. Results are compared with the input, after the
clock has stopped.

Every operation starts a program of its own, and ends when its outputs are on the disk (fsync). Reads come
from the page cache. With --cold, the kernel is asked before each run to drop the pages of the files that the
operation reads (posix_fadvise, DONTNEED), and each row is measured both ways. Unweight and zstd check their
checksums; ZipNN has none. ZipNN and safetensors run in PYTHON, which must have safetensors, torch and zipnn;
what is missing leaves its rows out. The time that an interpreter takes to start is not counted.

*busy* is the number of processors that an operation keeps busy, on average, and *system* the share of its
processor time in the kernel. With several numbers of threads each operation runs with each of them, and
--only leaves those out whose names do not match, `unweight (compress|verify|decompress)` for example. An
operation whose input is made by another one needs that one as well.
"""

import argparse
import filecmp
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The tensors of a layer of Llama 3 8B.
SHAPES = [
    *([4096, 4096], [1024, 4096], [1024, 4096], [4096, 4096]),
    *([14336, 4096], [14336, 4096], [4096, 14336], [4096]),
]

# The programs of the peers print the seconds that they took.
LOAD_FILE = """
import sys, time
from safetensors.torch import load_file
start = time.perf_counter()
for path in sys.argv[1:]:
    # Tensors refer to the mapped file. A copy reads them.
    copies = [tensor.clone() for tensor in load_file(path).values()]
print(time.perf_counter() - start)
"""
ZIPNN = """
import os, sys, time, zipnn
action, threads, target, *paths = sys.argv[1:]
coder = zipnn.ZipNN(input_format="byte", bytearray_dtype="bfloat16", threads=int(threads))
start = time.perf_counter()
for path in paths:
    with open(path, "rb") as file:
        data = file.read()
    done = coder.compress(bytearray(data)) if action == "compress" else coder.decompress(data)
    with open(os.path.join(target, os.path.basename(path)), "wb") as file:
        file.write(done)
        file.flush()
        os.fsync(file.fileno())
print(time.perf_counter() - start)
"""


def make(folder: Path, total_bytes: int, shards: int) -> int:
    """Writes the model folder. Returns the bytes of its shards."""
    import numpy

    random = numpy.random.default_rng(25)
    wide = max(columns for _, *rest in SHAPES for columns in rest)
    values = random.standard_normal(64 << 20, dtype=numpy.float32)
    scale = 0.02 * numpy.exp(0.15 * random.standard_normal(len(values) // wide + 1, dtype=numpy.float32))
    bits = (values * numpy.repeat(scale, wide)[: len(values)]).view(numpy.uint32)
    # Round to nearest, ties to even.
    weights = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2").view(numpy.uint8)
    folder.mkdir(parents=True)
    written, number, weight_map = 0, 0, {}
    for shard in range(shards):
        header, parts, size = {}, [], 0
        while written + size < total_bytes * (shard + 1) // shards:
            shape = SHAPES[number % len(SHAPES)]
            count = 2 * int(numpy.prod(shape))
            # Every tensor begins elsewhere, so that no two are equal.
            at = 2 * (7919 * number % 10_000_000) % (len(weights) - count)
            name = f"model.layers.{number // len(SHAPES)}.{number % len(SHAPES)}.weight"
            header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [size, size + count]}
            parts.append(weights[at : at + count])
            size += count
            number += 1
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        name = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        weight_map |= dict.fromkeys(header, name)
        with open(folder / name, "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        written += size
    index = {"metadata": {"total_size": written}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text("{}")
    return written


def largest_tensor(path: Path) -> tuple[str, int]:
    """Name and bytes of the largest tensor of a safetensors file."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    sizes = {name: tensor["data_offsets"][1] - tensor["data_offsets"][0] for name, tensor in header.items()}
    largest = max(sizes, key=lambda name: sizes[name])
    return largest, sizes[largest]


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def flush(folder: Path) -> None:
    for path in files(folder):
        with open(path, "rb") as file:
            os.fsync(file.fileno())


def drop_pages(folder: Path) -> None:
    flush(folder)
    for path in files(folder):
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def warm_pages(folder: Path) -> None:
    for path in files(folder):
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 24):
                pass


def timed(work: Callable[[], float | None]) -> float:
    """Seconds of the work, which may tell them itself."""
    start = time.perf_counter()
    told = work()
    return time.perf_counter() - start if told is None else told


class Row:
    """An operation: its name, the folder that it reads, the one that it makes if any, its work."""

    def __init__(
        self, name: str, source: Path, made: Path | None, work: Callable[[], float | None], size: int
    ) -> None:
        self.name, self.source, self.made, self.work, self.size = name, source, made, work, size

    def run(self, is_cold: bool) -> tuple[float, float, float]:
        """Seconds by the clock, of processors in programs, and in the kernel."""
        if self.made is not None:
            shutil.rmtree(self.made, ignore_errors=True)
        drop_pages(self.source) if is_cold else warm_pages(self.source)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = timed(self.work)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return seconds, after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=2)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[os.cpu_count()])
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--only", type=re.compile, default="")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--unweight", type=Path, default=ROOT / "target/release/unweight")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="unweight-checkpoint-") as work:
        report(options, Path(work))


def report(options: argparse.Namespace, work: Path) -> None:
    model = work / "model"
    size = make(model, int(options.gigabytes * 1e9), options.shards)
    shards = sorted(model.glob("*.safetensors"))
    copy, unw, back = work / "copy", work / "unw", work / "back"
    zst, unzst, zip_, unzip = work / "zst", work / "unzst", work / "zip", work / "unzip"
    largest, largest_bytes = largest_tensor(shards[0])

    def rows_for(threads: str) -> list[Row]:
        def command(*words: str | Path, made: Path | None = None) -> Callable[[], None]:
            def run() -> None:
                subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)
                if made is not None:
                    flush(made)

            return run

        def unweight(*words: str | Path) -> Callable[[], None]:
            return command(options.unweight, *words, "--threads", threads, "--quiet")

        def zstd(source: Path, made: Path, *words: str) -> Callable[[], None]:
            def run() -> None:
                made.mkdir()
                paths = sorted(path for path in source.iterdir() if ".safetensors" in path.name)
                command("zstd", "-q", *words, "--output-dir-flat", made, *paths, made=made)()

            return run

        def python(program: str, made: Path | None, *words: str) -> Callable[[], float]:
            def run() -> float:
                if made is not None:
                    made.mkdir()
                done = subprocess.run(
                    [options.python, "-c", program, *words], check=True, capture_output=True, text=True
                )
                return float(done.stdout.split()[-1])

            return run

        def zipnn(action: str, source: Path, made: Path) -> Callable[[], float]:
            def run() -> float:
                paths = [str(path) for path in sorted(source.glob("*.safetensors"))]
                return python(ZIPNN, made, action, threads, str(made), *paths)()

            return run

        of_shards = [str(path) for path in shards]
        one = unw / shards[0].with_suffix(".unw").name
        extract = unweight("extract", one, largest, "-o", "-")
        return [
            Row("cp", model, copy, command("cp", "-r", model, copy, made=copy), size),
            Row("unweight compress", model, unw, unweight("compress", model, "-o", unw), size),
            Row("unweight verify", unw, None, unweight("verify", unw), size),
            Row("unweight decompress", unw, back, unweight("decompress", unw, "-o", back), size),
            Row("unweight extract, one tensor", unw, None, extract, largest_bytes),
            Row(f"zstd -T{threads} -3", model, zst, zstd(model, zst, f"-T{threads}", "-3"), size),
            Row("zstd -d", zst, unzst, zstd(zst, unzst, "-d"), size),
            Row("ZipNN compress", model, zip_, zipnn("compress", model, zip_), size),
            Row("ZipNN decompress", zip_, unzip, zipnn("decompress", zip_, unzip), size),
            Row("safetensors load_file, copied", model, None, python(LOAD_FILE, None, *of_shards), size),
        ]

    rows = [
        (threads, row)
        for threads in options.threads
        for row in rows_for(str(threads))
        if re.search(options.only, row.name)
    ]
    results = []
    for is_cold in [False, True] if options.cold else [False]:
        runs: list[list[tuple[float, float, float]]] = [[] for _ in rows]
        for _ in range(options.runs):
            for (_, row), of_row in zip(rows, runs):
                try:
                    of_row.append(row.run(is_cold))
                except (OSError, subprocess.CalledProcessError) as error:
                    print(f"{row.name}: {error}", file=sys.stderr)
        of_copy = None
        for (threads, row), of_row in zip(rows, runs):
            if not of_row:
                continue
            seconds, user, system = (statistics.median(times) for times in zip(*of_row))
            if row.name == "cp":
                of_copy = seconds
            made = row.made is not None and row.made.exists()
            stored = sum(path.stat().st_size for path in files(row.made)) if made else None
            results.append(
                {
                    "operation": row.name,
                    "threads": threads,
                    "cache": "cold" if is_cold else "warm",
                    "seconds": seconds,
                    "gb_per_s": row.size / seconds / 1e9,
                    "of_cp": None if of_copy is None else seconds / of_copy,
                    "busy": (user + system) / seconds,
                    "system": system / max(user + system, 1e-9),
                    "made_percent": None if stored is None else 100 * stored / size,
                }
            )
    for found in [back, unzst, unzip]:
        for shard in shards:
            if found.exists() and not filecmp.cmp(shard, found / shard.name, shallow=False):
                sys.exit(f"{found.name}/{shard.name} differs from the input")
    if options.json:
        print(json.dumps({"bytes": size, "shards": len(shards), "rows": results}))
        return
    print(f"{size:,} bytes in {len(shards)} shards, median of {options.runs} runs")
    print(f"{'':30}{'threads':>8}{'cache':>6}{'s':>8}{'GB/s':>8}{'x cp':>7}", end="")
    print(f"{'busy':>6}{'system':>8}{'made %':>8}")
    for row in results:
        made = "" if row["made_percent"] is None else f"{row['made_percent']:.1f}"
        of_copy = "" if row["of_cp"] is None else f"{row['of_cp']:.2f}"
        print(f"{row['operation']:30}{row['threads']:8}{row['cache']:>6}{row['seconds']:8.2f}", end="")
        print(f"{row['gb_per_s']:8.2f}{of_copy:>7}{row['busy']:6.1f}{row['system']:8.2f}{made:>8}")


if __name__ == "__main__":
    main()
