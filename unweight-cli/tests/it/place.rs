//! Temporary folder for the program to work in, and results of its runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// The program under test.
pub(crate) const UNWEIGHT: &str = env!("CARGO_BIN_EXE_unweight");

/// A temporary folder, in which the program runs.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Place {
        Place(TempDir::new().unwrap())
    }

    /// A place that holds this one file.
    pub(crate) fn with(name: &str, bytes: &[u8]) -> Place {
        let place = Place::new();
        place.write(name, bytes);
        place
    }

    /// A place that holds `m.safetensors`, and `m.unw` made from it.
    pub(crate) fn with_compressed(model: &[u8], options: &[&str]) -> Place {
        let place = Place::with("m.safetensors", model);
        let mut arguments = vec!["compress", "m.safetensors"];
        arguments.extend(options);
        place.run(&arguments).succeeds();
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, and makes the folders that it stands in.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    #[track_caller]
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Every file and folder here, hidden ones too, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        list(self.0.path(), self.0.path(), &mut names);
        names.sort();
        names
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        self.run_program(UNWEIGHT, arguments)
    }

    /// Runs the program where no file may grow past `blocks` of 512 bytes (1,024 in some shells).
    /// For the program, this is a full disk.
    #[cfg(unix)]
    pub(crate) fn run_on_full_disk(&self, blocks: u32, arguments: &[&str]) -> Run {
        let limited = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        let mut all = vec!["-c", &limited, "sh", UNWEIGHT];
        all.extend(arguments);
        self.run_program("sh", &all)
    }

    /// Runs the program under a shell that runs `first` before it.
    #[cfg(unix)]
    pub(crate) fn run_after(&self, first: &str, arguments: &[&str]) -> Run {
        let script = format!("{first}; exec \"$@\"");
        let mut all = vec!["-c", &script, "sh", UNWEIGHT];
        all.extend(arguments);
        self.run_program("sh", &all)
    }

    /// Runs the program with an address space of so many KiB.
    #[cfg(target_os = "linux")]
    pub(crate) fn run_within(&self, kib: u32, arguments: &[&str]) -> Run {
        let limited = format!("ulimit -v {kib}; exec \"$@\"");
        let mut all = vec!["-c", &limited, "sh", UNWEIGHT];
        all.extend(arguments);
        self.run_program("sh", &all)
    }

    /// Runs the program under `strace` with these options. Returns the run and the trace, with the
    /// path behind each descriptor. Returns None where `strace` does not work, and prints that the
    /// test is skipped.
    #[cfg(target_os = "linux")]
    pub(crate) fn run_traced(&self, options: &[&str], arguments: &[&str]) -> Option<(Run, String)> {
        let probe = std::process::Command::new("strace")
            .args(["-qq", "-o", "/dev/null", "true"])
            .status();
        if !probe.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: strace is not there, or may not trace");
            return None;
        }
        let trace = tempfile::NamedTempFile::new().unwrap();
        let trace_name = trace.path().to_str().unwrap();
        let mut all = vec!["-f", "-y", "-qq", "-o", trace_name];
        all.extend(options);
        all.push(UNWEIGHT);
        all.extend(arguments);
        let mut run = self.run_program("strace", &all);
        // Lines that `strace` itself prints are left out.
        let lines = run.stderr.split_inclusive('\n');
        run.stderr = lines.filter(|line| !line.starts_with("strace: ")).collect();
        Some((run, fs::read_to_string(trace.path()).unwrap()))
    }

    pub(crate) fn run_program(&self, program: &str, arguments: &[&str]) -> Run {
        let output = assert_cmd::Command::new(program)
            .args(arguments)
            .current_dir(self.0.path())
            // The caller of the tests may force colours for its own output.
            .env_remove("CLICOLOR_FORCE")
            .timeout(Duration::from_secs(60))
            .output()
            .unwrap();
        let (progress, warnings, stderr) = sorted(&String::from_utf8(output.stderr).unwrap());
        Run {
            call: arguments.join(" "),
            code: output.status.code(),
            stdout: output.stdout,
            progress,
            warnings,
            stderr,
        }
    }
}

fn list(root: &Path, folder: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        names.push(path.strip_prefix(root).unwrap().display().to_string());
        if path.is_dir() {
            list(root, &path, names);
        }
    }
}

/// Splits standard error of a run into progress on a folder, warnings, and all other lines.
fn sorted(stderr: &str) -> (String, String, String) {
    let mut sorted = (String::new(), String::new(), String::new());
    for line in stderr.split_inclusive('\n') {
        let words: Vec<&str> = line.split(' ').collect();
        let is_progress = words.len() > 3
            && words[0].parse::<u32>().is_ok()
            && words[1] == "of"
            && words[2].ends_with(':');
        match line {
            _ if is_progress => sorted.0.push_str(line),
            _ if line.starts_with("unweight: warning: ") => sorted.1.push_str(line),
            _ => sorted.2.push_str(line),
        }
    }
    sorted
}

/// Results of a run.
pub(crate) struct Run {
    call: String,
    code: Option<i32>,
    stdout: Vec<u8>,
    /// Lines such as `1 of 3: a.safetensors, 66.4 %, 1.0 s` on standard error.
    progress: String,
    warnings: String,
    /// All other lines on standard error.
    stderr: String,
}

impl Run {
    pub(crate) fn is_success(&self) -> bool {
        self.code == Some(0)
    }

    /// Requires exit code 0, and nothing on standard error but progress and warnings. Returns the
    /// warnings.
    #[track_caller]
    pub(crate) fn warns(self) -> Vec<String> {
        assert_eq!(self.code, Some(0), "{}: {}", self.call, self.stderr);
        assert_eq!(self.stderr, "", "{}", self.call);
        self.warnings.lines().map(str::to_owned).collect()
    }

    /// Requires exit code 0, and nothing on standard error but progress. Returns standard output.
    #[track_caller]
    pub(crate) fn succeeds(self) -> Vec<u8> {
        assert_eq!(self.code, Some(0), "{}: {}", self.call, self.stderr);
        assert_eq!(self.warnings + &self.stderr, "", "{}", self.call);
        self.stdout
    }

    /// Requires the same as [`Run::succeeds`], but with one warning on standard error. Returns
    /// standard output and the warning.
    #[track_caller]
    pub(crate) fn succeeds_with_warning(mut self) -> (Vec<u8>, String) {
        let warning = std::mem::take(&mut self.warnings);
        assert_eq!(warning.lines().count(), 1, "{}: {warning:?}", self.call);
        (self.succeeds(), warning)
    }

    /// Returns the lines that report a finished file of a folder.
    pub(crate) fn progress(&self) -> &str {
        &self.progress
    }

    /// Returns the exit code, standard output and standard error, and requires nothing.
    pub(crate) fn raw(self) -> (Option<i32>, Vec<u8>, String) {
        let stderr = self.progress + &self.warnings + &self.stderr;
        (self.code, self.stdout, stderr)
    }

    /// Requires the same as [`Run::succeeds`], and JSON on standard output. Returns the JSON.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        serde_json::from_slice(&self.succeeds()).unwrap()
    }

    /// Requires this exit code, nothing on standard output, and one line on standard error besides
    /// progress and warnings. Returns the line.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> String {
        assert_eq!(self.stdout, b"", "{}", self.call);
        self.says_why(code).0
    }

    /// Requires the same as [`Run::fails`], but with the failure as JSON on standard output.
    /// Returns the line and the JSON.
    #[track_caller]
    pub(crate) fn fails_with_json(self, code: i32) -> (String, Value) {
        let (line, stdout) = self.says_why(code);
        (line, serde_json::from_slice(&stdout).unwrap())
    }

    /// Requires wrong use that the command line's parser found. The parser prints its own text of
    /// several lines on standard error.
    #[track_caller]
    pub(crate) fn misunderstood(self) {
        assert_eq!(self.code, Some(2), "{}: {}", self.call, self.stderr);
        assert_eq!(self.stdout, b"", "{}", self.call);
        assert!(self.stderr.contains("--help"), "{}", self.stderr);
    }

    /// Requires the same as [`Run::misunderstood`], but with the failure as JSON on standard
    /// output. Returns the JSON.
    #[track_caller]
    pub(crate) fn misunderstood_json(self) -> Value {
        assert_eq!(self.code, Some(2), "{}: {}", self.call, self.stderr);
        assert!(self.stderr.contains("--help"), "{}", self.stderr);
        serde_json::from_slice(&self.stdout).unwrap()
    }

    #[track_caller]
    fn says_why(self, code: i32) -> (String, Vec<u8>) {
        assert_eq!(self.code, Some(code), "{}: {}", self.call, self.stderr);
        let line = self.stderr.strip_suffix('\n').unwrap_or_default();
        assert!(
            line.starts_with("unweight: ") && !line.contains(char::is_control),
            "{}: not one line: {:?}",
            self.call,
            self.stderr
        );
        (line.to_owned(), self.stdout)
    }
}
