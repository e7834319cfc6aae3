//! `--force` never replaces the input, by whatever name the output is given.

use std::fs;

use crate::model::mixed;
use crate::place::Place;

#[test]
fn an_output_that_is_the_input_is_wrong_use() {
    let place = Place::with_compressed(&mixed(), &[]);
    fs::create_dir(place.path("sub")).unwrap();
    for source in ["m.safetensors", "m.unw"] {
        fs::hard_link(place.path(source), place.path(&format!("hard-{source}"))).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(source, place.path(&format!("soft-{source}"))).unwrap();
    }
    let before = place.names();
    let prefixes = match cfg!(unix) {
        true => &["", "./", "sub/../", "hard-", "soft-"][..],
        false => &["", "./", "sub/../"],
    };
    for prefix in prefixes {
        for call in [
            &["compress", "m.safetensors"][..],
            &["decompress", "m.unw"],
            &["transcode", "m.unw", "--to", "palette"],
            &["extract", "m.unw", "head"],
            &["tune", "m.unw"],
        ] {
            let output = format!("{prefix}{}", call[1]);
            let whole = [call, &["-o", &output, "--force"]].concat();
            let line = place.run(&whole).fails(2);
            assert!(line.contains("is the input itself"), "{line}");
            // The names of input and output are swapped.
            let mut whole = whole;
            (whole[1], *whole.iter_mut().rev().nth(1).unwrap()) = (&output, call[1]);
            place.run(&whole).fails(2);
        }
    }
    assert_eq!(place.names(), before);
    assert!(place.read("m.safetensors") == mixed());
}

#[test]
fn an_output_in_the_input_or_around_it_is_wrong_use() {
    let place = Place::with("outer/tiny/m.safetensors", &mixed());
    place.write("outer/tiny/deep/notes", b"notes");
    place.run(&["compress", "outer/tiny", "-o", "c"]).succeeds();
    place.write("c/deep/notes", b"notes");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("outer/tiny", place.path("link")).unwrap();
        std::os::unix::fs::symlink("c", place.path("link.unw")).unwrap();
    }
    let before = place.names();
    for (call, output) in [
        (["compress", "outer/tiny"], "outer/tiny"),
        (["compress", "outer/tiny"], "outer"),
        (["compress", "outer/tiny"], "outer/tiny/new"),
        (["compress", "outer/tiny"], "outer/tiny/deep"),
        (["compress", "outer/tiny"], "outer/tiny/deep/new"),
        (["decompress", "c"], "c/new"),
        #[cfg(unix)]
        (["compress", "outer/tiny"], "link"),
        #[cfg(unix)]
        (["compress", "outer/tiny"], "link/new"),
        #[cfg(unix)]
        (["compress", "link"], "outer/tiny/new"),
        #[cfg(unix)]
        (["compress", "link"], "outer"),
        #[cfg(unix)]
        (["decompress", "c"], "link.unw"),
    ] {
        for force in [&[][..], &["--force"]] {
            let line = place
                .run(&[&call[..], &["-o", output], force].concat())
                .fails(2);
            let is_named = [
                "is the input itself",
                "holds the input",
                "lies in the input",
            ];
            assert!(
                is_named.iter().any(|what| line.contains(what)) || line.contains("exists already"),
                "{line}"
            );
        }
        assert_eq!(place.names(), before, "{call:?} -o {output}");
    }
}
