"""Loading to a CUDA device: the same tensors and the same errors as on the CPU."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unweight
from unweight import safe_open

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("there is no CUDA device", allow_module_level=True)

import unweight.torch  # noqa: E402


def equal(found: Any, expected: Any) -> bool:
    """Whether two tensors have the same type, shape and bits."""
    assert found.device.type == "cuda"
    found = found.cpu()
    if (found.dtype, found.shape) != (expected.dtype, expected.shape):
        return False
    bits = [tensor.reshape(-1).view(torch.uint8) for tensor in (found, expected)]
    return bool(torch.equal(*bits))


def tensors() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    normal = torch.randn(700, 4001, generator=generator) * 0.02
    return {
        "layer.weight": normal.bfloat16(),
        "layer.half": normal[:300].half(),
        "layer.bias": torch.linspace(-1, 1, 301),
        "step": torch.tensor(7),
        "empty": torch.zeros(0, 5, dtype=torch.float16),
        "mask": torch.tensor([[True, False], [False, True]]),
        "noise": torch.randint(0, 256, (200_001,), dtype=torch.uint8, generator=generator),
    }


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """An Unweight file, and the safetensors file of the same tensors."""
    unw, plain = tmp_path / "model.unw", tmp_path / "model.safetensors"
    unweight.torch.save_file(tensors(), unw, {"format": "pt"})
    unweight.decompress(unw, plain)
    return [unw, plain]


def cases(corpus: Path, kind: str) -> list[dict[str, Any]]:
    manifest = json.loads((corpus / "manifest.json").read_text())
    return [case for case in manifest["cases"] if case["kind"] == kind]


def outcome(path: Path, device: str) -> tuple[str, Any]:
    """All tensors of a file, or the exception and its rule."""
    try:
        with safe_open(path, "pt", device) as file:
            return "tensors", file.get_tensors()
    except unweight.UnweightError as error:
        return type(error).__name__, (error.rule, error.tensor, str(error))


def test_the_corpus_gives_what_it_gives_on_the_cpu(corpus: Path) -> None:
    rejected = 0
    for case in cases(corpus, "accept") + cases(corpus, "reject"):
        path = corpus / case["file"]
        (kind, expected), (found_kind, found) = outcome(path, "cpu"), outcome(path, "cuda")
        assert kind == found_kind, (case["id"], expected, found)
        if kind == "tensors":
            assert list(found) == list(expected), case["id"]
            for name, tensor in expected.items():
                assert equal(found[name], tensor), (case["id"], name)
        else:
            # If several tensors are bad, each of the two may name another one.
            assert found[0] == expected[0], (case["id"], expected, found)
            rejected += 1
    assert rejected > 100


def test_tensors_one_by_one_and_slices(files: list[Path]) -> None:
    expected = tensors()
    for path in files:
        for device in ("cuda", "cuda:0", 0, torch.device("cuda")):
            with safe_open(path, "pt", device) as file:
                for name, tensor in expected.items():
                    assert equal(file.get_tensor(name), tensor), name
        with safe_open(path, "pt", "cuda") as file:
            part = file.get_slice("layer.weight")
            assert part.get_shape() == [700, 4001]
            assert equal(part[...], expected["layer.weight"])
            assert equal(part[3:600:7, 5], expected["layer.weight"][3:600:7, 5].contiguous())
            out = torch.empty(2, 4001, dtype=torch.bfloat16, device="cuda")
            assert part.read(slice(8, 10), out=out) is out
            assert equal(out, expected["layer.weight"][8:10])
            for name in ("nothing", "\ud800"):
                with pytest.raises(unweight.NoTensor):
                    file.get_tensor(name)


def test_sources_and_budgets(files: list[Path]) -> None:
    expected = tensors()
    for path in files:
        for source in (path.read_bytes(), io.BytesIO(path.read_bytes())):
            for name, tensor in unweight.torch.load_file(source, "cuda").items():
                assert equal(tensor, expected[name])
        found = unweight.torch.load_file(path, "cuda", threads=3, memory=4 << 20)
        assert all(equal(found[name], tensor) for name, tensor in expected.items())
        with pytest.raises(unweight.OverBudget, match="bytes of memory"):
            unweight.torch.load_file(path, "cuda", memory=100_000)


def test_memory_that_is_there_already(files: list[Path]) -> None:
    expected = tensors()["layer.weight"]
    with safe_open(files[0], "pt", "cuda") as file:
        out = torch.empty_like(expected, device="cuda")
        assert file.get_tensor("layer.weight", out=out) is out
        assert equal(out, expected)
        # A view that begins where no kernel can store.
        base = torch.zeros(expected.numel() + 3, dtype=torch.bfloat16, device="cuda")
        view = base[1:-2].view(expected.shape)
        assert file.get_tensor("layer.weight", out=view) is view
        assert equal(view, expected) and not base[0] and not base[-2:].any()
        for wrong in (torch.empty_like(expected), out.t(), out.float(), np.zeros(3), out[1:]):
            with pytest.raises(unweight.WrongArgument, match="expected a torch tensor on cuda:0"):
                file.get_tensor("layer.weight", out=wrong)
        factor = torch.ones_like(out, requires_grad=True)
        product = (factor * out).sum()
        file.get_tensor("layer.weight", out=out)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            product.backward()


def test_work_on_the_current_stream_comes_first(files: list[Path]) -> None:
    expected = tensors()["layer.weight"]
    stream = torch.cuda.Stream()
    with safe_open(files[0], "pt", "cuda") as file, torch.cuda.stream(stream):
        for _ in range(5):
            out = torch.empty_like(expected, device="cuda")
            torch.cuda._sleep(200_000_000)
            out.fill_(5)
            file.get_tensor("layer.weight", out=out)
            assert torch.cuda.current_stream() == stream
            assert equal(out, expected)


def test_a_stream_that_captures_is_refused(files: list[Path]) -> None:
    with safe_open(files[0], "pt", "cuda") as file:
        out = torch.empty(301, device="cuda")
        graph = torch.cuda.CUDAGraph()
        with pytest.raises(unweight.WrongArgument, match="capturing"):
            with torch.cuda.graph(graph, capture_error_mode="relaxed"):
                file.get_tensor("layer.bias", out=out)
        assert equal(file.get_tensor("layer.bias"), tensors()["layer.bias"])


def test_threads_share_a_file(files: list[Path]) -> None:
    expected = tensors()
    failures: list[BaseException] = []
    with safe_open(files[0], "pt", "cuda") as file:

        def work() -> None:
            try:
                for _ in range(4):
                    for name, tensor in file.get_tensors().items():
                        assert equal(tensor, expected[name])
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures


def test_too_little_memory_of_the_device_is_an_exception(tmp_path: Path) -> None:
    path = tmp_path / "w.unw"
    weights = (torch.randn(8192, 4096) * 0.02).bfloat16()
    unweight.torch.save_file({"w": weights}, path)
    with safe_open(path, "pt", "cuda") as file:
        out = torch.empty_like(weights, device="cuda")
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info()
        taken = torch.empty(free - (20 << 20), dtype=torch.uint8, device="cuda")
        with pytest.raises(unweight.OverBudget, match="too little free memory"):
            file.get_tensor("w", out=out)
        with pytest.raises(torch.OutOfMemoryError):
            file.get_tensor("w")
        del taken
        torch.cuda.empty_cache()
        assert equal(file.get_tensor("w", out=out), weights)


def test_a_device_that_is_not_there(files: list[Path]) -> None:
    with pytest.raises(unweight.NoDevice, match="there is no CUDA device 7"):
        safe_open(files[0], "pt", "cuda:7")
