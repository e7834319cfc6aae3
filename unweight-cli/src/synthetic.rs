//! The synthetic tensor of `bench`: shaped like a projection of Llama 3, distributed like a trained one.

use half::bf16;

/// Rows of the whole tensor.
pub(crate) const ROWS: usize = 14336;
/// Columns.
pub(crate) const COLUMNS: usize = 4096;

/// Standard deviation of a row's weights, but for the row's own factor.
const SIGMA: f64 = 0.02;
/// A row's factor is exp(this · z), z normal.
const ROW_SPREAD: f64 = 0.15;

/// The first `rows` rows, the same on every machine: normal, standard deviation 0.02 times a factor for each row.
pub(crate) fn weights(rows: usize) -> Vec<bf16> {
    let mut normal = Normal::new(0x5eed);
    let mut weights = Vec::with_capacity(rows * COLUMNS);
    for _ in 0..rows {
        let sigma = SIGMA * (ROW_SPREAD * normal.next()).exp();
        weights.extend((0..COLUMNS).map(|_| bf16::from_f64(sigma * normal.next())));
    }
    weights
}

/// Normal numbers: xorshift64, then Marsaglia's polar method, which gives two at a time.
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

    /// Between -1 and 1.
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
