//! Test of the corpus: decoders, encoders and transcoders with a planted bug fail on the cases that
//! are meant to find it.
//!
//! They are those of `conformance/mutants/mutants.py`, derived from the programs in Python. Each is a
//! single process for all of its cases. `PYTHON` names the interpreter; the default is
//! `python3`.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::{env, fs};

use tempfile::TempDir;
use unweight_conformance_runner::{
    Answer, Corpus, Outcome, Parameters, Profile, Rejection, Reply, Report, RunError, RunOptions,
    Subject, Subjects, run_with,
};

/// A decoder and the cases that must find its bug.
const DECODERS: &[(&str, &[&str])] = &[
    (
        "ignores-patches",
        &[
            "huffman-patch-at-the-first-weight",
            "palette-patch-at-the-last-weight",
        ],
    ),
    (
        "drops-the-highest-plain-bit",
        &[
            "every-bit-pattern-in-huffman",
            "every-bit-pattern-in-palette",
            "every-bit-pattern-verbatim",
        ],
    ),
    (
        "drops-the-lowest-plain-bit",
        &[
            "every-bit-pattern-in-huffman",
            "three-coded-fields-of-4097-weights",
        ],
    ),
    (
        "ignores-constants",
        &["every-field-of-f32-constant", "constants-of-1-weight"],
    ),
    (
        "joins-fields-in-the-opposite-order",
        &[
            "every-field-of-f16-in-huffman",
            "two-coded-fields-of-4097-weights",
        ],
    ),
    (
        "takes-the-first-16-plain-bits",
        &["mixed-forms-of-f64-from-0", "mixed-forms-of-c64-from-2"],
    ),
    (
        "treats-verbatim-as-absent",
        &[
            "verbatim-records-among-huffman-records",
            "verbatim-record-in-a-palette-tensor",
            "every-field-of-i64-verbatim",
        ],
    ),
    (
        "takes-palettes-for-consecutive",
        &["huffman-palette-with-gaps"],
    ),
    (
        "makes-nans-quiet",
        &[
            "zeros-infinities-and-nans-in-huffman",
            "every-bit-pattern-verbatim",
        ],
    ),
    (
        "wrong-bit-order",
        &["skewed-code-of-9-entries", "huffman-tensor-of-4096-weights"],
    ),
    (
        "codes-not-reversed",
        &["skewed-code-of-9-entries", "even-code-of-16-entries"],
    ),
    (
        "codes-by-entry-before-length",
        &[
            "even-code-of-16-entries",
            "most-skewed-code-in-both-directions",
        ],
    ),
    (
        "mixes-nibbles",
        &[
            "palette-tensor-of-255-weights",
            "every-bit-pattern-in-palette",
        ],
    ),
    (
        "mixes-nibbles-of-code-lengths",
        &["skewed-code-of-9-entries"],
    ),
    (
        "takes-lanes-for-interleaved",
        &["huffman-tensor-of-4096-weights"],
    ),
    (
        "mixes-forms-of-two-fields",
        &["second-field-coded-alone", "mixed-forms-of-i32-from-2"],
    ),
    (
        "packs-numbers-from-the-highest-bit",
        &[
            "verbatim-records-of-5-bits",
            "two-coded-fields-of-9-weights",
            "constants-of-7-weights",
        ],
    ),
    (
        "pads-each-number-to-a-byte",
        &["verbatim-records-of-2-bits", "verbatim-records-of-7-bits"],
    ),
    ("signed-patch-positions", &["patch-at-position-65535"]),
    (
        "last-step-dropped",
        &[
            "huffman-tensor-of-257-weights",
            "palette-tensor-of-513-weights",
        ],
    ),
    (
        "one-step-too-many",
        &[
            "huffman-tensor-of-256-weights",
            "palette-tensor-of-4096-weights",
        ],
    ),
    (
        "last-weight-takes-no-patch",
        &[
            "huffman-patch-at-the-last-weight",
            "palette-patch-at-the-last-weight-of-a-full-chunk",
        ],
    ),
    (
        "surplus-takes-patches",
        &[
            "huffman-patch-at-the-first-surplus-weight",
            "palette-patch-at-the-last-surplus-weight",
        ],
    ),
    (
        "last-chunk-takes-the-length-of-the-first",
        &[
            "huffman-tensor-of-4097-weights",
            "palette-tensor-of-4097-weights",
        ],
    ),
    (
        "last-block-unchecked",
        &["last-block-checksum-wrong-by-a-bit"],
    ),
    (
        "small-planes-have-block-checksums",
        &[
            "raw-payloads-around-multiples-of-16",
            "raw-tensor-of-65536-bytes",
        ],
    ),
    (
        "a-full-block-has-a-checksum",
        &["raw-tensor-of-65536-bytes", "constants-of-58254-weights"],
    ),
    (
        "small-tensors-are-aligned-to-256",
        &[
            "raw-payloads-around-multiples-of-16",
            "tensor-of-65535-bytes-between-small-ones",
        ],
    ),
    (
        "no-tensor-is-large",
        &["tensor-of-65536-bytes-between-small-ones"],
    ),
    (
        "alignment-of-the-plane-not-the-tensor",
        &["huffman-chunks-of-2-to-the-15"],
    ),
    (
        "plain-bytes-of-a-chunk-without-its-last",
        &["two-coded-fields-of-4097-weights"],
    ),
    (
        "records-field-by-field",
        &[
            "two-coded-fields-of-8449-weights",
            "three-coded-fields-of-8201-weights",
        ],
    ),
    (
        "chunk-size-always-12",
        &[
            "huffman-chunks-of-2-to-the-13",
            "palette-chunks-of-2-to-the-16",
        ],
    ),
    (
        "lane-ends-checked-to-the-byte-alone",
        &[
            "lane-0-overrun-by-one-bit",
            "lane-17-overrun-by-one-bit",
            "lane-31-overrun-by-one-bit",
        ],
    ),
    (
        "overreads-of-a-lane-are-fine",
        &[
            "lane-without-bytes-overrun",
            "lanes-all-without-bytes-overrun",
        ],
    ),
    (
        "allows-bytes-behind-the-last-record",
        &["bytes-hidden-behind-the-last-record"],
    ),
    (
        "allows-equal-names",
        &["two-tensors-of-one-name", "two-tensors-without-a-name"],
    ),
    (
        "stops-at-first-tensor",
        &[
            "source-kind-none",
            "three-hundred-tensors",
            "tensor-checksum-of-the-last-tensor-wrong",
        ],
    ),
    ("forgets-the-source-section", &["safetensors-source"]),
    (
        "no-crc-check",
        &[
            "header-checksum-wrong-by-a-bit",
            "directory-checksum-wrong-by-a-bit",
            "source-checksum-wrong-by-a-bit",
            "extension-checksum-wrong-by-a-bit",
            "block-checksum-wrong-by-a-bit",
            "palette-checksum-wrong-by-a-bit",
            "record-checksum-wrong-by-a-bit",
            "tensor-checksum-of-a-huffman-tensor-wrong",
        ],
    ),
    (
        "accepts-trailing-bytes",
        &["one-zero-byte-behind-the-file", "file-behind-the-file"],
    ),
    (
        "ignores-padding",
        &[
            "padding-before-the-payload-first-byte",
            "padding-before-block-checksums-first-byte",
            "padding-between-two-payloads-last-byte",
            "padding-behind-the-plain-plane-first-byte",
            "padding-before-constants-last-byte",
            "padding-last-bit-of-a-plane-beside-constants",
            "padding-behind-record-ends-last-byte",
            "padding-of-the-guard-of-a-file-without-tensors",
        ],
    ),
    (
        "ignores-the-guard",
        &["padding-guard-first-byte", "padding-guard-last-byte"],
    ),
    (
        "ignores-all-reserved-bytes",
        &[
            "header-reserved-byte-57",
            "verbatim-record-padding-last-byte",
            "directory-padding-last-byte",
        ],
    ),
    (
        "ignores-padding-bits",
        &[
            "padding-first-bit-of-a-plane-beside-huffman",
            "verbatim-record-of-7-bits-last-padding-bit",
        ],
    ),
    (
        "record-checksum-without-the-plain-bytes",
        &[
            "record-checksum-of-the-record-alone",
            "huffman-tensor-of-4096-weights",
        ],
    ),
    (
        "every-record-checksum-covers-the-plain-bytes",
        &["two-coded-fields-of-4097-weights"],
    ),
    (
        "only-the-first-field-covers-the-plain-bytes",
        &[
            "second-field-coded-alone",
            "constant-exponent-beside-a-coded-mantissa",
        ],
    ),
    (
        "patches-take-any-value",
        &[
            "patch-with-16-in-4-bits",
            "palette-patch-with-128-in-7-bits",
        ],
    ),
    (
        "codes-for-missing-entries",
        &["code-of-entry-4-of-2-bits", "code-of-entry-15-of-3-bits"],
    ),
    (
        "palettes-take-any-value",
        &[
            "palette-with-32-in-5-bits",
            "palette-of-3-bits-with-a-value-too-great",
        ],
    ),
    (
        "palettes-go-on",
        &[
            "constant-with-a-last-byte-behind-its-value",
            "palette-of-2-bits-that-goes-on",
        ],
    ),
    (
        "narrow-fields-take-the-form-palette",
        &[
            "form-palette-of-3-bits",
            "form-palette-of-4-bits-of-f8-e4m3",
        ],
    ),
    (
        "missing-fields-take-forms",
        &[
            "fourth-field-of-bf16-constant",
            "first-field-of-f6-constant",
        ],
    ),
    (
        "critical-extensions-are-ignored",
        &[
            "critical-extension-of-kind-5",
            "critical-extension-behind-others",
        ],
    ),
    (
        "every-extension-is-critical",
        &["extension-for-private-use", "extensions-without-tensors"],
    ),
    (
        "only-the-first-extension-counts",
        &["critical-extension-behind-others"],
    ),
    (
        "empty-tensors-are-aligned",
        &["empty-tensors", "empty-tensor-aligned-to-16"],
    ),
    (
        "dimensions-wrap-at-2-to-the-64",
        &["dimensions-whose-product-wraps-to-1"],
    ),
    ("minor-version-must-be-0", &["minor-version-1"]),
    (
        "json-keeps-the-last-of-two",
        &[
            "json-with-a-tensor-twice",
            "json-with-a-name-twice-in-metadata",
            "json-with-metadata-as-null-twice",
            "json-with-metadata-as-null-and-as-an-object",
        ],
    ),
    (
        "json-takes-half-a-surrogate-pair",
        &["json-with-a-high-surrogate-alone-in-metadata"],
    ),
    (
        "json-takes-floats",
        &[
            "json-with-a-dimension-of-a-fraction-of-0",
            "json-with-an-offset-of-0-with-an-exponent",
        ],
    ),
    (
        "json-takes-unknown-members",
        &["json-with-an-unknown-member"],
    ),
    (
        "json-takes-no-null-for-metadata",
        &[
            "json-with-metadata-as-null",
            "json-with-metadata-as-null-at-the-end",
            "json-with-metadata-as-null-amid-white-space",
            "json-with-metadata-as-null-and-no-tensors",
            "json-with-metadata-as-null-by-an-escaped-name",
            "metadata-as-null-huffman-12-decodes",
        ],
    ),
    (
        "json-takes-null-for-a-tensor",
        &["json-with-an-extra-tensor-as-null"],
    ),
    (
        "json-takes-null-in-metadata",
        &["json-with-null-in-metadata"],
    ),
    (
        "json-takes-other-numbers-for-null",
        &["json-with-metadata-as-a-fraction"],
    ),
    (
        "json-takes-false-for-null",
        &[
            "json-with-metadata-as-false",
            "json-with-metadata-as-0",
            "json-with-metadata-as-a-string",
            "json-with-metadata-as-an-array",
        ],
    ),
    (
        "json-takes-null-in-any-case",
        &["json-with-metadata-as-null-in-upper-case"],
    ),
    (
        "json-in-the-order-of-the-text",
        &[
            "json-with-tensors-out-of-offset-order",
            "empty-tensors-at-equal-offsets",
        ],
    ),
];

/// An encoder and the cases that must find its bug.
const ENCODERS: &[(&str, &[&str])] = &[
    (
        "header-length-wraps",
        &["source-with-a-header-that-wraps-to-0-refused"],
    ),
    (
        "takes-bytes-behind-the-data",
        &[
            "source-with-a-zero-byte-behind-refused",
            "source-without-tensors-and-a-byte-refused",
        ],
    ),
    (
        "takes-data-cut-short",
        &[
            "source-without-its-last-byte-refused",
            "source-without-data-refused",
        ],
    ),
    (
        "takes-gaps",
        &[
            "source-with-a-gap-refused",
            "source-with-a-byte-before-the-first-tensor-refused",
            "source-with-an-empty-tensor-behind-refused",
        ],
    ),
    (
        "takes-overlaps",
        &[
            "source-with-an-overlap-refused",
            "source-with-a-tensor-in-another-refused",
        ],
    ),
    (
        "takes-data-of-any-length",
        &[
            "source-with-one-more-byte-than-its-shape-refused",
            "source-with-one-byte-less-than-its-shape-refused",
            "source-with-two-bytes-less-than-its-shape-refused",
            "source-with-as-many-bytes-as-elements-of-2-refused",
            "source-with-no-bytes-and-one-element-refused",
            "source-with-bytes-and-no-elements-refused",
            "source-with-a-byte-for-each-element-of-4-bits-refused",
            "source-with-a-byte-for-each-element-of-6-bits-refused",
        ],
    ),
    (
        "takes-elements-of-half-a-byte",
        &[
            "source-with-one-element-of-4-bits-in-no-byte-refused",
            "source-with-three-elements-of-4-bits-in-one-byte-refused",
            "source-with-three-elements-of-6-bits-refused",
        ],
    ),
    (
        "dimensions-wrap-at-2-to-the-64",
        &[
            "source-with-dimensions-that-wrap-to-0-refused",
            "source-with-dimensions-that-wrap-to-1-refused",
        ],
    ),
    (
        "bits-wrap-at-2-to-the-64",
        &[
            "source-with-bits-that-wrap-to-8-refused",
            "source-with-bytes-that-wrap-to-8-refused",
        ],
    ),
    (
        "takes-any-rank",
        &[
            "source-of-rank-65-refused",
            "source-of-rank-65-and-no-elements-refused",
        ],
    ),
    (
        "takes-names-of-any-length",
        &["source-with-a-name-of-65536-bytes-refused"],
    ),
    (
        "names-counted-in-characters",
        &["source-with-a-name-of-32768-characters-of-2-bytes-refused"],
    ),
    (
        "names-in-any-bytes",
        &[
            "source-with-a-name-with-a-byte-of-latin-1-refused",
            "source-with-a-name-with-an-overlong-slash-refused",
            "source-with-a-name-with-a-surrogate-refused",
        ],
    ),
    (
        "keeps-the-last-of-two-names",
        &[
            "json-with-a-tensor-twice-refused",
            "json-with-a-tensor-twice-once-escaped-refused",
        ],
    ),
    (
        "takes-text-behind-the-object",
        &[
            "json-before-a-second-object-refused",
            "json-before-a-zero-byte-refused",
        ],
    ),
    (
        "takes-half-a-surrogate-pair",
        &["json-with-a-high-surrogate-alone-in-metadata-refused"],
    ),
    (
        "takes-unknown-members",
        &["json-with-an-unknown-member-refused"],
    ),
    (
        "takes-fractions",
        &["json-with-an-offset-of-0-with-a-fraction-refused"],
    ),
    (
        "constants-from-128-bits-on",
        &["constants-at-128-bits-huffman-12"],
    ),
    (
        "constants-of-more-than-16-weights",
        &["constants-at-128-bits-palette-12"],
    ),
    (
        "samples-32768-weights",
        &["sample-of-more-than-32768-weights-huffman-12"],
    ),
    (
        "samples-every-16th-step",
        &["sample-of-more-than-32768-weights-huffman-12"],
    ),
    (
        "palette-of-all-weights-for-the-sample",
        &[
            "sample-with-a-palette-of-its-own-huffman-12",
            "sample-with-a-palette-of-its-own-palette-12",
        ],
    ),
    ("every-chunk-is-full", &["constants-at-128-bits-huffman-12"]),
    (
        "a-huffman-record-costs-799-bits",
        &["form-huffman-at-the-threshold-huffman-12"],
    ),
    (
        "a-palette-record-costs-159-bits",
        &["form-palette-at-the-threshold-palette-12"],
    ),
    (
        "coded-at-the-threshold",
        &["form-huffman-at-the-threshold-huffman-12"],
    ),
    (
        "a-patch-costs-20-bits-more-than-an-index",
        &["form-palette-at-the-threshold-palette-12"],
    ),
    (
        "greater-values-first",
        &["palette-of-equal-counts-huffman-12"],
    ),
    (
        "completes-palettes-upwards",
        &["palette-completion-huffman-12"],
    ),
    ("codes-of-7-bits", &["code-lengths-at-the-limit-huffman-12"]),
    (
        "packages-before-items",
        &["code-lengths-where-packages-tie-huffman-12"],
    ),
    (
        "later-items-first",
        &["code-lengths-of-equal-counts-huffman-12"],
    ),
    (
        "placeholder-is-the-last-of-the-shortest",
        &["palette-of-equal-counts-huffman-12"],
    ),
    (
        "placeholder-is-the-first-entry",
        &["placeholders-huffman-12"],
    ),
    ("a-patch-costs-no-placeholder", &["one-in-4096-huffman-12"]),
    (
        "a-code-for-more-than-one-in-4096",
        &["one-in-4096-huffman-12"],
    ),
    ("a-code-for-every-value", &["one-in-4096-huffman-12"]),
    (
        "frequent-is-more-than-one-in-64",
        &["patches-for-rare-values-huffman-12"],
    ),
    (
        "rare-is-less-than-one-in-64",
        &["patches-for-rare-values-huffman-12"],
    ),
    (
        "frequent-values-at-equal-costs",
        &["patches-for-rare-values-huffman-12"],
    ),
    (
        "rare-values-always-have-codes",
        &["patches-for-rare-values-huffman-12"],
    ),
    (
        "own-code-at-equal-costs",
        &["own-code-at-equal-costs-huffman-12"],
    ),
    (
        "field-code-of-the-first-chunk",
        &["code-lengths-at-the-limit-huffman-12"],
    ),
    (
        "surplus-is-index-1",
        &["two-chunks-of-2-to-the-12-palette-12"],
    ),
    (
        "verbatim-where-no-shorter",
        &[
            "verbatim-in-palette-palette-12",
            "verbatim-in-huffman-huffman-12",
        ],
    ),
    (
        "every-record-checksum-covers-the-plain-bytes",
        &["types-of-16-and-32-bits-huffman-12"],
    ),
    (
        "raw-only-where-it-is-shorter",
        &["raw-where-nothing-is-saved-huffman-12"],
    ),
    (
        "small-tensors-save-256-bytes",
        &["palette-of-equal-counts-huffman-12"],
    ),
];

/// A transcoder and the cases that must find its bug.
const TRANSCODERS: &[(&str, &[&str])] = &[
    (
        "narrow-fields-take-the-form-palette",
        &["coded-fields-of-2-to-8-bits-to-palette"],
    ),
    (
        "narrow-fields-become-plain",
        &["coded-fields-of-2-to-8-bits-to-palette"],
    ),
    (
        "fields-of-5-bits-are-narrow",
        &["coded-fields-of-2-to-8-bits-to-palette"],
    ),
    (
        "fields-of-4-bits-are-wide",
        &["coded-fields-of-2-to-8-bits-to-palette"],
    ),
    (
        "the-first-field-alone",
        &[
            "coded-fields-of-2-to-8-bits-to-huffman",
            "types-of-64-bits-huffman-12-to-palette",
        ],
    ),
    (
        "constants-become-plain",
        &["forms-that-no-canonical-encoder-chooses-to-huffman"],
    ),
    (
        "chooses-forms-anew",
        &[
            "forms-that-no-canonical-encoder-chooses-to-huffman",
            "types-of-64-bits-huffman-12-to-palette",
        ],
    ),
    (
        "chunk-size-becomes-15",
        &["tensors-of-all-chunk-sizes-to-huffman"],
    ),
    (
        "chunk-size-of-the-first-tensor",
        &["tensors-of-all-chunk-sizes-to-palette"],
    ),
    (
        "copies-tensors-whose-forms-stay",
        &[
            "exponents-with-another-code-to-huffman",
            "exponents-with-another-palette-to-huffman",
            "exponents-verbatim-to-huffman",
            "exponents-with-lone-patches-to-huffman",
            "exponents-with-a-lone-patch-at-the-end-to-huffman",
            "exponents-with-any-surplus-to-huffman",
            "exponents-in-palette-records-to-palette",
            "coded-fields-of-2-to-8-bits-to-palette",
        ],
    ),
    (
        "no-tensor-becomes-raw",
        &[
            "coded-tensors-that-save-nothing-to-huffman",
            "coded-tensors-around-112-weights-to-palette",
        ],
    ),
    (
        "raw-only-where-it-is-shorter",
        &["coded-tensors-around-112-weights-to-huffman"],
    ),
    (
        "large-tensors-save-16-bytes",
        &["large-coded-tensor-that-saves-less-than-256-bytes-to-huffman"],
    ),
    (
        "constants-alone-become-raw",
        &[
            "constants-that-save-nothing-to-huffman",
            "forms-that-no-canonical-encoder-chooses-to-palette",
        ],
    ),
    (
        "raw-with-the-chunk-size",
        &["coded-tensors-that-save-nothing-to-huffman"],
    ),
    (
        "raw-with-the-palette-checksum",
        &["coded-tensors-that-save-nothing-to-palette"],
    ),
    (
        "raw-without-block-checksums",
        &["large-coded-tensor-that-saves-nothing-to-huffman"],
    ),
    (
        "payloads-stay-where-they-are",
        &["large-raw-tensor-behind-a-coded-one-to-palette"],
    ),
    (
        "keeps-the-minor-version",
        &["minor-version-7-and-coded-tensors-to-huffman"],
    ),
    (
        "keeps-extensions",
        &[
            "extensions-and-coded-tensors-to-huffman",
            "extensions-without-tensors-to-huffman",
        ],
    ),
    (
        "drops-the-source",
        &["source-amid-white-space-and-coded-tensors-to-huffman"],
    ),
    (
        "always-has-a-source",
        &["tensors-out-of-name-order-to-huffman"],
    ),
    (
        "writes-the-source-anew",
        &["source-amid-white-space-and-coded-tensors-to-palette"],
    ),
    (
        "sorts-tensors-by-name",
        &["tensors-out-of-name-order-to-palette"],
    ),
    (
        "drops-empty-tensors",
        &[
            "tensors-out-of-name-order-to-huffman",
            "empty-tensors-to-palette",
        ],
    ),
    (
        "critical-extensions-are-dropped-too",
        &[
            "critical-extension-of-kind-5-not-transcoded-to-palette",
            "critical-extension-behind-others-not-transcoded-to-palette",
        ],
    ),
    (
        "critical-extensions-for-private-use-are-dropped",
        &["critical-extension-for-private-use-not-transcoded-to-palette"],
    ),
    (
        "no-tensor-checksum",
        &[
            "tensor-checksum-of-a-huffman-tensor-wrong-not-transcoded-to-palette",
            "tensor-checksum-of-an-empty-tensor-wrong-not-transcoded-to-palette",
            "chunks-exchanged-not-transcoded-to-palette",
        ],
    ),
    (
        "no-tensor-checksum-of-raw-tensors",
        &["tensor-checksum-of-a-raw-tensor-wrong-not-transcoded-to-palette"],
    ),
    (
        "no-tensor-checksum-of-tensors-without-records",
        &["constant-changed-with-its-checksum-not-transcoded-to-palette"],
    ),
    (
        "no-block-checksums",
        &["last-block-checksum-wrong-by-a-bit-not-transcoded-to-palette"],
    ),
    (
        "no-padding",
        &[
            "padding-behind-the-extensions-not-transcoded-to-palette",
            "padding-guard-last-byte-not-transcoded-to-palette",
        ],
    ),
    (
        "no-source-header",
        &["json-with-a-tensor-twice-not-transcoded-to-palette"],
    ),
    (
        "no-extension-checks",
        &[
            "extension-contents-changed-without-the-checksum-not-transcoded-to-huffman",
            "critical-extension-of-kind-5-not-transcoded-to-palette",
        ],
    ),
];

/// Rules that a decoder can miss without accepting any file of the corpus.
const IMPLIED: &[&str] = &[
    // A file that breaks only one of these rules would be as large as the limit.
    "limit-tensors",
    "limit-directory",
    "limit-source",
    "limit-extensions",
    "limit-elements",
    "limit-coded",
    // Two equal names do not ascend either.
    "name-duplicate",
    // A lane that ends before it begins also has too few bits.
    "lane-ends",
    // An unknown kind also differs from that of the field's form.
    "record-kind",
];

fn conformance() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn corpus() -> Corpus {
    Corpus::open(conformance().join("corpus")).unwrap()
}

fn python(arguments: &[&str]) -> Command {
    let interpreter = env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = Command::new(interpreter);
    command
        .arg(conformance().join("mutants/mutants.py"))
        .args(arguments)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// What a mutant does.
#[derive(Clone, Copy)]
enum Role {
    Decode,
    Encode,
    Transcode,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::Decode => "decode",
            Role::Encode => "encode",
            Role::Transcode => "transcode",
        }
    }

    fn mutants(self) -> &'static [(&'static str, &'static [&'static str])] {
        match self {
            Role::Decode => DECODERS,
            Role::Encode => ENCODERS,
            Role::Transcode => TRANSCODERS,
        }
    }
}

const ROLES: [Role; 3] = [Role::Decode, Role::Encode, Role::Transcode];

/// A running mutant that waits for files.
struct Mutant {
    role: Role,
    folder: TempDir,
    process: Mutex<Process>,
}

struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Mutant {
    fn start(role: Role, name: &str) -> Mutant {
        let mut child = python(&["serve", role.name(), name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this test needs Python 3; set PYTHON to its path");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Mutant {
            role,
            folder: TempDir::new().unwrap(),
            process: Mutex::new(Process {
                child,
                input,
                output,
            }),
        }
    }

    /// Runs the selected cases, or all cases without filters.
    fn run(&self, filters: Vec<String>) -> Report {
        self.run_with(RunOptions {
            filters,
            ..RunOptions::default()
        })
    }

    fn run_with(&self, options: RunOptions) -> Report {
        let options = RunOptions { jobs: 1, ..options };
        let mut subjects = Subjects::default();
        match self.role {
            Role::Decode => subjects.decoder = Some(self),
            Role::Encode => subjects.encoder = Some(self),
            Role::Transcode => subjects.transcoder = Some(self),
        }
        run_with(&corpus(), &options, subjects, &|_| ()).unwrap()
    }
}

impl Subject for Mutant {
    fn answer(&self, input: &[u8], parameters: &Parameters) -> Result<Reply, RunError> {
        let paths = ["input", "output"].map(|name| self.folder.path().join(name));
        fs::write(&paths[0], input).unwrap();
        let mut process = self.process.lock().unwrap();
        let [input_path, output_path] = paths.each_ref().map(|path| path.to_str().unwrap());
        let mut request = vec![input_path, output_path];
        // Encoding before chunk, as mutants.py expects them.
        request.extend(
            ["encoding", "chunk"]
                .into_iter()
                .map_while(|name| parameters.value(name)),
        );
        let request = format!("{}\n", request.join("\t"));
        process
            .input
            .as_mut()
            .unwrap()
            .write_all(request.as_bytes())
            .unwrap();
        let mut line = String::new();
        process.output.read_line(&mut line).unwrap();
        let answer = match line.trim_end().split_once(' ') {
            None if line.trim_end() == "accepted" => {
                Answer::Accepted(fs::read(output_path).unwrap())
            }
            None if line.trim_end() == "refused" => Answer::Rejected(Rejection::unnamed()),
            Some(("rejected", rule)) => Answer::Rejected(Rejection::naming(rule)),
            Some(("crashed", why)) => Answer::Crashed(why.to_owned()),
            _ => panic!("mutants.py answered {line:?}"),
        };
        Ok(Reply {
            answer,
            stdout: String::new(),
            stderr: String::new(),
        })
    }
}

impl Drop for Mutant {
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap();
        // The process ends when its input is closed.
        process.input = None;
        let _ = process.child.wait();
    }
}

#[test]
fn what_has_no_bug_passes_everything() {
    for role in ROLES {
        Mutant::start(role, "none").run(Vec::new()).assert_passed();
    }
}

#[test]
fn a_decoder_of_profile_core_passes_profile_core() {
    let options = RunOptions {
        profile: Profile::Core,
        ..RunOptions::default()
    };
    Mutant::start(Role::Decode, "core")
        .run_with(options)
        .assert_passed();
}

#[test]
fn every_mutant_fails_on_the_cases_that_are_there_for_it() {
    let mut survivors = Vec::new();
    let mutants = ROLES.map(|role| role.mutants().iter().map(move |mutant| (role, mutant)));
    for (role, (name, ids)) in mutants.into_iter().flatten() {
        let report = Mutant::start(role, name).run(ids.iter().map(|id| (*id).to_owned()).collect());
        for id in *ids {
            // Filters match parts of ids, so other cases may have been selected too.
            let case = report.cases.iter().find(|report| report.case.id == *id);
            let case = case.unwrap_or_else(|| panic!("there is no case {id}"));
            if matches!(case.outcome, Outcome::Passed) {
                survivors.push(format!("{}: {name} passes {id}", role.name()));
            }
        }
    }
    assert!(survivors.is_empty(), "{}", survivors.join("\n"));
}

#[test]
fn every_mutant_is_listed_here() {
    let output = python(&["list"])
        .output()
        .expect("this test needs Python 3; set PYTHON to its path");
    let found: BTreeSet<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    let listed = ROLES.map(|role| {
        let names = role.mutants().iter().map(|(name, _)| *name);
        names
            .chain(["none"])
            .map(move |name| format!("{} {name}", role.name()))
    });
    assert_eq!(found, listed.into_iter().flatten().collect());
}

#[test]
fn a_decoder_that_overlooks_a_rule_accepts_a_case_of_that_rule() {
    let corpus = corpus();
    let rules: BTreeSet<&str> = corpus
        .cases()
        .iter()
        .filter_map(|case| case.rule())
        .map(|(rule, _)| rule)
        .collect();
    let mut unnoticed = BTreeSet::new();
    for &rule in &rules {
        let cases = corpus.cases().iter().filter(|case| {
            case.kind() == "reject" && case.rule().is_some_and(|(named, _)| named == rule)
        });
        let ids: Vec<String> = cases.map(|case| case.id.clone()).collect();
        let report = Mutant::start(Role::Decode, &format!("without-{rule}")).run(ids.clone());
        let noticed = report
            .failures()
            .any(|report| ids.contains(&report.case.id));
        if !noticed {
            unnoticed.insert(rule);
        }
    }
    assert_eq!(unnoticed, IMPLIED.iter().copied().collect());
}
