"""Registration of operators of torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["LIBRARY", "PACKED", "define"]

# Not `torch.library.custom_op`: its checks take 25 us a call, twice what a product takes.
LIBRARY = torch.library.Library("unweight", "FRAGMENT")
# The tensors of a packed matrix in a schema.
PACKED = "Tensor k_tiles, Tensor patches, Tensor patch_ends, Tensor palette"


def define(name: str, schema: str, of: Callable[..., Any], fake: Callable[..., Any]) -> None:
    """Registers an operator for all devices, and its fake for compilers. The schema is given, because
    annotations are strings in this package."""
    tags = (torch.Tag.pt2_compliant_tag, torch.Tag.needs_fixed_stride_order)
    LIBRARY.define(name + schema, tags=tags)
    LIBRARY.impl(name, of, "CompositeExplicitAutograd")
    torch.library.register_fake(f"unweight::{name}", fake, lib=LIBRARY)
