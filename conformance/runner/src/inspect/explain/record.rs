//! A record as text: its code, lanes and patches, and the costs of section 11.5.

use super::{checksum, line, numbers};
use crate::inspect::{
    code::{self, NONE},
    costs::{self, Counts},
    layout::{File, Parts, Tensor},
    record::{Kind, Record},
};

/// Weights of a tensor up to which the costs of its records are computed.
const MOST_WEIGHTS_FOR_COSTS: u64 = 1 << 22;

pub(super) fn record_lines(out: &mut String, record: &Record<'_>, palette: &[u8]) {
    let kind = match record.kind {
        Kind::Verbatim => "verbatim".to_owned(),
        Kind::Huffman => "huffman".to_owned(),
        Kind::Palette => "palette".to_owned(),
        Kind::Unknown(kind) => format!("kind {kind} (unknown)"),
    };
    line(
        out,
        4,
        &format!(
            "{kind}, {} bytes for {} weights, {} patches, checksum {}",
            record.bytes.len(),
            record.weights,
            record.patch_count(),
            checksum(record.crc, record.computed_crc)
        ),
    );
    if record.kind == Kind::Huffman {
        line(
            out,
            4,
            &format!("code lengths: {}", lengths(&record.code_lengths)),
        );
        line(
            out,
            4,
            &format!("codes: {}", codes(&record.code_lengths, palette)),
        );
        line(
            out,
            4,
            &format!("lane ends: {}", numbers(&record.lane_ends())),
        );
    }
    let patches = record.patches();
    if !patches.is_empty() {
        let shown = patches
            .iter()
            .take(32)
            .map(|(position, value)| format!("{position}: {value}"));
        let mut text = shown.collect::<Vec<_>>().join(", ");
        if patches.len() > 32 {
            text.push_str(", ...");
        }
        line(out, 4, &format!("patches (position: value): {text}"));
    }
    if let Err(problem) = record.values(palette) {
        line(out, 4, &format!("cannot be decoded: {problem}"));
    }
}

fn lengths(lengths: &[u8; 16]) -> String {
    let text = lengths.iter().map(|length| match *length {
        NONE => "-".to_owned(),
        length => length.to_string(),
    });
    text.collect::<Vec<_>>().join(" ")
}

/// Value and code of each entry that has one, the first bit of the stream at the left.
fn codes(lengths: &[u8; 16], palette: &[u8]) -> String {
    let text = code::codes(lengths)
        .into_iter()
        .map(|(entry, length, code)| {
            let value = palette.get(entry).map_or("?".to_owned(), u8::to_string);
            format!("{value}={}", code_digits(length, code))
        });
    text.collect::<Vec<_>>().join(" ")
}

pub(in crate::inspect) fn code_digits(length: u8, code: u32) -> String {
    match length {
        0 => "(no bits)".into(),
        length => format!("{code:0width$b}", width = usize::from(length)),
    }
}

/// The code that a canonical encoder has for each coded field with these values, unless they are too
/// many or a palette is invalid.
pub(in crate::inspect) fn field_codes(
    file: &File<'_>,
    tensor: &Tensor,
    parts: &Parts,
    values: &[Vec<u8>],
) -> Option<Vec<[u8; 16]>> {
    if parts.weights > MOST_WEIGHTS_FOR_COSTS {
        return None;
    }
    let codes = parts.coded.iter().zip(values).map(|(field, values)| {
        // An invalid palette may have a value twice, which would be counted twice.
        let palette = file
            .palette(tensor, parts, *field)
            .filter(|palette| palette.is_sorted_by(|one, next| one < next))?;
        Some(costs::choose_code(
            &costs::count(values),
            parts.weights,
            palette,
        ))
    });
    codes.collect()
}

pub(super) fn costs_line(
    out: &mut String,
    record: &Record<'_>,
    palette: &[u8],
    field_code: &[u8; 16],
) {
    if record.kind != Kind::Huffman {
        return;
    }
    let Ok(values) = record.values(palette) else {
        return;
    };
    let choice = Costs::of(&costs::count(&values), record.weights, palette, field_code);
    let has = if record.code_lengths == choice.own_code && record.code_lengths == *field_code {
        "both codes are the same, and the record has it"
    } else if record.code_lengths == *field_code {
        "the record has the field's code"
    } else if record.code_lengths == choice.own_code {
        "the record has the chunk's own code"
    } else {
        "the record has another code"
    };
    let takes = if choice.takes_own() {
        "the chunk's own"
    } else {
        "the field's"
    };
    line(
        out,
        4,
        &format!(
            "costs (11.5): t = {} bits with the field's code, o = {} with the chunk's own; a canonical encoder takes {takes}; {has}",
            choice.t, choice.o
        ),
    );
}

/// Costs by which an encoder chooses the code of a record (11.5).
pub(in crate::inspect) struct Costs {
    pub(in crate::inspect) t: u64,
    pub(in crate::inspect) o: u64,
    pub(in crate::inspect) own_code: [u8; 16],
}

impl Costs {
    pub(in crate::inspect) fn of(
        counts: &Counts,
        weights: u64,
        palette: &[u8],
        field_code: &[u8; 16],
    ) -> Self {
        let own_code = costs::choose_code(counts, weights, palette);
        Self {
            t: costs::cost(field_code, palette, counts),
            o: costs::cost(&own_code, palette, counts),
            own_code,
        }
    }

    pub(in crate::inspect) fn takes_own(&self) -> bool {
        256 * u128::from(self.o) < 255 * u128::from(self.t)
    }
}

/// What a record has of one weight, for the report of a difference.
pub(in crate::inspect) fn record_of_weight(
    record: &Record<'_>,
    palette: &[u8],
    position: u64,
) -> Vec<String> {
    let mut out = format!("  record at {:#x}:\n", record.at);
    record_lines(&mut out, record, palette);
    if record.kind == Kind::Huffman {
        let lane = (position % 256 / 8) as usize;
        let bytes: Vec<String> = record
            .lane(lane)
            .iter()
            .take(64)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        line(&mut out, 4, &format!("lane {lane}: {}", bytes.join(" ")));
    }
    if let Some((_, value)) = record.patches().iter().find(|(at, _)| *at == position) {
        line(
            &mut out,
            4,
            &format!("position {position} is patched with {value}"),
        );
    }
    out.lines().map(str::to_owned).collect()
}
