#!/usr/bin/env python3
"""Other GPU decoders of weights: nvCOMP and DFloat11 on one tensor, beside a copy, in one run.

    benches/gpu_peers.py [model.safetensors] [--peers FOLDER] [--runs N] [--sweep] [--kernels] [--json]

Needs torch, cupy, tqdm and numpy, and from PyPI `nvidia-nvcomp-cu13`, `nvidia-libnvcomp-cu13`, `dfloat11`
and `dahuffman`. Install dfloat11 with --no-deps: only its encoder's file and its kernel are used. --peers
names a folder with the last four unpacked, for a machine without a network.

Input: all BF16 tensors of the file, one after another. Without a file, the tensor of peers.py: 14336 x
4096, normal, sigma 0.02 times exp(0.15 z) for each row.

Times are of CUDA events, medians of N runs after two warm-up runs. A pause enqueued before every run lets
the host get ahead, so launches are not measured. If a call waits for the device, its host time (`host_us`
of --json) exceeds the pause of about a millisecond. --kernels adds `kernel_us`, the profiler's time of the
call's kernels and copies alone. Inputs and outputs rotate through four buffers each, more than any L2.
Everything decoded is compared with the input, byte by byte.

Columns: `size` relates to 2 bytes a weight, `encode` to BF16 bytes, `decode` to BF16 bytes written. `of
copy` is decode over the bytes that the copy writes. `roofline` is the bytes that decoding must read and
write over the copy's, as in `cargo bench -p unweight-gpu`.

nvCOMP has no format for BF16 (ANS has one for 16-bit floats). It runs on the plain bytes, and on the
exponents alone with sign and mantissa stored. `exponents` counts 2 bytes of BF16 for each decoded exponent,
although nothing joins it to the rest; `and joined` adds a kernel of this script that does. Encoding
exponents does not include splitting them off. Configurations are prepared before; no checksums; --sweep has
other chunk sizes and options.

DFloat11's encoder is Python, so its speed is measured on 64 rows. A packer of this script codes the whole
tensor; on those rows it gives the same bytes.
"""

import argparse
import contextlib
import importlib.util
import io
import json
import pathlib
import statistics
import sys
import time
import warnings

from peers import COLUMNS, ROWS, bf16_bytes, synthetic_bits

COPIES = 4
# About a millisecond of pause.
PAUSE_CYCLES = 2_000_000

JOIN = r"""
extern "C" __global__ void join(const uint2 *exponents, const uint2 *rest, uint4 *weights, unsigned count) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    uint2 e = exponents[i], r = rest[i];
    uint4 w;
    unsigned *out = &w.x;
    unsigned es[2] = {e.x, e.y}, rs[2] = {r.x, r.y};
    #pragma unroll
    for (int k = 0; k < 4; k++) {
        // Two bytes of each plane make two weights.
        unsigned e2 = __byte_perm(es[k / 2], 0, k % 2 ? 0x4342 : 0x4140);
        unsigned r2 = __byte_perm(rs[k / 2], 0, k % 2 ? 0x4342 : 0x4140);
        out[k] = (r2 & 0x00800080u) << 8 | e2 << 7 | (r2 & 0x007F007Fu);
    }
    weights[i] = w;
}
"""


def trained(path):
    """The bits of the BF16 weights of a safetensors file, truncated to a multiple of eight."""
    import numpy

    bits = numpy.frombuffer(bf16_bytes(path), "<u2")
    return bits[: bits.size // 8 * 8]


class Bench:
    def __init__(self, bits, runs, kernels):
        import torch

        self.torch, self.runs, self.kernels = torch, runs, kernels
        self.host_seconds = None
        self.stream = torch.cuda.Stream()
        torch.cuda.set_stream(self.stream)
        self.weights = torch.from_numpy(bits.view("<i2")).cuda()
        self.bytes = self.weights.view(torch.uint8)
        self.exponents = (self.weights >> 7 & 0xFF).to(torch.uint8)
        self.rest = (self.weights >> 8 & 0x80 | self.weights & 0x7F).to(torch.uint8)
        self.outputs = [torch.zeros_like(self.bytes) for _ in range(COPIES)]
        self.copied = None
        self.rows = []

    def copies(self, tensor):
        return [tensor.clone() for _ in range(COPIES)]

    def seconds(self, work, runs=None):
        """The median of the device's seconds. `work` gets the number of the buffer."""
        torch, all_seconds, host_seconds = self.torch, [], []
        for run in range((runs or self.runs) + 2):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda._sleep(PAUSE_CYCLES)
            start.record()
            called = time.perf_counter()
            work(run % COPIES)
            host_seconds.append(time.perf_counter() - called)
            end.record()
            end.synchronize()
            all_seconds.append(start.elapsed_time(end) / 1e3)
        self.host_seconds = statistics.median(host_seconds[2:])
        return statistics.median(all_seconds[2:])

    def kernel_seconds(self, work):
        torch, calls = self.torch, 2 * COPIES
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            for number in range(calls):
                work(number % COPIES)
            torch.cuda.synchronize()
        return sum(event.self_device_time_total for event in profile.key_averages()) / calls / 1e6

    def check(self, decode, outputs, expected):
        """Decodes from every buffer and compares."""
        for number, output in enumerate(outputs):
            output.zero_()
            decode(number)
            assert self.torch.equal(output, expected), "the decoded bytes differ from the input"

    def copy(self):
        sources = self.copies(self.bytes)
        work = lambda number: self.outputs[number].copy_(sources[number])
        self.check(work, self.outputs, self.bytes)
        seconds = self.seconds(work)
        self.copied = 2 * self.bytes.nbytes / seconds
        self.row("copy", self.bytes.nbytes, None, seconds, 2 * self.bytes.nbytes, work)

    def row(self, name, size, encode_gb_per_s, decode_seconds, moved, work):
        kernels = {"kernel_us": self.kernel_seconds(work) * 1e6} if self.kernels else {}
        self.rows.append(
            {
                "name": name,
                "size": size / self.bytes.nbytes,
                "encode_gb_per_s": encode_gb_per_s,
                "decode_us": decode_seconds * 1e6,
                "decode_tb_per_s": self.bytes.nbytes / decode_seconds / 1e12,
                "of_copy": self.bytes.nbytes / decode_seconds / (self.copied / 2),
                "roofline": moved / decode_seconds / self.copied,
                "host_us": self.host_seconds * 1e6,
                **kernels,
            }
        )
        print_row(self.rows[-1], sys.stderr)

    def nvcomp(self, name, algorithm, plane="bytes", slow=False, **settings):
        from nvidia import nvcomp

        torch = self.torch
        source = {"bytes": self.bytes, "exponents": self.exponents}[plane]
        codec = nvcomp.Codec(algorithm=algorithm, cuda_stream=self.stream.cuda_stream, **settings)
        views = [nvcomp.as_array(tensor, cuda_stream=self.stream.cuda_stream) for tensor in self.copies(source)]
        config = codec.compression_config(source.nbytes)
        first = codec.encode(views[0], compression_config=config)
        coded = torch.as_tensor(first, device="cuda").view(torch.uint8).reshape(-1)
        assert coded.nbytes == first.buffer_size
        stored = self.copies(coded)
        decode_config = codec.decompression_config(config)
        coded_arrays = [nvcomp.as_array(tensor, cuda_stream=self.stream.cuda_stream) for tensor in stored]
        outputs = self.outputs if plane == "bytes" else [torch.zeros_like(source) for _ in range(COPIES)]
        decode = lambda number: codec.decode(coded_arrays[number], out=outputs[number], decompression_config=decode_config)
        self.check(decode, outputs, source)

        places = [torch.empty(codec.get_max_comp_buffer_size(views[0]), dtype=torch.uint8, device="cuda") for _ in range(2)]
        encode = lambda number: codec.encode(views[number], out=places[number % 2], compression_config=config)
        encode_speed = self.bytes.nbytes / self.seconds(encode, 3 if slow else None) / 1e9
        decode_seconds = self.seconds(decode, 5 if slow else None)
        self.check(decode, outputs, source)
        if plane == "bytes":
            self.row(name, coded.nbytes, encode_speed, decode_seconds, coded.nbytes + self.bytes.nbytes, decode)
            return
        size = coded.nbytes + self.weights.numel()
        self.row(name, size, encode_speed, decode_seconds, coded.nbytes + self.weights.numel(), decode)

        import cupy

        kernel = cupy.RawKernel(JOIN, "join")
        rests = self.copies(self.rest)
        external = cupy.cuda.ExternalStream(self.stream.cuda_stream)

        def joined(number):
            decode(number)
            pointers = [tensor.data_ptr() for tensor in (outputs[number], rests[number], self.outputs[number])]
            with external:
                kernel((-(-self.weights.numel() // 8 // 256),), (256,), (*pointers, cupy.uint32(self.weights.numel() // 8)))

        self.check(joined, self.outputs, self.bytes)
        self.row(f"{name}, and joined", size, None, self.seconds(joined), size + self.bytes.nbytes, joined)

    def dfloat11(self):
        import cupy
        import numpy

        torch = self.torch
        folder = pathlib.Path(importlib.util.find_spec("dfloat11").submodule_search_locations[0])
        # Importing the package by name would load model code.
        spec = importlib.util.spec_from_file_location("dfloat11_utils", folder / "dfloat11_utils.py")
        utils = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(utils)
        utils.tqdm = lambda symbols: symbols
        threads, bytes_per_thread = 512, 8

        with contextlib.redirect_stdout(io.StringIO()):
            _, counts = utils.get_codec(self.weights.view(torch.bfloat16))
            codec, _, table = utils.get_32bit_codec(counts)
            luts = utils.get_luts(table)
            few = self.weights[: 64 * COLUMNS]
            weights = few.cpu().view(torch.bfloat16)
            start = time.perf_counter()
            theirs = utils.encode_weights([weights], codec, bytes_per_thread, threads)
            encode_speed = few.nbytes / (time.perf_counter() - start) / 1e9
        encoded, _, positions, gaps, _ = theirs
        ours = self.dfloat11_pack(self.exponents[: few.numel()], codec, bytes_per_thread, threads)
        for their, our in zip((encoded, gaps, positions), ours):
            assert numpy.array_equal(their.numpy(), our), "the packer of this script differs from DFloat11's encoder"

        encoded, gaps, positions = self.dfloat11_pack(self.exponents, codec, bytes_per_thread, threads)
        shared = threads * 4 + 4 + int((positions[1:] - positions[:-1]).max()) * 2
        count = encoded.size
        size = luts.numel() + count + self.weights.numel() + positions.nbytes + gaps.nbytes
        on_device = lambda array: self.copies(torch.from_numpy(array).cuda())
        inputs = list(zip(*map(on_device, [luts.numpy(), encoded, self.rest.cpu().numpy(), positions.view(numpy.uint8), gaps])))
        kernel = cupy.RawModule(path=str(folder / "decode.ptx")).get_function("decode")
        blocks = -(-count // (threads * bytes_per_thread))
        external = cupy.cuda.ExternalStream(self.stream.cuda_stream)

        def decode(number):
            arguments = [tensor.data_ptr() for tensor in (*inputs[number], self.outputs[number])]
            arguments += [luts.shape[0], count, self.weights.numel()]
            with external:
                kernel((blocks,), (threads,), arguments, shared_mem=shared)

        self.check(decode, self.outputs, self.bytes)
        seconds = self.seconds(decode)
        self.check(decode, self.outputs, self.bytes)
        self.row("DFloat11", size, encode_speed, seconds, size + self.bytes.nbytes, decode)

    def dfloat11_pack(self, exponents, codec, bytes_per_thread, threads):
        """Like dfloat11_utils.encode, on the GPU: returns bytes, packed gaps, output positions."""
        import numpy

        torch = self.torch
        lengths, codes = torch.zeros(256, dtype=torch.int64), torch.zeros(256, dtype=torch.int64)
        for symbol, (length, code) in codec._table.items():
            if isinstance(symbol, int):
                lengths[symbol], codes[symbol] = length, code
        index = exponents.int()
        length = lengths.cuda()[index]
        ends = length.cumsum(0)
        total, starts = int(ends[-1]), ends - length
        # A code spans at most two words of 32 bits.
        window = codes.cuda()[index] << (64 - length - (starts & 31))
        words = torch.zeros(total // 32 + 2, dtype=torch.int64, device="cuda")
        words.scatter_add_(0, starts >> 5, window >> 32 & 0xFFFFFFFF)
        words.scatter_add_(0, (starts >> 5) + 1, window & 0xFFFFFFFF)
        encoded = words.cpu().numpy().astype(">u4").view(numpy.uint8)[: -(-total // 8)].copy()
        spare = -total % 8
        if spare:
            bits, code = codec._table[codec._eof]
            encoded[-1] |= code >> (bits - spare) if bits >= spare else code << (spare - bits)

        def firsts(log2):
            """The index of the first code that starts in each block of 2^log2 bits."""
            stretch = starts >> log2
            return torch.cat([torch.zeros(1, dtype=torch.int64, device="cuda"), stretch.diff().nonzero().flatten() + 1])

        log2 = (8 * bytes_per_thread).bit_length() - 1
        gaps = (starts[firsts(log2)] & (1 << log2) - 1).tolist()
        positions = firsts(log2 + threads.bit_length() - 1).tolist()
        if spare and (total >> log2) + 1 > len(gaps):
            gaps.append(total & (1 << log2) - 1)
        if spare and total // (threads << log2) + 1 > len(positions):
            positions.append(exponents.numel())
        positions.append(exponents.numel())
        padded = numpy.zeros(threads * -(-encoded.size // (threads * bytes_per_thread)), numpy.uint8)
        padded[: len(gaps)] = gaps
        five = numpy.unpackbits(padded[:, None], axis=1)[:, 3:]
        return encoded, numpy.packbits(five.reshape(-1)), numpy.array(positions, numpy.uint32)


def print_head():
    print(f"{'':52}{'size':>7}{'encode':>9}{'decode':>9}{'decode':>8}{'of copy':>9}{'roofline':>10}{'kernels':>9}")
    print(f"{'':52}{'%':>7}{'GB/s':>9}{'us':>9}{'TB/s':>8}{'%':>9}{'%':>10}{'us':>9}")


def print_row(row, file=None):
    encode = row["encode_gb_per_s"]
    encode = "" if encode is None else f"{encode:.1f}" if encode >= 0.1 else f"{encode:.4f}"
    kernels = f"{row['kernel_us']:.1f}" if "kernel_us" in row else ""
    print(
        f"{row['name']:52}{100 * row['size']:7.2f}{encode:>9}{row['decode_us']:9.1f}{row['decode_tb_per_s']:8.3f}"
        f"{100 * row['of_copy']:9.1f}{100 * row['roofline']:10.1f}{kernels:>9}",
        file=file or sys.stdout,
        flush=True,
    )


def find_peers(folder):
    """Makes the packages in a folder importable, even if the machine has other packages in the namespace `nvidia`."""
    sys.path.insert(0, str(folder))
    import nvidia

    if str(folder / "nvidia") not in list(nvidia.__path__):
        nvidia.__path__.append(str(folder / "nvidia"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=pathlib.Path, help="safetensors file to measure (default: a synthetic tensor)")
    parser.add_argument("--peers", type=pathlib.Path, help="folder with the unpacked packages of the peers")
    parser.add_argument("--runs", type=int, default=15, help="runs of each operation (default: 15); the median is reported")
    parser.add_argument("--sweep", action="store_true", help="measure more chunk sizes and options of ANS")
    parser.add_argument("--kernels", action="store_true", help="also print the times of kernels from the profiler")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    options = parser.parse_args()
    if options.peers is not None:
        find_peers(options.peers.resolve())

    # CuPy warns of an old name for a stream of torch, torch of DFloat11's read-only arrays.
    warnings.simplefilter("ignore")
    tensor, bits = (options.file.stem, trained(options.file)) if options.file else (f"{ROWS} x {COLUMNS}", synthetic_bits().reshape(-1))
    bench = Bench(bits, options.runs, options.kernels)
    bench.copy()
    k = 1024
    peers = [("DFloat11", bench.dfloat11, {})]

    def add(name, algorithm, **settings):
        peers.append((name, bench.nvcomp, {"name": name, "algorithm": algorithm, **settings}))

    add("nvCOMP ANS, bytes", "ANS")
    add("nvCOMP ANS, float16 type", "ANS", data_type="<f2")
    add("nvCOMP ANS, exponents", "ANS", plane="exponents")
    if options.sweep:
        import nvidia.nvcomp as nvcomp

        for chunk in [16 * k, 32 * k, 128 * k, 256 * k, 1024 * k]:
            add(f"nvCOMP ANS, float16 type, {chunk // k} KiB", "ANS", data_type="<f2", uncomp_chunk_size=chunk)
            add(f"nvCOMP ANS, exponents, {chunk // k} KiB", "ANS", plane="exponents", uncomp_chunk_size=chunk)
        for label, settings in {
            "1 state": {"states_per_lane": 1},
            "skip_validate": {"skip_validate": True},
            "latency": {"execution_policy": nvcomp.ExecutionPolicy.LATENCY},
            "4 sub-chunks": {"max_sub_chunk_count": 4},
            "16 sub-chunks": {"max_sub_chunk_count": 16},
        }.items():
            add(f"nvCOMP ANS, float16 type, {label}", "ANS", data_type="<f2", **settings)
            add(f"nvCOMP ANS, exponents, {label}", "ANS", plane="exponents", **settings)
    add("nvCOMP Bitcomp, bytes", "Bitcomp", data_type="|u1")
    add("nvCOMP Bitcomp, 16-bit integers", "Bitcomp", data_type="<u2")
    add("nvCOMP Bitcomp, exponents", "Bitcomp", plane="exponents", data_type="|u1")
    add("nvCOMP Cascaded, bytes", "Cascaded", data_type="|u1")
    add("nvCOMP LZ4, bytes", "LZ4")
    add("nvCOMP Snappy, bytes", "Snappy")
    add("nvCOMP GDeflate, bytes", "GDeflate", slow=True)
    add("nvCOMP GDeflate entropy only, bytes", "GDeflate", slow=True, algorithm_type=0)
    add("nvCOMP GDeflate entropy only, exponents", "GDeflate", plane="exponents", slow=True, algorithm_type=0)
    add("nvCOMP Zstd, bytes", "Zstd", slow=True)

    failures = {}
    for name, peer, settings in peers:
        try:
            peer(**settings)
        except Exception as error:  # A peer that does not run here is skipped with a message.
            failures[name] = f"{type(error).__name__}: {error}"
            print(f"{name}: {failures[name]}", file=sys.stderr, flush=True)

    import importlib.metadata
    import cupy

    versions = {"torch": bench.torch.__version__, "cupy": cupy.__version__}
    if "nvidia.nvcomp" in sys.modules:
        versions["nvcomp"] = sys.modules["nvidia.nvcomp"].__version__
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        versions["dfloat11"] = importlib.metadata.version("dfloat11")
    device = bench.torch.cuda.get_device_name()
    if options.json:
        result = {"device": device, "versions": versions, "copy_tb_per_s": bench.copied / 1e12, "runs": options.runs}
        print(json.dumps({**result, "rows": bench.rows, "failures": failures}))
        return
    print(f"\n{device}: a copy moves {bench.copied / 1e12:.2f} TB/s (read and written); {tensor} in BF16, median of {options.runs}")
    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    print_head()
    for row in bench.rows:
        print_row(row)


if __name__ == "__main__":
    main()
