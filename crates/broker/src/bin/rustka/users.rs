//! Users from the command line, the environment or a file: `NAME:PASSWORD`. No sentence here repeats a password.

/// What makes a user.
const EXPECTED: &str = "NAME:PASSWORD, neither of them empty";

/// Reads one `NAME:PASSWORD`; the name ends at the first colon. What is expected instead where it makes no user.
pub fn parse_one(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, password)) if !name.is_empty() && !password.is_empty() => {
            Ok((name.to_owned(), password.to_owned()))
        }
        _ => Err(EXPECTED.to_owned()),
    }
}

/// Reads a file with one user in each line; empty lines and those that begin with `#` are skipped. What is expected
/// instead where it cannot be read.
pub fn read(path: &str) -> Result<Vec<(String, String)>, String> {
    let cannot = |why: String| format!("a file that can be read, which {path} is not: {why}");
    let text = crate::files::read(path).map_err(cannot)?;
    parse(&text, path)
}

fn parse(text: &str, path: &str) -> Result<Vec<(String, String)>, String> {
    let lines = text.lines().map(str::trim).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(at, line)| {
            let place = |expected| format!("{expected}, in line {} of {path}", at + 1);
            parse_one(line).map_err(place)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_user_in_each_line() {
        let users = parse("# people\nalice:a:b\n\n  bob:secret  \n", "f").unwrap();
        let expected = [("alice", "a:b"), ("bob", "secret")];
        assert_eq!(users, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
        for wrong in ["alice", "alice:", ":hush", "ok:x\nhush"] {
            let error = parse(wrong, "f").unwrap_err();
            assert!(
                error.contains("NAME:PASSWORD") && !error.contains("hush"),
                "{error}"
            );
        }
        assert!(
            parse("ok:x\nhush", "f")
                .unwrap_err()
                .ends_with("in line 2 of f")
        );
    }
}
