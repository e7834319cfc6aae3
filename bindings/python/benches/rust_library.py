"""The Rust library, for benches that compare the Python package with it.

`cargo build --release -p unweight --example load` builds the program, `target/release/examples/load`.
"""

from __future__ import annotations

import subprocess
from pathlib import Path


class RustLibrary:
    """The program `load`, which loads the file when it is told to."""

    def __init__(self, program: str, path: Path) -> None:
        self.process = subprocess.Popen(
            [program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def load(self, memory: str) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{memory}\n")
        if not self.process.stdout.readline():
            raise RuntimeError("the program has ended")
