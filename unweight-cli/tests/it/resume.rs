//! `--resume`: a run keeps the files that an earlier run finished before it stopped.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use unweight_testkit::{Random, bf16, safetensors_file};

use crate::model::small;
use crate::place::{Place, Run, UNWEIGHT};

const WORK: &str = ".unweight-out.partial";
/// Limit in blocks of 512 or 1,024 bytes: enough for `a`, `b` and `sub/c`, and too small for `z`.
const BLOCKS: u32 = 40;

/// Makes the folder `m` of four shards and other files, and `m.unw` from it in one run.
fn folder() -> Place {
    let place = Place::new();
    for (name, seed) in [("a", 1), ("b", 2), ("sub/c", 3)] {
        let shard = safetensors_file(&[bf16("w", &Random::new(seed).trained_weights(5_000))]);
        place.write(&format!("m/{name}.safetensors"), &shard);
    }
    let last = safetensors_file(&[bf16("w", &Random::new(4).trained_weights(200_000))]);
    place.write("m/z.safetensors", &last);
    place.write("m/config.json", b"{}");
    place.write("m/sub/notes", b"notes");
    place.run(&["compress", "m"]).succeeds();
    place
}

/// Runs the program so that it stops at the last file and keeps the others.
fn stop_at_the_last(place: &Place, call: &[&str]) {
    let line = place.run_on_full_disk(BLOCKS, call).fails(3);
    assert!(
        line.contains("finished files are kept; run the same command again"),
        "{line}"
    );
    assert!(place.path(WORK).is_dir());
    assert!(!place.path("out").exists());
}

fn kept(run: &Run) -> Vec<&str> {
    let lines = run
        .progress()
        .lines()
        .filter(|line| line.contains(", kept, "));
    lines
        .map(|line| line.split([' ', ',']).nth(3).unwrap())
        .collect()
}

/// Requires that `out` equals `of`, file by file, and that nothing else is left.
fn require_same(place: &Place, of: &str) {
    let names = |folder: &str| -> Vec<String> {
        let names = place.names().into_iter();
        let prefix = format!("{folder}/");
        names
            .filter_map(|name| name.strip_prefix(&prefix).map(str::to_owned))
            .collect()
    };
    assert_eq!(names("out"), names(of));
    for name in names(of) {
        if place.path(&format!("{of}/{name}")).is_file() {
            let (made, expected) = (format!("out/{name}"), format!("{of}/{name}"));
            assert!(place.read(&made) == place.read(&expected), "{name}");
        }
    }
    assert!(!place.names().iter().any(|name| name.contains(".unweight-")));
}

/// Path of the one finished file `name` in the work folder.
fn find_kept(place: &Place, name: &str) -> String {
    let end = format!("/{name}");
    let found = place.names().into_iter();
    let mut found = found.filter(|path| path.starts_with(WORK) && path.ends_with(&end));
    let path = found.next().unwrap();
    assert_eq!(found.next(), None);
    path
}

const COMPRESS: [&str; 5] = ["compress", "m", "-o", "out", "--resume"];
const DECOMPRESS: [&str; 5] = ["decompress", "m.unw", "-o", "out", "--resume"];

#[test]
fn goes_on_after_a_failure_and_gives_the_same_bytes() {
    for (call, of) in [(COMPRESS, "m.unw"), (DECOMPRESS, "m")] {
        let place = folder();
        stop_at_the_last(&place, &call);
        // The second run stops as well, and finishes no further file.
        stop_at_the_last(&place, &call);
        let run = place.run(&call);
        let extension = if of == "m" { "unw" } else { "safetensors" };
        let names = ["a", "b", "sub/c"].map(|name| format!("{name}.{extension}"));
        assert_eq!(kept(&run), names);
        let words = String::from_utf8(run.succeeds()).unwrap();
        assert!(
            words.contains("3 files kept from an earlier run"),
            "{words}"
        );
        require_same(&place, of);
    }
}

#[test]
fn tells_as_json_what_was_kept() {
    let place = folder();
    stop_at_the_last(&place, &COMPRESS);
    let result = place.run(&[&COMPRESS[..], &["--json"]].concat()).json();
    let kept = [0, 1, 2, 3].map(|n| result["files"][n]["kept"].as_bool().unwrap());
    assert_eq!(kept, [true, true, true, false]);
    assert_eq!(result["files"][0]["output"], "out/a.unw");
}

#[test]
fn without_resume_nothing_is_left_and_a_failure_mentions_it() {
    for (call, of) in [(COMPRESS, "m.unw"), (DECOMPRESS, "m")] {
        let place = folder();
        let before = place.names();
        let line = place.run_on_full_disk(BLOCKS, &call[..4]).fails(3);
        assert!(
            line.contains("with --resume, finished files are kept"),
            "{line}"
        );
        assert_eq!(place.names(), before);
        place.run(&call).succeeds();
        require_same(&place, of);
    }
}

#[test]
fn a_run_without_resume_reports_kept_files_and_leaves_them() {
    let place = folder();
    stop_at_the_last(&place, &COMPRESS);
    let path = find_kept(&place, "a.unw");
    let (_, warning) = place.run(&COMPRESS[..4]).succeeds_with_warning();
    assert!(
        warning.contains("holds finished files of an earlier run"),
        "{warning}"
    );
    assert!(place.path(&path).is_file());
}

#[test]
fn a_run_that_finished_nothing_leaves_nothing() {
    let place = folder();
    let before = place.names();
    for call in [COMPRESS, DECOMPRESS] {
        place.run_on_full_disk(1, &call).fails(3);
        assert_eq!(place.names(), before);
    }
}

#[test]
fn what_does_not_hold_is_made_again() {
    for (call, of) in [(COMPRESS, "m.unw"), (DECOMPRESS, "m")] {
        let (name, other, source) = match of {
            "m" => ("a.safetensors", "b.safetensors", "m.unw/b.unw"),
            _ => ("a.unw", "b.unw", "m/b.safetensors"),
        };
        let place = folder();
        stop_at_the_last(&place, &call);
        let path = find_kept(&place, name);
        let good = place.read(&path);
        let mut flipped = good.clone();
        flipped[good.len() - 2_000] ^= 1;
        let longer = [&good[..], b"x"].concat();
        for bad in [
            &flipped[..],
            &good[..good.len() / 2],
            b"",
            &longer,
            &place.read(&find_kept(&place, other)),
        ] {
            place.write(&find_kept(&place, name), bad);
            let run = place.run_on_full_disk(BLOCKS, &call);
            assert_eq!(kept(&run).len(), 2, "{}", run.progress());
            assert!(place.read(&find_kept(&place, name)) == good);
        }
        // The kept file is now a link, and there are files that do not belong there.
        let path = find_kept(&place, name);
        fs::remove_file(place.path(&path)).unwrap();
        let elsewhere = place.path(&format!("{of}/{name}"));
        std::os::unix::fs::symlink(elsewhere, place.path(&path)).unwrap();
        place.write(
            &path.replace(name, ".unweight-123456.partial"),
            b"half a file",
        );
        place.write(&path.replace(name, &format!("unknown-{name}")), &good);
        let run = place.run(&call);
        assert_eq!(kept(&run).len(), 2, "{}", run.progress());
        run.succeeds();
        require_same(&place, of);

        // A file is kept only if it belongs to the input as it is now.
        fs::remove_dir_all(place.path("out")).unwrap();
        stop_at_the_last(&place, &call);
        let replaced = source.replace("/b.", "/a.");
        fs::copy(place.path(&replaced), place.path(source)).unwrap();
        let (_, warning) = place.run(&call).succeeds_with_warning();
        assert!(warning.contains("it is made again"), "{warning}");
        assert!(place.read(&format!("out/{name}")) == place.read(&format!("out/{other}")));
    }
}

#[test]
fn other_settings_make_all_again() {
    let place = folder();
    for options in [
        &["--encoding", "palette"][..],
        &["--chunk", "12"],
        &["--exclude", "w"],
        &["--include", "v"],
    ] {
        stop_at_the_last(&place, &COMPRESS);
        let run = place.run(&[&COMPRESS[..], options].concat());
        assert!(kept(&run).is_empty());
        let (_, warning) = run.succeeds_with_warning();
        assert!(warning.contains("other settings"), "{warning}");
        let alone = [&["compress", "m", "-o", "alone"], options].concat();
        place.run(&alone).succeeds();
        require_same(&place, "alone");
        for made in ["out", "alone"] {
            fs::remove_dir_all(place.path(made)).unwrap();
        }
    }
    // A command does not take files that another command made.
    stop_at_the_last(&place, &COMPRESS);
    let (_, warning) = place
        .run(&["compress", "m", "-o", "out", "--resume", "--chunk", "13"])
        .succeeds_with_warning();
    assert!(warning.contains("other settings"), "{warning}");
    place
        .run(&["decompress", "m.unw", "-o", "out", "--resume", "--force"])
        .fails(2);
}

#[test]
fn the_work_folder_is_private() {
    let place = folder();
    stop_at_the_last(&place, &COMPRESS);
    let mode = fs::metadata(place.path(WORK)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    place.run(&COMPRESS).succeeds();
    // The output, unlike the work folder, is as accessible as any new folder.
    place.run(&["compress", "m", "-o", "alone"]).succeeds();
    let mode = |name| fs::metadata(place.path(name)).unwrap().permissions().mode();
    assert_eq!(mode("out"), mode("alone"));
}

#[test]
fn kept_files_have_permissions_and_times_of_their_source_as_it_is_now() {
    let place = folder();
    stop_at_the_last(&place, &COMPRESS);
    let source = place.path("m/a.safetensors");
    let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let file = File::options().write(true).open(&source).unwrap();
    file.set_modified(time).unwrap();
    fs::set_permissions(&source, fs::Permissions::from_mode(0o440)).unwrap();
    let run = place.run(&COMPRESS);
    assert_eq!(kept(&run).len(), 3);
    run.succeeds();
    let made = fs::metadata(place.path("out/a.unw")).unwrap();
    assert_eq!(made.modified().unwrap(), time);
    assert_eq!(made.permissions().mode() & 0o777, 0o440);
}

#[test]
fn what_somebody_else_may_have_put_there_is_not_used() {
    let place = folder();
    place.write("planted/.unweight-1.result/a.unw", b"bad");
    let work = place.path(WORK);
    let refused = |what: &str| {
        let before = place.names();
        let line = place.run(&COMPRESS).fails(2);
        assert!(line.contains(what), "{line}");
        assert_eq!(place.names(), before);
    };
    std::os::unix::fs::symlink("planted", &work).unwrap();
    refused("is a link");
    fs::remove_file(&work).unwrap();
    fs::write(&work, b"").unwrap();
    refused("is not a folder");
    fs::remove_file(&work).unwrap();
    fs::create_dir(&work).unwrap();
    fs::set_permissions(&work, fs::Permissions::from_mode(0o770)).unwrap();
    refused("that others have access to");
    fs::set_permissions(&work, fs::Permissions::from_mode(0o700)).unwrap();
    // Only the superuser can give a folder away.
    if std::os::unix::fs::chown(&work, Some(12_345), None).is_ok() {
        refused("of another user");
        std::os::unix::fs::chown(&work, Some(0), None).unwrap();
    }
    fs::remove_dir_all(place.path("planted")).unwrap();
    place.run(&COMPRESS).succeeds();
    require_same(&place, "m.unw");
}

/// A run that is killed while it replaces a folder may leave the old folder in place of its own.
#[test]
fn a_folder_that_is_not_of_an_earlier_run_is_left_alone() {
    let place = folder();
    stop_at_the_last(&place, &COMPRESS);
    let result = find_kept(&place, "a.unw").replace("/a.unw", "");
    fs::rename(place.path(&result), place.path("ours")).unwrap();
    place.write(&format!("{result}/precious.txt"), b"precious");
    place.write(&format!("{result}/a.unw"), b"older");
    for _ in 0..2 {
        let run = place.run(&[&COMPRESS[..], &["--force"]].concat());
        assert!(kept(&run).is_empty());
        let (_, warning) = run.succeeds_with_warning();
        assert!(warning.contains("look at what is left there"), "{warning}");
        assert_eq!(place.read(&format!("{result}/precious.txt")), b"precious");
        assert_eq!(place.read(&format!("{result}/a.unw")), b"older");
    }
}

#[test]
fn force_replaces_a_folder_from_a_work_folder_too() {
    let place = folder();
    place.write("out/a.unw", b"older");
    place.write("out/sub/c.unw", b"older");
    let call = [&COMPRESS[..], &["--force"]].concat();
    place.run_on_full_disk(BLOCKS, &call).fails(3);
    assert_eq!(place.read("out/a.unw"), b"older");
    let run = place.run(&call);
    assert_eq!(kept(&run).len(), 3);
    run.succeeds();
    require_same(&place, "m.unw");
    place.write("out/notes.txt", b"precious");
    place.run(&call).fails(2);
    assert_eq!(place.read("out/notes.txt"), b"precious");
}

/// Program that would not end by itself. It is ended when it is dropped, even if the test fails.
struct Endless(Child);

impl Drop for Endless {
    fn drop(&mut self) {
        // The program may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Makes the folder `m` with a last file that takes longer than any test, and a run at this file.
fn working(options: &[&str]) -> (Place, Endless) {
    let bytes = 1u64 << 33;
    let place = Place::with("m/a.safetensors", &small());
    let json = format!(
        r#"{{"w":{{"dtype":"BF16","shape":[{}],"data_offsets":[0,{bytes}]}}}}"#,
        bytes / 2
    );
    place.write(
        "m/z.safetensors",
        &unweight_testkit::with_header(&json, b""),
    );
    let file = File::options()
        .write(true)
        .open(place.path("m/z.safetensors"))
        .unwrap();
    file.set_len(8 + json.len() as u64 + bytes).unwrap();
    let child = Command::new(UNWEIGHT)
        .args(["compress", "m", "-o", "out"])
        .args(options)
        .current_dir(place.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let child = Endless(child.unwrap());
    wait_until("a file in work", || {
        let names = place.names();
        let is_done = names.iter().any(|name| name.ends_with("/a.unw"));
        let is_begun = |name: &String| name.matches(".partial").count() == 2;
        is_done && names.iter().any(is_begun)
    });
    (place, child)
}

fn interrupt(mut child: Endless) -> String {
    let kill = Command::new("kill")
        .args(["-s", "INT", &child.0.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    let mut end = None;
    wait_until("the end", || {
        end = child.0.try_wait().unwrap();
        end.is_some()
    });
    assert_eq!(end.unwrap().signal(), Some(2));
    let mut stderr = String::new();
    std::io::Read::read_to_string(child.0.stderr.as_mut().unwrap(), &mut stderr).unwrap();
    stderr
}

#[test]
fn goes_on_after_a_signal() {
    let (place, child) = working(&["--resume"]);
    let stderr = interrupt(child);
    assert!(
        stderr.contains("interrupted; finished files are kept"),
        "{stderr}"
    );
    // The file in progress is gone, and the finished one is there.
    let begun = place
        .names()
        .iter()
        .any(|name| name.matches(".partial").count() == 2);
    assert!(!begun, "{:?}", place.names());
    find_kept(&place, "a.unw");

    place.write("m/z.safetensors", &small());
    let run = place.run(&COMPRESS);
    assert_eq!(kept(&run), ["a.safetensors"]);
    run.succeeds();
    place.run(&["compress", "m"]).succeeds();
    require_same(&place, "m.unw");
}

#[test]
fn goes_on_after_a_kill() {
    let (place, mut child) = working(&["--resume"]);
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    place.write("m/z.safetensors", &small());
    let run = place.run(&COMPRESS);
    assert_eq!(kept(&run), ["a.safetensors"]);
    run.succeeds();
    place.run(&["compress", "m"]).succeeds();
    require_same(&place, "m.unw");
}

#[test]
fn an_interrupted_run_without_resume_mentions_it() {
    let (place, child) = working(&[]);
    let stderr = interrupt(child);
    assert!(
        stderr.contains("with --resume, finished files are kept"),
        "{stderr}"
    );
    assert!(!place.names().iter().any(|name| name.contains("partial")));
    let (_place, child) = working(&["--quiet"]);
    assert_eq!(interrupt(child), "");
}

#[test]
fn a_second_run_on_the_same_output_is_refused() {
    let (place, child) = working(&["--resume"]);
    let line = place.run(&COMPRESS).fails(2);
    assert!(line.contains("is being made by another run"), "{line}");
    find_kept(&place, "a.unw");
    // The lock is released when the process that holds it ends.
    interrupt(child);
    place.write("m/z.safetensors", &small());
    place.run(&COMPRESS).succeeds();
}

#[test]
fn keeps_files_that_are_not_of_earlier_runs() {
    let place = folder();
    place.write(&format!("{WORK}/notes.txt"), b"precious");
    place.write(&format!("{WORK}/folder/notes.txt"), b"precious");
    fs::set_permissions(place.path(WORK), fs::Permissions::from_mode(0o700)).unwrap();
    place.run_on_full_disk(1, &COMPRESS).fails(3);
    let (_, warning) = place.run(&COMPRESS).succeeds_with_warning();
    assert!(warning.contains("look at what is left there"), "{warning}");
    for name in ["notes.txt", "folder/notes.txt"] {
        assert_eq!(place.read(&format!("{WORK}/{name}")), b"precious");
    }
    assert_eq!(fs::read_dir(place.path(WORK)).unwrap().count(), 2);
}

#[test]
fn a_run_without_resume_ignores_a_work_folder_without_finished_files() {
    let place = folder();
    place.write(&format!("{WORK}/lock"), b"");
    fs::set_permissions(place.path(WORK), fs::Permissions::from_mode(0o700)).unwrap();
    place.run(&COMPRESS[..4]).succeeds();
}

/// Moving a folder out of the work folder takes permission to write to it. The superuser always has
/// that permission. Tests of the superuser therefore run the program as another user, if possible.
#[test]
fn read_only_folders_are_made_and_replaced_too() {
    const OTHER: u32 = 65_534;
    let place = folder();
    let mut run_as: Vec<String> = Vec::new();
    if rustix::process::geteuid().is_root() {
        run_as = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
        ]
        .map(str::to_owned)
        .to_vec();
        let probe = Command::new("setpriv")
            .args(&run_as[1..])
            .args([UNWEIGHT, "--version"])
            .stdout(Stdio::null())
            .status();
        if !probe.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: the program cannot be run as another user");
            return;
        }
        let names = place.names().into_iter().chain(["".to_owned()]);
        names.for_each(|name| {
            std::os::unix::fs::chown(place.path(&name), Some(OTHER), Some(OTHER)).unwrap();
        });
    }
    let run = |call: &[&str]| {
        let before: Vec<&str> = run_as.iter().map(String::as_str).collect();
        let all = [&before[..], &[UNWEIGHT], call].concat();
        place.run_program(all[0], &all[1..])
    };
    let set_mode = |name: &str, mode| {
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let mode = |name: &str| place.path(name).metadata().unwrap().permissions().mode() & 0o7777;
    set_mode("m/sub", 0o555);
    set_mode("m", 0o555);
    let replace = [&COMPRESS[..], &["--force"]].concat();
    for call in [&COMPRESS[..], &replace] {
        run(call).succeeds();
        require_same(&place, "m.unw");
        assert_eq!((mode("out"), mode("out/sub")), (0o555, 0o555));
    }
    // A folder that must not be deleted stays as it was.
    set_mode("out", 0o755);
    place.write("out/notes.txt", b"precious");
    set_mode("out", 0o555);
    run(&replace).fails(2);
    assert_eq!(place.read("out/notes.txt"), b"precious");
    assert_eq!(mode("out"), 0o555);
    for name in ["out", "out/sub", "m", "m/sub"] {
        set_mode(name, 0o755);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_whose_name_could_not_be_flushed_is_called_complete() {
    for call in [
        &COMPRESS[..],
        &COMPRESS[..4],
        &DECOMPRESS,
        &["compress", "m/a.safetensors", "-o", "out"],
    ] {
        let place = folder();
        let trace = ["-e", "trace=fsync,renameat2", "-y"];
        let Some((run, trace)) = place.run_traced(&trace, call) else {
            return;
        };
        run.succeeds();
        let flushes = trace.lines().filter(|line| line.contains("fsync("));
        let last = format!("inject=fsync:error=EIO:when={}", flushes.count());
        let out = place.path("out");
        let _ = fs::remove_file(&out).or_else(|_| fs::remove_dir_all(&out));
        let traced = place.run_traced(&["-e", "trace=fsync", "-e", &last], call);
        let line = traced.unwrap().0.fails(3);
        assert!(line.contains("out: the output is complete"), "{line}");
        assert!(
            !line.contains("--resume") && !line.contains("run the same"),
            "{line}"
        );
        assert!(out.exists() && !place.path(WORK).exists());
    }
}

/// Each step in turn fails before the first file is finished.
#[cfg(target_os = "linux")]
#[test]
fn a_run_that_cannot_make_its_folders_leaves_nothing() {
    let place = folder();
    let before = place.names();
    for call in ["mkdir", "write", "rename"] {
        for when in 1..40 {
            let inject = format!("inject={call}:error=EIO:when={when}");
            let options = ["-e", &format!("trace={call}"), "-e", &inject];
            let Some((run, trace)) = place.run_traced(&options, &COMPRESS) else {
                return;
            };
            if !trace.contains("INJECTED") {
                break;
            }
            let is_early = !run.progress().contains("1 of 4");
            let (code, _, line) = run.raw();
            if is_early && code == Some(3) {
                assert_eq!(place.names(), before, "{call} {when}: {line}");
            }
            for name in [WORK, "out"] {
                let _ = fs::remove_dir_all(place.path(name));
            }
        }
    }
}
