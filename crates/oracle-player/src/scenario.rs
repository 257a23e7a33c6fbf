//! Scenario files: one per row of the table of edge semantics, `NAME.json`, with Kafka's answers in `recorded/NAME.json`.
//!
//! `{"about", "config": {broker key: value}, "runs": [{variable: value}], "ignore": [rules], "sets": [rules],
//! "messages": bool, "differences": [{"run", "step", "path", "value"}], "steps": [...]}`. Each run plays all steps with its
//! variables. `differences` lists where the broker's default mode answers otherwise than Kafka, on purpose.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::play::{Target, play};
use crate::schema::{Error, Schemas};

/// One file of steps.
pub struct Scenario {
    /// File name without its ending: the row, "E29".
    pub name: String,
    /// The file.
    pub json: Value,
    path: PathBuf,
}

impl Scenario {
    /// All scenarios of a folder, by name.
    pub fn all(dir: &Path) -> Result<Vec<Self>, Error> {
        let mut out = Vec::new();
        for file in std::fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))? {
            let path = file.map_err(|e| e.to_string())?.path();
            if path.extension().is_some_and(|e| e == "json") {
                let name = path
                    .file_stem()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                out.push(Self {
                    name,
                    json: read_json(&path)?,
                    path,
                });
            }
        }
        out.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(out)
    }

    /// Broker configs on top of the base configuration.
    pub fn config(&self) -> BTreeMap<String, String> {
        let pairs = self.json["config"].as_object().into_iter().flatten();
        pairs
            .map(|(key, value)| (key.clone(), value.as_str().unwrap_or("").to_owned()))
            .collect()
    }

    /// Whether no other scenario may have used the broker before.
    pub fn needs_fresh_broker(&self) -> bool {
        self.json["fresh"] == true
    }

    /// Variables of each run.
    pub fn runs(&self) -> Vec<Value> {
        self.json["runs"]
            .as_array()
            .cloned()
            .unwrap_or_else(|| vec![json!({})])
    }

    /// Plays one run.
    pub fn play(
        &self,
        schemas: &Schemas,
        index: usize,
        target: &mut Target,
    ) -> Result<Vec<Value>, Error> {
        let steps = self.json["steps"].as_array().ok_or("no steps")?;
        let variables = self.runs().get(index).cloned().unwrap_or_default();
        play(schemas, &self.name, steps, index, &variables, target)
    }

    fn recorded_path(&self) -> PathBuf {
        let folder = self
            .path
            .parent()
            .unwrap_or(Path::new("."))
            .join("recorded");
        folder.join(format!("{}.json", self.name))
    }

    /// What Kafka answered, per run.
    pub fn recorded(&self) -> Result<Vec<Vec<Value>>, Error> {
        let json = read_json(&self.recorded_path())?;
        let runs = json
            .as_array()
            .ok_or("recorded answers are a list of runs")?;
        Ok(runs
            .iter()
            .map(|run| run.as_array().cloned().unwrap_or_default())
            .collect())
    }

    /// Stores what Kafka answered, one line per step.
    pub fn store(&self, runs: &[Vec<Value>]) -> Result<(), Error> {
        let runs: Vec<String> = runs
            .iter()
            .map(|run| {
                let steps: Vec<String> = run.iter().map(Value::to_string).collect();
                format!("[\n{}\n]", steps.join(",\n"))
            })
            .collect();
        let path = self.recorded_path();
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))
            .map_err(|e| e.to_string())?;
        std::fs::write(&path, format!("[{}]\n", runs.join(", ")))
            .map_err(|e| format!("{}: {e}", path.display()))
    }
}

fn read_json(path: &Path) -> Result<Value, Error> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
}
