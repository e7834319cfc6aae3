"""Lookup of rows of packed matrices."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch")

import unweight.torch  # noqa: E402
from unweight import _packed  # noqa: E402
from unweight._embedding import RowPatches, lookup, row_patches  # noqa: E402
from unweight._packed_embedding import TiedLinear  # noqa: E402


def weights(rows: int, columns: int, rare: float) -> Any:
    """Normal weights, of which a part gets any exponent."""
    generator = torch.Generator().manual_seed(rows * columns)
    weight = torch.randn(rows, columns, generator=generator).bfloat16()
    bits = weight.view(torch.int16)
    random = torch.randint(-(1 << 15), 1 << 15, bits.shape, generator=generator, dtype=torch.int16)
    is_rare = torch.rand(bits.shape, generator=generator) < rare
    return torch.where(is_rare, random, bits).view(torch.bfloat16)


DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def looked_up(packed: _packed.Packed, patches: RowPatches, indices: Any) -> Any:
    return lookup(indices, packed.k_tiles, packed.palette, patches)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("rare", [0.0, 0.001, 0.05])
@pytest.mark.parametrize("shape", [(16, 64), (1, 64), (100, 192), (515, 128)])
def test_rows_are_those_of_the_plain_matrix(
    shape: tuple[int, int], rare: float, device: str
) -> None:
    weight = weights(*shape, rare).to(device)
    packed = _packed.pack(weight)
    patches = row_patches(packed, shape[0])
    assert patches.entries.shape == packed.patches.shape
    indices = torch.cat((torch.arange(shape[0]), torch.tensor([shape[0] - 1, 0, shape[0] // 2])))
    found = looked_up(packed, patches, indices.to(device))
    assert torch.equal(found.view(torch.int16), weight[indices.to(device)].view(torch.int16))


def test_the_operator_works_under_torch_compile() -> None:
    packed = _packed.pack(weights(100, 192, 0.01))
    arguments = (torch.tensor([[3, 99], [0, 3]]), packed.k_tiles, packed.palette)
    torch.library.opcheck(torch.ops.unweight.lookup, (*arguments, *row_patches(packed, 100)))


def test_the_kernel_of_triton_gives_the_same_in_its_interpreter() -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    program = """
import torch
from test_embedding import weights
from unweight import _packed
from unweight._embedding import row_patches
from unweight._embedding_triton import lookup
for rows, columns in ((16, 64), (100, 192), (515, 1280)):
    normal = weights(rows, columns, 0.003)
    exponents = torch.randint(110, 126, normal.shape, dtype=torch.int16)
    even = (normal.view(torch.int16) & -0x7F81 | exponents << 7).view(torch.bfloat16)
    even[rows // 2, ::7] = 1e30
    apart = (normal.view(torch.int16) & -0x7F81 | (2 * exponents - 120) << 7).view(torch.bfloat16)
    for exact, stored in ((normal, (1, 16)), (even, (1,)), (apart, (16,))):
        packed = _packed.pack(exact)
        assert packed.palette.shape[0] in stored
        indices = torch.tensor([[0, rows - 1], [rows // 2, 0]])
        found = lookup(indices, packed.k_tiles, packed.palette, *row_patches(packed, rows))
        assert torch.equal(found.view(torch.int16), exact[indices].view(torch.int16))
        outside = torch.tensor([-7, rows + 99])
        found = lookup(outside, packed.k_tiles, packed.palette, *row_patches(packed, rows))
        assert torch.equal(found.view(torch.int16), exact[[0, rows - 1]].view(torch.int16))
"""
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(Path(__file__).parent)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)


def test_indices_have_any_shape() -> None:
    weight = weights(40, 64, 0.01)
    packed = _packed.pack(weight)
    patches = row_patches(packed, 40)
    for shape in ((), (3,), (2, 3), (0,)):
        indices = torch.randint(0, 40, shape)
        found = looked_up(packed, patches, indices)
        assert found.shape == (*shape, 64)
        assert torch.equal(found.view(torch.int16), weight[indices].view(torch.int16))


def test_a_palette_of_one_byte_has_16_consecutive_exponents() -> None:
    weight = weights(64, 128, 0.0)
    exponents = torch.arange(110, 126, dtype=torch.int16).repeat(8 * 64).view(64, 128)
    weight = (weight.view(torch.int16) & -0x7F81 | exponents << 7).view(torch.bfloat16)
    weight[3, 5] = 1e30
    packed = _packed.pack(weight)
    assert packed.palette.tolist() in ([110], list(range(110, 126)))
    patches = row_patches(packed, 64)
    for palette in (
        torch.arange(110, 126, dtype=torch.uint8),
        torch.tensor([110], dtype=torch.uint8),
    ):
        found = looked_up(packed._replace(palette=palette), patches, torch.arange(64))
        assert torch.equal(found, weight)


def test_a_row_may_have_patches_only() -> None:
    weight = weights(256, 64, 0.0)
    weight[77] = torch.arange(1, 65, dtype=torch.int16).mul(128).view(torch.bfloat16)
    packed = _packed.pack(weight)
    patches = row_patches(packed, 256)
    assert torch.diff(patches.starts).max() == 64
    found = looked_up(packed, patches, torch.tensor([76, 77, 78]))
    assert torch.equal(found, weight[76:79])


def embedding(rows: int, columns: int, device: str = "cpu") -> Any:
    made = torch.nn.Embedding(rows, columns, padding_idx=3, dtype=torch.bfloat16)
    made.weight.data = weights(rows, columns, 0.01)
    return made.to(device)


@pytest.mark.parametrize("device", DEVICES)
def test_a_packed_module_gives_what_the_plain_one_gives(device: str) -> None:
    plain = embedding(100, 192, device)
    packed = unweight.torch.Embedding.from_embedding(plain)
    indices = torch.tensor([[0, 99], [3, 3]], device=device)
    head = TiedLinear(packed, exact=True)
    x = torch.randn(5, 192, device=device).bfloat16()
    for kind in (torch.int64, torch.int32):
        found, expected = packed(indices.to(kind)), plain(indices.to(kind))
        assert torch.equal(found.view(torch.int16), expected.view(torch.int16))
    expected = torch.nn.functional.linear(x, plain.weight)
    assert torch.equal(head(x).view(torch.int16), expected.view(torch.int16))
    assert torch.equal(packed.to_embedding().weight.view(torch.int16), plain.weight.view(torch.int16))
    assert type(packed.to_embedding()) is torch.nn.Embedding and isinstance(packed, torch.nn.Embedding)
    assert repr(packed).startswith("Embedding(100, 192, padding_idx=3, bits_per_weight=1")
    assert not list(packed.parameters()) and plain.weight.shape == (100, 192)


def test_a_packed_module_is_copied_saved_and_loaded() -> None:
    plain = embedding(100, 192)
    packed = unweight.torch.Embedding.from_embedding(plain)
    other = unweight.torch.Embedding.from_embedding(torch.nn.Embedding(100, 192).bfloat16())
    other.load_state_dict(packed.state_dict())
    indices = torch.arange(100)
    for found in (other, copy.deepcopy(packed), pickle.loads(pickle.dumps(packed))):
        assert torch.equal(found(indices).view(torch.int16), plain.weight.view(torch.int16))
    state = packed.state_dict() | {"patch_ends": torch.full_like(packed.patch_ends, -1)}
    with pytest.raises(unweight.WrongArgument):
        other.load_state_dict(state)


def test_the_weight_is_restored_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = embedding(100, 192)
    packed = unweight.torch.Embedding.from_embedding(plain)
    found, expected = packed.weight.view(torch.int16), plain.weight.view(torch.int16)
    assert torch.equal(found, expected)
    assert torch.equal(packed.weight[5:7].view(torch.int16), expected[5:7])
    assert torch.equal(packed.weight.t().contiguous().view(torch.int16), expected.t())
    monkeypatch.setattr(_packed, "restore", lambda *_: pytest.fail("the weight was restored"))
    weight = packed.weight
    assert (weight.dtype, weight.shape, weight.device) == (
        torch.bfloat16,
        plain.weight.shape,
        plain.weight.device,
    )
    for outside in (100, 111, 112, -1, -100):
        with pytest.raises(IndexError):
            packed(torch.tensor([outside]))
