"""Writes the cases of the conformance corpus as lines for corpus.c.

    cases.py MANIFEST.json [FILTER...]

A filter selects the cases whose id contains it. Fields are separated by tabs.
"""

import json
import sys


def lines(case):
    id, kind = case["id"], case["kind"]
    if kind == "accept":
        restored = case["restored"]
        yield "accept", id, case["file"], restored["length"], restored["sha256"]
        for tensor in case["tensors"]:
            name = tensor["name"].encode().hex()
            shape = ",".join(map(str, tensor["shape"]))
            yield "tensor", id, name, tensor["dtype"], shape, tensor["length"], tensor["sha256"]
    elif kind in ("reject", "prefixes"):
        yield kind, id, case["file"], case["rule"]
    elif kind == "encode":
        parameters = case["parameters"]
        encoding, chunk = parameters["encoding"], parameters["chunk"]
        yield kind, id, case["file"], case["source"], encoding, chunk
    elif kind == "encode-refuse":
        yield kind, id, case["file"]
    # The C library has no transcoder.


def main():
    manifest, filters = sys.argv[1], sys.argv[2:]
    with open(manifest, encoding="utf-8") as file:
        cases = json.load(file)["cases"]
    for case in cases:
        if not filters or any(filter in case["id"] for filter in filters):
            for line in lines(case):
                print(*line, sep="\t")


if __name__ == "__main__":
    main()
