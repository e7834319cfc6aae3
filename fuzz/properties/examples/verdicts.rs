//! Writes damaged containers, and what the crate makes of them, for a comparison with decoders in
//! other languages: `cargo run -p unweight-properties --example verdicts FOLDER [COUNT]`.
//!
//! `FOLDER/N.unw` is a container. `FOLDER/verdicts.txt` has a line for each: the number, and the
//! CRC-32 and length of the restored bytes or the name of a broken rule.

use std::io::{self, Write};
use std::path::PathBuf;
use std::{env, fs};

use unweight_format::crc32;
use unweight_properties::any_container;
use unweight_testkit::{Random, restored};

fn main() -> io::Result<()> {
    let mut arguments = env::args_os().skip(1);
    let folder = PathBuf::from(arguments.next().expect("a folder"));
    let count: u64 = arguments.next().map_or(1_000, |count| {
        count
            .to_str()
            .and_then(|count| count.parse().ok())
            .expect("a number")
    });
    fs::create_dir_all(&folder)?;
    let mut verdicts = io::BufWriter::new(fs::File::create(folder.join("verdicts.txt"))?);
    let mut accepted = 0;
    for number in 0..count {
        let mut random = Random::new(number);
        let length = 200 + random.below(800) as usize;
        let file = any_container(&random.bytes(length));
        fs::write(folder.join(format!("{number}.unw")), &file)?;
        match restored(&file[..]) {
            Ok(bytes) => {
                accepted += 1;
                writeln!(verdicts, "{number} {:08x} {}", crc32(&bytes), bytes.len())?;
            }
            Err(error) => {
                let rule = error.rule().expect("memory does not fail");
                writeln!(verdicts, "{number} rejected {}", rule.id())?;
            }
        }
    }
    println!("{count} containers, {accepted} of them valid");
    verdicts.flush()
}
