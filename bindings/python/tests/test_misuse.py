"""Wrong arguments, and objects that lie."""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unweight
import unweight.numpy
from unweight import safe_open

WEIGHT = np.ones(3, np.float32)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (None, "found NoneType, expected a mapping of names to numpy arrays"),
        ([("w", WEIGHT)], "found list, expected a mapping"),
        ({1: WEIGHT}, "found a name of a tensor of type int, expected str"),
        ({"\ud800": WEIGHT}, "no Unicode text, .*surrogates"),
        ({"__metadata__": WEIGHT}, "source-header"),
        ({"w": np.float32(1)}, "found float32 for 'w'"),
        ({"w": np.ma.masked_array([1.0], [True])}, "found MaskedArray for 'w'"),
    ],
)
def test_what_is_no_dictionary_of_arrays_is_refused(tensors: Any, message: str) -> None:
    with pytest.raises(unweight.WrongArgument, match=message):
        unweight.numpy.save(tensors)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ([], "found metadata of type list, expected a mapping of strings"),
        ({1: "a"}, "found a name in metadata of type int"),
        ({"a": None}, r"found metadata\['a'\] of type NoneType, expected str"),
        ({"a": "\udc80"}, "no Unicode text"),
    ],
)
def test_metadata_that_is_no_strings_is_refused(metadata: Any, message: str) -> None:
    with pytest.raises(unweight.WrongArgument, match=message):
        unweight.numpy.save({"w": WEIGHT}, metadata)


def test_any_text_is_a_name() -> None:
    saved = {"": WEIGHT, "a\0b": WEIGHT, "é\n\x85": WEIGHT}
    strings = {"": "", "a\0": "\0"}
    content = unweight.numpy.save(saved, strings)
    with safe_open(content, "np") as file:
        assert file.keys() == sorted(saved) and file.metadata() == strings
        assert file.get_tensor("a\0b").tolist() == [1, 1, 1]
        for absent in ("a", "a\0", "\udc80", "\ud800\udc00"):
            with pytest.raises(unweight.NoTensor, match="there is no tensor"):
                file.get_tensor(absent)
            with pytest.raises(unweight.NoTensor):
                file.get_slice(absent)


LIES: list[tuple[dict[str, Callable[..., Any]], type[Exception], str]] = [
    ({"read": lambda self, size: b"x" * (size + 5)}, unweight.IoError, "14 bytes"),
    ({"read": lambda self, size: "x" * size}, unweight.WrongArgument, "returned str, expected bytes"),
    ({"read": lambda self, size: None}, unweight.WrongArgument, "returned NoneType"),
    # bytes(2**40) would be as many zeros.
    ({"read": lambda self, size: 2**40}, unweight.WrongArgument, "returned int"),
    ({"read": lambda self, size: b""}, unweight.BadFile, "shorter while it was open"),
    ({"tell": lambda self: None}, unweight.WrongArgument, "tell.. .* returned None"),
    ({"tell": lambda self: -5}, unweight.WrongArgument, "returned -5"),
    ({"tell": lambda self: 2**80}, unweight.WrongArgument, "returned 1208925819614629174706176"),
    ({"tell": lambda self: 2**63}, unweight.BadFile, "ends at byte"),
    ({"seek": lambda self, *_: 1 // 0}, ZeroDivisionError, "division"),
]


@pytest.mark.parametrize(("methods", "kind", "message"), LIES)
def test_a_file_object_that_lies_is_refused(
    unw: Path, methods: dict[str, Callable[..., Any]], kind: type[Exception], message: str
) -> None:
    lying = type("Lying", (io.BytesIO,), methods)
    with pytest.raises(kind, match=message):
        safe_open(lying(unw.read_bytes()), "np").get_tensors()


def test_file_objects_of_other_kinds(unw: Path) -> None:
    class OneByOne(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(1)

    with safe_open(OneByOne(unw.read_bytes()), "np") as file:
        assert file.get_tensor("step") == 7
    read, write = os.pipe()
    with os.fdopen(read, "rb") as pipe, os.fdopen(write, "wb"):
        with pytest.raises(unweight.WrongArgument, match="at any offset .*pass the bytes"):
            safe_open(pipe, "np")
    with pytest.raises(unweight.WrongArgument, match="returned str"):
        safe_open(io.StringIO("abc"), "np")
    with open(unw, "rb") as source:
        opened = safe_open(source, "np")
    with pytest.raises(unweight.IoError, match="closed file") as closed:
        opened.get_tensor("layer.weight")
    assert isinstance(closed.value.__cause__, ValueError)


@pytest.mark.parametrize(
    "raised", [ValueError("v"), KeyboardInterrupt(), SystemExit(4), StopIteration(), BaseException()]
)
@pytest.mark.parametrize("callback", ["progress", "select"])
def test_a_callback_may_raise_anything(
    tmp_path: Path, plain: Path, raised: BaseException, callback: str
) -> None:
    def stop(_: object) -> bool:
        raise raised

    before = sorted(os.listdir(tmp_path))
    # The operation takes a while: one that is finished already keeps its output.
    options: dict[str, Any] = {"select": lambda name: not time.sleep(0.05)} | {callback: stop}
    with pytest.raises(type(raised)) as found:
        unweight.compress(plain, tmp_path / "a.unw", **options)
    assert found.value is raised
    assert sorted(os.listdir(tmp_path)) == before


def test_callbacks_may_use_the_package(tmp_path: Path, unw: Path, plain: Path) -> None:
    file = safe_open(unw, "np")
    verified = []

    def select(name: str) -> bool:
        verified.append(unweight.verify(unw).restored_bytes)
        return bool(file.get_tensor("step") == 7)

    def progress(_: unweight.Progress) -> None:
        verified.append(unweight.verify(unw, progress=lambda _: None).restored_bytes)

    unweight.compress(plain, tmp_path / "a.unw", select=select, progress=progress)
    assert set(verified) == {plain.stat().st_size} and len(verified) > 5


def test_flags_are_true_or_false_as_in_python(tmp_path: Path, plain: Path, unw: Path) -> None:
    with pytest.raises(unweight.Exists):
        unweight.compress(plain, unw, force=None)  # type: ignore[arg-type]
    unweight.compress(plain, unw, force=1, verify=[])  # type: ignore[arg-type]
    (file,) = unweight.inspect(unw, directory_only="yes")  # type: ignore[arg-type]
    assert all(tensor.entropy_bits is None for tensor in file.tensors)


def test_out_may_be_of_a_subclass_and_unaligned(unw: Path) -> None:
    expected = np.linspace(-1, 1, 300, dtype=np.float32)
    unaligned = np.frombuffer(bytearray(1201), np.uint8)[1:].view(np.float32)
    with safe_open(unw, "np") as file:
        file.get_tensor("layer.bias", out=unaligned)
        assert np.array_equal(unaligned, expected)
        content = unweight.numpy.save({"m": np.ones((2, 3), np.float32)})
    with safe_open(content, "np") as file, pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix(np.zeros((2, 3), np.float32))
        assert file.get_tensor("m", out=matrix) is matrix and matrix.sum() == 6


def test_no_argument_causes_a_panic(
    tmp_path: Path, unw: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Index:
        def __index__(self) -> int:
            return 10**40

    wrong = [None, True, -1, 2**63, 2**64, 10**40, 0.5, float("nan"), "", "\0", "\udc80", b"", b"\0"]
    wrong += [[], [1], (), {}, object(), len, Index(), np.zeros(3), slice(None), ..., io.BytesIO()]
    calls: list[Callable[[Any], object]] = [
        lambda x: safe_open(x, "np"),
        lambda x: safe_open(unw, x),
        lambda x: safe_open(unw, "np", x),
        lambda x: safe_open(unw, "np", memory=x).get_tensors(),
        lambda x: safe_open(unw, "np", as_bits=x).get_tensors(),
        lambda x: unweight.verify(x),
        lambda x: unweight.verify(unw, against=x),
        lambda x: unweight.inspect(x),
        lambda x: unweight.decompress(unw, x),
        lambda x: unweight.decompress(x, tmp_path / "out"),
        lambda x: unweight.transcode(unw, tmp_path / "out", x),
        lambda x: unweight.compress(plain, tmp_path / "out", progress=x),
        lambda x: unweight.compress(plain, tmp_path / "out", select=x),
        lambda x: unweight.numpy.load(x),
        lambda x: unweight.numpy.save({"w": x}),
        lambda x: unweight.numpy.save({"w": WEIGHT}, encoding=x),
        lambda x: unweight.numpy.save_file({"w": WEIGHT}, x),
    ]
    for framework in ("np", "dlpack"):
        for path in (unw, plain):
            file = safe_open(path, framework)
            part = file.get_slice("layer.weight")
            calls += [
                lambda x, file=file: file.get_tensor(x),
                lambda x, file=file: file.get_slice(x),
                lambda x, file=file: file.get_tensor("step", out=x),
                lambda x, part=part: part[x],
                lambda x, part=part: part[0, x, x],
                lambda x, part=part: part[x:x:x],
                lambda x, part=part: part.read(0, out=x),
            ]
    monkeypatch.chdir(tmp_path)
    for call in calls:
        for argument in wrong:
            (tmp_path / "out").unlink(missing_ok=True)
            # A panic is a BaseException.
            with contextlib.suppress(unweight.UnweightError, TypeError, ValueError):
                call(argument)
