//! Loading of tensors: from a file, through pinned host memory, to the caller's device memory.
//!
//! ```text
//! file --read--> pinned buffers --copy stream--> scratch memory --decode stream--> outputs
//!                                \--copy stream--> outputs of tensors that are stored as they are
//! ```
//!
//! A [`LoadPlan`] divides tensors into parts of whole chunks, and parts into groups whose payloads
//! fit a bounded scratch memory. There are two scratch memories: one is filled while the other is
//! decoded. The plan lists the pieces of the file that have to be read; the caller reads them into
//! [`PinnedBuffer`]s, on any threads, and gives them to [`Load::upload`] in order. The index of a
//! tensor (palettes and record ends), which kernels follow, is checked before and uploaded from the
//! checked copy.

pub(crate) mod host;
mod loader;
mod pieces;
mod pinned;
mod plan;
mod planner;
mod stream;
mod task;

pub use loader::{Load, Loaded, Loader, LoaderOptions};
pub use pieces::Piece;
pub use pinned::{PinnedBuffer, PinnedPool};
pub use plan::{LoadLimits, LoadPlan};
pub use stream::CallerStream;
pub use task::{LoadReads, LoadTask};
