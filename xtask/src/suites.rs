//! `cargo xtask suites [NAME...] [--broker PATH]`: tests that others wrote, each suite against a fresh broker.
//!
//! What counts is every test that passes on a real Kafka (`clients/suites/baseline/`). The ones that cannot pass yet
//! stand in `expected-failures.tsv` with their reason. That list only shrinks: who passes has to leave it.

mod verdict;

use crate::started::Started;
use crate::tally::Tally;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use verdict::{Outcome, judge};

/// One suite: what its broker needs to be told, and what the script needs.
pub struct Suite {
    /// Of its script and its results.
    pub name: &'static str,
    broker: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    /// Programs without which it cannot run, besides Python.
    pub needs: &'static [&'static str],
}

/// Every suite, the quick ones first.
pub const SUITES: &[Suite] = &[
    Suite {
        name: "kafka-python",
        broker: &[
            "-c",
            "num.partitions=4",
            "-c",
            "group.min.session.timeout.ms=1000",
            "-c",
            AUTHORIZER,
            "-c",
            "super.users=User:ANONYMOUS",
            "-c",
            "allow.everyone.if.no.acl.found=true",
        ],
        environment: &[],
        needs: &[],
    },
    Suite {
        name: "arroyo",
        broker: &["-c", "auto.create.topics.enable=true"],
        environment: &[],
        needs: &[],
    },
    Suite {
        name: "kgo",
        broker: &[],
        // Its tests run side by side for a minute or two; those with transactions never end without them.
        environment: &[("SUITE_DEADLINE", "420")],
        needs: &["go"],
    },
    Suite {
        name: "cli",
        broker: &[
            "--strict",
            "-c",
            "num.partitions=1",
            "-c",
            "group.initial.rebalance.delay.ms=0",
            "-c",
            AUTHORIZER,
            "-c",
            "super.users=User:ANONYMOUS",
        ],
        environment: &[("WITH_ACLS", "1")],
        needs: &["java", "mvn", "bc"],
    },
    // The same checks of the tools that the binary itself is.
    Suite {
        name: "cli-own",
        broker: &[
            "--strict",
            "-c",
            "num.partitions=1",
            "-c",
            "group.initial.rebalance.delay.ms=0",
            "-c",
            AUTHORIZER,
            "-c",
            "super.users=User:ANONYMOUS",
        ],
        environment: &[("WITH_ACLS", "1")],
        needs: &["bc"],
    },
    // These start what they need themselves.
    Suite {
        name: "cli-secure",
        broker: &[],
        environment: &[],
        needs: &["java", "mvn", "bc"],
    },
    Suite {
        name: "logins",
        broker: &[],
        environment: &[],
        needs: &["go", "node", "npm", "java", "mvn", "openssl"],
    },
    Suite {
        name: "mirror",
        broker: &[],
        environment: &[],
        needs: &["java", "mvn"],
    },
    Suite {
        name: "directory",
        broker: &[],
        environment: &[],
        needs: &["java", "mvn"],
    },
];

/// Kafka's own.
const AUTHORIZER: &str =
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer";

/// Runs the suites that are named, or all; ends the process with 1 if anything is not as expected.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let root = crate::root();
    let (mut chosen, mut broker) = (Vec::new(), None);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--broker" {
            broker = Some(PathBuf::from(
                arguments
                    .next()
                    .ok_or("--broker needs the path of a broker")?,
            ));
            continue;
        }
        let known = SUITES.iter().find(|suite| suite.name == argument);
        chosen.push(known.ok_or_else(|| {
            let names: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
            format!(
                "no suite is called {argument}; there are {}",
                names.join(", ")
            )
        })?);
    }
    if chosen.is_empty() {
        chosen = SUITES.iter().collect();
    }
    let broker = match broker {
        Some(path) => path,
        None => crate::test::build_broker(&root, &["--release"])?,
    };
    let (mut total, mut skipped) = (Tally::default(), Vec::new());
    for suite in chosen {
        match suite.lacks() {
            Some(lack) => skipped.push(format!("{}: {lack}", suite.name)),
            None => total.add(suite.run(&root, &broker)),
        }
    }
    crate::tally::close(total, &skipped)
}

impl Suite {
    /// The suite of this name.
    pub fn named(name: &str) -> Option<&'static Suite> {
        SUITES.iter().find(|suite| suite.name == name)
    }

    /// Why it cannot run here, if it cannot.
    pub fn lacks(&self) -> Option<String> {
        crate::toolchain::python().err().or_else(|| {
            let missing = self
                .needs
                .iter()
                .find(|program| !crate::toolchain::has(program));
            missing.map(|program| format!("no {program}"))
        })
    }

    /// Runs it against a broker of its own; counts the tests that have to pass.
    pub fn run(&self, root: &Path, broker: &Path) -> Tally {
        println!("== suite {}", self.name);
        let judged = self.results(root, broker).and_then(|results| {
            let folder = root.join("clients/suites");
            let baseline = read_results(&folder.join(format!("baseline/{}.tsv", self.name)))?;
            let expected = read_expected(&folder.join("expected-failures.tsv"), self.name)?;
            Ok(judge(&baseline, &expected, &results))
        });
        match judged {
            Ok(verdict) => {
                for problem in &verdict.problems {
                    println!("FAILED {}: {problem}", self.name);
                }
                println!(
                    "{}: {} as on Kafka, {} expected to fail, {} problems",
                    self.name,
                    verdict.passed,
                    verdict.expected,
                    verdict.problems.len()
                );
                Tally {
                    passed: verdict.passed,
                    failed: verdict.problems.len() as u64,
                }
            }
            Err(why) => {
                println!("FAILED {}: {why}", self.name);
                Tally::failure()
            }
        }
    }

    fn results(&self, root: &Path, broker: &Path) -> Result<BTreeMap<String, Outcome>, String> {
        let out = root.join("target/suites");
        let results = out.join(format!("{}.tsv", self.name));
        if results.exists() {
            fs::remove_file(&results).map_err(|e| format!("{}: {e}", results.display()))?;
        }
        fs::create_dir_all(&out).map_err(|e| format!("{}: {e}", out.display()))?;
        let binary = fs::canonicalize(broker).map_err(|e| format!("{}: {e}", broker.display()))?;
        let broker = Started::new(broker, self.broker)?;
        let status = Command::new(root.join(format!("clients/suites/{}.sh", self.name)))
            .arg(&broker.bootstrap)
            .arg(&out)
            .envs(self.environment.iter().copied())
            .env("BROKER_BINARY", binary)
            .stdin(Stdio::null())
            .status()
            .map_err(|e| format!("{}.sh: {e}", self.name))?;
        broker.stop()?;
        if !status.success() {
            return Err(format!("{}.sh ended with {status}", self.name));
        }
        read_results(&results)
    }
}

/// The lines of a table without comments and empty ones, split at tabs.
fn rows(path: &Path) -> Result<Vec<Vec<String>>, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let lines = text
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'));
    Ok(lines
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect())
}

/// id, pass|fail|skip, seconds.
fn read_results(path: &Path) -> Result<BTreeMap<String, Outcome>, String> {
    let mut results = BTreeMap::new();
    for row in rows(path)? {
        let outcome = row.get(1).and_then(|word| Outcome::parse(word));
        let outcome =
            outcome.ok_or_else(|| format!("{}: not a result: {row:?}", path.display()))?;
        results.insert(row[0].clone(), outcome);
    }
    Ok(results)
}

/// suite, id, reason.
fn read_expected(path: &Path, suite: &str) -> Result<Vec<String>, String> {
    let mut ids = Vec::new();
    for row in rows(path)? {
        let [of, id, reason] = &*row else {
            return Err(format!(
                "{}: not suite, id, reason: {row:?}",
                path.display()
            ));
        };
        if Suite::named(of).is_none() || reason.trim().is_empty() {
            return Err(format!(
                "{}: no such suite or no reason: {row:?}",
                path.display()
            ));
        }
        if of == suite {
            ids.push(id.clone());
        }
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_expected_failure_has_a_reason_and_is_listed_once() {
        let folder = crate::root().join("clients/suites");
        for suite in SUITES {
            let ids = read_expected(&folder.join("expected-failures.tsv"), suite.name).unwrap();
            for (at, id) in ids.iter().enumerate() {
                assert!(!ids[..at].contains(id), "{}: twice: {id}", suite.name);
            }
        }
    }
}
