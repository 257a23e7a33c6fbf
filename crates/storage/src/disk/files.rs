//! What the engine asks of a file system, so that tests can put one in its place that loses power.

#[cfg(target_os = "linux")]
use super::uncached::UncachedFile;
use crate::figures::Room;
use nix::sys::statvfs::statvfs;
use std::fmt;
use std::fs::{File, OpenOptions};
#[cfg(target_os = "linux")]
use std::io::IoSliceMut;
use std::io::{self, IoSlice};
#[cfg(target_os = "linux")]
use std::num::NonZeroU64;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
#[cfg(target_os = "linux")]
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// What is about to take another file's place.
pub(super) const TEMPORARY: &str = ".tmp";

/// So many pieces are written by one call.
#[cfg(target_os = "linux")]
const PIECES_MAX: usize = 512;

/// A file system.
pub trait Files: Send + Sync {
    /// What lies in a folder, in no order. A link counts as what it leads to; one that leads nowhere as a folder, which
    /// cannot be listed.
    fn list(&self, folder: &Path) -> io::Result<Vec<Listed>>;

    /// Makes a folder whose parent is there.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;

    /// Opens a file.
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn OpenFile>>;

    /// Opens a file to be read once: from the disk rather than from the system's cache, and without taking anything's place
    /// there, where the system can do that.
    fn open_uncached(&self, path: &Path) -> io::Result<Arc<dyn OpenFile>> {
        self.open(path, Mode::Read)
    }

    /// Gives a file or folder another name; a file that has it goes.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty folder, or the link to one.
    fn remove_folder(&self, folder: &Path) -> io::Result<()>;

    /// Makes durable which files are in a folder, and under which names.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Makes a file that takes so many bytes of the volume, whatever is in it.
    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        write_zeros(&*self.open(path, Mode::Anew)?, bytes)
    }

    /// How much there is and how much of it is free where this folder lies.
    fn room(&self, folder: &Path) -> io::Result<Room>;
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To read what is there.
    Read,
    /// To read and write what is there, or a new file.
    Write,
    /// To write a new file in the place of what is there.
    Anew,
}

/// One entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name; none where that is no text.
    pub name: String,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// Size of a file.
    pub bytes: u64,
    /// Wall time at which it was written last.
    pub written_ms: i64,
}

/// An open file. What is written is read by others at once, and is durable once it is synced.
pub trait OpenFile: Send + Sync {
    /// Reads at most `into.len()` bytes; fewer only at the end.
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize>;

    /// Writes all of these bytes.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Writes all of these, one behind the other.
    fn write_pieces_at(&self, pieces: &[IoSlice<'_>], mut at: u64) -> io::Result<()> {
        for piece in pieces {
            self.write_at(piece, at)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// Cuts the file to this size.
    fn cut(&self, bytes: u64) -> io::Result<()>;

    /// Its size.
    fn bytes(&self) -> io::Result<u64>;

    /// Makes durable what was written, and the size.
    fn sync(&self) -> io::Result<()>;

    /// Whether it can be sent: [`OpenFile::read_now`] and [`OpenFile::send`] do what they say.
    fn can_be_sent(&self) -> bool {
        false
    }

    /// Reads at most `into.len()` bytes of what the system has in its cache; nothing where the disk would be waited for.
    fn read_now(&self, _into: &mut [u8], _at: u64) -> io::Result<Option<usize>> {
        Ok(None)
    }

    /// Has the system begin to read these bytes into its cache. It need not.
    fn read_ahead(&self, _at: u64, _bytes: u64) {}

    /// Hands at most so many bytes from there on to a socket; how many it took, none at the end of the file.
    fn send(&self, _socket: BorrowedFd<'_>, _at: u64, _bytes: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// The system's own.
pub struct SystemFiles;

impl Files for SystemFiles {
    fn list(&self, folder: &Path) -> io::Result<Vec<Listed>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // A link is what it leads to: large partitions may lie on another volume.
            all.push(match std::fs::metadata(entry.path()) {
                Ok(metadata) => Listed {
                    name,
                    is_folder: metadata.is_dir(),
                    bytes: metadata.len(),
                    written_ms: metadata.modified().map_or(0, wall_ms),
                },
                // That volume is not there. Nobody is to take it for a file, or for nothing.
                Err(error) if is_missing(&error) && entry.file_type()?.is_symlink() => Listed {
                    name,
                    is_folder: true,
                    bytes: 0,
                    written_ms: 0,
                },
                // Whoever removes files meanwhile is not waited for.
                Err(error) if is_missing(&error) => continue,
                Err(error) => return Err(error),
            });
        }
        Ok(all)
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir(folder)
    }

    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn OpenFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            Mode::Read => {}
            Mode::Write => {
                options.write(true).create(true).truncate(false);
            }
            Mode::Anew => {
                options.write(true).create(true).truncate(true);
            }
        }
        Ok(Arc::new(SystemFile(options.open(path)?)))
    }

    #[cfg(target_os = "linux")]
    fn open_uncached(&self, path: &Path) -> io::Result<Arc<dyn OpenFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        options.custom_flags(nix::fcntl::OFlag::O_DIRECT.bits());
        match options.open(path).and_then(UncachedFile::new) {
            Ok(file) => Ok(Arc::new(file)),
            // Not every file system can do that.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.open(path, Mode::Read)
            }
            Err(error) => Err(error),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        match std::fs::remove_dir(folder) {
            Err(_) if folder.is_symlink() => std::fs::remove_file(folder),
            removed => removed,
        }
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let file = SystemFile(File::create(path)?);
        // Where the system can do that it takes no time.
        #[cfg(target_os = "linux")]
        if let Ok(length) = bytes.try_into()
            && nix::fcntl::posix_fallocate(&file.0, 0, length).is_ok()
        {
            return Ok(());
        }
        write_zeros(&file, bytes)
    }

    fn room(&self, folder: &Path) -> io::Result<Room> {
        let volume = statvfs(folder)?;
        // Their types differ from one system to another.
        #[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
        let bytes = |blocks| (blocks as u64).saturating_mul(volume.fragment_size() as u64);
        Ok(Room {
            total_bytes: bytes(volume.blocks()),
            free_bytes: bytes(volume.blocks_available()),
        })
    }
}

fn write_zeros(file: &dyn OpenFile, bytes: u64) -> io::Result<()> {
    static PIECE: [u8; 64 << 10] = [0; 64 << 10];
    let mut at = 0;
    while at < bytes {
        let next = (bytes - at).min(PIECE.len() as u64);
        file.write_at(&PIECE[..next as usize], at)?;
        at += next;
    }
    Ok(())
}

fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn wall_ms(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

struct SystemFile(File);

impl OpenFile for SystemFile {
    fn read_at(&self, mut into: &mut [u8], mut at: u64) -> io::Result<usize> {
        let wanted = into.len();
        while !into.is_empty() {
            match self.0.read_at(into, at) {
                Ok(0) => break,
                Ok(n) => {
                    into = &mut into[n..];
                    at += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(wanted - into.len())
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    #[cfg(target_os = "linux")]
    fn write_pieces_at(&self, mut pieces: &[IoSlice<'_>], mut at: u64) -> io::Result<()> {
        loop {
            let together = match pieces {
                [] => return Ok(()),
                [piece] => return self.write_at(piece, at),
                _ => &pieces[..pieces.len().min(PIECES_MAX)],
            };
            let place = i64::try_from(at).map_err(io::Error::other)?;
            let mut written = match nix::sys::uio::pwritev(&self.0, together, place) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            at += written as u64;
            while let Some((piece, behind)) = pieces.split_first()
                && piece.len() <= written
            {
                written -= piece.len();
                pieces = behind;
            }
            if written > 0
                && let Some((piece, behind)) = pieces.split_first()
            {
                let left = &piece[written..];
                self.write_at(left, at)?;
                at += left.len() as u64;
                pieces = behind;
            }
        }
    }

    fn cut(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    #[cfg(target_os = "linux")]
    fn can_be_sent(&self) -> bool {
        // Not every file system says what it has in the cache.
        self.read_now(&mut [0], 0).is_ok()
    }

    #[cfg(target_os = "linux")]
    fn read_now(&self, into: &mut [u8], at: u64) -> io::Result<Option<usize>> {
        use rustix::io::{Errno, ReadWriteFlags, preadv2};
        let into = &mut [IoSliceMut::new(into)];
        match preadv2(&self.0, into, at, ReadWriteFlags::NOWAIT) {
            Ok(n) => Ok(Some(n)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(target_os = "linux")]
    fn read_ahead(&self, at: u64, bytes: u64) {
        // Advice: who does not take it reads later.
        let _advised = rustix::fs::fadvise(
            &self.0,
            at,
            NonZeroU64::new(bytes),
            rustix::fs::Advice::WillNeed,
        );
    }

    #[cfg(target_os = "linux")]
    fn send(&self, socket: BorrowedFd<'_>, mut at: u64, bytes: usize) -> io::Result<usize> {
        Ok(rustix::fs::sendfile(socket, &self.0, Some(&mut at), bytes)?)
    }
}

/// A sync that failed. What it was to make durable may be lost, although the system goes on showing it.
#[derive(Debug)]
struct SyncFailed(io::Error);

impl fmt::Display for SyncFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a sync failed: {}", self.0)
    }
}

impl std::error::Error for SyncFailed {}

/// Makes a file durable; the error tells what kind of operation failed, see [`is_failed_sync`].
pub(super) fn sync(file: &dyn OpenFile) -> io::Result<()> {
    file.sync()
        .map_err(|error| io::Error::new(error.kind(), SyncFailed(error)))
}

/// Whether what lies in a file is not to be believed from now on.
pub(super) fn is_failed_sync(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<SyncFailed>())
}

/// All of a small file; nothing if it is not there. One that is larger than `bytes_max` is an error.
pub(super) fn read_small(
    files: &dyn Files,
    path: &Path,
    bytes_max: u64,
) -> io::Result<Option<Vec<u8>>> {
    let file = match files.open(path, Mode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let bytes = file.bytes()?;
    if bytes > bytes_max {
        let why = format!("it is larger than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    let mut all = vec![0; bytes as usize];
    let n = file.read_at(&mut all, 0)?;
    all.truncate(n);
    Ok(Some(all))
}

/// What is called like this and a bit more.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut longer = path.as_os_str().to_owned();
    longer.push(suffix);
    longer.into()
}

/// Removes a file. One that is no longer there is no error.
pub(super) fn remove_if_there(files: &dyn Files, path: &Path) -> io::Result<()> {
    match files.remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Puts a file with this content in the place of what is there, so that a crash leaves one or the other.
pub(super) fn replace(files: &dyn Files, path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = with_suffix(path, TEMPORARY);
    let file = files.open(&beside, Mode::Anew)?;
    file.write_at(content, 0)?;
    file.sync()?;
    files.rename(&beside, path)?;
    match path.parent() {
        Some(folder) => files.sync_folder(folder),
        None => Ok(()),
    }
}
