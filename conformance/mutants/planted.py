"""Planted bugs: what they are, how a program with one is made, and what a case says of it.

A bug replaces text of the programs in conformance/decoders/python. The section that a bug belongs to is that of the
function which has the text: its docstring opens with it. Each bug names the cases of the corpus that find it. A bug that no
case can find has no cases, and a reason.
"""
import contextlib
import functools
import hashlib
import io
import json
import os
import re
import signal
import sys
import types
from typing import NamedTuple

import made

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAMS = os.path.join(HERE, os.pardir, "decoders", "python")
CORPUS = os.path.join(HERE, os.pardir, "corpus")

DECODE, ENCODE, TRANSCODE = "unweight_decode", "unweight_encode", "unweight_transcode"
READER = "text_reader"
MODULES = (DECODE, READER, ENCODE, TRANSCODE)
ROLES = ("decode", "encode", "transcode")

# A mutant that takes more processor time than this for one file never ends. Time that passes would depend on what else
# the machine does.
SECONDS = 20


class Bug(NamedTuple):
    """A bug of a decoder, an encoder or a transcoder."""
    role: str
    name: str
    changes: tuple      # (module, text, text of the mutant)
    cases: tuple        # ids of cases that find it
    equivalent: str     # why no case can find it


class Bugs:
    """The bugs of one role, planted in one module."""

    def __init__(self, role, module):
        self.role = role
        self.module = module
        self.all = []

    def __call__(self, name, old, new, *cases, equivalent="", also=()):
        """A bug: the text `old` becomes `new`, and `also` has further pairs of texts."""
        changes = tuple((self.module, *pair) for pair in ((old, new), *also))
        self.all.append(Bug(self.role, name, changes, cases, equivalent))

    def several(self, pattern, text, options):
        """Bugs that differ in a word. For each (word, new, cases) the text becomes `new`."""
        for word, new, *cases in options:
            self(pattern.format(word), text, new, *cases)


# ---- Programs with a bug --------------------------------------------------------------------------------------------


def path_of(module):
    """Where the text of a module is."""
    return os.path.join(HERE if module == READER else PROGRAMS, module + ".py")


_texts, _codes = {}, {}


def text_of(module):
    """The text of a module without a bug."""
    if module not in _texts:
        with open(path_of(module), encoding="utf-8") as file:
            _texts[module] = file.read()
    return _texts[module]


def changed_text(module, changes):
    """The text of a module with these changes. Each text that is replaced occurs exactly once, so that no mutant silently
    becomes the original."""
    text = text_of(module)
    for of_module, old, new in changes:
        if of_module == module:
            if text.count(old) != 1:
                raise ValueError(f"{module} has this text {text.count(old)} times, expected once:\n{old}")
            text = text.replace(old, new)
    return text


def load(changes):
    """The modules with these changes, by name. They import each other."""
    touched = {module for module, _, _ in changes}
    loaded = {}
    for name in MODULES:
        if name == READER and READER not in touched:
            continue
        if name in touched:
            code = compile(changed_text(name, changes), path_of(name), "exec")
        else:
            code = _codes[name] = _codes.get(name) or compile(text_of(name), path_of(name), "exec")
        module = loaded[name] = sys.modules[name] = types.ModuleType(name)
        exec(code, module.__dict__)
    if READER in loaded:
        # The decoder reads text as the module json does; this one is written out, so that bugs fit into it.
        loaded[DECODE].read_json = loaded[READER].read_json
        loaded[DECODE].is_utf8 = loaded[READER].is_utf8
    return loaded


SECTION = re.compile(r'"""Sections? (\d+(?:\.\d+)?)')
HEADING = re.compile(r"^# ---- Section (\d+)", re.MULTILINE)


def section_of(bug):
    """The section that the function with the replaced text implements."""
    module, old, _ = bug.changes[0]
    text = text_of(module)
    before = text[:text.index(old) + len(old) // 2]
    start = max(before.rfind("\ndef "), before.rfind("\nclass "))
    heading = [found for found in HEADING.finditer(before)]
    if heading and heading[-1].start() > start:
        return heading[-1][1]
    found = SECTION.search(text, start)
    return found[1] if found else "1"


# ---- What a mutant makes of a case ----------------------------------------------------------------------------------


class Answer(NamedTuple):
    """How a mutant ended: accepted, rejected, refused or crashed; what it wrote; the rule, or the exception."""
    ending: str
    output: bytes = b""
    why: str = ""


def time_is_up(signal_number, frame):
    """A bug may make a program endless."""
    raise TimeoutError


def bound_memory():
    """A bug may make a program ask for exabytes."""
    with contextlib.suppress(ImportError, ValueError):
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))


def watch():
    """Bound memory and time of the answers of this process."""
    bound_memory()
    if hasattr(signal, "SIGPROF"):
        signal.signal(signal.SIGPROF, time_is_up)


def limit_time(seconds):
    """Raise `TimeoutError` after so many seconds of processor time; 0 is no limit."""
    if hasattr(signal, "SIGPROF"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def answer(role, modules, data, parameters):
    """What a program makes of one file."""
    decoder, encoder, transcoder = (modules[name] for name in (DECODE, ENCODE, TRANSCODE))
    limit_time(SECONDS)
    try:
        if role == "decode":
            output = io.BytesIO()
            decoder.decode_file(io.BytesIO(data), output)
            return Answer("accepted", output.getvalue())
        encoding = {"huffman": decoder.HUFFMAN, "palette": decoder.PALETTE}[parameters["encoding"]]
        made = (encoder.encode_file(data, encoding, parameters["chunk"]) if role == "encode"
                else transcoder.transcode_file(io.BytesIO(data), encoding))
        return Answer("accepted", made)
    except decoder.Rejected as rejection:
        return Answer("rejected", why=str(rejection).split(":")[0])
    except encoder.Refused:
        return Answer("refused")
    except Exception as error:      # a bug may end in any way
        return Answer("crashed", why=type(error).__name__)
    finally:
        limit_time(0)


ROLE_OF = {"accept": "decode", "reject": "decode", "prefixes": "decode", "encode": "encode", "encode-refuse": "encode",
           "transcode": "transcode", "transcode-refuse": "transcode"}


def manifest():
    """The cases that have a file, by id. The large ones, which the runner makes, are left out."""
    with open(os.path.join(CORPUS, "manifest.json"), encoding="utf-8") as file:
        text = json.load(file)
    cases = {case["id"]: case for case in text["cases"] if case["kind"] in ROLE_OF and "file" in case}
    for case in text.get("made", ()):
        if not case.get("large"):
            _recipes[case["id"]] = case["recipe"]
            path = f"made/{case['id']}.unw"
            source = path.replace(".unw", ".safetensors") if case["kind"] == "encode" else path
            cases[case["id"]] = {**case, "file": path, "source": source}
    return cases


_recipes = {}


@functools.lru_cache(maxsize=4)
def make(path):
    """A file that the runner makes."""
    stem, ending = os.path.splitext(os.path.basename(path))
    return made.restored(_recipes[stem]) if ending == ".safetensors" else made.file_of(_recipes[stem])


def read(path):
    """A file of the corpus, or one that is made."""
    if path.startswith("made/"):
        return make(path)
    with open(os.path.join(CORPUS, path), "rb") as file:
        return file.read()


def failure(role, modules, case):
    """How a program fails on a case, or nothing. A program that crashes does not reject."""
    data = read(case.get("source", case["file"]) if case["kind"] in ("encode", "transcode") else case["file"])
    if case["kind"] == "prefixes":
        lengths = {*range(0, len(data), case.get("step", 1)), len(data) - 1}
        found = (failure_of(case, answer(role, modules, data[:length], None)) for length in sorted(lengths))
        return next(filter(None, found), "")
    return failure_of(case, answer(role, modules, data, case.get("parameters")))


def failure_of(case, found):
    """How an answer differs from what a case expects, or nothing."""
    if found.ending == "crashed":
        return "crashes" if found.why != "TimeoutError" else "does not end"
    if case["kind"] == "accept":
        if found.ending != "accepted":
            return "rejects"
        return "" if hashlib.sha256(found.output).hexdigest() == case["restored"]["sha256"] else "restores other bytes"
    if case["kind"] in ("encode", "transcode"):
        if found.ending != "accepted":
            return "rejects"
        return "" if found.output == read(case["file"]) else "writes other bytes"
    return "accepts" if found.ending == "accepted" else ""
