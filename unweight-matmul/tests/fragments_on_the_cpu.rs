//! Fragment form by the kernels on fibers of the CPU: what the pure functions give, bit for bit.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]
#![cfg(target_arch = "x86_64")]

use unweight_format::Palette;
use unweight_gpu_host::{DeviceMemory, FragmentsLaunch, fragments_job_bytes, planes_job_bytes};
use unweight_matmul::StoredPalette;
use unweight_matmul::host::{ExponentCountsJob, FragmentsJob, PlanesJob};
use unweight_matmul::layout::{Arranged, Shape, arrange, restore};

fn words(memory: &DeviceMemory) -> Vec<u32> {
    let (words, rest) = memory.bytes().as_chunks();
    assert!(rest.is_empty());
    words.iter().map(|&word| u32::from_le_bytes(word)).collect()
}

fn bytes(words: impl IntoIterator<Item = u32>) -> DeviceMemory {
    DeviceMemory::of(
        &words
            .into_iter()
            .flat_map(u32::to_le_bytes)
            .collect::<Vec<_>>(),
    )
}

/// A palette as matrices have it in device memory.
fn stored(palette: &Palette) -> DeviceMemory {
    let (_, bytes) = StoredPalette::of(palette);
    DeviceMemory::of(bytes)
}

/// A job of this shape for one of its matrices, without patches.
fn job(
    shape: Shape,
    matrix: &DeviceMemory,
    k_tiles: &DeviceMemory,
    palette: &DeviceMemory,
) -> FragmentsJob {
    FragmentsJob {
        matrix: matrix.address(),
        weights: k_tiles.address(),
        patches: 0,
        patch_ends: 0,
        palette: palette.address(),
        rows: shape.rows() as u32,
        k_tiles: shape.k_tiles() as u32,
        exponents: palette.bytes().len() as u32,
        patch_count: 0,
    }
}

/// The kernels' fragment form, and the matrix that they make of it again.
fn by_kernels(weights: &[u16], shape: Shape, palette: &Palette, seed: u64) -> (Arranged, Vec<u16>) {
    let matrix: Vec<u8> = weights.iter().flat_map(|w| w.to_le_bytes()).collect();
    let matrix = DeviceMemory::of(&matrix);
    let k_tiles = DeviceMemory::poisoned(shape.k_tile_bytes() as usize);
    let counts = DeviceMemory::poisoned(4 * shape.panels() as usize);
    let palette = stored(palette);
    let mut job = FragmentsJob {
        patch_ends: counts.address(),
        ..job(shape, &matrix, &k_tiles, &palette)
    };
    let launch = |job: &FragmentsJob| FragmentsLaunch {
        job: (&raw const *job).cast(),
        panels: shape.panels() as u32,
        seed,
    };
    // SAFETY: memory of exactly the lengths that the shape and the counts say, and the twin's
    // fields in order.
    unsafe { launch(&job).count_patches() };
    let patch_ends: Vec<u32> = words(&counts)
        .into_iter()
        .scan(0, |end, count| {
            *end += count;
            Some(*end)
        })
        .collect();
    let patch_count = patch_ends.last().copied().unwrap_or(0) as usize;
    let (ends, patches) = (
        bytes(patch_ends.iter().copied()),
        DeviceMemory::poisoned(4 * patch_count),
    );
    let again = DeviceMemory::poisoned(2 * shape.weights() as usize);
    (job.patches, job.patch_ends) = (patches.address(), ends.address());
    job.patch_count = patch_count as u32;
    // SAFETY: as above.
    unsafe { launch(&job).arrange() };
    job.matrix = again.address();
    // SAFETY: as above.
    unsafe { launch(&job).restore() };
    let arranged = Arranged {
        k_tiles: k_tiles.bytes().to_vec(),
        patches: if patch_count == 0 {
            vec![]
        } else {
            words(&patches)
        },
        patch_ends,
    };
    let (again, _) = again.bytes().as_chunks();
    (
        arranged,
        again.iter().map(|&w| u16::from_le_bytes(w)).collect(),
    )
}

/// The K tiles that the kernels make of planes.
fn k_tiles_of_planes(weights: &[u16], shape: Shape, palette: &Palette, seed: u64) -> Vec<u8> {
    let exponents: Vec<u8> = weights.iter().map(|w| (w >> 7) as u8).collect();
    let sign_mantissa: Vec<u8> = (weights.iter())
        .map(|w| (w >> 8) as u8 & 0x80 | *w as u8 & 0x7f)
        .collect();
    let (exponents, sign_mantissa) = (
        DeviceMemory::of(&exponents),
        DeviceMemory::of(&sign_mantissa),
    );
    let k_tiles = DeviceMemory::poisoned(shape.k_tile_bytes() as usize);
    let palette = stored(palette);
    let job = PlanesJob {
        exponents: exponents.address(),
        sign_mantissa: sign_mantissa.address(),
        fragments: job(shape, &exponents, &k_tiles, &palette),
    };
    let launch = FragmentsLaunch {
        job: (&raw const job).cast(),
        panels: shape.panels() as u32,
        seed,
    };
    // SAFETY: memory of exactly the lengths that the shape says, and the twin's fields in order.
    unsafe { launch.arrange_planes() };
    k_tiles.bytes().to_vec()
}

#[test]
fn kernels_and_pure_functions_agree_on_every_pattern_and_shape() {
    assert_eq!(fragments_job_bytes(), size_of::<FragmentsJob>());
    assert_eq!(planes_job_bytes(), size_of::<PlanesJob>());
    let consecutive = Palette::new(8, std::array::from_fn(|i| 110 + i as u8)).unwrap();
    let spread = Palette::new(8, std::array::from_fn(|i| 17 * i as u8)).unwrap();
    for (rows, columns) in [(1, 64), (15, 64), (17, 192), (16, 4096), (40, 1088)] {
        let shape = Shape::new(rows, columns).unwrap();
        let all: Vec<u16> = (0..shape.weights())
            .map(|i| (i * 40_503 % 65_536) as u16)
            .collect();
        // A patch now and then: windows of 32 that end within a K tile, at its end, and behind it.
        let few: Vec<u16> = (0..shape.weights())
            .map(|i| {
                if i % 29 == 0 {
                    0x7fc1
                } else {
                    (112 << 7) | (i % 128) as u16
                }
            })
            .collect();
        for weights in [&all, &few] {
            for (seed, palette) in [(0, &consecutive), (1, &spread)] {
                let (arranged, again) = by_kernels(weights, shape, palette, seed);
                assert!(
                    arranged == arrange(weights, shape, palette),
                    "{rows} x {columns}"
                );
                let of_planes = k_tiles_of_planes(weights, shape, palette, seed);
                assert!(of_planes == arranged.k_tiles, "{rows} x {columns}");
                assert!(again == *weights, "{rows} x {columns}");
                assert!(restore(&arranged, shape, palette) == *weights);
            }
        }
    }
}

#[test]
fn exponents_are_counted() {
    for (rows, columns) in [(1, 64), (15, 64), (17, 192), (40, 1088)] {
        let shape = Shape::new(rows, columns).unwrap();
        let weights: Vec<u16> = (0..shape.weights())
            .map(|i| (i * i % 65_521) as u16)
            .collect();
        let mut expected = [7_u64; 256];
        for weight in &weights {
            expected[usize::from((weight >> 7) as u8)] += 1;
        }
        let matrix: Vec<u8> = weights.iter().flat_map(|w| w.to_le_bytes()).collect();
        let matrix = DeviceMemory::of(&matrix);
        // The kernel adds to what is there.
        let counts = DeviceMemory::of(&[7_u64; 256].map(u64::to_le_bytes).concat());
        let job = ExponentCountsJob {
            matrix: matrix.address(),
            counts: counts.address(),
            rows: shape.rows() as u32,
            k_tiles: shape.k_tiles() as u32,
        };
        let launch = FragmentsLaunch {
            job: (&raw const job).cast(),
            panels: shape.panels() as u32,
            seed: 1,
        };
        // SAFETY: memory of exactly the lengths that the shape says, and the twin's fields in order.
        unsafe { launch.count_matrix_exponents() };
        let found = counts.bytes().as_chunks().0;
        let found: Vec<u64> = found.iter().map(|&c| u64::from_le_bytes(c)).collect();
        assert_eq!(found, expected, "{rows} x {columns}");
    }
}

/// Patches in no order, several of one weight, and ends outside of them: kernels end, and use no
/// memory but the matrix's, whose lengths are exact here.
#[test]
fn any_contents_of_tables_are_restored_to_something() {
    let shape = Shape::new(40, 1088).unwrap();
    let k_tiles: Vec<u8> = (0..shape.k_tile_bytes())
        .map(|i| (i * i % 251) as u8)
        .collect();
    let k_tiles = DeviceMemory::of(&k_tiles);
    let output = DeviceMemory::poisoned(2 * shape.weights() as usize);
    let mixed = |i: u32| i.wrapping_mul(2_654_435_761) >> 3;
    let lists: [Vec<u32>; 4] = [
        (0..200).map(mixed).collect(),
        vec![3 << 18 | 5; 200],
        (0..200).map(|i| (i % 2) << 18 | (i % 3) << 13).collect(),
        vec![u32::MAX; 200],
    ];
    let ends = [
        [0, 0, 0],
        [200, 200, 200],
        [300, 10, u32::MAX],
        [64, 32, 199],
    ];
    for (patches, palette) in lists.iter().zip([&[250][..], &[9; 16], &[1], &[0; 16]]) {
        for ends in ends {
            let (patches, ends) = (bytes(patches.iter().copied()), bytes(ends));
            let palette = DeviceMemory::of(palette);
            let job = FragmentsJob {
                patches: patches.address(),
                patch_ends: ends.address(),
                patch_count: 200,
                ..job(shape, &output, &k_tiles, &palette)
            };
            let launch = FragmentsLaunch {
                job: (&raw const job).cast(),
                panels: shape.panels() as u32,
                seed: 1,
            };
            // SAFETY: memory of exactly the lengths that the shape says; contents may be anything.
            unsafe { launch.restore() };
        }
    }
}
