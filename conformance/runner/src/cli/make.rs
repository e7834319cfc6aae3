//! `unweight-conformance make`.

use std::{fs, path::PathBuf};

use clap::Args;
use unweight_conformance_runner::Expect;

use super::{CorpusArguments, Found, print};

/// Write the files of a case that the runner makes, which are not in the corpus
#[derive(Args)]
pub(super) struct Arguments {
    /// Id of the case
    #[arg(value_name = "CASE")]
    case: String,

    /// Folder for the files; it is created if it is missing
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    #[command(flatten)]
    corpus: CorpusArguments,
}

impl Arguments {
    pub(super) fn run(self) -> Found {
        let corpus = self.corpus.open()?;
        let mut made = corpus.cases().iter().filter(|case| case.recipe.is_some());
        let Some(case) = made.find(|case| case.id == self.case) else {
            return Err(format!("there is no case `{}` whose file is made", self.case).into());
        };
        let source = match &case.expect {
            Expect::Encode { source, .. } => Some(source),
            _ => None,
        };
        fs::create_dir_all(&self.folder)?;
        for file in std::iter::once(&case.file).chain(source) {
            let name = file.as_path().file_name().expect("a file has a name");
            let path = self.folder.join(name);
            let bytes = corpus.read(file)?;
            let shown = path.display();
            fs::write(&path, &bytes).map_err(|error| format!("cannot write {shown}: {error}"))?;
            print(&format!("{shown}: {} bytes\n", bytes.len()))?;
        }
        Ok(true)
    }
}
