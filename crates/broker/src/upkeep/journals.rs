//! Journals that are mostly about what is gone, in memory: told to write themselves down anew, so that little stays of a
//! crowd of groups, topics or transactional ids. While they grow they do that by themselves.

use crate::api::parts::Parts;
use crate::base::heap::GIVE_BACK_BYTES_MIN;
use rustka_core::account::{Account, Share};

/// Journals this many times as large as what they are about are mostly garbage.
const FACTOR: usize = 2;
/// What they are about.
const ABOUT: [Share; 4] = [
    Share::Groups,
    Share::Transactions,
    Share::Topics,
    Share::Security,
];

/// Watches what journals hold.
#[derive(Debug, Default)]
pub struct Garbage {
    /// What was left of them when they were written down last: all of it may be needed.
    left_bytes: usize,
}

impl Garbage {
    /// Has journals written down anew if much of them seems to be of no use; whether they were.
    pub fn shorten(&mut self, parts: &Parts) -> bool {
        let account = &parts.node.memory.account;
        if parts.node.engine.directory().is_some() || !self.is_much(account) {
            return false;
        }
        parts.groups.shorten_journals();
        parts.transactions.shorten_journals();
        parts.cluster.shorten_journal();
        self.left_bytes = account.bytes(Share::Journals);
        true
    }

    fn is_much(&mut self, account: &Account) -> bool {
        let journals = account.bytes(Share::Journals);
        self.left_bytes = self.left_bytes.min(journals);
        let about: usize = ABOUT.iter().map(|share| account.bytes(*share)).sum();
        let needed = about.max(self.left_bytes).saturating_mul(FACTOR);
        journals > needed.saturating_add(GIVE_BACK_BYTES_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journals_are_shortened_once_for_what_they_hold_beyond_what_they_are_about() {
        let account = Account::new(1 << 30);
        let mut garbage = Garbage::default();
        let mut is_much = |journals: usize, groups: usize| {
            account.set(Share::Journals, journals << 20);
            account.set(Share::Groups, groups << 20);
            let is_much = garbage.is_much(&account);
            if is_much {
                garbage.left_bytes = journals << 20;
            }
            is_much
        };
        assert!(!is_much(10, 10));
        assert!(!is_much(1, 0), "too little to be worth it");
        assert!(is_much(10, 2));
        assert!(!is_much(15, 2), "what was left may be needed");
        assert!(is_much(22, 2));
        assert!(!is_much(3, 2));
        assert!(is_much(8, 2), "less is left since");
    }
}
