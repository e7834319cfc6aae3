//! Copies of the files in a model folder that are not converted.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::error::{reading, writing};
use crate::file::{Event, Reporter, Step, open};
use crate::output::{Attributes, WriteBack, create_private, flush_file};
use crate::{Error, Progress};

/// Bytes that are copied between two events.
const PIECE_BYTES: u64 = 64 << 20;

/// Copies the file `from` to `place`, in a folder under construction, where its final name is
/// `name`. Data, permissions and times are on the disk afterwards.
///
/// Unlike `fs::copy`, the function copies only from an ordinary file, whatever happens meanwhile,
/// and leaves out setuid and setgid bits.
pub(crate) fn copy(
    from: &Path,
    place: &Path,
    name: &Path,
    step: Step<'_>,
    reporter: &Reporter,
) -> Result<(), Error> {
    let failed = writing(name);
    let mut source = open(from)?;
    let attributes = Attributes::of(from, &source)?;
    let total_bytes = source.metadata().map_err(reading(from))?.len();
    reporter.tell(Event::Begin { step, total_bytes })?;
    let mut target = create_private(place).map_err(&failed)?;
    let write_back = WriteBack::of(&target);
    let mut done_bytes = 0;
    loop {
        let copied = copy_piece(&mut source, &mut target, done_bytes);
        let copied = copied.map_err(|error| match error {
            Side::Reading(error) => reading(from)(error),
            Side::Writing(error) => failed(error),
        })?;
        done_bytes += copied;
        let progress = Progress {
            done_bytes,
            total_bytes,
        };
        reporter.tell(Event::Progress { step, progress })?;
        // A piece is shorter only at the end of the file.
        if copied < PIECE_BYTES {
            break;
        }
    }
    let warn = &|warning| reporter.warn(warning);
    write_back.finish(name, warn).map_err(&failed)?;
    attributes
        .give_to(&target, name, warn)
        .and_then(|()| flush_file(&target, name, warn))
        .map_err(&failed)
}

/// File on which an error occurred.
enum Side {
    Reading(io::Error),
    Writing(io::Error),
}

/// Copies the next bytes, which start at `begin` in both files. Returns their number, 0 at the end.
fn copy_piece(source: &mut File, target: &mut File, begin: u64) -> Result<u64, Side> {
    match io::copy(&mut Read::by_ref(source).take(PIECE_BYTES), target) {
        Ok(copied) => Ok(copied),
        // The system may copy by itself, and its error does not say which of the two files failed.
        // Copying by hand shows which one failed, and succeeds if only the system's copy failed.
        Err(_) => copy_rest(source, target, begin),
    }
}

/// Copies the bytes of a piece that are not in `target` yet. Returns the length of the piece.
fn copy_rest(source: &mut (impl Read + Seek), target: &mut File, begin: u64) -> Result<u64, Side> {
    const BUFFER_BYTES: usize = 1 << 17;
    let done = target.stream_position().map_err(Side::Writing)?;
    source.seek(SeekFrom::Start(done)).map_err(Side::Reading)?;
    let mut rest = source.take((begin + PIECE_BYTES).saturating_sub(done));
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut copied = done - begin;
    loop {
        let count = match rest.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Side::Reading(error)),
        };
        target.write_all(&buffer[..count]).map_err(Side::Writing)?;
        copied += count as u64;
    }
}
