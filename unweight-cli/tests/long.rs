//! Runs of minutes: a file of 10^12 bytes, as many tensors as a file may have, many threads, and
//! many opened files. `.ci/run long` runs them.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use unweight::{Model, OpenOptions, Threads, Writer};
use unweight_format::write::{ContainerWriter, Declaration, Sink};
use unweight_format::{Dtype, SourceKind};
use unweight_testkit::repository;

/// A file of which zeros take no space.
struct Sparse(File);

impl Sink for Sparse {
    type Error = io::Error;

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        if self.0.metadata()?.len() < end {
            self.0.set_len(end)?;
        }
        match bytes.iter().all(|&byte| byte == 0) {
            true => Ok(()),
            false => self.0.write_all_at(bytes, offset),
        }
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}

/// Runs the program, which must succeed, and returns what it wrote.
fn unweight(arguments: &[&str]) -> Vec<u8> {
    let started = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_unweight"))
        .args(arguments)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    println!("{} takes {:?}", arguments[0], started.elapsed());
    output.stdout
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
#[ignore = "takes minutes"]
fn a_file_of_10_to_the_12_bytes_is_verified_and_extracted_from() {
    const BYTES: u64 = 1_000_000_000_000;
    const LAST: [u8; 5] = *b"\0\0end";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("vast.unw");
    let sink = Sparse(File::create(&file).unwrap());
    let tensor = Declaration::new("vast", Dtype::U8, &[BYTES]);
    let mut writer = ContainerWriter::new(sink, SourceKind::None, &[], vec![tensor]).unwrap();
    let mut raw = writer.raw().unwrap();
    let zeros = vec![0; 1 << 20];
    let mut left = BYTES - LAST.len() as u64;
    while left > 0 {
        let some = left.min(zeros.len() as u64);
        raw.write(&zeros[..some as usize]).unwrap();
        left -= some;
    }
    raw.write(&LAST).unwrap();
    raw.finish().unwrap();
    writer.finish().unwrap();
    assert!(fs::metadata(&file).unwrap().len() > BYTES);

    let from = BYTES - 7;
    let range = format!("{from}..{BYTES}");
    let found = unweight(&["extract", path(&file), "vast", "--range", &range, "-o", "-"]);
    assert_eq!(found, [&[0; 2], &LAST[..]].concat());
    unweight(&["verify", path(&file), "--quiet"]);
}

#[test]
#[ignore = "takes minutes"]
fn a_file_has_as_many_tensors_as_the_format_allows() {
    const TENSORS: u64 = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str| folder.path().join(name);
    let (source, container, restored) = (
        of("many.safetensors"),
        of("many.unw"),
        of("restored.safetensors"),
    );
    let entry = |number: u64| {
        let (begin, end) = (4 * number, 4 * number + 4);
        format!(r#""{number}":{{"dtype":"BF16","shape":[2],"data_offsets":[{begin},{end}]}}"#)
    };
    let entries: Vec<String> = (0..TENSORS).map(entry).collect();
    let json = format!("{{{}}}", entries.join(","));
    let mut file = BufWriter::new(File::create(&source).unwrap());
    file.write_all(&(json.len() as u64).to_le_bytes()).unwrap();
    file.write_all(json.as_bytes()).unwrap();
    for number in 0..TENSORS {
        file.write_all(&(number as u32).to_le_bytes()).unwrap();
    }
    file.into_inner().unwrap();
    unweight(&["compress", path(&source), "-o", path(&container), "--quiet"]);
    unweight(&["verify", path(&container), "--quiet"]);
    unweight(&[
        "decompress",
        path(&container),
        "-o",
        path(&restored),
        "--quiet",
    ]);
    assert!(fs::read(&source).unwrap() == fs::read(&restored).unwrap());
    let found = unweight(&["extract", path(&container), "1000000", "-o", "-"]);
    assert_eq!(found, 1_000_000u32.to_le_bytes());
}

/// What a process has that an operation may leave behind.
#[derive(Clone, Copy, Debug)]
struct Held {
    resident_bytes: u64,
    descriptors: usize,
    threads: usize,
}

impl Held {
    fn now() -> Held {
        let entries = |folder| fs::read_dir(folder).unwrap().count();
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: u64 = resident
            .unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .unwrap();
        Held {
            resident_bytes: 1024 * kib,
            descriptors: entries("/proc/self/fd"),
            threads: entries("/proc/self/task"),
        }
    }

    /// Memory of an allocator may be fragmented, by a part of it.
    fn require_no_more_than(self, before: Held) {
        assert!(
            self.descriptors <= before.descriptors && self.threads <= before.threads,
            "{self:?}, {before:?} before"
        );
        assert!(
            self.resident_bytes <= before.resident_bytes + (4 << 20),
            "{self:?}, {before:?} before"
        );
    }
}

fn sample(folder: &Path) -> std::path::PathBuf {
    let (source, container) = (
        repository("conformance/corpus/encode/real-weights.safetensors"),
        folder.join("real.unw"),
    );
    unweight(&["compress", path(&source), "-o", path(&container), "--quiet"]);
    container
}

/// Reads a tensor of an open file, and all of it.
fn read(model: &Model) {
    let tensor = model.tensor_at(0).unwrap();
    let bytes = tensor.to_bytes().unwrap();
    assert_eq!(bytes.len() as u64, tensor.data_bytes());
    model.verify().unwrap();
}

#[test]
#[ignore = "takes minutes"]
fn sixty_four_threads_read_a_thousand_files_each() {
    const THREADS: usize = 64;
    const FILES: usize = 1_000;
    let folder = tempfile::tempdir().unwrap();
    let container = sample(folder.path());
    let copies: Vec<_> = (0..FILES)
        .map(|number| {
            let copy = folder.path().join(format!("{number}.unw"));
            fs::copy(&container, &copy).unwrap();
            copy
        })
        .collect();
    let before = Held::now();
    let shared = Threads::new(4);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (copies, shared) = (&copies, shared.clone());
            scope.spawn(move || {
                for number in 0..FILES {
                    // Threads read the files in different orders.
                    let file = &copies[(number * 7 + thread * 13) % FILES];
                    let options = OpenOptions::new().threads(shared.clone());
                    read(&options.open(file).unwrap());
                }
            });
        }
    });
    drop(shared);
    // The end of a scope does not wait for the system's threads.
    std::thread::sleep(Duration::from_secs(1));
    let after = Held::now();
    println!("{THREADS} threads, {FILES} files: {before:?}, then {after:?}");
    assert!(after.descriptors <= before.descriptors && after.threads <= before.threads);
}

#[test]
#[ignore = "takes minutes"]
fn opening_and_closing_leaves_nothing_behind() {
    let seconds = std::env::var("UNWEIGHT_LONG_SECONDS").map_or(60, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let container = sample(folder.path());
    let bytes = fs::read(&container).unwrap();
    let round = || {
        read(&Model::open(&container).unwrap());
        read(
            &OpenOptions::new()
                .threads(2)
                .open_bytes(bytes.clone())
                .unwrap(),
        );
        // A rejected file, and one that is opened and not read.
        assert!(
            OpenOptions::new()
                .open_bytes(&bytes[..bytes.len() - 1])
                .is_err()
        );
        drop(Model::open(&container).unwrap());
        let made = Writer::new().tensor_bytes("w", Dtype::Bf16, &[512], &bytes[..1 << 10]);
        drop(made.finish(Vec::new()).unwrap());
    };
    (0..200).for_each(|_| round());
    let before = Held::now();
    let started = Instant::now();
    let mut rounds = 0;
    while started.elapsed() < Duration::from_secs(seconds) {
        round();
        rounds += 1;
    }
    let after = Held::now();
    println!("{rounds} rounds: {before:?}, then {after:?}");
    after.require_no_more_than(before);
}
