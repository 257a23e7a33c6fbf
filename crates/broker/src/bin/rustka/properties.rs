//! Java's properties files: `key=value`, `key:value` or `key value` on a line, comments with `#` or `!`, escapes with
//! a backslash, which before the end of a line joins it with the next.

/// One setting and the line it begins on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Counted from 1.
    pub line: usize,
    /// The key.
    pub key: String,
    /// The value, without the white space around it.
    pub value: String,
}

/// Reads a file's text; the sentence for a broken escape names its line.
pub fn parse(text: &str) -> Result<Vec<Property>, String> {
    let mut properties = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, first)) = lines.next() {
        let line = at + 1;
        let first = first.trim_start();
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = first.to_owned();
        while is_continued(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, next)) => logical.push_str(next.trim_start()),
                None => break,
            }
        }
        let end = key_end(&logical);
        let (key, rest) = logical.split_at(end);
        let rest = rest.trim_start();
        let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
        let unescaped = |text: &str| {
            unescape(text).ok_or(format!(
                "line {line} has a \\u that is not followed by four hex digits"
            ))
        };
        properties.push(Property {
            line,
            key: unescaped(key)?,
            value: unescaped(rest.trim_start())?.trim_end().to_owned(),
        });
    }
    Ok(properties)
}

/// Whether the line ends with a backslash that is not itself escaped.
fn is_continued(line: &str) -> bool {
    let backslashes = line.bytes().rev().take_while(|byte| *byte == b'\\').count();
    backslashes % 2 == 1
}

fn key_end(line: &str) -> usize {
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '=' | ':' | ' ' | '\t' | '\x0c' => return at,
            _ => {}
        }
    }
    line.len()
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\x0c'),
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok()?;
                out.push(char::from_u32(code).filter(|_| digits.len() == 4)?);
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(usize, String, String)> {
        let properties = parse(text).unwrap().into_iter();
        properties.map(|p| (p.line, p.key, p.value)).collect()
    }

    fn one(text: &str) -> (String, String) {
        let (_, key, value) = pairs(text).pop().unwrap();
        (key, value)
    }

    #[test]
    fn files_are_read_as_java_reads_them() {
        let text =
            "# comment\n! comment\n\n a.b = c d \nx:y\nz 1\nlist=a,\\\n   b,\\\n  c\nlast=\n";
        let expected = [
            (4, "a.b", "c d"),
            (5, "x", "y"),
            (6, "z", "1"),
            (7, "list", "a,b,c"),
            (10, "last", ""),
        ];
        let expected = expected.map(|(line, key, value)| (line, key.to_owned(), value.to_owned()));
        assert_eq!(pairs(text), expected);
        assert_eq!(one("a\\=b=c\\\\"), ("a=b".to_owned(), "c\\".to_owned()));
        assert_eq!(one("k=\\u0041\\tx"), ("k".to_owned(), "A\tx".to_owned()));
        assert_eq!(one("k = = v"), ("k".to_owned(), "= v".to_owned()));
        assert_eq!(one("k=v\\"), ("k".to_owned(), "v".to_owned()));
        assert_eq!(one("k"), ("k".to_owned(), String::new()));
        assert!(parse("ok=1\nk=\\u00").unwrap_err().starts_with("line 2"));
        assert!(parse("k=\\ud800").is_err());
    }
}
