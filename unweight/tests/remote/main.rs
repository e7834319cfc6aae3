//! Files by URL: requests, faults, changes, and what messages say.

mod s3;
mod server;

use std::time::Duration;

use half::bf16;
use server::{Fault, Server};
use unweight::remote::{RemoteError, RemoteOptions, RemoteProblem};
use unweight::{
    Checkpoint, Coalesce, CompressOptions, Error, MemoryBudget, Model, OpenOptions, StorageError,
    StorageFault,
};
use unweight_testkit::{bf16, safetensors_file, trained_like};

/// A safetensors file of some tensors, and its container.
fn files(tensors: usize, weights: usize) -> (Vec<u8>, Vec<u8>) {
    let tensors: Vec<_> = (0..tensors)
        .map(|number| bf16(&format!("layers.{number}.weight"), &trained_like(weights)))
        .collect();
    let source = safetensors_file(&tensors);
    let container = unweight::compress(&source, &CompressOptions::new()).unwrap();
    (source, container)
}

fn impatient() -> RemoteOptions {
    RemoteOptions::new()
        .retries(2)
        .patience(Duration::from_secs(5))
}

/// Options that read little beside what is asked for, so that short files take several requests.
fn little_ahead() -> OpenOptions {
    OpenOptions::new().coalesce(Coalesce::new().gap_bytes(4 << 10))
}

fn open(server: &Server) -> Result<Model, Error> {
    little_ahead().open_url_with(&server.url("a/model.unw"), &impatient())
}

fn restored(model: &Model) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    model.restore(&mut bytes)?;
    Ok(bytes)
}

/// The problem of an error, wherever it is inside.
fn problem(error: &Error) -> RemoteProblem {
    let error = match error {
        Error::Read(error) => error,
        Error::At { error, .. } => return problem(error),
        other => panic!("{other:?}"),
    };
    let mut inner = error.get_ref().expect("an inner error");
    while let Some(StorageFault::Failed(error)) = inner
        .downcast_ref::<StorageError>()
        .map(StorageError::fault)
    {
        inner = error.get_ref().expect("an inner error");
    }
    let inner: &RemoteError = inner.downcast_ref().expect("a remote error");
    inner.problem()
}

#[test]
fn opening_takes_one_ranged_read_or_two_if_the_directory_is_long() {
    let (_, file) = files(300, 64);
    let server = Server::of(&file);
    let url = server.url("m.unw");
    OpenOptions::new()
        .open_url_with(&url, &impatient())
        .unwrap();
    assert_eq!(server.requests().len(), 1);

    let server = Server::of(&file);
    let model = open(&server).unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert_eq!(requests[0].bytes, 4 << 10);
    assert_eq!(model.tensor_count(), 300);
}

#[test]
fn a_range_of_a_tensor_reads_little() {
    let (_, file) = files(1, 4 << 20);
    let server = Server::of(&file);
    let model = open(&server).unwrap();
    let opened = server.requests().len();
    let weights: Vec<bf16> = model
        .tensor_at(0)
        .unwrap()
        .range(3_000_000..3_000_010)
        .unwrap();
    assert_eq!(weights, trained_like(4 << 20)[3_000_000..3_000_010]);
    let requests = server.requests();
    let bytes: u64 = requests[opened..].iter().map(|request| request.bytes).sum();
    assert!(
        bytes < file.len() as u64 / 4,
        "{bytes} of {} bytes",
        file.len()
    );
}

#[test]
fn restores_through_merged_reads_within_a_memory_budget() {
    let (source, file) = files(40, 100_000);
    for (memory, most) in [(None, 12), (Some(8 << 20), 40)] {
        let server = Server::of(&file);
        let mut options = OpenOptions::new().threads(2);
        if let Some(memory) = memory {
            options = options.memory(MemoryBudget::of_bytes(memory));
        }
        let model = options
            .open_url_with(&server.url("m.unw"), &impatient())
            .unwrap();
        assert!(restored(&model).unwrap() == source);
        let requests = server.requests().len();
        assert!(requests <= most, "{requests} requests");
    }
}

#[test]
fn repeats_what_fails_for_a_moment() {
    let (source, file) = files(4, 100_000);
    for e_tag in [Some("\"1\""), Some("W/\"1\""), None] {
        for fault in [
            Fault::Drop,
            Fault::Status(503),
            Fault::Truncate,
            Fault::Delay(300),
        ] {
            let server = Server::of(&file);
            server.state().e_tag = e_tag;
            server.state().faults.push_back(fault);
            let model = open(&server).unwrap_or_else(|error| panic!("{fault:?}: {error}"));
            server.state().faults.push_back(fault);
            assert!(restored(&model).unwrap() == source, "{fault:?} {e_tag:?}");
            assert!(server.state().faults.is_empty(), "{fault:?} {e_tag:?}");
        }
    }
}

#[test]
fn notices_an_object_that_changes_under_the_reader() {
    let (_, file) = files(4, 100_000);
    type Change = fn(&mut server::State);
    let changes: [(&str, Change); 5] = [
        ("ETag, compared by the server", |state| {
            state.e_tag = Some("\"2\"")
        }),
        ("ETag, compared here", |state| {
            (state.e_tag, state.compares) = (Some("\"2\""), false);
        }),
        ("ETag is gone", |state| {
            (state.e_tag, state.compares) = (None, false)
        }),
        ("length", |state| state.object.push(0)),
        ("time", |state| {
            state.modified = Some("Wed, 02 Dec 2026 00:00:00 GMT")
        }),
    ];
    for (name, change) in changes {
        let server = Server::of(&file);
        if name == "time" {
            server.state().e_tag = None;
        }
        let model = open(&server).unwrap();
        change(&mut server.state());
        let error = model.verify().unwrap_err();
        assert_eq!(problem(&error), RemoteProblem::Changed, "{name}: {error}");
        assert!(error.to_string().ends_with("; open it again"), "{error}");
    }
}

#[test]
fn says_what_is_wrong_and_where() {
    let (_, file) = files(1, 1000);
    for (fault, expected) in [
        (Fault::Status(404), RemoteProblem::NotFound),
        (Fault::Status(401), RemoteProblem::Refused),
        (Fault::Status(403), RemoteProblem::Refused),
        (Fault::Status(503), RemoteProblem::Status(503)),
        (Fault::IgnoreRange, RemoteProblem::NoRanges),
        (Fault::OtherRange, RemoteProblem::Failed),
        (Fault::Drop, RemoteProblem::Interrupted),
        (Fault::Delay(5000), RemoteProblem::TimedOut),
    ] {
        let server = Server::of(&file);
        server.state().faults.extend([fault; 20]);
        let options = RemoteOptions::new()
            .retries(1)
            .patience(Duration::from_millis(300));
        let url = server.url("a/model.unw?signature=hidden");
        let error = OpenOptions::new()
            .open_url_with(&url, &options)
            .unwrap_err();
        assert_eq!(problem(&error), expected, "{fault:?}: {error}");
        let shown = server.url("a/model.unw: ");
        assert!(error.to_string().starts_with(&shown), "{error}");
        assert!(
            !format!("{error:?} {error}").contains("hidden"),
            "{error:?}"
        );
        let target = &server.requests()[0].target;
        assert_eq!(target, "/a/model.unw?signature=hidden");
    }
    // Nothing listens at this port.
    let error = OpenOptions::new().open_url_with("http://127.0.0.1:1/m.unw", &impatient());
    assert_eq!(problem(&error.unwrap_err()), RemoteProblem::NoConnection);
}

#[test]
fn a_bad_file_is_named_with_its_place() {
    for bytes in [&b""[..], b"no container"] {
        let server = Server::of(bytes);
        let error = open(&server).unwrap_err();
        assert!(error.rule().is_some(), "{error:?}");
        assert!(
            error.to_string().starts_with("http://127.0.0.1:"),
            "{error}"
        );
    }
}

#[test]
fn opens_safetensors_files_too() {
    let (source, file) = files(2, 1000);
    for bytes in [&source, &file] {
        let server = Server::of(bytes);
        let url = server.url("m");
        let checkpoint = Checkpoint::open_url(&url, &OpenOptions::new(), &impatient()).unwrap();
        let tensor = checkpoint.tensor("layers.1.weight").unwrap();
        assert_eq!(
            tensor.to_bytes().unwrap(),
            unweight_testkit::bytes_of(&trained_like(1000))
        );
    }
}

#[test]
fn opens_files_of_this_machine() {
    let (source, file) = files(2, 1000);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a model.unw");
    std::fs::write(&path, file).unwrap();
    let url = format!("file://{}", path.display()).replace(' ', "%20");
    let model = OpenOptions::new().open_url(&url).unwrap();
    assert!(restored(&model).unwrap() == source);
}

#[test]
fn reads_on_a_thread_of_another_runtime() {
    let (source, file) = files(2, 1000);
    let server = Server::of(&file);
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let model = runtime.block_on(async { open(&server) }).unwrap();
    let restored = runtime.block_on(async { restored(&model) }).unwrap();
    assert!(restored == source);
}
