//! Generators of tensors from unstructured bytes. Some are stored with canonical forms and records,
//! others with such that no canonical encoder writes.

use arbitrary::{Result, Unstructured};
use half::bf16;
use unweight_format::Dtype;
use unweight_testkit::{ENCODINGS, Form, Random, Records, Tensor, any_weights, bytes_of, weight};

/// A few tensors with distinct names.
///
/// One of 64 inputs may have tensors of several chunks. The checksum of the input decides which:
/// long tensors reach code that no short one reaches, so libFuzzer keeps them, and most of their
/// descendants would be long and slow too.
pub(crate) fn some_tensors(u: &mut Unstructured<'_>) -> Result<Vec<Tensor>> {
    let rest = u.peek_bytes(u.len()).unwrap_or_default();
    let may_be_long = Random::of(rest).below(64) == 0;
    // More tensors take more time, and seldom reach other code.
    let count = *u.choose(&[1, 1, 1, 1, 1, 2, 4, 0])?;
    let numbers = 0..count;
    numbers
        .map(|number| one_tensor(u, number, may_be_long))
        .collect()
}

fn one_tensor(u: &mut Unstructured<'_>, number: u32, may_be_long: bool) -> Result<Tensor> {
    let dtype = match u.ratio(1, 3)? {
        true => Dtype::Bf16,
        false => *u.choose(Dtype::ALL)?,
    };
    let mut count = weight_count(u, may_be_long)?;
    if dtype.bits() == 6 {
        // Four elements are three bytes.
        count -= count % 3;
    }
    let data = match dtype {
        Dtype::Bf16 if u.arbitrary()? => bytes_of(&weights(u, count)?),
        _ => any_weights(dtype, count as usize, &mut Random::new(u.arbitrary()?)),
    };
    let elements = 8 * data.len() as u64 / dtype.bits();
    let seed = u.arbitrary()?;
    Ok(Tensor {
        name: name(u, number)?,
        dtype,
        shape: shape(u, elements)?,
        data,
        form: Form {
            encoding: *u.choose(&ENCODINGS)?,
            chunk_size_log2: *u.choose(&[12, 12, 12, 13, 14, 15, 16])?,
            records: match u.int_in_range(0..=7)? {
                0 => Records::Raw,
                1..=3 => Records::Canonical,
                _ => Records::Odd { seed },
            },
        },
    })
}

/// Most counts are small, because the number of executions matters more than the number of weights.
fn weight_count(u: &mut Unstructured<'_>, may_be_long: bool) -> Result<u64> {
    let whole = 1 << 12;
    match u.int_in_range(0..=255)? {
        0..=9 => Ok(0),
        10..=199 => u.int_in_range(1..=80),
        // Around one step and two.
        200..=231 => u.int_in_range(225..=290),
        232..=247 => u.int_in_range(480..=600),
        _ if !may_be_long => u.int_in_range(250..=260),
        248..=251 => u.int_in_range(whole - 3..=whole + 3),
        252 | 253 => u.int_in_range(2 * whole - 2..=2 * whole + 300),
        254 => u.int_in_range(1..=3 * whole),
        // This is more than one block of raw data, and more than a tensor that is a sample.
        _ => u.int_in_range(32_766..=32_770),
    }
}

fn shape(u: &mut Unstructured<'_>, count: u64) -> Result<Vec<u64>> {
    Ok(match (count, u.int_in_range(0..=5)?) {
        (0, 0) => vec![0, u64::MAX, 2],
        (0, 1) => vec![1 << 63, 4, 0],
        (1, 0) => vec![],
        (1, 1) => vec![1; 64],
        (_, 2) => vec![1, count, 1],
        (_, 3) if count.is_multiple_of(3) => vec![3, count / 3],
        (_, 4) if count.is_multiple_of(4) => vec![2, count / 4, 2],
        _ => vec![count],
    })
}

fn name(u: &mut Unstructured<'_>, number: u32) -> Result<String> {
    Ok(match u.int_in_range(0..=7)? {
        // A digit before and none after makes the names distinct. Their order differs from the
        // directory's.
        0 => format!("{}\0\"\\\n\u{1f600}", 9 - number),
        1 => format!("{}{}", 9 - number, "x".repeat(u.int_in_range(0..=300)?)),
        2 => format!("{}{}", 9 - number, <&str>::arbitrary_take(u)?),
        3 if number == 0 => String::new(),
        _ => format!("{number}.weight"),
    })
}

/// A short string from the next bytes.
trait ArbitraryTake<'a>: Sized {
    fn arbitrary_take(u: &mut Unstructured<'a>) -> Result<Self>;
}

impl<'a> ArbitraryTake<'a> for &'a str {
    fn arbitrary_take(u: &mut Unstructured<'a>) -> Result<&'a str> {
        let length = u.int_in_range(0..=24)?.min(u.len());
        let bytes = u.bytes(length)?;
        Ok(std::str::from_utf8(bytes).unwrap_or(""))
    }
}

/// Weights whose exponents have one of several distributions.
fn weights(u: &mut Unstructured<'_>, count: u64) -> Result<Vec<bf16>> {
    let kind = u.int_in_range(0..=6)?;
    let base: u8 = u.arbitrary()?;
    let spread = u.int_in_range(1..=40u64)?;
    let mut random = Random::new(u.arbitrary()?);
    let given = match kind {
        6 => u.bytes(u.len().min(600))?,
        _ => &[],
    };
    Ok((0..count)
        .map(|i| {
            let bits = random.bits();
            // A geometric distribution, as in trained weights.
            let trained = base.wrapping_sub((bits | 1 << 40).trailing_zeros() as u8);
            let exponent = match kind {
                0 => base,
                1 | 2 => trained,
                3 if i % 97 == 0 => (bits >> 48) as u8,
                3 => trained,
                4 => base.wrapping_add((bits % spread) as u8),
                6 if !given.is_empty() => given[i as usize % given.len()],
                _ => (bits >> 48) as u8,
            };
            weight((bits >> 56) as u8, exponent)
        })
        .collect())
}
