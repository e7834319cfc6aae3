//! `unweight extract`.

use std::io::Write;
use std::ops::Range;

use serde_json::json;
use unweight::container::decode_tensor;
use unweight::file::open;
use unweight::output::{Attributes, OutputFile, require_absent, require_apart};
use unweight::{Error, Model};
use unweight_format::Tensor;

use super::Context;
use crate::arguments::Extract;
use crate::failure::Failure;
use crate::printable::{quoted, shown};
use crate::report::text;
use crate::standard_output::{Bytes, is_meant};
use crate::warning;

/// Number of bytes of a range that are read at a time: a whole number of blocks, and of chunks of
/// any type.
const PIECE_BYTES: u64 = 8 << 16;

pub(crate) fn run(options: &Extract, context: &Context) -> Result<(), Failure> {
    let path = &options.file;
    let file = open(path)?;
    let attributes = Attributes::of(path, &file)?.without_times();
    let model = context.reading(&options.memory, None).open_storage(file);
    let model = model.map_err(|error| Failure::converting(path, path, error))?;
    let container = model.container();
    let tensor = container.directory().find(&options.tensor).ok_or_else(|| {
        Failure::Usage(format!(
            "{} has no tensor {}; `unweight inspect --directory` lists those that it has",
            path.display(),
            quoted(&options.tensor)
        ))
    })?;
    let byte_range = options
        .range
        .as_ref()
        .map(|range| byte_range(&tensor, range))
        .transpose()?;

    let Some(output) = options.output.as_deref().filter(|path| !is_meant(path)) else {
        let mut stdout = Bytes::open(context)?;
        let done = copy(&model, &tensor, byte_range, context, |bytes| {
            stdout.write(bytes)
        });
        return stdout.finish(path, done);
    };
    require_absent(output, options.force)?;
    require_apart(path, output)?;
    let output_file = OutputFile::create(output, options.force, &attributes)?;
    let mut target = output_file.file()?;
    let mut written = 0;
    copy(&model, &tensor, byte_range, context, |bytes| {
        written += bytes.len();
        target.write_all(bytes).map_err(Error::Write)
    })
    .map_err(|error| Failure::converting(path, output, error))?;
    output_file.commit(|warning| warning::tell(&warning))?;
    let result = json!({"output": text(output), "tensor": tensor.name(), "bytes": written});
    context.print_result(&result, || format!("{}: {written} bytes", shown(output)))
}

/// Byte range of a range of elements.
fn byte_range(tensor: &Tensor<'_>, range: &Range<u64>) -> Result<Range<u64>, Failure> {
    let count = tensor.element_count();
    if range.end > count {
        return Err(Failure::Usage(format!(
            "tensor {} has {count} elements, but the range is {}..{}",
            quoted(tensor.name()),
            range.start,
            range.end
        )));
    }
    let bits = |elements: u64| elements * tensor.dtype().bits();
    if bits(range.start) % 8 != 0 || bits(range.end) % 8 != 0 {
        return Err(Failure::Usage(format!(
            "elements of {}: expected a range that begins and ends with a whole byte, found {}..{}",
            tensor.dtype(),
            range.start,
            range.end
        )));
    }
    Ok(bits(range.start) / 8..bits(range.end) / 8)
}

/// Passes a tensor's bytes to `output`, all of them or those in `range`.
fn copy(
    model: &Model,
    tensor: &Tensor<'_>,
    range: Option<Range<u64>>,
    context: &Context,
    mut output: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let container = model.container();
    let Some(range) = range else {
        // For a whole tensor, the tensor checksum is checked too.
        return decode_tensor(&container, tensor, &context.executor, output);
    };
    let mut buffer = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let end = range.end.min((at / PIECE_BYTES + 1) * PIECE_BYTES);
        buffer.resize((end - at) as usize, 0);
        container.read_bytes(tensor, at..end, &mut buffer)?;
        output(&buffer)?;
        at = end;
    }
    Ok(())
}
