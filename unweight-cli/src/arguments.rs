//! The command line.

use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use unweight::MemoryBudget;
use unweight_format::Encoding;

use crate::failure::Failure;
use crate::gpu::{self, Gpu};
use crate::model_folder::Others;
use crate::standard_output;
use crate::version;

/// Lossless compression of BF16 model weights.
///
/// The format is a draft: files of this version may have to be made again. Keep the originals.
#[derive(Debug, Parser)]
#[command(
    name = "unweight",
    version,
    long_version = version::long(),
    long_about = None,
    about = "Lossless compression of BF16 model weights.\n\n\
        The format is a draft: files of this version may have to be made again. Keep the originals.",
    after_help = "\
Exit codes: 0 done; 1 the file is bad; 2 wrong use; 3 input or output failed, or an internal error; \
4 more memory needed than --memory allows. A signal ends the program as it ends any other.

Examples:
  unweight compress model.safetensors            writes model.unw
  unweight compress Llama-3.1-8B/ -o llama.unw   a model folder, shard by shard
  unweight decompress model.unw                  gives model.safetensors back, byte for byte
  unweight inspect model.unw                     where the bits go
  unweight verify model.unw --against model.safetensors
  unweight verify stranger.unw --memory 64MiB    on a machine with little of it"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where the help lists what every command takes.
const COMMON: &str = "Common options";

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Threads to work on [default: one for each processor]
    #[arg(long, global = true, help_heading = COMMON, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// Print nothing but errors
    #[arg(long, short, global = true, help_heading = COMMON)]
    pub(crate) quiet: bool,
    /// Print the result as JSON on standard output
    #[arg(long, global = true, help_heading = COMMON)]
    pub(crate) json: bool,
}

/// What every command takes that reads files of any size.
#[derive(Debug, Args)]
pub(crate) struct Memory {
    /// Allocate no more than this for the file, such as 64M; refuse it if that is not enough. K, M, G and T, or KiB to TiB, are powers of 1024, KB to TB of 1000 [default: by the length of the file]
    #[arg(long = "memory", value_name = "BYTES", value_parser = memory_bytes)]
    bytes: Option<u64>,
}

impl Memory {
    /// What was asked for.
    pub(crate) fn budget(&self) -> Option<MemoryBudget> {
        self.bytes.map(MemoryBudget::of_bytes)
    }
}

/// What every command takes that can decode on a GPU.
#[derive(Debug, Args)]
pub(crate) struct OnGpu {
    /// Decode on this CUDA device, counted from 0. Of one tensor at a time, what is stored and what it is decoded to, about 3.4 bytes a weight, are then held in host and in device memory; --memory counts what the host holds
    #[arg(long = "gpu", value_name = "ORDINAL", num_args = 0..=1, require_equals = true, default_missing_value = "0")]
    ordinal: Option<u16>,
}

impl OnGpu {
    /// The device, if one was asked for.
    pub(crate) fn open(&self) -> Result<Option<Gpu>, Failure> {
        let open = |ordinal| gpu::open(ordinal).map_err(gpu::unusable);
        self.ordinal.map(open).transpose()
    }
}

/// What commands take that make a folder of a folder.
#[derive(Debug, Args)]
pub(crate) struct OfFolder {
    /// Which other files of a folder are copied [default: model]
    #[arg(long, value_enum, value_name = "WHICH")]
    pub(crate) copy: Option<Copied>,
    /// Keep finished files of a folder if the run ends early, and go on from those of an earlier run
    #[arg(long)]
    pub(crate) resume: bool,
}

/// Files of a folder that keep their form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Copied {
    /// All but .git, .cache, *.incomplete, .unweight-*.partial and .unweight-*.old
    Model,
    /// All
    All,
}

impl From<Copied> for Others {
    fn from(copied: Copied) -> Others {
        match copied {
            Copied::Model => Others::Model,
            Copied::All => Others::All,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Compress(Compress),
    Decompress(Decompress),
    Inspect(Inspect),
    Verify(Verify),
    Extract(Extract),
    Transcode(Transcode),
    Bench(Bench),
    Tune(Tune),
    Completions(Completions),
    Man(ManPages),
}

impl Command {
    /// The files and folders that are read.
    fn inputs(&self) -> Vec<&Path> {
        match self {
            Command::Compress(options) => vec![&options.input],
            Command::Decompress(options) => vec![&options.input],
            Command::Inspect(options) => vec![&options.file],
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

    /// The output, and why it cannot be standard output. None where it can.
    fn output_that_is_a_file(&self) -> Option<(&Path, &'static str)> {
        const SEEKS: &str = "an Unweight file gets its header last, which standard output cannot take; give the name of a file";
        const NAMED: &str =
            "the choices are saved under a name; --json prints them on standard output too";
        const PAGES: &str = "pages are made in a folder; without one, the first is printed";
        match self {
            Command::Compress(options) => Some((options.output.as_deref()?, SEEKS)),
            Command::Transcode(options) => Some((&options.output, SEEKS)),
            Command::Tune(options) => Some((&options.output, NAMED)),
            Command::Man(options) => Some((options.folder.as_deref()?, PAGES)),
            _ => None,
        }
    }

    /// Refuses `-` where it cannot stand for standard input or output.
    pub(crate) fn require_named_files(&self) -> Result<(), Failure> {
        if self.inputs().contains(&Path::new(standard_output::NAME)) {
            return Err(Failure::Usage(
                "-: standard input cannot be read at any offset; save it to a file first (a file of this name is ./-)"
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

/// Compress a .safetensors file, or a model folder with its shards, index and configuration
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  unweight compress model.safetensors
  unweight compress model.safetensors -o out.unw --encoding palette --verify
  unweight compress Llama-3.1-8B/ --exclude 'model.embed_tokens.*'
  unweight compress Llama-3.1-405B/ --resume     again after an interruption: finished shards are kept")]
pub(crate) struct Compress {
    /// A .safetensors file, or a folder of them; other files of a folder are copied
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) input: PathBuf,
    /// Where to [default: INPUT with .unw in place of .safetensors, or behind any other name]
    #[arg(short, long, value_hint = ValueHint::AnyPath)]
    pub(crate) output: Option<PathBuf>,
    /// How to code exponents
    #[arg(long, value_enum, default_value_t = Coding::Huffman)]
    pub(crate) encoding: Coding,
    /// Binary logarithm of the weights of a chunk: 12 to 16
    #[arg(long, value_name = "K", default_value_t = unweight::DEFAULT_CHUNK_SIZE_LOG2, value_parser = clap::value_parser!(u8).range(12..=16))]
    pub(crate) chunk: u8,
    /// Decode the result and compare it with the source before it gets its name
    #[arg(long)]
    pub(crate) verify: bool,
    /// Code only BF16 tensors whose name matches; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub(crate) include: Vec<String>,
    /// Leave raw the tensors whose name matches; may be repeated, wins over --include
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

/// Give back the source, byte for byte
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  unweight decompress model.unw
  unweight decompress llama.unw/ -o Llama-3.1-8B/
  unweight decompress model.unw -o - | sha256sum
  unweight decompress model.unw --gpu            on the first CUDA device; --gpu=1 for the second")]
pub(crate) struct Decompress {
    /// A .unw file, or a folder that `compress` made
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) input: PathBuf,
    /// Where to; - is standard output, which gets pieces before the whole file has been checked: only exit code 0 says that all is right [default: a file INPUT with .safetensors in place of .unw, or behind any other name; a folder INPUT without .unw]
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

/// Show the tensors, and where the bits go beside the entropy of the exponents
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  unweight inspect model.unw
  unweight inspect model.unw --directory --json | jq '.tensors[].name'")]
pub(crate) struct Inspect {
    /// A .unw file
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) file: PathBuf,
    /// Read the directory alone: quick, but without entropy and without the places the bits go to
    #[arg(long)]
    pub(crate) directory: bool,
    #[command(flatten)]
    pub(crate) memory: Memory,
}

/// Check every checksum and every rule of the specification
#[derive(Debug, Args)]
#[command(after_help = "\
Exit code 0 only if all hold.

Examples:
  unweight verify model.unw
  unweight verify model.unw --against model.safetensors
  unweight verify model.unw --gpu                on the first CUDA device; --gpu=1 for the second")]
pub(crate) struct Verify {
    /// A .unw file, or a folder that `compress` made
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) file: PathBuf,
    /// Compare what is restored with this source, byte by byte
    #[arg(long, value_name = "SOURCE", value_hint = ValueHint::AnyPath)]
    pub(crate) against: Option<PathBuf>,
    /// Which other files of a folder count [default: model]
    #[arg(long, value_enum, value_name = "WHICH")]
    pub(crate) copy: Option<Copied>,
    #[command(flatten)]
    pub(crate) memory: Memory,
    #[command(flatten)]
    pub(crate) gpu: OnGpu,
}

/// Write the original bytes of one tensor, or of a part of it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  unweight extract model.unw model.norm.weight -o norm.bin
  unweight extract model.unw lm_head.weight --range 0..4096 | xxd | head")]
pub(crate) struct Extract {
    /// A .unw file
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) file: PathBuf,
    /// The tensor's name
    pub(crate) tensor: String,
    /// Elements A up to B, without B, in row-major order; only their chunks are read
    #[arg(long, value_name = "A..B", value_parser = element_range)]
    pub(crate) range: Option<Range<u64>>,
    /// Where to; - is standard output, which gets pieces before the whole tensor has been checked: only exit code 0 says that all is right [default: -, if that is not a terminal]
    #[arg(short, long, value_hint = ValueHint::AnyPath)]
    pub(crate) output: Option<PathBuf>,
    /// Replace an existing output
    #[arg(long, short)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) memory: Memory,
}

/// Give the coded tensors of a file the other encoding
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  unweight transcode model.unw --to palette -o model-palette.unw")]
pub(crate) struct Transcode {
    /// A .unw file
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) file: PathBuf,
    /// The encoding
    #[arg(long, value_enum)]
    pub(crate) to: Coding,
    /// Where to
    #[arg(short, long, value_hint = ValueHint::AnyPath)]
    pub(crate) output: PathBuf,
    /// Replace an existing output
    #[arg(long, short)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) memory: Memory,
}

/// Measure how fast this machine copies, decodes, encodes, verifies and transcodes
#[derive(Debug, Args)]
#[command(after_help = "\
Everything happens in memory, with all checksums. The environment variable UNWEIGHT_CPU_ISA names the path that all commands
take, and the only one that is measured: reference, portable, neon, avx2 or avx512.

Examples:
  unweight bench
  unweight bench model.safetensors --json
  unweight bench --gpu                           the first CUDA device too; --gpu=1 for the second")]
pub(crate) struct Bench {
    /// A .safetensors file, whose BF16 tensors are used [default: a synthetic tensor]
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// Runs of each; the median counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) runs: u32,
    /// Rows of the synthetic tensor, of 4096 weights each
    #[arg(long, value_name = "N", default_value_t = crate::synthetic::ROWS as u16, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) rows: u16,
    /// Measure this CUDA device too, counted from 0: a copy in its memory, decoding, the check of chunk checksums, encoding, and transcoding
    #[arg(long, value_name = "ORDINAL", num_args = 0..=1, require_equals = true, default_missing_value = "0")]
    pub(crate) gpu: Option<u16>,
}

/// Find the fastest way to multiply by a file's matrices on a CUDA device, compressed as they stay there
#[derive(Debug, Args)]
#[command(after_help = "\
Every coded matrix whose columns are a multiple of 64 is put into device memory, at 1.5 bytes a weight. Then all are run one after the
other, for each batch, with one pipeline after the other for each shape, for as long as the whole becomes faster. The choices are saved as JSON.

Examples:
  unweight tune model.unw -o tuning.json
  unweight tune model.unw -o tuning.json --batches 1,16,256 --gpu=1
  unweight tune model.unw -o tuning.json --batches 1024,2048 --form coded")]
pub(crate) struct Tune {
    /// A .unw file
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) file: PathBuf,
    /// Where to
    #[arg(short, long, value_hint = ValueHint::AnyPath)]
    pub(crate) output: PathBuf,
    /// Rows of activations, with commas between them
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [1, 8, 16, 32, 64, 128, 256, 512, 1024], value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub(crate) batches: Vec<u32>,
    /// In which form matrices stay in device memory
    #[arg(long, value_enum, default_value_t = Residence::Fragments)]
    pub(crate) form: Residence,
    /// The CUDA device, counted from 0
    #[arg(long, value_name = "ORDINAL", default_value_t = 0)]
    pub(crate) gpu: u16,
    /// Replace an existing output
    #[arg(long, short)]
    pub(crate) force: bool,
}

/// Print a script that completes commands and options in a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  unweight completions bash > ~/.local/share/bash-completion/completions/unweight
  unweight completions fish > ~/.config/fish/completions/unweight.fish")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Print the manual page, or make a folder with one page for each command
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  unweight man | man -l -
  unweight man ~/.local/share/man/man1")]
pub(crate) struct ManPages {
    /// Where to put unweight.1 and a page for each command [default: standard output gets unweight.1 alone]
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) folder: Option<PathBuf>,
    /// Replace existing pages
    #[arg(long, short)]
    pub(crate) force: bool,
}

/// Forms of matrices in device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Residence {
    /// Ready for the tensor cores, 12 bits a weight: fastest
    Fragments,
    /// As the file has them: smallest
    Coded,
}

/// The encodings of coded tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Coding {
    /// A prefix code: smallest, for distribution
    Huffman,
    /// 4-bit indices: for loading straight into inference
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

/// A number of bytes, as it is or with a unit: K, M, G, T and KiB to TiB are powers of 1024, KB to TB of 1000, as `dd` has them. Small
/// letters are taken too.
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
    // Nothing but its length can be wrong with it now.
    let number = digits.parse().ok();
    number
        .and_then(|number: u64| number.checked_mul(unit))
        .ok_or_else(|| "it does not fit 64 bits".to_owned())
}

fn element_range(text: &str) -> Result<Range<u64>, String> {
    const EXPECTED: &str = "expected two numbers with '..' between them, such as 0..4096";
    let (start, end) = text.split_once("..").ok_or(EXPECTED)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| EXPECTED);
    let range = number(start)?..number(end)?;
    if range.start > range.end {
        return Err(format!("{} lies behind {}", range.start, range.end));
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
            let says_what = error == "it does not fit 64 bits" || error.starts_with("expected ");
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
