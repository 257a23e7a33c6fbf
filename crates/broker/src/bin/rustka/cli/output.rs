//! What a command prints: tables for people, JSON for programs.

use std::io::{self, Write};

use clap::ValueEnum;
use serde_json::{Map, Value};

use super::failure::Failure;

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns under their names.
    Table,
    /// A list of objects.
    Json,
}

/// Where results go.
pub struct Output {
    format: Format,
    stream: io::BufWriter<io::Stdout>,
}

/// Rows under the names of their columns. In JSON each row is an object with these names.
pub struct Table {
    columns: &'static [&'static str],
    rows: Vec<Vec<Value>>,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: &'static [&'static str]) -> Table {
        let rows = Vec::new();
        Table { columns, rows }
    }

    /// Adds a row: a value for each column.
    pub fn push(&mut self, row: Vec<Value>) {
        self.rows.push(row);
    }

    /// The whole table as text. Numbers stand at the right of their column.
    fn text(&self) -> String {
        let cells: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(shown).collect())
            .collect();
        let width = |column: usize| {
            let cells = cells.iter().filter_map(|row| row.get(column));
            let longest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
            longest.max(self.columns[column].len())
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let is_number = |column: usize| {
            !self.rows.is_empty()
                && self
                    .rows
                    .iter()
                    .all(|row| row.get(column).is_some_and(Value::is_number))
        };
        let numbers: Vec<bool> = (0..self.columns.len()).map(is_number).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut line = String::new();
            for (column, cell) in cells.enumerate() {
                let pad = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
                match numbers[column] {
                    true => line.extend([&pad, cell]),
                    false => line.extend([cell, &pad]),
                }
                line.push_str("  ");
            }
            format!("{}\n", line.trim_end())
        };
        let names: Vec<String> = self
            .columns
            .iter()
            .map(|name| name.to_uppercase())
            .collect();
        let mut text = line(&mut names.iter().map(String::as_str));
        for row in &cells {
            text.push_str(&line(&mut row.iter().map(String::as_str)));
        }
        text
    }

    fn json(self) -> Value {
        let rows = self.rows.into_iter().map(|row| {
            let names = self.columns.iter().map(|name| name.replace(' ', "_"));
            Value::Object(names.zip(row).collect::<Map<String, Value>>())
        });
        Value::Array(rows.collect())
    }
}

/// A cell. What a client has put there may not move the cursor of a terminal.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.chars().map(printable).collect(),
        Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// The character, or one that stands for it where it would control the terminal.
pub fn printable(character: char) -> char {
    match character.is_control() {
        true => char::REPLACEMENT_CHARACTER,
        false => character,
    }
}

impl Output {
    /// Prints to standard output.
    pub fn new(format: Format) -> Output {
        let stream = io::BufWriter::new(io::stdout());
        Output { format, stream }
    }

    /// Whether programs read this.
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Prints a table.
    pub fn table(&mut self, table: Table) -> Result<(), Failure> {
        let text = match self.format {
            Format::Table => table.text(),
            Format::Json => format!("{:#}\n", table.json()),
        };
        self.bytes(text.as_bytes())
    }

    /// Says that something was done, to people; programs go by the exit code.
    pub fn done(&mut self, sentence: &str) -> Result<(), Failure> {
        match self.format {
            Format::Table => self.line(sentence),
            Format::Json => Ok(()),
        }
    }

    /// Prints a line.
    pub fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// Prints these bytes at once.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stream.write_all(bytes)?;
        Ok(self.stream.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_numbers_stand_right() {
        let mut table = Table::new(&["topic", "records"]);
        table.push(vec!["orders".into(), 5.into()]);
        table.push(vec!["a\u{1b}[2J".into(), 12_345.into()]);
        let expected = "TOPIC   RECORDS\norders        5\na\u{fffd}[2J     12345\n";
        assert_eq!(table.text(), expected);
        let mut table = Table::new(&["last error"]);
        table.push(vec![Value::Null]);
        assert_eq!(table.json().to_string(), r#"[{"last_error":null}]"#);
    }
}
