"""Operations on files and folders, and the program."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from conftest import weights

import unweight
from unweight import Progress


@pytest.fixture
def folder(tmp_path: Path, plain: Path) -> Path:
    """A model folder: two shards, and files that are copied or left out."""
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / ".git").mkdir()
    shutil.copy(plain, folder / "1.safetensors")
    shutil.copy(plain, folder / "sub" / "2.safetensors")
    (folder / "config.json").write_text("{}")
    (folder / ".git" / "HEAD").write_text("main")
    return folder


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file that takes a while."""
    path = tmp_path / "large.safetensors"
    data = weights(24 << 20).view(np.uint8)
    header = json.dumps({"w": {"dtype": "BF16", "shape": [24 << 20], "data_offsets": [0, 48 << 20]}})
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + data.tobytes())
    return path


def test_a_file_is_restored_byte_for_byte(tmp_path: Path, plain: Path) -> None:
    unw, back = tmp_path / "a.unw", tmp_path / "b.safetensors"
    report = unweight.compress(plain, unw, verify=True, threads=2)
    (file,) = report.files
    assert (file.input, file.output) == (str(plain), str(unw))
    assert file.input_bytes == plain.stat().st_size == report.input_bytes
    assert file.output_bytes == unw.stat().st_size == report.output_bytes
    assert (file.tensors, file.verified, file.kept, file.no_gain) == (5, True, False, None)
    assert 1 <= file.compressed_tensors <= 5
    assert (report.copied_files, report.left_out, report.warnings) == (0, (), ())

    verified = unweight.verify(unw, against=plain)
    assert verified == unweight.VerifyReport((str(unw),), plain.stat().st_size, ())
    restored = unweight.decompress(unw, back)
    assert back.read_bytes() == plain.read_bytes()
    assert restored.output_bytes == plain.stat().st_size


def test_a_folder_is_restored_byte_for_byte(tmp_path: Path, folder: Path) -> None:
    unw, back = tmp_path / "unw", tmp_path / "back"
    report = unweight.compress(folder, unw)
    assert len(report.files) == 2 and report.copied_files == 1 and report.left_out == (".git",)
    assert report.output_bytes < report.input_bytes
    assert len(unweight.verify(unw, against=folder).files) == 2
    unweight.decompress(unw, back)
    for name in ("1.safetensors", "sub/2.safetensors", "config.json"):
        assert (back / name).read_bytes() == (folder / name).read_bytes()
    files = unweight.inspect(unw, directory_only=True)
    assert [Path(file.path).name for file in files] == ["1.unw", "2.unw"]
    everything = unweight.compress(folder, tmp_path / "all", all_files=True)
    assert (everything.copied_files, everything.left_out) == (2, ())


def test_transcoding_changes_the_encoding_alone(
    tmp_path: Path, unw: Path, plain: Path, folder: Path
) -> None:
    palette, back = tmp_path / "palette.unw", tmp_path / "back.unw"
    report = unweight.transcode(unw, palette, "palette")
    assert report.output_bytes == palette.stat().st_size != unw.stat().st_size
    unweight.transcode(palette, back, "huffman")
    assert back.stat().st_size == unw.stat().st_size
    for path in (palette, back):
        unweight.verify(path, against=plain)
    unweight.compress(folder, tmp_path / "unw", encoding="palette")
    unweight.transcode(tmp_path / "unw", tmp_path / "other", "huffman")
    unweight.verify(tmp_path / "other", against=folder)
    with pytest.raises(unweight.WrongArgument, match='found encoding "zip"'):
        unweight.transcode(unw, tmp_path / "zip", "zip")  # type: ignore[arg-type]


def test_inspect_says_where_the_bits_go(unw: Path) -> None:
    (file,) = unweight.inspect(unw)
    assert file.path == str(unw) and file.file_bytes == unw.stat().st_size
    tensors = {tensor.name: tensor for tensor in file.tensors}
    weight = tensors["layer.weight"]
    assert (weight.dtype, weight.shape, weight.weights) == ("BF16", (3, 400, 100), 120_000)
    exponent = weight.fields[0]
    assert (exponent.kind, exponent.high, exponent.low, exponent.form) == ("exponent", 14, 7, "huffman")
    assert 1 < exponent.entropy_bits < 4 and weight.forms[0] == "huffman"
    assert weight.entropy_bits is not None and weight.bits_per_weight is not None
    assert weight.entropy_bits <= weight.bits_per_weight < 12
    assert weight.chunk_size_log2 == 15
    (directory,) = unweight.inspect(unw, directory_only=True)
    assert directory.restored_bytes == file.restored_bytes
    assert all(tensor.entropy_bits is None for tensor in directory.tensors)


def test_only_selected_tensors_are_compressed(tmp_path: Path, plain: Path) -> None:
    asked: list[str] = []

    def select(name: str) -> bool:
        asked.append(name)
        return name != "layer.weight"

    unweight.compress(plain, tmp_path / "a.unw", select=select)
    assert "layer.weight" in asked
    (file,) = unweight.inspect(tmp_path / "a.unw", directory_only=True)
    forms = {tensor.name: tensor.forms for tensor in file.tensors}
    assert set(forms["layer.weight"]) == {"plain"}

    def broken(name: str) -> bool:
        raise LookupError(name)

    with pytest.raises(LookupError):
        unweight.compress(plain, tmp_path / "b.unw", select=broken)
    assert not (tmp_path / "b.unw").exists()


def test_progress_reaches_its_total_on_the_calling_thread(tmp_path: Path, large: Path) -> None:
    news: list[Progress] = []
    threads = set()

    def note(progress: Progress) -> None:
        news.append(progress)
        threads.add(threading.get_ident())

    unweight.compress(large, tmp_path / "a.unw", verify=True, progress=note)
    assert threads == {threading.get_ident()}
    assert [progress.action for progress in news] == sorted(progress.action for progress in news)
    assert {progress.action for progress in news} == {"compress", "verify"}
    assert all(progress.path == str(large) and progress.count == 1 for progress in news)
    of_verify = [progress for progress in news if progress.action == "verify"]
    assert of_verify[-1].done_bytes >= 0.9 * of_verify[-1].total_bytes > 0


def slowly(name: str) -> bool:
    """Selects every tensor, and makes an operation take a while."""
    time.sleep(0.05)
    return True


def test_an_exception_of_the_callback_cancels_and_leaves_nothing(
    tmp_path: Path, folder: Path
) -> None:
    before = sorted(os.listdir(tmp_path))

    def stop(progress: Progress) -> None:
        raise TimeoutError("too slow")

    for source in (folder, folder / "1.safetensors"):
        with pytest.raises(TimeoutError, match="too slow"):
            unweight.compress(source, tmp_path / "a.unw", select=slowly, progress=stop)
        assert sorted(os.listdir(tmp_path)) == before


INTERRUPTED = """
import sys, time, unweight
def slowly(name):
    print("working", flush=True)
    time.sleep(0.2)
    return True
def told(progress):
    print("working", flush=True)
    time.sleep(60)
try:
    unweight.{operation}
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize(
    "operation",
    [
        "compress(*sys.argv[1:3], select=slowly)",
        "compress(*sys.argv[1:3], select=slowly, progress=told)",
        "inspect(sys.argv[3], progress=told)",
    ],
)
def test_ctrl_c_cancels_and_leaves_nothing(
    tmp_path: Path, plain: Path, unw: Path, operation: str
) -> None:
    before = sorted(os.listdir(tmp_path))
    arguments = [plain, tmp_path / "a.unw", unw]
    program = [sys.executable, "-c", INTERRUPTED.format(operation=operation), *map(str, arguments)]
    # A shell in the background may have set SIGINT to be ignored, which children inherit.
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, text=True, preexec_fn=_default_sigint
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "working\n"
        run.send_signal(signal.SIGINT)
        rest = run.stdout.read()
    assert run.returncode == 0 and rest.splitlines()[-1] == "interrupted"
    assert sorted(os.listdir(tmp_path)) == before


def _default_sigint() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_other_threads_run_meanwhile(tmp_path: Path, large: Path) -> None:
    ticks = 0
    done = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not done.is_set():
            ticks += 1
            time.sleep(0.001)

    ticking = threading.Thread(target=tick)
    ticking.start()
    unweight.compress(large, tmp_path / "a.unw", threads=1)
    unweight.numpy.load_file(tmp_path / "a.unw", threads=1, as_bits=True)
    done.set()
    ticking.join()
    assert ticks > 20


def test_errors_have_paths_and_classes(tmp_path: Path, plain: Path, unw: Path) -> None:
    with pytest.raises(FileExistsError) as exists:
        unweight.compress(plain, unw)
    assert isinstance(exists.value, unweight.Exists) and exists.value.path == str(unw)
    unweight.compress(plain, unw, force=True)
    with pytest.raises(unweight.NotFound) as absent:
        unweight.verify(tmp_path / "none")
    assert absent.value.errno == 2
    with pytest.raises(unweight.BadFile) as source:
        unweight.compress(unw, tmp_path / "b.unw")
    assert source.value.rule is None and source.value.path == str(unw)
    with pytest.raises(unweight.OverBudget):
        unweight.verify(unw, memory=1000)
    other = tmp_path / "other.safetensors"
    safetensors.numpy.save_file({"w": np.zeros(4, np.float32)}, other)
    with pytest.raises(unweight.BadFile, match="differs|restores"):
        unweight.verify(unw, against=other)
    with pytest.raises(unweight.WrongArgument, match="is the input itself"):
        unweight.compress(plain, plain, force=True)
    full = tmp_path / "no" / "folder.unw"
    with pytest.raises(unweight.NotFound):
        unweight.compress(plain, full)


def test_an_operation_on_a_folder_is_resumed(tmp_path: Path, folder: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.action == "compress" and progress.number == 2:
            raise TimeoutError

    output = tmp_path / "unw"
    with pytest.raises(TimeoutError):
        unweight.compress(folder, output, select=slowly, resume=True, progress=stop)
    assert not output.exists()
    report = unweight.compress(folder, output, select=slowly, resume=True)
    assert [file.kept for file in report.files] == [True, False]


def run_program(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "unweight", *map(str, arguments)]
    return subprocess.run(program, capture_output=True, text=True, check=False)


def test_the_module_and_the_script_are_the_program(tmp_path: Path, plain: Path) -> None:
    done = run_program("compress", plain, "-o", tmp_path / "a.unw", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"][0]["output_bytes"] == (tmp_path / "a.unw").stat().st_size
    script = Path(sys.executable).with_name("unweight")
    versions = [run_program("--version").stdout]
    assert script.exists(), f"{script}: expected the script beside the interpreter"
    versions.append(subprocess.run([script, "--version"], capture_output=True, text=True, check=True).stdout)
    assert versions[0] == versions[1]
    assert versions[0].splitlines()[0] == f"unweight {unweight.__version__}"
    assert run_program("--help").stdout.startswith("Lossless compression of model weights")


def test_the_program_reports_by_exit_code(tmp_path: Path, plain: Path) -> None:
    assert run_program("verify", plain).returncode == 1
    wrong = run_program("no-such-command")
    assert (wrong.returncode, wrong.stdout) == (2, "") and "unrecognized" in wrong.stderr
    assert run_program("verify", tmp_path / "none").returncode == 3


def test_a_signal_ends_the_program() -> None:
    program = [sys.executable, "-m", "unweight", "bench", "--runs", "1000"]
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=_default_sigint
    ) as run:
        # Python itself would raise KeyboardInterrupt when the program returns to it.
        with pytest.raises(subprocess.TimeoutExpired):
            run.wait(2)
        run.send_signal(signal.SIGINT)
        assert run.wait(30) == -signal.SIGINT


def test_a_source_that_no_container_holds_is_a_bad_file(tmp_path: Path) -> None:
    path, name = tmp_path / "a.safetensors", "a" * 70_000
    header = json.dumps({name: {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(unweight.BadFile) as found:
        unweight.compress(path, tmp_path / "a.unw")
    error = found.value
    assert (error.rule, error.tensor, error.path) == ("limit-name", name, str(path))
