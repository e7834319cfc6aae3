//! Tensors, buffers and ranges.

use std::ffi::c_void;
use std::thread;

use unweight_c::*;
use unweight_testkit::{coded_payloads, container, tensor};

use crate::support::*;

#[test]
fn tensors_are_found_by_number_and_by_name() {
    let model = model();
    // SAFETY: an open model.
    assert_eq!(unsafe { unweight_tensor_count(model.0) }, 1);
    let by_name = model.find(b"w").unwrap();
    for info in [model.info(0).unwrap(), by_name] {
        assert_eq!(name_of(&info), b"w");
        assert_eq!(
            (info.number, info.rank, info.dims[..2].to_vec()),
            (0, 1, vec![100_000, 0])
        );
        assert_eq!(info.dtype, DtypeCode::BF16 as u32);
        assert_eq!((info.element_bits, info.weight_bytes), (16, 2));
        assert_eq!((info.element_count, info.data_bytes), (100_000, 200_000));
        assert!(info.stored_bytes > 100_000 && info.stored_bytes < 140_000);
    }
    let missing = [
        model.info(1),
        model.info(u32::MAX),
        model.find(b""),
        model.find(b"w\0"),
        model.find(b"\xff"),
    ];
    for missing in missing {
        assert_eq!(missing.unwrap_err().status, Status::NoTensor);
    }
    assert_eq!(model.read_tensor(1, &mut [0]).status, Status::NoTensor);
}

#[test]
fn names_may_be_empty_and_hold_zero_bytes() {
    let tensors = ["", "a\0b"].map(|name| tensor(name, "U8", &[1], vec![7]));
    let model = open_memory(container(&tensors, false).leak(), None)
        .unwrap_or_else(|said| panic!("{said:?}"));
    for name in [&b""[..], b"a\0b"] {
        assert_eq!(name_of(&model.find(name).unwrap()), name);
    }
}

#[test]
fn whole_tensors_and_ranges_are_read() {
    let (model, expected) = (model(), weights());
    let mut whole = vec![0x5a; expected.len()];
    assert_eq!(model.read_tensor(0, &mut whole).status, Status::Ok);
    assert!(whole == expected);
    for range in [0..1, 1..4, 8191..8193, 0..200_000, 199_999..200_000, 77..77] {
        let mut part = vec![0x5a; range.len()];
        assert_eq!(
            model.read_bytes(range.start as u64, &mut part).status,
            Status::Ok
        );
        assert!(part == expected[range]);
    }
    let mut part = [0; 6];
    assert_eq!(model.read_weights(4095, 3, &mut part).status, Status::Ok);
    assert_eq!(part, expected[8190..8196]);
}

#[test]
fn buffers_of_another_length_are_refused_and_left_alone() {
    let model = model();
    for length in [0, 1, 199_999, 200_001] {
        let mut buffer = vec![0x5a; length];
        assert_eq!(
            model.read_tensor(0, &mut buffer).status,
            Status::WrongLength
        );
        assert!(buffer.iter().all(|&byte| byte == 0x5a));
    }
    for (count, length) in [(3, 5), (3, 7), (0, 1), (3, 3)] {
        let mut buffer = vec![0x5a; length];
        let said = model.read_weights(0, count, &mut buffer);
        assert_eq!(said.status, Status::WrongLength);
        assert!(buffer.iter().all(|&byte| byte == 0x5a));
    }
}

#[test]
fn ranges_that_leave_the_tensor_are_refused() {
    let model = model();
    for offset in [
        199_999,
        200_000,
        1 << 40,
        u64::MAX - 2,
        u64::MAX - 1,
        u64::MAX,
    ] {
        let said = model.read_bytes(offset, &mut [0, 0]);
        assert_eq!(said.status, Status::WrongLength, "{offset}");
    }
    for (first, count) in [
        (100_000, 1),
        (99_999, 2),
        (1, u64::MAX),
        (u64::MAX, 1),
        (u64::MAX, u64::MAX),
        (1 << 63, 1),
        (0, 1 << 63),
        (0, u64::MAX / 2 + 1),
    ] {
        let said = model.read_weights(first, count, &mut [0, 0]);
        assert_eq!(said.status, Status::WrongLength, "{first} {count}");
    }
    let mut byte = 0u8;
    let buffer: *mut c_void = (&raw mut byte).cast();
    for length in [usize::MAX, 1 << 63] {
        // SAFETY: the library refuses lengths that no memory has before it writes.
        let status =
            status(|error| unsafe { unweight_read_bytes(model.0, 0, 0, buffer, length, error) });
        assert_eq!(status, Status::InvalidArgument);
    }
}

#[test]
fn threads_share_a_model() {
    let (model, expected) = (model(), weights());
    thread::scope(|scope| {
        for number in 0..6u64 {
            let (model, expected) = (&model, &expected);
            scope.spawn(move || {
                for round in 0..5 {
                    let mut whole = vec![0; expected.len()];
                    assert_eq!(model.read_tensor(0, &mut whole).status, Status::Ok);
                    assert!(whole == *expected);
                    let start = 1000 * number + round;
                    let mut part = [0; 10_000];
                    assert_eq!(model.read_bytes(start, &mut part).status, Status::Ok);
                    assert!(part == expected[start as usize..][..10_000]);
                    assert_eq!(model.verify().status, Status::Ok);
                    assert_eq!(model.info(9).unwrap_err().status, Status::NoTensor);
                }
            });
        }
    });
}

#[test]
fn a_damaged_chunk_is_named_and_others_are_read() {
    let mut file = file();
    // A lane of the last record.
    let at = coded_payloads(&file)[0].records().end() as usize - 20;
    file[at] ^= 1;
    let model = open_memory(file.leak(), None).unwrap_or_else(|said| panic!("{said:?}"));
    let mut whole = vec![0; 200_000];
    for said in [model.verify(), model.read_tensor(0, &mut whole)] {
        assert_eq!(
            (said.status, &*said.rule),
            (Status::InvalidFile, "record-crc")
        );
        assert!(said.message.contains("\"w\""), "{}", said.message);
    }
    assert_eq!(
        model.read_bytes(0, &mut whole[..100_000]).status,
        Status::Ok
    );
    assert!(whole[..100_000] == weights()[..100_000]);
}
