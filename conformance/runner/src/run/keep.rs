//! Keeps what went into a subject and what came out of it, for the option `--keep`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{Answer, Case, Expect, Reply, RunError};

/// Writes the files of one call into `folder/<case>`, or into `folder/<case>/<part>` for one input of
/// a family.
pub(super) fn keep(
    folder: &Path,
    case: &Case,
    part: Option<&str>,
    input: &[u8],
    reply: &Reply,
) -> Result<(), RunError> {
    let folder = match part {
        Some(part) => folder.join(&case.id).join(part),
        None => folder.join(&case.id),
    };
    write(&folder, case, input, reply).map_err(|error| {
        RunError(format!(
            "cannot keep the files of `{}` in {}: {error}",
            case.id,
            folder.display()
        ))
    })
}

fn write(folder: &Path, case: &Case, input: &[u8], reply: &Reply) -> io::Result<()> {
    let (input_name, output_name) = match &case.expect {
        Expect::Accept(_) | Expect::Reject { .. } | Expect::Prefixes { .. } => {
            ("input.unw", "output.safetensors")
        }
        Expect::Encode { .. } | Expect::EncodeRefuse { .. } => ("input.safetensors", "output.unw"),
        Expect::Transcode { .. } | Expect::TranscodeRefuse { .. } => ("input.unw", "output.unw"),
    };
    fs::create_dir_all(folder)?;
    fs::write(folder.join(input_name), input)?;
    let output = match &reply.answer {
        Answer::Accepted(output) => Some(output.as_slice()),
        _ => None,
    };
    let file = |name: &str| -> PathBuf { folder.join(name) };
    replace(&file(output_name), output)?;
    replace(&file("stdout.txt"), nonempty(&reply.stdout))?;
    replace(&file("stderr.txt"), nonempty(&reply.stderr))
}

fn nonempty(text: &str) -> Option<&[u8]> {
    (!text.is_empty()).then_some(text.as_bytes())
}

/// Writes a file, or removes the one of an earlier run.
fn replace(path: &Path, contents: Option<&[u8]>) -> io::Result<()> {
    match contents {
        Some(contents) => fs::write(path, contents),
        None => match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    }
}
