//! Keeps what the process takes near what it holds: few holes in the heap while it works, and memory given back to the
//! system after a crowd, of which glibc keeps the holes for whoever comes next.
//!
//! Calls into the C library, hence `unsafe`.

#[cfg(any(test, all(feature = "cli", target_os = "linux")))]
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// From this size on a block has pages of its own, which go back to the system with it. Blocks of records and frames are
/// used again through their pool, so that few of them come here.
#[cfg(any(test, all(feature = "cli", target_os = "linux", target_env = "gnu")))]
const PAGES_OF_ITS_OWN_BYTES: usize = 64 << 10;
/// The same where much memory may be taken: the last page of such a block is hardly used, and having the system make it
/// is most of what a batch of 64 KiB costs.
#[cfg(any(test, all(feature = "cli", target_os = "linux", target_env = "gnu")))]
const PAGES_OF_ITS_OWN_BYTES_MOST: usize = 256 << 10;
/// Holes between blocks without pages of their own stay below this part of the memory limit.
#[cfg(any(test, all(feature = "cli", target_os = "linux", target_env = "gnu")))]
const HOLE_PART: usize = 8192;
/// Each heap has holes of its own, and glibc makes eight of them for each processor.
#[cfg(all(feature = "cli", target_os = "linux", target_env = "gnu"))]
const HEAPS_MAX: libc::c_int = 2;

/// A smaller crowd leaves too little to be worth a walk through the heap.
const CROWD_MIN: usize = 500;

/// Less than this is not worth a walk through the heap.
pub const GIVE_BACK_BYTES_MIN: usize = 1 << 20;

/// Whether the process is a broker and nothing else.
static IS_OURS: AtomicBool = AtomicBool::new(false);

/// Watches how much there is of whatever costs memory.
#[derive(Debug)]
pub struct Crowd {
    /// A smaller one leaves too little to be worth a walk through the heap.
    least: usize,
    most: usize,
}

impl Crowd {
    /// Of things that cost about 2 kB each.
    pub fn of_things() -> Crowd {
        Crowd {
            least: CROWD_MIN,
            most: 0,
        }
    }

    /// Of bytes.
    pub fn of_bytes() -> Crowd {
        Crowd {
            least: GIVE_BACK_BYTES_MIN,
            most: 0,
        }
    }

    /// Takes note that there is so much now; true once when a crowd has gone for the most part.
    pub fn has_gone(&mut self, count: usize) -> bool {
        self.most = self.most.max(count);
        let gone = self.most >= self.least && count <= self.most / 2;
        if gone {
            self.most = count;
        }
        gone
    }
}

/// Has the C library's heap, where it can be told so, keep few holes: for a process that is a broker and nothing else.
/// It would raise the first of these sizes up to 32 MiB by itself, and then keep tens of megabytes at a limit of 64.
pub fn keep_tight() {
    IS_OURS.store(true, Relaxed);
    #[cfg(all(feature = "cli", target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code)]
    {
        // SAFETY: they take no pointer and may be called at any time; what is not understood is left as it was.
        let _taken = unsafe {
            (
                libc::mallopt(
                    libc::M_MMAP_THRESHOLD,
                    PAGES_OF_ITS_OWN_BYTES as libc::c_int,
                ),
                libc::mallopt(libc::M_ARENA_MAX, HEAPS_MAX),
            )
        };
    }
}

/// Tells the heap how much the process may take. Nothing happens in a process that is more than a broker.
pub fn suit(_limit: usize) {
    #[cfg(all(feature = "cli", target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code)]
    if IS_OURS.load(Relaxed) {
        let bytes = pages_of_its_own_bytes(_limit) as libc::c_int;
        // SAFETY: it takes no pointer and may be called at any time.
        let _taken = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, bytes) };
    }
}

#[cfg(any(test, all(feature = "cli", target_os = "linux", target_env = "gnu")))]
fn pages_of_its_own_bytes(limit: usize) -> usize {
    (limit / HOLE_PART).clamp(PAGES_OF_ITS_OWN_BYTES, PAGES_OF_ITS_OWN_BYTES_MOST)
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

/// Lets go of the pages of the program's own file and of its libraries', most of which were needed only to start. Those
/// that are needed again come back by themselves from the system's cache. Nothing happens in a process that is more than
/// a broker.
pub fn let_go_of_program() {
    #[cfg(all(feature = "cli", target_os = "linux"))]
    if IS_OURS.load(Relaxed)
        && let Ok(maps) = std::fs::read_to_string("/proc/self/smaps")
    {
        unchanged_ranges(&maps).into_iter().for_each(release);
    }
}

/// Where files are mapped that the process can only read, and has not changed before that was so.
#[cfg(any(test, all(feature = "cli", target_os = "linux")))]
fn unchanged_ranges(maps: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut range = None;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (first, second) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        match first {
            // What relocations have changed exists only in memory.
            "Anonymous:" => found.extend(range.take().filter(|_| second == "0")),
            name if name.ends_with(':') => {}
            addresses => {
                let is_read_only = matches!(second, "r--p" | "r-xp");
                // Behind the place in the file, its device and its number.
                let is_file = words.nth(3).is_some_and(|path| path.starts_with('/'));
                range = (is_read_only && is_file)
                    .then(|| range_of(addresses))
                    .flatten();
            }
        }
    }
    found
}

#[cfg(any(test, all(feature = "cli", target_os = "linux")))]
fn range_of(addresses: &str) -> Option<Range<usize>> {
    let (from, to) = addresses.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    Some(address(from)?..address(to)?)
}

#[cfg(all(feature = "cli", target_os = "linux"))]
#[allow(unsafe_code)]
fn release(range: Range<usize>) {
    let start = std::ptr::with_exposed_provenance_mut(range.start);
    // SAFETY: the range is a private mapping of a file without a changed page, which nobody may write to: whoever reads
    // there next is given the same bytes from the file again.
    let _released = unsafe { libc::madvise(start, range.len(), libc::MADV_DONTNEED) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_has_gone_once_half_of_it_has() {
        let mut crowd = Crowd::of_things();
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
    fn blocks_of_a_little_memory_have_pages_of_their_own_sooner() {
        for (limit_mib, kib) in [(16, 64), (512, 64), (1024, 128), (2048, 256), (65_536, 256)] {
            assert_eq!(pages_of_its_own_bytes(limit_mib << 20), kib << 10);
        }
    }

    #[test]
    fn a_few_are_no_crowd() {
        let mut crowd = Crowd::of_things();
        assert!(!crowd.has_gone(CROWD_MIN - 1));
        assert!(!crowd.has_gone(0));
    }

    #[test]
    fn only_what_can_be_read_from_the_file_again_is_let_go_of() {
        let maps = "\
1000-2000 r--p 00000000 00:1a 7 /bin/rustka
Size: 4 kB
Anonymous:             0 kB
2000-5000 r-xp 00001000 00:1a 7 /bin/rustka
Anonymous:             0 kB
5000-6000 r--p 00004000 00:1a 7 /bin/rustka
Anonymous:             4 kB
6000-7000 rw-p 00005000 00:1a 7 /bin/rustka
Anonymous:             0 kB
8000-9000 r-xp 00000000 00:1a 8 /lib/libc.so
Anonymous:             0 kB
a000-b000 r--p 00000000 00:00 0
Anonymous:             0 kB
b000-c000 r-xp 00000000 00:00 0 [vdso]
Anonymous:             0 kB
";
        let expected = vec![0x1000..0x2000, 0x2000..0x5000, 0x8000..0x9000];
        assert_eq!(unchanged_ranges(maps), expected);
    }
}
