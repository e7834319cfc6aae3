//! A model folder that becomes another one: some files change their form, the others are copied.

use std::path::Path;

use crate::failure::Failure;
use crate::output::{OutputFolder, require_outside, require_replaceable};
use crate::tree::Tree;

/// Where one file of a folder is read, where it is written, and what it will be called.
pub(crate) struct Step<'a> {
    pub(crate) input: &'a Path,
    /// In the folder under construction.
    pub(crate) place: &'a Path,
    pub(crate) output: &'a Path,
}

/// Makes the folder `output` of the folder `input`: `convert` makes files with the extension `to` of those with the extension `from`.
/// Gives what it returned for each.
pub(crate) fn convert<T>(
    input: &Path,
    output: &Path,
    (from, to): (&str, &str),
    mut convert: impl FnMut(Step<'_>) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    let tree = Tree::of(input, from, to)?;
    require_outside(input, output)?;
    require_replaceable(output, &tree, to)?;
    let folder = OutputFolder::create(output)?;
    tree.copy_others(input, folder.path())?;
    let mut converted = Vec::new();
    for relative in &tree.converted {
        let name = relative.with_extension(to);
        converted.push(convert(Step {
            input: &input.join(relative),
            place: &folder.path().join(&name),
            output: &output.join(&name),
        })?);
    }
    folder.commit()?;
    Ok(converted)
}
