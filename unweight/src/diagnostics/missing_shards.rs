//! Shards that an index names and that are not there.

use std::path::PathBuf;

use super::words::cut;

/// An index, and the shards that it names and that are not in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MissingShards {
    /// The path of the index, relative to the model folder.
    pub index: PathBuf,
    /// The paths of the shards, relative to the folder of the index.
    pub shards: Vec<PathBuf>,
}

impl MissingShards {
    /// Lists the missing shards of all indexes in a few words.
    pub(crate) fn all(indexes: &[MissingShards]) -> String {
        const SHOWN: usize = 10;
        let count: usize = indexes.iter().map(|missing| missing.shards.len()).sum();
        let all = indexes.iter().flat_map(|missing| {
            let shards = missing.shards.iter();
            shards.map(|shard| (&missing.index, shard))
        });
        let mut words = String::new();
        let mut last = None;
        for (index, shard) in all.take(SHOWN) {
            if last != Some(index) {
                let separator = if last.is_some() { "; " } else { "" };
                words += &format!("{separator}{} names ", index.display());
                last = Some(index);
            } else {
                words += ", ";
            }
            words += &cut(&shard.display().to_string());
        }
        if count > SHOWN {
            words += &format!(" and {} more", count - SHOWN);
        }
        let verb = if count == 1 { "is" } else { "are" };
        format!("{words}, which {verb} missing")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_shards_are_listed_up_to_a_bound() {
        let missing = |index: &str, count: usize| MissingShards {
            index: index.into(),
            shards: (1..=count).map(|n| PathBuf::from(format!("{n}"))).collect(),
        };
        assert_eq!(
            MissingShards::all(&[missing("i", 1)]),
            "i names 1, which is missing"
        );
        assert_eq!(
            MissingShards::all(&[missing("i", 1), missing("j", 2)]),
            "i names 1; j names 1, 2, which are missing"
        );
        let long = MissingShards::all(&[missing("i", 1_000)]);
        assert!(
            long.ends_with(", 10 and 990 more, which are missing"),
            "{long}"
        );
    }
}
