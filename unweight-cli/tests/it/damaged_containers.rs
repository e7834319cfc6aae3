//! Damaged containers with right checksums. The program has to accept or reject each, and do
//! nothing else.
//!
//! `UNWEIGHT_MUTANTS` sets the number of containers. 300 take a few seconds, 10,000 some minutes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use unweight_testkit::{Random, repair_checksums, repository};

use crate::place::UNWEIGHT;

/// Valid containers of the conformance corpus that are short enough for a mutation to hit
/// something.
fn containers() -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(repository("conformance/corpus/valid"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let files = paths.iter().map(|path| fs::read(path).unwrap());
    files.filter(|file| file.len() <= 8192).collect()
}

/// Changes two to eight bytes of a container, mostly near its start, where there is more to break.
fn mutant(file: &[u8], random: &mut Random) -> Vec<u8> {
    let mut mutant = file.to_vec();
    for _ in 0..2 + random.below(7) {
        let within = match random.below(3) {
            0 => 128.min(mutant.len()),
            _ => mutant.len(),
        };
        mutant[random.below(within as u64) as usize] = random.bits() as u8;
    }
    repair_checksums(&mut mutant);
    mutant
}

fn exit_code(command: &str, file: &Path, output: Option<&Path>) -> Option<i32> {
    let mut program = Command::new(UNWEIGHT);
    program.args([command, "--quiet"]).arg(file);
    if let Some(output) = output {
        program.arg("-o").arg(output);
    }
    program.output().unwrap().status.code()
}

#[test]
fn damage_ends_with_exit_code_0_or_1_and_leaves_no_output_of_what_is_rejected() {
    let count: u64 = std::env::var("UNWEIGHT_MUTANTS").map_or(300, |count| count.parse().unwrap());
    let containers = containers();
    assert!(containers.len() > 50, "the corpus was found");
    // With many mutants no other test takes as long, so this one has two threads.
    thread::scope(|scope| {
        for seed in [1, 2] {
            let containers = &containers;
            scope.spawn(move || damage(containers, seed, count / 2));
        }
    });
}

fn damage(containers: &[Vec<u8>], seed: u64, count: u64) {
    let folder = tempfile::tempdir().unwrap();
    let (file, output) = (folder.path().join("m.unw"), folder.path().join("restored"));
    let mut random = Random::new(seed);
    let mut rejected = 0;
    for number in 0..count {
        let which = format!("mutant {number} of seed {seed}");
        let chosen = random.below(containers.len() as u64) as usize;
        let mutant = mutant(&containers[chosen], &mut random);
        fs::write(&file, &mutant).unwrap();
        let code = exit_code("decompress", &file, Some(&output));
        let listed = fs::read_dir(folder.path()).unwrap().count();
        match code {
            Some(0) => {
                assert_eq!(listed, 2, "{which}");
                fs::remove_file(&output).unwrap();
            }
            Some(1) => {
                assert_eq!(listed, 1, "{which} left something behind");
                rejected += 1;
            }
            other => panic!("{which} ends with {other:?}"),
        }
        assert_eq!(exit_code("verify", &file, None), code, "{which}");
    }
    assert!(rejected > count / 2, "{rejected} of {count} were rejected");
}
