//! A model folder that becomes another one: some files change their form, the others are copied.

use std::path::Path;

use crate::failure::Failure;
use crate::output::{OutputFolder, Target, require_replaceable};
use crate::tree::Tree;

/// Where one file of a folder is read, and where it is written.
pub(crate) struct Step<'a> {
    pub(crate) input: &'a Path,
    pub(crate) output: Target<'a>,
}

/// Makes the folder `output` of the folder `input`: `convert` makes files with the extension `to` of those with the extension `from`.
/// Gives what it returned for each. With `force` the folder replaces what has its name (`require_absent` was asked before).
pub(crate) fn convert<T>(
    input: &Path,
    output: &Path,
    force: bool,
    (from, to): (&str, &str),
    mut convert: impl FnMut(Step<'_>) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    let tree = Tree::of(input, from, to)?;
    require_replaceable(output, &tree, to)?;
    let mut folder = OutputFolder::create(output, force, input)?;
    tree.copy_others(input, &mut folder)?;
    let mut converted = Vec::new();
    for relative in &tree.converted {
        let name = relative.with_extension(to);
        converted.push(convert(Step {
            input: &input.join(relative),
            output: Target::in_folder(&folder.path().join(&name), &output.join(&name)),
        })?);
    }
    folder.commit()?;
    Ok(converted)
}
