"""Tensors of torch. They are skipped without torch, which takes gigabytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import weights

import unweight
from unweight import safe_open

torch = pytest.importorskip("torch", reason="torch is not installed")
safetensors_torch = pytest.importorskip("safetensors.torch")

import unweight.torch  # noqa: E402


def bits(tensor: Any) -> bytes:
    flat: np.ndarray[Any, Any] = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
    return flat.tobytes()


def same(found: Any, expected: Any) -> bool:
    """Same type, shape and bits."""
    return bool(
        (found.dtype, found.shape) == (expected.dtype, expected.shape)
        and bits(found) == bits(expected)
    )


@pytest.fixture
def tensors() -> dict[str, Any]:
    """A tensor of each type that safetensors knows."""
    raw = torch.from_numpy(weights(4000).view(np.uint8).copy())
    from unweight._to_torch import _DTYPES

    of = {name: raw.view(dtype).reshape(2, -1) for name, dtype in _DTYPES.items() if name != "BOOL"}
    return of | {
        "BOOL": raw > 60,
        "scalar": torch.tensor(7, dtype=torch.int32),
        "empty": torch.zeros((0, 3), dtype=torch.bfloat16),
        "large": torch.from_numpy(weights(300_000).view(np.int16)).view(torch.bfloat16),
    }


def owned(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def test_every_type_is_saved_as_safetensors_saves_it(
    tmp_path: Path, tensors: dict[str, Any]
) -> None:
    tensors = owned(tensors)
    theirs, ours, back = (tmp_path / name for name in ("theirs", "ours", "back"))
    safetensors_torch.save_file(tensors, theirs, {"format": "pt"})
    unweight.torch.save_file(tensors, ours, {"format": "pt"})
    unweight.decompress(ours, back)
    assert back.read_bytes() == theirs.read_bytes()
    for source in (ours, theirs):
        found = unweight.torch.load_file(source)
        assert found.keys() == tensors.keys()
        assert all(same(found[name], tensor) for name, tensor in tensors.items())
    assert same(unweight.torch.load(unweight.torch.save(tensors))["large"], tensors["large"])


def test_slices_and_out(tmp_path: Path, tensors: dict[str, Any]) -> None:
    path = tmp_path / "w.unw"
    matrix = tensors["large"].reshape(300, 1000).clone()
    unweight.torch.save_file({"w": matrix, "f4": tensors["F4"].clone()}, path)
    with safe_open(path, "pt") as file:
        for index in (np.s_[3], np.s_[5:70, 2:9], np.s_[::3, -1], np.s_[..., 5:5]):
            assert same(file.get_slice("w")[index], matrix[index]), index
        out = torch.empty_like(matrix)
        assert file.get_tensor("w", out=out) is out
        assert same(out, matrix)
        parameter = torch.nn.Parameter(torch.empty_like(matrix))
        file.get_tensor("w", out=parameter)
        assert same(parameter, matrix)
        for wrong in (out.T, out.float(), out[:, 0], [1.0]):
            with pytest.raises(unweight.WrongArgument):
                file.get_tensor("w", out=wrong)
        assert file.get_slice("f4").get_shape() == [2, 8000]
        assert same(file.get_slice("f4")[1:, 4:8], tensors["F4"][1:, 2:4])


def test_what_cannot_be_saved_is_refused(tensors: dict[str, Any]) -> None:
    large = tensors["large"]
    for wrong, message in (
        ({"w": large.reshape(300, 1000).T}, "not contiguous"),
        ({"w": torch.eye(3).to_sparse()}, "sparse"),
        ({"a": large, "b": large[5:]}, "share memory"),
        ({"w": np.zeros(3)}, "ndarray"),
    ):
        with pytest.raises(unweight.WrongArgument, match=message):
            unweight.torch.save(wrong)
    with pytest.raises(unweight.UnsupportedDtype):
        unweight.torch.save({"w": torch.zeros(3, dtype=torch.complex128)})
    # Parts of the same memory that do not overlap are saved.
    halves = {"a": large[:500], "b": large[500:]}
    found = unweight.torch.load(unweight.torch.save(halves))
    assert all(same(found[name], tensor) for name, tensor in halves.items())


class Tied(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(50, 20)
        self.head = torch.nn.Linear(20, 50, bias=False)
        self.head.weight = self.embedding.weight
        self.norm = torch.nn.LayerNorm(20)


def test_models_with_shared_tensors_are_restored(tmp_path: Path) -> None:
    path = tmp_path / "model.unw"
    saved, loaded = Tied(), Tied()
    unweight.torch.save_model(saved, path, {"format": "pt"})
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"format": "pt", "head.weight": "embedding.weight"}
        assert "head.weight" not in file.keys()
    assert unweight.torch.load_model(loaded, path) == (set(), [])
    pairs = zip(saved.state_dict().values(), loaded.state_dict().values(), strict=True)
    assert all(same(one, other) for one, other in pairs)
    assert loaded.head.weight is loaded.embedding.weight

    class Larger(Tied):
        def __init__(self) -> None:
            super().__init__()
            self.more = torch.nn.Linear(2, 2)

    with pytest.raises(RuntimeError, match="missing in the file.*more.bias"):
        unweight.torch.load_model(Larger(), path)
    missing, unexpected = unweight.torch.load_model(Larger(), path, strict=False)
    assert (missing, unexpected) == ({"more.weight", "more.bias"}, [])
    with pytest.raises(RuntimeError, match="not in the model.*norm.bias"):
        unweight.torch.load_model(torch.nn.Embedding(50, 20), path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_device_is_said_to_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "w.unw"
    unweight.torch.save_file({"w": torch.zeros(3)}, path)
    for device in ("cuda", "cuda:0", 0, torch.device("cuda", 1)):
        with pytest.raises(unweight.NoDevice, match="CUDA"):
            unweight.torch.load_file(path, device)
    for other in ("mps", "meta", "cuda:x"):
        with pytest.raises(unweight.NoDevice, match="expected 'cpu', 'cuda'.*move tensors with"):
            unweight.torch.load_file(path, other)
    assert unweight.torch.load_file(path, torch.device("cpu"))["w"].device.type == "cpu"


def test_the_default_device_of_torch_has_no_effect(tmp_path: Path) -> None:
    path = tmp_path / "w.unw"
    unweight.torch.save_file({"w": torch.ones(3)}, path)
    with torch.device("meta"):
        found = unweight.torch.load_file(path)["w"]
    assert found.device.type == "cpu" and same(found, torch.ones(3))
    assert unweight.torch.load_file(path, torch.device("cpu", 0)).keys() == {"w"}


def test_autograd_notices_that_a_tensor_was_filled(tmp_path: Path) -> None:
    path = tmp_path / "w.unw"
    unweight.torch.save_file({"w": torch.full((3,), 5.0)}, path)
    factor = torch.ones(3, requires_grad=True)
    with safe_open(path, "pt") as file:
        for read in (
            lambda out: file.get_tensor("w", out=out),
            lambda out: file.get_slice("w").read(out=out),
        ):
            out = torch.ones(3)
            product = (factor * out).sum()
            read(out)
            with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                product.backward()
        with torch.inference_mode():
            assert same(file.get_tensor("w", out=torch.empty(3)), torch.full((3,), 5.0))


def test_an_out_with_a_pending_operation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.unw"
    unweight.torch.save_file({"w": torch.ones(3, dtype=torch.complex64)}, path)
    out = torch.zeros(3, dtype=torch.complex64)
    with safe_open(path, "pt") as file, pytest.raises(unweight.WrongArgument, match="conjugation"):
        file.get_tensor("w", out=out.conj())
