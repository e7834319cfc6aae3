//! Valid files. Each module has the cases of one section of the specification. The draft gives the
//! expected result.

mod large;
mod s3_1_file_header;
mod s3_2_directory;
mod s3_3_source;
mod s3_4_extensions;
mod s3_5_payload;
mod s4_2_fields;
mod s4_tensors;
mod s5_records;
mod s6_code;
mod s7_weights;
mod text;

use crate::case::Cases;

/// Adds the cases.
pub fn add(cases: &mut Cases) {
    s3_1_file_header::add(cases);
    s3_2_directory::add(cases);
    s3_3_source::add(cases);
    s3_4_extensions::add(cases);
    s3_5_payload::add(cases);
    s4_2_fields::add(cases);
    s4_tensors::add(cases);
    s5_records::add(cases);
    s6_code::add(cases);
    s7_weights::add(cases);
    text::add(cases);
    large::add(cases);
}
