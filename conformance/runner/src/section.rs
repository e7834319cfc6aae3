//! Section numbers of the specification, such as `4.2`, ordered as the document orders them.

use std::{fmt, str::FromStr};

/// The number of a section: `6` or `11.4`. `9` comes before `10`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Section(Vec<u32>);

impl Section {
    /// Whether this is the section `outer`, or one within it: 3.2 is within 3.
    pub fn is_within(&self, outer: &Section) -> bool {
        self.0.starts_with(&outer.0)
    }
}

impl FromStr for Section {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| {
            let digits = !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_digit())
                && !part.starts_with('0');
            digits.then(|| part.parse().ok()).flatten()
        };
        text.split('.')
            .map(number)
            .collect::<Option<Vec<u32>>>()
            .map(Section)
            .ok_or_else(|| format!("{text:?} is not a section number; write it like \"4.2\""))
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, number) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(".")?;
            }
            write!(f, "{number}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_by_number_and_not_by_letter() {
        let mut sections: Vec<Section> = ["11.4", "3.10", "6", "3.2", "3"]
            .map(|s| s.parse().unwrap())
            .into();
        sections.sort();
        let sorted: Vec<String> = sections.iter().map(Section::to_string).collect();
        assert_eq!(sorted, ["3", "3.2", "3.10", "6", "11.4"]);
    }

    #[test]
    fn a_section_is_within_itself_and_what_holds_it() {
        let within = |inner: &str, outer: &str| {
            let outer = outer.parse().unwrap();
            inner.parse::<Section>().unwrap().is_within(&outer)
        };
        assert!(within("3.2", "3.2") && within("3.2", "3"));
        assert!(!within("3", "3.2") && !within("11", "1"));
    }

    #[test]
    fn refuses_what_is_no_section_number() {
        for text in ["", ".", "3.", ".3", "0.1", "03", "3a", "+3", "99999999999"] {
            assert!(text.parse::<Section>().is_err(), "{text:?}");
        }
    }
}
