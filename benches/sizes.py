#!/usr/bin/env python3
"""Bits per weight of the kinds of checkpoints there are, beside zstd.

    benches/sizes.py [--side N] [--json] [--unweight PATH]

Makes N x N weights (4096 x 4096), normal, sigma 0.02, in each kind of number that checkpoints hold
today, and compresses a safetensors file of each with `unweight` (built in release mode, unless a
path is given) and zstd. Installs numpy, ml_dtypes and zstandard from PyPI into target/sizes-venv.

*Entropy* is that of the fields of the type (table 4.1 of the specification), one by one, and a bit
for each bit that is in no field. Scales of blocks are tensors of their own and not counted.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV = ROOT / "target" / "sizes-venv"
PACKAGES = ["numpy", "ml_dtypes", "zstandard"]

# (bytes of a weight, its fields as (highest bit, lowest bit)): table 4.1.
FIELDS = {
    "BF16": (2, [(14, 7), (6, 4), (3, 0)]),
    "F16": (2, [(14, 10), (9, 7), (6, 3), (2, 0)]),
    "F32": (4, [(30, 23), (22, 20), (19, 16), (15, 13), (12, 8), (7, 0)]),
    "F8_E4M3": (1, [(6, 3), (2, 0)]),
    "F8_E5M2": (1, [(6, 2), (1, 0)]),
    "U8": (1, [(7, 4), (3, 1)]),
    "I8": (1, [(7, 4), (3, 1)]),
}


def enter_venv():
    """Runs this script again with the interpreter that has the packages."""
    python = VENV / "bin" / "python"
    if os.environ.get("UNWEIGHT_SIZES") == "1":
        return
    if not python.exists():
        venv.create(VENV, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
    os.environ["UNWEIGHT_SIZES"] = "1"
    os.execv(python, [str(python), __file__, *sys.argv[1:]])


def scaled_blocks(weights, dtype, power_of_two):
    """Weights in blocks of 128 x 128 with one scale: the numbers of `dtype`, and what they stand for."""
    import ml_dtypes
    import numpy

    most = float(ml_dtypes.finfo(dtype).max)
    rows, columns = (side // 128 for side in weights.shape)
    blocks = weights.reshape(rows, 128, columns, 128)
    scales = numpy.abs(blocks).max(axis=(1, 3), keepdims=True) / most
    if power_of_two:
        scales = numpy.exp2(numpy.ceil(numpy.log2(scales)))
    scaled = (blocks / scales).astype(dtype)
    restored = scaled.astype(numpy.float32) * scales
    return scaled.reshape(weights.shape), restored.reshape(weights.shape)


def kinds(side):
    """(name, dtype of the file, weights) of each kind."""
    import ml_dtypes
    import numpy

    random = numpy.random.default_rng(1)
    # In float64, because numpy's float32 normals have low bits that are not uniform.
    f32 = (random.standard_normal((side, side)) * 0.02).astype(numpy.float32)
    bf16, f16 = f32.astype(ml_dtypes.bfloat16), f32.astype(numpy.float16)
    e4m3, from_e4m3 = scaled_blocks(f32, ml_dtypes.float8_e4m3fn, True)
    e5m2, _ = scaled_blocks(f32, ml_dtypes.float8_e5m2, True)
    yield "BF16", "BF16", bf16
    yield "BF16 that was E4M3", "BF16", from_e4m3.astype(ml_dtypes.bfloat16)
    yield "F16", "F16", f16
    yield "F16 that was BF16", "F16", bf16.astype(numpy.float16)
    yield "F16 that was E4M3", "F16", from_e4m3.astype(numpy.float16)
    yield "F32", "F32", f32
    yield "F32 that was BF16", "F32", bf16.astype(numpy.float32)
    yield "F32 that was F16", "F32", f16.astype(numpy.float32)
    yield "F8_E4M3", "F8_E4M3", e4m3
    yield "F8_E5M2", "F8_E5M2", e5m2
    scale = numpy.abs(f32).max(axis=1, keepdims=True) / 127
    yield "I8, a scale for each row", "I8", numpy.round(f32 / scale).astype(numpy.int8)
    groups = f32.reshape(-1, 128)
    int4 = numpy.round(groups / numpy.abs(groups).max(axis=1, keepdims=True) * 7) + 8
    yield "INT4 in groups of 128, packed in U8", "U8", packed(int4.astype(numpy.uint8))
    groups = f32.reshape(-1, 32)
    scale = numpy.exp2(numpy.floor(numpy.log2(numpy.abs(groups).max(axis=1, keepdims=True))) - 2)
    fp4 = (groups / scale).astype(ml_dtypes.float4_e2m1fn).view(numpy.uint8)
    yield "MXFP4, packed in U8", "U8", packed(fp4)


def packed(nibbles):
    """Two nibbles a byte, the first in the low half."""
    nibbles = nibbles.reshape(-1) & 15
    return nibbles[0::2] | nibbles[1::2] << 4


def entropy(dtype, data):
    """Bits per weight: the entropies of the fields, and the bits that are in none."""
    import numpy

    width, fields = FIELDS[dtype]
    weights = numpy.frombuffer(data, f"<u{width}")
    bits = 8 * width
    total = 0.0
    for high, low in fields:
        values = (weights >> low) & ((1 << high - low + 1) - 1)
        counts = numpy.bincount(values.astype(numpy.uint8))
        shares = counts[counts > 0] / weights.size
        total -= float((shares * numpy.log2(shares)).sum())
        bits -= high - low + 1
    return total + bits


def measure(name, dtype, weights, unweight, folder):
    """One row: bits per weight."""
    import zstandard

    data = weights.tobytes()
    header = {"w": {"dtype": dtype, "shape": [weights.size], "data_offsets": [0, len(data)]}}
    text = json.dumps(header).encode()
    content = len(text).to_bytes(8, "little") + text + data
    source, target = folder / "w.safetensors", folder / "w.unw"
    source.write_bytes(content)
    command = [unweight, "compress", source, "-o", target, "--force", "--verify", "--quiet"]
    subprocess.run(command, check=True)
    count = len(data) // FIELDS[dtype][0]
    sizes = {
        "unweight": target.stat().st_size,
        "zstd -3": len(zstandard.compress(content, 3)),
        "zstd -19": len(zstandard.ZstdCompressor(level=19, threads=-1).compress(content)),
    }
    row = {"kind": name, "bits": 8 * FIELDS[dtype][0], "entropy": entropy(dtype, data)}
    return row | {column: 8 * size / count for column, size in sizes.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=4096, help="a multiple of 128 (4096)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--unweight", help="a program that is built already")
    arguments = parser.parse_args()
    unweight = arguments.unweight
    if unweight is None:
        build = ["cargo", "build", "--release", "-q", "-p", "unweight-cli"]
        subprocess.run(build, cwd=ROOT, check=True)
        unweight = ROOT / "target" / "release" / "unweight"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, dtype, weights in kinds(arguments.side):
            row = measure(name, dtype, weights, unweight, pathlib.Path(folder))
            rows.append(row)
            if not arguments.json:
                if len(rows) == 1:
                    print("| " + " | ".join(row) + " |")
                    print("| --- " * len(row) + "|")
                figures = [f"{figure:.2f}" for figure in list(row.values())[2:]]
                print("| " + " | ".join([name, str(row["bits"]), *figures]) + " |", flush=True)
    if arguments.json:
        json.dump(rows, sys.stdout, indent=2)
        print()


if __name__ == "__main__":
    enter_venv()
    main()
