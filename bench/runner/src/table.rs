//! The results file, and the tables made of it.

use super::Line;
use super::cases::{CASES, Case, Set};
use super::goals::{GOALS, Goal, Limit};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The unit that a metric's name ends in; the longest ending wins.
const UNITS: &[(&str, &str)] = &[
    ("_ms", "ms"),
    ("_us", "µs"),
    ("_mib", "MiB"),
    ("_s", "s"),
    ("_percent", "%"),
    ("_bytes", "B"),
    ("mb_per_s", "MB/s"),
    ("_per_s", "1/s"),
    ("_per_gb", "s/GB"),
    ("_per_mmsg", "s per 1e6 records"),
];

fn unit(metric: &str) -> &'static str {
    if metric.contains("_us_per_") {
        return "µs";
    }
    if metric.contains("_kib_per_") {
        return "KiB";
    }
    UNITS
        .iter()
        .filter(|(ending, _)| metric.ends_with(ending))
        .max_by_key(|(ending, _)| ending.len())
        .map_or("", |(_, unit)| unit)
}

/// One line of JSON, with its end.
pub fn to_json(line: &Line) -> String {
    let mut object = json!({
        "peer": line.peer, "script": line.script, "case": line.case, "metric": line.metric,
        "value": line.value, "unit": unit(line.metric), "run": line.run,
    });
    if !line.note.is_empty() {
        object["note"] = Value::from(line.note);
    }
    format!("{object}\n")
}

/// case, metric -> peer -> values
type Results = BTreeMap<(String, String), BTreeMap<String, Vec<f64>>>;

fn read(path: &Path, from: usize) -> Result<Results, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let text = text.get(from..).unwrap_or_default();
    let mut results = Results::new();
    for (number, line) in text.lines().enumerate() {
        let wrong = || format!("{}:{}: not a result", path.display(), number + 1);
        let value: Value = serde_json::from_str(line).map_err(|_| wrong())?;
        let word = |key: &str| value[key].as_str().map(str::to_owned).ok_or_else(wrong);
        if let Some(number) = value["value"].as_f64() {
            let metric = (word("case")?, word("metric")?);
            let of = results.entry(metric).or_default();
            of.entry(word("peer")?).or_default().push(number);
        }
    }
    Ok(results)
}

/// Prints the figures that have a goal, or those of `metrics` (`all`: every one), from a place in the file on.
pub fn print(
    (path, from): (&Path, usize),
    peers: &[String],
    cases: &[&'static Case],
    metrics: &[String],
) -> Result<(), String> {
    let results = read(path, from)?;
    let nothing = BTreeMap::new();
    let first = peers.first().cloned().unwrap_or_default();
    let mut head = "| figure |".to_owned();
    for peer in peers {
        head += &format!(" {peer} |");
    }
    if metrics.is_empty() {
        println!(
            "{head} goal | |\n|---|{}---|---|",
            "---|".repeat(peers.len())
        );
        for set in Set::WITH_GOALS {
            let of_set = |goal: &&Goal| {
                let wanted = cases.iter().any(|case| case.made(goal.case));
                let case = CASES.iter().find(|case| case.made(goal.case));
                wanted && case.is_some_and(|case| case.set == set)
            };
            let goals: Vec<&Goal> = GOALS.iter().filter(of_set).collect();
            if !goals.is_empty() {
                println!("| **{}** |{} | |", set.heading(), " |".repeat(peers.len()));
            }
            for goal in goals {
                let key = (goal.case.to_owned(), goal.metric.to_owned());
                let of = results.get(&key).unwrap_or(&nothing);
                println!("{} {} |", row(&key, of, peers), verdict(goal, of, &first));
            }
        }
        return Ok(());
    }
    println!("{head}\n|---|{}", "---|".repeat(peers.len()));
    for (key, of) in &results {
        let named = metrics.iter().any(|m| m == "all" || *m == key.1);
        if named && cases.iter().any(|c| c.made(&key.0)) {
            println!("{}", row(key, of, peers));
        }
    }
    Ok(())
}

fn row(key: &(String, String), of: &BTreeMap<String, Vec<f64>>, peers: &[String]) -> String {
    let unit = unit(&key.1);
    let unit = if unit.is_empty() {
        String::new()
    } else {
        format!(", {unit}")
    };
    let mut line = format!("| {}: {}{unit} |", key.0, key.1);
    let base = peers.first().and_then(|p| of.get(p)).map(|v| median(v));
    for (i, peer) in peers.iter().enumerate() {
        let Some(values) = of.get(peer) else {
            line += " – |";
            continue;
        };
        line += &format!(" {}", digits(median(values)));
        if values.len() > 1 {
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            line += &format!(" ({}–{})", digits(least), digits(most));
        }
        if let Some(base) = base.filter(|b| i > 0 && *b > 0.0) {
            line += &format!(" **×{}**", digits(median(values) / base));
        }
        line += " |";
    }
    line
}

/// The goal and whether Rustka reaches it.
fn verdict(goal: &Goal, of: &BTreeMap<String, Vec<f64>>, first: &str) -> String {
    let rustka = of.get("rustka").map(|v| median(v));
    let base = of.get(first).map(|v| median(v));
    let (text, reached) = match goal.limit {
        Limit::Ratio(most) => {
            let ratio = rustka.zip(base).map(|(r, b)| r / b);
            (format!("≤ ×{most}"), ratio.map(|r| r <= most))
        }
        Limit::OfKafka(most) => {
            let kafka = of.get("kafka").map(|v| median(v));
            let ratio = rustka.zip(kafka).map(|(r, k)| r / k);
            let shown = digits(most);
            (format!("≤ ×{shown} of Kafka"), ratio.map(|r| r <= most))
        }
        Limit::Most(most) => (format!("≤ {most}"), rustka.map(|r| r <= most)),
        Limit::Least(least) => (format!("≥ {least}"), rustka.map(|r| r >= least)),
    };
    let word = match reached {
        Some(true) => "reached",
        Some(false) => "NOT REACHED",
        None => "not measured",
    };
    format!("{text} | {word}")
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.len() % 2) {
        (Some(upper), 0) => (sorted[middle - 1] + upper) / 2.0,
        (Some(value), _) => *value,
        (None, _) => f64::NAN,
    }
}

/// Three digits that count.
fn digits(value: f64) -> String {
    let whole = value.abs().log10().floor() as i32 + 1;
    let decimals = if value == 0.0 {
        0
    } else {
        (3 - whole).clamp(0, 6)
    };
    format!("{value:.*}", decimals as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        let shown = [0.0, 0.012345, 0.5, 1.304, 12.345, 123.4, 61234.0].map(digits);
        assert_eq!(
            shown,
            ["0", "0.0123", "0.500", "1.30", "12.3", "123", "61234"]
        );
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
    }

    #[test]
    fn the_longest_ending_tells_the_unit() {
        assert_eq!(unit("mb_per_s"), "MB/s");
        assert_eq!(unit("cpu_us_per_req"), "µs");
        assert_eq!(unit("rss_kib_per_conn"), "KiB");
        assert_eq!(unit("reqs"), "");
    }
}
