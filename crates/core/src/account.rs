//! What clients have the broker remember beside records, counted by what it is: each kind may hold its own part of the
//! memory limit, so that none of them can take the place of all others, and records always find some.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The limit is cut into so many parts.
const PARTS: usize = 32;

/// A kind of what is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Share {
    /// Groups, their members and committed offsets.
    Groups,
    /// Transactional ids and their transactions.
    Transactions,
    /// Fetch sessions.
    Sessions,
    /// Topics and partitions, without their records.
    Topics,
    /// Connections.
    Connections,
    /// Producers that partitions remember.
    Producers,
    /// Users, ACLs, tokens and quotas.
    Security,
    /// What coordinators have written down. It lies among the records and is counted there.
    Journals,
}

impl Share {
    /// All of them.
    pub const ALL: [Share; 8] = [
        Share::Groups,
        Share::Transactions,
        Share::Sessions,
        Share::Topics,
        Share::Connections,
        Share::Producers,
        Share::Security,
        Share::Journals,
    ];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Share::Groups => "groups",
            Share::Transactions => "transactions",
            Share::Sessions => "sessions",
            Share::Topics => "topics",
            Share::Connections => "connections",
            Share::Producers => "producers",
            Share::Security => "security",
            Share::Journals => "journals",
        }
    }

    /// How many of the limit's [`PARTS`] it may hold. All of them together leave some for records.
    fn parts(self) -> usize {
        match self {
            Share::Groups | Share::Topics | Share::Connections => 4,
            Share::Producers => 2,
            Share::Transactions | Share::Sessions | Share::Security => 1,
            // They are bounded by what they say, and shortened to it.
            Share::Journals => PARTS,
        }
    }

    /// What it holds, and what makes that less.
    pub fn sentence(self) -> (&'static str, &'static str) {
        match self {
            Share::Groups => (
                "groups and their offsets",
                "delete groups that nobody uses (kafka-consumer-groups --delete)",
            ),
            Share::Transactions => ("transactional ids", "use fewer of them"),
            Share::Sessions => ("fetch sessions", "let consumers fetch fewer partitions"),
            Share::Topics => ("topics and partitions", "delete topics that nobody uses"),
            Share::Connections => ("connections", "close some"),
            Share::Producers => (
                "idempotent producers",
                "let clients keep their producers instead of making new ones",
            ),
            Share::Security => (
                "users, ACLs, tokens and quotas",
                "delete those that nobody uses",
            ),
            Share::Journals => ("journals", "delete groups that nobody uses"),
        }
    }
}

/// A share that holds all it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// Which.
    pub share: Share,
    /// What it holds.
    pub bytes: usize,
    /// What it may hold.
    pub bytes_max: usize,
}

impl std::fmt::Display for Full {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (what, remedy) = self.share.sentence();
        let Full {
            bytes, bytes_max, ..
        } = self;
        write!(
            f,
            "{what} hold {bytes} bytes of memory, and their part of the memory limit is {bytes_max}: {remedy}, or raise \
             --memory-limit"
        )
    }
}

/// The account of one broker.
#[derive(Debug)]
pub struct Account {
    limit: usize,
    held: [AtomicUsize; Share::ALL.len()],
    /// Of all shares but journals.
    total: AtomicUsize,
}

impl Default for Account {
    /// One without a limit.
    fn default() -> Self {
        Account::new(usize::MAX)
    }
}

impl Account {
    /// An account under this memory limit.
    pub fn new(limit: usize) -> Account {
        Account {
            limit,
            held: std::array::from_fn(|_| AtomicUsize::new(0)),
            total: AtomicUsize::new(0),
        }
    }

    /// What a share holds.
    pub fn bytes(&self, share: Share) -> usize {
        self.held(share).load(Relaxed)
    }

    /// What all shares hold but journals, which lie among the records.
    pub fn total(&self) -> usize {
        self.total.load(Relaxed)
    }

    /// What coordinators hold, the journals of it included.
    pub fn kept(&self) -> usize {
        self.total() + self.bytes(Share::Journals)
    }

    /// What a share may hold.
    pub fn bytes_max(&self, share: Share) -> usize {
        self.limit / PARTS * share.parts()
    }

    /// Whether a share may hold so much more.
    pub fn check(&self, share: Share, more: usize) -> Result<(), Full> {
        let told = self.told(share);
        match told.bytes.saturating_add(more) <= told.bytes_max {
            true => Ok(()),
            false => Err(told),
        }
    }

    /// What is told of a share that holds all it may.
    pub fn told(&self, share: Share) -> Full {
        Full {
            share,
            bytes: self.bytes(share),
            bytes_max: self.bytes_max(share),
        }
    }

    /// Tells it that a share that one place alone counts holds so much now.
    pub fn set(&self, share: Share, bytes: usize) {
        let before = self.held(share).swap(bytes, Relaxed);
        self.count(share, before, bytes);
    }

    /// One holder of many has so much in the place of what it had.
    fn change(&self, share: Share, before: usize, after: usize) {
        let held = self.held(share);
        match after >= before {
            true => held.fetch_add(after - before, Relaxed),
            false => held.fetch_sub(before - after, Relaxed),
        };
        self.count(share, before, after);
    }

    fn count(&self, share: Share, before: usize, after: usize) {
        if share != Share::Journals {
            // Both wrap in the same way, so that the sum is right once all have been counted.
            self.total.fetch_add(after.wrapping_sub(before), Relaxed);
        }
    }

    fn held(&self, share: Share) -> &AtomicUsize {
        // An array of the shares in their order.
        &self.held[share as usize]
    }
}

/// What one holder has of a share; given back when it is dropped.
#[derive(Debug)]
pub struct Weight {
    account: Arc<Account>,
    share: Share,
    bytes: u32,
}

impl Weight {
    /// Nothing yet.
    pub fn new(account: &Arc<Account>, share: Share) -> Weight {
        Weight {
            account: account.clone(),
            share,
            bytes: 0,
        }
    }

    /// The holder has so much now.
    pub fn set(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        if bytes != self.bytes {
            let before = std::mem::replace(&mut self.bytes, bytes);
            self.account
                .change(self.share, before as usize, bytes as usize);
        }
    }

    /// Where it is counted.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// What it has.
    pub fn bytes(&self) -> usize {
        self.bytes as usize
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holders_have_is_counted_and_given_back() {
        let account = Arc::new(Account::new(32_000));
        let mut one = Weight::new(&account, Share::Groups);
        let mut other = Weight::new(&account, Share::Journals);
        one.set(100);
        other.set(50);
        one.set(30);
        assert_eq!((account.bytes(Share::Groups), account.total()), (30, 30));
        assert_eq!(account.kept(), 80);
        account.set(Share::Topics, 7);
        account.set(Share::Topics, 5);
        assert_eq!(account.total(), 35);
        drop((one, other));
        assert_eq!((account.total(), account.kept()), (5, 5));
    }

    #[test]
    fn a_share_is_refused_beyond_its_part_and_taken_again_once_there_is_room() {
        let account = Arc::new(Account::new(32_000));
        let mut weight = Weight::new(&account, Share::Groups);
        weight.set(4_000);
        assert_eq!(account.check(Share::Groups, 0), Ok(()));
        let full = account.check(Share::Groups, 1).expect_err("full");
        assert_eq!(
            full.to_string(),
            "groups and their offsets hold 4000 bytes of memory, and their part of the memory limit is 4000: delete groups \
             that nobody uses (kafka-consumer-groups --delete), or raise --memory-limit"
        );
        assert_eq!(account.check(Share::Topics, 1), Ok(()));
        weight.set(3_999);
        assert_eq!(account.check(Share::Groups, 1), Ok(()));
    }

    /// A journal says about as much as what it is about takes, and is shortened at twice that where memory is full.
    #[test]
    fn all_shares_at_their_largest_leave_an_eighth_of_the_limit_to_records() {
        let counted = Share::ALL.iter().filter(|share| **share != Share::Journals);
        let held: usize = counted.map(|share| share.parts()).sum();
        let journals = 2 * (Share::Groups.parts() + Share::Transactions.parts());
        assert!(held + journals <= PARTS - PARTS / 8);
    }
}
