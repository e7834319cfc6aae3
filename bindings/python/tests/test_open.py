"""Opening files, whole tensors, slices, and ``out``."""

from __future__ import annotations

import io
import mmap
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec
import hypothesis.extra.numpy as arrays
import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from conftest import weights
from hypothesis import given, settings
from hypothesis import strategies as st

import unweight
import unweight.numpy
from unweight import safe_open

Tensors = dict[str, np.ndarray[Any, Any]]


def same(found: Any, expected: Any) -> bool:
    """Same type, shape and bits."""
    return (found.dtype, found.shape, found.tobytes()) == (
        expected.dtype,
        expected.shape,
        expected.tobytes(),
    )


def test_both_kinds_of_files_have_the_same_tensors(
    unw: Path, plain: Path, tensors: Tensors
) -> None:
    for path in (unw, str(unw), plain, unw.read_bytes(), bytearray(plain.read_bytes())):
        with safe_open(path, framework="np") as file:
            assert file.keys() == sorted(tensors)
            assert sorted(file.offset_keys()) == sorted(tensors)
            assert file.metadata() == {"format": "np"}
            found = file.get_tensors()
        assert list(found) == file_order(plain)
        assert all(same(found[name], tensor) for name, tensor in tensors.items())
    assert unw.stat().st_size < plain.stat().st_size * 0.75


def file_order(plain: Path) -> list[str]:
    with safetensors.safe_open(plain, "np") as file:
        return list(file.offset_keys())


def test_file_objects_are_read_at_any_offset(unw: Path, plain: Path, tensors: Tensors) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/model.unw", unw.read_bytes())
    for opened in (open(unw, "rb"), open(plain), io.BytesIO(unw.read_bytes()), memory.open("/model.unw")):
        with opened as source, safe_open(source, "np") as file:
            assert same(file.get_tensor("layer.weight"), tensors["layer.weight"])
            part = file.get_slice("layer.weight")[1, 5:9]
            assert same(part, tensors["layer.weight"][1, 5:9])


def test_an_exception_of_a_file_object_is_the_cause(unw: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise RuntimeError("the network is gone")

    with pytest.raises(unweight.IoError) as found:
        safe_open(Broken(unw.read_bytes()), "np")
    assert isinstance(found.value.__cause__, RuntimeError)
    assert "the network is gone" in str(found.value)

    class Interrupted(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        safe_open(Interrupted(unw.read_bytes()), "np")


def test_out_is_filled_and_returned(unw: Path, tensors: Tensors) -> None:
    expected = tensors["layer.weight"]
    with safe_open(unw, "np") as file:
        out = np.empty(expected.shape, expected.dtype)
        assert file.get_tensor("layer.weight", out=out) is out
        assert same(out, expected)
        part = np.zeros((2, 400), expected.dtype)
        assert file.get_slice("layer.weight").read(np.s_[1:3, :, 7], out=part) is part
        assert same(part, expected[1:3, :, 7])


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.zeros(300, np.float64), "float64"),
        (np.zeros((300, 1), np.float32), r"\(300, 1\)"),
        (np.zeros(600, np.float32)[::2], "not C-contiguous"),
        (np.broadcast_to(np.float32(0), (300,)), "not C-contiguous|read-only"),
        ([0.0] * 300, "list"),
    ],
)
def test_an_out_that_does_not_fit_is_refused(unw: Path, out: Any, message: str) -> None:
    with safe_open(unw, "np") as file, pytest.raises(unweight.WrongArgument, match=message):
        file.get_tensor("layer.bias", out=out)
    read_only = np.zeros(300, np.float32)
    read_only.flags.writeable = False
    with safe_open(unw, "np") as file, pytest.raises(unweight.WrongArgument, match="read-only"):
        file.get_tensor("layer.bias", out=read_only)


def test_slices_are_those_of_numpy(unw: Path, plain: Path, tensors: Tensors) -> None:
    expected = tensors["layer.weight"]
    for path in (unw, plain):
        with safe_open(path, "np") as file:
            part = file.get_slice("layer.weight")
            assert (part.get_shape(), part.get_dtype()) == ([3, 400, 100], "BF16")
            for index in (
                np.s_[:],
                np.s_[...],
                (),
                np.s_[1],
                np.s_[-1, 3],
                np.s_[0, 399, 99],
                np.s_[..., 5],
                np.s_[1:, ..., 2:7],
                np.s_[:, 100:300],
                np.s_[::2, 5:-5:7, -3:],
                np.s_[2:1],
                np.s_[np.int64(1), 3:3],
                [],
            ):
                assert same(part[index], expected[index]), index
            assert same(file.get_slice("step")[()], np.asarray(tensors["step"][()]))
            assert same(file.get_slice("empty")[:, 1:3], tensors["empty"][:, 1:3])


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (np.s_[3], "index 3 is outside of dimension 0 of size 3"),
        (np.s_[:, -401], "index -401 is outside of dimension 1 of size 400"),
        (np.s_[:4], "bound 4 of a slice is outside of dimension 0 of size 3"),
        (np.s_[::-1], "found step -1, expected a positive one"),
        (np.s_[..., 0, ...], "several"),
        (np.s_[0, 0, 0, 0], "an index of 4 dimensions, the tensor has 3"),
        (None, "NoneType"),
        ([0, 1], "list"),
        (True, "bool"),
        ("w", "str"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(unw: Path, index: Any, message: str) -> None:
    with safe_open(unw, "np") as file, pytest.raises(unweight.WrongArgument, match=message):
        file.get_slice("layer.weight")[index]


DTYPES = {
    "BOOL": np.bool_,
    "U8": np.uint8,
    "I8": np.int8,
    "U16": np.uint16,
    "I16": np.int16,
    "U32": np.uint32,
    "I32": np.int32,
    "U64": np.uint64,
    "I64": np.int64,
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
    "C64": np.complex64,
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "F8_E8M0": ml_dtypes.float8_e8m0fnu,
    "F8_E4M3FNUZ": ml_dtypes.float8_e4m3fnuz,
    "F8_E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
}
# The library safetensors reads these into numpy.
THEIRS = [name for name in DTYPES if not name.startswith(("BF", "F8"))]


@st.composite
def tensor(draw: st.DrawFn, names: list[str]) -> np.ndarray[Any, Any]:
    """An array of any type and shape, of bytes as in real tensors or of any bytes."""
    dtype = np.dtype(DTYPES[draw(st.sampled_from(names))])
    shape = draw(arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=40))
    count = int(np.prod(shape))
    if dtype == np.bool_:
        data = np.random.default_rng(count).integers(0, 2, count, np.uint8)
    elif draw(st.booleans()):
        data = np.random.default_rng(count).integers(0, 256, count * dtype.itemsize, np.uint8)
    else:
        data = np.resize(weights(count * dtype.itemsize // 2 + 1).view(np.uint8), count * dtype.itemsize)
    return np.ascontiguousarray(data[: count * dtype.itemsize]).view(dtype).reshape(shape)


@given(st.dictionaries(st.text(max_size=20).filter("__metadata__".__ne__), tensor(list(DTYPES)), max_size=4), st.data())
@settings(deadline=None, max_examples=60)
def test_any_tensors_are_restored_whole_and_in_part(saved: Tensors, data: st.DataObject) -> None:
    content = unweight.numpy.save(saved)
    with safe_open(content, "np") as file:
        assert set(file.keys()) == set(saved)
        for name, expected in saved.items():
            assert same(file.get_tensor(name), expected)
            index = data.draw(arrays.basic_indices(expected.shape, allow_ellipsis=True))
            parts = index if isinstance(index, tuple) else (index,)
            if all(not isinstance(part, slice) or (part.step or 1) > 0 for part in parts):
                assert same(file.get_slice(name)[index], np.asarray(expected[index])), index


@given(st.dictionaries(st.text(max_size=20).filter("__metadata__".__ne__), tensor(THEIRS), max_size=4))
@settings(deadline=None, max_examples=40)
def test_a_saved_file_restores_what_safetensors_saves(saved: Tensors) -> None:
    theirs = safetensors.numpy.save(saved, {"k": "é\n\""})
    ours = unweight.numpy.save(saved, {"k": "é\n\""})
    for content in (theirs, ours):
        found = unweight.numpy.load(content)
        assert found.keys() == saved.keys()
        assert all(same(found[name], tensor) for name, tensor in saved.items())


def test_the_restored_file_is_the_one_that_safetensors_saves(
    tmp_path: Path, tensors: Tensors
) -> None:
    metadata = {"k": "é\n\""}
    theirs, ours, restored = (tmp_path / name for name in ("theirs", "ours", "restored"))
    safetensors.numpy.save_file(tensors, theirs, metadata)
    unweight.numpy.save_file(tensors, ours, metadata)
    unweight.decompress(ours, restored)
    assert restored.read_bytes() == theirs.read_bytes()


def test_arrays_of_any_layout_are_saved() -> None:
    base = np.arange(24, dtype=">f4").reshape(2, 3, 4)
    read_only = np.arange(5, dtype=np.int32)
    read_only.flags.writeable = False
    saved = {"swapped": base, "turned": base.astype("<f4").T, "fixed": read_only}
    found = unweight.numpy.load(unweight.numpy.save(saved))
    assert all(np.array_equal(found[name], tensor) for name, tensor in saved.items())
    with pytest.raises(unweight.UnsupportedDtype, match="float128|object"):
        unweight.numpy.save({"w": np.array([None])})
    with pytest.raises(unweight.WrongArgument, match="list"):
        unweight.numpy.save({"w": [1.0]})  # type: ignore[dict-item]


def test_bits_need_no_ml_dtypes(unw: Path, tensors: Tensors) -> None:
    program = f"""
import sys
sys.modules["ml_dtypes"] = None
import unweight, unweight.numpy
bits = unweight.numpy.load_file({str(unw)!r}, as_bits=True)["layer.weight"]
assert (bits.dtype.name, bits.shape) == ("uint16", (3, 400, 100))
sys.stdout.buffer.write(bits.tobytes())
with unweight.safe_open({str(unw)!r}, "np") as file:
    assert file.get_tensor("layer.bias").dtype.name == "float32"
    try:
        file.get_tensor("layer.weight")
    except unweight.UnsupportedDtype as error:
        assert error.tensor == "layer.weight" and "install ml_dtypes" in str(error)
    else:
        raise AssertionError
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == tensors["layer.weight"].tobytes()


def test_packed_types_are_read_as_bytes(tmp_path: Path) -> None:
    header = b'{"w":{"dtype":"F4","shape":[2,4],"data_offsets":[0,4]}}'
    plain = tmp_path / "w.safetensors"
    plain.write_bytes(len(header).to_bytes(8, "little") + header + b"\x12\x34\x56\x78")
    unweight.compress(plain, tmp_path / "w.unw")
    for path in (plain, tmp_path / "w.unw"):
        with safe_open(path, "np", as_bits=True) as file:
            assert file.get_tensor("w").tobytes() == b"\x12\x34\x56\x78"
            assert file.get_slice("w")[:, 2:].tobytes() == b"\x34\x78"
            with pytest.raises(unweight.WrongArgument, match="within a byte"):
                file.get_slice("w")[:, 1:]
        with safe_open(path, "np") as file, pytest.raises(unweight.UnsupportedDtype):
            file.get_tensor("w")


def test_errors_say_what_was_found_and_expected(unw: Path, tmp_path: Path) -> None:
    with safe_open(unw, "np") as file:
        with pytest.raises(unweight.NoTensor, match='there is no tensor "none"') as missing:
            file.get_tensor("none")
        with pytest.raises(KeyError):
            file.get_slice("none")
    assert (missing.value.tensor, missing.value.path) == ("none", str(unw))
    with pytest.raises(unweight.WrongArgument, match="closed"):
        file.keys()
    with pytest.raises(FileNotFoundError) as absent:
        safe_open(tmp_path / "none", "np")
    assert isinstance(absent.value, unweight.NotFound) and absent.value.errno == 2
    assert absent.value.path == str(tmp_path / "none")
    with pytest.raises(unweight.WrongArgument, match="is a folder"):
        safe_open(tmp_path, "np")
    with pytest.raises(unweight.WrongArgument, match="found framework 'tf'"):
        safe_open(unw, "tf")
    with pytest.raises(unweight.WrongArgument, match="found int"):
        safe_open(7, "np")  # type: ignore[arg-type]
    with pytest.raises(unweight.OverBudget, match="bytes of memory") as over:
        safe_open(unw, "np", memory=100)
    assert isinstance(over.value, MemoryError) and over.value.path == str(unw)
    for error in (missing.value, absent.value, over.value):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.path) == (type(error), str(error), error.path)


@pytest.mark.parametrize("device", ["cuda", "cuda:1", 0, "mps", "meta"])
def test_numpy_has_arrays_on_the_cpu_alone(unw: Path, device: str | int) -> None:
    with pytest.raises(unweight.NoDevice, match="expected 'cpu'.*framework='torch'"):
        safe_open(unw, "np", device)


def test_a_memory_map_is_a_file_object(unw: Path, tensors: Tensors) -> None:
    with open(unw, "rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as map:
        with safe_open(map, "np") as file:
            assert same(file.get_tensor("layer.weight"), tensors["layer.weight"])


def test_wrong_numbers_are_wrong_arguments(tmp_path: Path, unw: Path, tensors: Tensors) -> None:
    for wrong in (-1, -(2**70), "2", 1.5):
        for name in ("threads", "memory"):
            given: dict[str, Any] = {name: wrong}
            for call in (
                lambda: safe_open(unw, "np", **given),
                lambda: unweight.inspect(unw, **given),
                lambda: unweight.verify(unw, **given),
            ):
                with pytest.raises(unweight.WrongArgument, match=name):
                    call()
        with pytest.raises(unweight.WrongArgument, match="threads"):
            unweight.numpy.save(tensors, threads=wrong)  # type: ignore[arg-type]
    assert safe_open(unw, "np", threads=2**70, memory=2**70).keys() == sorted(tensors)


def test_indices_of_any_size_are_those_of_numpy_or_refused(unw: Path, tensors: Tensors) -> None:
    expected = tensors["layer.weight"]
    with safe_open(unw, "np") as file:
        part = file.get_slice("layer.weight")
        for index in (np.s_[:: 2**64], np.s_[1 :: 2**70, :3], np.s_[2:2:2**65]):
            assert same(part[index], expected[index]), index
        for wrong in (np.s_["a":], np.s_[::0.5], (np.array([1, 2]), ...), (np.array([1, 2]),)):
            with pytest.raises(unweight.WrongArgument):
                part[wrong]


def test_a_loop_over_a_slice_ends(unw: Path, tensors: Tensors) -> None:
    with safe_open(unw, "np") as file:
        rows = list(file.get_slice("layer.weight"))
    assert all(same(row, expected) for row, expected in zip(rows, tensors["layer.weight"], strict=True))


def test_devices_with_the_number_of_the_cpu_are_the_cpu(unw: Path) -> None:
    assert safe_open(unw, "np", "cpu:0").keys()
    for device in ("cuda", "cpu:x", "mps", "cpus"):
        with pytest.raises(unweight.NoDevice):
            safe_open(unw, "np", device)


def test_masked_arrays_are_refused(unw: Path) -> None:
    masked = np.ma.MaskedArray(np.zeros(300, np.float32), mask=True)
    with pytest.raises(unweight.WrongArgument, match="MaskedArray"):
        unweight.numpy.save({"w": masked})
    with safe_open(unw, "np") as file, pytest.raises(unweight.WrongArgument, match="MaskedArray"):
        file.get_tensor("layer.bias", out=masked)


def test_an_array_that_is_shared_as_a_copy_is_no_output(unw: Path) -> None:
    from unweight._unweight import File

    class Copied:
        """Shares a copy of an array, as numpy does with ``copy=True``."""

        array = np.zeros(300 * 4, np.uint8)

        def __dlpack__(self, **options: Any) -> Any:
            return self.array.__dlpack__(max_version=(1, 0), copy=True)

    with pytest.raises(unweight.WrongArgument, match="copied"):
        File.open_path(str(unw), None, None).read_into("layer.bias", Copied(), False)


def test_memory_bounds_reads_of_safetensors_files(plain: Path, tensors: Tensors) -> None:
    with safe_open(plain, "np", memory=64 << 10) as file, pytest.raises(unweight.OverBudget):
        file.get_tensor("layer.weight")
    with safe_open(plain, "np", memory=1 << 20) as file:
        assert same(file.get_tensor("layer.weight"), tensors["layer.weight"])
        part = file.get_slice("layer.weight")[:, ::2, ::3]
        assert same(part, tensors["layer.weight"][:, ::2, ::3])


def test_what_cannot_be_saved_is_named(tmp_path: Path) -> None:
    path = tmp_path / "w.unw"
    tensors = {"a": np.zeros(3, np.float32), "__metadata__": np.zeros(3, np.float64)}
    with pytest.raises(unweight.WrongArgument) as found:
        unweight.numpy.save_file(tensors, path)
    error = found.value
    assert (error.tensor, error.path, error.rule) == ("__metadata__", str(path), "source-header")
    assert os.listdir(tmp_path) == []
    long = {"a" * 70_000: np.zeros(3, np.float32)}
    with pytest.raises(unweight.WrongArgument) as found:
        unweight.numpy.save(long)
    assert found.value.tensor == "a" * 70_000


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow only names that are text")
def test_paths_that_are_no_text_are_kept(tmp_path: Path, plain: Path, unw: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    path = folder / "a.unw"
    report = unweight.compress(plain, path)
    assert Path(report.files[0].output) == path
    assert unweight.verify(path).files == (str(path),)
    assert unweight.inspect(path)[0].path == str(path)
    with pytest.raises(unweight.NotFound) as found:
        safe_open(folder / "none", "np")
    assert found.value.path == str(folder / "none")
    paths: list[str] = []
    unweight.verify(path, progress=lambda progress: paths.append(progress.path))
    assert set(paths) <= {str(path)}
