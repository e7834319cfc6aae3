"""Packed matrices: exact restoration, checks of the tensors, the operators and the module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import weights

import unweight

torch = pytest.importorskip("torch", reason="torch is not installed")
if not hasattr(torch.library, "register_autograd"):
    pytest.skip("torch.library.register_autograd needs torch 2.4", allow_module_level=True)

import unweight.torch  # noqa: E402
from unweight import _linear, _packed  # noqa: E402
from unweight._packed import NoPackedForm, Packed  # noqa: E402

Linear = unweight.torch.Linear


def matrix(rows: int, columns: int, seed: int = 0) -> Any:
    """BF16 weights as those of a model."""
    bits = torch.from_numpy(weights(rows * columns, seed).view("int16"))
    return bits.view(torch.bfloat16).reshape(rows, columns)


def spread(rows: int, columns: int) -> Any:
    """Weights with exponents that are not consecutive, and a patch in 32 of them."""
    values = torch.arange(rows * columns, dtype=torch.int64)
    exponents = torch.where(values % 32 == 5, values % 251, 30 + 7 * (values % 14))
    bits = (values * 40503 % 65536) & 0x807F | exponents << 7
    signed = torch.where(bits >= 32768, bits - 65536, bits)
    return signed.to(torch.int16).view(torch.bfloat16).reshape(rows, columns)


def same(one: Any, other: Any) -> bool:
    """Same type, shape and bits: NaN equals itself."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    return torch.equal(_packed.bytes_of(one.contiguous()), _packed.bytes_of(other.contiguous()))


SHAPES = [(1, 64), (15, 64), (16, 128), (17, 192), (1000, 256), (33, 4096)]


@pytest.mark.parametrize("make", [matrix, spread])
def test_every_matrix_comes_back(make: Any) -> None:
    for shape in SHAPES:
        weight = make(*shape)
        packed = _packed.pack(weight)
        assert same(_packed.restore(packed, shape[0]), weight), shape
    assert make is matrix or len(packed.patches) > 1000


def test_threads_make_the_same_tensors() -> None:
    weight = spread(2100, 1024)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = _packed.pack(weight)
        torch.set_num_threads(3)
        three = _packed.pack(weight)
        assert all(same(a, b) for a, b in zip(one, three, strict=True))
        assert same(_packed.restore(one, 2100), weight)
    finally:
        torch.set_num_threads(before)


def test_a_packed_matrix_takes_12_bits_a_weight() -> None:
    packed = _packed.pack(matrix(1024, 1024))
    assert packed.k_tiles.shape == (64, 16, 1536)
    assert 12 <= 8 * packed.nbytes / 1024**2 < 12.05


def test_matrices_without_a_packed_form_are_refused_with_the_reason() -> None:
    with pytest.raises(NoPackedForm, match="multiples of 64"):
        _packed.pack(matrix(16, 100))
    with pytest.raises(NoPackedForm, match="at least a row"):
        _packed.pack(torch.empty((0, 64), dtype=torch.bfloat16))
    every = torch.arange(65536, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    with pytest.raises(NoPackedForm, match="one in 16"):
        _packed.pack(every.reshape(1024, 64))
    for wrong in (torch.zeros(16, 64), matrix(16, 64)[0]):
        with pytest.raises(unweight.WrongArgument, match="expected a matrix of bfloat16"):
            _packed.pack(wrong)


def changed(packed: Packed, **tensors: Any) -> Packed:
    return packed._replace(**tensors)


def test_tensors_that_are_no_packed_matrix_are_refused() -> None:
    packed = _packed.pack(spread(40, 128))
    patches, ends = packed.patches, packed.patch_ends
    huge = torch.full_like(patches, -1)
    assert len(patches) > 100 and len(ends) == 3
    for wrong, message in (
        (changed(packed, k_tiles=packed.k_tiles[:2]), "k_tiles of shape"),
        (changed(packed, k_tiles=packed.k_tiles[:, :, :1535].contiguous()), "k_tiles of shape"),
        (changed(packed, k_tiles=packed.k_tiles[:, :0]), "columns in multiples"),
        (changed(packed, k_tiles=packed.k_tiles.transpose(0, 1)), "contiguous"),
        (changed(packed, k_tiles=packed.k_tiles.to(torch.int16)), "torch.uint8"),
        (changed(packed, patches=patches[:-1].contiguous()), "end at"),
        (changed(packed, patches=torch.cat([patches, patches[-1:]])), "found [0-9]+ patches"),
        (changed(packed, patches=huge), "no weight of the matrix"),
        (changed(packed, patches=patches.flip(0)), "patch"),
        (changed(packed, patches=patches.long()), "torch.int32"),
        (changed(packed, patch_ends=ends[:2].contiguous()), "row panels"),
        (changed(packed, patch_ends=ends.flip(0)), "row panel 0"),
        (changed(packed, patch_ends=torch.full_like(ends, -1)), "end at"),
        (changed(packed, palette=packed.palette.flip(0)), "ascending"),
        (changed(packed, palette=packed.palette[:15].contiguous()), "16 exponents"),
    ):
        with pytest.raises(unweight.WrongArgument, match=message):
            torch.ops.unweight.restore(*wrong, 40)
        with pytest.raises(unweight.WrongArgument, match=message):
            torch.ops.unweight.linear(matrix(2, 128), *wrong, 40)
    for rows in (0, -1, 32, 49, 2**40):
        with pytest.raises((unweight.WrongArgument, OverflowError)):
            torch.ops.unweight.restore(*packed, rows)


def test_operators_pass_the_checks_of_torch() -> None:
    packed = _packed.pack(spread(40, 128))
    bias = torch.ones(40, dtype=torch.bfloat16)
    torch.library.opcheck(torch.ops.unweight.restore.default, (*packed, 40))
    for x in (matrix(5, 128), matrix(6, 128).reshape(2, 3, 128), matrix(1, 128)[0]):
        for given in (None, bias):
            torch.library.opcheck(torch.ops.unweight.linear.default, (x, *packed, 40, given))


@pytest.mark.parametrize("with_bias", [False, True])
def test_results_are_those_of_a_plain_module(with_bias: bool) -> None:
    plain = torch.nn.Linear(256, 1000, bias=with_bias, dtype=torch.bfloat16)
    packed = Linear.from_linear(plain)
    assert same(packed.weight, plain.weight)
    assert packed.bias is plain.bias
    for shape in ((256,), (1, 256), (7, 256), (2, 3, 256), (0, 256)):
        x = torch.randn(shape).to(torch.bfloat16)
        assert same(packed(x), plain(x))
        assert same(torch.ops.unweight.linear(x, *packed.packed, 1000, plain.bias), plain(x))
    assert same(packed.to_linear()(x), plain(x))


def test_compiled_results_are_those_of_a_compiled_plain_module() -> None:
    plain = torch.nn.Sequential(
        torch.nn.Linear(128, 256, dtype=torch.bfloat16),
        torch.nn.GELU(),
        torch.nn.Linear(256, 64, bias=False, dtype=torch.bfloat16),
    )
    packed = torch.nn.Sequential(
        Linear.from_linear(plain[0]), torch.nn.GELU(), Linear.from_linear(plain[2])
    )
    compiled = [torch.compile(model, fullgraph=True) for model in (plain, packed)]
    with torch.no_grad():
        for rows in (1, 5):
            x = torch.randn(rows, 128).to(torch.bfloat16)
            expected, found = (model(x) for model in compiled)
            assert same(found, expected)


def test_the_operator_is_one_call_of_a_compiled_graph() -> None:
    weight = matrix(40, 128)
    packed = _packed.pack(weight)

    def twice(x: Any) -> Any:
        return 2 * torch.ops.unweight.linear(x, *packed, 40)

    x = torch.randn(3, 128).to(torch.bfloat16)
    found = torch.compile(twice, fullgraph=True)(x)
    assert same(found, 2 * torch.nn.functional.linear(x, weight))


def test_gradients_of_input_and_bias_are_those_of_a_plain_module() -> None:
    plain = torch.nn.Linear(64, 32, dtype=torch.bfloat16)
    packed = Linear.from_linear(plain)
    found = []
    for module in (plain, packed):
        x = matrix(3, 64).clone().requires_grad_()
        plain.bias.grad = None
        module(x).sum().backward()
        found.append((x.grad, plain.bias.grad))
    assert all(same(one, other) for one, other in zip(*found, strict=True))


def test_state_dicts_restore_modules_with_any_number_of_patches(tmp_path: Path) -> None:
    first, second = Linear.from_weight(spread(40, 128)), Linear.from_weight(matrix(40, 128))
    assert list(first.state_dict()) == ["k_tiles", "patches", "patch_ends", "palette"]
    assert len(first.patches) != len(second.patches)
    for assign in (False, True):
        empty = Linear.empty(128, 40)
        with pytest.raises(unweight.WrongArgument):
            empty(matrix(1, 128))
        empty.load_state_dict(first.state_dict(), assign=assign)
        assert same(empty.weight, spread(40, 128))
        empty.load_state_dict(second.state_dict(), assign=assign)
        assert same(empty.weight, matrix(40, 128))
    unweight.torch.save_file(first.state_dict(), tmp_path / "module.unw")
    empty.load_state_dict(unweight.torch.load_file(tmp_path / "module.unw"))
    assert same(empty.weight, spread(40, 128))
    with pytest.raises(RuntimeError, match="k_tiles"):
        Linear.empty(128, 60).load_state_dict(first.state_dict())


def test_modules_are_made_of_tensors_of_files(tmp_path: Path) -> None:
    path = tmp_path / "w.unw"
    tensors = {"w": matrix(40, 128).clone(), "b": torch.ones(40, dtype=torch.bfloat16)}
    unweight.torch.save_file(tensors, path)
    with unweight.safe_open(path, "pt") as file:
        module = Linear.from_file(file, "w", bias="b")
        with pytest.raises(unweight.NoTensor):
            Linear.from_file(file, "v")
    x = matrix(2, 128)
    assert same(module(x), torch.nn.functional.linear(x, tensors["w"], tensors["b"]))
    with unweight.safe_open(path, "np", as_bits=True) as file:
        with pytest.raises(unweight.WrongArgument, match="'pt'"):
            Linear.from_file(file, "w")


def test_modules_say_what_they_are() -> None:
    module = Linear.from_weight(matrix(512, 256))
    assert repr(module).startswith(
        "Linear(in_features=256, out_features=512, bias=False, bits_per_weight=12.0"
    )
    with pytest.raises(unweight.UnsupportedDtype, match="expected bfloat16"):
        module(torch.zeros(1, 256))


def test_other_devices_are_refused_with_advice() -> None:
    # A tensor of the meta device stands for that of any device but the CPU.
    packed = Packed(*(tensor.to("meta") for tensor in _packed.pack(matrix(16, 64))))
    with pytest.raises(unweight.NoDevice, match="one CUDA device"):
        _packed.restore(packed, 16)
    with pytest.raises(unweight.NoDevice, match="one CUDA device"):
        _linear._linear(matrix(1, 64).to("meta"), *packed, 16)


def test_importing_unweight_imports_no_framework() -> None:
    import subprocess
    import sys

    program = (
        "import sys, unweight; "
        "print([name for name in ('torch', 'transformers', 'vllm', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
