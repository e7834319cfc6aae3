//! A source may change between the pass that counts its exponents and the pass that encodes it. The
//! encoded weights are restored exactly.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use half::bf16;
use unweight::{Serial, Weights, container::Encoder};
use unweight_cpu::fast::{Codec, Isa};
use unweight_format::weight;
use unweight_testkit::{ENCODINGS, decoded, trained_like, writer_of};

/// A source that returns `before` until it has returned as many weights as it has, and `after` from
/// then on.
struct Changing<'w> {
    before: &'w [bf16],
    after: &'w [bf16],
    read: AtomicU64,
}

impl Weights for Changing<'_> {
    fn count(&self) -> u64 {
        self.before.len() as u64
    }

    fn read(&self, first: u64, weights: &mut [bf16]) -> io::Result<()> {
        let read = self.read.fetch_add(weights.len() as u64, Ordering::Relaxed);
        let now = match read < self.count() {
            true => self.before,
            false => self.after,
        };
        now.read(first, weights)
    }
}

#[test]
fn what_is_read_last_comes_back() {
    const COUNT: u32 = 3 * 4096 + 100;
    let of = |exponent: fn(u32) -> u8| -> Vec<bf16> {
        (0..COUNT).map(|i| weight(i as u8, exponent(i))).collect()
    };
    let states = [
        trained_like(COUNT as usize),
        of(|_| 120),
        of(|i| 254 - (i | 1 << 7).trailing_zeros() as u8),
        of(|i| (i.trailing_zeros() % 4) as u8),
        of(|i| (i.wrapping_mul(2654435761) >> 24).min(254) as u8),
        // Each chunk has different exponents.
        of(|i| 110 + (i >> 12) as u8 * 3 + (i % 5 == 0) as u8),
    ];
    for codec in Isa::available().filter_map(Codec::of) {
        for encoding in ENCODINGS {
            for before in &states {
                for after in &states {
                    let changing = Changing {
                        before,
                        after,
                        read: AtomicU64::new(0),
                    };
                    let shape = [COUNT.into()];
                    let mut writer = writer_of(Vec::new(), &shape);
                    Encoder::new(codec)
                        .encode_tensor(&mut writer, &changing, encoding, 12, &Serial)
                        .unwrap();
                    let file = writer.finish().unwrap();
                    assert!(decoded(&file) == *after, "{:?} {encoding}", codec.isa());
                }
            }
        }
    }
}
