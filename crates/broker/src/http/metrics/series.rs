//! Series with labels, no more than anybody can store.

use std::fmt::{Display, Write};

/// Series of one answer beside the broker's own counters. What is beyond is left out and counted.
pub const SERIES_MAX: usize = 200_000;

/// Text that grows by series.
pub struct Series {
    text: String,
    count: usize,
    left_out: usize,
}

impl Series {
    /// Behind this text.
    pub fn over(text: String) -> Series {
        Series {
            text,
            count: 0,
            left_out: 0,
        }
    }

    /// A family begins.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _infallible = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// A series of it.
    pub fn put(&mut self, name: &str, labels: &[(&str, &dyn Display)], value: impl Display) {
        if self.count == SERIES_MAX {
            self.left_out += 1;
            return;
        }
        self.count += 1;
        self.text.push_str(name);
        let mut sign = '{';
        for (label, value) in labels {
            self.text.push(sign);
            sign = ',';
            self.text.push_str(label);
            self.text.push_str("=\"");
            let mut escaped = Escaped(&mut self.text);
            let _infallible = write!(escaped, "{value}");
            self.text.push('"');
        }
        if sign == ',' {
            self.text.push('}');
        }
        let _infallible = writeln!(self.text, " {value}");
    }

    /// All of it, with how much was left out.
    pub fn finish(mut self) -> String {
        let name = "rustka_metrics_series_left_out";
        self.family(name, "gauge", "Series beyond the limit of one answer.");
        let _infallible = writeln!(self.text, "{name} {}", self.left_out);
        self.text
    }
}

/// Writes a label's value: group ids may hold anything.
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for c in text.chars() {
            match c {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_series_beyond_the_limit_counted() {
        let mut series = Series::over(String::new());
        series.put("a", &[("group", &"x\"\n\\y"), ("n", &1)], 2.5);
        for _ in 0..SERIES_MAX {
            series.put("b", &[], 1);
        }
        let text = series.finish();
        assert!(
            text.starts_with("a{group=\"x\\\"\\n\\\\y\",n=\"1\"} 2.5\nb 1\n"),
            "{}",
            &text[..60]
        );
        assert!(text.ends_with("rustka_metrics_series_left_out 1\n"));
    }
}
