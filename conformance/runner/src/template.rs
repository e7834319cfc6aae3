//! Command templates: words as a POSIX shell would split them, with `{placeholders}`. No shell is
//! involved.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fmt,
};

/// A command, split into words, with its placeholders.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    words: Vec<Vec<Part>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Placeholder(String),
}

impl Template {
    /// Splits `text` into words, honouring quotes and backslashes. `{name}` with a name of a-z and
    /// _ is a placeholder; every other brace stands for itself. `input` and `output` must be there.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let fail = |problem: &str| TemplateError {
            template: text.to_owned(),
            problem: problem.to_owned(),
        };
        let words = shlex::split(text).ok_or_else(|| fail("a quote is not closed"))?;
        if words.is_empty() {
            return Err(fail(
                "it is empty; give a program with {input} and {output}",
            ));
        }
        let template = Self {
            words: words.iter().map(|word| parts(word)).collect(),
        };
        for needed in ["input", "output"] {
            if !template.placeholders().contains(needed) {
                return Err(fail(&format!("it has no {{{needed}}}")));
            }
        }
        Ok(template)
    }

    /// The names of all placeholders.
    pub(crate) fn placeholders(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        for part in self.words.iter().flatten() {
            if let Part::Placeholder(name) = part {
                names.insert(name.as_str());
            }
        }
        names
    }

    /// The words with each placeholder replaced; one without a value is an error that names it.
    pub(crate) fn fill<'a>(
        &self,
        value: impl Fn(&str) -> Option<&'a OsStr>,
    ) -> Result<Vec<OsString>, String> {
        let fill_word = |word: &Vec<Part>| {
            let mut filled = OsString::new();
            for part in word {
                match part {
                    Part::Literal(text) => filled.push(text),
                    Part::Placeholder(name) => {
                        filled.push(value(name).ok_or_else(|| name.clone())?)
                    }
                }
            }
            Ok(filled)
        };
        self.words.iter().map(fill_word).collect()
    }
}

fn parts(word: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = word;
    while let Some(brace) = rest.find('{') {
        let (before, from_brace) = rest.split_at(brace);
        literal.push_str(before);
        let inside = &from_brace[1..];
        let name = inside
            .split_once('}')
            .map(|(name, _)| name)
            .filter(|name| is_name(name));
        match name {
            Some(name) => {
                if !literal.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                }
                parts.push(Part::Placeholder(name.to_owned()));
                rest = &inside[name.len() + 1..];
            }
            None => {
                literal.push('{');
                rest = inside;
            }
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    parts
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// Error of an unusable command template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// The template.
    pub template: String,
    /// The problem.
    pub problem: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the command '{}' cannot be used: {}",
            self.template, self.problem
        )
    }
}

impl std::error::Error for TemplateError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str) -> Vec<String> {
        let value = |name: &str| match name {
            "input" => Some(OsStr::new("/a b/i.unw")),
            "output" => Some(OsStr::new("/o")),
            _ => None,
        };
        let words = Template::parse(template).unwrap().fill(value).unwrap();
        words
            .into_iter()
            .map(|word| word.into_string().unwrap())
            .collect()
    }

    #[test]
    fn splits_like_a_shell_and_keeps_filled_words_whole() {
        assert_eq!(filled("d {input} {output}"), ["d", "/a b/i.unw", "/o"]);
        assert_eq!(
            filled(r#"'my decoder' "x y" a\ b {input}{output}"#),
            ["my decoder", "x y", "a b", "/a b/i.unw/o"]
        );
        assert_eq!(
            filled("d --in={input} --out='{output}.x' ''"),
            ["d", "--in=/a b/i.unw", "--out=/o.x", ""]
        );
    }

    #[test]
    fn leaves_braces_that_name_nothing() {
        assert_eq!(
            filled("d {input} {output} {} {1} '{a b}' {{output}} {"),
            ["d", "/a b/i.unw", "/o", "{}", "{1}", "{a b}", "{/o}", "{"]
        );
    }

    #[test]
    fn refuses_a_template_without_input_output_or_words() {
        for (template, problem) in [
            ("", "empty"),
            ("d {output}", "no {input}"),
            ("d {input}", "no {output}"),
            ("d '{input} {output}", "quote"),
        ] {
            let error = Template::parse(template).unwrap_err();
            assert!(error.problem.contains(problem), "{error}");
        }
    }

    #[test]
    fn names_the_placeholder_that_has_no_value() {
        let template = Template::parse("e {input} {output} {chunk}").unwrap();
        assert_eq!(
            template.placeholders().into_iter().collect::<Vec<_>>(),
            ["chunk", "input", "output"]
        );
        assert_eq!(
            template.fill(|name| (name != "chunk").then_some(OsStr::new("x"))),
            Err("chunk".into())
        );
    }
}
