//! Synthetic tensor of `bench`. It has the shape of a projection of Llama 3 and the distribution of
//! a trained one.

use half::bf16;

/// Number of rows of the whole tensor.
pub(crate) const ROWS: usize = 14336;
/// Number of columns.
pub(crate) const COLUMNS: usize = 4096;

/// Standard deviation of a row's weights, before the row's own factor.
const SIGMA: f64 = 0.02;
/// Standard deviation of the logarithm of a row's factor. The factor is exp(`ROW_SPREAD` · z), with
/// z normal.
const ROW_SPREAD: f64 = 0.15;

/// First `rows` rows of the tensor, the same on every machine. The weights are normal, with a
/// standard deviation of 0.02 times a factor for each row.
pub(crate) fn weights(rows: usize) -> Vec<bf16> {
    let mut normal = Normal::new(0x5eed);
    let mut weights = Vec::with_capacity(rows * COLUMNS);
    for _ in 0..rows {
        let sigma = SIGMA * (ROW_SPREAD * normal.next()).exp();
        weights.extend((0..COLUMNS).map(|_| bf16::from_f64(sigma * normal.next())));
    }
    weights
}

/// Generator of normal numbers: xorshift64, then Marsaglia's polar method, which gives two numbers
/// at a time.
struct Normal {
    state: u64,
    spare: Option<f64>,
}

impl Normal {
    fn new(seed: u64) -> Normal {
        Normal {
            state: seed | 1,
            spare: None,
        }
    }

    /// Uniform number between -1 and 1.
    fn uniform(&mut self) -> f64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    fn next(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (a, b) = (self.uniform(), self.uniform());
            let square = a * a + b * b;
            if square > 0.0 && square < 1.0 {
                let factor = (-2.0 * square.ln() / square).sqrt();
                self.spare = Some(b * factor);
                return a * factor;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_normal_with_the_stated_deviation() {
        let weights = weights(64);
        let squares: f64 = weights.iter().map(|weight| weight.to_f64().powi(2)).sum();
        let sigma = (squares / weights.len() as f64).sqrt();
        assert!((0.018..0.023).contains(&sigma), "{sigma}");
    }
}
