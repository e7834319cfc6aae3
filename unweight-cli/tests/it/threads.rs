//! Threads: there are no more than there is work for, and the work is done even if the system
//! refuses some.

use std::fs;
use std::process::Command;
use unweight_testkit::{Random, bf16, safetensors_file};

use crate::model::mixed;
use crate::place::{Place, UNWEIGHT};

/// The stacks of 1,023 threads alone take twice this limit.
#[test]
fn a_small_file_costs_no_thousand_threads() {
    const KIB: u32 = 1_000_000;
    let place = Place::with_compressed(&mixed(), &[]);
    for call in [
        &["compress", "m.safetensors", "--force", "--verify"][..],
        &["decompress", "m.unw", "--force"],
        &["inspect", "m.unw"],
        &["inspect", "m.unw", "--directory"],
        &["verify", "m.unw"],
        &["extract", "m.unw", "embed"],
        &[
            "transcode",
            "m.unw",
            "--to",
            "palette",
            "-o",
            "out",
            "--force",
        ],
    ] {
        place
            .run_within(KIB, &[call, &["--threads", "1024"]].concat())
            .succeeds();
    }
}

#[test]
fn where_threads_are_refused_the_others_do_the_work() {
    const KIB: u32 = 100_000;
    let source = safetensors_file(&[bf16("w", &Random::new(95).trained_weights(2_000_000))]);
    let place = Place::with_compressed(&source, &["--chunk", "12"]);
    let expected = place.read("m.unw");
    let compress = [
        "compress",
        "m.safetensors",
        "--chunk",
        "12",
        "-o",
        "again.unw",
        "--force",
        "--threads",
        "64",
    ];
    let (_, line) = place.run_within(KIB, &compress).succeeds_with_warning();
    assert!(
        line.contains("threads could not be started") && line.contains("continuing with"),
        "{line}"
    );
    assert!(place.read("again.unw") == expected);
    // `--quiet` leaves out everything but errors.
    let quiet = [&compress[..], &["--quiet"]].concat();
    place.run_within(KIB, &quiet).succeeds();
    let verify = ["verify", "m.unw", "--threads", "64", "--json"];
    let (stdout, _) = place.run_within(KIB, &verify).succeeds_with_warning();
    assert!(String::from_utf8(stdout).unwrap().contains("\"ok\": true"));
}

/// Root has no limit on its processes, so another user runs the program.
#[test]
fn where_processes_are_limited_exit_codes_are_documented() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::with_compressed(&mixed(), &[]);
    fs::copy(UNWEIGHT, place.path("unweight")).unwrap();
    fs::set_permissions(place.path(""), fs::Permissions::from_mode(0o777)).unwrap();
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| {
        use std::os::unix::fs::MetadataExt;
        own.uid() == 0
    });
    for limit in 1..8 {
        for threads in ["1", "2", "8"] {
            for call in [
                &["verify", "m.unw"][..],
                &["inspect", "m.unw"],
                &["decompress", "m.unw", "-o", "out", "--force"],
            ] {
                let mut command = Command::new("prlimit");
                command.arg(format!("--nproc={limit}"));
                if is_root {
                    command.args(["setpriv", "--reuid=65533", "--clear-groups"]);
                }
                command
                    .arg(place.path("unweight"))
                    .args(call)
                    .args(["--threads", threads]);
                let output = command.current_dir(place.path("")).output().unwrap();
                let stderr = String::from_utf8_lossy(&output.stderr);
                let code = output.status.code();
                assert!(matches!(code, Some(0 | 3)), "{call:?}: {code:?}: {stderr}");
                assert!(!stderr.contains("panicked"), "{stderr}");
            }
        }
    }
}
