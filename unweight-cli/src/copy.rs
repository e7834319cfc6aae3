//! Copies of the files in a model folder that are not converted.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::failure::Failure;
use crate::input::open;
use crate::output::{Attributes, create_private, flush_file};
use crate::write_back::WriteBack;

/// Copies the file `from` to `place`, in a folder under construction, where its final name is
/// `name`. Data, permissions and times are on the disk afterwards.
///
/// Unlike `fs::copy`, the function copies only from an ordinary file, whatever happens meanwhile,
/// and leaves out setuid and setgid bits.
pub(crate) fn copy(from: &Path, place: &Path, name: &Path) -> Result<(), Failure> {
    let failed = |error| Failure::io(name, error);
    let mut source = open(from)?;
    let attributes = Attributes::of(from, &source)?;
    let mut target = create_private(place).map_err(failed)?;
    let write_back = WriteBack::of(&target);
    if io::copy(&mut source, &mut target).is_err() {
        // The system may copy by itself, and its error does not say which of the two files failed.
        // Copying by hand shows which one failed, and succeeds if only the system's copy failed.
        copy_rest(&mut source, &mut target).map_err(|error| match error {
            Side::Reading(error) => Failure::io(from, error),
            Side::Writing(error) => failed(error),
        })?;
    }
    write_back.finish(name).map_err(failed)?;
    attributes
        .give_to(&target, name)
        .and_then(|()| flush_file(&target, name))
        .map_err(failed)
}

/// File on which an error occurred.
enum Side {
    Reading(io::Error),
    Writing(io::Error),
}

/// Copies the bytes that are not in `target` yet.
fn copy_rest(source: &mut (impl Read + Seek), target: &mut File) -> Result<(), Side> {
    const PIECE_BYTES: usize = 1 << 17;
    let done = target.stream_position().map_err(Side::Writing)?;
    source.seek(SeekFrom::Start(done)).map_err(Side::Reading)?;
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let count = match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Side::Reading(error)),
        };
        target.write_all(&buffer[..count]).map_err(Side::Writing)?;
    }
}
