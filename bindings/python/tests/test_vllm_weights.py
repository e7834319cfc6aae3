"""Tensors of model folders that are read when vLLM's weight loaders copy them. vLLM is not needed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import unweight

torch = pytest.importorskip("torch", reason="torch is not installed")

import unweight.torch  # noqa: E402
from unweight import _folder  # noqa: E402
from unweight._deferred import DeferredTensor  # noqa: E402
from unweight.vllm import _weights  # noqa: E402
from unweight.vllm._weights import Weights, decoding_device  # noqa: E402

ROWS, COLUMNS = 2048, 512
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Any:
        return torch.randn(*shape, generator=generator).mul(0.02).bfloat16()

    return {
        "matrix": normal(ROWS, COLUMNS),
        "experts": normal(4, 96, 256),
        "vector": torch.randn(20000, generator=generator),
        "small": torch.arange(3),
    }


@pytest.fixture(scope="module")
def folder(plain: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    unweight.torch.save_file(plain, path / "model.unw", {"format": "pt"})
    return path


def opened(folder: Path) -> tuple[Weights, dict[str, Any]]:
    weights = Weights(folder, pytest.fail)
    return weights, dict(weights)


def step(tensor: Any, rng: random.Random) -> Any:
    """A view as weight loaders make it."""
    if tensor.dim() == 0:
        return tensor
    dimension = rng.randrange(tensor.dim())
    size = tensor.size(dimension)
    match rng.randrange(9):
        case 0:
            start = rng.randrange(size)
            return tensor.narrow(dimension, start, rng.randrange(1, size - start + 1))
        case 1:
            return tensor.select(dimension, rng.randrange(size))
        case 2:
            return tensor.transpose(0, -1)
        case 3:
            return tensor.chunk(2, dimension)[-1]
        case 4:
            return tensor[..., ::2]
        case 5:
            return tensor.reshape(-1)
        case 6 if size % 2 == 0:
            return tensor.unflatten(dimension, (2, size // 2))
        case 7:
            return tensor.unsqueeze(0).data
        case _:
            return tensor[rng.randrange(tensor.size(0)) :]


@pytest.mark.parametrize("device", DEVICES)
def test_every_view_has_the_elements_of_the_plain_tensor(
    folder: Path, plain: dict[str, Any], device: str
) -> None:
    _, deferred = opened(folder)
    assert {name for name, tensor in deferred.items() if isinstance(tensor, DeferredTensor)} == {
        "matrix",
        "experts",
        "vector",
    }
    assert torch.equal(deferred["small"], plain["small"])
    for seed in range(400):
        rng = random.Random(seed)
        name = rng.choice(["matrix", "experts", "vector"])
        found, expected = deferred[name], plain[name]
        for number in range(rng.randrange(5)):
            found = step(found, random.Random(f"{seed} {number}"))
            expected = step(expected, random.Random(f"{seed} {number}"))
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        dtype = rng.choice([expected.dtype, torch.float32])
        out = torch.zeros(expected.shape, dtype=dtype, device=device)
        out.copy_(found)
        assert torch.equal(out.cpu(), expected.to(dtype)), seed


def test_other_functions_read_the_tensor(folder: Path, plain: dict[str, Any]) -> None:
    _, deferred = opened(folder)
    matrix, expected = deferred["matrix"], plain["matrix"]
    assert repr(matrix) == "DeferredTensor(shape=(2048, 512), dtype=torch.bfloat16)"
    assert torch.equal(matrix.float() + 1, expected.float() + 1)
    assert torch.equal(torch.cat([matrix[:2], matrix[5:7]]), expected[[0, 1, 5, 6]])
    assert torch.equal(matrix.t().contiguous(), expected.t())
    assert torch.equal(matrix.view(torch.int16), expected.view(torch.int16))
    assert matrix[3, 4].item() == expected[3, 4].item()
    assert not isinstance(matrix.to(torch.float32), DeferredTensor)
    if torch.cuda.is_available():
        assert torch.equal(matrix.to("cuda").cpu(), expected)


def test_what_a_loader_writes_to_a_tensor_is_seen_by_all_of_its_views(
    folder: Path, plain: dict[str, Any]
) -> None:
    _, deferred = opened(folder)
    matrix = deferred["matrix"]
    rows = matrix[3:5]
    matrix[4:].mul_(2)
    rows[0] = 7
    expected = plain["matrix"].clone()
    expected[4:] *= 2
    expected[3] = 7
    for found, values in ((matrix, expected), (rows, expected[3:5])):
        assert torch.equal(torch.empty_like(values).copy_(found), values)


class Counting:
    """A file that counts the bytes that are read."""

    total = 0

    def __init__(self, path: Path) -> None:
        self._file = open(path, "rb")
        self.seek, self.tell = self._file.seek, self._file.tell

    def read(self, size: int = -1) -> bytes:
        Counting.total += size
        return self._file.read(size)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Counting]]:
    def open_counting(path: Path, *arguments: Any, **options: Any) -> Any:
        return unweight.safe_open(Counting(path), *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(_folder, "safe_open", open_counting)
    yield Counting


def test_a_rank_reads_the_rows_that_it_copies(
    folder: Path, plain: dict[str, Any], counting: type[Counting]
) -> None:
    weights, deferred = opened(folder)
    matrix = deferred["matrix"]
    whole = ROWS * COLUMNS * 2
    rows = torch.empty(ROWS // 4, COLUMNS, dtype=torch.bfloat16)
    for rank in range(4):
        counting.total, weights.decoded_bytes = 0, 0
        rows.copy_(matrix.narrow(0, rank * ROWS // 4, ROWS // 4))
        assert torch.equal(rows, plain["matrix"].chunk(4)[rank])
        assert weights.decoded_bytes == whole // 4
        # Compressed to two thirds, and whole chunks.
        assert whole // 8 < counting.total < whole // 4
    # Each chunk has elements of all columns.
    counting.total, weights.decoded_bytes = 0, 0
    columns = torch.empty(ROWS, COLUMNS // 4, dtype=torch.bfloat16)
    columns.copy_(matrix.narrow(1, COLUMNS // 4, COLUMNS // 4))
    assert torch.equal(columns, plain["matrix"].chunk(4, 1)[1])
    assert weights.decoded_bytes == whole and counting.total > whole // 2
    # vLLM counts copies to the meta device.
    counting.total = 0
    torch.empty(ROWS, COLUMNS, device="meta").copy_(matrix)
    assert counting.total == 0


def test_rows_are_decoded_into_the_parameter(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, deferred = opened(folder)
    made: list[Any] = []
    read = _folder.LazyTensor.read

    def watched(self: Any, index: Any = ..., *, out: Any = None) -> Any:
        made.append(out)
        return read(self, index, out=out)

    monkeypatch.setattr(_folder.LazyTensor, "read", watched)
    merged = torch.empty(2 * ROWS, COLUMNS, dtype=torch.bfloat16)
    merged.narrow(0, ROWS, ROWS).copy_(deferred["matrix"])
    merged.narrow(0, 8, 8).copy_(deferred["matrix"].narrow(0, 80, 8))
    assert [out.data_ptr() - merged.data_ptr() for out in made] == [
        2 * ROWS * COLUMNS,
        2 * 8 * COLUMNS,
    ]


def test_the_device_of_the_parameter_decodes_whole_tensors() -> None:
    cuda = torch.device("cuda", 1)
    assert decoding_device(cuda, has_all_rows=True) == "cuda:1"
    assert decoding_device(cuda, has_all_rows=False) == "cpu"
    for other in ("cpu", "xpu:0"):
        assert decoding_device(torch.device(other), has_all_rows=True) == "cpu"


class Elsewhere(_folder.ModelFolder):
    """A folder that decodes on a device, in place of which the CPU decodes here."""

    opened: list[str] = []

    def __init__(self, folder: Any, *, threads: Any = None, device: Any = "cpu") -> None:
        Elsewhere.opened.append(device)
        if device == "cuda:7":
            raise unweight.NoDevice("there is no driver")
        super().__init__(folder, threads=threads)


def test_a_device_that_cannot_decode_is_warned_of(
    folder: Path, plain: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_weights, "ModelFolder", Elsewhere)
    warnings: list[str] = []
    weights = Weights(folder, warnings.append)
    deferred = dict(weights)
    for device in ("cuda:0", "cuda:7"):
        monkeypatch.setattr(_weights, "decoding_device", lambda *_, device=device: device)
        for _ in range(2):
            for index in (..., (slice(None), slice(3, 9)), (slice(5, 8),)):
                expected = plain["matrix"][index]
                out = torch.zeros_like(expected)
                out.copy_(deferred["matrix"][index])
                assert torch.equal(out, expected)
    assert Elsewhere.opened == ["cpu", "cuda:0", "cuda:7"]
    # Otherwise the CPU would write to memory of the device.
    assert [weights.on(device, "matrix")[0] for device in ("cuda:0", "cuda:7")] == ["cuda:0", "cpu"]
    assert warnings == ["weights are decoded on the CPU: there is no driver"]
