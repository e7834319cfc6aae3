//! Zero bytes between the parts of a file, and the guard (section 3.5).

use std::slice;

use unweight_format::{Extent, Rule, Tensor, require_zero};

use super::Container;
use crate::storage::coalesce::Window;
use crate::{ReadError, Storage};

impl<'a, S: Storage + ?Sized> Container<'a, S> {
    /// Checks that all bytes between the parts of the file, and the guard, are zero (section 3.5).
    /// The padding bits of a plain plane are checked when it is read.
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

    /// The bytes between the parts of the file, and the guard, without empty extents. Those before
    /// and within a payload have its tensor.
    fn padding(&self) -> impl Iterator<Item = (Extent, Option<Tensor<'a>>)> + Clone + use<'a, S> {
        let directory = self.directory;
        let numbers = 0..directory.tensor_count();
        let of_tensors = numbers.filter_map(move |number| {
            let tensor = directory.tensor(number)?;
            Some(tensor.padding().map(|extent| (extent, Some(tensor))))
        });
        let all = std::iter::once((self.header.padding(), None)).chain(of_tensors.flatten());
        all.chain([(directory.guard(), None)])
            .filter(|(extent, _)| extent.length > 0)
    }
}
