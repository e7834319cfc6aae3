//! Order in which output reaches the disk: data before names, and names before the replaced entries
//! are deleted.

use crate::model::mixed;
use crate::place::Place;

/// One action of a program on the disk.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Flush of a file or folder, by its path.
    Flush(String),
    /// Rename from one path to another.
    Rename(String, String),
    Delete(String),
}

/// The steps of a trace.
fn steps(trace: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for line in trace.replace("/./", "/").lines() {
        let quoted: Vec<_> = line
            .split('"')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect();
        let call = line.split_whitespace().nth(1).unwrap_or_default();
        let call = call.split('(').next().unwrap();
        let returned_0 = line.ends_with(" = 0") || line.contains("<unfinished ...>");
        match call {
            _ if !returned_0 => {}
            "fsync" => {
                let path = line.split(['<', '>']).nth(1).unwrap();
                steps.push(Step::Flush(path.to_owned()));
            }
            "rename" | "renameat" | "renameat2" => {
                steps.push(Step::Rename(quoted[0].clone(), quoted[1].clone()));
            }
            "unlink" | "unlinkat" | "rmdir" => steps.push(Step::Delete(quoted[0].clone())),
            _ => {}
        }
    }
    steps
}

const TRACED: [&str; 2] = [
    "-e",
    "trace=fsync,rename,renameat,renameat2,unlink,unlinkat,rmdir",
];

fn place_of_flush(steps: &[Step], path: &str) -> usize {
    let found = steps
        .iter()
        .position(|step| *step == Step::Flush(path.to_owned()));
    found.unwrap_or_else(|| panic!("{path} is not flushed: {steps:#?}"))
}

/// Index of the step that gives the output its name, and the temporary name that the output has
/// before.
fn place_of_name(steps: &[Step], name: &str) -> (usize, String) {
    let renamed = steps.iter().enumerate().find_map(|(at, step)| match step {
        Step::Rename(from, to) if to == name => Some((at, from.clone())),
        _ => None,
    });
    renamed.unwrap_or_else(|| panic!("{name} gets no name: {steps:#?}"))
}

#[test]
fn a_file_is_flushed_then_renamed_then_its_folder_is_flushed() {
    let place = Place::with_compressed(&mixed(), &[]);
    let parent = place.path("").canonicalize().unwrap();
    let parent = parent.to_str().unwrap().trim_end_matches('/');
    for call in [
        &["compress", "m.safetensors", "-o", "out"][..],
        &["decompress", "m.unw", "-o", "out", "--force"],
        &[
            "transcode",
            "m.unw",
            "--to",
            "palette",
            "-o",
            "out",
            "--force",
        ],
        &["extract", "m.unw", "head", "-o", "out", "--force"],
    ] {
        let Some((run, trace)) = place.run_traced(&TRACED, call) else {
            return;
        };
        run.succeeds();
        let steps = steps(&trace);
        let (named, temporary) = place_of_name(&steps, "out");
        assert!(place_of_flush(&steps, &temporary) < named, "{steps:#?}");
        assert!(named < place_of_flush(&steps, parent), "{steps:#?}");
    }
}

#[test]
fn a_folder_is_flushed_from_the_inside_out_before_it_is_named_and_the_old_one_deleted_last() {
    let place = Place::with("src/m.safetensors", &mixed());
    place.write("src/config.json", b"{}");
    place.write("src/deep/er/notes", b"notes");
    std::fs::create_dir(place.path("src/empty")).unwrap();
    let parent = place.path("").canonicalize().unwrap();
    let parent = parent.to_str().unwrap().trim_end_matches('/');
    place.run(&["compress", "src", "-o", "c"]).succeeds();
    for (call, shard) in [
        (&["compress", "src", "-o", "out"][..], "m.unw"),
        (&["compress", "src", "-o", "out", "--force"], "m.unw"),
        (&["decompress", "c", "-o", "back"], "m.safetensors"),
        (
            &["decompress", "c", "-o", "back", "--force"],
            "m.safetensors",
        ),
    ] {
        let Some((run, trace)) = place.run_traced(&TRACED, call) else {
            return;
        };
        run.succeeds();
        let steps = steps(&trace);
        let (named, temporary) = place_of_name(&steps, call[3]);
        let (shard_named, shard_temporary) = place_of_name(&steps, &format!("{temporary}/{shard}"));
        let flush_of = |name: &str| {
            let at = place_of_flush(&steps, &format!("{temporary}{name}"));
            assert!(at < named, "{name}: {steps:#?}");
            at
        };
        assert!(place_of_flush(&steps, &shard_temporary) < shard_named);
        assert!(shard_named < flush_of(""));
        assert!(flush_of("/config.json") < flush_of(""));
        assert!(flush_of("/deep/er/notes") < flush_of("/deep/er"));
        assert!(flush_of("/deep/er") < flush_of("/deep"));
        assert!(flush_of("/deep") < flush_of(""));
        assert!(flush_of("/empty") < flush_of(""));
        let name_flushed = place_of_flush(&steps, parent);
        assert!(named < name_flushed, "{steps:#?}");
        let deleted = steps
            .iter()
            .position(|step| matches!(step, Step::Delete(_)));
        match call.contains(&"--force") {
            true => assert!(name_flushed < deleted.unwrap(), "{steps:#?}"),
            false => assert_eq!(deleted, None, "{steps:#?}"),
        }
    }
}
