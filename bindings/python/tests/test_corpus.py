"""The conformance corpus: valid files give their tensors, invalid ones raise with their rule."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

import unweight
from unweight import safe_open


def cases(corpus: Path, kind: str) -> list[dict[str, Any]]:
    manifest = json.loads((corpus / "manifest.json").read_text())
    found = [case for case in manifest["cases"] if case["kind"] == kind]
    assert found
    return found


def test_every_invalid_file_raises_with_its_rule(corpus: Path) -> None:
    for case in cases(corpus, "reject"):
        path = corpus / case["file"]
        with pytest.raises(unweight.BadFile) as found:
            unweight.verify(path, threads=1)
        error = found.value
        assert (error.rule, error.category) == (case["rule"], case["category"]), case["id"]
        assert error.offset is not None and error.path == str(path), case["id"]
        assert case["rule"] in str(error), case["id"]


def test_an_invalid_file_gives_no_wrong_tensor(corpus: Path) -> None:
    """What can be read of an invalid file is read, or raises with its rule."""
    raised = 0
    for case in cases(corpus, "reject"):
        try:
            with safe_open(corpus / case["file"], "np", threads=1, as_bits=True) as file:
                file.metadata()
                file.get_tensors()
        except unweight.BadFile as error:
            assert error.rule == case["rule"], case["id"]
            raised += 1
    # Only padding between the parts of a file is not read.
    assert raised > 0.9 * len(cases(corpus, "reject"))


def test_every_valid_file_gives_its_tensors(corpus: Path) -> None:
    for case in cases(corpus, "accept"):
        path = corpus / case["file"]
        with safe_open(path, "np", threads=1, as_bits=True) as file:
            assert file.offset_keys() == [tensor["name"] for tensor in case["tensors"]], case["id"]
            for tensor in case["tensors"]:
                part = file.get_slice(tensor["name"])
                assert part.get_dtype() == tensor["dtype"]
                assert part.get_shape() == tensor["shape"]
                try:
                    bytes = file.get_tensor(tensor["name"]).tobytes()
                except unweight.WrongArgument as error:
                    # An empty tensor: one dimension is 0, another one greater than numpy has.
                    assert "which numpy cannot have" in str(error)
                    assert max(tensor["shape"]) >= 2**31 and tensor["length"] == 0
                    continue
                assert hashlib.sha256(bytes).hexdigest() == tensor["sha256"], case["id"]
        restored = unweight.verify(path, threads=1).restored_bytes
        assert restored == case["restored"]["length"], case["id"]
