//! `--add-scram 'SCRAM-SHA-256=[name=alice,password=secret]'`: users who are there from the beginning.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustka_core::security::scram::{Credential, ITERATIONS_MAX, ITERATIONS_MIN, Strength};

/// Bytes of a salt that nobody has chosen.
const SALT_BYTES: usize = 24;

/// A user.
pub struct User {
    pub name: String,
    pub strength: Strength,
    pub credential: Credential,
}

/// Reads what follows the flag.
pub fn parse(text: &str) -> Result<User, String> {
    let wrong = |why: &str| {
        // What stands behind the name of the mechanism may be secret.
        Err(format!(
            "--add-scram takes SCRAM-SHA-256=[name=alice,password=secret]: {why}"
        ))
    };
    let Some((mechanism, rest)) = text.split_once('=') else {
        return wrong("there is no mechanism");
    };
    let known = Strength::ALL.into_iter();
    let Some(strength) = known
        .clone()
        .find(|strength| strength.mechanism() == mechanism)
    else {
        return wrong("there are SCRAM-SHA-256 and SCRAM-SHA-512");
    };
    let inner = rest
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let Some(inner) = inner else {
        return wrong("the brackets are missing");
    };
    let (mut name, mut password, mut salted, mut salt) = (None, None, None, None);
    let mut iterations = ITERATIONS_MIN;
    for pair in inner.split(',') {
        let Some((key, value)) = pair.split_once('=') else {
            return wrong("there are pairs of keys and values in the brackets");
        };
        let quoted = value
            .strip_prefix('"')
            .and_then(|value| value.strip_suffix('"'));
        let value = quoted.unwrap_or(value);
        let decoded = || {
            let bytes = STANDARD.decode(value);
            bytes.map_err(|_| format!("the {key} of --add-scram is no base64"))
        };
        match key.trim() {
            "name" => name = Some(value),
            "password" => password = Some(value),
            "salt" => salt = Some(decoded()?),
            "saltedpassword" => salted = Some(decoded()?),
            "iterations" => match value.parse() {
                Ok(number @ ITERATIONS_MIN..=ITERATIONS_MAX) => iterations = number,
                _ => {
                    return wrong(&format!(
                        "iterations are {ITERATIONS_MIN} to {ITERATIONS_MAX}"
                    ));
                }
            },
            _ => return wrong("the keys are name, password, saltedpassword, salt and iterations"),
        }
    }
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return wrong("there is no name");
    };
    let has_salt = salt.is_some();
    let salt = salt.map_or_else(random_salt, Ok)?;
    let credential = match (password, salted) {
        (Some(password), None) => Credential::of_password(strength, password, &salt, iterations),
        (None, Some(salted)) if has_salt => {
            Credential::of_salted(strength, &salted, &salt, iterations)
        }
        (None, Some(_)) => return wrong("a salted password needs its salt"),
        _ => return wrong("there is one of password and saltedpassword"),
    };
    Ok(User {
        name: name.to_owned(),
        strength,
        credential,
    })
}

fn random_salt() -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; SALT_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| format!("no random numbers: {error}"))?;
    Ok(bytes)
}
