//! Counted memory and work: sizes that a file only states cost nothing, and the cost of its content
//! is at most proportional.

mod counting;

use std::io;

use counting::{STORED, allocated, stored, verify};
use unweight::{
    ReadError, Serial, Storage,
    container::{Encoder, OpenFile, restore},
    read_extent, safetensors,
};
use unweight_format::layout::{self, entry, file_header};
use unweight_format::{Encoding, Extent};
use unweight_testkit::{
    Form, TestStorage, container, container_of, repair_checksums, tensor, trained_like,
    with_header, writer_of,
};

fn set(file: &mut [u8], offset: u64, bytes: &[u8]) {
    file[offset as usize..][..bytes.len()].copy_from_slice(bytes);
}

/// The dimension of the only tensor.
const DIMENSION: u64 = layout::FILE_HEADER_BYTES + layout::ENTRY_BYTES;
const PAYLOAD_END: u64 = layout::FILE_HEADER_BYTES + entry::PAYLOAD_END;

#[test]
fn a_small_file_that_promises_exabytes_allocates_next_to_nothing_and_is_hardly_read() {
    let promises: &[(&str, &[(u64, u64)])] = &[
        ("a length", &[(file_header::FILE_LENGTH, 1 << 60)]),
        (
            "the greatest length",
            &[(file_header::FILE_LENGTH, u64::MAX)],
        ),
        (
            "a directory",
            &[
                (file_header::DIRECTORY_LENGTH, 1 << 28),
                (file_header::FILE_LENGTH, 1 << 29),
            ],
        ),
        (
            "a directory too great",
            &[(file_header::DIRECTORY_LENGTH, u64::MAX)],
        ),
        (
            "a source section",
            &[
                (file_header::SOURCE_LENGTH, 1 << 28),
                (file_header::SOURCE_KIND, 1),
                (file_header::FILE_LENGTH, 1 << 29),
            ],
        ),
        ("weights", &[(DIMENSION, 1 << 35)]),
        ("elements", &[(DIMENSION, 1 << 56)]),
        ("elements too many", &[(DIMENSION, u64::MAX)]),
        ("a payload", &[(PAYLOAD_END, 1 << 60)]),
        (
            "all of it",
            &[
                (DIMENSION, 1 << 34),
                (PAYLOAD_END, 1 << 35),
                (file_header::FILE_LENGTH, (1 << 35) + 64),
            ],
        ),
    ];
    for encoding in STORED {
        for (what, fields) in promises {
            let mut file = stored(&trained_like(300), encoding, 12);
            for &(offset, value) in *fields {
                match offset {
                    file_header::SOURCE_KIND => set(&mut file, offset, &[value as u8]),
                    _ => set(&mut file, offset, &value.to_le_bytes()),
                }
            }
            repair_checksums(&mut file);
            refuse(file, &format!("{encoding:?}, {what}"));
        }
        let mut file = stored(&trained_like(300), encoding, 12);
        // Only the count of tensors is changed. A directory of 2^20 entries would be 48 MiB.
        set(
            &mut file,
            file_header::TENSOR_COUNT,
            &(1u32 << 20).to_le_bytes(),
        );
        repair_checksums(&mut file);
        refuse(file, &format!("{encoding:?}, tensors"));
    }
}

fn refuse(file: Vec<u8>, what: &str) {
    let length = file.len() as u64;
    assert!(length < 2048, "{length}");
    let file = TestStorage::new(file).resizing_first();
    let (verdict, found) = allocated(|| verify(&file));
    assert!(verdict.is_err(), "{what}");
    // The measured value is 192 bytes.
    assert!(found.total < 64 << 10, "{what}: {found:?}");
    assert!(file.take_read_bytes() <= length, "{what}");
}

#[test]
fn a_safetensors_header_that_promises_exabytes_allocates_next_to_nothing() {
    let tensor = r#"{"a":{"dtype":"F64","shape":[72057594037927936],"data_offsets":[0,576460752303423488]}}"#;
    let mut header = with_header(tensor, &[]);
    let (parsed, found) = allocated(|| safetensors::Header::parse(&header));
    assert_eq!(parsed.unwrap().data_bytes(), 1 << 59);
    assert!(found.total < 64 << 10, "{found:?}");
    for length in [1 << 28, 1 << 60, u64::MAX] {
        set(&mut header, 0, &u64::to_le_bytes(length));
        let (parsed, found) = allocated(|| safetensors::Header::parse(&header));
        assert!(parsed.is_err());
        assert!(found.total < 64 << 10, "{found:?}");
    }
}

#[test]
fn a_header_costs_in_proportion_to_its_bytes() {
    // A dimension takes two bytes of JSON and eight of memory, and vectors grow by doubling.
    const PER_BYTE: u64 = 16;
    let dimensions = format!(
        r#"{{"a":{{"dtype":"U8","shape":[{}0],"data_offsets":[0,0]}}}}"#,
        "1,".repeat(500_000)
    );
    let tensors: Vec<String> = (0..20_000)
        .map(|i| format!(r#""{i}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#))
        .collect();
    // The names are short, and their number is one more than the set holds before it grows.
    let name = |i: u32| -> String {
        let digit = |place: u32| char::from_digit(i / 36u32.pow(place) % 36, 36).unwrap();
        [digit(0), digit(1), digit(2)].iter().collect()
    };
    let metadata: Vec<String> = (0..28_673)
        .map(|i| format!(r#""{}":"""#, name(i)))
        .collect();
    let nested = format!(r#"{{"a":{}"#, "[".repeat(1_000_000));
    for json in [
        dimensions,
        format!("{{{}}}", tensors.join(",")),
        format!(r#"{{"__metadata__":{{{}}}}}"#, metadata.join(",")),
        nested,
        format!(r#"{{"{}":1}}"#, "a".repeat(1_000_000)),
        format!("{{}}{}", " ".repeat(1_000_000)),
        // A quotation in a message grows by escaping.
        format!(
            r#"{{"{0}":{{"dtype":"{0}","shape":[],"data_offsets":[0,0]}}}}"#,
            "\u{7f}".repeat(500_000)
        ),
        format!(
            r#"{{"{}":{{"dtype":"U8","shape":[],"data_offsets":[2,1]}}}}"#,
            "\u{7f}".repeat(1_000_000)
        ),
        format!(
            r#"{{"{}":{{"dtype":"U8","shape":[],"data_offsets":[1,2]}}}}"#,
            "\u{7f}".repeat(1_000_000)
        ),
        format!(
            r#"{{"__metadata__":{{"{0}":"","{0}":""}}}}"#,
            "\u{7f}".repeat(500_000)
        ),
        format!(
            r#"{{"a":{{"dtype":"U8","{}":1}}}}"#,
            "\u{7f}".repeat(1_000_000)
        ),
        format!(r#"{{"a":"{}"}}"#, "\u{7f}".repeat(1_000_000)),
        format!(r#"{{"__metadata__":"{}"}}"#, "\u{7f}".repeat(1_000_000)),
        format!(
            r#"{{"__metadata__":{{"{}":1}}}}"#,
            "\u{7f}".repeat(1_000_000)
        ),
        format!(
            r#"{{"a":{{"dtype":"U8","shape":"{}"}}}}"#,
            "\u{7f}".repeat(1_000_000)
        ),
        format!(
            r#"{{"a":{{"dtype":"U8","shape":["{}"]}}}}"#,
            "\u{7f}".repeat(1_000_000)
        ),
        format!(
            r#"{{"a":{{"dtype":"U8","data_offsets":"{}"}}}}"#,
            "\u{7f}".repeat(1_000_000)
        ),
    ] {
        let header = with_header(&json, &[]);
        let (_, found) =
            allocated(|| safetensors::Header::parse(&header).map_err(|error| error.to_string()));
        assert!(
            found.peak <= PER_BYTE * header.len() as u64,
            "{found:?} for {:.40}…",
            json
        );
    }
}

#[test]
fn decoding_holds_the_directory_and_one_chunk() {
    for encoding in STORED {
        for chunk_size_log2 in [12, 16] {
            let weights = trained_like(1 << 19);
            let file =
                TestStorage::new(stored(&weights, encoding, chunk_size_log2)).resizing_first();
            let (verdict, found) = allocated(|| verify(&file));
            assert_eq!(verdict.unwrap(), 2 << 19);
            let record_ends = 4 * (1 << 19 >> chunk_size_log2);
            // A raw block of 2^16 bytes is a chunk of 2^15 weights.
            let chunk = match encoding {
                None => 1 << 15,
                Some(_) => 1 << chunk_size_log2,
            };
            // The tables and buffers of one worker are allocated once.
            let worker = match encoding {
                None => 0,
                Some(_) => 216 << 10,
            };
            // These are the weights, their bytes (in a vector that grows), the record, the plain
            // bytes and the values.
            let most = 16 * chunk + 2 * record_ends + worker + (8 << 10);
            assert!(
                found.peak <= most,
                "{encoding:?} {chunk_size_log2}: {found:?}, expected at most {most}"
            );
        }
    }
}

#[test]
fn work_is_linear() {
    for encoding in STORED {
        let [once, twice] = [1 << 18, 1 << 19].map(|weights| {
            let file =
                TestStorage::new(stored(&trained_like(weights), encoding, 12)).resizing_first();
            let length = file.bytes.len() as u64;
            let (verdict, found) = allocated(|| verify(&file));
            assert_eq!(verdict.unwrap(), 2 * weights as u64);
            let read = file.take_read_bytes();
            // Every byte is read at most once.
            assert!(read <= length, "{encoding:?}: read {read} of {length}");
            found
        });
        assert!(
            twice.total * 10 <= once.total * 21,
            "{encoding:?}: {once:?}, {twice:?}"
        );
        assert!(
            twice.peak <= once.peak + (4 << 10),
            "{encoding:?}: {once:?}, {twice:?}"
        );
    }
}

#[test]
fn a_directory_of_many_tensors_is_read_once() {
    let tensors: Vec<_> = (0..5000)
        .map(|i| tensor(&format!("{}", 9999 - i), "U8", &[1], vec![7]))
        .collect();
    let file = TestStorage::new(container(&tensors, false)).resizing_first();
    let directory_bytes = u64::from_le_bytes(file.bytes[24..32].try_into().unwrap());
    let (verdict, found) = allocated(|| verify(&file));
    assert_eq!(verdict.unwrap(), 5000);
    // The directory is held twice: in the read buffer and in the kept copy.
    assert!(
        found.peak <= 2 * directory_bytes + (8 << 10),
        "{found:?} for {directory_bytes}"
    );
    // The padding after each tensor's data is read twice.
    assert!(file.take_read_bytes() <= file.bytes.len() as u64 + 3 * 5000);
}

#[test]
fn no_file_restores_to_more_than_64_times_its_length() {
    // A weight of 64 bits with a bit that is always stored.
    let zeros = |length| tensor("w", "I64", &[length], vec![0; 8 * length as usize]);
    // A code of no bits for each field, with one exception.
    let mut exception = zeros(1 << 17);
    exception.data.fill(0x5a);
    exception.data[..8].fill(0xa5);
    for tensor in [zeros(1 << 16), zeros(1 << 18), exception] {
        let stored = tensor.stored(Form::canonical(Encoding::Huffman, 12));
        let file = TestStorage::new(container(&[stored], false)).resizing_first();
        let length = file.bytes.len() as u64;
        let (verdict, found) = allocated(|| verify(&file));
        let restored = verdict.unwrap();
        assert!(
            restored <= 64 * length && restored > 20 * length,
            "{length}"
        );
        assert!(found.peak <= 1 << 21, "{found:?}");
    }
}

/// A storage that makes every buffer longer than necessary.
struct Wasteful(Vec<u8>);

impl Storage for Wasteful {
    fn byte_length(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        buffer.clear();
        buffer.reserve(1 << 24);
        buffer.extend_from_slice(read_extent(&self.0[..], extent, &mut Vec::new())?);
        Ok(buffer)
    }
}

#[test]
fn threads_keep_no_buffer_that_a_storage_made_longer_than_a_chunk_needs() {
    let file = Wasteful(container_of(&trained_like(70_000), Encoding::Huffman, 15));
    let data = Extent {
        offset: 0,
        length: 80_000,
    };
    let (result, allocated) = allocated(|| {
        let open = OpenFile::read(&file)?;
        restore(&open.container(), &Serial, |_| Ok::<_, ReadError>(()))?;
        let shape = [data.length / 2];
        let mut writer = writer_of(Vec::new(), &shape);
        Encoder::default()
            .encode_tensor(&mut writer, &file, data, Encoding::Huffman, 15, &Serial)
            .unwrap();
        Ok::<_, ReadError>(())
    });
    result.unwrap();
    // A thread keeps its tables and the buffers of a chunk for the next chunk.
    assert!(allocated.held < 1 << 20, "{allocated:?}");
}
