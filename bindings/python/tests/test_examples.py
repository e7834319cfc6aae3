"""The examples, and the code of the README, as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(os.environ.get("UNWEIGHT_PYTHON", Path(__file__).parents[1]))


def run(folder: Path, *arguments: str | Path) -> str:
    program = [sys.executable, *map(str, arguments)]
    done = subprocess.run(program, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_save_and_load(tmp_path: Path) -> None:
    printed = run(tmp_path, PACKAGE / "examples" / "save_and_load.py", tmp_path)
    assert "['step', 'w'] {'format': 'np'}" in printed
    assert "F32 [512, 1024] (10, 256)" in printed


def test_convert_folder(tmp_path: Path, plain: Path) -> None:
    (tmp_path / "model").mkdir()
    plain.rename(tmp_path / "model" / "a.safetensors")
    printed = run(tmp_path, PACKAGE / "examples" / "convert_folder.py", "model", "compressed")
    assert "verify 1 of 1: a.safetensors" in printed
    assert "layer.weight BF16 ('huffman'" in printed


def test_the_code_of_the_readme_runs(tmp_path: Path, plain: Path) -> None:
    text = (PACKAGE / "README.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 3
    if "import torch" not in "".join(blocks):
        pytest.fail("expected an example with torch")
    (tmp_path / "Llama-3.1-8B").mkdir()
    (tmp_path / "Llama-3.1-8B" / "model.safetensors").write_bytes(plain.read_bytes())
    for block in blocks:
        if "torch" in block and not has_torch():
            continue
        (tmp_path / "block.py").write_text(block)
        run(tmp_path, "block.py")


def has_torch() -> bool:
    try:
        import torch  # noqa: F401
    except ImportError:
        return False
    return True
