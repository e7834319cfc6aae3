"""Lossless compression of model weights.

``safe_open`` reads tensors of Unweight and safetensors files, ``unweight.numpy`` and
``unweight.torch`` load and save dictionaries of them. ``compress``, ``decompress``, ``transcode``,
``verify`` and ``inspect`` work on files and on model folders. Nothing here imports numpy, torch or
ml_dtypes before it is needed.
"""

from ._errors import (
    BadFile,
    Exists,
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
from ._unweight import __version__

__all__ = [
    "BadFile",
    "Exists",
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
