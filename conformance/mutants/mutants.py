#!/usr/bin/env python3
"""Decoders, encoders and transcoders with a planted bug: does the corpus find them?

    python3 mutants.py check                        runs every mutant on the cases that it names, and compares TABLE.md;
                                                    exit 1 if it passes one
    python3 mutants.py find ROLE NAME               the cases that find a mutant, of all cases
    python3 mutants.py survivors                    the equivalent mutants, on all cases; exit 1 if a case finds one
    python3 mutants.py table                        bugs by role and section, and what finds each: TABLE.md
    python3 mutants.py list                         roles and names, one pair a line
    python3 mutants.py decode NAME INPUT OUTPUT     runs a mutant, as a command for unweight-conformance
    python3 mutants.py encode NAME INPUT OUTPUT ENCODING CHUNK
    python3 mutants.py transcode NAME INPUT OUTPUT ENCODING
    python3 mutants.py serve ROLE NAME              the same for many files: reads lines of these arguments, divided by
                                                    tabs, and answers each with a line

NAME is a bug of bugs_*.py; `none`, a program without a bug; `written-out`, the decoder whose text reader is written out;
`core`, a decoder of profile core; `without-RULE`, a decoder that never rejects under the name of that rule.

`serve` answers: accepted; rejected RULE; refused; crashed WHY.
"""
import os
import sys
import time
from multiprocessing import Pool
from pathlib import Path

import bugs_bounds
import bugs_container
import bugs_decisions
import bugs_encoder
import bugs_json
import bugs_payload
import bugs_records
import bugs_source
import bugs_transcoder
import bugs_utf8
from planted import DECODE, READER, ROLE_OF, ROLES, Answer, answer, failure, load, manifest, section_of, watch

SUBJECTS = (bugs_container, bugs_source, bugs_utf8, bugs_json, bugs_payload, bugs_records, bugs_bounds, bugs_encoder,
            bugs_decisions, bugs_transcoder)
BUGS = [bug for module in SUBJECTS for bugs in module.ALL for bug in bugs.all]
TABLE = Path(__file__).with_name("TABLE.md")
BY_NAME = {(bug.role, bug.name): bug for bug in BUGS}


def changes_of(role, name):
    """What a program replaces: module, text, text of the mutant."""
    if name == "none":
        return ()
    if name == "written-out":
        return ((READER, "def is_utf8", "def is_utf8"),)
    if name == "core":
        return ((DECODE, "require(form <= CONSTANT, \"form-unknown\"",
                 "require(form in (PLAIN, HUFFMAN, CONSTANT), \"form-unknown\""),
                (DECODE, "        check_safetensors_header(at, source, tensors)\n", "        pass\n"))
    if name.startswith("without-"):
        rule = name[len("without-"):]
        return ((DECODE, "    if not holds:\n", f"    if not holds and rule != {rule!r}:\n"),
                (DECODE, "    if data.count(0) != len(data):\n", f"    if data.count(0) != len(data) and rule != {rule!r}:\n"))
    if (role, name) not in BY_NAME:
        raise SystemExit(f"{role} has no mutant {name}; see: mutants.py list")
    return BY_NAME[role, name].changes


def passed(bug, cases, ids):
    """The cases of these ids that a mutant passes, and how it fails on the others."""
    modules = load(bug.changes)
    found = {id: failure(bug.role, modules, cases[id]) for id in ids}
    return [id for id in ids if not found[id]], {id: how for id, how in found.items() if how}


CASES = {}


def start():
    """A process that runs mutants."""
    watch()
    CASES.update(manifest())


def run_named(index):
    """Run a mutant on its cases."""
    bug = BUGS[index]
    missing = [id for id in bug.cases if id not in CASES]
    if missing:
        return index, [f"there is no case {id}" for id in missing], {}
    try:
        unfound, found = passed(bug, CASES, bug.cases)
    except ValueError as error:
        return index, [str(error)], {}
    return index, [f"passes {id}" for id in unfound], found


def run_all(index):
    """Run a mutant on all cases of its role, but for those whose files are made: they take half of the time."""
    bug = BUGS[index]
    ids = [id for id, case in CASES.items() if ROLE_OF[case["kind"]] == bug.role and "recipe" not in case]
    return index, passed(bug, CASES, ids)[1]


def in_processes(function, indices):
    """The results of a function for these mutants."""
    with Pool(os.cpu_count(), start) as pool:
        yield from pool.imap_unordered(function, indices, chunksize=4)


def check():
    """Every mutant fails on every case that it names, and TABLE.md says so."""
    began = time.monotonic()
    problems, results = [], {}
    for bug in BUGS:
        if bool(bug.cases) == bool(bug.equivalent):
            problems.append(f"{bug.role} {bug.name}: expected either cases or a reason why it is equivalent")
    if len(BY_NAME) != len(BUGS):
        problems.append("two mutants of a role have one name")
    for index, complaints, found in in_processes(run_named, range(len(BUGS))):
        bug = BUGS[index]
        problems += [f"{bug.role} {bug.name}: {complaint}" for complaint in complaints]
        results[index] = found
    if TABLE.read_text(encoding="utf-8") != table(results):
        problems.append(f"{TABLE} is out of date: python3 {__file__} table > {TABLE}")
    kills = sum(map(len, results.values()))
    equivalent = sum(bool(bug.equivalent) for bug in BUGS)
    print(f"{len(BUGS)} mutants, {equivalent} of them equivalent; {kills} times a case found one; "
          f"{time.monotonic() - began:.0f} s")
    for problem in sorted(problems):
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def survivors():
    """No case finds a mutant that is listed as equivalent."""
    indices = [i for i, bug in enumerate(BUGS) if bug.equivalent]
    problems = [f"{BUGS[i].role} {BUGS[i].name}: {id}: {how}" for i, found in in_processes(run_all, indices)
                for id, how in found.items()]
    for problem in sorted(problems):
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def find(role, name):
    """Print the cases that find a mutant."""
    start()
    bug = BY_NAME[role, name]._replace(changes=changes_of(role, name))
    for id, how in passed(bug, CASES, [id for id, case in CASES.items() if ROLE_OF[case["kind"]] == role])[1].items():
        print(f"{how:21} {id}")


def section_order(section):
    """Sections as numbers."""
    return [int(part) for part in section.split(".")]


def table(results):
    """Markdown: counts by section and role, then every bug with the cases that it names. `results` has the cases that
    found each bug, and how."""
    sections = sorted({section_of(bug) for bug in BUGS}, key=section_order)
    lines = ["# Planted bugs, and the cases that find them", "",
             "Generated by `python3 conformance/mutants/mutants.py table`. A bug belongs to the section of the function "
             "that it changes.", "",
             "| section | " + " | ".join(f"{role}r" if role.endswith("e") else f"{role}er" for role in ROLES) + " | all |",
             "| --- | --- | --- | --- | --- |"]

    def row(label, of):
        counts = [sum(bug.role == role for bug in of) for role in ROLES]
        lines.append(f"| {label} | " + " | ".join(str(count or "") for count in counts) + f" | {len(of)} |")
    for section in sections:
        row(section, [bug for bug in BUGS if section_of(bug) == section])
    row("all", BUGS)
    row("found by a case", [bug for bug in BUGS if bug.cases])
    row("equivalent", [bug for bug in BUGS if bug.equivalent])
    lines += ["", "## What finds each", ""]
    for role in ROLES:
        lines += [f"### {role}r" if role.endswith("e") else f"### {role}er", "", "| section | bug | found by |", "| --- | --- | --- |"]
        ordered = [(section_order(section_of(bug)), i) for i, bug in enumerate(BUGS) if bug.role == role and bug.cases]
        for _, i in sorted(ordered):
            found = ", ".join(f"`{id}` {results[i].get(id, 'PASSED')}" for id in BUGS[i].cases)
            lines.append(f"| {section_of(BUGS[i])} | {BUGS[i].name} | {found} |")
        lines.append("")
    lines += ["## Equivalent mutants", "", "| role | section | bug | why no case can find it |", "| --- | --- | --- | --- |"]
    lines += [f"| {bug.role} | {section_of(bug)} | {bug.name} | {bug.equivalent} |" for bug in BUGS if bug.equivalent]
    return "\n".join(lines) + "\n"


def print_table():
    """TABLE.md."""
    print(table({index: found for index, _, found in in_processes(run_named, range(len(BUGS)))}), end="")


def parameters_of(role, values):
    """The parameters of a case from a command's arguments."""
    if role == "decode":
        return None
    return {"encoding": values[0], "chunk": int(values[1]) if role == "encode" else None}


def run(role, modules, input_path, output_path, values):
    """Run a mutant from one path to another."""
    with open(input_path, "rb") as file:
        data = file.read()
    found = answer(role, modules, data, parameters_of(role, values))
    if found.ending == "accepted":
        with open(output_path, "wb") as output:
            output.write(found.output)
    return found


def line_of(found: Answer):
    """An answer as a line."""
    return f"{found.ending} {found.why}".rstrip()


def serve(role, name):
    """Answer until the end of stdin."""
    watch()
    modules = load(changes_of(role, name))
    for line in sys.stdin:
        input_path, output_path, *values = line.rstrip("\n").split("\t")
        print(line_of(run(role, modules, input_path, output_path, values)), flush=True)


def main(arguments):
    """The command line."""
    command = arguments[0] if arguments else ""
    simple = {"check": check, "survivors": survivors, "table": print_table}
    if command in simple and len(arguments) == 1:
        return simple[command]() or 0
    if arguments == ["list"]:
        print("\n".join(f"{bug.role} {bug.name}" for bug in BUGS))
        return 0
    if len(arguments) == 3 and command in ("serve", "find"):
        {"serve": serve, "find": find}[command](*arguments[1:])
        return 0
    if len(arguments) == {"decode": 4, "encode": 6, "transcode": 5}.get(command):
        watch()
        role, name, input_path, output_path, *values = arguments
        found = run(role, load(changes_of(role, name)), input_path, output_path, values)
        if found.ending == "accepted":
            return 0
        print(line_of(found).removeprefix("rejected "), file=sys.stderr)
        # A mutant may leave anything uncaught; that is a crash, not a rejection.
        return 70 if found.ending == "crashed" else 1
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
