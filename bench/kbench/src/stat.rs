//! What the measured process costs, from /proc, and the output format.

use std::fs;

pub fn mono_ns() -> u64 {
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// The wall clock, to compare with other processes' stamps.
pub fn unix_ns() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("a clock after 1970")
        .as_nanos() as u64
}

/// CPU seconds of this thread.
pub fn thread_cpu() -> f64 {
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut t) };
    t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
}

/// CPU seconds of all threads, living and dead, from the process's own clock (nanoseconds).
pub fn cpu(pid: i32) -> f64 {
    let mut clock: libc::clockid_t = 0;
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: both calls only write to the two locals.
    let read = unsafe {
        libc::clock_getcpuclockid(pid, &mut clock) == 0 && libc::clock_gettime(clock, &mut t) == 0
    };
    if read {
        t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
    } else {
        f64::NAN
    }
}

/// System part alone, in ticks of 10 ms: the kernel keeps no finer one of another process.
pub fn cpu_sys(pid: i32) -> f64 {
    let Ok(s) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return f64::NAN;
    };
    let f: Vec<&str> = s[s.rfind(')').unwrap() + 2..].split(' ').collect();
    f[12].parse::<u64>().unwrap() as f64 / 100.0
}

/// A kB field of /proc/PID/status, in MiB (VmRSS, VmHWM).
pub fn mem(pid: i32, key: &str) -> f64 {
    let Ok(s) = fs::read_to_string(format!("/proc/{pid}/status")) else {
        return f64::NAN;
    };
    s.lines()
        .find_map(|l| {
            l.strip_prefix(key)?
                .strip_prefix(':')?
                .split_whitespace()
                .next()?
                .parse::<f64>()
                .ok()
        })
        .map_or(f64::NAN, |k| k / 1024.0)
}

/// Context switches of all living threads.
pub fn ctxt(pid: i32) -> u64 {
    let Ok(d) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return 0;
    };
    d.flatten()
        .filter_map(|e| fs::read_to_string(e.path().join("status")).ok())
        .map(|s| {
            s.lines()
                .filter(|l| l.contains("ctxt_switches"))
                .filter_map(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok())
                .sum::<u64>()
        })
        .sum()
}

/// Before/after pair around a measured phase.
pub struct Meter {
    pid: i32,
    t: u64,
    cpu: f64,
    sys: f64,
    ctxt: u64,
    own: f64,
}

impl Meter {
    pub fn start(pid: i32) -> Meter {
        // reset VmHWM, so that the peak is this phase's own
        let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
        Meter {
            pid,
            t: mono_ns(),
            cpu: cpu(pid),
            sys: cpu_sys(pid),
            ctxt: ctxt(pid),
            own: cpu(std::process::id() as i32),
        }
    }
    pub fn stop(&self) -> Vec<(&'static str, f64)> {
        let me = std::process::id() as i32;
        vec![
            ("secs", (mono_ns() - self.t) as f64 / 1e9),
            ("broker_cpu_s", cpu(self.pid) - self.cpu),
            ("broker_sys_s", cpu_sys(self.pid) - self.sys),
            (
                "broker_ctxt",
                ctxt(self.pid).saturating_sub(self.ctxt) as f64,
            ),
            ("client_cpu_s", cpu(me) - self.own),
            ("rss_mib", mem(self.pid, "VmRSS")),
            ("rss_peak_mib", mem(self.pid, "VmHWM")),
        ]
    }
}

/// Prints one JSON object of numbers.
pub fn print(fields: &[(&str, f64)]) {
    let body: Vec<String> = fields
        .iter()
        .map(|(k, v)| {
            if v.is_finite() {
                format!("\"{k}\":{v}")
            } else {
                format!("\"{k}\":null")
            }
        })
        .collect();
    println!("{{{}}}", body.join(","));
}

/// The middle value, of what is a number.
pub fn median(values: &[f64]) -> f64 {
    let mut v: Vec<f64> = values.iter().copied().filter(|x| x.is_finite()).collect();
    v.sort_by(f64::total_cmp);
    v.get(v.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The next of a row of random numbers (xorshift); the seed must not be 0.
pub fn random(mut x: u64) -> u64 {
    x ^= x << 13;
    x ^= x >> 7;
    x ^ (x << 17)
}

/// Nearest-rank percentile of a sorted slice.
pub fn pct(sorted: &[u64], p: f64) -> f64 {
    if sorted.is_empty() {
        return f64::NAN;
    }
    sorted[(((sorted.len() as f64) * p / 100.0).ceil() as usize).clamp(1, sorted.len()) - 1] as f64
}
