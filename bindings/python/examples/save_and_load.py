"""Saves arrays, and reads all of them, one, and a part of one."""

import sys
from pathlib import Path

import numpy as np

import unweight
import unweight.numpy
from unweight import safe_open


def main(folder: Path) -> None:
    path = folder / "model.unw"
    weights = np.random.default_rng(0).normal(0, 0.02, (512, 1024)).astype(np.float32)
    unweight.numpy.save_file({"w": weights, "step": np.array(7)}, path, {"format": "np"})

    tensors = unweight.numpy.load_file(path)
    assert np.array_equal(tensors["w"], weights)
    with safe_open(path, framework="np") as file:
        print(file.keys(), file.metadata())
        part = file.get_slice("w")
        print(part.get_dtype(), part.get_shape(), part[10:20, ::4].shape)
        out = np.empty((512, 1024), np.float32)
        file.get_tensor("w", out=out)
    try:
        unweight.verify(path, memory=1000)
    except unweight.OverBudget as error:
        print(error)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
