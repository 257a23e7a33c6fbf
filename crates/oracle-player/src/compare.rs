//! What counts as the same answer.
//!
//! ComparisonRules name fields by path (`topics.*.topicId`) or, without a dot, by name anywhere. A rule that never applies is an error:
//! it would hide the field it was meant for when that comes back under another name.

use serde_json::{Value, json};
use std::collections::BTreeSet;

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Index of the step.
    pub step: usize,
    /// Path of the field in its answer.
    pub path: String,
    /// What Kafka answered.
    pub recorded: Value,
    /// What was answered now.
    pub actual: Value,
}

/// ComparisonRules of one scenario.
#[derive(Debug, Default)]
pub struct ComparisonRules {
    ignore: Vec<String>,
    sets: Vec<String>,
    shuffled: Vec<String>,
    messages: bool,
    used: BTreeSet<String>,
}

impl ComparisonRules {
    /// Reads `ignore`, `sets`, `shuffled` and `messages` of a scenario.
    pub fn of(scenario: &Value) -> Self {
        let list = |key: &str| {
            scenario[key]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        };
        Self {
            ignore: list("ignore"),
            sets: list("sets"),
            shuffled: list("shuffled"),
            messages: scenario["messages"] == true,
            used: BTreeSet::new(),
        }
    }

    /// ComparisonRules that no recorded answer had a use for.
    pub fn unused(&self) -> Vec<&String> {
        self.ignore
            .iter()
            .chain(&self.sets)
            .chain(&self.shuffled)
            .filter(|rule| !self.used.contains(*rule))
            .collect()
    }

    /// Compares what each step led to; returns the differences and how many fields were compared.
    pub fn compare(&mut self, recorded: &[Value], actual: &[Value]) -> (Vec<Difference>, usize) {
        let mut out = Vec::new();
        let mut count = 0;
        for (step, recorded) in recorded.iter().enumerate() {
            let mut left = recorded.clone();
            let mut right = actual.get(step).cloned().unwrap_or(Value::Null);
            self.prepare("", &mut left);
            self.prepare("", &mut right);
            diff(step, "", &left, &right, &mut out, &mut count);
        }
        (out, count)
    }

    fn matches(&mut self, rules: fn(&Self) -> &Vec<String>, path: &str) -> bool {
        let found = rules(self)
            .iter()
            .find(|rule| rule_matches(rule, path))
            .cloned();
        found.is_some_and(|rule| {
            self.used.insert(rule);
            true
        })
    }

    fn prepare(&mut self, path: &str, value: &mut Value) {
        let name = path.rsplit('.').next().unwrap_or("");
        if self.matches(|r| &r.ignore, path) {
            *value = json!("ignored");
            return;
        }
        if matches!(name, "errorMessage" | "batchIndexErrorMessage")
            && !self.messages
            && value.as_str().is_some_and(|t| !t.is_empty())
        {
            *value = json!("a message");
        }
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.prepare(&format!("{path}.{index}"), item);
                }
            }
            Value::Object(fields) => {
                for (key, item) in fields {
                    let path = if path.is_empty() {
                        String::new()
                    } else {
                        format!("{path}.")
                    };
                    let key = if path.is_empty() && key == "answer" {
                        "answer"
                    } else {
                        key.as_str()
                    };
                    self.prepare(&format!("{path}{key}"), item);
                }
            }
            _ => {}
        }
        let Value::Array(items) = value else {
            return;
        };
        if self.matches(|r| &r.sets, path) {
            items.sort_by_key(Value::to_string);
        }
        if self.matches(|r| &r.shuffled, path) {
            sort_neighbours(items);
        }
    }
}

/// Brings neighbours of one `type` into the order of their keys; those with one key stay behind each other.
fn sort_neighbours(items: &mut [Value]) {
    for run in items.chunk_by_mut(|one, next| one["type"] == next["type"]) {
        run.sort_by_key(|item| item["key"].to_string());
    }
}

fn rule_matches(rule: &str, path: &str) -> bool {
    let path = path.strip_prefix("answer.").unwrap_or(path);
    if !rule.contains('.') {
        return path.rsplit('.').next() == Some(rule);
    }
    let (mut rule, mut path) = (rule.split('.'), path.split('.'));
    loop {
        match (rule.next(), path.next()) {
            (None, None) => return true,
            (Some(part), Some(name))
                if part == name || (part == "*" && name.parse::<usize>().is_ok()) => {}
            _ => return false,
        }
    }
}

fn diff(
    step: usize,
    path: &str,
    recorded: &Value,
    actual: &Value,
    out: &mut Vec<Difference>,
    count: &mut usize,
) {
    let below = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    match (recorded, actual) {
        (Value::Object(left), Value::Object(right)) => {
            let keys: BTreeSet<_> = left.keys().chain(right.keys()).collect();
            for key in keys {
                // An ignored field may also be missing.
                if [left, right]
                    .iter()
                    .any(|side| side.get(key).is_some_and(|value| value == "ignored"))
                {
                    continue;
                }
                let get = |side: &serde_json::Map<String, Value>| {
                    side.get(key).cloned().unwrap_or(json!("absent"))
                };
                diff(step, &below(key), &get(left), &get(right), out, count);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                diff(step, &below(&index.to_string()), left, right, out, count);
            }
        }
        _ => {
            *count += 1;
            if recorded != actual {
                let path = path.strip_prefix("answer.").unwrap_or(path).to_owned();
                out.push(Difference {
                    step,
                    path,
                    recorded: recorded.clone(),
                    actual: actual.clone(),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_one_type_stand_in_any_order_but_those_of_one_key_in_theirs() {
        let record =
            |kind: &str, key: &str, value: i32| json!({"type": kind, "key": key, "value": value});
        let kafka = [
            record("A", "l", 1),
            record("A", "l", 2),
            record("A", "k", 3),
            record("B", "k", 4),
        ];
        let sorted = |order: [usize; 4]| {
            let mut items = order.map(|at| kafka[at].clone());
            sort_neighbours(&mut items);
            items
        };
        let expected = sorted([0, 1, 2, 3]);
        assert_eq!(sorted([0, 2, 1, 3]), expected);
        assert_eq!(sorted([2, 0, 1, 3]), expected);
        assert_ne!(sorted([1, 0, 2, 3]), expected, "one key");
        assert_ne!(sorted([0, 1, 3, 2]), expected, "another type between");
    }
}
