//! A file that is cut short while it is read, and grows again before anybody looks at its length.

use crate::model::small;
use crate::place::Place;

#[test]
fn a_file_that_shrinks_and_grows_while_it_is_read_is_bad() {
    let place = Place::with_compressed(&small(), &[]);
    let before = place.names();
    for call in [
        &["verify", "m.unw"][..],
        &["inspect", "m.unw"],
        &["report", "m.unw", "-o", "out"],
        &["decompress", "m.unw", "-o", "out"],
        &["transcode", "m.unw", "--to", "palette", "-o", "out"],
        &["extract", "m.unw", "w", "-o", "out"],
        &["extract", "m.unw", "w", "--range", "0..3", "-o", "out"],
    ] {
        let options = ["-P", "m.unw", "-e", "trace=pread64"];
        let Some((run, trace)) = place.run_traced(&options, call) else {
            return;
        };
        run.succeeds();
        std::fs::remove_file(place.path("out")).ok();
        let reads = trace.lines().count();
        assert!(reads > 2, "{trace}");
        for number in 1..=reads {
            // This read returns no bytes, as if the file ended here at that moment.
            let inject = format!("inject=pread64:retval=0:when={number}");
            let options = [&options[..], &["-e", &inject]].concat();
            let (run, _) = place.run_traced(&options, call).unwrap();
            let line = run.fails(1);
            assert!(line.starts_with("unweight: m.unw: "), "{line}");
            assert_eq!(place.names(), before);
        }
    }
}
