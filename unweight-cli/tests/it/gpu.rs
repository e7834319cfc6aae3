//! `--gpu`. Where the machine has no usable device, `--gpu` has to fail with exit code 3, say so,
//! and leave no output. Where it has one, restored bytes have to be right, and messages about bad
//! files have to equal those of the CPU.

use unweight_testkit::repository;

use crate::model::{mixed, small};
use crate::place::Place;
use crate::restamp::Small;

/// Number of a device that no machine has.
const NO_SUCH_DEVICE: &str = "--gpu=60000";

/// Whether there is a device. `bench` tells it, because it reads no file that could be at fault.
fn has_device(place: &Place) -> bool {
    let run = place.run(&["bench", "--runs", "1", "--rows", "1", "--quiet", "--gpu"]);
    let found = run.is_success();
    if !found {
        let line = run.fails(3);
        println!("there is no device here: {line}");
    }
    found
}

#[test]
fn without_a_device_it_fails_with_what_to_do_and_leaves_no_output() {
    let place = Place::with_compressed(&mixed(), &[]);
    place.write("folder.unw/m.unw", &place.read("m.unw"));
    place.write("old", b"old");
    let mut absent = vec![NO_SUCH_DEVICE];
    if !has_device(&place) {
        absent.extend(["--gpu", "--gpu=1"]);
    }
    let before = place.names();
    for gpu in absent {
        for call in [
            &["decompress", "m.unw", "-o", "out"][..],
            &["decompress", "m.unw", "-o", "old", "--force"],
            &["decompress", "folder.unw", "-o", "folder"],
            &["verify", "m.unw"],
            &["bench"],
        ] {
            let call = [call, &[gpu]].concat();
            let line = place.run(&call).fails(3);
            assert!(
                line.contains("GPU: ") && line.contains("run without --gpu"),
                "{line}"
            );
            let (_, failure) = place
                .run(&[&call[..], &["--json"]].concat())
                .fails_with_json(3);
            assert_eq!(failure["error"]["kind"], "io");
        }
    }
    assert_eq!(place.names(), before);
    assert_eq!(place.read("old"), b"old");
}

#[test]
#[ignore = "needs a GPU: run with --include-ignored where there is one"]
fn with_a_device_what_is_restored_is_the_source() {
    let source = mixed();
    let place = Place::with_compressed(&source, &["--chunk", "12"]);
    place
        .run(&["transcode", "m.unw", "--to", "palette", "-o", "palette.unw"])
        .succeeds();
    for file in ["m.unw", "palette.unw"] {
        place
            .run(&["decompress", file, "--gpu", "--force", "-o", "back"])
            .succeeds();
        assert!(place.read("back") == source, "{file}");
        place
            .run(&["verify", file, "--gpu", "--against", "m.safetensors"])
            .succeeds();
    }
}

#[test]
#[ignore = "needs a GPU: run with --include-ignored where there is one"]
fn with_a_device_bad_files_are_told_as_by_the_cpu() {
    let place = Place::with_compressed(&small(), &[]);
    let whole = place.read("m.unw");
    let coded = Small(whole.clone()).coded();
    let mut told = std::collections::BTreeSet::new();
    let bytes = (0..coded.records().length.min(600)).map(|byte| coded.records().offset + byte);
    // The damage hits the kind, the code lengths and the lane ends, which checksums cover. Only a
    // few bytes are damaged, because a process takes half a second to find a device.
    for offset in bytes.step_by(31).chain([coded.plain().offset]) {
        let mut spoilt = Small(whole.clone());
        spoilt.flip(offset, 0x15);
        place.write("bad.unw", &spoilt.0);
        let [cpu, gpu] = [&[][..], &["--gpu"]]
            .map(|gpu| place.run(&[&["verify", "bad.unw"], gpu].concat()).fails(1));
        assert_eq!(cpu, gpu);
        told.insert(cpu);
    }
    assert!(told.len() > 1);
}

#[test]
#[ignore = "needs a GPU: run with --include-ignored where there is one"]
fn with_a_device_the_budget_counts_a_tensor_on_the_host() {
    let place = Place::with_compressed(&mixed(), &[]);
    let call = ["verify", "m.unw", "--gpu", "--json", "--memory"];
    let mut budget = 0;
    loop {
        let allowed = budget.to_string();
        let run = place.run(&[&call[..], &[&allowed]].concat());
        if run.is_success() {
            break;
        }
        let (_, failure) = run.fails_with_json(4);
        let needed = failure["error"]["needed_bytes"].as_u64().unwrap();
        assert!(needed > budget);
        budget = needed;
    }
    let less = (budget - 1).to_string();
    place
        .run(&["verify", "m.unw", "--gpu", "--memory", &less])
        .fails(4);
}

#[test]
fn without_a_device_nothing_is_tuned() {
    let place = Place::with_compressed(&mixed(), &[]);
    let before = place.names();
    let call = ["tune", "m.unw", "-o", "tuning.json", NO_SUCH_DEVICE];
    let line = place.run(&call).fails(3);
    assert!(line.contains("GPU: "), "{line}");
    place
        .run(&["tune", "m.unw", "-o", "tuning.json", "--batches", "0"])
        .misunderstood();
    assert_eq!(place.names(), before);
    // An existing file is not replaced unless asked for.
    place.write("tuning.json", b"{}");
    let line = place.run(&call).fails(2);
    assert!(line.contains("--force"), "{line}");
    assert_eq!(place.read("tuning.json"), b"{}");
}

#[test]
#[ignore = "needs a GPU: run with --include-ignored where there is one"]
fn with_a_device_every_shape_and_batch_gets_a_pipeline() {
    let place = Place::new();
    let sample = repository("samples/minilm-layer0.safetensors");
    let sample = sample.to_str().unwrap();
    place.run(&["compress", sample, "-o", "m.unw"]).succeeds();
    for form in ["fragments", "coded"] {
        let call = [
            "tune",
            "m.unw",
            "-o",
            "tuning.json",
            "--batches",
            "1,100",
            "--form",
            form,
            "--force",
            "--json",
        ];
        let printed = place.run(&call).json();
        let tuning: serde_json::Value = serde_json::from_slice(&place.read("tuning.json")).unwrap();
        assert_eq!(printed, tuning);
        // The shapes are 384 x 384 and 1536 x 384.
        let choices = tuning["choices"].as_array().unwrap();
        assert_eq!(choices.len(), 2 * 2);
        assert!(choices.iter().all(|choice| choice["form"] == form));
    }
}

#[test]
fn ordinals_that_are_no_number_are_wrong_use() {
    let place = Place::with_compressed(&mixed(), &[]);
    for gpu in ["--gpu=", "--gpu=first", "--gpu=-1", "--gpu=65536"] {
        place.run(&["verify", "m.unw", gpu]).misunderstood();
        place.run(&["bench", gpu]).misunderstood();
    }
    // Commands that do not decode on a device reject `--gpu`.
    place.run(&["inspect", "m.unw", "--gpu"]).misunderstood();
}
