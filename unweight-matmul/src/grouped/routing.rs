//! Numbers of a routing, and its size in device memory: pure functions.

use super::kernels::{LEAST_TILE_ROWS, MOST_TILE_ROWS};
use crate::MatmulError;

/// The most experts of a routing. A block of the routing kernel counts the slots of each.
pub(super) const MOST_EXPERTS: u32 = 4096;
/// The most slots of a routing.
const MOST_SLOTS: u64 = 1 << 30;
/// Words of the routing's header, and of a record.
const RECORD_WORDS: u64 = 4;
/// Words for each slot that suffice for any routing. A slot has one among those without an expert.
/// A tile has a record and two words for each of its slots: a full one 2.5 for each slot at most.
/// Others are as many as there are experts with a slot. For all of these a tile has at most 8 slots,
/// or 4 times the mean of an expert's: that is 4 for records, and 16 for slots and scales.
const SUFFICIENT_WORDS: u64 = 24;

/// The numbers of tokens, of experts for each token, and of all experts. The host knows them; which
/// experts a token has is known on the device only.
///
/// A **slot** is a token and one of its experts: slot = token * `top_k` + the number of the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutingShape {
    tokens: u32,
    top_k: u32,
    experts: u32,
}

impl RoutingShape {
    /// The shape of a routing of `tokens` tokens to `top_k` of `experts` experts each.
    ///
    /// # Errors
    /// [`MatmulError::NoRouting`] unless there are 1 to 4096 experts, at least one for each token,
    /// and at most 2^30 slots.
    pub fn new(tokens: u32, top_k: u32, experts: u32) -> Result<RoutingShape, MatmulError> {
        let slots = u64::from(tokens) * u64::from(top_k);
        if (1..=MOST_EXPERTS).contains(&experts) && top_k > 0 && slots <= MOST_SLOTS {
            Ok(RoutingShape {
                tokens,
                top_k,
                experts,
            })
        } else {
            Err(MatmulError::NoRouting {
                tokens,
                top_k,
                experts,
            })
        }
    }

    /// The number of tokens.
    pub const fn tokens(self) -> u32 {
        self.tokens
    }

    /// The number of experts of each token.
    pub const fn top_k(self) -> u32 {
        self.top_k
    }

    /// The number of all experts.
    pub const fn experts(self) -> u32 {
        self.experts
    }

    /// The number of slots.
    pub const fn slots(self) -> u32 {
        self.tokens * self.top_k
    }

    /// A size that suffices for the routing on every device, in bytes. It is linear in the number of
    /// slots, for callers who need one before they know the experts or the device.
    /// [`GroupedMatmul::routing_bytes`](crate::GroupedMatmul::routing_bytes) is the exact size.
    pub const fn sufficient_bytes(self) -> u64 {
        4 * (RECORD_WORDS + SUFFICIENT_WORDS * self.slots() as u64)
    }

    /// The routing's tiles on a device whose kernels take at most `most_rows` slots in a tile.
    pub(super) const fn tiles(self, most_rows: u32) -> RoutingTiles {
        let rows = self.tile_rows();
        RoutingTiles::new(self, if rows < most_rows { rows } else { most_rows })
    }

    /// Slots of a tile: twice the mean of an expert's slots, as experts differ, and weights are read
    /// once for each tile. The largest tiles have the shortest rings, so they are for twice as many.
    const fn tile_rows(self) -> u32 {
        let slots = self.slots() as u64;
        let experts = self.experts as u64;
        let mut rows = LEAST_TILE_ROWS;
        while 2 * rows < MOST_TILE_ROWS && 2 * slots > rows as u64 * experts {
            rows *= 2;
        }
        match slots > rows as u64 * experts {
            true => MOST_TILE_ROWS,
            false => rows,
        }
    }
}

/// Tiles of slots of one expert each, and the memory for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutingTiles {
    /// The most slots of a tile.
    pub rows: u32,
    /// The most tiles that any experts of the tokens can make.
    pub most: u32,
    slots: u32,
}

impl RoutingTiles {
    /// Tiles with at most `rows` slots.
    pub const fn new(shape: RoutingShape, rows: u32) -> RoutingTiles {
        let (slots, experts) = (shape.slots(), shape.experts);
        // All tiles but one of each expert are full.
        let partial = if experts < slots { experts } else { slots };
        let most = slots / rows + partial;
        RoutingTiles {
            rows,
            most: if most < slots { most } else { slots },
            slots,
        }
    }

    /// Size of the routing in bytes: the header, a record for each tile, the slots and scales of
    /// tiles, and the slots without an expert.
    pub const fn bytes(self) -> u64 {
        let most = self.most as u64;
        let of_tile = RECORD_WORDS + 2 * self.rows as u64;
        4 * (RECORD_WORDS + most * of_tile + self.slots as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(tokens: u32, top_k: u32, experts: u32) -> RoutingShape {
        RoutingShape::new(tokens, top_k, experts).unwrap()
    }

    /// The experts that make the most tiles: one slot for as many as there are, and the others for
    /// one expert, or full tiles and one slot more for each.
    #[test]
    fn there_is_room_for_the_tiles_of_any_experts() {
        for (tokens, top_k, experts) in [
            (1, 1, 1),
            (1, 8, 128),
            (5, 2, 8),
            (64, 8, 3),
            (4096, 8, 128),
        ] {
            let shape = shape(tokens, top_k, experts);
            for rows in [8, 16, 32, 64] {
                let tiles = RoutingTiles::new(shape, rows);
                let (slots, mut left, mut made) = (shape.slots(), shape.slots(), 0);
                for expert in 0..experts.min(slots) {
                    let last = expert + 1 == experts.min(slots);
                    let own = if last { left } else { 1 };
                    made += own.div_ceil(rows);
                    left -= own;
                }
                assert!(made <= tiles.most, "{shape:?}, {rows}");
                assert!(tiles.most <= slots);
            }
        }
    }

    #[test]
    fn the_sufficient_size_is_enough_on_every_device() {
        let numbers = [1, 2, 3, 7, 8, 9, 15, 31, 33, 64, 100, 127, 129, 1000, 4096];
        for tokens in [0].into_iter().chain(numbers) {
            for (top_k, experts) in numbers.into_iter().flat_map(|k| numbers.map(|e| (k, e))) {
                let shape = shape(tokens, top_k, experts);
                for most_rows in [8, 16, 32, 64] {
                    let bytes = shape.tiles(most_rows).bytes();
                    assert!(bytes <= shape.sufficient_bytes(), "{shape:?}, {most_rows}");
                }
            }
        }
    }

    #[test]
    fn tiles_have_twice_the_mean_of_an_expert_s_slots() {
        let rows = |tokens, top_k, experts| shape(tokens, top_k, experts).tiles(64).rows;
        assert_eq!(
            [1, 16, 32, 64, 128, 1024].map(|tokens| rows(tokens, 2, 8)),
            [8, 8, 16, 32, 32, 64]
        );
        assert_eq!(
            [1, 64, 65, 256, 1024].map(|tokens| rows(tokens, 8, 128)),
            [8, 8, 16, 32, 64]
        );
        assert_eq!(shape(1024, 8, 128).tiles(8).rows, 8);
    }

    #[test]
    fn a_routing_of_too_much_or_nothing_is_an_error() {
        for (tokens, top_k, experts) in [(1, 0, 8), (1, 1, 0), (1, 1, 4097), (1 << 28, 8, 8)] {
            let error = RoutingShape::new(tokens, top_k, experts).unwrap_err();
            assert!(matches!(error, MatmulError::NoRouting { .. }), "{error}");
        }
        assert_eq!(shape(0, 8, 128).tiles(64).most, 0);
    }
}
