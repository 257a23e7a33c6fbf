//! Patterns in the syntax of RE2, in which Kafka takes those that clients send it (KIP-848, KIP-1152). They are put into the
//! syntax of `regex-lite`, which is as fast on every pattern but differs in what it takes.
//!
//! Classes such as `\pL` stand for their ASCII characters only; within brackets their complements are refused.

use std::iter::Peekable;
use std::str::Chars;

use regex_lite::{Regex, RegexBuilder};

/// What a compiled pattern may weigh.
const COMPILED_BYTES_MAX: usize = 64 << 10;
/// RE2 repeats nothing more often.
const REPEATS_MAX: u32 = 1_000;

/// What stands in the braces of a repetition is no longer.
const COUNTS_BYTES_MAX: usize = 24;

/// It is no pattern, or too large a one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidPattern;

/// A pattern that has to match a text from its first letter to its last.
pub fn whole(pattern: &str) -> Result<Regex, InvalidPattern> {
    let translated = Translation::of(pattern)?;
    let build = |pattern: &str| {
        let builder = RegexBuilder::new(pattern)
            .size_limit(COMPILED_BYTES_MAX)
            .build();
        builder.map_err(|_| InvalidPattern)
    };
    // Looked at by itself first: brackets must not be closed by ours.
    build(&translated)?;
    build(&format!("^(?:{translated})$"))
}

/// What a repetition would repeat.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Nothing,
    Item,
    Repetition,
}

struct Translation<'a> {
    rest: Peekable<Chars<'a>>,
    out: String,
    last: Last,
}

impl Translation<'_> {
    fn of(pattern: &str) -> Result<String, InvalidPattern> {
        let mut it = Translation {
            rest: pattern.chars().peekable(),
            out: String::new(),
            last: Last::Nothing,
        };
        while let Some(next) = it.rest.next() {
            it.take(next)?;
        }
        Ok(it.out)
    }

    fn item(&mut self, text: &str) {
        self.out.push_str(text);
        self.last = Last::Item;
    }

    fn take(&mut self, next: char) -> Result<(), InvalidPattern> {
        match next {
            '\\' => self.escape()?,
            '[' => self.class()?,
            '(' => self.group()?,
            '|' => {
                self.out.push('|');
                self.last = Last::Nothing;
            }
            '*' | '+' | '?' => self.repeat(&next.to_string())?,
            '{' => self.braces()?,
            // Without an opening one they stand for themselves.
            '}' | ']' => self.item(&format!("\\{next}")),
            other => self.item(other.encode_utf8(&mut [0; 4])),
        }
        Ok(())
    }

    fn repeat(&mut self, how: &str) -> Result<(), InvalidPattern> {
        if self.last != Last::Item {
            return Err(InvalidPattern);
        }
        self.out.push_str(how);
        // As little as possible.
        if self.rest.next_if_eq(&'?').is_some() {
            self.out.push('?');
        }
        self.last = Last::Repetition;
        Ok(())
    }

    fn braces(&mut self) -> Result<(), InvalidPattern> {
        let mut ahead = self.rest.clone();
        let mut inside = String::new();
        let is_closed = loop {
            match ahead.next() {
                Some('}') => break true,
                Some(next) if inside.len() < COUNTS_BYTES_MAX => inside.push(next),
                _ => break false,
            }
        };
        let Some(counts) = counts(&inside).filter(|_| is_closed) else {
            self.item("\\{");
            return Ok(());
        };
        let (least, most) = counts;
        let is_many = least.max(most.unwrap_or(0)) > REPEATS_MAX;
        if is_many || most.is_some_and(|most| most < least) {
            return Err(InvalidPattern);
        }
        self.rest = ahead;
        self.repeat(&format!("{{{inside}}}"))
    }

    fn group(&mut self) -> Result<(), InvalidPattern> {
        self.out.push('(');
        self.last = Last::Nothing;
        if self.rest.next_if_eq(&'?').is_none() {
            return Ok(());
        }
        self.out.push('?');
        for next in self.rest.by_ref() {
            self.out.push(next);
            match next {
                'i' | 'm' | 's' | 'U' | '-' | 'P' => {}
                ':' | ')' | '<' => return Ok(()),
                _ => return Err(InvalidPattern),
            }
        }
        Err(InvalidPattern)
    }

    fn escape(&mut self) -> Result<(), InvalidPattern> {
        match self.rest.next().ok_or(InvalidPattern)? {
            'Q' => {
                while let Some(next) = self.rest.next() {
                    if next == '\\' && self.rest.next_if_eq(&'E').is_some() {
                        break;
                    }
                    let literal = regex_lite::escape(next.encode_utf8(&mut [0; 4]));
                    self.item(&literal);
                }
            }
            kind @ ('p' | 'P') => {
                let (is_not, members) = self.named(kind)?;
                let not = if is_not { "^" } else { "" };
                self.item(&format!("[{not}{members}]"));
            }
            other => self.item(&format!("\\{other}")),
        }
        Ok(())
    }

    /// A class by its name: whether its complement is meant, and its members.
    fn named(&mut self, kind: char) -> Result<(bool, &'static str), InvalidPattern> {
        let name: String = match self.rest.next().ok_or(InvalidPattern)? {
            '{' => self.rest.by_ref().take_while(|next| *next != '}').collect(),
            letter => letter.to_string(),
        };
        let (is_not, name) = match name.strip_prefix('^') {
            Some(name) => (kind == 'p', name.to_owned()),
            None => (kind == 'P', name),
        };
        members(&name)
            .map(|members| (is_not, members))
            .ok_or(InvalidPattern)
    }

    fn class(&mut self) -> Result<(), InvalidPattern> {
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        // In the first place it stands for itself.
        if self.rest.next_if_eq(&']').is_some() {
            self.out.push_str("\\]");
        }
        while let Some(next) = self.rest.next() {
            match next {
                ']' => {
                    self.item("]");
                    return Ok(());
                }
                '[' if self.rest.peek() == Some(&':') => {
                    let mut ahead = self.rest.clone();
                    let name: String = ahead.by_ref().take_while(|next| *next != ']').collect();
                    match name.ends_with(':') && name.len() > 1 {
                        true => {
                            self.out.push_str(&format!("[{name}]"));
                            self.rest = ahead;
                        }
                        false => self.out.push_str("\\["),
                    }
                }
                '\\' => match self.rest.next().ok_or(InvalidPattern)? {
                    kind @ ('p' | 'P') => match self.named(kind)? {
                        (false, members) => self.out.push_str(members),
                        // There is no class within a class.
                        (true, _) => return Err(InvalidPattern),
                    },
                    other => self.out.extend(['\\', other]),
                },
                // Operators on classes, which RE2 has not.
                '[' | '&' | '~' => self.out.extend(['\\', next]),
                other => self.out.push(other),
            }
        }
        Err(InvalidPattern)
    }
}

/// What stands in the braces of a repetition, if it is one.
fn counts(inside: &str) -> Option<(u32, Option<u32>)> {
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().unwrap_or(u32::MAX))
    };
    match inside.split_once(',') {
        None => number(inside).map(|count| (count, Some(count))),
        Some((least, "")) => number(least).map(|least| (least, None)),
        Some((least, most)) => Some((number(least)?, Some(number(most)?))),
    }
}

/// The ASCII characters of a class.
fn members(name: &str) -> Option<&'static str> {
    Some(match name {
        "L" | "Latin" => "A-Za-z",
        "Lu" => "A-Z",
        "Ll" => "a-z",
        "N" | "Nd" => "0-9",
        "P" => r##"!-#%-*,-/:;?@\[-\]_\{\}"##,
        "Pc" => "_",
        "Pd" => r"\-",
        "Ps" => r"(\[\{",
        "Pe" => r")\]\}",
        "S" => r"$+<->\^`|\~",
        "Sc" => "$",
        "Sm" => r"+<->|\~",
        "Sk" => r"\^`",
        "Z" | "Zs" => " ",
        "C" | "Cc" => r"\x00-\x1F\x7F",
        "Any" => r"\x00-\u{10FFFF}",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it matches, if it is a pattern at all.
    fn matches(pattern: &str, text: &str) -> Option<bool> {
        whole(pattern).ok().map(|pattern| pattern.is_match(text))
    }

    #[test]
    fn a_pattern_matches_whole_texts() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a|ab", "ab", true),
            ("^a$", "a", true),
            (r"\Aa\z", "a", true),
            ("(?i)A.*", "abc", true),
            ("(?P<n>a+)b", "aab", true),
            ("a{2,3}?", "aaa", true),
            ("a{2", "a{2", true),
            ("a}]", "a}]", true),
            ("[[:alpha:]]+", "ab", true),
            ("[]a]+", "]a", true),
            ("[a[&~]+", "[&~", true),
            (r"[\w.-]+", "a.b-c", true),
        ] {
            assert_eq!(matches(pattern, text), Some(expected), "{pattern} {text}");
        }
    }

    #[test]
    fn what_only_re2_takes_is_taken() {
        for (pattern, text, expected) in [
            (r"\Qa.b\E", "a.b", true),
            (r"\Qa.b\E", "axb", false),
            (r"\Qa+b", "a+b", true),
            (r"\Qab\E+", "abb", true),
            (r"\pL+", "aB", true),
            (r"\p{Lu}", "a", false),
            (r"\P{Lu}", "a", true),
            (r"\p{^Nd}", "7", false),
            (r"[\pN_]+", "7_", true),
        ] {
            assert_eq!(matches(pattern, text), Some(expected), "{pattern} {text}");
        }
    }

    #[test]
    fn what_re2_refuses_is_refused() {
        let all = [
            "(",
            ")",
            "[",
            "[a",
            "(?=a)",
            "(?x)a",
            "a**",
            "a++",
            "a+{2}",
            "*",
            "a|*",
            "a{1001}",
            "a{0,1001}",
            "x{2,1}",
            r"\C",
            r"\h",
            r"(.*)\1",
            r"\px",
            r"\p{Nonsense}",
            "\\",
            "(?",
            "(?P",
        ];
        for pattern in all {
            assert_eq!(matches(pattern, ""), None, "{pattern}");
        }
        assert_eq!(matches(&"(a{1000}){1000}".repeat(3), ""), None, "too large");
    }
}
