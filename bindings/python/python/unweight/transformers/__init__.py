"""Models of transformers: folders of Unweight files, and weights that stay packed in memory.

`from_pretrained` opens a folder as ``unweight compress FOLDER`` makes it. Importing this module
also registers `UnweightConfig`, with which transformers packs any BF16 checkpoint as it loads.
"""

from ._load import from_pretrained
from ._quantizer import Packing, UnweightConfig, packing

__all__ = ["Packing", "UnweightConfig", "from_pretrained", "packing"]
