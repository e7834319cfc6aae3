//! Plain tables that fit the terminal. Rows are not held in memory: their widths are measured
//! first.

use crate::printable::{shortened, width};

/// Blanks between two columns.
const GAP: usize = 2;
/// Maximum width to which a text column is padded if no terminal sets a limit. One long name must
/// not fill every other row with blanks.
const PADDED_TO_AT_MOST: usize = 100;
/// Terminal width below which a row that does not fit has its first cell on a line of its own.
const STACKED_BELOW: usize = 60;
/// Blanks in front of the line below the first cell.
const INDENT: usize = 2;

/// Kind of content of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text, aligned to the left. If there is not enough room, it is shortened in the middle, to
    /// `least` columns or more.
    Text { least: usize },
    /// Short words, aligned to the left.
    Word,
    /// Numbers, aligned to the right.
    Number,
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) head: &'static str,
    pub(crate) kind: Kind,
    /// Order in which columns are left out if there is not enough room. Columns of the highest rank
    /// are left out first, and columns of rank 0 never.
    pub(crate) rank: u8,
}

/// Widths of the cells of a table.
#[derive(Debug)]
pub(crate) struct Measure<'c> {
    columns: &'c [Column],
    widths: Vec<usize>,
}

impl<'c> Measure<'c> {
    pub(crate) fn of(columns: &'c [Column]) -> Measure<'c> {
        let widths = columns.iter().map(|column| width(column.head)).collect();
        Measure { columns, widths }
    }

    /// Measures a row whose cells have been escaped.
    pub(crate) fn row(&mut self, cells: &[String]) {
        for (widest, cell) in self.widths.iter_mut().zip(cells) {
            *widest = width(cell).max(*widest);
        }
    }

    /// Fits the table to a terminal of so many columns. Without a terminal, all columns are shown
    /// and nothing is shortened.
    pub(crate) fn fit(self, terminal: Option<usize>) -> Table<'c> {
        let mut table = Table {
            columns: self.columns,
            shown: self.widths.into_iter().enumerate().collect(),
            is_stacked: false,
            terminal,
        };
        let Some(room) = terminal else {
            for (number, width) in &mut table.shown {
                if matches!(self.columns[*number].kind, Kind::Text { .. }) {
                    *width = (*width).min(PADDED_TO_AT_MOST);
                }
            }
            return table;
        };
        if table.natural_width() > room {
            table.is_stacked = room < STACKED_BELOW;
            table.squeeze(room);
        }
        table
    }
}

/// Table that has been fitted to a terminal.
#[derive(Debug)]
pub(crate) struct Table<'c> {
    columns: &'c [Column],
    /// Columns that are shown, each as its number and its width.
    shown: Vec<(usize, usize)>,
    is_stacked: bool,
    terminal: Option<usize>,
}

impl Table<'_> {
    pub(crate) fn heads(&self) -> String {
        let heads = self.columns.iter().map(|column| column.head.to_owned());
        self.row(&heads.collect::<Vec<_>>())
    }

    /// Formats a row from all cells, including those that are not shown. A row is one line, or two
    /// lines if it is stacked.
    pub(crate) fn row(&self, cells: &[String]) -> String {
        let mut line = String::new();
        for (index, &(number, column_width)) in self.shown.iter().enumerate() {
            let cell = match self.terminal {
                Some(_) => shortened(&cells[number], column_width),
                None => cells[number].as_str().into(),
            };
            if self.is_stacked && index == 0 {
                line.push_str(&cell);
                line.push('\n');
                continue;
            }
            let gap = match (self.is_stacked, index) {
                (true, 1) => INDENT,
                (false, 0) => 0,
                _ => GAP,
            };
            let padding = " ".repeat(column_width.saturating_sub(width(&cell)));
            line.push_str(&" ".repeat(gap));
            match self.columns[number].kind {
                Kind::Number => line.extend([&padding, &*cell]),
                _ => line.extend([&*cell, &padding]),
            }
        }
        let lines = line.split('\n').map(|line| {
            let line = line.trim_end_matches(' ');
            match self.terminal {
                Some(room) => shortened(line, room),
                None => line.into(),
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn natural_width(&self) -> usize {
        let (cells, indent) = match self.is_stacked {
            true => (self.shown.get(1..).unwrap_or_default(), INDENT),
            false => (&self.shown[..], 0),
        };
        let widths = cells.iter().map(|&(_, width)| width);
        indent + widths.sum::<usize>() + GAP * cells.len().saturating_sub(1)
    }

    /// Leaves columns out until the others fit with their texts at the least width. The rest of the
    /// room goes to texts. Names get it last, because they say most when they are shortened.
    fn squeeze(&mut self, room: usize) {
        let natural = self.shown.clone();
        for (number, width) in &mut self.shown {
            if let Kind::Text { least } = self.columns[*number].kind {
                *width = (*width).min(least);
            }
        }
        while self.natural_width() > room {
            let rank = |&(_, &(number, _)): &(usize, &(usize, usize))| self.columns[number].rank;
            let last = self.shown.iter().enumerate().skip(1).max_by_key(rank);
            match last.map(|(index, &(number, _))| (index, self.columns[number].rank)) {
                Some((index, rank)) if rank > 0 => drop(self.shown.remove(index)),
                _ => break,
            }
        }
        if self.is_stacked {
            self.shown[0].1 = room;
        }
        let mut left = room.saturating_sub(self.natural_width());
        for (number, width) in self.shown.iter_mut().rev() {
            let more = natural[*number].1.saturating_sub(*width).min(left);
            *width += more;
            left -= more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column {
            head: "tensor",
            kind: Kind::Text { least: 10 },
            rank: 0,
        },
        Column {
            head: "dtype",
            kind: Kind::Word,
            rank: 2,
        },
        Column {
            head: "shape",
            kind: Kind::Text { least: 12 },
            rank: 1,
        },
        Column {
            head: "bits",
            kind: Kind::Number,
            rank: 0,
        },
    ];

    fn cells(name: &str) -> Vec<String> {
        let cells = [name, "BF16", "[14336, 4096]", "10.670"];
        cells.map(str::to_owned).to_vec()
    }

    fn lines(names: &[&str], terminal: Option<usize>) -> Vec<String> {
        let mut measure = Measure::of(&COLUMNS);
        names.iter().for_each(|name| measure.row(&cells(name)));
        let table = measure.fit(terminal);
        let rows = names.iter().map(|name| table.row(&cells(name)));
        std::iter::once(table.heads()).chain(rows).collect()
    }

    #[test]
    fn aligns_words_to_the_left_and_numbers_to_the_right() {
        assert_eq!(
            lines(&["a", "bbbbbbbb"], Some(80)),
            [
                "tensor    dtype  shape            bits",
                "a         BF16   [14336, 4096]  10.670",
                "bbbbbbbb  BF16   [14336, 4096]  10.670",
            ]
        );
    }

    #[test]
    fn shortens_names_then_leaves_columns_out_then_stacks() {
        let name = "model.layers.17.mlp.down_proj.weight";
        assert_eq!(
            lines(&[name], Some(64))[1],
            "model.layers.17...down_proj.weight  BF16   [14336, 4096]  10.670"
        );
        assert_eq!(
            lines(&[name], Some(40)),
            [
                "tensor\n  dtype  shape            bits",
                "model.layers.17.mlp.down_proj.weight\n  BF16   [14336, 4096]  10.670",
            ]
        );
        assert_eq!(
            lines(&[name], Some(24))[1],
            "model.laye...proj.weight\n  [14336, 4096]  10.670"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let names = ["", "重".repeat(50).as_str(), &"x".repeat(60_000)].map(str::to_owned);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for terminal in 0..120 {
            for line in lines(&names, Some(terminal)) {
                let widest = line.lines().map(width).max().unwrap_or(0);
                assert!(widest <= terminal, "{terminal}: {line:?}");
            }
        }
    }

    #[test]
    fn without_a_terminal_names_are_whole_and_padding_is_bounded() {
        let long = "x".repeat(60_000);
        let lines = lines(&["a", &long], None);
        assert!(lines[2].starts_with(&long) && lines[2].ends_with("  10.670"));
        assert!(
            lines[1].len() < PADDED_TO_AT_MOST + 50,
            "{}",
            lines[1].len()
        );
    }
}
