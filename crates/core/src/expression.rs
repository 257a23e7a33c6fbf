//! Regular expressions over names, of topics (KIP-848) and of transactional ids (KIP-1152), in the syntax of RE2, which
//! Kafka uses. Rust's engine is as linear but knows other syntax: what RE2 reads otherwise is written down for it in its own
//! words, and what RE2 refuses is refused here.

use regex::{Regex, RegexBuilder};

use crate::error::{ErrorCode, Refusal};

/// What a compiled expression may weigh, in bytes: enough for thousands of names in one.
const PROGRAM_BYTES_MAX: usize = 1 << 20;
/// RE2 repeats nothing more often.
const REPEATS_MAX: u32 = 1_000;
/// Groups within groups.
const NESTING_MAX: u32 = 100;
/// What an expression may weigh, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 16 << 10;

/// An expression that can be asked for names.
#[derive(Clone, Debug)]
pub struct Expression(Regex);

impl Expression {
    /// Reads an expression; refuses what RE2 refuses, and what would take too much memory.
    pub fn parse(text: &str) -> Result<Expression, Refusal> {
        let refused = |why: &str| {
            let told: String = text.escape_debug().take(100).collect();
            let message = format!("The regular expression \"{told}\" cannot be used: {why}.");
            Refusal::new(ErrorCode::InvalidRegularExpression, message)
        };
        if text.len() > EXPRESSION_BYTES_MAX {
            return Err(refused("it is longer than 16 KiB"));
        }
        let translated = Translator::new(text).translate().map_err(refused)?;
        let whole = format!("^(?:{translated})$");
        let built = RegexBuilder::new(&whole)
            .size_limit(PROGRAM_BYTES_MAX)
            .dfa_size_limit(PROGRAM_BYTES_MAX)
            .nest_limit(NESTING_MAX)
            .octal(true)
            .build();
        built.map(Expression).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => refused("it takes too much memory"),
            _ => refused("it is not one of RE2's"),
        })
    }

    /// Whether it matches the whole name.
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

/// Classes with names, such as `[[:digit:]]`.
const CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// Why an expression is refused.
type Why = &'static str;

const NOTHING_REPEATED: Why = "there is nothing to repeat";
const REPEATED_TWICE: Why = "something is repeated twice";
const REPEATED_TOO_OFTEN: Why = "something is repeated more than 1,000 times";
const UNKNOWN_FLAG: Why = "it has a flag that is none of i, m, s and U";
const UNKNOWN_ESCAPE: Why = "it has a backslash before a letter that means nothing";

/// Writes an expression of RE2 down for Rust's engine.
struct Translator<'a> {
    rest: &'a str,
    out: String,
    /// What stands before: something that can be repeated, a repetition, or nothing.
    before: Before,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Something,
    Repetition,
}

impl<'a> Translator<'a> {
    fn new(rest: &'a str) -> Translator<'a> {
        Translator {
            rest,
            out: String::with_capacity(rest.len() + 8),
            before: Before::Nothing,
        }
    }

    fn translate(mut self) -> Result<String, Why> {
        while let Some(first) = self.rest.chars().next() {
            match first {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.open()?,
                '|' => self.copy(1, Before::Nothing),
                ')' => self.copy(1, Before::Something),
                '*' | '+' | '?' => self.repeat(1)?,
                '{' => match counted(self.rest) {
                    Some((length, times)) if times.is_some_and(|times| times <= REPEATS_MAX) => {
                        self.repeat(length)?;
                    }
                    Some(_) => return Err(REPEATED_TOO_OFTEN),
                    None => self.literal(1),
                },
                '}' | ']' | '#' | '&' | '~' | '-' | ' ' => self.literal(1),
                other => self.copy(other.len_utf8(), Before::Something),
            }
        }
        Ok(self.out)
    }

    /// So many bytes as they are.
    fn copy(&mut self, length: usize, before: Before) {
        let (text, rest) = self.rest.split_at(length);
        self.out.push_str(text);
        self.rest = rest;
        self.before = before;
    }

    /// So many bytes that stand for themselves.
    fn literal(&mut self, length: usize) {
        let (text, rest) = self.rest.split_at(length);
        self.out.push_str(&regex::escape(text));
        self.rest = rest;
        self.before = Before::Something;
    }

    /// `*` and the like, with the `?` behind it that makes it take as little as it can.
    fn repeat(&mut self, length: usize) -> Result<(), Why> {
        match self.before {
            Before::Nothing => return Err(NOTHING_REPEATED),
            Before::Repetition => return Err(REPEATED_TWICE),
            Before::Something => {}
        }
        let is_lazy = self.rest[length..].starts_with('?');
        self.copy(length + usize::from(is_lazy), Before::Repetition);
        Ok(())
    }

    /// `(`, perhaps with a name or flags.
    fn open(&mut self) -> Result<(), Why> {
        let Some(inside) = self.rest.strip_prefix("(?") else {
            self.copy(1, Before::Nothing);
            return Ok(());
        };
        if inside.starts_with("P<") || inside.starts_with('<') {
            let from = inside.find('<').map_or(0, |at| at + 1);
            let name = inside[from..].split('>').next().unwrap_or_default();
            let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
            if name.is_empty() || !name.chars().all(is_word) {
                return Err("a group has no name that could be one");
            }
            // Names may begin with a digit there, so they are given others.
            let length = 2 + from + name.len() + 1;
            if self.rest.len() < length {
                return Err("a group has no name that could be one");
            }
            self.out.push_str("(?P<_");
            self.out.push_str(name);
            self.out.push('>');
            self.rest = &self.rest[length..];
            self.before = Before::Nothing;
            return Ok(());
        }
        let flags = inside.find([':', ')']).ok_or("a group is not closed")?;
        if !inside[..flags].chars().all(|flag| "imsU-".contains(flag)) {
            return Err(UNKNOWN_FLAG);
        }
        if let Some(rest) = inside.strip_prefix(')') {
            self.rest = rest;
            return Ok(());
        }
        // Flags without a group are nothing that could be repeated.
        self.copy(2 + flags + 1, Before::Nothing);
        Ok(())
    }

    /// A backslash and what it means.
    fn escape(&mut self) -> Result<(), Why> {
        let mut letters = self.rest.chars();
        letters.next();
        let letter = letters.next().ok_or("it ends with a backslash")?;
        match letter {
            'Q' => {
                let quoted = &self.rest[2..];
                let (text, rest) = quoted.split_once("\\E").unwrap_or((quoted, ""));
                self.out.push_str(&regex::escape(text));
                self.rest = rest;
                if !text.is_empty() {
                    self.before = Before::Something;
                }
                Ok(())
            }
            'b' | 'B' | 'A' | 'z' => {
                self.copy(2, Before::Something);
                // RE2 has no \b{start}.
                if self.rest.starts_with('{') && counted(self.rest).is_none() {
                    self.literal(1);
                }
                Ok(())
            }
            'd' | 'D' | 's' | 'S' | 'w' | 'W' | 'a' | 'f' | 't' | 'n' | 'r' | 'v' => {
                self.copy(2, Before::Something);
                Ok(())
            }
            'x' | 'p' | 'P' => {
                let length = braced(self.rest).unwrap_or(match letter {
                    'x' => 4,
                    _ => 3,
                });
                if !self.rest.is_char_boundary(length) || self.rest.len() < length {
                    return Err(UNKNOWN_ESCAPE);
                }
                if let Some(class) = self.rest[2..length].strip_prefix("{^") {
                    // All but that class, or that class after all.
                    self.out
                        .push_str(if letter == 'p' { "\\P{" } else { "\\p{" });
                    self.out.push_str(class);
                    self.rest = &self.rest[length..];
                    self.before = Before::Something;
                    return Ok(());
                }
                self.copy(length, Before::Something);
                Ok(())
            }
            '0'..='7' => self.octal(),
            letter if letter.is_ascii_alphanumeric() || !letter.is_ascii() => Err(UNKNOWN_ESCAPE),
            _ => {
                self.rest = &self.rest[1..];
                self.literal(letter.len_utf8());
                Ok(())
            }
        }
    }

    /// `\0`, or one to three digits; a single other digit would name a group again, which RE2 does not do.
    fn octal(&mut self) -> Result<(), Why> {
        let digits = self.rest[1..].bytes().take(3);
        let count = digits
            .take_while(|digit| (b'0'..=b'7').contains(digit))
            .count();
        if count == 1 && !self.rest.starts_with("\\0") {
            return Err(UNKNOWN_ESCAPE);
        }
        let code = u32::from_str_radix(&self.rest[1..=count], 8).unwrap_or(0);
        self.out.push_str(&format!("\\x{{{code:x}}}"));
        self.rest = &self.rest[1 + count..];
        self.before = Before::Something;
        Ok(())
    }

    /// `[…]`. What has a meaning there in Rust alone stands for itself.
    fn class(&mut self) -> Result<(), Why> {
        let unclosed = "a class is not closed";
        self.copy(1, Before::Something);
        if self.rest.starts_with('^') {
            self.copy(1, Before::Something);
        }
        let (mut is_first, mut was_dash) = (true, false);
        loop {
            let letter = self.rest.chars().next().ok_or(unclosed)?;
            match letter {
                ']' if !is_first => {
                    self.copy(1, Before::Something);
                    return Ok(());
                }
                '[' if self.rest.starts_with("[:") && self.rest[2..].contains(":]") => {
                    let end = self.rest[2..].find(":]").map_or(2, |at| at + 2);
                    let name = &self.rest[2..end];
                    if !CLASSES.contains(&name.strip_prefix('^').unwrap_or(name)) {
                        return Err("it names a class that there is not");
                    }
                    self.copy(end + 2, Before::Something);
                }
                '\\' if self.rest[1..].starts_with(['Q', 'b', 'B', 'A', 'z']) => {
                    return Err(UNKNOWN_ESCAPE);
                }
                '\\' => self.escape()?,
                // Two of them would take one class from another.
                '-' if !is_first && !was_dash => {
                    self.copy(1, Before::Something);
                    was_dash = true;
                    continue;
                }
                '-' | '[' | ']' | '&' | '~' | '^' => {
                    self.out.push('\\');
                    self.copy(1, Before::Something);
                }
                other => self.copy(other.len_utf8(), Before::Something),
            }
            (is_first, was_dash) = (false, false);
        }
    }
}

/// The length of `{n}`, `{n,}` or `{n,m}` at the beginning and the greatest number in it; `None` where it is none.
fn counted(text: &str) -> Option<(usize, Option<u32>)> {
    let end = text.find('}')?;
    let inside = &text[1..end];
    let (least, most) = inside.split_once(',').unwrap_or((inside, inside));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(least) || !(most.is_empty() || is_number(most)) {
        return None;
    }
    let number = |text: &str| text.parse::<u32>().ok();
    let times = match most {
        "" => number(least),
        most => number(least).zip(number(most)).and_then(|(least, most)| {
            // The other way round it is refused like too many.
            (least <= most).then_some(most)
        }),
    };
    Some((end + 1, times))
}

/// The length of an escape with braces, such as `\p{Lu}`.
fn braced(text: &str) -> Option<usize> {
    let is_braced = text[2..].starts_with('{');
    is_braced.then(|| text.find('}').map(|at| at + 1)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(expression: &str, name: &str) -> bool {
        Expression::parse(expression).unwrap().matches(name)
    }

    #[test]
    fn an_expression_matches_whole_names() {
        assert!(matches("ab|c", "ab") && matches("ab|c", "c"));
        assert!(!matches("ab", "abc") && !matches("ab", "xab"));
        assert!(matches("", "") && !matches("", "a"));
    }

    #[test]
    fn what_only_rust_knows_stands_for_itself() {
        assert!(matches("[a&&b]+", "a&b"));
        assert!(matches("[a[]+", "a[a"));
        assert!(matches("\\Qa.c\\E", "a.c") && !matches("\\Qa.c\\E", "abc"));
        assert!(matches("a{,2}b", "a{,2}b"));
    }

    #[test]
    fn what_only_re2_knows_is_known() {
        for (expression, name, expected) in [
            (r"\Qa+b", "a+b", true),
            (r"\Qab\E+", "abb", true),
            (r"\pL+", "aB", true),
            (r"\p{Lu}", "a", false),
            (r"\P{Lu}", "a", true),
            (r"\p{^Nd}", "7", false),
            (r"[\pN_]+", "7_", true),
            ("a{2", "a{2", true),
            ("a}]", "a}]", true),
            ("[]a]+", "]a", true),
            ("[[:alpha:]]+", "ab", true),
        ] {
            assert_eq!(
                matches(expression, name),
                expected,
                "{expression} for {name}"
            );
        }
    }

    #[test]
    fn what_re2_refuses_is_refused() {
        for expression in [
            "a**", "*a", "a{1001}", "(?x)a", "(?=a)", "\\1", "\\Z", "[z-a]", "(a",
        ] {
            let refused = Expression::parse(expression).unwrap_err();
            assert_eq!(
                refused.code,
                ErrorCode::InvalidRegularExpression,
                "{expression}"
            );
        }
    }

    #[test]
    fn no_expression_makes_it_stumble() {
        let letters = [
            '\\', '[', ']', ':', '^', '-', '(', ')', '?', '{', '}', 'Q', 'p', '1', 'é',
        ];
        let count = letters.len();
        for number in 0..count.pow(4) {
            let letter = |at: u32| letters[number / count.pow(at) % count];
            let text: String = (0..4).map(letter).collect();
            // Whatever it says of it.
            let _told = Translator::new(&text).translate();
        }
    }

    // An expression of a few letters could make the broker build an automaton of gigabytes, for whoever sent it.
    #[test]
    fn an_expression_that_grows_is_refused() {
        assert!(Expression::parse("((a{100}){100}){100}").is_err());
        assert!(Expression::parse(&"a".repeat(EXPRESSION_BYTES_MAX + 1)).is_err());
        assert!(Expression::parse(&"(".repeat(5_000)).is_err());
    }
}
