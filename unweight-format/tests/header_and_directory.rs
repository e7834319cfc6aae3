//! Parsing and rejection of variants of the worked example's header and directory.

use unweight_format::{Category, Directory, Dtype, Encoding, Error, FileHeader, Payload, Rule};

const EXAMPLE: &[u8] = include_bytes!("data/example.unw");

fn parse(file: &[u8]) -> Result<(), Error> {
    let header = FileHeader::parse(file)?;
    header.require_file_length(file.len() as u64)?;
    let directory = header.directory().of(file).expect("the length was checked");
    Directory::parse(&header, directory).map(|_| ())
}

#[test]
fn the_directory_says_what_the_example_says() {
    let header = FileHeader::parse(EXAMPLE).unwrap();
    let directory = Directory::parse(&header, header.directory().of(EXAMPLE).unwrap()).unwrap();
    let [w, step] = [0, 1].map(|number| directory.tensor(number).unwrap());
    assert_eq!(
        (w.name(), w.dtype(), w.encoding()),
        ("w", Dtype::Bf16, Encoding::Huffman)
    );
    assert_eq!(w.shape().collect::<Vec<_>>(), [5, 51]);
    assert_eq!(
        (step.name(), step.dtype(), step.encoding()),
        ("step", Dtype::I64, Encoding::Raw)
    );
    assert_eq!(
        (step.shape().len(), step.element_count(), step.data_bytes()),
        (0, 1, 8)
    );
    let Payload::Coded(planes) = w.payload() else {
        panic!("w is coded")
    };
    assert_eq!(planes.sign_mantissa().offset, 512);
    assert_eq!(planes.record_ends().offset, 768);
    assert_eq!(
        (planes.records().offset, planes.records().length),
        (784, 160)
    );
    assert_eq!(planes.palette().base(), Some(111));
    let Payload::Raw(plane) = step.payload() else {
        panic!("step is raw")
    };
    assert_eq!(
        (plane.data().offset, plane.checksums().offset),
        (1024, 1032)
    );

    assert_eq!(directory.find("step").unwrap().number(), 1);
    assert_eq!(directory.find("w").unwrap().number(), 0);
    for absent in ["", "a", "stepp", "x"] {
        assert!(directory.find(absent).is_none(), "{absent:?}");
    }
    assert!(directory.tensor(2).is_none());
}

#[test]
fn every_strict_prefix_is_truncated_and_says_how_much_is_missing() {
    for length in 0..EXAMPLE.len() {
        let error = parse(&EXAMPLE[..length]).unwrap_err();
        assert_eq!(
            error.rule.category(),
            Category::Truncated,
            "{length}: {error}"
        );
        let needed = if length < 64 { 64 } else { EXAMPLE.len() };
        assert_eq!(error.missing_bytes(), Some((needed - length) as u64));
    }
}

#[test]
fn every_bit_of_header_and_directory_counts() {
    let header = FileHeader::parse(EXAMPLE).unwrap();
    for bit in 0..8 * header.directory().end() as usize {
        let mut file = EXAMPLE.to_vec();
        file[bit / 8] ^= 1 << (bit % 8);
        assert!(parse(&file).is_err(), "bit {bit}");
    }
}

#[test]
fn a_byte_behind_the_end_is_rejected() {
    let mut file = EXAMPLE.to_vec();
    file.push(0);
    assert_eq!(parse(&file).unwrap_err().rule, Rule::FileTrailing);
}

#[test]
fn a_text_file_is_told_from_a_short_one() {
    let error = FileHeader::parse(b"hello").unwrap_err();
    assert_eq!(
        (error.rule, error.offset, error.found),
        (Rule::FileMagic, 0, u64::from(b'h'))
    );
    assert_eq!(
        FileHeader::parse(b"\x89UN").unwrap_err().rule,
        Rule::FileTruncated
    );
    assert_eq!(
        FileHeader::parse(b"").unwrap_err().rule,
        Rule::FileTruncated
    );
}

#[test]
fn a_later_major_version_is_unsupported_whatever_else_it_holds() {
    let mut file = EXAMPLE.to_vec();
    file[8] = 2;
    file[20..60].fill(0xff);
    let error = parse(&file).unwrap_err();
    assert_eq!(
        (error.rule, error.rule.category()),
        (Rule::FileVersion, Category::Unsupported)
    );
    assert_eq!(
        error.to_string(),
        "file-version at byte 8: found 2, expected 1; the major version is not 1"
    );
}
