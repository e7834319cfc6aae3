#!/usr/bin/env python3
"""Unweight beside ZipNN, zstd and OpenZL: the same weights, one thread, in one run.

    benches/peers.py [model.safetensors] [--runs N] [--json] [--unweight PATH]

Installs the peers from PyPI into target/peers-venv (about a gigabyte: ZipNN needs torch), builds
`unweight` in release mode, and prints GB/s of BF16 bytes and ratios. Without a file it makes the tensor
that `unweight bench` makes: 14336 x 4096, normal, sigma 0.02 times exp(0.15 z) for each row.

Times are CPU seconds of all processors together (ZipNN uses a thread of its own), the median of N runs
after one warm-up run. Every result is compared with the input. Peers return new buffers; malloc is told to
keep freed memory, so that page faults are not measured. ZipNN reorders the caller's buffer in place, so it
gets a copy, which is not timed. Unweight's figures include all checksums; ZipNN has none, OpenZL and zstd
have their defaults.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV = ROOT / "target" / "peers-venv"
ROWS, COLUMNS = 14336, 4096
PEERS = ["numpy", "zipnn", "zstandard", "openzl"]


def enter_venv():
    """Runs this script again with the interpreter that has the peers."""
    python = VENV / "bin" / "python"
    if os.environ.get("UNWEIGHT_PEERS") == "1":
        return
    if not python.exists():
        venv.create(VENV, with_pip=True)
        for peer in PEERS:
            # Separate installs: a peer without a wheel for this machine is skipped.
            subprocess.run([python, "-m", "pip", "install", "-q", peer], check=peer == "numpy")
    os.environ["UNWEIGHT_PEERS"] = "1"
    # malloc keeps freed memory. Otherwise most of the peers' time is page faults.
    for name in ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_"]:
        os.environ.setdefault(name, str(2**32))
    os.execv(python, [str(python), __file__, *sys.argv[1:]])


def synthetic_bits():
    """The bits of the synthetic tensor's weights."""
    import numpy

    random = numpy.random.default_rng(1)
    weights = random.standard_normal((ROWS, COLUMNS), dtype=numpy.float32)
    factors = 0.02 * numpy.exp(0.15 * random.standard_normal((ROWS, 1), dtype=numpy.float32))
    bits = (weights * factors).view(numpy.uint32)
    # Round to nearest, ties to even.
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")


def synthetic(path):
    """A safetensors file with the synthetic tensor."""
    bits = synthetic_bits()
    header = {"w": {"dtype": "BF16", "shape": [ROWS, COLUMNS], "data_offsets": [0, bits.nbytes]}}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bits.tobytes())


def bf16_bytes(path):
    """The BF16 tensors of a safetensors file, one after another."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    parts = []
    for name, tensor in header.items():
        if name != "__metadata__" and tensor["dtype"] == "BF16":
            begin, end = tensor["data_offsets"]
            parts.append(content[start + begin : start + end])
    return b"".join(parts)


def zipnn(data):
    import zipnn

    coder = zipnn.ZipNN(input_format="byte", bytearray_dtype="bfloat16", threads=1)
    fresh = lambda: bytearray(data)
    return fresh, coder.compress, coder.decompress


def zstd(data, level):
    import zstandard

    encoder, decoder = zstandard.ZstdCompressor(level=level), zstandard.ZstdDecompressor()
    return lambda: data, encoder.compress, decoder.decompress


def openzl(data):
    import numpy
    import openzl.ext as zl

    compressor = zl.Compressor()
    store, huffman = zl.graphs.Store()(compressor), zl.graphs.Huffman()(compressor)
    graph = zl.nodes.BFloat16Deconstruct()(compressor, sign_frac=store, exponent=huffman)
    compressor.select_starting_graph(graph)
    weights = numpy.frombuffer(data, dtype="<u2")

    def encode(_):
        context = zl.CCtx()
        context.ref_compressor(compressor)
        context.set_parameter(zl.CParam.FormatVersion, zl.MAX_FORMAT_VERSION)
        return context.compress([zl.Input(zl.Type.Numeric, weights)])

    def decode(coded):
        [output] = zl.DCtx().decompress(coded)
        return output.content.as_nparray()

    return lambda: data, encode, decode


def median_seconds(runs, prepare, work):
    seconds = []
    for _ in range(runs + 1):
        argument = prepare()
        start = time.process_time()
        work(argument)
        seconds.append(time.process_time() - start)
    return statistics.median(seconds[1:])


def measure(peer, data, runs):
    fresh, encode, decode = peer
    coded = encode(fresh())
    assert bytes(decode(coded)) == data, "the decoded bytes differ from the input"
    encode_seconds = median_seconds(runs, fresh, encode)
    decode_seconds = median_seconds(runs, lambda: coded, decode)
    gigabytes = len(data) / 1e9
    return gigabytes / encode_seconds, gigabytes / decode_seconds, len(coded) / len(data)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=pathlib.Path, help="safetensors file to measure (default: a synthetic tensor)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each operation (default: 5); the median is reported")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--unweight", type=pathlib.Path, help="the program unweight (default: built from this repository)")
    options = parser.parse_args()
    enter_venv()

    path = options.file
    if path is None:
        path = ROOT / "target" / "llama-shaped.safetensors"
        if not path.exists():
            synthetic(path)
    program = options.unweight
    if program is None:
        subprocess.run(["cargo", "build", "-q", "--release", "-p", "unweight-cli"], cwd=ROOT, check=True)
        program = ROOT / "target" / "release" / "unweight"
    command = [program, "bench", path, "--json", "--threads", "1", "--runs", str(options.runs)]
    ours = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    speeds = {}
    for measured in ours["measurements"]:
        speeds.setdefault(measured["backend"], {})[measured["operation"]] = measured["gb_per_s"]
    memcpy = speeds[None]["memcpy"]
    size = ours["huffman_bytes"] / ours["data_bytes"]
    rows = [("memcpy", None, memcpy, 1.0)]
    for name, of in speeds.items():
        if name is not None:
            rows.append((f"unweight, {name}", of["encode"], of["decode"], size))

    data = bf16_bytes(path)
    peers = {
        "ZipNN": lambda: zipnn(data),
        "OpenZL": lambda: openzl(data),
        "zstd -1": lambda: zstd(data, 1),
        "zstd -3": lambda: zstd(data, 3),
    }
    for name, peer in peers.items():
        try:
            rows.append((name, *measure(peer(), data, options.runs)))
        except Exception as error:  # A peer that does not run here is skipped with a message.
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)

    if options.json:
        print(json.dumps({"input": str(path), "rows": rows}))
        return
    base = next((row for row in rows if row[0] == "ZipNN"), None)
    print(f"{path}: {len(data):,} bytes of BF16; one thread, seconds of CPU, median of {options.runs}")
    print(f"{'':22}{'encode':>8}{'decode':>8}{'size':>8}{'decode of':>11}{'encode of':>11}{'decode of':>11}")
    print(f"{'':22}{'GB/s':>8}{'GB/s':>8}{'%':>8}{'memcpy':>11}{'ZipNN':>11}{'ZipNN':>11}")
    for name, encode, decode, part in rows:
        number = lambda value: "" if value is None else f"{value:.2f}"
        of_zipnn = ["", ""]
        if base is not None:
            of_zipnn = [number(encode and encode / base[1]), number(decode / base[2])]
        cells = [number(encode), number(decode), f"{100 * part:.1f}"]
        print(f"{name:22}" + "".join(f"{cell:>8}" for cell in cells), end="")
        print("".join(f"{cell:>11}" for cell in [number(decode / memcpy), *of_zipnn]))


if __name__ == "__main__":
    main()
