//! `cargo xtask oracle golden|assignments|record`: asks a real Apache Kafka what is right, and keeps its answers.
//!
//! Needs Java 17, Maven and, the first time, the network; see `clients/oracle/kafka`. The tests need none of these.

mod golden;
mod record;

/// Runs the part that the first argument names.
pub fn run(arguments: &[String]) -> Result<(), String> {
    match arguments.split_first() {
        Some((part, [])) if part == "golden" => golden::write(),
        Some((part, [])) if part == "assignments" => golden::write_assignments(),
        Some((part, names)) if part == "record" => record::record(names),
        _ => Err("usage: cargo xtask oracle golden | assignments | record [SCENARIO...]".into()),
    }
}
