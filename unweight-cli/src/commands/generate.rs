//! `unweight completions` and `unweight man`: output that is made from the definition of the
//! command line.

use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory;
use clap::builder::Resettable;
use clap_mangen::Man;
use unweight::output::{Attributes, OutputFile, require_absent};

use crate::arguments::{Arguments, Completions, ManPages};
use crate::failure::Failure;
use crate::standard_output;
use crate::warning;

/// Prints a script for a shell.
pub(crate) fn completions(options: &Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    let mut command = Arguments::command();
    clap_complete::generate(options.shell, &mut command, "unweight", &mut script);
    standard_output::write(|output| output.write_all(&script))
}

/// Prints the program's manual page, or makes a folder of pages, with one for each command too.
pub(crate) fn man(options: &ManPages) -> Result<(), Failure> {
    // The page does not describe the machine that it is made on.
    let command = Arguments::command().long_version(Resettable::Reset);
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let Some(folder) = &options.folder else {
        let page = page(command).map_err(|error| Failure::Io(format!("page: {error}")))?;
        return standard_output::write(|output| output.write_all(&page));
    };
    let commands: Vec<_> = command.get_subcommands().cloned().collect();
    std::fs::create_dir_all(folder).map_err(|error| Failure::io(folder, error))?;
    for command in std::iter::once(command).chain(commands) {
        let name = command.get_display_name().unwrap_or("unweight").to_owned();
        let path = folder.join(format!("{name}.1"));
        write_page(&path, command, options.force)?;
    }
    Ok(())
}

fn write_page(path: &Path, command: clap::Command, force: bool) -> Result<(), Failure> {
    let failed = |error| Failure::io(path, error);
    require_absent(path, force)?;
    let page = page(command).map_err(failed)?;
    let output = OutputFile::create(path, force, &Attributes::of_new_file())?;
    output.file()?.write_all(&page).map_err(failed)?;
    Ok(output.commit(|warning| warning::tell(&warning))?)
}

fn page(command: clap::Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(page)
}
