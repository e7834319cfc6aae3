"""A pass over vLLM's graphs: products by packed matrices take in the norms and gates between them."""

from __future__ import annotations

import inspect
import operator
import os
import sys
from contextlib import suppress
from typing import Any, TypeGuard

import torch
from torch import fx
from vllm.compilation.passes.inductor_pass import InductorPass

from .. import _linear as _operators  # noqa: F401  # Registers the operators.
from .._fused import GATED_ROWS, MOST_NORM_ROWS
from .._packed import PANEL_ROWS
from ._versions import LOGGER

VARIABLE = "UNWEIGHT_VLLM_FUSION"
_PASS = "post_grad_custom_post_pass"
with suppress(ImportError):
    import vllm.ir.ops  # noqa: F401  # Registers the norm, which other versions of vLLM may lack.
_NORM = getattr(getattr(torch.ops.vllm_ir, "fused_add_rms_norm", None), "default", None)
_LINEAR = torch.ops.unweight.linear.default
_ADD_NORM = torch.ops.unweight.linear_add_norm.default
_OF_NORM = torch.ops.unweight.linear_of_norm.default


def enable(compilation: Any, has_ranks: bool) -> None:
    """Adds the pass to vLLM's compilation of a model, once, unless the user has a pass or does not
    want this one. Graphs for few rows of activations are compiled apart from the others: norms are
    part of products there. With tensor-parallel ranks a sum of them is between products and norms."""
    options = compilation.inductor_compile_config
    if _PASS in options or os.environ.get(VARIABLE) == "0":
        return
    options[_PASS] = FusionPass()
    ends = compilation.compile_ranges_endpoints
    if _NORM is not None and not has_ranks and ends and MOST_NORM_ROWS < max(ends):
        compilation.compile_ranges_endpoints = sorted({*ends, MOST_NORM_ROWS})


class FusionPass(InductorPass):
    """Replaces, where nothing else reads what is between them,

    - a product, the RMS norm of its sum with a residual, and the product by that, by
      ``unweight::linear_add_norm`` and ``unweight::linear_of_norm``, in graphs for few rows;
    - a product and the gate of an MLP after it by ``unweight::linear_of_norm``.
    """

    def __init__(self) -> None:
        self.norms = 0
        self.gates = 0

    def uuid(self) -> Any:
        # vLLM's compile cache knows the pass by it.
        source = inspect.getsource(sys.modules[__name__])
        limits = (MOST_NORM_ROWS, GATED_ROWS, PANEL_ROWS)
        return f"unweight {InductorPass.hash_source(source, str(limits))}"

    def __call__(self, graph: fx.Graph) -> None:
        norms = gates = 0
        if _most_rows() <= MOST_NORM_ROWS:
            norms = sum(_fuse_norm(graph, node) for node in list(graph.nodes))
        gates = sum(_fuse_gate(graph, node) for node in list(graph.nodes))
        if norms or gates:
            graph.eliminate_dead_code()
            graph.lint()
        self.norms += norms
        self.gates += gates
        LOGGER.info("products take in %d norms and %d gates of a graph", norms, gates)


def _most_rows() -> int:
    """The most rows of activations of the graph that is compiled."""
    from vllm.compilation.passes import inductor_pass

    try:
        return int(inductor_pass.get_pass_context().compile_range.end)
    except AssertionError:
        # A graph for all sizes, as on the CPU, where operators do the same for all.
        return 0


def _is(node: object, target: Any) -> TypeGuard[fx.Node]:
    return isinstance(node, fx.Node) and node.op == "call_function" and node.target == target


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _is_product(node: object) -> TypeGuard[fx.Node]:
    """Whether a node is a product of two dimensions without a bias."""
    if not _is(node, _LINEAR) or node.kwargs or any(bias is not None for bias in node.args[6:]):
        return False
    return len(node.meta["val"].shape) == 2


def _is_bf16(node: object, dimensions: int, last: int) -> bool:
    """Whether a node is a BF16 tensor of so many dimensions, and its last one is so long."""
    if not isinstance(node, fx.Node):
        return False
    value = node.meta["val"]
    return (value.dtype, value.dim(), value.shape[-1]) == (torch.bfloat16, dimensions, last)


def _rows(product: fx.Node) -> int:
    rows: int = product.meta["val"].shape[1]
    return rows


def _call(graph: fx.Graph, target: Any, arguments: tuple[Any, ...]) -> fx.Node:
    node = graph.call_function(target, arguments)
    node.meta["val"] = target(*fx.map_arg(arguments, lambda of: of.meta["val"]))
    return node


def _fuse_norm(graph: fx.Graph, norm: fx.Node) -> bool:
    if _NORM is None or not _is(norm, _NORM) or norm.kwargs:
        return False
    first, residual, weight, epsilon, *variance_size = norm.args
    parts = {user.args[1]: user for user in norm.users if _is(user, operator.getitem)}
    normalized = parts.get(0)
    if len(parts) != len(norm.users) or normalized is None:
        return False
    if any(size is not None for size in variance_size):
        return False
    second = _only_user(normalized)
    if not _is_product(first) or _only_user(first) is not norm or _rows(first) % PANEL_ROWS:
        return False
    # Factors of FP32, such as those of Gemma's norm, are not rounded before they are multiplied.
    if not (_is_bf16(weight, 1, _rows(first)) and _is_bf16(residual, 2, _rows(first))):
        return False
    if not _is_product(second) or second.args[0] is not normalized:
        return False
    with graph.inserting_before(norm):
        both = _call(graph, _ADD_NORM, (*first.args[:6], residual, weight, epsilon))
        scaled, total, squares = (_call(graph, operator.getitem, (both, i)) for i in range(3))
    if 1 in parts:
        parts[1].replace_all_uses_with(total)
    with graph.inserting_before(second):
        of_norm = _call(graph, _OF_NORM, (scaled, squares, epsilon, *second.args[1:6], False))
    second.replace_all_uses_with(of_norm)
    return True


def _fuse_gate(graph: fx.Graph, product: fx.Node) -> bool:
    is_of_norm = _is(product, _OF_NORM) and not product.args[-1]
    if not (is_of_norm or _is_product(product)) or _rows(product) % GATED_ROWS:
        return False
    gated = _gate_of(product)
    if gated is None:
        return False
    arguments = product.args[:-1] if is_of_norm else (product.args[0], None, 0.0, *product.args[1:6])
    with graph.inserting_before(gated):
        fused = _call(graph, _OF_NORM, (*arguments, True))
    gated.replace_all_uses_with(fused)
    return True


def _gate_of(product: fx.Node) -> fx.Node | None:
    """silu(gate) * up of the two halves of a product, if that is all that reads it."""
    half = _rows(product) // 2
    gates, ups = [], []
    for user in product.users:
        if not _is(user, torch.ops.aten.slice.Tensor) or user.kwargs or len(user.args) != 4:
            return None
        _, dimension, start, end = user.args
        if dimension not in (1, -1) or not isinstance(end, int):
            return None
        if start == 0 and end == half:
            gates.append(user)
        elif start == half and end >= 2 * half:
            ups.append(user)
        else:
            return None
    if len(gates) != 1 or len(ups) != 1:
        return None
    activated = _silu_of(gates[0])
    if activated is None:
        return None
    gated = _only_user(activated)
    if _only_user(ups[0]) is not gated or not _is(gated, torch.ops.aten.mul.Tensor):
        return None
    return gated if set(gated.args) == {activated, ups[0]} else None


def _silu_of(gate: fx.Node) -> fx.Node | None:
    """silu of a half, as torch decomposes it: x / (1 + exp(-x)) in FP32, rounded."""
    aten, convert = torch.ops.aten, torch.ops.prims.convert_element_type.default
    x = _only_user(gate)
    if not _is(x, convert) or x.args[1] != torch.float32 or len(x.users) != 2:
        return None
    negative = next((user for user in x.users if _is(user, aten.neg.default)), None)
    exponential = None if negative is None else _only_user(negative)
    if not _is(exponential, aten.exp.default):
        return None
    sum_ = _only_user(exponential)
    if not _is(sum_, aten.add.Tensor) or sum_.args != (exponential, 1):
        return None
    quotient = _only_user(sum_)
    if not _is(quotient, aten.div.Tensor) or quotient.args != (x, sum_):
        return None
    rounded = _only_user(quotient)
    return rounded if _is(rounded, convert) and rounded.args[1] == torch.bfloat16 else None
