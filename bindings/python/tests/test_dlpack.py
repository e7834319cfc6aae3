"""Arrays that other libraries share by DLPack."""

from __future__ import annotations

import gc
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import psutil
import pytest
from conftest import weights

import unweight
import unweight.numpy
from unweight import safe_open

Tensors = dict[str, np.ndarray[Any, Any]]


@pytest.fixture
def opened(unw: Path) -> Any:
    with safe_open(unw, "dlpack") as file:
        yield file


def of(array: np.ndarray[Any, Any]) -> unweight.Array:
    """An array of the package with the content of a numpy array."""
    with safe_open(unweight.numpy.save({"w": array}), "dlpack") as file:
        made = file.get_tensor("w")
    assert isinstance(made, unweight.Array)
    return made


def capsule_name(capsule: object) -> str:
    """The name in the text of a capsule: `<capsule object "dltensor" at 0x...>`."""
    return repr(capsule).split('"')[1]


def test_arrays_have_the_tensors(unw: Path, plain: Path, tensors: Tensors) -> None:
    for path in (unw, plain):
        with safe_open(path, "dlpack") as file:
            for name, expected in tensors.items():
                array = file.get_tensor(name)
                assert (array.shape, array.nbytes) == (expected.shape, expected.nbytes)
                assert bytes(array) == expected.tobytes()
            array = file.get_slice("layer.weight")[1:, ..., 7]
            assert (array.dtype, array.shape) == ("BF16", (2, 400))
            assert bytes(array) == tensors["layer.weight"][1:, ..., 7].tobytes()


NUMPY = "bool uint8 int8 uint16 int16 uint32 int32 uint64 int64 float16 float32 float64 complex64"


@pytest.mark.parametrize("name", NUMPY.split())
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 5), (7,), (2, 3, 4), (1, 1, 2, 1)])
def test_numpy_shares_the_memory(name: str, shape: tuple[int, ...]) -> None:
    expected = np.arange(np.prod(shape)).astype(name).reshape(shape)
    array = of(expected)
    found = np.from_dlpack(array)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes()
    assert found.flags.c_contiguous and found.flags.writeable
    if found.size:
        found.reshape(-1)[0] = 1
        assert bytes(array) == found.tobytes()
        assert np.shares_memory(found, np.from_dlpack(array))


def test_out_is_filled(opened: Any, tensors: Tensors) -> None:
    out = opened.get_tensor("layer.weight")
    shared = opened.get_slice("layer.weight").read(out=out)
    assert shared is out and bytes(out) == tensors["layer.weight"].tobytes()
    for wrong in (opened.get_tensor("layer.bias"), np.zeros((3, 400, 100)), None.__class__):
        with pytest.raises(unweight.WrongArgument, match="expected an unweight.Array of BF16"):
            opened.get_tensor("layer.weight", out=wrong)
    with pytest.raises(TypeError):
        unweight.Array()


def test_the_memory_lives_as_long_as_one_of_its_arrays() -> None:
    expected = np.arange(3 << 20, dtype=np.int32)
    array = of(expected)
    shared = np.from_dlpack(array)
    again = np.from_dlpack(array)
    capsule = array.__dlpack__()
    del array, again
    gc.collect()
    # What was freed would be overwritten or unmapped.
    others = [np.full(3 << 20, 7, np.int32) for _ in range(4)]
    assert np.array_equal(shared, expected)
    taken = np.from_dlpack(Once(capsule))
    del shared, capsule
    gc.collect()
    assert np.array_equal(taken, expected) and len(others) == 4


def test_what_nobody_uses_is_freed() -> None:
    process = psutil.Process()
    content = unweight.numpy.save({"w": np.zeros(8 << 20, np.uint8)})

    def use(count: int) -> None:
        for number in range(count):
            with safe_open(content, "dlpack", threads=1) as file:
                array = file.get_tensor("w")
            capsules = [array.__dlpack__(), array.__dlpack__(max_version=(1, 0), copy=True)]
            shared = np.from_dlpack(array)
            assert shared[number] == 0 and len(capsules) == 2

    use(5)
    before = process.memory_info().rss
    use(40)
    assert process.memory_info().rss - before < 12 << 20


class Once:
    """Gives a capsule that is there already."""

    def __init__(self, capsule: Any) -> None:
        self.capsule = capsule

    def __dlpack__(self, **_: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


@pytest.mark.parametrize("version", [None, (1, 0)])
def test_a_capsule_is_consumed_once(version: tuple[int, int] | None) -> None:
    array = of(np.arange(5, dtype=np.int16))
    capsule = array.__dlpack__(max_version=version)
    found = np.from_dlpack(Once(capsule))
    assert capsule_name(capsule).startswith("used_dltensor")
    with pytest.raises((ValueError, BufferError, RuntimeError)):
        np.from_dlpack(Once(capsule))
    del capsule, array
    gc.collect()
    assert found.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("version", "name"),
    [
        (None, "dltensor"),
        ((0, 8), "dltensor"),
        ((1, 0), "dltensor_versioned"),
        ((1, 7), "dltensor_versioned"),
        ((2, 0), "dltensor_versioned"),
    ],
)
def test_a_consumer_gets_a_version_that_it_knows(
    version: tuple[int, int] | None, name: str
) -> None:
    capsule = of(np.zeros(3)).__dlpack__(max_version=version)
    assert capsule_name(capsule) == name


def test_only_a_copy_has_memory_of_its_own() -> None:
    array = of(np.arange(6, dtype=np.float32))
    version: dict[str, Any] = {"max_version": (1, 0)}
    shared, own, same = (
        np.from_dlpack(Once(array.__dlpack__(copy=copy, dl_device=(1, 0), **version)))
        for copy in (None, True, False)
    )
    own[:] = -1
    assert shared.tolist() == same.tolist() == [0, 1, 2, 3, 4, 5]
    shared[0] = 9
    assert same[0] == 9 and bytes(array)[:4] == np.float32(9).tobytes()
    # Numpy 1 has no versions, and marks what it takes from others as read-only.
    assert shared.flags.writeable and own.flags.writeable


def test_what_cannot_be_exported_is_refused() -> None:
    array = of(np.zeros(3))
    assert array.__dlpack_device__() == (1, 0)
    refused: list[tuple[dict[str, Any], str]] = [
        ({"stream": 1}, "stream 1, expected None"),
        ({"dl_device": (2, 0)}, r"device \(2, 0\), expected \(1, 0\)"),
        ({"dl_device": (1, 1)}, r"device \(1, 1\)"),
    ]
    for options, message in refused:
        with pytest.raises(unweight.ExportError, match=message) as found:
            array.__dlpack__(**options)
        assert isinstance(found.value, BufferError)
    wrong: list[dict[str, Any]] = [{"max_version": 1}, {"copy": "yes"}, {"dl_device": "cpu"}, {"more": 1}]
    for options in wrong:
        with pytest.raises(TypeError):
            array.__dlpack__(**options)


def plain_file(dtype: str, shape: list[int], data: bytes) -> bytes:
    header = f'{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{len(data)}]}}}}'
    return len(header).to_bytes(8, "little") + header.encode() + data


def test_packed_types_and_vast_dimensions() -> None:
    with safe_open(plain_file("F6_E2M3", [4], b"abc"), "dlpack") as file:
        array = file.get_tensor("w")
        assert (array.dtype, array.shape, bytes(array)) == ("F6_E2M3", (4,), b"abc")
        with pytest.raises(unweight.ExportError, match="F6_E2M3"):
            array.__dlpack__()
    with safe_open(plain_file("F4", [2, 3], b"abc"), "dlpack") as file:
        array = file.get_tensor("w")
        with pytest.raises(unweight.ExportError, match="F4 needs an even last one"):
            array.__dlpack__()
    with safe_open(plain_file("U8", [2**63, 0], b""), "dlpack") as file:
        array = file.get_tensor("w")
        assert (array.shape, bytes(array)) == ((2**63, 0), b"")
        with pytest.raises(unweight.ExportError, match="dimensions that DLPack has"):
            array.__dlpack__()


TORCH = [
    ("BF16", "bfloat16"),
    ("F16", "float16"),
    ("F8_E4M3", "float8_e4m3fn"),
    ("F8_E5M2", "float8_e5m2"),
    ("F8_E8M0", "float8_e8m0fnu"),
    ("F8_E4M3FNUZ", "float8_e4m3fnuz"),
    ("F8_E5M2FNUZ", "float8_e5m2fnuz"),
    ("BOOL", "bool"),
    ("U16", "uint16"),
    ("C64", "complex64"),
    ("F4", "float4_e2m1fn_x2"),
]


@pytest.mark.parametrize(("dtype", "name"), TORCH)
def test_torch_shares_the_memory(dtype: str, name: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if torch.__version__ < "2.9" and dtype.startswith(("F8", "F4")):
        pytest.skip("this version of torch takes no such type by DLPack")
    data = bytes(itertools.islice(itertools.cycle((0, 1)), 48))
    bits = {"F4": 4, "F8": 8, "BOOL": 8, "C64": 64}.get(dtype.split("_")[0], 16)
    shape = [2, len(data) * 8 // bits // 2]
    with safe_open(plain_file(dtype, shape, data), "dlpack") as file:
        array = file.get_tensor("w")
    found = torch.from_dlpack(array)
    assert found.dtype == getattr(torch, name)
    assert list(found.shape) == ([2, 24] if dtype == "F4" else shape)
    seen = found.reshape(-1).view(torch.uint8)
    assert bytes(seen.tolist()) == data
    del array
    gc.collect()
    seen[0] = 1
    assert seen[0] == 1


def test_bf16_needs_no_numpy(unw: Path, tensors: Tensors) -> None:
    program = f"""
import sys
for name in ("numpy", "torch", "ml_dtypes"):
    sys.modules[name] = None
import unweight
with unweight.safe_open({str(unw)!r}, "dlpack") as file:
    array = file.get_tensor("layer.weight")
assert repr(array) == "<unweight.Array BF16 (3, 400, 100)>", array
array.__dlpack__(max_version=(1, 1))
sys.stdout.buffer.write(bytes(array))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == tensors["layer.weight"].tobytes()


def test_bf16_reaches_ml_dtypes_as_bits(opened: Any, tensors: Tensors) -> None:
    """numpy has no BF16: its bits are shared instead."""
    with pytest.raises((BufferError, RuntimeError, TypeError)):
        np.from_dlpack(opened.get_tensor("layer.weight"))
    bits = weights(6)
    array = of(bits.view(ml_dtypes.bfloat16))
    assert np.frombuffer(bytes(array), ml_dtypes.bfloat16).tolist() == bits.view(ml_dtypes.bfloat16).tolist()
