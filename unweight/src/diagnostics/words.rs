//! Numbers, lists and names in messages.

/// Formats a number of bytes with marked thousands.
pub(crate) fn bytes(count: u64) -> String {
    let digits = count.to_string();
    let mut marked = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            marked.push(',');
        }
        marked.push(digit);
    }
    marked
}

/// First few items of a list, and the number of the others.
pub(crate) fn listed(items: impl ExactSizeIterator<Item = String>) -> String {
    const SHOWN: usize = 5;
    let more = items.len().saturating_sub(SHOWN);
    let mut words = items.take(SHOWN).collect::<Vec<_>>().join(", ");
    if more > 0 {
        words += &format!(" and {more} more");
    }
    words
}

/// A name, shortened for messages.
pub(crate) fn cut(name: &str) -> String {
    const SHOWN_CHARACTERS: usize = 100;
    match name.char_indices().nth(SHOWN_CHARACTERS) {
        None => name.to_owned(),
        Some((end, _)) => format!("{}…", &name[..end]),
    }
}
