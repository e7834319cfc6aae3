//! Guard of a launch whose status was not queried yet.

/// A launch of a batch. Its outputs must not be trusted before the status was queried: by `finish`,
/// or by a later query of the same batch.
#[must_use = "what was launched is not to be trusted before `finish` has succeeded"]
#[derive(Debug)]
pub struct Launched<'b, B> {
    pub(crate) batch: &'b mut B,
}

impl<B> Launched<'_, B> {
    /// Leaves the status to a later query: `finish` of another launch of this batch, or the batch's
    /// own `status`. It covers all launches since the last query.
    pub fn defer_status(self) {}
}
