"""Compresses a model folder with a line of progress for each file, and says where the bits go."""

import sys

import unweight
from unweight import Progress


def show(progress: Progress) -> None:
    share = progress.done_bytes / max(progress.total_bytes, 1)
    place = f"{progress.number} of {progress.count}"
    print(f"\r{progress.action} {place}: {progress.path} {share:4.0%}", end="", flush=True)


def main(source: str, output: str) -> None:
    report = unweight.compress(source, output, verify=True, resume=True, progress=show)
    print(f"\n{report.input_bytes} to {report.output_bytes} bytes")
    for warning in report.warnings:
        print(warning)
    for file in unweight.inspect(output):
        for tensor in file.tensors:
            print(tensor.name, tensor.dtype, tensor.forms, tensor.bits_per_weight)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
