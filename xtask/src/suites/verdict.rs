//! Whether a suite's results are the expected ones. Runs nothing.

use std::collections::BTreeMap;

/// How one test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Pass,
    /// It does not, or never ended.
    Fail,
    /// It says itself that it does not apply.
    Skip,
}

impl Outcome {
    /// From the word in a table.
    pub fn parse(word: &str) -> Option<Outcome> {
        match word {
            "pass" => Some(Outcome::Pass),
            "fail" => Some(Outcome::Fail),
            "skip" => Some(Outcome::Skip),
            _ => None,
        }
    }
}

/// What a suite's results say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Tests that pass here and on Kafka.
    pub passed: u64,
    /// Tests that fail as the list says.
    pub expected: u64,
    /// Sentences about everything else.
    pub problems: Vec<String>,
}

/// Compares results with those of a real Kafka and with the list of failures to be expected.
pub fn judge(
    baseline: &BTreeMap<String, Outcome>,
    expected: &[String],
    results: &BTreeMap<String, Outcome>,
) -> Verdict {
    let mut verdict = Verdict::default();
    for (id, outcome) in baseline {
        if *outcome != Outcome::Pass {
            continue;
        }
        let passes = results.get(id) == Some(&Outcome::Pass);
        match (passes, expected.contains(id)) {
            (true, false) => verdict.passed += 1,
            (false, true) => verdict.expected += 1,
            (true, true) => verdict
                .problems
                .push(format!("{id} passes: take it off the expected failures")),
            (false, false) => {
                let what = match results.get(id) {
                    Some(Outcome::Skip) => "is skipped",
                    Some(_) => "fails",
                    None => "was not run",
                };
                verdict.problems.push(format!("{id} {what}"));
            }
        }
    }
    // Tests that Kafka's run left out or skipped: they need not run, but if they do, they have to hold.
    let others = |id: &&String| baseline.get(*id) != Some(&Outcome::Pass);
    for id in results.keys().filter(others) {
        match (results[id] == Outcome::Fail, expected.contains(id)) {
            (true, true) => verdict.expected += 1,
            (true, false) => verdict.problems.push(format!("{id} fails")),
            (false, _) => {}
        }
    }
    for id in expected.iter().filter(others) {
        if results.get(id) != Some(&Outcome::Fail) {
            let problem = format!("{id} does not fail: take it off the expected failures");
            verdict.problems.push(problem);
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::Outcome::{Fail, Pass, Skip};
    use super::*;

    fn table(rows: &[(&str, Outcome)]) -> BTreeMap<String, Outcome> {
        rows.iter().map(|(id, o)| ((*id).to_owned(), *o)).collect()
    }

    #[test]
    fn a_test_that_kafka_passes_has_to_pass_or_to_be_listed() {
        let kafka = table(&[
            ("a", Pass),
            ("b", Pass),
            ("c", Pass),
            ("d", Pass),
            ("e", Skip),
        ]);
        let ours = table(&[("a", Pass), ("b", Fail), ("c", Skip)]);
        let verdict = judge(&kafka, &["b".to_owned()], &ours);
        assert_eq!((verdict.passed, verdict.expected), (1, 1));
        assert_eq!(verdict.problems, ["c is skipped", "d was not run"]);
    }

    #[test]
    fn a_listed_test_that_passes_has_to_leave_the_list() {
        let both = table(&[("a", Pass)]);
        let verdict = judge(&both, &["a".to_owned()], &both);
        assert_eq!(verdict.passed, 0);
        assert_eq!(
            verdict.problems,
            ["a passes: take it off the expected failures"]
        );
    }

    #[test]
    fn a_test_that_kafka_does_not_run_may_still_not_fail() {
        let verdict = judge(
            &table(&[("a", Skip)]),
            &[],
            &table(&[("a", Fail), ("new", Fail)]),
        );
        assert_eq!(verdict.problems, ["a fails", "new fails"]);
        let listed = ["new".to_owned(), "no such test".to_owned()];
        let verdict = judge(&table(&[]), &listed, &table(&[("new", Fail)]));
        assert_eq!(verdict.expected, 1);
        assert_eq!(
            verdict.problems,
            ["no such test does not fail: take it off the expected failures"]
        );
    }
}
