//! Conversion of a model folder to another one: some files change their form, others are copied,
//! and some are left out.

pub(crate) mod against;
pub(crate) mod index;
mod names;
pub(crate) mod resume;
mod skipped;
pub(crate) mod space;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::input::open;
use crate::output::{Attributes, OutputFolder, Target, flush_file, require_replaceable};
use crate::tree::{Amount, Tree};

use index::Findings;
use resume::WorkFolder;
pub(crate) use skipped::{LeftOut, Others};
use space::Need;

/// Plan for the conversion of a folder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) input: &'a Path,
    pub(crate) output: &'a Path,
    /// Whether the output may replace an existing entry of its name.
    pub(crate) replaces: bool,
    /// Extension of files that change their form.
    pub(crate) from: &'static str,
    /// Extension of converted files.
    pub(crate) to: &'static str,
    pub(crate) others: Others,
    /// Whether every shard that an index names has to exist.
    pub(crate) requires_all_shards: bool,
    /// Settings on which the bytes of converted files depend, if the run can be resumed and can
    /// continue an earlier run. None otherwise.
    pub(crate) resume: Option<&'a str>,
}

/// Position of a file among the files of a folder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position<'a> {
    /// Number of the file, counted from 1.
    pub(crate) number: usize,
    /// Number of files.
    pub(crate) count: usize,
    /// Path of the file, relative to the folder.
    pub(crate) name: &'a Path,
}

/// One file of a folder that changes its form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step<'a> {
    pub(crate) position: Position<'a>,
    pub(crate) input: &'a Path,
    /// Path of the output file in the folder under construction.
    pub(crate) place: &'a Path,
    /// Final path of the output file.
    pub(crate) output: &'a Path,
}

impl<'a> Step<'a> {
    pub(crate) fn target(&self) -> Target<'a> {
        Target::in_folder(self.place, self.output)
    }
}

/// A way to change the form of files.
pub(crate) trait Conversion {
    /// Result for a file that was converted.
    type Done;

    /// Checks what can be checked quickly. All files are checked before any file is converted.
    fn check(&mut self, input: &Path) -> Result<Need, Failure>;

    /// Makes the file at `step.place`.
    fn convert(&mut self, step: &Step<'_>) -> Result<Self::Done, Failure>;

    /// Compares the file at `step.place`, which an earlier run with the same settings made, with
    /// the file that `convert` would make. Returns None if they differ.
    fn keep(&mut self, step: &Step<'_>) -> Result<Option<Self::Done>, Failure>;

    /// Warns the user about something that is not a failure.
    fn warn(&mut self, message: String);
}

/// Result for a converted folder.
#[derive(Debug)]
pub(crate) struct Outcome<T> {
    pub(crate) converted: Vec<T>,
    pub(crate) copied: Amount,
    pub(crate) left_out: LeftOut,
}

/// Failure of a run, and how far the run had come.
#[derive(Debug)]
pub(crate) struct Stopped {
    pub(crate) failure: Failure,
    /// Whether all checks had passed and the output did not have its name yet. Only in this case
    /// may a resumed run have files to keep.
    pub(crate) had_begun: bool,
    /// Number of files that were converted. Zero if the next run cannot keep them.
    pub(crate) finished_files: usize,
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Stopped {
        Stopped {
            failure,
            had_begun: false,
            finished_files: 0,
        }
    }
}

/// Converts the folder `plan.input` to the folder `plan.output`.
pub(crate) fn convert<C: Conversion>(
    plan: &Plan<'_>,
    conversion: &mut C,
) -> Result<Outcome<C::Done>, Stopped> {
    let tree = Tree::of(plan.input, plan.from, plan.to, plan.others)?;
    require_replaceable(plan.output, &tree, plan.to)?;
    let nearly_alike = names::require_distinct(plan.input, &tree, plan.to)?;
    let findings = index::check(plan.input, &tree)?;
    judge(plan, &findings, conversion)?;
    let mut needs = Vec::with_capacity(tree.converted.len());
    for relative in &tree.converted {
        needs.push(conversion.check(&plan.input.join(relative))?);
    }

    let mut place = Place::create(plan, conversion)?;
    let prepared = prepare(plan, &tree, &needs, nearly_alike, &place, conversion);
    if let Err(failure) = prepared {
        drop(place.folder);
        if let Some(work) = place.work {
            work.remove_if_useless(plan.to);
        }
        return Err(failure.into());
    }
    let mut converted = Vec::with_capacity(tree.converted.len());
    let filled = fill(plan, &tree, &mut place, conversion, &mut converted);
    let finished_files = converted.len();
    let copied = match filled {
        Ok(copied) => copied,
        Err(failure) => {
            drop(place.folder);
            return Err(stopped(failure, place.work, plan.to, finished_files));
        }
    };
    let Place { mut folder, work } = place;
    if let Err(failure) = folder.commit() {
        let had_begun = !folder.has_name();
        return Err(Stopped {
            had_begun,
            ..stopped(failure, work, plan.to, finished_files)
        });
    }
    if let Some(work) = work {
        remove(work, conversion);
    }
    Ok(Outcome {
        converted,
        copied,
        left_out: tree.left_out,
    })
}

/// Removes the work folder unless the next run can use files in it. Returns the failure with the
/// number of files that are kept.
fn stopped(failure: Failure, work: Option<WorkFolder>, to: &str, finished_files: usize) -> Stopped {
    let keeps = work.is_none_or(|work| work.remove_if_useless(to));
    Stopped {
        failure,
        had_begun: true,
        finished_files: if keeps { finished_files } else { 0 },
    }
}

/// Removes a work folder that is no longer needed.
fn remove(work: WorkFolder, conversion: &mut impl Conversion) {
    let path = work.path().to_owned();
    if let Err(error) = work.remove() {
        conversion.warn(format!(
            "{}: {error}; the output is complete, so look at what is left there and remove it",
            path.display()
        ));
    }
}

/// Reports wrong claims of indexes, as failures or as warnings.
fn judge(
    plan: &Plan<'_>,
    findings: &Findings,
    conversion: &mut impl Conversion,
) -> Result<(), Failure> {
    if let Some(missing) = findings.missing_in_words() {
        if plan.requires_all_shards {
            return Err(Failure::bad(plan.input, missing));
        }
        conversion.warn(format!("{}: {missing}", plan.input.display()));
    }
    for (index, what) in &findings.unusable {
        conversion.warn(format!("{}: {what}", plan.input.join(index).display()));
    }
    Ok(())
}

/// Does the last checks before work begins, which depend on the folder where the output is made.
fn prepare(
    plan: &Plan<'_>,
    tree: &Tree,
    needs: &[Need],
    nearly_alike: Option<(PathBuf, PathBuf)>,
    place: &Place,
    conversion: &mut impl Conversion,
) -> Result<(), Failure> {
    if let Some(pair) = nearly_alike {
        names::require_distinct_in(place.path(), plan.output, &pair)?;
    }
    require_possible_names(plan, tree, place)?;
    if let Some(free) = space::free(place.path()) {
        let need = needed(plan, tree, needs, place);
        if let Some(warning) = space::require(plan.output, need, free)? {
            conversion.warn(warning);
        }
    }
    Ok(())
}

/// Refuses names that the file system of the output does not take. The name of a converted file may
/// be longer than the name of its source.
fn require_possible_names(plan: &Plan<'_>, tree: &Tree, place: &Place) -> Result<(), Failure> {
    let converted = tree.converted.iter();
    let converted = converted.map(|relative| relative.with_extension(plan.to));
    for relative in converted.chain(tree.copied.iter().cloned()) {
        // Only the name is looked up, because the folders around the file do not exist yet.
        let name = relative.file_name().unwrap_or_default();
        match fs::symlink_metadata(place.path().join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Failure::io(&plan.output.join(&relative), error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Bytes that the output needs besides the bytes that are there already.
fn needed(plan: &Plan<'_>, tree: &Tree, needs: &[Need], place: &Place) -> Need {
    let mut need = Need::default();
    let earlier: HashMap<PathBuf, u64> = match &place.work {
        Some(work) => work.files().collect(),
        None => HashMap::new(),
    };
    for (relative, file_need) in tree.converted.iter().zip(needs) {
        // An old file that is made again is removed first.
        let name = relative.with_extension(plan.to);
        let length = earlier.get(&name).copied().unwrap_or(0);
        need = need.and(Need {
            at_least: if length > 0 { 0 } else { file_need.at_least },
            at_most: file_need.at_most.saturating_sub(length),
        });
    }
    for relative in &tree.copied {
        need = need.and(space::of_copy(&plan.input.join(relative), place.path()));
    }
    need
}

/// Copies and converts the files of the folder.
fn fill<C: Conversion>(
    plan: &Plan<'_>,
    tree: &Tree,
    place: &mut Place,
    conversion: &mut C,
    converted: &mut Vec<C::Done>,
) -> Result<Amount, Failure> {
    let copied = tree.copy_others(plan.input, &mut place.folder)?;
    let outputs: Vec<PathBuf> = tree
        .converted
        .iter()
        .map(|relative| relative.with_extension(plan.to))
        .collect();
    let are_there = match &place.work {
        Some(work) => work
            .move_earlier(&outputs, place.path())
            .map_err(|error| Failure::io(plan.output, error))?,
        None => vec![false; outputs.len()],
    };
    for (number, (relative, is_there)) in tree.converted.iter().zip(are_there).enumerate() {
        let name = &outputs[number];
        let step = Step {
            position: Position {
                number: number + 1,
                count: outputs.len(),
                name: relative,
            },
            input: &plan.input.join(relative),
            place: &place.path().join(name),
            output: &plan.output.join(name),
        };
        let mut done = None;
        if is_there {
            let attributes = Attributes::of(step.input, &open(step.input)?)?;
            done = conversion.keep(&step)?;
            if done.is_some() {
                renew(&attributes, &step)?;
            } else {
                conversion.warn(format!(
                    "{}: what an earlier run made does not hold; it is made again",
                    step.output.display()
                ));
                fs::remove_file(step.place).map_err(|error| Failure::io(step.output, error))?;
            }
        }
        converted.push(match done {
            Some(done) => done,
            None => conversion.convert(&step)?,
        });
    }
    Ok(copied)
}

/// Gives a kept file the permissions and times of its source, which may have changed since.
fn renew(attributes: &Attributes, step: &Step<'_>) -> Result<(), Failure> {
    let failed = |error| Failure::io(step.output, error);
    let file = File::open(step.place).map_err(failed)?;
    attributes
        .give_to(&file, step.output)
        .and_then(|()| flush_file(&file, step.output))
        .map_err(failed)
}

/// Folder in which the output is made.
struct Place {
    folder: OutputFolder,
    work: Option<WorkFolder>,
}

impl Place {
    fn create(plan: &Plan<'_>, conversion: &mut impl Conversion) -> Result<Place, Failure> {
        let Some(settings) = plan.resume else {
            if let Some(earlier) = resume::is_left(plan.output, plan.to)? {
                conversion.warn(format!(
                    "{} holds finished files of an earlier run; --resume goes on with them",
                    earlier.display()
                ));
            }
            return Ok(Place {
                folder: OutputFolder::create(plan.output, plan.replaces, plan.input)?,
                work: None,
            });
        };
        let opened = WorkFolder::open(plan.output, settings, plan.to)?;
        opened
            .warnings
            .into_iter()
            .for_each(|warning| conversion.warn(warning));
        let work = opened.folder;
        let made =
            OutputFolder::create_lasting(work.path(), plan.output, plan.replaces, plan.input)
                .and_then(|folder| {
                    let noted = work.note_result(folder.path());
                    noted.map_err(|error| Failure::io(plan.output, error))?;
                    Ok(folder)
                });
        let folder = match made {
            Ok(folder) => folder,
            Err(failure) => {
                work.remove_if_useless(plan.to);
                return Err(failure);
            }
        };
        Ok(Place {
            folder,
            work: Some(work),
        })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}
