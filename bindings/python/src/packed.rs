//! Matrices of BF16 weights that stay packed in memory, in the fragment form of `unweight-matmul`.

use std::ops::Range;
use std::thread;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use unweight::format::Palette;
use unweight_matmul::layout::{
    ArrangedRef, K_TILE_BYTES, PANEL_ROWS, PanelPatches, Shape, arrange_panels, most_frequent,
    patch_count,
};
use unweight_matmul::{MatmulError, StoredPalette, layout};

use crate::error::wrong_argument;
use crate::memory::Memory;

/// The number of values of an exponent.
const EXPONENTS: usize = 256;
/// The smallest number of weights for a thread. Starting one takes as long as packing some 100 KB.
const WEIGHTS_PER_THREAD: u64 = 1 << 19;

/// The result of packing a matrix.
#[derive(IntoPyObject)]
pub(crate) enum Outcome<'py> {
    /// The palette, the patches, and the end of each row panel's patches, as bytes.
    Packed(
        (
            Bound<'py, PyBytes>,
            Bound<'py, PyBytes>,
            Bound<'py, PyBytes>,
        ),
    ),
    /// Why the matrix has no packed form.
    Refused(String),
}

/// The number of row panels and of K tiles in each, and the bytes of a K tile; or why a matrix of this shape has no
/// packed form.
#[derive(IntoPyObject)]
pub(crate) enum Layout {
    Packed((u64, u64, u64)),
    Refused(String),
}

/// The shape of the K tiles of a matrix.
#[pyfunction]
pub(crate) fn packed_layout(rows: u64, columns: u64) -> Layout {
    match Shape::new(rows, columns) {
        Ok(shape) => Layout::Packed((shape.panels(), shape.k_tiles(), K_TILE_BYTES)),
        Err(error) => Layout::Refused(error.to_string()),
    }
}

/// Packs a row-major BF16 matrix, given as bytes. `k_tiles` gets its K tiles, and unspecified bytes
/// if it is refused.
#[pyfunction]
pub(crate) fn pack<'py>(
    py: Python<'py>,
    weights: &Bound<'py, PyAny>,
    rows: u64,
    columns: u64,
    k_tiles: &Bound<'py, PyAny>,
    threads: u64,
) -> PyResult<Outcome<'py>> {
    let shape = match Shape::new(rows, columns) {
        Ok(shape) => shape,
        Err(error) => return Ok(Outcome::Refused(error.to_string())),
    };
    let (weights, mut k_tiles) = (Memory::of(weights)?, Memory::of(k_tiles)?);
    let weights: &[u16] = aligned(py, bytemuck::try_cast_slice(weights.bytes()))?;
    let k_tiles = k_tiles.bytes_mut(py)?;
    require_length(py, "weights", weights.len() as u64, shape.weights())?;
    require_length(
        py,
        "bytes of K tiles",
        k_tiles.len() as u64,
        shape.k_tile_bytes(),
    )?;
    let done = py.detach(|| pack_panels(weights, shape, k_tiles, threads));
    let (palette, panels) = match done {
        Ok(done) => done,
        Err(error) => return Ok(Outcome::Refused(error.to_string())),
    };
    let mut end = 0;
    let ends = panels.counts.iter().flat_map(|count| {
        end += count;
        end.to_ne_bytes()
    });
    let ends: Vec<u8> = ends.collect();
    Ok(Outcome::Packed((
        PyBytes::new(py, StoredPalette::of(&palette).1),
        PyBytes::new(py, bytemuck::cast_slice(&panels.patches)),
        PyBytes::new(py, &ends),
    )))
}

/// Restores the row-major BF16 matrix of `rows` x `columns` weights into `output`, an array of
/// bytes. All buffers are arrays of bytes; the palette and every length, end and patch are checked.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "the buffers of a matrix")]
pub(crate) fn restore(
    py: Python<'_>,
    k_tiles: &Bound<'_, PyAny>,
    patches: &Bound<'_, PyAny>,
    patch_ends: &Bound<'_, PyAny>,
    palette: &Bound<'_, PyAny>,
    rows: u64,
    columns: u64,
    output: &Bound<'_, PyAny>,
    threads: u64,
) -> PyResult<()> {
    let shape = Shape::new(rows, columns);
    let shape = shape.map_err(|error| wrong_argument(py, error.to_string()))?;
    let k_tiles = Memory::of(k_tiles)?;
    let (patches, patch_ends) = (words(py, patches)?, words(py, patch_ends)?);
    let palette = self::palette(py, Memory::of(palette)?.bytes())?;
    let matrix = ArrangedRef::new(shape, palette, k_tiles.bytes(), &patches, &patch_ends);
    let matrix = matrix.map_err(|error| wrong_argument(py, error.to_string()))?;
    let mut output = Memory::of(output)?;
    let output = aligned(py, bytemuck::try_cast_slice_mut(output.bytes_mut(py)?))?;
    require_length(
        py,
        "weights of the output",
        output.len() as u64,
        shape.weights(),
    )?;
    py.detach(|| restore_panels(&matrix, output, threads));
    Ok(())
}

/// Checks the palette, the patches and their ends, which are arrays of bytes, of a matrix of `rows` x
/// `columns` weights. Every value of K tiles is valid.
#[pyfunction]
pub(crate) fn check_tables(
    py: Python<'_>,
    patches: &Bound<'_, PyAny>,
    patch_ends: &Bound<'_, PyAny>,
    palette: &Bound<'_, PyAny>,
    rows: u64,
    columns: u64,
) -> PyResult<()> {
    let shape = Shape::new(rows, columns);
    let shape = shape.map_err(|error| wrong_argument(py, error.to_string()))?;
    let (patches, patch_ends) = (words(py, patches)?, words(py, patch_ends)?);
    let palette = self::palette(py, Memory::of(palette)?.bytes())?;
    layout::check_tables(shape, &palette, &patches, &patch_ends)
        .map_err(|error| wrong_argument(py, error.to_string()))
}

/// Palette, K tiles and patches of a matrix. The counts of patches are those of all row panels.
///
/// # Errors
/// [`MatmulError::TooManyPatches`].
fn pack_panels(
    weights: &[u16],
    shape: Shape,
    k_tiles: &mut [u8],
    threads: u64,
) -> Result<(Palette, PanelPatches), MatmulError> {
    let parts = parts(shape, threads);
    let (of_part, k_tiles) = (
        split(weights, &parts, |panels| weights_of(shape, panels)),
        split_mut(k_tiles, &parts, |panels| {
            ((panels.end - panels.start) * shape.k_tiles() * K_TILE_BYTES) as usize
        }),
    );
    let mut counts = [0; EXPONENTS];
    for of_part in on_threads(of_part.clone(), count_exponents) {
        for (count, of_part) in counts.iter_mut().zip(of_part) {
            *count += of_part;
        }
    }
    let palette = most_frequent(&counts);
    let patches = patch_count(&counts, &palette);
    shape.require_few_patches(patches)?;
    let tasks = of_part.into_iter().zip(k_tiles).collect();
    let arranged = on_threads(tasks, |(weights, k_tiles)| {
        arrange_panels(weights, shape.columns(), &palette, k_tiles)
    });
    let mut all = PanelPatches::default();
    for mut part in arranged {
        all.patches.append(&mut part.patches);
        all.counts.append(&mut part.counts);
    }
    Ok((palette, all))
}

fn restore_panels(matrix: &ArrangedRef<'_>, output: &mut [u16], threads: u64) {
    let shape = matrix.shape();
    let parts = parts(shape, threads);
    let outputs = split_mut(output, &parts, |panels| weights_of(shape, panels));
    let tasks = parts.iter().cloned().zip(outputs).collect();
    on_threads(tasks, |(panels, output)| {
        matrix.restore_panels(panels, output)
    });
}

fn count_exponents(weights: &[u16]) -> [u64; EXPONENTS] {
    // Neighbours often have the same exponent. With one table, a count would wait for the one before it.
    let mut counts = [[0; EXPONENTS]; 4];
    let (quads, rest) = weights.as_chunks::<4>();
    for quad in quads {
        for (counts, weight) in counts.iter_mut().zip(quad) {
            counts[usize::from((weight >> 7) as u8)] += 1;
        }
    }
    for weight in rest {
        counts[0][usize::from((weight >> 7) as u8)] += 1;
    }
    std::array::from_fn(|exponent| counts.iter().map(|counts| counts[exponent]).sum())
}

/// Ranges of row panels, one for each thread.
fn parts(shape: Shape, threads: u64) -> Vec<Range<u64>> {
    let panels = shape.panels();
    let most = (shape.weights() / WEIGHTS_PER_THREAD).clamp(1, panels);
    let count = threads.clamp(1, most);
    let start = |part: u64| part * (panels / count) + part.min(panels % count);
    (0..count)
        .map(|part| start(part)..start(part + 1))
        .collect()
}

/// The number of weights of some row panels.
fn weights_of(shape: Shape, panels: &Range<u64>) -> usize {
    let row = |panel: u64| (panel * PANEL_ROWS).min(shape.rows());
    ((row(panels.end) - row(panels.start)) * shape.columns()) as usize
}

fn split<'a, T>(
    mut all: &'a [T],
    parts: &[Range<u64>],
    length: impl Fn(&Range<u64>) -> usize,
) -> Vec<&'a [T]> {
    let part = |panels| {
        all.split_off(..length(panels))
            .expect("the lengths were checked")
    };
    parts.iter().map(part).collect()
}

fn split_mut<'a, T>(
    mut all: &'a mut [T],
    parts: &[Range<u64>],
    length: impl Fn(&Range<u64>) -> usize,
) -> Vec<&'a mut [T]> {
    let part = |panels| {
        all.split_off_mut(..length(panels))
            .expect("the lengths were checked")
    };
    parts.iter().map(part).collect()
}

/// Calls `work` on each task, on a thread for each but the first.
fn on_threads<T: Send, R: Send>(tasks: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let work = &work;
    let mut tasks = tasks.into_iter();
    let Some(first) = tasks.next() else {
        return vec![];
    };
    thread::scope(|scope| {
        let others: Vec<_> = tasks.map(|task| scope.spawn(move || work(task))).collect();
        let mut done = vec![work(first)];
        for other in others {
            done.push(
                other
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            );
        }
        done
    })
}

fn palette(py: Python<'_>, bytes: &[u8]) -> PyResult<Palette> {
    let values = match *bytes {
        // The first of consecutive ones.
        [first] if first <= u8::MAX - 15 => Some(std::array::from_fn(|i| first + i as u8)),
        _ => bytes.try_into().ok(),
    };
    let palette = values.and_then(|values| Palette::new(u8::BITS, values).ok());
    palette.ok_or_else(|| {
        let message = format!(
            "found the palette {bytes:?}, expected 16 exponents in ascending order, or the first \
             of 16 consecutive ones"
        );
        wrong_argument(py, message)
    })
}

/// The words of an array of bytes, which may be at any address.
fn words(py: Python<'_>, array: &Bound<'_, PyAny>) -> PyResult<Vec<u32>> {
    let memory = Memory::of(array)?;
    let (words, rest) = memory.bytes().as_chunks();
    match rest {
        [] => Ok(words.iter().map(|&word| u32::from_ne_bytes(word)).collect()),
        _ => Err(wrong_argument(
            py,
            "the array of words has a length of no whole words",
        )),
    }
}

fn aligned<T>(py: Python<'_>, cast: Result<T, bytemuck::PodCastError>) -> PyResult<T> {
    cast.map_err(|error| {
        let message =
            format!("the array is not one of 16-bit weights in memory: {error}; clone it");
        wrong_argument(py, message)
    })
}

fn require_length(py: Python<'_>, what: &str, found: u64, expected: u64) -> PyResult<()> {
    match found == expected {
        true => Ok(()),
        false => Err(wrong_argument(
            py,
            format!("found {found} {what}, the shape needs {expected}"),
        )),
    }
}
