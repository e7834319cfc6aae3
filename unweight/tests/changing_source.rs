//! A source may change between the pass that counts its values and the pass that encodes it. The
//! encoded weights are restored exactly.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use unweight::{Serial, Storage, container::Encoder};
use unweight_cpu::fast::{Codec, Isa};
use unweight_format::write::{ContainerWriter, Declaration};
use unweight_format::{Dtype, Extent, SourceKind};
use unweight_testkit::{ENCODINGS, Random, any_weights, bytes_of, restored, trained_like, weight};

/// A source that returns `before` until it has returned `change_after` bytes, and `after` from then
/// on.
struct Changing<'w> {
    before: &'w [u8],
    after: &'w [u8],
    read: AtomicU64,
    change_after: u64,
    /// What was returned last of each byte.
    last: Mutex<Vec<u8>>,
}

impl Storage for Changing<'_> {
    fn byte_length(&self) -> io::Result<u64> {
        Ok(self.before.len() as u64)
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        let read = self.read.fetch_add(extent.length, Ordering::Relaxed);
        let now = match read < self.change_after {
            true => self.before,
            false => self.after,
        };
        let bytes = extent.of(now).unwrap();
        let mut last = self.last.lock().unwrap();
        last[extent.offset as usize..][..bytes.len()].copy_from_slice(bytes);
        buffer.clear();
        buffer.extend_from_slice(bytes);
        Ok(buffer)
    }
}

/// Encodes tensors that change from each of these states to each other one: after the guess of the
/// forms, within the counting pass, or after it. What was read last is restored.
fn comes_back(dtype: Dtype, states: &[Vec<u8>], codec: Codec) {
    let length = states[0].len() as u64;
    let elements = [8 * length / dtype.bits()];
    for change_after in [1, length / 2, length + length / 8] {
        for encoding in ENCODINGS {
            for before in states {
                for after in states {
                    let changing = Changing {
                        before,
                        after,
                        read: AtomicU64::new(0),
                        change_after,
                        last: Mutex::new(vec![0; length as usize]),
                    };
                    let declared = vec![Declaration::new("w", dtype, &elements)];
                    let kind = SourceKind::None;
                    let mut writer = ContainerWriter::new(Vec::new(), kind, &[], declared).unwrap();
                    let data = Extent { offset: 0, length };
                    Encoder::new(codec)
                        .encode_tensor(&mut writer, &changing, data, encoding, 12, &Serial)
                        .unwrap();
                    let file = writer.finish().unwrap();
                    let last = changing.last.into_inner().unwrap();
                    assert!(
                        restored(&file).unwrap() == last,
                        "{dtype} {:?} {encoding} {change_after}",
                        codec.isa()
                    );
                }
            }
        }
    }
}

#[test]
fn what_is_read_last_comes_back() {
    const COUNT: u32 = 9 * 4096 + 100;
    let of = |exponent: fn(u32) -> u8| -> Vec<u8> {
        let weights: Vec<_> = (0..COUNT).map(|i| weight(i as u8, exponent(i))).collect();
        bytes_of(&weights)
    };
    let states = [
        bytes_of(&trained_like(COUNT as usize)),
        of(|_| 120),
        of(|i| 254 - (i | 1 << 7).trailing_zeros() as u8),
        of(|i| (i.trailing_zeros() % 4) as u8),
        of(|i| (i.wrapping_mul(2654435761) >> 24).min(254) as u8),
        // Each chunk has different exponents.
        of(|i| 110 + (i >> 12) as u8 * 3 + (i % 5 == 0) as u8),
        vec![0; 2 * COUNT as usize],
    ];
    for codec in Isa::available().filter_map(Codec::of) {
        comes_back(Dtype::Bf16, &states, codec);
    }
}

#[test]
fn constants_and_several_fields_come_back() {
    for dtype in [Dtype::F8E4M3, Dtype::F16, Dtype::F32, Dtype::I64] {
        let count = 33_000;
        let mut states: Vec<Vec<u8>> = (0..4)
            .map(|seed| any_weights(dtype, count, &mut Random::new(seed)))
            .collect();
        states.push(vec![0; count * dtype.weight_bytes()]);
        states.push(vec![0x5a; count * dtype.weight_bytes()]);
        let mut one_differs = vec![0; count * dtype.weight_bytes()];
        one_differs[count - 1] = 1;
        states.push(one_differs);
        comes_back(dtype, &states, Codec::current());
    }
}
