//! Signals: temporary entries are removed, and finished outputs stay.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::model::mixed;
use crate::place::{Place, UNWEIGHT};
use crate::signals;

/// Writes a safetensors file that takes longer than any test to compress, but no room on the disk.
/// It is a hole of 2^32 weights, which are counted before the first of them is written.
fn write_endless(place: &Place, name: &str) {
    let bytes = 1u64 << 33;
    let json = format!(
        r#"{{"w":{{"dtype":"BF16","shape":[{}],"data_offsets":[0,{bytes}]}}}}"#,
        bytes / 2
    );
    let header = [&(json.len() as u64).to_le_bytes(), json.as_bytes()].concat();
    place.write(name, &header);
    let file = File::options().write(true).open(place.path(name)).unwrap();
    file.set_len(header.len() as u64 + bytes).unwrap();
}

fn is_temporary(name: &str) -> bool {
    name.contains(".unweight-")
}

/// Waits until a condition holds, for at most 60 seconds.
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        thread::sleep(Duration::from_millis(1));
    }
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

/// Starts the program under a shell that runs `first` before it, and waits until it has `temporary`
/// files and folders.
fn start(place: &Place, first: &str, arguments: &[&str], temporary: usize) -> Endless {
    signals::reach_children();
    let child = Command::new("sh")
        .args(["-c", &format!("{first} exec \"$@\""), "sh", UNWEIGHT])
        .args(arguments)
        .current_dir(place.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let child = Endless(child.unwrap());
    wait_until("temporary files", || {
        place
            .names()
            .iter()
            .filter(|name| is_temporary(name))
            .count()
            >= temporary
    });
    child
}

fn send(child: &Endless, signal: &str) {
    let kill = Command::new("sh")
        .args(["-c", "kill -s \"$1\" \"$2\"", "sh", signal])
        .arg(child.0.id().to_string())
        .status();
    assert!(kill.unwrap().success());
}

fn end_of(mut child: Endless) -> ExitStatus {
    let mut end = None;
    wait_until("the end", || {
        end = child.0.try_wait().unwrap();
        end.is_some()
    });
    end.unwrap()
}

const SIGNALS: [(&str, i32); 6] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ABRT", 6),
    ("ALRM", 14),
    ("TERM", 15),
];

#[test]
fn signals_remove_the_temporary_file_and_end_the_program() {
    let place = Place::new();
    write_endless(&place, "m.safetensors");
    place.write("old.unw", b"old");
    let before = place.names();
    for (name, signal) in SIGNALS {
        for call in [
            &["compress", "m.safetensors"][..],
            &["compress", "m.safetensors", "-o", "old.unw", "--force"],
        ] {
            let child = start(&place, "", call, 1);
            send(&child, name);
            assert_eq!(end_of(child).signal(), Some(signal), "{name}");
            assert_eq!(place.names(), before, "{name}");
        }
    }
    assert_eq!(place.read("old.unw"), b"old");
}

#[test]
fn signals_remove_the_temporary_folder_with_all_that_is_in_it() {
    let place = Place::new();
    write_endless(&place, "model/m.safetensors");
    place.write("model/config.json", b"{}");
    place.write("model/deep/er/config.json", b"{}");
    place.write("old/m.unw", b"old");
    let before = place.names();
    for (name, signal) in SIGNALS {
        let call = ["compress", "model", "-o", "old", "--force"];
        // There are the folder, two folders and two files in it, and the file in progress.
        let child = start(&place, "", &call, 6);
        send(&child, name);
        assert_eq!(end_of(child).signal(), Some(signal), "{name}");
        assert_eq!(place.names(), before, "{name}");
    }
}

/// `nohup` starts programs like this.
#[cfg(target_os = "linux")]
#[test]
fn signals_that_were_ignored_at_the_start_stay_so() {
    let place = Place::new();
    write_endless(&place, "m.safetensors");
    let child = start(&place, "trap '' HUP;", &["compress", "m.safetensors"], 1);
    send(&child, "HUP");
    // If the first signal had ended the program, this one would have come too late.
    send(&child, "TERM");
    assert_eq!(end_of(child).signal(), Some(15));
    assert_eq!(place.names(), ["m.safetensors"]);
}

/// `nohup`, and a script that starts commands in its background, run the tests like this.
#[test]
fn these_tests_hold_where_all_signals_are_ignored() {
    let output = Command::new("sh")
        .args(["-c", "trap '' HUP INT QUIT TERM XFSZ; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["interrupted::", "--skip", "where_all_signals_are_ignored"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let one = "signals_remove_the_temporary_file_and_end_the_program ... ok";
    assert!(text.contains(one), "{text}");
}

#[test]
fn a_shell_reports_128_and_the_number_of_the_signal() {
    let place = Place::new();
    write_endless(&place, "m.safetensors");
    let script = format!(
        "'{UNWEIGHT}' compress m.safetensors & \
         until ls .unweight-*.partial; do :; done; kill -TERM $!; wait $!; echo status $?"
    );
    signals::reach_children();
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(place.path(""))
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.ends_with("status 143\n"), "{text}");
}

#[test]
fn what_is_finished_when_the_signal_comes_stays() {
    let place = Place::with_compressed(&mixed(), &[]);
    write_endless(&place, "endless.safetensors");
    let made = place.read("m.unw");
    let child = start(&place, "", &["compress", "endless.safetensors"], 1);
    send(&child, "INT");
    assert_eq!(end_of(child).signal(), Some(2));
    assert!(place.read("m.unw") == made);
    fs::remove_file(place.path("endless.safetensors")).unwrap();
    assert_eq!(place.names(), ["m.safetensors", "m.unw"]);
}

/// The line on a finished file waits for its reader. The message at the end would wait too.
#[test]
fn signals_end_a_program_whose_messages_nobody_reads() {
    for options in [&[][..], &["--resume"]] {
        signals::reach_children();
        let place = Place::with("m/a.safetensors", &mixed());
        write_endless(&place, "m/z.safetensors");
        let (reader, writer) = std::io::pipe().unwrap();
        let mut filler = writer.try_clone().unwrap();
        let filled = thread::spawn(move || {
            // The write fails when there is no reader any more.
            let _ = std::io::Write::write_all(&mut filler, &[b'x'; 1 << 20]);
        });
        // The system's pipes hold 64 KiB. If the time to fill them is too short, the test passes
        // without showing anything.
        thread::sleep(Duration::from_millis(300));
        let child = Command::new(UNWEIGHT)
            .args(["compress", "m", "-o", "out"])
            .args(options)
            .current_dir(place.path(""))
            .stdout(Stdio::null())
            .stderr(writer)
            .spawn();
        let child = Endless(child.unwrap());
        wait_until("a finished file", || {
            place.names().iter().any(|name| name.ends_with("/a.unw"))
        });
        send(&child, "TERM");
        assert_eq!(end_of(child).signal(), Some(15), "{options:?}");
        drop(reader);
        filled.join().unwrap();
    }
}
