//! `ssl.principal.mapping.rules`: how the name in a client's certificate becomes the name of a user.

use regex_lite::Regex;

/// The rules, in the order in which they are tried.
#[derive(Clone, Debug)]
pub struct MappingRules(Vec<Rule>);

#[derive(Clone, Debug)]
enum Rule {
    /// The name as it is.
    Default,
    Replace {
        pattern: Regex,
        replacement: String,
        case: Case,
    },
}

#[derive(Clone, Copy, Debug)]
enum Case {
    Kept,
    Lower,
    Upper,
}

impl Default for MappingRules {
    fn default() -> Self {
        MappingRules(vec![Rule::Default])
    }
}

impl MappingRules {
    /// Reads `RULE:pattern/replacement/[LU]` and `DEFAULT`, with commas between them. A slash within a pattern is
    /// written `\/`.
    pub fn parse(text: &str) -> Result<MappingRules, String> {
        let mut rules = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (rule, after) = match rest.strip_prefix("RULE:") {
                Some(rule) => replace(rule)?,
                None => match rest.strip_prefix("DEFAULT") {
                    Some(after) => (Rule::Default, after),
                    None => {
                        return Err("expected RULE:pattern/replacement/[LU] or DEFAULT".to_owned());
                    }
                },
            };
            rules.push(rule);
            rest = after.trim_start();
            if !rest.is_empty() {
                rest = rest
                    .strip_prefix(',')
                    .ok_or("expected a comma between two rules")?
                    .trim_start();
            }
        }
        match rules.is_empty() {
            true => Ok(MappingRules::default()),
            false => Ok(MappingRules(rules)),
        }
    }

    /// The user's name for a distinguished name; none where no rule fits, which lets nobody in.
    pub fn name(&self, distinguished: &str) -> Option<String> {
        self.0.iter().find_map(|rule| rule.apply(distinguished))
    }
}

/// One rule after `RULE:`, and what follows it.
fn replace(text: &str) -> Result<(Rule, &str), String> {
    let (pattern, rest) = until_slash(text).ok_or("expected a slash after a rule's pattern")?;
    let (replacement, rest) =
        until_slash(rest).ok_or("expected a slash after a rule's replacement")?;
    let (case, rest) = match rest.as_bytes().first() {
        Some(b'L') => (Case::Lower, &rest[1..]),
        Some(b'U') => (Case::Upper, &rest[1..]),
        _ => (Case::Kept, rest),
    };
    let pattern = Regex::new(&pattern.replace("\\/", "/"))
        .map_err(|error| format!("'{}' is no pattern: {error}", pattern.escape_debug()))?;
    let replacement = replacement.replace("\\/", "/");
    let rule = Rule::Replace {
        pattern,
        replacement,
        case,
    };
    Ok((rule, rest))
}

/// What stands before the next slash without a backslash, and what after it.
fn until_slash(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'/' if !escaped => return Some((&text[..at], &text[at + 1..])),
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    None
}

impl Rule {
    fn apply(&self, name: &str) -> Option<String> {
        let Rule::Replace {
            pattern,
            replacement,
            case,
        } = self
        else {
            return Some(name.to_owned());
        };
        // A rule has to fit from the beginning; then every place that it fits is replaced.
        pattern.find(name).filter(|found| found.start() == 0)?;
        let mapped = pattern.replace_all(name, |captures: &regex_lite::Captures<'_>| {
            expand(replacement, captures)
        });
        Some(match case {
            Case::Kept => mapped.into_owned(),
            Case::Lower => mapped.to_lowercase(),
            Case::Upper => mapped.to_uppercase(),
        })
    }
}

/// Puts groups in the place of `$1` to `$9`.
fn expand(replacement: &str, captures: &regex_lite::Captures<'_>) -> String {
    let mut expanded = String::new();
    let mut characters = replacement.chars().peekable();
    while let Some(character) = characters.next() {
        let group = characters
            .peek()
            .filter(|_| character == '$')
            .and_then(|next| next.to_digit(10));
        match group {
            Some(group) => {
                characters.next();
                let group = captures.get(group as usize);
                expanded.push_str(group.map_or("", |group| group.as_str()));
            }
            None => expanded.push(character),
        }
    }
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "CN=alice,OU=Dev,O=Acme\\, Inc.,L=Ville,ST=Region,C=FR";

    fn name(rules: &str, distinguished: &str) -> Option<String> {
        MappingRules::parse(rules).unwrap().name(distinguished)
    }

    #[test]
    fn the_first_rule_that_fits_from_the_beginning_names_the_user() {
        let lower = "RULE:^CN=([^,]*),.*$/$1/L,DEFAULT";
        assert_eq!(name(lower, ALICE).as_deref(), Some("alice"));
        assert_eq!(name(lower, "O=x").as_deref(), Some("O=x"));
        let upper = "RULE:^CN=([^,]*),OU=([^,]*),.*$/$1@$2/U";
        assert_eq!(name(upper, ALICE).as_deref(), Some("ALICE@DEV"));
        assert_eq!(name(upper, "O=x"), None);
        assert_eq!(name("", ALICE).as_deref(), Some(ALICE));
        assert_eq!(name("DEFAULT", ALICE).as_deref(), Some(ALICE));
        assert_eq!(name("RULE:OU=.*/x/", ALICE), None);
        assert_eq!(name("RULE:^.*$//", ALICE).as_deref(), Some(""));
        assert_eq!(
            name("RULE:^a\\/(.*)$/$1\\/b/ , DEFAULT", "a/c").as_deref(),
            Some("c/b")
        );
    }

    #[test]
    fn a_rule_that_makes_no_sense_is_told() {
        for (rules, told) in [
            ("RULE:a", "pattern"),
            ("RULE:a/b", "replacement"),
            ("RULE:(/b/", "no pattern"),
            ("RULE:a/b/X", "comma"),
            ("default", "DEFAULT"),
        ] {
            let error = MappingRules::parse(rules).unwrap_err();
            assert!(error.contains(told), "{rules}: {error}");
        }
    }
}
