//! The command line.

use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use unweight::MemoryBudget;
use unweight_format::Encoding;

use crate::failure::Failure;
use crate::gpu::{self, Gpu};
use crate::standard_output;
use crate::synthetic::Kind;
use crate::version;

/// Lossless compression of model weights.
///
/// The format is release candidate 1 of version 1.0: nothing is expected to change, files may have
/// to be made again. Keep the originals.
#[derive(Debug, Parser)]
#[command(
    name = "unweight",
    version,
    long_version = version::long(),
    long_about = None,
    about = "Lossless compression of model weights.\n\n\
        The format is release candidate 1 of version 1.0: nothing is expected to change, files may \
        have to be made again. Keep the originals.",
    after_help = "\
Exit codes:
  0  success
  1  the input is invalid
  2  wrong usage
  3  an input or output error, or an internal error
  4  the input needs more memory than --memory allows

Examples:
  unweight compress model.safetensors            write model.unw
  unweight compress Llama-3.1-8B/ -o llama.unw   compress a model folder, shard by shard
  unweight decompress model.unw                  restore model.safetensors, byte for byte
  unweight inspect model.unw                     show where the bits go
  unweight verify model.unw --against model.safetensors
  unweight verify untrusted.unw --memory 64MiB   allocate at most 64 MiB for the file"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Help heading of the options that every command takes.
const COMMON: &str = "Common options";

/// Options that every command takes.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Number of worker threads [default: one per processor]
    #[arg(long, global = true, help_heading = COMMON, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// Print only errors
    #[arg(long, short, global = true, help_heading = COMMON)]
    pub(crate) quiet: bool,
    /// Print the result as JSON on standard output
    #[arg(long, global = true, help_heading = COMMON)]
    pub(crate) json: bool,
}

/// Memory limit of the commands that read files of any size.
#[derive(Debug, Args)]
pub(crate) struct Memory {
    /// Limit the memory that is allocated for a file, such as 64M [default: enough for any valid
    /// file]
    ///
    /// A file that needs more is refused with exit code 4. The units K, M, G and T, or KiB to TiB,
    /// are powers of 1024; KB to TB are powers of 1000; a number without a unit is in bytes. The
    /// default is 16 MiB, 4.94 MiB per thread, and 24 bytes for each of the first 2^28 bytes of the
    /// file.
    #[arg(long = "memory", value_name = "BYTES", value_parser = memory_bytes)]
    bytes: Option<u64>,
}

impl Memory {
    /// The limit, if `--memory` is given.
    pub(crate) fn budget(&self) -> Option<MemoryBudget> {
        self.bytes.map(MemoryBudget::of_bytes)
    }
}

/// GPU option of the commands that can decode on a GPU.
#[derive(Debug, Args)]
pub(crate) struct OnGpu {
    /// Decode on a CUDA device, numbered from 0 [default ORDINAL: 0]
    ///
    /// One tensor at a time is held in host memory and in device memory, both coded and decoded:
    /// about 3.4 bytes per weight in each. --memory limits the host memory.
    #[arg(long = "gpu", value_name = "ORDINAL", num_args = 0..=1, require_equals = true, default_missing_value = "0")]
    ordinal: Option<u16>,
}

impl OnGpu {
    /// Opens the device, if `--gpu` is given.
    pub(crate) fn open(&self) -> Result<Option<Gpu>, Failure> {
        let open = |ordinal| gpu::open(ordinal).map_err(gpu::unusable);
        self.ordinal.map(open).transpose()
    }
}

/// Options of the commands that convert a folder.
#[derive(Debug, Args)]
pub(crate) struct OfFolder {
    /// Other files of the folder to copy [default: model]
    #[arg(long, value_enum, value_name = "WHICH")]
    pub(crate) copy: Option<Copied>,
    /// Keep finished files of the folder if the run fails, and reuse those of an earlier run
    #[arg(long)]
    pub(crate) resume: bool,
}

/// Files of a folder that are not converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Copied {
    /// All files but .git, .cache, *.incomplete, .unweight-*.partial and .unweight-*.old
    Model,
    /// All files
    All,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Compress(Compress),
    Decompress(Decompress),
    Inspect(Inspect),
    Report(Report),
    Verify(Verify),
    Extract(Extract),
    Transcode(Transcode),
    Bench(Bench),
    Tune(Tune),
    Completions(Completions),
    Man(ManPages),
}

impl Command {
    /// The input files and folders.
    fn inputs(&self) -> Vec<&Path> {
        match self {
            Command::Compress(options) => vec![&options.input],
            Command::Decompress(options) => vec![&options.input],
            Command::Inspect(options) => vec![&options.file],
            Command::Report(options) => vec![&options.model],
            Command::Verify(options) => {
                let against = options.against.as_deref();
                std::iter::once(&*options.file).chain(against).collect()
            }
            Command::Extract(options) => vec![&options.file],
            Command::Transcode(options) => vec![&options.file],
            Command::Bench(options) => options.file.as_deref().into_iter().collect(),
            Command::Tune(options) => vec![&options.file],
            Command::Completions(_) | Command::Man(_) => vec![],
        }
    }

    /// The output, and why it cannot be standard output. None if it can.
    fn output_that_is_a_file(&self) -> Option<(&Path, &'static str)> {
        const SEEKS: &str =
            "found standard output, expected the name of a file: the header is written last";
        const NAMED: &str =
            "found standard output, expected the name of a file; --json prints the choices as well";
        const PAGE: &str =
            "found standard output, expected the name of a file; --json prints the same figures";
        const PAGES: &str =
            "found standard output, expected a folder; leave it out to print unweight.1";
        match self {
            Command::Compress(options) => Some((options.output.as_deref()?, SEEKS)),
            Command::Transcode(options) => Some((&options.output, SEEKS)),
            Command::Tune(options) => Some((&options.output, NAMED)),
            Command::Report(options) => Some((options.output.as_deref()?, PAGE)),
            Command::Man(options) => Some((options.folder.as_deref()?, PAGES)),
            _ => None,
        }
    }

    /// Refuses `-` where it cannot stand for standard input or output.
    pub(crate) fn require_named_files(&self) -> Result<(), Failure> {
        if self.inputs().contains(&Path::new(standard_output::NAME)) {
            return Err(Failure::Usage(
                "-: standard input cannot be read at any offset; save it to a file first (./- is a file named -)"
                    .to_owned(),
            ));
        }
        match self.output_that_is_a_file() {
            Some((output, why)) if standard_output::is_meant(output) => {
                Err(Failure::Usage(format!("{}: {why}", output.display())))
            }
            _ => Ok(()),
        }
    }
}

/// Compress a .safetensors file, or a model folder shard by shard
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  unweight compress model.safetensors
  unweight compress model.safetensors -o out.unw --encoding palette --verify
  unweight compress Llama-3.1-8B/ --exclude 'model.embed_tokens.*'
  unweight compress Llama-3.1-405B/ --resume     continue an interrupted run")]
pub(crate) struct Compress {
    /// A .safetensors file, or a folder with such files; its other files are copied
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) input: PathBuf,
    /// Output file or folder [default: INPUT with .unw in place of .safetensors, or appended]
    #[arg(short, long, value_hint = ValueHint::AnyPath)]
    pub(crate) output: Option<PathBuf>,
    /// Encoding of the fields that are coded: exponents, and others where that saves space
    #[arg(long, value_enum, default_value_t = Coding::Huffman)]
    pub(crate) encoding: Coding,
    /// Weights per chunk: 2^K, with K from 12 to 16
    #[arg(long, value_name = "K", default_value_t = unweight::DEFAULT_CHUNK_SIZE_LOG2, value_parser = clap::value_parser!(u8).range(12..=16))]
    pub(crate) chunk: u8,
    /// Decode the output and compare it with INPUT before it gets its name
    #[arg(long)]
    pub(crate) verify: bool,
    /// Compress only tensors whose name matches (repeatable)
    #[arg(long, value_name = "GLOB")]
    pub(crate) include: Vec<String>,
    /// Do not compress tensors whose name matches (repeatable, overrides --include)
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,
    /// Replace an existing output
    #[arg(long, short)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) folder: OfFolder,
    #[command(flatten)]
    pub(crate) memory: Memory,
}

/// Restore the original .safetensors file or model folder, byte for byte
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  unweight decompress model.unw
  unweight decompress llama.unw/ -o Llama-3.1-8B/
  unweight decompress model.unw -o - | sha256sum
  unweight decompress model.unw --gpu            use the first CUDA device; --gpu=1 is the second")]
pub(crate) struct Decompress {
    /// A .unw file, or a folder that `unweight compress` wrote
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) input: PathBuf,
    /// Output file or folder, - for standard output [default: derived from INPUT]
    ///
    /// The default for a file is INPUT with .safetensors in place of .unw, or appended; for a
    /// folder it is INPUT without .unw. Standard output receives data before the whole file is
    /// checked: the data is right only if the exit code is 0.
    #[arg(short, long, value_hint = ValueHint::AnyPath)]
    pub(crate) output: Option<PathBuf>,
    /// Replace an existing output
    #[arg(long, short)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) folder: OfFolder,
    #[command(flatten)]
    pub(crate) memory: Memory,
    #[command(flatten)]
    pub(crate) gpu: OnGpu,
}

/// Show the tensors of a file, where its bits go field by field, and their entropy
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  unweight inspect model.unw
  unweight inspect model.unw --directory --json | jq '.tensors[].name'")]
pub(crate) struct Inspect {
    /// A .unw file
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) file: PathBuf,
    /// Read only the directory: fast, but shows neither entropy nor where the bits go
    #[arg(long)]
    pub(crate) directory: bool,
    #[command(flatten)]
    pub(crate) memory: Memory,
}

/// Write a page that shows where the bits of a model go
///
/// The page is one HTML file: sizes and what limits them, layers, kinds of tensors, histograms,
/// outliers, tensors that did not become smaller, and GPU memory.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  unweight report model.unw -o report.html
  unweight report Llama-3.1-8B/ --estimate -o report.html    before compressing: reads samples
  unweight report model.unw --json | jq .memory")]
pub(crate) struct Report {
    /// A .unw file, or a folder that `unweight compress` wrote; with --estimate a .safetensors file
    /// or a folder with such files
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) model: PathBuf,
    /// Output file; may be left out with --json, which prints the same figures for all tensors
    #[arg(short, long, value_hint = ValueHint::AnyPath)]
    pub(crate) output: Option<PathBuf>,
    /// Estimate what compressing would give, from samples: at most 262,144 weights of each tensor
    #[arg(long)]
    pub(crate) estimate: bool,
    /// Replace an existing output
    #[arg(long, short)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) memory: Memory,
}

/// Check every checksum and every rule of the specification
#[derive(Debug, Args)]
#[command(after_help = "\
The exit code is 0 only if the file is valid.

Examples:
  unweight verify model.unw
  unweight verify model.unw --against model.safetensors
  unweight verify model.unw --gpu                use the first CUDA device; --gpu=1 is the second")]
pub(crate) struct Verify {
    /// A .unw file, or a folder that `unweight compress` wrote
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) file: PathBuf,
    /// Compare the restored bytes with this original file or folder
    #[arg(long, value_name = "SOURCE", value_hint = ValueHint::AnyPath)]
    pub(crate) against: Option<PathBuf>,
    /// Other files of the folder to compare [default: model]
    #[arg(long, value_enum, value_name = "WHICH")]
    pub(crate) copy: Option<Copied>,
    #[command(flatten)]
    pub(crate) memory: Memory,
    #[command(flatten)]
    pub(crate) gpu: OnGpu,
}

/// Write the original bytes of one tensor, or of a range of its elements
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  unweight extract model.unw model.norm.weight -o norm.bin
  unweight extract model.unw lm_head.weight --range 0..4096 | xxd | head")]
pub(crate) struct Extract {
    /// A .unw file
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) file: PathBuf,
    /// Name of the tensor
    pub(crate) tensor: String,
    /// Elements A to B - 1 in row-major order; only their chunks are read [default: all]
    #[arg(long, value_name = "A..B", value_parser = element_range)]
    pub(crate) range: Option<Range<u64>>,
    /// Output file, - for standard output [default: -, unless that is a terminal]
    ///
    /// Standard output receives data before the whole tensor is checked: the data is right only if
    /// the exit code is 0.
    #[arg(short, long, value_hint = ValueHint::AnyPath)]
    pub(crate) output: Option<PathBuf>,
    /// Replace an existing output
    #[arg(long, short)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) memory: Memory,
}

/// Convert the coded fields of a file to another encoding
///
/// Fields of at most 4 bits stay as they are, because palette does not code them.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  unweight transcode model.unw --to palette -o model-palette.unw")]
pub(crate) struct Transcode {
    /// A .unw file
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) file: PathBuf,
    /// Encoding of the output
    #[arg(long, value_enum)]
    pub(crate) to: Coding,
    /// Output file
    #[arg(short, long, value_hint = ValueHint::AnyPath)]
    pub(crate) output: PathBuf,
    /// Replace an existing output
    #[arg(long, short)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) memory: Memory,
}

/// Measure the speed of decoding, encoding, verifying and transcoding on this machine
#[derive(Debug, Args)]
#[command(after_help = "\
Input and output are in memory, and all checksums are computed. Speeds are compared with memcpy.

The environment variable UNWEIGHT_CPU_ISA selects the instruction set of every command: reference, \
portable, neon, avx2 or avx512. By default `bench` measures each that the processor has, and other \
commands use the fastest.

Examples:
  unweight bench
  unweight bench --kind e4m3                     weights of the type F8_E4M3
  unweight bench model.safetensors --json
  unweight bench --gpu                           also measure the first CUDA device")]
pub(crate) struct Bench {
    /// A .safetensors file whose tensors are measured [default: a synthetic tensor]
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// Runs of each operation; the median is reported
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) runs: u32,
    /// Kind of the synthetic tensor
    #[arg(long, value_enum, default_value_t = Kind::Bf16, conflicts_with = "file")]
    pub(crate) kind: Kind,
    /// Rows of the synthetic tensor, 4096 weights each
    #[arg(long, value_name = "N", default_value_t = crate::synthetic::ROWS as u16, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) rows: u16,
    /// Measure a CUDA device as well, numbered from 0 [default ORDINAL: 0]
    ///
    /// The operations are a copy in device memory, decoding, the check of chunk checksums, encoding
    /// and transcoding.
    #[arg(long, value_name = "ORDINAL", num_args = 0..=1, require_equals = true, default_missing_value = "0")]
    pub(crate) gpu: Option<u16>,
}

/// Find the fastest matmul pipeline for each matrix shape of a file, on a CUDA device
#[derive(Debug, Args)]
#[command(after_help = "\
All coded BF16 matrices whose number of columns is a multiple of 64 are loaded into device memory: 1.5 bytes \
per weight in the form `fragments`. For each batch size, they are multiplied in sequence, and the \
pipelines of the shapes are varied one at a time until the sequence gets no faster. The output is JSON.

Examples:
  unweight tune model.unw -o tuning.json
  unweight tune model.unw -o tuning.json --batches 1,16,256 --gpu=1
  unweight tune model.unw -o tuning.json --batches 1024,2048 --form coded")]
pub(crate) struct Tune {
    /// A .unw file
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) file: PathBuf,
    /// Output file
    #[arg(short, long, value_hint = ValueHint::AnyPath)]
    pub(crate) output: PathBuf,
    /// Batch sizes (rows of activations), separated by commas
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [1, 8, 16, 32, 64, 128, 256, 512, 1024], value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub(crate) batches: Vec<u32>,
    /// Form of the matrices in device memory
    #[arg(long, value_enum, default_value_t = Residence::Fragments)]
    pub(crate) form: Residence,
    /// CUDA device, numbered from 0
    #[arg(long, value_name = "ORDINAL", default_value_t = 0)]
    pub(crate) gpu: u16,
    /// Replace an existing output
    #[arg(long, short)]
    pub(crate) force: bool,
}

/// Print a shell completion script
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  unweight completions bash > ~/.local/share/bash-completion/completions/unweight
  unweight completions fish > ~/.config/fish/completions/unweight.fish")]
pub(crate) struct Completions {
    /// Shell that the script is for
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Print the manual page, or write one page per command into a folder
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  unweight man | man -l -
  unweight man ~/.local/share/man/man1")]
pub(crate) struct ManPages {
    /// Folder for unweight.1 and one page per command [default: print unweight.1]
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) folder: Option<PathBuf>,
    /// Replace existing pages
    #[arg(long, short)]
    pub(crate) force: bool,
}

/// Forms of matrices in device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Residence {
    /// Arranged for tensor cores, 12 bits per weight: fastest
    Fragments,
    /// Coded as in the file: smallest
    Coded,
}

/// The encodings of coded fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Coding {
    /// Prefix codes: smallest files
    Huffman,
    /// 4-bit indices: larger files, no prefix code to decode when a model is loaded
    Palette,
}

impl From<Coding> for Encoding {
    fn from(coding: Coding) -> Encoding {
        match coding {
            Coding::Huffman => Encoding::Huffman,
            Coding::Palette => Encoding::Palette,
        }
    }
}

/// Parses a number of bytes with an optional unit. K, M, G, T and KiB to TiB are powers of 1024, KB
/// to TB are powers of 1000, as in `dd`. Upper and lower case are equal.
fn memory_bytes(text: &str) -> Result<u64, String> {
    const EXPECTED: &str = "expected a whole number of bytes, such as 1000000, 512K or 64MiB";
    let digits = text.trim_end_matches(|character: char| !character.is_ascii_digit());
    let unit: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(EXPECTED.to_owned()),
    };
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(EXPECTED.to_owned());
    }
    // The text is digits only, so that parsing can fail only by overflow.
    let number = digits.parse().ok();
    number
        .and_then(|number: u64| number.checked_mul(unit))
        .ok_or_else(|| "expected less than 2^64 bytes".to_owned())
}

fn element_range(text: &str) -> Result<Range<u64>, String> {
    const EXPECTED: &str = "expected A..B with A at most B, such as 0..4096";
    let (start, end) = text.split_once("..").ok_or(EXPECTED)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| EXPECTED);
    let range = number(start)?..number(end)?;
    if range.start > range.end {
        return Err(EXPECTED.to_owned());
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn memory_is_a_number_with_a_binary_unit() {
        assert_eq!(memory_bytes("0"), Ok(0));
        assert_eq!(memory_bytes("65536"), Ok(65536));
        assert_eq!(memory_bytes("64MiB"), Ok(64 << 20));
        assert_eq!(memory_bytes("16777215TiB"), Ok(16777215 << 40));
        for (unit, bytes) in [
            ("B", 1),
            ("K", 1 << 10),
            ("M", 1 << 20),
            ("G", 1 << 30),
            ("T", 1 << 40),
            ("KB", 1_000),
            ("MB", 1_000_000),
            ("GB", 1_000_000_000),
            ("TB", 1_000_000_000_000),
            ("mib", 1 << 20),
        ] {
            assert_eq!(memory_bytes(&format!("3{unit}")), Ok(3 * bytes), "{unit}");
            let small = unit.to_ascii_lowercase();
            assert_eq!(memory_bytes(&format!("3{small}")), Ok(3 * bytes), "{small}");
        }
        for bad in [
            "",
            "MiB",
            "M",
            "64MBit",
            "64Mi",
            "-1",
            "1.5GiB",
            "64 MiB",
            "16777216TiB",
            "1MiB2",
            "99999999999999999999",
        ] {
            let error = memory_bytes(bad).unwrap_err();
            let says_what = error == "expected less than 2^64 bytes"
                || error.starts_with("expected a whole number of bytes");
            assert!(says_what, "{bad}: {error}");
        }
    }

    #[test]
    fn ranges_are_two_numbers_in_order() {
        assert_eq!(element_range("3..10"), Ok(3..10));
        assert_eq!(element_range("3..3"), Ok(3..3));
        for bad in ["3", "..4", "4..", "4..3", "-1..3", "a..b"] {
            assert!(element_range(bad).is_err(), "{bad}");
        }
    }
}
