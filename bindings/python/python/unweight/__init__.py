"""Lossless compression of model weights.

``safe_open`` reads tensors of Unweight and safetensors files, ``unweight.numpy`` and
``unweight.torch`` load and save dictionaries of them, and an ``Array`` goes to any other library.
``compress``, ``decompress``, ``transcode``, ``verify`` and ``inspect`` work on files and on model
folders. Modules are imported when something of them is used: numpy, torch and ml_dtypes, and also
those of this package.
"""

from ._errors import (
    BadFile,
    Exists,
    ExportError,
    IoError,
    NoDevice,
    NotFound,
    NotPermitted,
    NoTensor,
    OutsideOfTensor,
    OverBudget,
    UnsupportedDtype,
    UnweightError,
    WrongArgument,
)
from ._unweight import Array, __version__

TYPE_CHECKING = False  # That of typing, whose import takes as long as that of this package.
if TYPE_CHECKING:
    from ._files import (
        FieldInspection,
        FileInspection,
        FileReport,
        Progress,
        Report,
        TensorInspection,
        VerifyReport,
        compress,
        decompress,
        inspect,
        transcode,
        verify,
    )
    from ._open import TensorSlice, safe_open

__all__ = [
    "Array",
    "BadFile",
    "Exists",
    "ExportError",
    "FieldInspection",
    "FileInspection",
    "FileReport",
    "IoError",
    "NoDevice",
    "NoTensor",
    "NotFound",
    "NotPermitted",
    "OutsideOfTensor",
    "OverBudget",
    "Progress",
    "Report",
    "TensorInspection",
    "TensorSlice",
    "UnsupportedDtype",
    "UnweightError",
    "VerifyReport",
    "WrongArgument",
    "__version__",
    "compress",
    "decompress",
    "inspect",
    "safe_open",
    "transcode",
    "verify",
]

_OF_OPEN = ("TensorSlice", "safe_open")

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name in _OF_OPEN:
            from . import _open as module
        else:
            from . import _files as module
        value = globals()[name] = getattr(module, name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
