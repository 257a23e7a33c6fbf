//! Login configurations as Kafka's users have them: the value of a `…sasl.jaas.config`, or a file with sections.
//!
//! `org.example.SomeLoginModule required key="value" other=value;`, in a file within `Name { … };`.

use std::collections::BTreeMap;

/// One login module and its options.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name of the Java class.
    pub module: String,
    /// What is set for it.
    pub options: BTreeMap<String, String>,
}

impl Entry {
    /// The module's name without its package, such as `PlainLoginModule`.
    pub fn short_name(&self) -> &str {
        self.module.rsplit('.').next().unwrap_or(&self.module)
    }

    /// The users of a PLAIN module: every `user_NAME="password"`.
    pub fn users(&self) -> impl Iterator<Item = (&str, &str)> {
        let users = self.options.iter();
        users.filter_map(|(key, password)| Some((key.strip_prefix("user_")?, password.as_str())))
    }
}

impl std::fmt::Debug for Entry {
    /// Without the options, which are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<&String> = self.options.keys().collect();
        f.debug_tuple("Entry")
            .field(&self.module)
            .field(&keys)
            .finish()
    }
}

/// Reads the value of a `…sasl.jaas.config`. A mistake is told in a sentence without the secrets.
pub fn parse_value(text: &str) -> Result<Vec<Entry>, String> {
    let mut tokens = Tokens::new(text);
    let mut entries = Vec::new();
    while tokens.peek()?.is_some() {
        entries.push(tokens.entry()?);
    }
    match entries.is_empty() {
        true => Err("it names no login module".to_owned()),
        false => Ok(entries),
    }
}

/// Reads a file of sections, by name.
pub fn parse_file(text: &str) -> Result<BTreeMap<String, Vec<Entry>>, String> {
    let mut tokens = Tokens::new(text);
    let mut sections = BTreeMap::new();
    while let Some(token) = tokens.next()? {
        let Token::Word(name) = token else {
            return Err(tokens.expected("the name of a section"));
        };
        tokens.symbol('{')?;
        let mut entries = Vec::new();
        while tokens.peek()? != Some(Token::Symbol('}')) {
            entries.push(tokens.entry()?);
        }
        tokens.symbol('}')?;
        tokens.symbol(';')?;
        if sections.insert(name.clone(), entries).is_some() {
            return Err(format!("section {name} is there twice"));
        }
    }
    Ok(sections)
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// Bare or quoted.
    Word(String),
    /// One of `{};=`.
    Symbol(char),
}

struct Tokens<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Tokens<'a> {
    fn new(text: &'a str) -> Tokens<'a> {
        Tokens {
            rest: text,
            line: 1,
        }
    }

    fn expected(&self, what: &str) -> String {
        format!("line {}: expected {what}", self.line)
    }

    fn skip(&mut self, bytes: usize) {
        let (skipped, rest) = self.rest.split_at(bytes);
        self.line += skipped.matches('\n').count();
        self.rest = rest;
    }

    /// Skips white space and comments.
    fn skip_blank(&mut self) -> Result<(), String> {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.skip(blank);
            if self.rest.starts_with("//") || self.rest.starts_with('#') {
                let line = self.rest.find('\n').unwrap_or(self.rest.len());
                self.skip(line);
            } else if self.rest.starts_with("/*") {
                let end = self.rest.find("*/");
                let end = end.ok_or_else(|| self.expected("the end of a comment, */"))?;
                self.skip(end + 2);
            } else {
                return Ok(());
            }
        }
    }

    fn peek(&mut self) -> Result<Option<Token>, String> {
        let (rest, line) = (self.rest, self.line);
        let token = self.next()?;
        (self.rest, self.line) = (rest, line);
        Ok(token)
    }

    fn next(&mut self) -> Result<Option<Token>, String> {
        self.skip_blank()?;
        let Some(first) = self.rest.chars().next() else {
            return Ok(None);
        };
        if matches!(first, '{' | '}' | ';' | '=') {
            self.skip(1);
            return Ok(Some(Token::Symbol(first)));
        }
        if matches!(first, '"' | '\'') {
            return self.quoted(first).map(Some);
        }
        let is_end = |c: char| c.is_whitespace() || matches!(c, '{' | '}' | ';' | '=' | '"');
        let end = self.rest.find(is_end).unwrap_or(self.rest.len());
        let word = self.rest[..end].to_owned();
        self.skip(end);
        Ok(Some(Token::Word(word)))
    }

    fn quoted(&mut self, quote: char) -> Result<Token, String> {
        let mut word = String::new();
        let mut characters = self.rest.char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            match character {
                '\n' => break,
                '\\' => match characters.next() {
                    Some((_, 'n')) => word.push('\n'),
                    Some((_, 't')) => word.push('\t'),
                    Some((_, escaped)) => word.push(escaped),
                    None => break,
                },
                end if end == quote => {
                    self.skip(at + end.len_utf8());
                    return Ok(Token::Word(word));
                }
                other => word.push(other),
            }
        }
        Err(self.expected("the end of a quoted value"))
    }

    fn symbol(&mut self, symbol: char) -> Result<(), String> {
        match self.next()? {
            Some(Token::Symbol(found)) if found == symbol => Ok(()),
            _ => Err(self.expected(&format!("'{symbol}'"))),
        }
    }

    fn word(&mut self, what: &str) -> Result<String, String> {
        match self.next()? {
            Some(Token::Word(word)) => Ok(word),
            _ => Err(self.expected(what)),
        }
    }

    fn entry(&mut self) -> Result<Entry, String> {
        let module = self.word("the name of a login module")?;
        let flag = self.word("'required' after the name of the login module")?;
        let flags = ["required", "requisite", "sufficient", "optional"];
        if !flags.iter().any(|known| flag.eq_ignore_ascii_case(known)) {
            return Err(self.expected("'required' after the name of the login module"));
        }
        let mut options = BTreeMap::new();
        loop {
            match self.next()? {
                Some(Token::Symbol(';')) => return Ok(Entry { module, options }),
                Some(Token::Word(key)) => {
                    self.symbol('=')?;
                    let value = self.word("a value after '='")?;
                    options.insert(key, value);
                }
                _ => return Err(self.expected("key=\"value\", or ';' after the last one")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_names_a_module_and_its_users() {
        let entries = parse_value(
            "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"admin\" \
             password=\"a;b\\\"c\" user_admin=\"a;b\" user_alice='x y'\n user_bob=bare ;",
        )
        .unwrap();
        assert_eq!(entries[0].short_name(), "PlainLoginModule");
        let users: Vec<_> = entries[0].users().collect();
        assert_eq!(users, [("admin", "a;b"), ("alice", "x y"), ("bob", "bare")]);
        assert_eq!(entries[0].options["password"], "a;b\"c");
        let shown = format!("{entries:?}");
        assert!(!shown.contains("a;b") && !shown.contains("bare"), "{shown}");
    }

    #[test]
    fn a_file_has_sections_and_comments() {
        let file = "// head\nKafkaServer {\n  /* two\n lines */ a.ScramLoginModule required;\n  a.PlainLoginModule required user_u=\"p\";\n};\n# other\nexternal.KafkaServer { a.PlainLoginModule required; };";
        let sections = parse_file(file).unwrap();
        let names: Vec<_> = sections["KafkaServer"]
            .iter()
            .map(Entry::short_name)
            .collect();
        assert_eq!(names, ["ScramLoginModule", "PlainLoginModule"]);
        assert!(sections.contains_key("external.KafkaServer"));
    }

    #[test]
    fn mistakes_are_told_with_their_line_and_without_secrets() {
        let cases = [
            ("", "no login module"),
            ("a.B", "line 1: expected 'required'"),
            ("a.B required x=\"hush", "end of a quoted value"),
            ("a.B required\n x \"hush\";", "line 2: expected '='"),
            ("a.B required x=\"hush\"", "';' after the last one"),
            ("a.B perhaps;", "'required'"),
            ("a.B required /* x", "end of a comment"),
        ];
        for (text, told) in cases {
            let error = parse_value(text).unwrap_err();
            assert!(
                error.contains(told) && !error.contains("hush"),
                "{text}: {error}"
            );
        }
        assert!(
            parse_file("K { a.B required; }")
                .unwrap_err()
                .contains("';'")
        );
        assert!(parse_file("K { }; K { };").unwrap_err().contains("twice"));
    }
}
