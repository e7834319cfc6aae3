//! Each system call of a run fails once, with each of its errors, or transfers half of its bytes.
//! The run then does its work or fails cleanly.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::io::Errno;

use crate::scene::{self, SCENES, Scene, Tree};
use crate::tracer::{self, Action, Call, Fault, Traced};

/// Errors of file systems and interruptions.
const ERRORS: [Errno; 6] = [
    Errno::IO,
    Errno::INTR,
    Errno::NOSPC,
    Errno::STALE,
    Errno::DQUOT,
    Errno::ACCESS,
];

/// What a call may meet.
fn actions(call: &Call) -> Vec<Action> {
    let is_folder = call.number_of("fd_is_folder") == Some(1);
    let error = |errno: Errno| Action::Error(errno.raw_os_error());
    let files = || ERRORS.map(error).to_vec();
    // A single byte has no half.
    let short = match call.number_of("length") {
        Some(2..) => vec![Action::Short],
        _ => Vec::new(),
    };
    match call.name.as_str() {
        // The system refuses memory, threads and descriptors with these errors.
        "mmap" | "mremap" => vec![error(Errno::NOMEM)],
        "clone3" | "clone" => vec![error(Errno::AGAIN)],
        "pipe2" | "socketpair" | "eventfd2" | "dup" | "memfd_create" => vec![error(Errno::MFILE)],
        // No file system of Linux fails to close a folder. Rust's library panics if one does.
        "close" if is_folder => vec![error(Errno::INTR)],
        "poll" | "ppoll" => vec![error(Errno::INTR)],
        "sched_getaffinity" | "prlimit64" | "madvise" | "getcwd" => vec![error(Errno::PERM)],
        "getrandom" => [vec![error(Errno::INTR), error(Errno::NOSYS)], short].concat(),
        "read" | "pread64" | "readv" | "preadv" | "write" | "pwrite64" | "writev" | "pwritev"
        | "copy_file_range" | "sendfile" | "splice" => [files(), short].concat(),
        _ => files(),
    }
}

/// Faults of a scene in a row, of which a test takes each `stride`th.
fn faults(calls: &[Call]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for call in calls {
        let actions = actions(call).into_iter();
        faults.extend(actions.map(|action| Fault::at(call, action)));
    }
    faults
}

/// The rules of a run that met a fault. Returns what it breaks.
fn broken(
    scene: &Scene,
    expected: &Traced,
    trees: [&Tree; 3],
    run: &Traced,
    call: &Call,
    action: Action,
) -> Vec<String> {
    let [before, wanted, after] = trees;
    let mut broken = Vec::new();
    let mut require = |holds: bool, what: String| {
        if !holds {
            broken.push(what);
        }
    };
    let code = match run.code {
        Some(code) => code,
        None => return vec!["it hangs".to_owned()],
    };
    // Rust's own library ends a program, or its thread, that gets no memory.
    let no_memory = call.name == "mmap";
    let keeps_mode = run.stderr.contains("its permissions could not be set");
    let equal = |one: &Tree, other: &Tree| match keeps_mode {
        true => scene::contents(one) == scene::contents(other),
        false => one == other,
    };

    // The files.
    let output = scene.output.unwrap_or("no output");
    let found = scene::part(after, output);
    let is_new = equal(&found, &scene::part(wanted, output));
    let is_old = found == scene::part(before, output);
    require(is_new || is_old, format!("{output} is neither old nor new"));
    require(
        code != 0 || is_new,
        "it succeeds without the output".to_owned(),
    );
    let mut rest = scene::without(after, output);
    // Warnings name what could not be deleted, and a failed run that can be resumed keeps its work.
    let may_leave = [
        "look at what is left there and remove it",
        "could not be deleted and is now",
        "what had this name is now",
    ];
    let resumes = scene.arguments.contains(&"--resume") && code != 0;
    if no_memory || resumes || may_leave.iter().any(|warning| run.stderr.contains(warning)) {
        rest.retain(|name, _| !name.starts_with(".unweight-"));
    }
    let others = scene::without(before, output);
    for name in rest.keys().filter(|name| !others.contains_key(*name)) {
        require(false, format!("{} is left", kind_of(name)));
    }
    for (name, entry) in &others {
        require(rest.get(name) == Some(entry), format!("{name} is changed"));
    }
    if no_memory {
        let ends = [0, 3, 128 + 6];
        require(
            ends.contains(&code),
            format!("exit code {code}: {:?}", run.stderr),
        );
        return broken;
    }

    // The messages.
    let is_message = call.number_of("fd").is_some_and(|fd| fd == 1 || fd == 2);
    let lines: Vec<&str> = run.stderr.lines().collect();
    let is_progress = |line: &str| line.split(' ').nth(1) == Some("of");
    let is_warning = |line: &str| line.starts_with("unweight: warning: ");
    let failures: Vec<_> = lines
        .iter()
        .filter(|line| !is_progress(line) && !is_warning(line))
        .collect();
    match code {
        0 => {
            require(
                failures.is_empty() || is_message,
                format!("it succeeds and says {failures:?}"),
            );
            require(
                words_of(&run.stdout) == words_of(&expected.stdout)
                    || call.number_of("fd") == Some(1),
                "it succeeds with other text on standard output".to_owned(),
            );
        }
        3 => {
            if !is_message {
                require(
                    failures.len() == 1 && failures[0].starts_with("unweight: "),
                    format!("it fails with {:?}", run.stderr),
                );
                if let Action::Error(error) = action {
                    let said = std::io::Error::from_raw_os_error(error).to_string();
                    let said = said.split(" (os").next().unwrap().to_owned();
                    let says = failures.iter().any(|line| line.contains(&said));
                    require(says, format!("it does not say {said:?}: {:?}", run.stderr));
                }
            }
            require(
                !is_new
                    || is_old
                    || run.stderr.contains("the output is complete")
                    || call.number_of("fd") == Some(1),
                format!("it fails after its work with {:?}", run.stderr),
            );
            require(
                action != Action::Short,
                format!("a short transfer fails it: {:?}", run.stderr),
            );
        }
        code => require(false, format!("exit code {code}: {:?}", run.stderr)),
    }
    broken
}

/// Text without its numbers, some of which are times.
fn words_of(text: &[u8]) -> Vec<u8> {
    let is_number = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    text.iter()
        .copied()
        .filter(|byte| !is_number(byte))
        .collect()
}

/// The name without its random part.
fn kind_of(name: &str) -> String {
    let is_random = name.starts_with(".unweight-");
    match name.rsplit_once('.') {
        Some((_, end)) if is_random => format!(".unweight-*.{end}"),
        _ => name.to_owned(),
    }
}

/// Runs that had a fault planned.
#[derive(Default)]
struct Outcome {
    planned: usize,
    /// Faults whose call the run did not make.
    missed: BTreeSet<String>,
    /// Rules that were broken.
    broken: BTreeSet<String>,
}

/// Runs the chosen faults of a scene.
fn run_scene(scene: &Scene, before: &Tree, choose: impl Fn(&[Call]) -> Vec<Fault>) -> Outcome {
    let logs = scene::fresh_folder();
    let one_thread = [scene.arguments, &["--threads", "1"]].concat();
    let run = |logs: &Path, fault: Option<&Fault>| {
        let folder = scene::fresh_folder();
        scene::write(folder.path(), before);
        let run = tracer::run(folder.path(), logs, &one_thread, fault, false);
        (run, scene::read(folder.path()))
    };
    let (expected, wanted) = run(logs.path(), None);
    assert_eq!(expected.code, Some(0), "{scene:?}: {}", expected.stderr);
    let faults = choose(&expected.calls);
    let next = AtomicUsize::new(0);
    let outcome = Mutex::new(Outcome::default());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let logs = scene::fresh_folder();
                while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (run, after) = run(logs.path(), Some(fault));
                    let Fault {
                        name,
                        number,
                        action,
                    } = fault;
                    let call = run.calls.iter().find(|call| call.is_injected);
                    let file = call.map_or("", |call| call.path().rsplit('/').next().unwrap());
                    let place = format!(
                        "{:?}: {name} {number} of {file}, {action:?}",
                        scene.arguments
                    );
                    let trees = [before, &wanted, &after];
                    let broken =
                        call.map(|call| broken(scene, &expected, trees, &run, call, *action));
                    let mut outcome = outcome.lock().unwrap();
                    outcome.planned += 1;
                    if let Some(broken) = broken {
                        let broken = broken.iter().map(|what| format!("{place}: {what}"));
                        outcome.broken.extend(broken);
                    } else {
                        outcome.missed.insert(place);
                    }
                }
            });
        }
    });
    outcome.into_inner().unwrap()
}

fn run_all(choose: impl Fn(&[Call]) -> Vec<Fault>) {
    let before = scene::before();
    let mut all = Outcome::default();
    for scene in &SCENES {
        let one = run_scene(scene, &before, &choose);
        println!("{}: {} faults", scene.arguments.join(" "), one.planned);
        all.planned += one.planned;
        all.missed.extend(one.missed);
        all.broken.extend(one.broken);
    }
    let Outcome {
        planned,
        missed,
        broken,
    } = all;
    println!("{} of {planned} faults were met", planned - missed.len());
    // The number of calls for memory differs a little from run to run.
    let may_miss = 1 + planned / 1000;
    assert!(planned > 0);
    assert!(broken.is_empty(), "{} broken: {broken:#?}", broken.len());
    assert!(
        missed.len() <= may_miss,
        "{} missed: {missed:#?}",
        missed.len()
    );
}

/// `UNWEIGHT_FAULTS=all` takes every fault; that takes some minutes.
#[test]
fn a_run_that_meets_a_fault_does_its_work_or_fails_cleanly() {
    if !tracer::is_permitted() {
        return;
    }
    let stride = crate::stride(61);
    run_all(|calls| faults(calls).into_iter().step_by(stride).collect());
}

/// A file is no other kind of file, and not missing, because the system could not say what it is.
#[test]
fn a_file_that_cannot_be_looked_at_is_an_error_of_the_system() {
    if !tracer::is_permitted() {
        return;
    }
    let is_own = |call: &&Call| call.name == "statx" && call.path().contains("/.tmp");
    let failing = Action::Error(Errno::IO.raw_os_error());
    run_all(|calls| {
        let own = calls.iter().filter(is_own);
        own.map(|call| Fault::at(call, failing)).collect()
    });
}
