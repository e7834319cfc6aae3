"""Threads, processes, interpreters, and what they leave."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from conftest import weights

import unweight
import unweight.numpy
from unweight import safe_open

Tensors = dict[str, np.ndarray[Any, Any]]


def test_threads_share_a_file(unw: Path, tensors: Tensors) -> None:
    expected = tensors["layer.weight"]
    with safe_open(unw, "np") as file, ThreadPoolExecutor(8) as pool:

        def read(number: int) -> bool:
            if number % 2:
                return bool(np.array_equal(file.get_tensor("layer.weight"), expected))
            part = file.get_slice("layer.weight")[:, number : number + 50]
            return bool(np.array_equal(part, expected[:, number : number + 50]))

        assert all(pool.map(read, range(100)))


def test_a_file_may_be_closed_while_it_is_read(unw: Path) -> None:
    for _ in range(50):
        file = safe_open(unw, "np")
        start = threading.Barrier(2)

        def read() -> None:
            start.wait()
            try:
                file.get_tensors()
            except unweight.WrongArgument:
                pass

        thread = threading.Thread(target=read)
        thread.start()
        start.wait()
        file.close()
        thread.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_reads_files_of_before_and_new_ones(unw: Path, tmp_path: Path) -> None:
    program = f"""
import os, warnings
import unweight, unweight.numpy
warnings.simplefilter("ignore")
path = {str(unw)!r}
file = unweight.safe_open(path, "np")
before = file.get_tensors()
for _ in range(5):
    child = os.fork()
    if child == 0:
        old = file.get_tensors()
        new = unweight.numpy.load_file(path)
        for name in before:
            assert old[name].tobytes() == new[name].tobytes() == before[name].tobytes()
        unweight.verify(path)
        file.close()
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
file.get_tensors()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_thousands_of_opened_files_leave_nothing(unw: Path, plain: Path, corpus: Path) -> None:
    bad = corpus / "invalid" / "magic-without-the-high-bit.unw"
    process = psutil.Process()

    def open_some(count: int) -> None:
        for number in range(count):
            with safe_open(unw if number % 2 else plain, "np") as file:
                file.get_tensor("layer.weight")
                file.get_slice("layer.weight")[1, 3:50]
            # Without a context manager the file is closed with its last reference.
            safe_open(unw, "np").metadata()
            safe_open(unw.read_bytes(), "np").get_tensor("step")
            with pytest.raises(unweight.BadFile):
                safe_open(bad, "np")
            with pytest.raises(unweight.NoTensor):
                safe_open(unw, "np").get_tensor("none")

    open_some(300)
    before = (process.num_fds(), process.num_threads(), process.memory_info().rss)
    open_some(1000)
    after = (process.num_fds(), process.num_threads(), process.memory_info().rss)
    assert after[:2] == before[:2]
    assert after[2] - before[2] < 4 << 20


def test_saving_and_converting_leaves_nothing(unw: Path, tmp_path: Path, tensors: Tensors) -> None:
    process = psutil.Process()

    def work(count: int) -> None:
        for _ in range(count):
            unweight.numpy.save(tensors)
            unweight.numpy.save_file(tensors, tmp_path / "again.unw")
            unweight.decompress(unw, tmp_path / "back", force=True)
            unweight.inspect(unw)

    work(30)
    before = (process.num_fds(), process.num_threads(), process.memory_info().rss)
    work(100)
    after = (process.num_fds(), process.num_threads(), process.memory_info().rss)
    assert after[:2] == before[:2]
    assert after[2] - before[2] < 8 << 20


def test_a_subinterpreter_is_refused() -> None:
    program = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
{before}
code = '''
try:
    import unweight
except ImportError as error:
    assert "subinterpreter" in str(error), error
else:
    raise AssertionError("imported")
'''
interpreter = interpreters.create()
failure = interpreters.run_string(interpreter, code)
assert failure is None, failure
import unweight
"""
    for before in ("import unweight", ""):
        done = subprocess.run(
            [sys.executable, "-c", program.format(before=before)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_importing_the_package_imports_next_to_nothing() -> None:
    """A time would depend on the machine. What took it, on every machine: typing, dataclasses, and
    libraries of arrays."""
    program = """
import sys
before = set(sys.modules)
import unweight
print(*sorted(set(sys.modules) - before))
unweight.safe_open, unweight.TensorSlice
print(*sorted({"asyncio", "dataclasses", "inspect", "numpy", "torch", "ml_dtypes"} & set(sys.modules)))
unweight.compress
print(*sorted({"asyncio", "numpy", "torch", "ml_dtypes"} & set(sys.modules)))
"""
    # Without the site module: what an environment has installed may import anything at start.
    command = [sys.executable, "-S", "-c", program]
    path = str(Path(unweight.__file__).parents[1])
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr
    at_import, to_open, to_convert = done.stdout.split("\n")[:3]
    assert at_import == "__future__ unweight unweight._errors unweight._unweight"
    assert (to_open, to_convert) == ("", "")


def test_the_package_has_the_names_that_it_lists() -> None:
    program = """
import unweight
assert set(unweight.__all__) <= set(dir(unweight))
from unweight import *
assert safe_open is unweight.safe_open and Report.__module__ == "unweight._files"
try:
    unweight.nothing
except AttributeError as error:
    assert "no attribute 'nothing'" in str(error)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_cannot_move_the_position_of_a_file_object(unw: Path) -> None:
    program = f"""
import os, threading, warnings
import unweight
warnings.simplefilter("ignore")
source = open({str(unw)!r}, "rb")
file = unweight.safe_open(source, "np")
expected = file.get_tensor("layer.weight").tobytes()
for _ in range(5):
    child = os.fork()
    if child == 0:
        try:
            file.get_tensor("layer.weight")
        except unweight.UnweightError as error:
            found = "another process" in str(error) and isinstance(error, unweight.WrongArgument)
            os._exit(7 if found else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert file.get_tensor("layer.weight").tobytes() == expected
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_saves_while_threads_of_its_parent_do(tmp_path: Path) -> None:
    program = f"""
import os, threading, time, warnings
import numpy as np
import unweight, unweight.numpy
warnings.simplefilter("ignore")
folder = {str(tmp_path)!r}
tensors = {{"w": np.zeros(10, np.float32)}}
# What numpy imports at first use takes locks of the interpreter, which a fork may copy too.
unweight.numpy.save_file(tensors, f"{{folder}}/child", threads=1)
end = time.monotonic() + 6

def save(name):
    while time.monotonic() < end:
        unweight.numpy.save_file(tensors, f"{{folder}}/{{name}}", threads=1)

threads = [threading.Thread(target=save, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
forks = 0
while time.monotonic() < end:
    child = os.fork()
    if child == 0:
        unweight.numpy.save_file(tensors, f"{{folder}}/child", threads=1)
        os._exit(7)
    limit = time.monotonic() + 20
    done = (0, 0)
    while done[0] == 0:
        done = os.waitpid(child, os.WNOHANG)
        if done[0] == 0 and time.monotonic() > limit:
            os.kill(child, 9)
            os.waitpid(child, 0)
            print("the child hangs", flush=True)
            os._exit(1)
        time.sleep(0.001)
    assert os.waitstatus_to_exitcode(done[1]) == 7
    forks += 1
for thread in threads:
    thread.join()
assert forks > 5, forks
assert sorted(os.listdir(folder)) == ["0", "1", "2", "3", "child"], os.listdir(folder)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_threads_of_a_number_end_with_the_last_file() -> None:
    content = unweight.numpy.save({"w": weights(2 << 20)})
    process = psutil.Process()
    before = process.num_threads()
    for count in range(3, 6):
        with safe_open(content, "np", threads=count) as file:
            file.get_tensors()
            assert process.num_threads() > before
        assert process.num_threads() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_closes_files_with_their_own_threads(unw: Path) -> None:
    program = f"""
import os, warnings
import unweight
warnings.simplefilter("ignore")
file = unweight.safe_open({str(unw)!r}, "np", threads=3)
file.get_tensors()
child = os.fork()
if child == 0:
    file.get_tensors()
    file.close()
    unweight.safe_open({str(unw)!r}, "np", threads=3).get_tensors()
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
