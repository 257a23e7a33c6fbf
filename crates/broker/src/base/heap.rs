//! Gives memory back to the system after a crowd: thousands of connections or member ids leave holes all over the
//! heap, which glibc keeps for whoever comes next.
//!
//! One call into the C library, hence `unsafe`.

/// A smaller crowd leaves too little to be worth a walk through the heap.
const CROWD_MIN: usize = 500;

/// Watches how many there are of whatever costs memory.
#[derive(Debug, Default)]
pub struct Crowd {
    most: usize,
}

impl Crowd {
    /// Takes note that there are so many now; true once when a crowd has gone for the most part.
    pub fn has_gone(&mut self, count: usize) -> bool {
        self.most = self.most.max(count);
        let gone = self.most >= CROWD_MIN && count <= self.most / 2;
        if gone {
            self.most = count;
        }
        gone
    }
}

/// Hands free pages back to the system, where the C library can; elsewhere the allocator does it by itself.
pub fn give_back() {
    #[cfg(all(feature = "cli", target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code)]
    {
        // SAFETY: it takes no pointer and may be called at any time, on any thread.
        let _released = unsafe { libc::malloc_trim(0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_has_gone_once_half_of_it_has() {
        let mut crowd = Crowd::default();
        for (count, gone) in [
            (0, false),
            (5_000, false),
            (4_000, false),
            (2_500, true),
            (2_500, false),
            (1_251, false),
            (10, true),
            (0, false),
        ] {
            assert_eq!(crowd.has_gone(count), gone, "{count}");
        }
    }

    #[test]
    fn a_few_are_no_crowd() {
        let mut crowd = Crowd::default();
        assert!(!crowd.has_gone(CROWD_MIN - 1));
        assert!(!crowd.has_gone(0));
    }
}
