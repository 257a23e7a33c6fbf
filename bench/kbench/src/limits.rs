//! What this machine can do at best: copies, checksums, loopback, disk, system calls.

use crate::{
    args::Args,
    stat::{self, mono_ns, pct, thread_cpu},
};
use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

fn gbps(bytes: f64, mut f: impl FnMut()) -> f64 {
    let t = thread_cpu();
    f();
    bytes / (thread_cpu() - t) / 1e9
}

/// CPU seconds per GB on each side of a loopback stream, and wall GB/s.
fn loopback(total: usize, chunk: usize, file: Option<&File>, trunc: bool) -> (f64, f64, f64) {
    let l = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = l.local_addr().unwrap();
    let t0 = mono_ns();
    let (mut tx, mut rx) = (0.0, 0.0);
    std::thread::scope(|s| {
        let h = s.spawn(move || {
            let (mut c, _) = l.accept().unwrap();
            let (mut b, t) = (vec![0u8; chunk], thread_cpu());
            loop {
                let n = if trunc {
                    unsafe {
                        libc::recv(c.as_raw_fd(), b.as_mut_ptr().cast(), chunk, libc::MSG_TRUNC)
                            as usize
                    }
                } else {
                    c.read(&mut b).unwrap()
                };
                if n == 0 {
                    break;
                }
            }
            thread_cpu() - t
        });
        let mut c = TcpStream::connect(addr).unwrap();
        let (b, t) = (vec![1u8; chunk], thread_cpu());
        let mut left = total;
        while left > 0 {
            match file {
                None => {
                    c.write_all(&b).unwrap();
                    left -= chunk;
                }
                Some(f) => {
                    let mut off = 0i64;
                    while (off as usize) < (64 << 20) && left > 0 {
                        let n = unsafe {
                            libc::sendfile(c.as_raw_fd(), f.as_raw_fd(), &mut off, chunk.min(left))
                        };
                        left -= n as usize;
                    }
                }
            }
        }
        drop(c);
        tx = thread_cpu() - t;
        rx = h.join().unwrap();
    });
    let gb = total as f64 / 1e9;
    (tx / gb, rx / gb, gb / ((mono_ns() - t0) as f64 / 1e9))
}

/// GB/s of a copy into a new mapping of `advice`, and of a second copy into the same one.
fn fresh(src: &[u8], advice: i32) -> (f64, f64) {
    unsafe {
        let len = 4 * src.len();
        let p = libc::mmap(
            std::ptr::null_mut(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        assert_ne!(p, libc::MAP_FAILED);
        libc::madvise(p, len, advice);
        let copy = || {
            for i in 0..4 {
                std::ptr::copy_nonoverlapping(
                    src.as_ptr(),
                    p.cast::<u8>().add(i * src.len()),
                    src.len(),
                );
            }
        };
        let r = (gbps(len as f64, copy), gbps(len as f64, copy));
        libc::munmap(p, len);
        r
    }
}

/// lz4 frames of the produce cases' batches, 64 values of 1 KiB: CPU seconds per GB.
fn lz4_frames() -> f64 {
    let events: Vec<u8> = (0..64)
        .flat_map(|i| crate::batch::payload(1024, i + 7))
        .collect();
    1.0 / gbps(8_000.0 * events.len() as f64, || {
        for _ in 0..8_000 {
            let mut e = lz4_flex::frame::FrameEncoder::new(Vec::new());
            e.write_all(black_box(&events)).unwrap();
            black_box(e.finish().unwrap());
        }
    })
}

/// Everything, or `--only lz4`.
pub fn run(a: &Args) {
    let dir = a.str("dir", ".");
    let mut out = vec![("lz4_frame_64k_s_per_gb", lz4_frames())];
    if a.str("only", "") == "lz4" {
        return stat::print(&out);
    }
    // memory
    let n = 64 << 20;
    let (src, mut dst) = (vec![7u8; n], vec![0u8; n]);
    dst.copy_from_slice(&src);
    out.push((
        "memcpy_dram_gb_s",
        gbps(8.0 * n as f64, || {
            for _ in 0..8 {
                dst.copy_from_slice(black_box(&src));
                black_box(&dst);
            }
        }),
    ));
    let k = 64 << 10;
    out.push((
        "memcpy_64k_gb_s",
        gbps(20_000.0 * k as f64, || {
            for _ in 0..20_000 {
                dst[..k].copy_from_slice(black_box(&src[..k]));
                black_box(&dst);
            }
        }),
    ));
    // memory never touched before: 4 KiB pages, then 2 MiB pages, then the same mapping again
    out.push((
        "copy_to_fresh_4k_pages_s_per_gb",
        1.0 / fresh(&src, libc::MADV_NOHUGEPAGE).0,
    ));
    let (first, again) = fresh(&src, libc::MADV_HUGEPAGE);
    out.push(("copy_to_fresh_2m_pages_s_per_gb", 1.0 / first));
    out.push(("copy_to_used_pages_s_per_gb", 1.0 / again));
    out.push((
        "crc32c_64k_gb_s",
        gbps(20_000.0 * k as f64, || {
            for _ in 0..20_000 {
                black_box(crc32c::crc32c(black_box(&src[..k])));
            }
        }),
    ));
    out.push((
        "crc32c_1k_gb_s",
        gbps(1_000_000.0 * 1024.0, || {
            for _ in 0..1_000_000 {
                black_box(crc32c::crc32c(black_box(&src[..1024])));
            }
        }),
    ));
    // system calls
    let t = thread_cpu();
    for _ in 0..1_000_000 {
        unsafe { libc::syscall(libc::SYS_getppid) };
    }
    out.push(("syscall_ns", (thread_cpu() - t) * 1e3));
    // loopback stream
    for (name, chunk) in [("64k", 64 << 10), ("1m", 1 << 20)] {
        let (tx, rx, w) = loopback(2 << 30, chunk, None, false);
        let k: [&'static str; 3] = if name == "64k" {
            [
                "tcp_64k_send_cpu_s_per_gb",
                "tcp_64k_recv_cpu_s_per_gb",
                "tcp_64k_wall_gb_s",
            ]
        } else {
            [
                "tcp_1m_send_cpu_s_per_gb",
                "tcp_1m_recv_cpu_s_per_gb",
                "tcp_1m_wall_gb_s",
            ]
        };
        out.extend([(k[0], tx), (k[1], rx), (k[2], w)]);
    }
    let (tx, rx, _) = loopback(2 << 30, 1 << 20, None, true);
    out.extend([
        ("tcp_1m_send_to_discard_cpu_s_per_gb", tx),
        ("tcp_1m_recv_discard_cpu_s_per_gb", rx),
    ]);
    let path = format!("{dir}/limits.bin");
    let mut f = File::create(&path).unwrap();
    f.write_all(&src).unwrap();
    drop(f);
    let f = File::open(&path).unwrap();
    let (tx, rx, w) = loopback(2 << 30, 1 << 20, Some(&f), false);
    out.extend([
        ("sendfile_1m_send_cpu_s_per_gb", tx),
        ("sendfile_1m_recv_cpu_s_per_gb", rx),
        ("sendfile_wall_gb_s", w),
    ]);
    // page cache write and read
    let mut w = File::create(&path).unwrap();
    out.push((
        "file_write_64k_cpu_s_per_gb",
        1.0 / gbps(n as f64, || {
            for c in src.chunks(64 << 10) {
                w.write_all(c).unwrap();
            }
        }),
    ));
    let mut r = File::open(&path).unwrap();
    out.push((
        "file_read_64k_cpu_s_per_gb",
        1.0 / gbps(n as f64, || {
            for c in dst.chunks_mut(64 << 10) {
                r.read_exact(c).unwrap();
            }
        }),
    ));
    // fsync of 4 KiB appends
    let mut w = File::create(format!("{dir}/limits.sync")).unwrap();
    let mut v: Vec<u64> = (0..200)
        .map(|_| {
            w.write_all(&src[..4096]).unwrap();
            let t = mono_ns();
            w.sync_data().unwrap();
            mono_ns() - t
        })
        .collect();
    v.sort_unstable();
    out.extend([
        ("fdatasync_4k_p50_us", pct(&v, 50.0) / 1e3),
        ("fdatasync_4k_p99_us", pct(&v, 99.0) / 1e3),
    ]);
    // loopback round trip, blocking 100-byte ping-pong
    let l = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = l.local_addr().unwrap();
    std::thread::scope(|s| {
        s.spawn(move || {
            let (mut c, _) = l.accept().unwrap();
            c.set_nodelay(true).unwrap();
            let mut b = [0u8; 100];
            while c.read_exact(&mut b).is_ok() {
                c.write_all(&b).unwrap();
            }
        });
        let mut c = TcpStream::connect(addr).unwrap();
        c.set_nodelay(true).unwrap();
        let mut b = [0u8; 100];
        let t = thread_cpu();
        let mut v: Vec<u64> = (0..20_000)
            .map(|_| {
                let t = mono_ns();
                c.write_all(&b).unwrap();
                c.read_exact(&mut b).unwrap();
                mono_ns() - t
            })
            .collect();
        out.push(("ping_cpu_us", (thread_cpu() - t) / 20_000.0 * 1e6));
        v.sort_unstable();
        out.extend([
            ("rtt_p50_us", pct(&v, 50.0) / 1e3),
            ("rtt_p99_us", pct(&v, 99.0) / 1e3),
        ]);
    });
    let _ = std::fs::remove_file(path);
    let _ = std::fs::remove_file(format!("{dir}/limits.sync"));
    stat::print(&out);
}
