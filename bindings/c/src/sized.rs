//! Structs that carry their size, so that fields can be added at their end without breaking
//! programs that were built with an older or a newer header.

use std::mem::MaybeUninit;

use crate::status::Failure;

/// A struct whose first field is its size in bytes.
///
/// # Safety
/// The type is `repr(C)`, has no padding, is valid for any bytes, and begins with a `u32`.
/// `FIRST_BYTES` is at most its size.
pub(crate) unsafe trait SizedStruct: Copy {
    /// The name in the header.
    const NAME: &'static str;
    /// Size in the first version of the library that had the struct.
    const FIRST_BYTES: usize;
}

/// The largest size that a caller may state. It bounds what is read of a size that is garbage.
const MOST_BYTES: usize = 4096;

/// Reads a struct of the caller. Fields that the caller's header does not have are 0.
///
/// # Safety
/// `pointer` must be NULL or valid for reading as many bytes as its first field says.
pub(crate) unsafe fn read<T: SizedStruct>(pointer: *const T) -> Result<Option<T>, Failure> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller promises at least the field with the size.
    let stated = unsafe { size::<T>(pointer) }?;
    let mut value = MaybeUninit::<T>::zeroed();
    let known = stated.min(size_of::<T>());
    let bytes = pointer.cast::<u8>();
    // SAFETY: `stated` bytes are valid for reading, `size_of::<T>()` bytes for writing, and a local
    // variable overlaps nothing: `reads_older_and_newer_structs`.
    unsafe { std::ptr::copy_nonoverlapping(bytes, value.as_mut_ptr().cast(), known) };
    for at in known..stated {
        // SAFETY: the struct has `stated` bytes, of which this is one.
        let byte = unsafe { bytes.add(at) };
        // SAFETY: `stated` bytes are valid for reading.
        if unsafe { byte.read() } != 0 {
            return Err(Failure::argument(format!(
                "{} has a field at byte {at} that this library, version {}, does not know; use a \
                 newer library or set the field to 0",
                T::NAME,
                env!("CARGO_PKG_VERSION"),
            )));
        }
    }
    // SAFETY: all bytes are initialised, and the type is valid for any bytes.
    Ok(Some(unsafe { value.assume_init() }))
}

/// Writes a struct of the caller, as far as the caller's header has it. Fields that this library
/// does not know keep their content.
///
/// # Safety
/// `pointer` must be valid for reading and writing as many bytes as its first field says.
pub(crate) unsafe fn write<T: SizedStruct>(pointer: *mut T, value: T) -> Result<(), Failure> {
    if pointer.is_null() {
        return Err(Failure::null(T::NAME));
    }
    // SAFETY: the caller promises at least the field with the size.
    let stated = unsafe { size::<T>(pointer) }?;
    let kept = size_of::<u32>();
    let length = stated.min(size_of::<T>()) - kept;
    let value = (&raw const value).cast::<u8>();
    // SAFETY: every such struct has at least `kept` bytes.
    let from = unsafe { value.add(kept) };
    // SAFETY: the caller's struct has `stated` bytes, which is at least `kept`.
    let to = unsafe { pointer.cast::<u8>().add(kept) };
    // SAFETY: `stated` bytes are valid for writing, `size_of::<T>()` bytes for reading, and a local
    // variable overlaps nothing.
    unsafe { std::ptr::copy_nonoverlapping(from, to, length) };
    Ok(())
}

/// The size that a struct states, which is within its bounds.
///
/// # Safety
/// `pointer` must be valid for reading 4 bytes.
unsafe fn size<T: SizedStruct>(pointer: *const T) -> Result<usize, Failure> {
    const { assert!(T::FIRST_BYTES <= size_of::<T>() && size_of::<T>() <= MOST_BYTES) };
    const { assert!(T::FIRST_BYTES >= size_of::<u32>()) };
    // SAFETY: the caller promises 4 bytes.
    let stated = unsafe { pointer.cast::<u32>().read_unaligned() } as usize;
    match (T::FIRST_BYTES..=MOST_BYTES).contains(&stated) {
        true => Ok(stated),
        false => Err(Failure::argument(format!(
            "{name}.struct_size is {stated}, expected sizeof({name})",
            name = T::NAME
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Test {
        struct_size: u32,
        first: u32,
        added: u64,
    }

    // SAFETY: no padding, integers alone, and the size is first.
    unsafe impl SizedStruct for Test {
        const NAME: &'static str = "test";
        const FIRST_BYTES: usize = 8;
    }

    fn read_words(words: &[u32]) -> Result<Option<Test>, Failure> {
        assert!(words[0] as usize <= 4 * words.len() || words[0] > 4096);
        // SAFETY: the size is at most that of the slice, or is refused.
        unsafe { read(words.as_ptr().cast::<Test>()) }
    }

    #[test]
    fn reads_older_and_newer_structs() {
        let of = |struct_size, first, added| {
            Some(Test {
                struct_size,
                first,
                added,
            })
        };
        assert_eq!(read_words(&[8, 5]).unwrap(), of(8, 5, 0));
        assert_eq!(read_words(&[16, 5, 6, 0]).unwrap(), of(16, 5, 6));
        assert_eq!(read_words(&[20, 5, 6, 0, 0]).unwrap(), of(20, 5, 6));
        // SAFETY: NULL is allowed.
        assert_eq!(unsafe { read::<Test>(std::ptr::null()) }.unwrap(), None);
    }

    #[test]
    fn refuses_unknown_fields_and_sizes_that_cannot_be() {
        for words in [
            &[20, 5, 6, 0, 1][..],
            &[0, 5],
            &[7, 5],
            &[4097, 5],
            &[u32::MAX, 5],
        ] {
            assert!(
                matches!(read_words(words), Err(Failure::Argument(_))),
                "{words:?}"
            );
        }
    }

    #[test]
    fn writes_as_much_as_the_caller_has() {
        let value = Test {
            struct_size: 0,
            first: 5,
            added: 6,
        };
        for (size, expected) in [
            (8, [8, 5, 9, 9, 9, 9]),
            (16, [16, 5, 6, 0, 9, 9]),
            (24, [24, 5, 6, 0, 9, 9]),
        ] {
            let mut words = [9; 6];
            words[0] = size;
            // SAFETY: the size is at most that of the array.
            unsafe { write(words.as_mut_ptr().cast::<Test>(), value) }.unwrap();
            assert_eq!(words, expected);
        }
    }
}
