//! Output buffers for decoded bytes, initialised or not.

#![expect(unsafe_code, reason = "output that is not initialized yet")]

use std::mem::MaybeUninit;

use half::bf16;

/// A caller's buffer for output bytes. Written bytes stay initialised, because no method makes them
/// uninitialised.
#[derive(Debug)]
pub struct Output<'a> {
    bytes: &'a mut [MaybeUninit<u8>],
}

impl<'a> From<&'a mut [MaybeUninit<u8>]> for Output<'a> {
    fn from(bytes: &'a mut [MaybeUninit<u8>]) -> Self {
        Output { bytes }
    }
}

impl<'a> From<&'a mut [u8]> for Output<'a> {
    fn from(bytes: &'a mut [u8]) -> Self {
        let (start, length) = (bytes.as_mut_ptr(), bytes.len());
        // SAFETY: the slice has the same bytes and the same lifetime; an `Output` never makes a
        // byte uninitialised.
        let bytes = unsafe { std::slice::from_raw_parts_mut(start.cast(), length) };
        Output { bytes }
    }
}

/// Only for little-endian machines, where a weight in memory equals a weight in a file.
#[cfg(target_endian = "little")]
impl<'a> From<&'a mut [bf16]> for Output<'a> {
    fn from(weights: &'a mut [bf16]) -> Self {
        Output::of_weights(weights)
    }
}

/// Only for little-endian machines, where a weight in memory equals a weight in a file.
#[cfg(target_endian = "little")]
impl<'a> From<&'a mut [MaybeUninit<bf16>]> for Output<'a> {
    fn from(weights: &'a mut [MaybeUninit<bf16>]) -> Self {
        let (start, length) = (weights.as_mut_ptr(), 2 * weights.len());
        // SAFETY: a bf16 is two bytes without padding, and any two bytes are a bf16; the lifetime
        // is the same.
        let bytes = unsafe { std::slice::from_raw_parts_mut(start.cast(), length) };
        Output { bytes }
    }
}

impl<'a> Output<'a> {
    /// The bytes of weights in the machine's byte order.
    pub(crate) fn of_weights(weights: &'a mut [bf16]) -> Output<'a> {
        let (start, length) = (weights.as_mut_ptr(), 2 * weights.len());
        // SAFETY: a bf16 is two bytes without padding, and any two bytes are a bf16; the lifetime
        // is the same.
        let bytes = unsafe { std::slice::from_raw_parts_mut(start.cast(), length) };
        Output { bytes }
    }

    /// Splits the buffer into pieces of `length` bytes. The last piece has the rest.
    pub fn pieces(self, length: usize) -> impl Iterator<Item = Output<'a>> {
        self.bytes.chunks_mut(length).map(Output::from)
    }

    /// Splits the buffer before byte `at`.
    ///
    /// # Panics
    /// If the buffer is shorter than `at`.
    pub fn split_at(self, at: usize) -> (Output<'a>, Output<'a>) {
        let (before, behind) = self.bytes.split_at_mut(at);
        (Output::from(before), Output::from(behind))
    }

    /// Writes `bytes` over the whole buffer, and returns the written slice.
    ///
    /// # Panics
    /// If the length of `bytes` differs from the buffer's.
    pub fn fill(&mut self, bytes: &[u8]) -> &[u8] {
        assert_eq!(bytes.len(), self.len());
        self.put_slice(0, bytes);
        // SAFETY: all bytes have been written.
        unsafe { self.written() }
    }

    /// The whole buffer as initialised bytes.
    ///
    /// # Safety
    /// Every byte must have been written.
    pub(super) unsafe fn written(&self) -> &[u8] {
        // SAFETY: the caller has written every byte.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr().cast(), self.bytes.len()) }
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Writes `bytes` at `at`.
    #[inline(always)]
    pub(crate) fn put<const N: usize>(&mut self, at: usize, bytes: [u8; N]) {
        self.put_slice(at, &bytes);
    }

    /// Writes zeros to the whole buffer. Writing it in order, and only then in another order, is
    /// faster if it is not in the cache.
    pub(super) fn clear(&mut self) {
        self.bytes.fill(MaybeUninit::new(0));
    }

    /// Replaces the byte at `at`.
    ///
    /// # Safety
    /// The byte must have been written.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(dead_code, reason = "for vector kernels")
    )]
    #[inline(always)]
    pub(super) unsafe fn replace(&mut self, at: usize, with: impl FnOnce(u8) -> u8) {
        // SAFETY: the caller has written the byte.
        let byte = unsafe { self.bytes[at].assume_init() };
        self.bytes[at].write(with(byte));
    }

    /// Writes `bytes` at `at`.
    #[inline(always)]
    pub(crate) fn put_slice(&mut self, at: usize, bytes: &[u8]) {
        for (out, &byte) in self.bytes[at..at + bytes.len()].iter_mut().zip(bytes) {
            out.write(byte);
        }
    }

    /// Writes little-endian weights at `at`.
    #[inline(always)]
    pub(crate) fn put_weights(&mut self, at: usize, weights: &[u16]) {
        let (bytes, _) = self.bytes[at..at + 2 * weights.len()].as_chunks_mut::<2>();
        for (bytes, weight) in bytes.iter_mut().zip(weights) {
            *bytes = weight.to_le_bytes().map(MaybeUninit::new);
        }
    }

    /// The part of `length` bytes from `at` on.
    #[inline(always)]
    pub(super) fn part(&mut self, at: usize, length: usize) -> &mut [MaybeUninit<u8>] {
        &mut self.bytes[at..at + length]
    }

    /// Pointer to the buffer, for kernels. The buffer has `len` bytes.
    #[cfg_attr(
        not(any(target_arch = "x86_64", target_arch = "aarch64")),
        allow(dead_code, reason = "for vector kernels")
    )]
    pub(crate) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.bytes.as_mut_ptr().cast()
    }
}
