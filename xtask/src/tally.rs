//! Counting what passed and what did not, over everything one command runs.

/// Passed and failed tests so far.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    /// Tests that hold.
    pub passed: u64,
    /// Tests that do not.
    pub failed: u64,
}

impl Tally {
    /// One test that holds.
    pub fn success() -> Tally {
        Tally {
            passed: 1,
            failed: 0,
        }
    }

    /// One test that does not.
    pub fn failure() -> Tally {
        Tally {
            passed: 0,
            failed: 1,
        }
    }

    /// Takes another count into this one.
    pub fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    /// A stage that ended badly has at least one failure, also if it died before it could count one.
    pub fn unless_ended_well(mut self, ended_well: bool) -> Tally {
        if !ended_well && self.failed == 0 {
            self.failed = 1;
        }
        self
    }
}

/// The last lines of a command: what was left out, then `N passed, N failed`. Ends the process if anything failed.
pub fn close(total: Tally, skipped: &[String]) -> Result<(), String> {
    for what in skipped {
        println!("skipped {what}");
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    if total.failed > 0 {
        // Not an Err: the closing line has to be the last one.
        std::process::exit(1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_died_without_counting_has_failed_once() {
        let passed = |passed, failed| Tally { passed, failed };
        let counts = |tally: Tally| (tally.passed, tally.failed);
        assert_eq!(counts(passed(4, 0).unless_ended_well(false)), (4, 1));
        assert_eq!(counts(passed(4, 3).unless_ended_well(false)), (4, 3));
        assert_eq!(counts(passed(4, 0).unless_ended_well(true)), (4, 0));
    }
}
