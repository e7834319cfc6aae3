//! Memory of new arrays.

use std::io;
use std::ptr::NonNull;

use memmap2::MmapMut;

/// Bytes from which on memory comes from the system in whole pages.
const PAGED_BYTES: usize = 1 << 20;

/// Bytes that several arrays of several libraries may share. They begin as zeros.
pub(crate) struct Buffer {
    data: NonNull<u8>,
    length: usize,
    _owner: Owner,
}

#[expect(dead_code, reason = "it frees the memory when it is dropped")]
enum Owner {
    Blocks(Vec<Block>),
    Pages(MmapMut),
}

/// Some libraries copy memory that is less aligned.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Block([u8; 64]);

// SAFETY: the address is that of plain bytes, which belong to no thread.
unsafe impl Send for Buffer {}

// SAFETY: a shared reference gives the address alone.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Memory of this many bytes.
    ///
    /// # Errors
    /// The system has not enough memory.
    pub(crate) fn new(length: usize) -> io::Result<Buffer> {
        if length < PAGED_BYTES {
            let mut blocks = vec![Block([0; 64]); length.div_ceil(size_of::<Block>())];
            let data = NonNull::new(blocks.as_mut_ptr().cast());
            return Ok(Buffer {
                data: data.unwrap_or(NonNull::dangling()),
                length,
                _owner: Owner::Blocks(blocks),
            });
        }
        let mut pages = MmapMut::map_anon(length)?;
        let data = NonNull::new(pages.as_mut_ptr());
        Ok(Buffer {
            data: data.ok_or(io::ErrorKind::OutOfMemory)?,
            length,
            _owner: Owner::Pages(pages),
        })
    }

    /// The address of the first byte. It is valid as long as this lives.
    pub(crate) fn data(&self) -> NonNull<u8> {
        self.data
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Copies all bytes, which other libraries may write meanwhile, to `target`.
    ///
    /// # Panics
    /// If `target` has another length.
    pub(crate) fn copy_to(&self, target: &mut [u8]) {
        assert_eq!(target.len(), self.length);
        // SAFETY: both have as many bytes, and `target` is borrowed by this function alone. That
        // nobody writes to an array that is being copied is up to the caller in Python.
        unsafe {
            self.data
                .copy_to_nonoverlapping(NonNull::from(target).cast(), self.length)
        };
    }

    /// A copy.
    ///
    /// # Errors
    /// The errors of [`Buffer::new`].
    pub(crate) fn copy(&self) -> io::Result<Buffer> {
        let copy = Buffer::new(self.length)?;
        // SAFETY: both have as many bytes, and nobody else has the new one.
        unsafe { self.data.copy_to_nonoverlapping(copy.data, self.length) };
        Ok(copy)
    }
}
