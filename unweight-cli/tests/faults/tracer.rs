//! The program under a tracer that makes one of its system calls fail.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The program under test.
pub(crate) const UNWEIGHT: &str = env!("CARGO_BIN_EXE_unweight");

/// What happens at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The call is not made and returns this error number.
    Error(i32),
    /// The call transfers half of its bytes.
    Short,
    /// The program gets SIGKILL before the call.
    Kill,
}

/// A system call that the program made.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Number among the calls of the same name, from 1.
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) result: i64,
    pub(crate) is_injected: bool,
    fields: Vec<(String, String)>,
}

impl Call {
    fn parse(line: &str) -> Call {
        let mut words = line.split('\t');
        let mut word = || words.next().unwrap_or_else(|| panic!("{line:?} is cut"));
        let (number, name, result) = (word(), word(), word());
        let is_injected = word() != "-";
        let fields = words.filter_map(|word| word.split_once('='));
        Call {
            number: number.parse().unwrap(),
            name: name.to_owned(),
            result: result.parse().unwrap(),
            is_injected,
            fields: fields
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        }
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn number_of(&self, key: &str) -> Option<u64> {
        self.text(key).map(|text| text.parse().unwrap())
    }

    /// Whether the call makes two files or folders change their names.
    pub(crate) fn is_exchange(&self) -> bool {
        const RENAME_EXCHANGE: u64 = 2;
        self.name == "renameat2" && self.number_of("flags") == Some(RENAME_EXCHANGE)
    }

    /// Path of the file that the call concerns, empty if it concerns none.
    pub(crate) fn path(&self) -> &str {
        let fields = ["path", "fd_path", "to_fd_path"];
        fields.iter().find_map(|key| self.text(key)).unwrap_or("")
    }
}

/// A traced run of the program.
#[derive(Debug)]
pub(crate) struct Traced {
    /// None if the program did not end in time.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    pub(crate) calls: Vec<Call>,
    /// Bytes that the calls wrote, if they were asked for.
    pub(crate) data: Vec<u8>,
}

/// Limit for a run, which otherwise takes a tenth of a second.
const LONGEST: Duration = Duration::from_secs(60);

/// A call, by its name and its number among the calls of that name, and what it meets.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) name: String,
    pub(crate) number: u64,
    pub(crate) action: Action,
}

impl Fault {
    pub(crate) fn at(call: &Call, action: Action) -> Fault {
        Fault {
            name: call.name.clone(),
            number: call.number,
            action,
        }
    }
}

/// Runs the program in `folder` with at most one fault. Logs go to the folder `logs`.
pub(crate) fn run(
    folder: &Path,
    logs: &Path,
    arguments: &[&str],
    fault: Option<&Fault>,
    keeps_data: bool,
) -> Traced {
    let [log, data, stdout, stderr] = ["log", "data", "stdout", "stderr"].map(|n| logs.join(n));
    let none = ("none", 0, "none".to_owned());
    let (name, number, action) = fault.map_or(none, |fault| {
        let action = match fault.action {
            Action::Error(error) => error.to_string(),
            Action::Short => "short".to_owned(),
            Action::Kill => "kill".to_owned(),
        };
        (&fault.name, fault.number, action)
    });
    let no_data = PathBuf::from("-");
    let mut child = Command::new(tracer())
        .arg(&log)
        .arg(if keeps_data { &data } else { &no_data })
        .args([name, &number.to_string(), &action, UNWEIGHT])
        .args(arguments)
        .current_dir(folder)
        .env_remove("CLICOLOR_FORCE")
        .stdin(Stdio::null())
        .stdout(fs::File::create(&stdout).unwrap())
        .stderr(fs::File::create(&stderr).unwrap())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let code = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status.code(),
            None if start.elapsed() > LONGEST => {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    let lines = fs::read_to_string(&log).unwrap();
    Traced {
        code,
        stdout: fs::read(&stdout).unwrap(),
        stderr: String::from_utf8_lossy(&fs::read(&stderr).unwrap()).into_owned(),
        calls: lines.lines().map(Call::parse).collect(),
        data: if keeps_data {
            fs::read(&data).unwrap()
        } else {
            Vec::new()
        },
    }
}

/// Whether the system permits to trace. If it does not, the test says that it is skipped.
pub(crate) fn is_permitted() -> bool {
    const REFUSED: i32 = 126;
    static REFUSAL: OnceLock<Option<String>> = OnceLock::new();
    let refusal = REFUSAL.get_or_init(|| {
        let tried = Command::new(tracer())
            .args(["/dev/null", "-", "none", "0", "none", UNWEIGHT, "--version"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&tried.stderr).trim_end().to_owned();
        (tried.status.code() == Some(REFUSED)).then_some(text)
    });
    let Some(reason) = refusal else { return true };
    // Tests' output is captured if it comes from `eprintln!`.
    let test = std::thread::current();
    let name = test.name().unwrap_or("a test");
    let line = format!("{name}: skipped, because the system does not permit ptrace: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    false
}

/// The tracer, which the first caller compiles with `CC`, or `cc`, which is Rust's own linker too.
fn tracer() -> &'static Path {
    static TRACER: OnceLock<PathBuf> = OnceLock::new();
    TRACER.get_or_init(|| {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tracer");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/tracer.c");
        // Another process may be compiling it at the same time.
        let own = program.with_extension(std::process::id().to_string());
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        // It may be a command with options: `ccache gcc`.
        let mut words = compiler.split_whitespace();
        let done = Command::new(words.next().unwrap_or("cc"))
            .args(words)
            .args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-o"])
            .args([&own, &source])
            .status();
        assert!(done.unwrap().success(), "the tracer is not compiled");
        fs::rename(&own, &program).unwrap();
        program
    })
}
