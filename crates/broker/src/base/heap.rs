//! Keeps what the process takes near what it holds: few holes in the heap while it works, and memory given back to the
//! system after a crowd, of which glibc keeps the holes for whoever comes next.
//!
//! Calls into the C library, hence `unsafe`.

/// From this size on a block has pages of its own, which go back to the system with it. Blocks of records and frames are
/// used again through their pool, so that few of them come here.
#[cfg(all(feature = "cli", target_os = "linux", target_env = "gnu"))]
const PAGES_OF_ITS_OWN_BYTES: libc::c_int = 64 << 10;
/// Each heap has holes of its own, and glibc makes eight of them for each processor.
#[cfg(all(feature = "cli", target_os = "linux", target_env = "gnu"))]
const HEAPS_MAX: libc::c_int = 2;

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

/// Has the C library's heap, where it can be told so, keep few holes: for a process that is a broker and nothing else.
/// It would raise the first of these sizes up to 32 MiB by itself, and then keep tens of megabytes at a limit of 64.
pub fn keep_tight() {
    #[cfg(all(feature = "cli", target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code)]
    {
        // SAFETY: they take no pointer and may be called at any time; what is not understood is left as it was.
        let _taken = unsafe {
            (
                libc::mallopt(libc::M_MMAP_THRESHOLD, PAGES_OF_ITS_OWN_BYTES),
                libc::mallopt(libc::M_ARENA_MAX, HEAPS_MAX),
            )
        };
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
