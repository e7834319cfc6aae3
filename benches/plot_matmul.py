#!/usr/bin/env python3
"""Plots the CSV of `cargo bench -p unweight-matmul --bench matmul -- --csv FILE`: speed relative to cuBLASLt by batch.

    benches/plot_matmul.py matmul.csv docs/performance/matmul-h200.svg

Standard library only.
"""

import csv
import math
import sys

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 400, 56, 190, 36, 44
COLOURS = ["#1b6ca8", "#c8553d", "#3d8b5f", "#8a5fa8", "#111111"]


def series(path):
    """{label: {batch: cuBLASLt's seconds / the fastest of ours}}"""
    seconds = {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            at = seconds.setdefault(row["what"], {}).setdefault(int(row["batch"]), {})
            at[row["pipeline"]] = float(row["seconds"])
    return {
        what: {batch: at.pop("cublaslt") / min(at.values()) for batch, at in by_batch.items()}
        for what, by_batch in seconds.items()
    }


def main(csv_path, svg_path):
    lines = series(csv_path)
    batches = sorted({batch for line in lines.values() for batch in line})
    highest = max(1.5, max(max(line.values()) for line in lines.values()))
    span = math.log2(batches[-1]) - math.log2(batches[0]) or 1

    def x(batch):
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log2(batch) - math.log2(batches[0])) / span

    def y(ratio):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * ratio / highest

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="20">times as fast as cuBLASLt with BF16 weights, by rows of activations</text>',
    ]
    for step in range(int(highest * 4) + 1):
        ratio = step / 4
        width = 1.5 if ratio == 1 else 0.5
        out.append(f'<path d="M{LEFT} {y(ratio):.1f}H{WIDTH - RIGHT}" stroke="#999" stroke-width="{width}"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y(ratio) + 4:.1f}" text-anchor="end">{ratio:g}</text>')
    for batch in batches:
        out.append(f'<text x="{x(batch):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{batch}</text>')
    for number, (what, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(f"{x(batch):.1f},{y(ratio):.1f}" for batch, ratio in sorted(line.items()))
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out.append(f'<text x="{WIDTH - RIGHT + 12}" y="{TOP + 18 * number + 12}" fill="{colour}">{what}</text>')
    out.append("</svg>")
    with open(svg_path, "w") as file:
        file.write("\n".join(out) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
