//! Schema names to Rust and JSON names.

/// `ErrorCode` to `error_code`; never a raw identifier.
pub fn snake(name: &str) -> String {
    let name = name.replace("KRaft", "Kraft");
    let letters: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (i, letter) in letters.iter().enumerate() {
        if letter.is_uppercase() && i > 0 {
            let after_word = !letters[i - 1].is_uppercase();
            let before_word = letters.get(i + 1).is_some_and(|next| next.is_lowercase());
            if after_word || before_word {
                out.push('_');
            }
        }
        out.extend(letter.to_lowercase());
    }
    out
}

/// A Rust identifier for a schema field.
pub fn field(name: &str) -> String {
    let name = snake(name);
    match name.as_str() {
        "type" | "match" | "move" | "ref" | "loop" | "where" | "use" | "enum" | "final" => {
            format!("r#{name}")
        }
        _ => name,
    }
}

/// `ErrorCode` to `errorCode`, as JsonConverter does.
pub fn camel(name: &str) -> String {
    let mut letters = name.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().collect::<String>() + letters.as_str(),
        None => String::new(),
    }
}
