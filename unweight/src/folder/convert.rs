//! Conversion of a model folder to another one: some files change their form, others are copied,
//! and some are left out.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::index::{self, Findings};
use super::names;
use super::resume::{self, WorkFolder};
use super::skipped::{LeftOut, Others};
use super::space::{self, Need};
use super::tree::{Amount, Tree};
use crate::Error;
use crate::diagnostics::{FileError, Warning};
use crate::error::writing;
use crate::file::{Event, FileReport, Position, Reporter, open};
use crate::output::{Attributes, OutputFolder, Target, flush_file, require_replaceable};

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
    /// Whether the run can be resumed and continues an earlier run.
    pub(crate) resumes: bool,
}

/// One file of a folder that changes its form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) position: Position<'a>,
    pub(crate) input: &'a Path,
    /// Path of the output file in the folder under construction.
    pub(crate) place: &'a Path,
    /// Final path of the output file.
    pub(crate) output: &'a Path,
}

impl<'a> Entry<'a> {
    pub(crate) fn target(&self) -> Target<'a> {
        Target::in_folder(self.place, self.output)
    }
}

/// A way to change the form of files.
pub(crate) trait Conversion {
    /// Extension of files that change their form.
    const FROM: &'static str;
    /// Extension of converted files.
    const TO: &'static str;
    /// Whether every shard that an index names has to exist.
    const REQUIRES_ALL_SHARDS: bool;

    /// Checks what can be checked quickly. All files are checked before any file is converted.
    fn check(&mut self, input: &Path) -> Result<Need, Error>;

    /// Settings on which the bytes of converted files depend. They are asked for after all checks.
    fn settings(&self) -> String;

    /// Makes the file at `entry.place`.
    fn convert(&self, entry: &Entry<'_>) -> Result<FileReport, Error>;

    /// Compares the file at `entry.place`, which an earlier run with the same settings made, with
    /// the file that `convert` would make. Returns None if they differ.
    fn keep(&self, entry: &Entry<'_>) -> Result<Option<FileReport>, Error>;
}

/// Result for a converted folder.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) converted: Vec<FileReport>,
    pub(crate) copied: Amount,
    pub(crate) left_out: LeftOut,
}

/// Converts the folder `plan.input` to the folder `plan.output`.
pub(crate) fn convert(
    plan: &Plan<'_>,
    reporter: &Reporter,
    conversion: &mut impl Conversion,
) -> Result<Outcome, Error> {
    let tree = Tree::of(plan.input, plan.from, plan.to, plan.others)?;
    let files = tree.file_names(plan.to);
    require_replaceable(plan.output, files, tree.folders.iter().cloned())?;
    let nearly_alike = names::require_distinct(plan.input, &tree, plan.to)?;
    let findings = index::check(plan.input, &tree)?;
    judge(plan, findings, reporter)?;
    let mut needs = Vec::with_capacity(tree.converted.len());
    for relative in &tree.converted {
        reporter.require_not_cancelled()?;
        needs.push(conversion.check(&plan.input.join(relative))?);
    }

    let settings = plan.resumes.then(|| conversion.settings());
    let mut place = Place::create(plan, settings.as_deref(), reporter)?;
    let prepared = prepare(plan, &tree, &needs, nearly_alike, &place, reporter);
    if let Err(error) = prepared {
        drop(place.folder);
        if let Some(work) = place.work {
            work.remove_if_useless(plan.to);
        }
        return Err(error);
    }
    let mut converted = Vec::with_capacity(tree.converted.len());
    let filled = fill(
        plan,
        &tree,
        &mut place,
        reporter,
        conversion,
        &mut converted,
    );
    let copied = match filled {
        Ok(copied) => copied,
        Err(error) => {
            drop(place.folder);
            let kept_files = kept(place.work, plan.to);
            return Err(stopped(error, kept_files, reporter));
        }
    };
    let Place { mut folder, work } = place;
    if let Err(error) = folder.commit(&|warning| reporter.warn(warning)) {
        let kept_files = kept(work, plan.to);
        return Err(match folder.has_name() {
            true => error,
            false => stopped(error, kept_files, reporter),
        });
    }
    if let Some(work) = work {
        remove(work, reporter);
    }
    Ok(Outcome {
        converted,
        copied,
        left_out: tree.left_out,
    })
}

/// Removes the work folder unless the next run can use files in it. Returns the number of finished
/// files that the next run can use.
fn kept(work: Option<WorkFolder>, to: &str) -> usize {
    work.map_or(0, |work| work.remove_if_useless(to))
}

/// Reports that work has stopped before the output had its name.
fn stopped(error: Error, kept_files: usize, reporter: &Reporter) -> Error {
    // The operation fails already, whatever the answer to the event is.
    let _ = reporter.tell(Event::Stopped { kept_files });
    error
}

/// Removes a work folder that is no longer needed.
fn remove(work: WorkFolder, reporter: &Reporter) {
    let path = work.path().to_owned();
    if let Err(error) = work.remove() {
        reporter.warn(Warning::WorkFolderLeft { path, error });
    }
}

/// Reports wrong claims of indexes, as errors or as warnings.
fn judge(plan: &Plan<'_>, findings: Findings, reporter: &Reporter) -> Result<(), Error> {
    if !findings.missing.is_empty() {
        let (folder, indexes) = (plan.input.to_owned(), findings.missing);
        if plan.requires_all_shards {
            return Err(FileError::MissingShards { folder, indexes }.into());
        }
        reporter.warn(Warning::MissingShards { folder, indexes });
    }
    for (index, problem) in findings.unusable {
        let path = plan.input.join(index);
        reporter.warn(Warning::UnusableIndex { path, problem });
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
    reporter: &Reporter,
) -> Result<(), Error> {
    if let Some(pair) = nearly_alike {
        names::require_distinct_in(place.path(), plan.output, &pair)?;
    }
    require_possible_names(plan, tree, place)?;
    if let Some(free) = space::free(place.path()) {
        let need = needed(plan, tree, needs, place);
        if let Some(warning) = space::require(plan.output, need, free)? {
            reporter.warn(warning);
        }
    }
    Ok(())
}

/// Refuses names that the file system of the output does not take. The name of a converted file may
/// be longer than the name of its source.
fn require_possible_names(plan: &Plan<'_>, tree: &Tree, place: &Place) -> Result<(), Error> {
    for relative in tree.file_names(plan.to) {
        // Only the name is looked up, because the folders around the file do not exist yet.
        let name = relative.file_name().unwrap_or_default();
        match fs::symlink_metadata(place.path().join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(writing(&plan.output.join(&relative))(error));
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
fn fill(
    plan: &Plan<'_>,
    tree: &Tree,
    place: &mut Place,
    reporter: &Reporter,
    conversion: &impl Conversion,
    converted: &mut Vec<FileReport>,
) -> Result<Amount, Error> {
    let copied = tree.copy_others(plan.input, &mut place.folder, reporter)?;
    let outputs: Vec<PathBuf> = tree
        .converted
        .iter()
        .map(|relative| relative.with_extension(plan.to))
        .collect();
    let are_there = match &place.work {
        Some(work) => work
            .move_earlier(&outputs, place.path())
            .map_err(writing(plan.output))?,
        None => vec![false; outputs.len()],
    };
    for (number, (relative, is_there)) in tree.converted.iter().zip(are_there).enumerate() {
        reporter.require_not_cancelled()?;
        let name = &outputs[number];
        let entry = Entry {
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
            let attributes = Attributes::of(entry.input, &open(entry.input)?)?;
            done = conversion.keep(&entry)?;
            if done.is_some() {
                renew(&attributes, &entry, reporter)?;
            } else {
                let path = entry.output.to_owned();
                reporter.warn(Warning::MadeAgain { path });
                fs::remove_file(entry.place).map_err(writing(entry.output))?;
            }
        }
        converted.push(match done {
            Some(done) => done,
            None => conversion.convert(&entry)?,
        });
    }
    // The answer to the last event counts, too.
    reporter.require_not_cancelled()?;
    Ok(copied)
}

/// Gives a kept file the permissions and times of its source, which may have changed since.
fn renew(attributes: &Attributes, entry: &Entry<'_>, reporter: &Reporter) -> Result<(), Error> {
    let failed = writing(entry.output);
    let warn = &|warning| reporter.warn(warning);
    // Windows sets times and flushes only by a handle for writing.
    let mut options = File::options();
    let opened = options.read(true).write(cfg!(windows)).open(entry.place);
    let file = opened.map_err(&failed)?;
    attributes
        .give_to(&file, entry.output, warn)
        .and_then(|()| flush_file(&file, entry.output, warn))
        .map_err(&failed)
}

/// Folder in which the output is made.
struct Place {
    folder: OutputFolder,
    work: Option<WorkFolder>,
}

impl Place {
    /// `settings` are those of a run that can be resumed.
    fn create(
        plan: &Plan<'_>,
        settings: Option<&str>,
        reporter: &Reporter,
    ) -> Result<Place, Error> {
        let Some(settings) = settings else {
            if let Some(work_folder) = resume::is_left(plan.output, plan.to)? {
                reporter.warn(Warning::EarlierRun { work_folder });
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
            .for_each(|warning| reporter.warn(warning));
        let work = opened.folder;
        let made =
            OutputFolder::create_lasting(work.path(), plan.output, plan.replaces, plan.input)
                .and_then(|folder| {
                    let noted = work.note_result(folder.path());
                    noted.map_err(writing(plan.output))?;
                    Ok(folder)
                });
        let folder = match made {
            Ok(folder) => folder,
            Err(error) => {
                work.remove_if_useless(plan.to);
                return Err(error);
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
