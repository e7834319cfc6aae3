//! The machine stops at any moment. The output then has its old content or its new one, and all
//! other files have their own; after a finished run the content is the new one.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::disk::{self, Disk, Recording, Step};
use crate::scene::{self, SCENES, Scene, Tree, part};
use crate::tracer::{self, Action, Fault};

type Content = BTreeMap<String, Option<Rc<Vec<u8>>>>;

/// The scenes that make something.
fn makers() -> impl Iterator<Item = (&'static Scene, &'static str)> {
    SCENES
        .iter()
        .filter_map(|scene| Some((scene, scene.output?)))
}

fn record(scene: &Scene, before: &Tree, fault: Option<&Fault>) -> Recording {
    let (folder, logs) = (scene::fresh_folder(), scene::fresh_folder());
    scene::write(folder.path(), before);
    let run = tracer::run(folder.path(), logs.path(), scene.arguments, fault, true);
    assert_eq!(run.code, Some(0), "{scene:?}: {}", run.stderr);
    let recording = disk::record(folder.path(), before, &run);
    // The model agrees with the disk.
    let real = Disk::with(&scene::read(folder.path()));
    assert!(
        recording.end().content() == real.content(),
        "{scene:?}: the model differs from the disk"
    );
    recording
}

/// Number of states after a power failure at every moment, and what is wrong with some of them.
fn examine(
    recording: &Recording,
    output: &str,
    is_moved_aside: impl Fn(&Content, &Content) -> bool,
) -> (usize, BTreeSet<String>) {
    let (before, end) = (recording.disk.content(), recording.end().content());
    let (old, new) = (part(&before, output), part(&end, output));
    let mut states = 0;
    let mut wrong = BTreeSet::new();
    for length in 0..=recording.steps.len() {
        disk::after_power_failure(recording, length, |disk, moment| {
            states += 1;
            let content = disk.content();
            let found = part(&content, output);
            if found != new && found != old && !is_moved_aside(&content, &old) {
                wrong.insert(format!("{output} is neither old nor new after {moment}"));
            }
            if length == recording.steps.len() && found != new {
                wrong.insert(format!("{output} is not new after the end: {moment}"));
            }
            let is_other = |name: &str| !old.contains_key(name);
            for (name, file) in before.iter().filter(|(name, _)| is_other(name)) {
                if content.get(name) != Some(file) {
                    wrong.insert(format!("{name} has changed after {moment}"));
                }
            }
        });
    }
    (states, wrong)
}

#[test]
fn a_power_failure_leaves_the_old_output_or_the_new_one() {
    if !tracer::is_permitted() {
        return;
    }
    let before = scene::before();
    let mut all = 0;
    for (scene, output) in makers() {
        let recording = record(scene, &before, None);
        let (states, wrong) = examine(&recording, output, |_, _| false);
        println!(
            "{}: {} steps, {states} states",
            scene.arguments.join(" "),
            recording.steps.len()
        );
        assert!(states > recording.steps.len());
        assert!(
            wrong.is_empty(),
            "{scene:?}:\n{wrong:#?}\n{:#?}",
            recording.steps
        );
        all += states;
    }
    println!("{all} states in all");
}

/// Models a file system where two folders cannot be exchanged. The old folder then has another
/// name for a moment, and the power failure may leave it there.
#[test]
fn a_power_failure_between_two_renames_leaves_the_old_folder_beside_the_free_name() {
    if !tracer::is_permitted() {
        return;
    }
    let before = scene::before();
    let replaces = |scene: &&Scene| scene.output == Some("older");
    let scene = SCENES.iter().find(replaces).unwrap();
    let (folder, logs) = (scene::fresh_folder(), scene::fresh_folder());
    scene::write(folder.path(), &before);
    let run = tracer::run(folder.path(), logs.path(), scene.arguments, None, false);
    let is_exchange = |call: &&tracer::Call| call.is_exchange();
    let exchange = run.calls.iter().find(is_exchange).unwrap();
    let refused = Action::Error(rustix::io::Errno::INVAL.raw_os_error());
    let recording = record(scene, &before, Some(&Fault::at(exchange, refused)));
    let moved_aside = std::cell::Cell::new(0);
    let (states, wrong) = examine(&recording, "older", |content, old| {
        let is_aside = |name: &&String| name.starts_with(".unweight-") && name.ends_with(".old");
        let Some(aside) = content.keys().find(is_aside) else {
            return false;
        };
        let found = part(content, aside);
        let renamed = found
            .into_iter()
            .map(|(name, file)| (name.replace(aside, "older"), file));
        moved_aside.set(moved_aside.get() + 1);
        part(content, "older").is_empty() && renamed.collect::<Content>() == *old
    });
    println!(
        "{states} states, {} of them with the old folder aside",
        moved_aside.get()
    );
    assert!(wrong.is_empty(), "{wrong:#?}\n{:#?}", recording.steps);
    assert!(moved_aside.get() > 0);
}

/// After a power failure, the same call does its work in what the failure left.
/// `UNWEIGHT_FAULTS=all` tries one of seven states; that takes some minutes.
#[test]
fn a_call_does_its_work_after_a_power_failure() {
    if !tracer::is_permitted() {
        return;
    }
    let stride = crate::stride(199).max(7);
    let before = scene::before();
    let mut count = 0;
    for (scene, output) in makers() {
        let recording = record(scene, &before, None);
        let new = part(&recording.end().content(), output);
        let mut states = 0;
        for length in 0..=recording.steps.len() {
            disk::after_power_failure(&recording, length, |disk, moment| {
                states += 1;
                if states % stride != 0 {
                    return;
                }
                count += 1;
                let folder = scene::fresh_folder();
                disk.write_to(folder.path());
                let force = ["--force"];
                let run = std::process::Command::new(tracer::UNWEIGHT)
                    .args(scene.arguments)
                    .args(
                        force
                            .iter()
                            .filter(|force| !scene.arguments.contains(force)),
                    )
                    .current_dir(folder.path())
                    .output()
                    .unwrap();
                let text = String::from_utf8_lossy(&run.stderr);
                assert!(run.status.success(), "{scene:?} after {moment}: {text}");
                let after = Disk::with(&scene::read(folder.path())).content();
                assert!(part(&after, output) == new, "{scene:?} after {moment}");
            });
        }
    }
    println!("{count} repeated calls");
}

/// Checks the tests above: they must notice missing flushes.
#[test]
fn missing_flushes_would_be_noticed() {
    if !tracer::is_permitted() {
        return;
    }
    let before = scene::before();
    for (scene, output) in makers() {
        let recording = record(scene, &before, None);
        let is_flush = |step: &Step| matches!(step, Step::Flush { .. });
        let last = recording.steps.iter().rposition(is_flush).unwrap();
        let kept: [&dyn Fn(usize) -> bool; 2] = [&|at| at != last, &|at| at == last];
        for is_kept in kept {
            let steps = recording.steps.iter().enumerate();
            let kept = steps.filter(|(at, step)| !is_flush(step) || is_kept(*at));
            let without = Recording {
                disk: recording.disk.clone(),
                steps: kept.map(|(_, step)| step.clone()).collect(),
            };
            let (_, wrong) = examine(&without, output, |_, _| false);
            assert!(!wrong.is_empty(), "{scene:?}: {:#?}", without.steps);
        }
    }
}
