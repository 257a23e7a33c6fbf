//! The name in a certificate as Java writes it (RFC 2253), which is what people's rules and ACLs are made for.

use std::fmt::Write;
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, X509Certificate};

/// The attributes that have a short name there; others go by their number.
const KEYWORDS: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// The subject of a certificate, the last part first.
pub fn subject(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let parts = certificate.subject().iter_rdn().map(|part| {
        let each = part.iter().map(attribute);
        each.collect::<Option<Vec<_>>>().map(|each| each.join("+"))
    });
    let mut parts: Vec<String> = parts.collect::<Option<_>>()?;
    parts.reverse();
    Some(parts.join(","))
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let number = attribute.attr_type().to_id_string();
    let keyword = KEYWORDS.iter().find(|(known, _)| *known == number);
    match (keyword, attribute.as_str()) {
        (Some((_, keyword)), Ok(text)) => Some(format!("{keyword}={}", escaped(text))),
        (keyword, _) => {
            let name = keyword.map_or(&*number, |(_, keyword)| keyword);
            let value = attribute.attr_value();
            let tag = u8::try_from(value.tag().0).ok()?;
            // Names of 128 bytes and more that are no text have no business here.
            let length = u8::try_from(value.data.len())
                .ok()
                .filter(|length| *length < 128)?;
            let mut hex = String::new();
            for byte in [tag, length].iter().chain(value.data) {
                write!(hex, "{byte:02x}").ok()?;
            }
            Some(format!("{name}=#{hex}"))
        }
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (at, character) in text.chars().enumerate() {
        let special = matches!(character, ',' | '+' | '"' | '\\' | '<' | '>' | ';');
        let edge = character == ' ' && (at == 0 || at == last) || character == '#' && at == 0;
        if special || edge {
            out.push('\\');
        }
        out.push(character);
    }
    out
}
