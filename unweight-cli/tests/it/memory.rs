//! Memory budget: exit code 4 if a file needs more, and the same result if it does not.

use unweight_testkit::{Random, bf16, safetensors_file, tensor};

use crate::model::mixed;
use crate::place::Place;

/// A call of each command that takes a budget. Those that write a file write `out`.
const CALLS: [&[&str]; 7] = [
    &["compress", "m.safetensors", "--force", "-o", "out"],
    &[
        "compress",
        "m.safetensors",
        "--force",
        "--verify",
        "-o",
        "out",
    ],
    &["decompress", "m.unw", "--force", "-o", "out"],
    &["extract", "m.unw", "embed", "--force", "-o", "out"],
    &[
        "extract", "m.unw", "embed", "--range", "5..60000", "--force", "-o", "out",
    ],
    &[
        "transcode",
        "m.unw",
        "--to",
        "palette",
        "--force",
        "-o",
        "out",
    ],
    &["verify", "m.unw", "--against", "m.safetensors"],
];

/// Least budget with which a call succeeds. Each failure says how much to allow next.
fn least_budget(place: &Place, call: &[&str]) -> u64 {
    let mut budget = 0;
    loop {
        let allowed = budget.to_string();
        let run = place.run(&[call, &["--memory", &allowed, "--json"]].concat());
        if run.is_success() {
            return budget;
        }
        let (line, failure) = run.fails_with_json(4);
        let error = &failure["error"];
        assert_eq!(error["kind"], "memory");
        assert_eq!(error["rule"], serde_json::Value::Null);
        assert_eq!(error["allowed_bytes"], budget);
        let needed = error["needed_bytes"].as_u64().unwrap();
        assert!(needed > budget, "{line}");
        assert!(
            line.contains(&format!(
                "needs {needed} bytes of memory, but {budget} are allowed"
            )) && line.contains("--memory"),
            "{line}"
        );
        budget = needed;
    }
}

#[test]
fn what_the_message_says_is_enough_and_a_byte_less_is_not() {
    let place = Place::with_compressed(&mixed(), &[]);
    for call in CALLS {
        let least = least_budget(&place, call);
        // The output does not depend on the budget, which is enough for one chunk here.
        let outputs = [&[][..], &["--memory", &least.to_string()]].map(|budget| {
            place.run(&[call, budget].concat()).succeeds();
            place.path("out").exists().then(|| place.read("out"))
        });
        assert!(outputs[0] == outputs[1], "{call:?}");
        let before = place.names();
        let less = (least - 1).to_string();
        place.run(&[call, &["--memory", &less]].concat()).fails(4);
        assert_eq!(place.names(), before, "{call:?}");
    }
    for call in [
        &["inspect", "m.unw"][..],
        &["inspect", "m.unw", "--directory"],
    ] {
        let least = least_budget(&place, call).to_string();
        let whole = place.run(call).succeeds();
        let within = place
            .run(&[call, &["--memory", &least]].concat())
            .succeeds();
        assert_eq!(within, whole);
    }
}

#[test]
fn threads_share_what_there_is() {
    let mut numbers = Random::new(90);
    let source = safetensors_file(&[bf16("w", &numbers.trained_weights(300_000))]);
    let place = Place::with_compressed(&source, &["--chunk", "12"]);
    for memory in ["600KiB", "2MiB", "5MiB", "1GiB"] {
        for threads in ["1", "2", "3", "8"] {
            let with = ["--memory", memory, "--threads", threads, "--force", "-o"];
            let compress = ["compress", "m.safetensors", "--chunk", "12"];
            let again = place.run(&[&compress, &with[..], &["again.unw"]].concat());
            match memory {
                // The budget is enough to read chunks of 2^12 weights, but a tensor may have to be
                // stored raw, in larger blocks.
                "600KiB" => drop(again.fails(4)),
                _ => drop(again.succeeds()),
            }
            place
                .run(&[&["decompress", "m.unw"], &with[..], &["back"]].concat())
                .succeeds();
            assert!(place.read("back") == source);
        }
    }
    assert!(place.read("again.unw") == place.read("m.unw"));
}

#[test]
fn a_file_that_is_bad_is_bad_within_any_budget_that_reads_so_far() {
    let place = Place::with_compressed(&mixed(), &[]);
    let mut file = place.read("m.unw");
    let middle = file.len() / 2;
    file[middle] ^= 1;
    place.write("bad.unw", &file);
    place.write("text.unw", b"text");
    for memory in ["64MiB", "1GiB", "16777215TiB"] {
        for file in ["bad.unw", "text.unw"] {
            place.run(&["verify", file, "--memory", memory]).fails(1);
        }
    }
    place
        .run(&["verify", "text.unw", "--memory", "64"])
        .fails(1);
    place.run(&["verify", "bad.unw", "--memory", "64"]).fails(4);
}

#[test]
fn a_long_directory_is_refused_where_there_is_little_memory() {
    let tensors: Vec<_> = (0..3_000)
        .map(|i| tensor(&format!("tensor {i}"), "U8", &[0], vec![]))
        .collect();
    let place = Place::with_compressed(&safetensors_file(&tensors), &[]);
    for call in [
        &["compress", "m.safetensors", "-o", "out"][..],
        &["verify", "m.unw"],
        &["decompress", "m.unw", "-o", "out"],
        &["transcode", "m.unw", "--to", "palette", "-o", "out"],
        &["extract", "m.unw", "tensor 5", "-o", "out"],
        &["inspect", "m.unw"],
    ] {
        let line = place
            .run(&[call, &["--memory", "100KiB"]].concat())
            .fails(4);
        assert!(line.contains("but 102400 are allowed"), "{line}");
        place
            .run(&[call, &["--memory", "64MiB", "--json"]].concat())
            .json();
        let _ = std::fs::remove_file(place.path("out"));
    }
}

#[test]
fn budgets_have_the_units_of_dd() {
    let place = Place::with_compressed(&mixed(), &[]);
    for (memory, bytes) in [
        ("3K", 3 << 10),
        ("3KiB", 3 << 10),
        ("3k", 3 << 10),
        ("3KB", 3_000),
    ] {
        let run = place.run(&["verify", "m.unw", "--json", "--memory", memory]);
        let (_, failure) = run.fails_with_json(4);
        assert_eq!(failure["error"]["allowed_bytes"], bytes, "{memory}");
    }
    for memory in ["64M", "1G", "64MB", "1T"] {
        place
            .run(&["verify", "m.unw", "--memory", memory])
            .succeeds();
    }
}

#[test]
fn budgets_that_are_no_number_of_bytes_are_wrong_use() {
    let place = Place::with_compressed(&mixed(), &[]);
    for memory in ["", "much", "64MBit", "-1", "1.5GiB"] {
        let memory = format!("--memory={memory}");
        place.run(&["verify", "m.unw", &memory]).misunderstood();
    }
    place.run(&["bench", "--memory", "1GiB"]).misunderstood();
}

/// One long name must not cost memory or output in every row.
#[cfg(target_os = "linux")]
#[test]
fn a_long_name_among_thousands_is_reported_within_little_memory() {
    const KIB: u32 = 150_000;
    let mut tensors = vec![bf16("w", &Random::new(96).trained_weights(9_000))];
    tensors.push(tensor(&"n".repeat(60_000), "U8", &[1], vec![1]));
    tensors.extend((0..2_500).map(|number| tensor(&format!("{number}"), "U8", &[1], vec![1])));
    let place = Place::with_compressed(&safetensors_file(&tensors), &[]);
    for options in [&[][..], &["--directory"], &["--json"]] {
        let call = ["inspect", "m.unw", "--memory", "40MiB", "--threads", "1"];
        let shown = place.run_within(KIB, &[&call, options].concat()).succeeds();
        let text = String::from_utf8(shown).unwrap();
        assert!(text.contains(&"n".repeat(60_000)));
        assert!(text.len() < 5_000_000, "{options:?}: {}", text.len());
        if options == ["--json"] {
            let shown: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(shown["tensors"].as_array().unwrap().len(), 2_502);
            assert_eq!(shown["totals"]["compressed"]["tensors"], 1);
        }
    }
}
