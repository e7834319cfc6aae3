//! SIGKILL at any moment. The output has its old content or its new one, nothing but temporary
//! entries is left, and the same call then does its work.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use unweight_testkit::Random;

use crate::scene::{self, SCENES, Scene, Tree};
use crate::tracer::{self, Action, Fault, UNWEIGHT};

/// Requires of a folder what must hold after a kill, and repeats the call there.
fn check_and_repeat(folder: &Path, scene: &Scene, before: &Tree, wanted: &Tree, moment: &str) {
    let after = scene::read(folder);
    let output = scene.output.unwrap_or("no output");
    let found = scene::part(&after, output);
    let is_new = found == scene::part(wanted, output);
    let is_old = found == scene::part(before, output);
    assert!(
        is_new || is_old,
        "{scene:?}: {output} is half made after {moment}"
    );
    let mut others = scene::without(&after, output);
    others.retain(|name, _| !name.starts_with(".unweight-"));
    assert!(
        others == scene::without(before, output),
        "{scene:?}: {moment}"
    );

    // What exists is only replaced with --force.
    let force: &[&str] = match is_new && !is_old && !scene.arguments.contains(&"--force") {
        true => &["--force"],
        false => &[],
    };
    let again = Command::new(UNWEIGHT)
        .args(scene.arguments)
        .args(force)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&again.stderr);
    assert!(
        again.status.success(),
        "{scene:?} again after {moment}: {text}"
    );
    let again = scene::read(folder);
    assert!(
        scene::part(&again, output) == scene::part(wanted, output),
        "{scene:?} again after {moment}"
    );
    if scene.arguments.contains(&"--resume") && !is_new {
        assert!(
            again == *wanted,
            "{scene:?}: something is left after {moment}"
        );
    }
}

/// `UNWEIGHT_FAULTS=all` takes every call; that takes some minutes.
#[test]
fn a_kill_before_any_call_leaves_the_old_output_or_the_new_one() {
    if !tracer::is_permitted() {
        return;
    }
    let stride = crate::stride(29);
    let before = scene::before();
    let mut count = 0;
    for scene in &SCENES {
        let logs = scene::fresh_folder();
        let run = |fault: Option<&Fault>| {
            let folder = scene::fresh_folder();
            scene::write(folder.path(), &before);
            let run = tracer::run(folder.path(), logs.path(), scene.arguments, fault, false);
            (folder, run)
        };
        let (folder, expected) = run(None);
        assert_eq!(expected.code, Some(0), "{}", expected.stderr);
        let wanted = scene::read(folder.path());
        for call in expected.calls.iter().step_by(stride) {
            let (folder, run) = run(Some(&Fault::at(call, Action::Kill)));
            let killed = run.calls.iter().find(|call| call.is_injected);
            let Some(killed) = killed else { continue };
            assert_eq!(run.code, Some(128 + 9));
            let moment = format!("call {}, {} {}", killed.number, killed.name, killed.path());
            check_and_repeat(folder.path(), scene, &before, &wanted, &moment);
            count += 1;
        }
    }
    println!("{count} kills");
    assert!(count > 0);
}

/// `UNWEIGHT_KILLS` sets the number of kills, and `UNWEIGHT_KILLS_SEED` their moments.
#[test]
fn a_kill_at_a_random_moment_leaves_the_old_output_or_the_new_one() {
    let kills = std::env::var("UNWEIGHT_KILLS").map_or(50, |kills| kills.parse().unwrap());
    let before = scene::before();
    let seed = std::env::var("UNWEIGHT_KILLS_SEED")
        .map_or(std::process::id().into(), |seed| seed.parse().unwrap());
    let mut random = Random::new(seed);
    let start_in = |folder: &Path, scene: &Scene| {
        Command::new(UNWEIGHT)
            .args(scene.arguments)
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let scenes: Vec<_> = SCENES
        .iter()
        .filter(|scene| scene.output.is_some())
        .map(|scene| {
            let folder = scene::fresh_folder();
            scene::write(folder.path(), &before);
            let start = Instant::now();
            assert!(start_in(folder.path(), scene).wait().unwrap().success());
            (scene, start.elapsed(), scene::read(folder.path()))
        })
        .collect();
    let mut killed = 0;
    for number in 0..kills {
        let (scene, takes, wanted) = &scenes[number % scenes.len()];
        let folder = scene::fresh_folder();
        scene::write(folder.path(), &before);
        let mut child = start_in(folder.path(), scene);
        let most = takes.as_micros() as u64;
        let wait = Duration::from_micros(random.below(most));
        std::thread::sleep(wait);
        child.kill().unwrap();
        let status = child.wait().unwrap();
        killed += usize::from(status.code().is_none());
        let moment = format!("{wait:?} (kill {number} of seed {seed})");
        check_and_repeat(folder.path(), scene, &before, wanted, &moment);
    }
    println!("{killed} of {kills} kills came before the end");
    assert!(killed > 0);
}
