"""Runs the tests of the library safetensors with this package in its place:
`python safetensors_suite.py [PYTEST_OPTION...]`.

The source distribution comes from PyPI, and goes to a temporary folder. A package `safetensors` made
of this one stands in front of it there. Needs pip, maturin, pytest, numpy, torch and fsspec. The
README lists what does not pass, and why.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "0.8.0"
# Tests of other frameworks, and of functions that this package does not have.
LEFT_OUT = [
    "test_tf_comparison.py",
    "test_paddle_comparison.py",
    "test_flax_comparison.py",
    "test_mlx_comparison.py",
]

PACKAGE = '''
"""unweight by the name of safetensors."""
import unweight as _unweight
from unweight import UnweightError as SafetensorError, __version__

def safe_open(filename, framework, device="cpu", *, backend="mmap"):
    return _unweight.safe_open(filename, framework, device)

_safe_open_handle = safe_open

def _missing(*arguments, **options):
    raise NotImplementedError("unweight has no TensorSpec, serialize and deserialize")

TensorSpec = serialize = serialize_file = deserialize = _missing
'''
NUMPY = '''
import unweight.numpy as _numpy
from unweight.numpy import load, save, save_file

def load_file(filename, *, backend="mmap"):
    return _numpy.load_file(filename)
'''
TORCH = '''
import unweight.torch as _torch
from unweight.torch import load, save, save_file, save_model

def load_file(filename, device="cpu", *, backend="mmap"):
    return _torch.load_file(filename, device)

def load_model(model, filename, strict=True, device="cpu", *, backend="mmap"):
    return _torch.load_model(model, filename, strict, device)

def _missing(*arguments, **options):
    raise NotImplementedError("a private function of safetensors")

_find_shared_tensors = _remove_duplicate_names = _is_complete = _end_ptr = _missing
_SIZE = storage_ptr = storage_size = _missing
'''


def main(options: list[str]) -> int:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        download = ["download", "-q", "--no-deps", "--no-build-isolation", "--no-binary", ":all:"]
        pip = [sys.executable, "-m", "pip", *download, "-d", place, f"safetensors=={VERSION}"]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        subprocess.run(pip, check=True, env=os.environ | {"PATH": path})
        with tarfile.open(folder / f"safetensors-{VERSION}.tar.gz") as archive:
            archive.extractall(folder, filter="data")
        package = folder / "inplace" / "safetensors"
        package.mkdir(parents=True)
        for name, text in (("__init__", PACKAGE), ("numpy", NUMPY), ("torch", TORCH)):
            (package / f"{name}.py").write_text(text)
        tests = folder / f"safetensors-{VERSION}" / "bindings" / "python" / "tests"
        ignored = [f"--ignore={tests / name}" for name in LEFT_OUT]
        pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)]
        paths = os.pathsep.join(filter(None, [str(package.parent), os.environ.get("PYTHONPATH")]))
        done = subprocess.run(
            [*pytest, *ignored, *options],
            # They write to ./tests/data.
            cwd=tests.parent,
            env=os.environ | {"PYTHONPATH": paths},
            check=False,
        )
        return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
