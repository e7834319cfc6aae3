//! Padding outside of planes, and the guard (section 3.4).

use std::slice;

use unweight_format::{Extent, Payload, Rule, Tensor, layout, require_zero};

use super::Container;
use crate::storage::coalesce::Window;
use crate::{ReadError, Storage};

impl<'a, S: Storage + ?Sized> Container<'a, S> {
    /// Checks that all padding outside of planes, and the guard, are zero (section 3.4).
    ///
    /// # Errors
    /// `padding`.
    pub fn require_zero_padding(&self) -> Result<(), ReadError> {
        self.require_zero_padding_with(0, &mut Window::default())
    }

    /// Same as [`Container::require_zero_padding`], with merged reads of at most `longest` bytes.
    /// The last one remains in `window`.
    pub(super) fn require_zero_padding_with(
        &self,
        longest: u64,
        window: &mut Window,
    ) -> Result<(), ReadError> {
        let mut following = self.padding();
        while let Some((extent, tensor)) = following.next() {
            if let Some(coalesce) = self.coalesce
                && window.get(extent).is_none()
            {
                let next = following.clone().map(|(extent, _)| extent);
                let merged = coalesce.merged(extent, next, longest);
                if merged != extent {
                    window.load(self.storage, merged);
                }
            }
            let container = self.with_windows(slice::from_ref(window));
            container
                .require_zero(extent)
                .map_err(|error| match tensor {
                    Some(tensor) => error.of_tensor(tensor.name()),
                    None => error,
                })?;
        }
        Ok(())
    }

    fn require_zero(&self, extent: Extent) -> Result<(), ReadError> {
        let mut buffer = Vec::new();
        let bytes = self.read(extent, &mut buffer)?;
        Ok(require_zero(Rule::Padding, bytes, extent.offset)?)
    }

    /// The padding outside of planes, and the guard, without empty extents. An extent before or
    /// within a payload has its tensor.
    fn padding(&self) -> impl Iterator<Item = (Extent, Option<Tensor<'a>>)> + Clone + use<'a, S> {
        let (directory, source) = (self.directory, self.header.source());
        let between = |start: u64, end: u64| Extent {
            offset: start,
            length: end - start,
        };
        let payload_start = directory.payload_start();
        // The payload begins on a multiple of 256 even if all tensors are empty.
        let first = (between(source.end(), payload_start), None);
        let mut end = payload_start;
        let of_tensors = (0..directory.tensor_count()).filter_map(move |number| {
            let tensor = directory.tensor(number)?;
            let payload = tensor.payload();
            let before = between(end, payload.start());
            end = payload.end();
            let [one, other] = match payload {
                Payload::Raw(plane) => [plane.padding(), between(end, end)],
                Payload::Coded(planes) => planes.padding(),
            };
            Some([before, one, other].map(|extent| (extent, Some(tensor))))
        });
        let payload_end = directory.payload_end();
        let guard = between(payload_end, payload_end + layout::GUARD_BYTES);
        let all = std::iter::once(first).chain(of_tensors.flatten());
        all.chain([(guard, None)])
            .filter(|(extent, _)| extent.length > 0)
    }
}
