//! Routing and grouped matmuls by the kernels on fibers of the CPU.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]
#![cfg(target_arch = "x86_64")]

use half::bf16;
use unweight_format::Palette;
use unweight_gpu_host::{DeviceMemory, GroupedLaunch, POISON, route};
use unweight_matmul::host::{GroupedKernel, GroupedMatmulJob, RoutingJob, RoutingTiles};
use unweight_matmul::layout::{Arranged, arrange};
use unweight_matmul::{RoutingShape, Shape, StoredPalette};

const NO_SLOT: u32 = u32::MAX;
/// Bytes behind y that no kernel may write.
const GUARD_BYTES: usize = 64;

fn random(place: usize) -> u64 {
    (place as u64 + 1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(29)
        .wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

fn memory<T: Copy, const N: usize>(values: &[T], bytes: impl Fn(T) -> [u8; N]) -> DeviceMemory {
    let bytes: Vec<u8> = values.iter().flat_map(|&value| bytes(value)).collect();
    DeviceMemory::of(&bytes)
}

fn words(bytes: &[u8]) -> Vec<u32> {
    let (words, _) = bytes.as_chunks();
    words.iter().map(|&word| u32::from_le_bytes(word)).collect()
}

/// Tokens with experts: some elsewhere, one with most of the tokens, some without any.
struct Tokens {
    shape: RoutingShape,
    experts: Vec<u32>,
    scales: Vec<f32>,
}

impl Tokens {
    fn new(tokens: u32, top_k: u32, experts: u32, choose: impl Fn(usize) -> u32) -> Tokens {
        let shape = RoutingShape::new(tokens, top_k, experts).unwrap();
        let slots = 0..shape.slots() as usize;
        Tokens {
            shape,
            experts: slots.clone().map(choose).collect(),
            scales: slots
                .map(|i| (random(i) >> 40) as f32 / (1 << 24) as f32)
                .collect(),
        }
    }

    fn routing(&self, rows: u32, scaled: bool, seed: u64) -> (RoutingTiles, DeviceMemory) {
        let tiles = RoutingTiles::new(self.shape, rows);
        let routing = DeviceMemory::poisoned(tiles.bytes() as usize);
        let experts = memory(&self.experts, u32::to_le_bytes);
        let scales = memory(&self.scales, f32::to_le_bytes);
        let job = RoutingJob {
            experts: experts.address(),
            scales: if scaled { scales.address() } else { 0 },
            routing: routing.address(),
            slots: self.shape.slots(),
            expert_count: self.shape.experts(),
            tile_rows: rows,
            most_tiles: tiles.most,
        };
        // SAFETY: memory of exactly these lengths, and the twin's fields in order.
        unsafe { route((&raw const job).cast(), seed) };
        (tiles, routing)
    }
}

fn some_tokens() -> Vec<Tokens> {
    vec![
        Tokens::new(1, 1, 1, |_| 0),
        Tokens::new(1, 3, 2, |slot| slot as u32 + 1),
        Tokens::new(13, 2, 3, |slot| match random(slot) % 11 {
            0 => u32::MAX,
            1 => 3,
            other => (other % 2) as u32 * 2,
        }),
        // More tiles than a block has in shared memory.
        Tokens::new(45, 2, 50, |slot| (random(slot) % 50) as u32),
        Tokens::new(150, 1, 3, |slot| if slot % 50 == 7 { 0 } else { 2 }),
        Tokens::new(5, 2, 3, |_| 1 << 31),
    ]
}

#[test]
fn slots_are_sorted_by_expert_in_ascending_order() {
    let many = Tokens::new(4500, 2, 7, |slot| (random(slot) % 8) as u32);
    for tokens in some_tokens().iter().chain([&many]) {
        let (slots, experts) = (tokens.shape.slots(), tokens.shape.experts());
        for (rows, scaled, seed) in [(8, true, 0), (64, false, 1)] {
            let (tiles, routing) = tokens.routing(rows, scaled, seed);
            let found = words(routing.bytes());
            let (records, rest) = found.split_at(4 * (1 + tiles.most as usize));
            let (tile_slots, rest) = rest.split_at((tiles.most * rows) as usize);
            let (tile_scales, absent) = rest.split_at((tiles.most * rows) as usize);
            let mut made = 0;
            for expert in 0..experts {
                let of_expert = |&slot: &u32| tokens.experts[slot as usize] == expert;
                let own: Vec<u32> = (0..slots).filter(of_expert).collect();
                let first = made;
                for of_tile in own.chunks(rows as usize) {
                    let record = [expert, first, own.len() as u32, 0];
                    assert_eq!(records[4 * (1 + made) as usize..][..4], record);
                    for row in 0..rows as usize {
                        let slot = of_tile.get(row).copied().unwrap_or(NO_SLOT);
                        let at = made as usize * rows as usize + row;
                        assert_eq!(tile_slots[at], slot);
                        if slot != NO_SLOT {
                            let scale = if scaled {
                                tokens.scales[slot as usize]
                            } else {
                                1.0
                            };
                            assert_eq!(f32::from_bits(tile_scales[at]), scale);
                        }
                    }
                    made += 1;
                }
            }
            let is_absent = |&slot: &u32| tokens.experts[slot as usize] >= experts;
            let expected: Vec<u32> = (0..slots).filter(is_absent).collect();
            assert_eq!(records[..4], [made, expected.len() as u32, 0, 0]);
            assert_eq!(absent[..expected.len()], expected);
        }
    }
}

/// Experts' matrices, packed as one, in memory.
struct Packed {
    weights: Vec<bf16>,
    rows: u32,
    columns: u32,
    arranged: Arranged,
    k_tiles: DeviceMemory,
    patches: DeviceMemory,
    patch_ends: DeviceMemory,
    palette: DeviceMemory,
    stored: StoredPalette,
}

impl Packed {
    fn new(experts: u32, rows: u32, columns: u32, palette: Palette, rare: u64) -> Packed {
        let shape = Shape::new(u64::from(experts * rows), columns.into()).unwrap();
        let weights: Vec<u16> = (0..shape.weights() as usize)
            .map(|place| {
                let bits = random(place) >> 20;
                let exponent = match bits >> 20 {
                    other if other % rare == 0 => (other >> 8) % 125,
                    _ => 119 - u64::from(bits.trailing_zeros().min(9)),
                };
                (exponent << 7 | bits & 0x807f) as u16
            })
            .collect();
        let (stored, palette_bytes) = StoredPalette::of(&palette);
        let arranged = arrange(&weights, shape, &palette);
        Packed {
            weights: weights.into_iter().map(bf16::from_bits).collect(),
            rows,
            columns,
            k_tiles: DeviceMemory::of(&arranged.k_tiles),
            patches: memory(&arranged.patches, u32::to_le_bytes),
            patch_ends: memory(&arranged.patch_ends, u32::to_le_bytes),
            palette: DeviceMemory::of(palette_bytes),
            stored,
            arranged,
        }
    }

    /// y by a kernel in so many blocks, after the guard behind it and the counters were found as
    /// they must be.
    fn multiply(
        &self,
        tokens: &Tokens,
        (tiles, routing): &(RoutingTiles, DeviceMemory),
        (x, slots_of_x): (&[bf16], u32),
        kernel: GroupedKernel,
        (blocks, scaled): (u32, bool),
    ) -> Vec<bf16> {
        let x = memory(x, bf16::to_le_bytes);
        let y_bytes = 2 * (tokens.shape.slots() * self.rows) as usize;
        let y = DeviceMemory::poisoned(y_bytes + GUARD_BYTES);
        let partial_bytes = 2 * blocks * kernel.tile_rows * 64 * 4;
        let partials = DeviceMemory::poisoned(partial_bytes as usize);
        let arrived = DeviceMemory::of(&vec![0; 4 * blocks as usize]);
        let k_tiles = self.columns / 64;
        let job = GroupedMatmulJob {
            weights: self.k_tiles.address(),
            patches: self.patches.address(),
            patch_ends: self.patch_ends.address(),
            palette: self.palette.address(),
            routing: routing.address(),
            x: x.address(),
            y: y.address(),
            partials: partials.address(),
            arrived: arrived.address(),
            slots: tokens.shape.slots(),
            slots_of_x,
            expert_count: tokens.shape.experts(),
            rows: self.rows,
            k_tiles,
            most_tiles: tiles.most,
            patch_count: self.arranged.patches.len() as u32,
            blocks,
            scaled: scaled.into(),
        };
        let launch = GroupedLaunch {
            job: (&raw const job).cast(),
            tile_rows: kernel.tile_rows,
            consecutive: self.stored == StoredPalette::Consecutive,
            shared_bytes: kernel.shared_bytes(k_tiles),
            seed: u64::from(blocks),
        };
        // SAFETY: memory of exactly the lengths that the job says, and the twin's fields in order.
        unsafe { launch.multiply(kernel.by_panels) };
        assert!(arrived.bytes().iter().all(|&byte| byte == 0));
        assert!(y.bytes()[y_bytes..].iter().all(|&byte| byte == POISON));
        let (values, _) = y.bytes()[..y_bytes].as_chunks();
        values
            .iter()
            .map(|&value| bf16::from_le_bytes(value))
            .collect()
    }

    /// The largest error of y, in units of what rounding to BF16 and FP32 sums allow.
    fn worst_error(
        &self,
        y: &[bf16],
        tokens: &Tokens,
        (x, slots_of_x): (&[bf16], u32),
        scaled: bool,
    ) -> f64 {
        let (rows, columns) = (self.rows as usize, self.columns as usize);
        let mut worst = 0f64;
        for (slot, &expert) in tokens.experts.iter().enumerate() {
            let x = &x[slot / slots_of_x as usize * columns..][..columns];
            for row in 0..rows {
                let found = y[slot * rows + row].to_f64();
                if expert >= tokens.shape.experts() {
                    assert!(found == 0.0 && found.is_sign_positive(), "slot {slot}");
                    continue;
                }
                let of_row = &self.weights[(expert as usize * rows + row) * columns..][..columns];
                let (mut exact, mut magnitude) = (0f64, 0f64);
                for (w, x) in of_row.iter().zip(x) {
                    let product = w.to_f64() * x.to_f64();
                    exact += product;
                    magnitude += product.abs();
                }
                let scale = if scaled {
                    f64::from(tokens.scales[slot])
                } else {
                    1.0
                };
                let error = (found - exact * scale).abs();
                let allowed = (exact * scale).abs() / 256.0 + magnitude * scale * 1e-6;
                worst = worst.max(if error == 0.0 { 0.0 } else { error / allowed });
            }
        }
        worst
    }
}

fn consecutive() -> Palette {
    Palette::new(8, std::array::from_fn(|i| 105 + i as u8)).unwrap()
}

fn gapped() -> Palette {
    Palette::new(8, std::array::from_fn(|i| 96 + 2 * i as u8)).unwrap()
}

fn activations(rows: u32, columns: u32) -> Vec<bf16> {
    (0..(rows * columns) as usize)
        .map(|place| bf16::from_f32((random(place ^ 0x5555) >> 40) as f32 / (1 << 23) as f32 - 1.0))
        .collect()
}

/// Row panels that do not fill a group, K tiles that splits do not share evenly, patches in every K
/// tile, and fewer or more blocks than there are output tiles.
#[test]
fn every_kernel_multiplies_each_slot_by_its_expert() {
    let matrices = [
        (16, 64, consecutive(), 1 << 40),
        (80, 320, consecutive(), 20),
        (48, 192, gapped(), 1 << 40),
    ];
    for (number, tokens) in some_tokens().iter().enumerate() {
        let shape = tokens.shape;
        let (rows, columns, palette, rare) = matrices[number % 3];
        let packed = Packed::new(shape.experts(), rows, columns, palette, rare);
        for (kernel, scaled) in GroupedKernel::all().zip([false, true].into_iter().cycle()) {
            let blocks = if number % 2 == 0 { 3 } else { 7 };
            let slots_of_x = if scaled { 1 } else { shape.top_k() };
            let x = activations(shape.slots() / slots_of_x, columns);
            let x = (&x[..], slots_of_x);
            let routing = tokens.routing(kernel.tile_rows, true, 0);
            let y = packed.multiply(tokens, &routing, x, kernel, (blocks, scaled));
            let worst = packed.worst_error(&y, tokens, x, scaled);
            assert!(
                worst <= 1.0,
                "{shape:?}, {rows} x {columns}, {kernel:?}: {worst}"
            );
        }
    }
}

/// Each result depends on its row of x and of W alone, whatever else is multiplied.
#[test]
fn kernels_by_panels_give_the_same_bits_in_any_schedule() {
    let columns = 256;
    let tokens = Tokens::new(20, 2, 4, |slot| (random(slot) % 4) as u32);
    let one = Tokens::new(1, 2, 4, |slot| tokens.experts[slot]);
    let packed = Packed::new(4, 48, columns, consecutive(), 40);
    let x = activations(20, columns);
    let mut results = vec![];
    for kernel in GroupedKernel::all().filter(|kernel| kernel.by_panels) {
        for blocks in [1, 2, 5] {
            let routing = tokens.routing(kernel.tile_rows, false, 0);
            results.push(packed.multiply(&tokens, &routing, (&x, 2), kernel, (blocks, false)));
        }
        let routing = one.routing(kernel.tile_rows, false, 0);
        let x = &x[..columns as usize];
        let alone = packed.multiply(&one, &routing, (x, 2), kernel, (3, false));
        assert!(alone == results[0][..alone.len()]);
    }
    assert!(results.iter().all(|result| *result == results[0]));
}

/// Routings and patches of anything: launches end, and stay within the memory (AddressSanitizer
/// watches that in `.ci/sanitize`).
#[test]
fn any_contents_are_multiplied_to_something() {
    let columns = 192;
    let tokens = Tokens::new(9, 2, 3, |slot| (random(slot) % 3) as u32);
    let x = activations(9, columns);
    let mixed = |seed: usize| move |i: usize| random(i * 31 + seed) as u32;
    let small = |i: usize| random(i) as u32 % 7;
    let fills: [&dyn Fn(usize) -> u32; 5] = [&mixed(1), &mixed(2), &small, &|_| u32::MAX, &|_| 0];
    for fill in fills {
        let filled = |bytes: usize| {
            let words: Vec<u32> = (0..bytes / 4).map(fill).collect();
            memory(&words, u32::to_le_bytes)
        };
        let mut packed = Packed::new(3, 48, columns, consecutive(), 20);
        for kernel in GroupedKernel::all() {
            let (tiles, routing) = tokens.routing(kernel.tile_rows, false, 0);
            for hostile in [false, true] {
                if hostile {
                    packed.patches = filled(packed.patches.bytes().len());
                    packed.patch_ends = filled(packed.patch_ends.bytes().len());
                }
                let garbage = filled(routing.bytes().len());
                let y = packed.multiply(&tokens, &(tiles, garbage), (&x, 2), kernel, (4, true));
                assert_eq!(y.len(), 18 * 48);
            }
        }
    }
}
