//! Races: another program takes the output's name, or puts an entry into the folder that is
//! replaced, while the program works.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use unweight_testkit::{Random, bf16, safetensors_file};

use crate::model::mixed;
use crate::place::{Place, UNWEIGHT};

/// Makes `src`, which takes long enough to compress to be stopped meanwhile.
fn long() -> Place {
    let weights = match cfg!(debug_assertions) {
        true => 3_000_000,
        false => 30_000_000,
    };
    let place = Place::with(
        "src/m.safetensors",
        &safetensors_file(&[bf16("w", &Random::new(80).trained_weights(weights))]),
    );
    place.write("src/config.json", b"{}");
    place
}

fn send(child: &Child, signal: &str) {
    let kill = Command::new("sh")
        .args(["-c", "kill -s \"$1\" \"$2\"", "sh", signal])
        .arg(child.id().to_string())
        .status();
    assert!(kill.unwrap().success());
}

/// Runs the program, and calls `meanwhile` while it works. Returns its exit code and its messages.
fn run_while(place: &Place, arguments: &[&str], meanwhile: impl FnOnce()) -> (i32, String) {
    let before = place.names().len();
    let child = Command::new(UNWEIGHT)
        .args(arguments)
        .current_dir(place.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while place.names().len() == before {
        assert!(start.elapsed() < Duration::from_secs(60), "no output begun");
        sleep(Duration::from_micros(100));
    }
    send(&child, "STOP");
    assert!(
        place.names().iter().any(|name| name.contains(".partial")),
        "it was too quick to be stopped"
    );
    meanwhile();
    send(&child, "CONT");
    let output = child.wait_with_output().unwrap();
    let code = output.status.code().unwrap();
    (code, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_takes_the_name_meanwhile_stays() {
    let place = long();
    let out = place.path("out");
    let takers: [&dyn Fn(); 5] = [
        &|| place.write("out/notes.txt", b"theirs"),
        &|| fs::create_dir(&out).unwrap(),
        &|| fs::write(&out, b"theirs").unwrap(),
        &|| fs::write(&out, b"").unwrap(),
        &|| std::os::unix::fs::symlink("nowhere", &out).unwrap(),
    ];
    let before = place.names().len();
    for source in ["src", "src/m.safetensors"] {
        for take in takers {
            let (code, line) = run_while(&place, &["compress", source, "-o", "out"], take);
            assert_eq!(code, 2, "{line}");
            assert!(line.contains("out exists already"), "{line}");
            let found = fs::symlink_metadata(&out).unwrap();
            assert!(found.is_symlink() || found.len() != 0 || fs::read(&out).unwrap().is_empty());
            if found.is_dir() {
                let notes = out.join("notes.txt");
                assert!(!notes.exists() || fs::read(notes).unwrap() == b"theirs");
                assert!(!out.join("m.unw").exists());
                fs::remove_dir_all(&out).unwrap();
            } else {
                assert!(found.is_symlink() || [&b""[..], b"theirs"].contains(&&*place.read("out")));
                fs::remove_file(&out).unwrap();
            }
            assert_eq!(place.names().len(), before);
        }
    }
}

#[test]
fn what_is_put_into_the_replaced_folder_meanwhile_stays() {
    let place = long();
    place.run(&["compress", "src", "-o", "out"]).succeeds();
    let old = place.read("out/m.unw");
    let before = place.names().len();
    for stray in ["my_adapter.bin", "logs/today", "config.json/x"] {
        let name = format!("out/{stray}");
        let call = ["compress", "src", "-o", "out", "--force"];
        let call = [&call[..], &["--encoding", "palette"]].concat();
        let (code, line) = run_while(&place, &call, || {
            fs::remove_file(place.path("out/config.json")).unwrap();
            place.write(&name, b"theirs");
        });
        assert_eq!(code, 2, "{line}");
        assert!(line.contains("out holds "), "{line}");
        assert_eq!(place.read(&name), b"theirs");
        assert!(place.read("out/m.unw") == old);
        let first = stray.split('/').next().unwrap();
        let first = place.path(&format!("out/{first}"));
        fs::remove_dir_all(&first)
            .or_else(|_| fs::remove_file(&first))
            .unwrap();
        place.write("out/config.json", b"{}");
        assert_eq!(place.names().len(), before);
    }
}

#[test]
fn a_file_that_takes_the_name_of_a_replaced_folder_stays() {
    let place = long();
    place.run(&["compress", "src", "-o", "out"]).succeeds();
    let (code, line) = run_while(&place, &["compress", "src", "-o", "out", "--force"], || {
        fs::remove_dir_all(place.path("out")).unwrap();
        fs::write(place.path("out"), b"theirs").unwrap();
    });
    assert_eq!(code, 2, "{line}");
    assert!(line.contains("out is a file"), "{line}");
    assert_eq!(place.read("out"), b"theirs");
    assert_eq!(
        place.names(),
        ["out", "src", "src/config.json", "src/m.safetensors"]
    );
}

/// Runs many programs at the same time. Returns how many ended with exit code 0. The others must
/// end with 2.
fn race(place: &Place, arguments: &[&str]) -> usize {
    let start = |_| {
        Command::new(UNWEIGHT)
            .args(arguments)
            .args(["-o", "out", "--quiet"])
            .current_dir(place.path(""))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..16).map(start).collect();
    let outputs = children.into_iter().map(|child| child.wait_with_output());
    outputs
        .filter(|output| {
            let output = output.as_ref().unwrap();
            match output.status.code() {
                Some(0) => true,
                Some(2) => false,
                code => panic!("{code:?}: {}", String::from_utf8_lossy(&output.stderr)),
            }
        })
        .count()
}

#[test]
fn of_programs_that_make_one_folder_one_wins_whole() {
    let place = Place::with("src/m.safetensors", &mixed());
    place.write("src/config.json", b"{}");
    place.run(&["compress", "src"]).succeeds();
    let expected = place.read("src.unw/m.unw");
    let before = place.names();
    for round in 0..3 {
        assert_eq!(race(&place, &["compress", "src"]), 1, "{round}");
        assert!(place.read("out/m.unw") == expected);
        fs::remove_dir_all(place.path("out")).unwrap();
        assert_eq!(race(&place, &["compress", "src", "--force"]), 16, "{round}");
        assert!(place.read("out/m.unw") == expected);
        fs::remove_dir_all(place.path("out")).unwrap();
        assert_eq!(place.names(), before);
    }
}
