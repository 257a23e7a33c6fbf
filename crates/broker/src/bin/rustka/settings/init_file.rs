//! `--init-file`: topics, users and ACLs that are to be there when the broker has started, in YAML.
//!
//! `docs/init-file.md` tells people what may stand there. A name that is not known, a value that cannot be: all of it is
//! told at once, and nothing is done.

use crate::cli::acl_words;
use rustka::init::{Init, InitTopic, InitUser};
use rustka_core::config::{Scope, check_value, find_key, unknown_key};
use rustka_core::security::acl::{Acl, CLUSTER, Pattern, Permission, RawAcl, ResourceType};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    topics: Vec<Topic>,
    #[serde(default)]
    users: Vec<User>,
    #[serde(default)]
    acls: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Topic {
    name: String,
    partitions: Option<u32>,
    #[serde(default)]
    configs: BTreeMap<String, Scalar>,
}

/// What a config is set to; YAML tells numbers from words.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Truth(bool),
    Whole(i64),
    Fraction(f64),
    Text(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct User {
    name: String,
    password: Option<String>,
    password_file: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Rule {
    principal: String,
    host: Option<String>,
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    deny: Vec<String>,
    topic: Option<String>,
    group: Option<String>,
    transactional_id: Option<String>,
    delegation_token: Option<String>,
    user: Option<String>,
    #[serde(default)]
    cluster: bool,
    #[serde(default)]
    prefixed: bool,
}

/// Reads a file. What is wrong with it ends a sentence that begins with what was expected.
pub fn read(path: &str) -> Result<Init, String> {
    let cannot = |why: String| format!("a file that can be read, which {path} is not: {why}");
    let text = crate::files::read(path).map_err(cannot)?;
    parse(&text)
}

fn parse(text: &str) -> Result<Init, String> {
    let expected = "topics, users and acls as docs/init-file.md has them";
    let file: File = serde_saphyr::from_str(text).map_err(|error| {
        // Of several lines the first says what and where; the others quote the file, with its passwords.
        let error = error.to_string();
        format!("{expected}: {}", error.lines().next().unwrap_or_default())
    })?;
    let mut mistakes = Vec::new();
    let mut keep = |mistake: String| mistakes.push(mistake);
    let mut init = Init::default();
    for topic in file.topics {
        init.topics.extend(checked_topic(topic, &mut keep));
    }
    for user in file.users {
        init.users.extend(checked_user(user, &mut keep));
    }
    for rule in &file.acls {
        init.acls.extend(checked_rule(rule, &mut keep));
    }
    match mistakes.is_empty() {
        true => Ok(init),
        false => Err(format!("{expected}: {}", mistakes.join("; "))),
    }
}

fn checked_topic(topic: Topic, keep: &mut dyn FnMut(String)) -> Option<InitTopic> {
    let of = |why: &str| format!("topic {}: {why}", topic.name.escape_debug());
    if topic.partitions == Some(0) {
        keep(of("it needs at least one partition"));
    }
    let mut configs = Vec::new();
    for (key, value) in &topic.configs {
        let value = match value {
            Scalar::Truth(truth) => truth.to_string(),
            Scalar::Whole(number) => number.to_string(),
            Scalar::Fraction(number) => number.to_string(),
            Scalar::Text(text) => text.clone(),
        };
        let checked = match find_key(Scope::Topic, key) {
            Some(known) => check_value(known, &value),
            None => Err(unknown_key(Scope::Topic, key)),
        };
        match checked {
            Ok(value) => configs.push((key.clone(), value.into())),
            Err(refusal) => keep(of(&refusal.message.unwrap_or_default())),
        }
    }
    Some(InitTopic {
        name: topic.name,
        partitions: topic.partitions,
        configs,
    })
}

fn checked_user(user: User, keep: &mut dyn FnMut(String)) -> Option<InitUser> {
    let password = match (user.password, user.password_file) {
        (Some(password), None) => Ok(password),
        (None, Some(path)) => crate::files::read(&path)
            .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
            .map_err(|why| format!("{path} cannot be read: {why}")),
        _ => Err("it needs a password or a password-file, and not both".to_owned()),
    };
    let password = password.and_then(|password| match password.is_empty() {
        true => Err("its password is empty".to_owned()),
        false => Ok(password),
    });
    match password {
        Ok(password) => Some(InitUser {
            name: user.name,
            password,
        }),
        Err(why) => {
            keep(format!("user {}: {why}", user.name.escape_debug()));
            None
        }
    }
}

/// The ACLs that a rule stands for: one for each operation.
fn checked_rule(rule: &Rule, keep: &mut dyn FnMut(String)) -> Vec<Acl> {
    let named = [
        (ResourceType::Topic, rule.topic.as_deref()),
        (ResourceType::Group, rule.group.as_deref()),
        (
            ResourceType::TransactionalId,
            rule.transactional_id.as_deref(),
        ),
        (
            ResourceType::DelegationToken,
            rule.delegation_token.as_deref(),
        ),
        (ResourceType::User, rule.user.as_deref()),
        (ResourceType::Cluster, rule.cluster.then_some(CLUSTER)),
    ];
    let named = named.into_iter();
    let named: Vec<_> = named
        .filter_map(|(kind, name)| Some((kind, name?)))
        .collect();
    let mut wrong = |why: String| {
        let principal = rule.principal.escape_debug();
        keep(format!("acl of {principal}: {why}"));
    };
    let [(kind, name)] = named[..] else {
        wrong("it is about one of topic, group, transactional-id, delegation-token, user, or cluster: true".to_owned());
        return Vec::new();
    };
    let words = [
        (Permission::Allow, &rule.allow),
        (Permission::Deny, &rule.deny),
    ];
    let words = words.into_iter();
    let words: Vec<_> = words
        .flat_map(|(permission, words)| words.iter().map(move |word| (permission, word)))
        .collect();
    if words.is_empty() {
        wrong("it allows and denies nothing: give allow or deny a list of operations".to_owned());
    }
    let mut acls = Vec::new();
    for (permission, word) in words {
        let Some(operation) = acl_words::operation(&word.replace(' ', "")) else {
            let known: Vec<&str> = acl_words::operations().collect();
            let known = known.join(", ");
            let word = word.escape_debug();
            wrong(format!(
                "there is no operation {word}: expected one of {known}"
            ));
            continue;
        };
        let raw = RawAcl {
            kind: kind.code(),
            pattern: match rule.prefixed {
                true => Pattern::Prefixed.code(),
                false => Pattern::Literal.code(),
            },
            name,
            principal: &rule.principal,
            host: rule.host.as_deref().unwrap_or("*"),
            operation,
            permission: permission.code(),
        };
        match raw.check() {
            Ok(acl) => acls.push(acl),
            Err(refusal) => wrong(refusal.message.unwrap_or_default().into_owned()),
        }
    }
    acls
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../../../../examples/init.yaml");

    #[test]
    fn the_example_is_read_as_it_is_told() {
        let init = parse(EXAMPLE).unwrap();
        let names: Vec<_> = init.topics.iter().map(|topic| &*topic.name).collect();
        assert_eq!(names, ["orders", "customers"]);
        assert_eq!(init.topics[0].partitions, Some(6));
        let retention = ("retention.ms".to_owned(), "604800000".to_owned());
        assert!(init.topics[0].configs.contains(&retention));
        let users: Vec<_> = init.users.iter().map(|user| &*user.name).collect();
        assert_eq!(users, ["admin", "shop", "billing"]);
        assert_eq!(init.acls.len(), 6);
    }

    #[test]
    fn all_that_is_wrong_is_told_without_secrets() {
        let text = "\
topics:
  - name: a
    partitions: 0
    configs: { retention.mss: 1, min.cleanable.dirty.ratio: 2.5, preallocate: true }
users:
  - { name: eve }
  - { name: bob, password: '' }
acls:
  - { principal: User:a, allow: [raed], topic: a }
  - { principal: nobody, allow: [Read], topic: a }
  - { principal: User:a, allow: [read] }
  - { principal: User:a, topic: a }
";
        let error = parse(text).err().unwrap();
        for told in [
            "topic a: it needs at least one partition",
            "did you mean 'retention.ms'?",
            "Invalid value '2.5'",
            "user eve: it needs a password",
            "user bob: its password is empty",
            "no operation raed: expected one of all, read",
            "such as User:alice",
            "about one of topic",
            "allows and denies nothing",
        ] {
            assert!(error.contains(told), "{told}: {error}");
        }
        let error = parse("users:\n  - { name: a, pasword: hush }\n")
            .err()
            .unwrap();
        assert!(
            error.contains("pasword") && !error.contains("hush"),
            "{error}"
        );
        assert!(parse("topics:\n  - name: [").is_err());
        assert!(parse("").is_ok_and(|init| init.topics.is_empty()));
    }
}
