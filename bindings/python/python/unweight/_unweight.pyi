"""The extension module. It has no interface for programs outside of this package."""

from collections.abc import Callable, Sequence
from typing import Any, final

__all__ = [
    "Array",
    "File",
    "Loader",
    "PackedKernels",
    "__version__",
    "check_tables",
    "choose_palette",
    "compress",
    "decompress",
    "inspect",
    "kernels_are_built_in",
    "new_array",
    "pack",
    "packed_layout",
    "restore",
    "most_rows_of_fused_norm",
    "routing_bytes",
    "run_program",
    "save",
    "save_file",
    "transcode",
    "verify",
]
__version__: str

_Path = str | bytes | Any
_Array = tuple[str, str, Sequence[int], Any]

@final
class Array:
    """An array in row-major order, in memory of its own, which other libraries share by DLPack."""

    @property
    def dtype(self) -> str:
        """The type of the elements, as safetensors names it: ``"BF16"``."""
    @property
    def shape(self) -> tuple[int, ...]:
        """The dimensions, outermost first."""
    @property
    def nbytes(self) -> int:
        """The number of bytes."""
    def _as_bytes(self) -> Array: ...
    def __bytes__(self) -> bytes: ...
    def __dlpack__(
        self,
        *,
        stream: None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...

def new_array(dtype: str, shape: Sequence[int]) -> Array: ...
@final
class File:
    @staticmethod
    def open_path(path: _Path, threads: int | None, memory: int | None) -> File: ...
    @staticmethod
    def open_bytes(data: bytes | bytearray, threads: int | None, memory: int | None) -> File: ...
    @staticmethod
    def open_reader(
        reader: Callable[[int, int], bytes], length: int, threads: int | None, memory: int | None
    ) -> File: ...
    def close(self) -> None: ...
    def keys(self) -> list[str]: ...
    def offset_keys(self) -> list[str]: ...
    def metadata(self) -> list[tuple[str, str]] | None: ...
    def tensor(self, name: str) -> tuple[str, int, list[int]]: ...
    def read_into(self, name: str, output: Any, is_new: bool) -> None: ...
    def read_slice_into(
        self, name: str, slice: Sequence[tuple[int, int, int]], output: Any, is_new: bool
    ) -> None: ...

@final
class Loader:
    def __new__(cls, device: int) -> Loader: ...
    def load(self, file: File, tensors: Sequence[tuple[str, int, int]], stream: int) -> None: ...

kernels_are_built_in: bool

def compress(
    source: _Path,
    output: _Path,
    options: dict[str, Any],
    encoding: str,
    select: Callable[[str], bool] | None,
    progress: Callable[..., None] | None,
) -> dict[str, Any]: ...
def decompress(
    container: _Path,
    output: _Path,
    options: dict[str, Any],
    progress: Callable[..., None] | None,
) -> dict[str, Any]: ...
def transcode(
    container: _Path,
    output: _Path,
    options: dict[str, Any],
    encoding: str,
    progress: Callable[..., None] | None,
) -> dict[str, Any]: ...
def verify(
    path: _Path,
    against: _Path | None,
    options: dict[str, Any],
    progress: Callable[..., None] | None,
) -> dict[str, Any]: ...
def inspect(
    path: _Path,
    directory_only: bool,
    count: int | None,
    memory: int | None,
    progress: Callable[..., None] | None,
) -> list[dict[str, Any]]: ...
def save(
    arrays: Sequence[_Array],
    metadata: Sequence[tuple[str, str]] | None,
    encoding: str,
    count: int | None,
) -> bytes: ...
def save_file(
    arrays: Sequence[_Array],
    path: _Path,
    metadata: Sequence[tuple[str, str]] | None,
    encoding: str,
    count: int | None,
) -> None: ...
def run_program(arguments: Sequence[str]) -> int: ...
def packed_layout(rows: int, columns: int) -> tuple[int, int, int] | str: ...
def pack(
    weights: Any, rows: int, columns: int, k_tiles: Any, threads: int
) -> tuple[bytes, bytes, bytes] | str: ...
def restore(
    k_tiles: Any,
    patches: Any,
    patch_ends: Any,
    palette: Any,
    rows: int,
    columns: int,
    output: Any,
    threads: int,
) -> None: ...
def check_tables(
    patches: Any, patch_ends: Any, palette: Any, rows: int, columns: int
) -> None: ...
def choose_palette(
    counts: Sequence[int], rows: int, columns: int
) -> tuple[bytes, int] | str: ...

_Matrix = tuple[int, int, int, int, int, int, int, int]
# Tokens, experts of each, and all experts.
_Routing = tuple[int, int, int]

def most_rows_of_fused_norm() -> int: ...
def routing_bytes(shape: _Routing) -> int: ...

@final
class PackedKernels:
    def __new__(cls, device: int) -> PackedKernels: ...
    def count_exponents(
        self, weights: int, rows: int, columns: int, counts: int, stream: int
    ) -> None: ...
    def count_patches(self, matrix: _Matrix, weights: int, stream: int) -> None: ...
    def arrange(self, matrix: _Matrix, weights: int, stream: int) -> None: ...
    def restore(self, matrix: _Matrix, weights: int, stream: int) -> None: ...
    def multiply(
        self, matrix: _Matrix, x: int, batch: int, y: int, bias: int, stream: int
    ) -> bool: ...
    def multiply_fused(
        self,
        matrix: _Matrix,
        x: int,
        batch: int,
        y: int,
        residual: tuple[int, ...] | None,
        norm: tuple[int, float] | None,
        gated: bool,
        stream: int,
    ) -> bool: ...
    def route(
        self,
        shape: _Routing,
        experts: int,
        scales: int,
        routing: tuple[int, int],
        stream: int,
    ) -> None: ...
    def multiply_grouped(
        self,
        matrix: _Matrix,
        shape: _Routing,
        routing: tuple[int, int],
        x: int,
        scaled: bool,
        y: int,
        stream: int,
    ) -> None: ...
