"""Files for the tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import unweight.numpy


def weights(count: int, seed: int = 0) -> NDArray[np.uint16]:
    """BF16 weights as those of a model, as bits."""
    values = np.random.default_rng(seed).normal(0, 0.02, count).astype(np.float32)
    return (values.view(np.uint32) >> 16).astype(np.uint16)


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    """Forgets what torch.compile has compiled. It refuses to compile one function for many models."""
    yield
    if "torch._dynamo" in sys.modules:
        sys.modules["torch._dynamo"].reset()


@pytest.fixture
def tensors() -> dict[str, NDArray[np.generic]]:
    import ml_dtypes

    bf16 = weights(3 * 400 * 100).view(ml_dtypes.bfloat16)
    return {
        "layer.weight": bf16.reshape(3, 400, 100),
        "layer.bias": np.linspace(-1, 1, 300, dtype=np.float32),
        "step": np.array(7, np.int64),
        "empty": np.zeros((0, 5), np.float16),
        "mask": np.array([[True, False], [False, True]]),
    }


@pytest.fixture
def unw(tmp_path: Path, tensors: dict[str, NDArray[np.generic]]) -> Path:
    """An Unweight file of the tensors."""
    path = tmp_path / "model.unw"
    unweight.numpy.save_file(tensors, path, {"format": "np"})
    return path


@pytest.fixture
def plain(tmp_path: Path, unw: Path) -> Path:
    """The safetensors file of the tensors."""
    path = tmp_path / "model.safetensors"
    unweight.decompress(unw, path)
    return path


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The conformance corpus."""
    beside = Path(__file__).parents[3] / "conformance" / "corpus"
    path = Path(os.environ.get("UNWEIGHT_CORPUS", beside))
    assert path.is_dir(), f"{path}: expected the conformance corpus; set UNWEIGHT_CORPUS"
    return path
