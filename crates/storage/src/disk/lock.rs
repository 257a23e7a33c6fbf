//! The lock on a data directory, which Java's brokers take as well: a record lock on all of `.lock`.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// The file that is locked. It stays after a kill, which harms nobody: the lock is the system's.
const NAME: &str = ".lock";

/// Held as long as it lives.
pub(super) struct Lock {
    _file: File,
    /// The file was not there before.
    pub is_new: bool,
}

/// A lock of the whole file for one who writes, as Java's is.
fn whole() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// Takes the lock; none if somebody else has it.
pub(super) fn take(folder: &Path) -> io::Result<Option<Lock>> {
    let path = folder.join(NAME);
    let mut options = OpenOptions::new();
    options.read(true).write(true).truncate(false);
    let (file, is_new) = match options.clone().create_new(true).open(&path) {
        Ok(file) => (file, true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            (options.create(true).open(&path)?, false)
        }
        Err(error) => return Err(error),
    };
    let whole = whole();
    // A lock of the open file, where there is such a thing: two brokers in one process exclude each other, too.
    #[cfg(target_os = "linux")]
    let locked = fcntl(&file, FcntlArg::F_OFD_SETLK(&whole));
    #[cfg(not(target_os = "linux"))]
    let locked = fcntl(&file, FcntlArg::F_SETLK(&whole));
    match locked {
        Ok(_) => Ok(Some(Lock {
            _file: file,
            is_new,
        })),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether nobody has the lock. Takes and makes nothing.
pub(super) fn look(folder: &Path) -> io::Result<bool> {
    let file = match File::open(folder.join(NAME)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return folder.read_dir().map(|_| true);
        }
        Err(error) => return Err(error),
    };
    let mut whole = whole();
    #[cfg(target_os = "linux")]
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut whole))?;
    #[cfg(not(target_os = "linux"))]
    fcntl(&file, FcntlArg::F_GETLK(&mut whole))?;
    Ok(i32::from(whole.l_type) == i32::from(libc::F_UNLCK as libc::c_short))
}

/// Gives the lock up and removes its file, as Kafka does after a clean stop.
pub(super) fn release(lock: Lock, folder: &Path) -> io::Result<()> {
    let removed = std::fs::remove_file(folder.join(NAME));
    drop(lock);
    removed
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_locked_once_even_within_a_process() {
        let folder = std::env::temp_dir().join(format!("rustka-lock-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let lock = take(&folder).unwrap().expect("free");
        assert!(take(&folder).unwrap().is_none());
        assert!(!look(&folder).unwrap());
        release(lock, &folder).unwrap();
        assert!(look(&folder).unwrap());
        assert!(take(&folder).unwrap().is_some());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
