//! Comparison of two model folders, one made from the other: whether they have the same files and
//! folders.

use std::iter::Peekable;
use std::path::PathBuf;

use super::tree::Tree;

/// Paths that only one of two folders has, sorted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Lone {
    /// Paths that only the first folder has.
    pub(crate) first: Vec<PathBuf>,
    /// Paths that only the second folder has.
    pub(crate) second: Vec<PathBuf>,
}

impl Lone {
    /// Compares the tree of a converted folder with the tree of its source. Converted files have
    /// the extension `extension_of_source` in the source.
    pub(crate) fn of(made: &Tree, source: &Tree, extension_of_source: &str) -> Lone {
        let converted = made.converted.iter();
        let mut first: Vec<PathBuf> = converted
            .map(|path| path.with_extension(extension_of_source))
            .chain(made.copied.iter().chain(&made.folders).cloned())
            .collect();
        let others = source.copied.iter().chain(&source.folders);
        let mut second: Vec<PathBuf> = source.converted.iter().chain(others).cloned().collect();
        first.sort();
        second.sort();
        Lone::between(first, second)
    }

    /// Compares two sorted lists.
    fn between(first: Vec<PathBuf>, second: Vec<PathBuf>) -> Lone {
        let mut lone = Lone::default();
        let mut first = first.into_iter().peekable();
        let mut second = second.into_iter().peekable();
        loop {
            let order = match (first.peek(), second.peek()) {
                (Some(a), Some(b)) => a.cmp(b),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (None, None) => return lone,
            };
            if order.is_le() {
                take(&mut first, order.is_lt(), &mut lone.first);
            }
            if order.is_ge() {
                take(&mut second, order.is_gt(), &mut lone.second);
            }
        }
    }
}

fn take(
    paths: &mut Peekable<impl Iterator<Item = PathBuf>>,
    is_lone: bool,
    lone: &mut Vec<PathBuf>,
) {
    lone.extend(paths.next().filter(|_| is_lone));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_only_one_side_has() {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let lone = |a: &[&str], b: &[&str]| {
            let lone = Lone::between(paths(a), paths(b));
            (lone.first, lone.second)
        };
        assert_eq!(lone(&[], &[]), (vec![], vec![]));
        assert_eq!(lone(&["a", "b"], &["a", "b"]), (vec![], vec![]));
        assert_eq!(
            lone(&["a", "c", "d"], &["b", "c", "e"]),
            (paths(&["a", "d"]), paths(&["b", "e"]))
        );
        assert_eq!(lone(&["a"], &[]), (paths(&["a"]), vec![]));
        assert_eq!(lone(&[], &["a"]), (vec![], paths(&["a"])));
    }

    /// Guards against a search of one list for each path of the other. The search takes minutes for
    /// this many files.
    #[test]
    fn takes_time_in_proportion_to_the_number_of_files() {
        let paths = |rest: u32| -> Vec<PathBuf> {
            let numbers = (0..400_000).filter(|number| number % 2 == rest);
            numbers
                .map(|number| format!("{number:06}").into())
                .collect()
        };
        let start = std::time::Instant::now();
        let lone = Lone::between(paths(0), paths(1));
        assert_eq!((lone.first.len(), lone.second.len()), (200_000, 200_000));
        assert!(start.elapsed().as_secs() < 60);
    }
}
