//! Files and model folders on a disk: conversion and back, events, cancellation, errors with paths.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use unweight::file::{self, Action, Event, FileError, FileErrorKind, FileOptions, Warning};
use unweight::{CompressOptions, Encoding, Error, folder};

/// A safetensors file with a BF16 tensor of this name and this many weights.
fn safetensors(name: &str, count: usize) -> Vec<u8> {
    let end = 2 * count;
    let header =
        format!(r#"{{"{name}":{{"dtype":"BF16","shape":[{count}],"data_offsets":[0,{end}]}}}}"#);
    let weights = (0..count).map(|i| half::bf16::from_f32((i as f32 * 0.37).sin() * 0.02));
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend(weights.flat_map(|weight| weight.to_le_bytes()));
    file
}

/// A place with the model folder `m`: two shards, an index, a folder, and files of version control.
fn place() -> TempDir {
    let place = TempDir::new().unwrap();
    let model = place.path().join("m");
    fs::create_dir_all(model.join("sub")).unwrap();
    fs::create_dir(model.join(".git")).unwrap();
    fs::write(model.join("1.safetensors"), safetensors("a", 70_000)).unwrap();
    fs::write(model.join("sub/2.safetensors"), safetensors("b", 50_000)).unwrap();
    let index = r#"{"weight_map":{"a":"1.safetensors","b":"sub/2.safetensors"}}"#;
    fs::write(model.join("model.safetensors.index.json"), index).unwrap();
    fs::write(model.join("sub/config.json"), "{}").unwrap();
    fs::write(model.join(".git/HEAD"), "main").unwrap();
    place
}

fn options() -> FileOptions {
    FileOptions::new().threads(2)
}

/// The paths of all files in a folder, relative to it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(folder).sort_by_file_name();
    let files = entries.into_iter().map(Result::unwrap);
    files
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| entry.path().strip_prefix(folder).unwrap().to_owned())
        .collect()
}

/// The names of the entries of a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn a_folder_is_restored_byte_for_byte() {
    let place = place();
    let [source, compressed, restored] = ["m", "m.unw", "back"].map(|name| place.path().join(name));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hear = {
        let heard = heard.clone();
        move |event: Event<'_>| {
            if let Event::Begin { step, .. } = event {
                let name = step.name.to_str().unwrap().to_owned();
                heard.lock().unwrap().push((step.action, step.number, name));
            }
            ControlFlow::Continue(())
        }
    };
    let report = folder::compress(&source, &compressed, &options().verify(true).events(hear));
    let report = report.unwrap();
    let heard = heard.lock().unwrap();
    let heard: Vec<_> = heard
        .iter()
        .map(|(action, number, name)| (*action, *number, name.as_str()))
        .collect();
    assert_eq!(
        heard,
        [
            (Action::Copy, 1, "model.safetensors.index.json"),
            (Action::Copy, 2, "sub/config.json"),
            (Action::Compress, 1, "1.safetensors"),
            (Action::Verify, 1, "1.safetensors"),
            (Action::Compress, 2, "sub/2.safetensors"),
            (Action::Verify, 2, "sub/2.safetensors"),
        ]
    );
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
    assert!(report.files.iter().all(|file| file.verified && !file.kept));
    assert!(report.output_bytes() < report.input_bytes());
    assert_eq!(report.copied.files, 2);
    assert_eq!(report.left_out.names, [PathBuf::from(".git")]);
    assert_eq!(report.files[1].output, compressed.join("sub/2.unw"));
    let length = fs::metadata(&report.files[1].output).unwrap().len();
    assert_eq!(report.files[1].output_bytes, length);

    let verified = folder::verify_against(&compressed, &source, &options()).unwrap();
    assert_eq!(verified.files.len(), 2);
    folder::decompress(&compressed, &restored, &options()).unwrap();
    let expected: Vec<PathBuf> = files(&source)
        .into_iter()
        .filter(|path| !path.starts_with(".git"))
        .collect();
    assert_eq!(files(&restored), expected);
    for path in expected {
        let [there, back] = [&source, &restored].map(|folder| fs::read(folder.join(&path)));
        assert_eq!(there.unwrap(), back.unwrap(), "{path:?}");
    }
}

/// Cancels the operation at each of its events in turn, until it is complete before that event.
/// Returns the number of cancelled runs.
fn cancel_at_each_event(place: &Path, run: impl Fn(&FileOptions) -> Result<(), Error>) -> usize {
    let before = names(place);
    for last in 1.. {
        let events = Arc::new(AtomicUsize::new(0));
        let count = events.clone();
        let options = options().verify(true).events(move |_| {
            match count.fetch_add(1, Ordering::Relaxed) + 1 >= last {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        match run(&options) {
            Err(Error::Cancelled) => assert_eq!(names(place), before, "event {last}"),
            Err(error) => panic!("event {last}: {error}"),
            Ok(()) => return last - 1,
        }
        assert!(events.load(Ordering::Relaxed) >= last);
    }
    unreachable!()
}

#[test]
fn a_cancelled_operation_on_a_folder_leaves_nothing() {
    let place = place();
    let [source, compressed, restored] = ["m", "m.unw", "back"].map(|name| place.path().join(name));
    let runs = cancel_at_each_event(place.path(), |options| {
        folder::compress(&source, &compressed, options).map(drop)
    });
    // Two files are copied, and two are compressed and verified. Each has a progress, too.
    assert!(runs >= 12, "{runs}");
    let runs = cancel_at_each_event(place.path(), |options| {
        folder::decompress(&compressed, &restored, options).map(drop)
    });
    assert!(runs >= 8, "{runs}");
}

#[test]
fn a_cancelled_operation_on_a_file_leaves_nothing() {
    let place = place();
    let [source, compressed, restored] =
        ["m/1.safetensors", "1.unw", "1.safetensors"].map(|name| place.path().join(name));
    let runs = cancel_at_each_event(place.path(), |options| {
        file::compress(&source, &compressed, options).map(drop)
    });
    assert!(runs >= 4, "{runs}");
    cancel_at_each_event(place.path(), |options| {
        file::decompress(&compressed, &restored, options).map(drop)
    });
    assert_eq!(fs::read(source).unwrap(), fs::read(restored).unwrap());
}

#[test]
fn transcoding_keeps_what_files_and_folders_restore() {
    let place = place();
    let path = |name: &str| place.path().join(name);
    folder::compress(path("m"), path("huffman"), &options()).unwrap();
    let report = folder::transcode(
        path("huffman"),
        path("palette"),
        Encoding::Palette,
        &options(),
    );
    let report = report.unwrap();
    let outputs: Vec<_> = report
        .files
        .iter()
        .map(|file| file.output.clone())
        .collect();
    assert_eq!(outputs, folder::containers(path("palette")).unwrap());
    assert_eq!(outputs, [path("palette/1.unw"), path("palette/sub/2.unw")]);
    assert!(report.output_bytes() > report.input_bytes());
    folder::decompress(path("palette"), path("restored"), &options()).unwrap();
    for name in ["1.safetensors", "sub/2.safetensors", "sub/config.json"] {
        let read = |folder: &str| fs::read(path(folder).join(name)).unwrap();
        assert!(read("m") == read("restored"), "{name}");
    }

    let (first, back) = (path("palette/1.unw"), path("back.unw"));
    let report = file::transcode(&first, &back, Encoding::Huffman, &options()).unwrap();
    assert_eq!(
        fs::read(&back).unwrap(),
        fs::read(path("huffman/1.unw")).unwrap()
    );
    assert_eq!(report.output_bytes, fs::metadata(&back).unwrap().len());
    let error = file::transcode(&first, &back, Encoding::Huffman, &options()).unwrap_err();
    assert!(
        matches!(error, Error::File(FileError::Exists { .. })),
        "{error}"
    );
    assert_eq!(error.path(), Some(&*back));
    let cancelled = cancel_at_each_event(place.path(), |options| {
        file::transcode(&first, path("cancelled.unw"), Encoding::Huffman, options).map(drop)
    });
    assert!(cancelled > 2);
}

#[test]
fn a_resumed_operation_keeps_finished_files() {
    let place = place();
    let [source, compressed] = ["m", "m.unw"].map(|name| place.path().join(name));
    let kept = Arc::new(AtomicUsize::new(0));
    let stop_after_one = {
        let kept = kept.clone();
        move |event: Event<'_>| match event {
            Event::Converted { .. } => ControlFlow::Break(()),
            Event::Stopped { kept_files } => {
                kept.store(kept_files, Ordering::Relaxed);
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Continue(()),
        }
    };
    // A selection of tensors is part of the settings of a run.
    let selecting = |excluded: &'static str| {
        let compression = CompressOptions::new().select(move |name| name != excluded);
        options().compression(compression).resume(true)
    };
    let stopped = folder::compress(&source, &compressed, &selecting("b").events(stop_after_one));
    assert!(matches!(stopped, Err(Error::Cancelled)), "{stopped:?}");
    assert_eq!(kept.load(Ordering::Relaxed), 1);
    assert_eq!(names(place.path()), [".unweight-m.unw.partial", "m"]);

    // A run that stops while it compares a kept file keeps it again.
    let kept = Arc::new(AtomicUsize::new(0));
    let stop_in_comparison = {
        let kept = kept.clone();
        move |event: Event<'_>| match event {
            Event::Begin { step, .. } if step.action == Action::Verify => ControlFlow::Break(()),
            Event::Stopped { kept_files } => {
                kept.store(kept_files, Ordering::Relaxed);
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Continue(()),
        }
    };
    let options = selecting("b").events(stop_in_comparison);
    let stopped = folder::compress(&source, &compressed, &options);
    assert!(matches!(stopped, Err(Error::Cancelled)), "{stopped:?}");
    assert_eq!(kept.load(Ordering::Relaxed), 1);

    let resumed = folder::compress(&source, &compressed, &selecting("b")).unwrap();
    let kept: Vec<bool> = resumed.files.iter().map(|file| file.kept).collect();
    assert_eq!(kept, [true, false]);
    assert!(resumed.warnings.is_empty(), "{:?}", resumed.warnings);
    assert_eq!(names(place.path()), ["m", "m.unw"]);

    let stop = |event: Event<'_>| match event {
        Event::Converted { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let other = place.path().join("other.unw");
    folder::compress(&source, &other, &selecting("b").events(stop)).unwrap_err();
    let made_again = folder::compress(&source, &other, &selecting("a")).unwrap();
    assert!(made_again.files.iter().all(|file| !file.kept));
    let warning = &made_again.warnings[..];
    assert!(
        matches!(warning, [Warning::OtherSettings { .. }]),
        "{warning:?}"
    );
}

#[test]
fn warnings_are_in_the_report_and_in_the_events() {
    let place = place();
    let [source, compressed] = ["m", "m.unw"].map(|name| place.path().join(name));
    fs::remove_file(source.join("sub/2.safetensors")).unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hear = {
        let heard = heard.clone();
        move |event: Event<'_>| {
            if let Event::Warning(warning) = event {
                heard.lock().unwrap().push(warning.to_string());
            }
            ControlFlow::Continue(())
        }
    };
    let report = folder::compress(&source, &compressed, &options().events(hear)).unwrap();
    let [Warning::MissingShards { indexes, .. }] = &report.warnings[..] else {
        panic!("{:?}", report.warnings);
    };
    assert_eq!(indexes[0].shards, [PathBuf::from("sub/2.safetensors")]);
    assert_eq!(*heard.lock().unwrap(), [report.warnings[0].to_string()]);

    let error = folder::decompress(&compressed, place.path().join("back"), &options());
    let Err(Error::File(error @ FileError::MissingShards { .. })) = error else {
        panic!("{error:?}");
    };
    assert_eq!(error.kind(), FileErrorKind::Content);
}

#[test]
fn errors_name_the_file_that_they_concern() {
    let place = place();
    let [source, compressed] = ["m", "m.unw"].map(|name| place.path().join(name));
    let taken = folder::compress(&source, &source, &options()).unwrap_err();
    assert!(
        matches!(&taken, Error::File(FileError::Exists { path }) if *path == source),
        "{taken:?}"
    );
    let forced = folder::compress(&source, &source, &options().force(true)).unwrap_err();
    assert!(
        matches!(forced, Error::File(FileError::IsInput { .. })),
        "{forced:?}"
    );
    let bad = source.join("sub/2.safetensors");
    fs::write(&bad, [0xff; 100]).unwrap();
    let error = folder::compress(&source, &compressed, &options()).unwrap_err();
    let Error::At { path, error } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(*path, bad);
    assert!(matches!(**error, Error::Source(_)), "{error:?}");
    assert_eq!(names(place.path()), ["m"]);

    let not_a_folder = folder::verify(&bad, &options()).unwrap_err();
    assert!(
        matches!(not_a_folder, Error::File(FileError::NotAFolder { .. })),
        "{not_a_folder:?}"
    );
    let not_a_file = file::compress(&source, &compressed, &options()).unwrap_err();
    assert!(
        matches!(not_a_file, Error::File(FileError::NotAFile { .. })),
        "{not_a_file:?}"
    );
}

#[test]
fn a_file_that_differs_from_its_source_is_told() {
    let place = place();
    let [source, compressed] = ["m/1.safetensors", "1.unw"].map(|name| place.path().join(name));
    file::compress(&source, &compressed, &options()).unwrap();
    let mut bytes = fs::read(&source).unwrap();
    let restored_bytes = file::verify_against(&compressed, &source, &options()).unwrap();
    assert_eq!(restored_bytes, bytes.len() as u64);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&source, &bytes).unwrap();
    let error = file::verify_against(&compressed, &source, &options()).unwrap_err();
    assert!(
        matches!(error, Error::File(FileError::Differs { offset, .. }) if offset == last as u64),
        "{error:?}"
    );
    bytes.push(0);
    bytes[last] ^= 1;
    fs::write(&source, &bytes).unwrap();
    let error = file::verify_against(&compressed, &source, &options()).unwrap_err();
    assert!(
        matches!(error, Error::File(FileError::DiffersInLength { .. })),
        "{error:?}"
    );
}
