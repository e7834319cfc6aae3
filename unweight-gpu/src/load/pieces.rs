//! Pieces of a file that are read at once, and the copies from them.

use std::ops::Range;

use unweight_format::Extent;

/// The longest gap in a file that is read too, instead of beginning another piece.
pub(super) const GAP_BYTES: u64 = 4 << 10;

/// Where bytes of a file are copied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The group's scratch memory, at this offset.
    Scratch(u64),
    /// The output of a task, at this offset.
    Output {
        /// The number of the task.
        task: usize,
        /// Offset in the output.
        offset: u64,
    },
}

impl Destination {
    fn plus(self, bytes: u64) -> Destination {
        match self {
            Destination::Scratch(offset) => Destination::Scratch(offset + bytes),
            Destination::Output { task, offset } => Destination::Output {
                task,
                offset: offset + bytes,
            },
        }
    }
}

/// Bytes of a file, and where they are copied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    /// The bytes in the file.
    pub from: Extent,
    /// Where they are copied to.
    pub to: Destination,
}

/// Consecutive bytes of a file that are read into one buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    extent: Extent,
    pub(crate) copies: Vec<(Range<usize>, Destination)>,
}

impl Piece {
    /// The bytes in the file, at most as many as a buffer has.
    pub const fn extent(&self) -> Extent {
        self.extent
    }
}

/// Divides copies into pieces of at most `piece_bytes`, in order.
pub(super) fn pack(copies: &[Copy], piece_bytes: u64, pieces: &mut Vec<Piece>) {
    let mut current: Option<Piece> = None;
    for copy in copies {
        let mut done = 0;
        while done < copy.from.length {
            let (offset, left) = (copy.from.offset + done, copy.from.length - done);
            let joins = |piece: &Piece| {
                let end = piece.extent.end();
                offset >= end
                    && offset - end <= GAP_BYTES
                    && offset - piece.extent.offset < piece_bytes
            };
            if !current.as_ref().is_some_and(joins) {
                pieces.extend(current.take());
            }
            let piece = current.get_or_insert_with(|| Piece {
                extent: Extent { offset, length: 0 },
                copies: vec![],
            });
            let start = offset - piece.extent.offset;
            let length = left.min(piece_bytes - start);
            let range = start as usize..(start + length) as usize;
            piece.copies.push((range, copy.to.plus(done)));
            piece.extent.length = start + length;
            done += length;
        }
    }
    pieces.extend(current);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(offset: u64, length: u64, to: Destination) -> Copy {
        let from = Extent { offset, length };
        Copy { from, to }
    }

    /// The packed pieces, after a check that they copy each byte where the copies say.
    fn packed(copies: &[Copy], piece_bytes: u64) -> Vec<Piece> {
        let mut pieces = vec![];
        pack(copies, piece_bytes, &mut pieces);
        let expected = copies.iter().flat_map(|copy| {
            (0..copy.from.length).map(|byte| (copy.from.offset + byte, copy.to.plus(byte)))
        });
        let found = pieces.iter().flat_map(|piece| {
            piece.copies.iter().flat_map(|(range, to)| {
                let start = piece.extent.offset + range.start as u64;
                (0..range.len() as u64).map(move |byte| (start + byte, to.plus(byte)))
            })
        });
        assert!(expected.eq(found));
        for piece in &pieces {
            assert!((1..=piece_bytes).contains(&piece.extent.length));
            let end = piece.copies.iter().map(|(range, _)| range.end).max();
            assert_eq!(end, Some(piece.extent.length as usize));
        }
        pieces
    }

    #[test]
    fn small_copies_share_a_piece_and_long_ones_have_several() {
        let output = |task| Destination::Output { task, offset: 8 };
        let pieces = packed(
            &[
                copy(100, 50, Destination::Scratch(256)),
                copy(160, 3000, output(1)),
                copy(3160, 0, output(2)),
                copy(3160, 5, Destination::Scratch(512)),
            ],
            1024,
        );
        let starts: Vec<u64> = pieces.iter().map(|piece| piece.extent.offset).collect();
        assert_eq!(starts, [100, 1124, 2148]);
        assert_eq!(pieces[0].copies.len(), 2);
        assert_eq!(pieces[2].copies.len(), 2);
    }

    #[test]
    fn copies_that_are_far_apart_or_out_of_order_begin_a_piece() {
        let scratch = Destination::Scratch;
        let far = GAP_BYTES + 1;
        for (second, count) in [(10 + GAP_BYTES, 1), (10 + far, 2), (0, 2), (9, 2), (10, 1)] {
            let copies = [copy(0, 10, scratch(0)), copy(second, 10, scratch(64))];
            assert_eq!(packed(&copies, 1 << 20).len(), count, "{second}");
        }
        assert!(packed(&[], 64).is_empty());
    }
}
