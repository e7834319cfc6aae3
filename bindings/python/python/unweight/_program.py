"""The program ``unweight``."""

import sys

from ._unweight import run_program


def main() -> None:
    """Runs the program with the arguments of this process, and exits with its code."""
    sys.exit(run_program(["unweight", *sys.argv[1:]]))
