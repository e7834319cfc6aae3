"""The Python decoder as it is after step N of conformance/README.md, for tests/steps.rs.

    python3 forgetful.py DECODER_FOLDER N reject|accept

A line of standard input has the paths of an input and an output, separated by a tab. The answer is one line:
`accepted`, or `rejected` and the rule. What comes with a later step is not checked; a file that needs it is
rejected (`reject`), or accepted with an output that is wrong (`accept`).
"""
import sys

folder, step, beyond = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sys.path.insert(0, folder)
import unweight_decode as d  # noqa: E402

HEADER, DIRECTORY, RAW, EXTENSIONS, CONSTANTS, VERBATIM, HUFFMAN, SEVERAL, PALETTE, SOURCE_HEADER = range(1, 11)


class Beyond(Exception):
    """The file needs a later step."""


def tensor_needs(tensor):
    """The step of a tensor, as far as the directory tells it."""
    coded = [form for form in tensor.forms if form in (d.HUFFMAN, d.PALETTE)]
    if d.PALETTE in coded:
        return PALETTE
    if len(coded) > 1:
        return SEVERAL
    if coded:
        return VERBATIM
    return CONSTANTS if d.CONSTANT in tensor.forms else RAW


def decode_record(record, at, plain, n, width, form, palette, whole=d.decode_record):
    """A record; its kind is not checked before the huffman step."""
    if step < HUFFMAN and len(record) > 4 and record[4] != d.VERBATIM:
        raise Beyond
    return whole(record, at, plain, n, width, form, palette)


def decode_file(file, output):
    """Section 7, "File", as far as the step goes."""
    header = d.read_header(file)
    if step < DIRECTORY:
        raise Beyond
    tensors = d.read_directory(file, header)
    source = d.read_source_section(file, header, tensors)
    output.write(source)
    if step < EXTENSIONS and header.extension_length:
        raise Beyond
    d.read_extensions(file, header)
    if tensors and max(tensor_needs(tensor) for tensor in tensors) > step:
        raise Beyond
    for tensor in tensors:
        d.decode_tensor(file, tensor, output)
    if step >= RAW:
        d.check_all_padding(file, header, tensors)


d.decode_record = decode_record
if step < SOURCE_HEADER:
    d.check_safetensors_header = lambda at, source, tensors: None
if step < RAW:      # the forms belong to the payload
    d.check_forms = lambda at, fields, length, number, *_: tuple(number >> 4 * f & 15 for f in range(len(fields)))
    d.check_payload_end = lambda at, tensor: None

for line in sys.stdin:
    source, target = line.rstrip("\n").split("\t")
    try:
        with open(source, "rb") as file, open(target, "wb") as output:
            decode_file(file, output)
        print("accepted", flush=True)
    except d.Rejected as rejection:
        print("rejected", str(rejection).split(":")[0], flush=True)
    except Beyond:
        print("accepted" if beyond == "accept" else "rejected form-unknown", flush=True)
