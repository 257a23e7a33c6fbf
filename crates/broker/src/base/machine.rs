//! How much memory this process may use, and whether memory is short: what Linux says of the machine and of the control
//! groups that the process is in, of both versions. Elsewhere nothing is known, and nothing rests on it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// A group is close to `memory.high`, from where on its processes are slowed down, beyond this part of it.
const HIGH_PARTS: u64 = 16;
/// Memory is short when some task waited for it for so many hundredths of the last ten seconds.
const STALLED_PERCENT: f64 = 5.0;

/// How much memory there is to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usable {
    /// Bytes of it.
    pub bytes: u64,
    /// What says so.
    pub source: String,
}

/// The machine, as its files tell it.
#[derive(Clone, Debug)]
pub struct Machine {
    root: PathBuf,
    /// Once it was asked for.
    usable: Arc<OnceLock<Option<Usable>>>,
}

impl Default for Machine {
    fn default() -> Self {
        Machine::at("/")
    }
}

impl Machine {
    /// A machine whose `proc` and `sys` are in this directory.
    pub fn at(root: impl Into<PathBuf>) -> Machine {
        Machine {
            root: root.into(),
            usable: Arc::default(),
        }
    }

    /// The smallest of the machine's memory and the limits of all groups around the process. It is looked for once, so
    /// that whoever checks what is to hold and whoever goes by it are told the same.
    pub fn usable(&self) -> Option<Usable> {
        self.usable.get_or_init(|| self.find_usable()).clone()
    }

    fn find_usable(&self) -> Option<Usable> {
        let limits = ["memory.max", "memory.high", "memory.limit_in_bytes"];
        let groups = self.groups().into_iter().flat_map(|group| {
            limits.map(|file| {
                let path = group.join(file);
                let told = Path::new("/").join(path.strip_prefix(&self.root).unwrap_or(&path));
                Some(Usable {
                    bytes: number(&path)?,
                    source: told.display().to_string(),
                })
            })
        });
        let machine = self.machine_bytes().map(|bytes| Usable {
            bytes,
            source: "the machine's memory".to_owned(),
        });
        let all = std::iter::once(machine).chain(groups).flatten();
        all.min_by_key(|usable| usable.bytes)
    }

    fn machine_bytes(&self) -> Option<u64> {
        let text = std::fs::read_to_string(self.root.join("proc/meminfo")).ok()?;
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        kib.checked_mul(1024)
    }

    /// The directories of the groups around the process, the innermost first. In a namespace of its own a process is told
    /// a path that is not there, or the one below which its groups are.
    fn groups(&self) -> Vec<PathBuf> {
        let told = std::fs::read_to_string(self.root.join("proc/self/cgroup"));
        let mut groups = Vec::new();
        for line in told.unwrap_or_default().lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
                continue;
            };
            let top = match controllers {
                "" => self.root.join("sys/fs/cgroup"),
                some if some.split(',').any(|one| one == "memory") => {
                    self.root.join("sys/fs/cgroup/memory")
                }
                _ => continue,
            };
            let inner = top.join(path.trim_start_matches('/'));
            let around = inner.ancestors().take_while(|one| one.starts_with(&top));
            groups.extend(around.map(Path::to_path_buf));
        }
        groups
    }

    /// What to look at for whether memory is short, found once.
    pub fn gauge(&self) -> Gauge {
        let groups = self.groups();
        let own = groups.iter().map(|group| group.join("memory.pressure"));
        let all = own.chain([self.root.join("proc/pressure/memory")]);
        Gauge {
            pressure: all.into_iter().find(|file| file.exists()),
            bounded: groups
                .into_iter()
                .filter(|group| number(&group.join("memory.high")).is_some())
                .collect(),
        }
    }
}

/// Tells whether memory is short.
#[derive(Clone, Debug, Default)]
pub struct Gauge {
    pressure: Option<PathBuf>,
    /// Groups that are slowed down from some size on.
    bounded: Vec<PathBuf>,
}

impl Gauge {
    /// Why memory is short, if it is.
    pub fn shortage(&self) -> Option<String> {
        let stalled = self.pressure.as_ref().and_then(|file| {
            let text = std::fs::read_to_string(file).ok()?;
            let percent = stalled_percent(&text)?;
            let is_much = percent >= STALLED_PERCENT;
            is_much.then(|| format!("tasks wait for memory for {percent} % of the time"))
        });
        stalled.or_else(|| self.bounded.iter().find_map(|group| nearly_high(group)))
    }
}

fn nearly_high(group: &Path) -> Option<String> {
    let high = number(&group.join("memory.high"))?;
    let current = number(&group.join("memory.current"))?;
    let is_near = current >= high - high / HIGH_PARTS;
    is_near
        .then(|| format!("the control group takes {current} bytes, and its memory.high is {high}"))
}

/// The share of the last ten seconds in which some task waited, from a file of PSI.
fn stalled_percent(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    let average = line
        .split(' ')
        .find_map(|part| part.strip_prefix("avg10="))?;
    average.parse().ok()
}

fn number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with these files, removed with it.
    struct Made {
        root: PathBuf,
    }

    impl Made {
        fn with(name: &str, files: &[(&str, &str)]) -> Made {
            let name = format!("rustka-machine-{}-{name}", std::process::id());
            let made = Made {
                root: std::env::temp_dir().join(name),
            };
            for (path, text) in files {
                let path = made.root.join(path);
                let parent = path.parent().expect("a directory");
                std::fs::create_dir_all(parent).expect("made");
                std::fs::write(path, text).expect("written");
            }
            made
        }

        fn usable(&self) -> Option<(u64, String)> {
            let usable = Machine::at(&self.root).usable();
            usable.map(|usable| (usable.bytes, usable.source))
        }
    }

    impl Drop for Made {
        fn drop(&mut self) {
            let _removed = std::fs::remove_dir_all(&self.root);
        }
    }

    const MEMORY: (&str, &str) = ("proc/meminfo", "MemFree: 1 kB\nMemTotal:  1000 kB\n");

    #[test]
    fn without_groups_it_is_the_machines_memory_and_without_files_nothing() {
        let made = Made::with("plain", &[MEMORY]);
        let expected = (1_024_000, "the machine's memory".to_owned());
        assert_eq!(made.usable(), Some(expected));
        assert_eq!(Made::with("empty", &[]).usable(), None);
    }

    /// Only the outermost group was looked at: a broker in a group within a group took what its parent had.
    #[test]
    fn the_smallest_limit_around_the_process_counts_in_both_versions() {
        let v2 = [
            MEMORY,
            ("proc/self/cgroup", "0::/outer/inner\n"),
            ("sys/fs/cgroup/outer/memory.max", "5000\n"),
            ("sys/fs/cgroup/outer/inner/memory.max", "max\n"),
            ("sys/fs/cgroup/outer/inner/memory.high", "7000\n"),
        ];
        let told = "/sys/fs/cgroup/outer/memory.max".to_owned();
        assert_eq!(Made::with("v2", &v2).usable(), Some((5_000, told)));
        let v1 = [
            MEMORY,
            ("proc/self/cgroup", "5:cpu:/x\n4:memory:/outer/inner\n"),
            (
                "sys/fs/cgroup/memory/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
            ("sys/fs/cgroup/memory/outer/memory.limit_in_bytes", "8000\n"),
            (
                "sys/fs/cgroup/memory/outer/inner/memory.limit_in_bytes",
                "6000\n",
            ),
        ];
        let told = "/sys/fs/cgroup/memory/outer/inner/memory.limit_in_bytes".to_owned();
        assert_eq!(Made::with("v1", &v1).usable(), Some((6_000, told)));
    }

    #[test]
    fn a_container_that_is_told_a_path_outside_of_it_finds_its_own_limit() {
        let files = [
            MEMORY,
            ("proc/self/cgroup", "0::/docker/0123\n"),
            ("sys/fs/cgroup/memory.max", "4000\n"),
        ];
        let told = "/sys/fs/cgroup/memory.max".to_owned();
        assert_eq!(Made::with("docker", &files).usable(), Some((4_000, told)));
    }

    #[test]
    fn memory_is_short_when_tasks_wait_for_it_or_the_group_is_near_its_high_mark() {
        let calm = "some avg10=4.99 avg60=9.00 avg300=9.00 total=1\nfull avg10=9.00\n";
        let made = Made::with(
            "pressure",
            &[
                ("proc/self/cgroup", "0::/own\n"),
                ("proc/pressure/memory", "some avg10=90.00\n"),
                ("sys/fs/cgroup/own/memory.pressure", calm),
                ("sys/fs/cgroup/own/memory.high", "1600\n"),
                ("sys/fs/cgroup/own/memory.current", "1499\n"),
            ],
        );
        let gauge = Machine::at(&made.root).gauge();
        assert_eq!(gauge.shortage(), None, "the own group counts");
        let own = made.root.join("sys/fs/cgroup/own");
        std::fs::write(own.join("memory.current"), "1500\n").expect("written");
        let told = "the control group takes 1500 bytes, and its memory.high is 1600";
        assert_eq!(gauge.shortage().as_deref(), Some(told));
        std::fs::write(own.join("memory.pressure"), "some avg10=5.00\n").expect("written");
        let told = "tasks wait for memory for 5 % of the time";
        assert_eq!(gauge.shortage().as_deref(), Some(told));
        assert_eq!(Gauge::default().shortage(), None);
    }
}
