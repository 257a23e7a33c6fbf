//! A file system in memory for tests, which writes down every operation that a crash may undo. From what it wrote down
//! any state is made that the disk may be in after a power cut at any of those operations; and each of them fails where
//! the test says so. It promises what POSIX does and no more: what is in a file is kept once the file was synced, and a
//! name once its folder was.

mod crash;

pub use crash::Loss;

use super::PLENTY;
use crate::disk::{Directory, DiskEngine, Files, Fsync, Identity, Listed, Mode, OpenFile, Room};
use crate::limit::Memory;
use rustka_wire::Uuid;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Component, Path};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How large it says to be where nobody says otherwise.
const VOLUME_BYTES: u64 = 1 << 40;

/// Tells files and folders apart for as long as there are any.
type Node = usize;
/// That of the folder in which all lies.
const TOP: Node = 0;

/// What is in a node.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    File(Vec<u8>),
    Folder(BTreeMap<String, Node>),
}

impl Content {
    /// The same kind of thing with nothing in it.
    fn emptied(&self) -> Content {
        match self {
            Content::File(_) => Content::File(Vec::new()),
            Content::Folder(_) => Content::Folder(BTreeMap::new()),
        }
    }
}

/// Something that a crash may undo.
#[derive(Clone, Debug)]
enum Change {
    /// Names in folders, all of which change at once: what each means now.
    Names(Vec<(Node, String, Option<Node>)>),
    Bytes {
        file: Node,
        at: u64,
        bytes: Vec<u8>,
    },
    Size {
        file: Node,
        bytes: u64,
    },
}

impl Change {
    /// Whether it is durable once this node is synced.
    fn concerns(&self, node: Node) -> bool {
        match self {
            Change::Names(names) => names.iter().any(|(folder, ..)| *folder == node),
            Change::Bytes { file, .. } | Change::Size { file, .. } => *file == node,
        }
    }
}

/// One operation, by the number of those before it.
#[derive(Clone, Debug)]
struct Operation {
    what: String,
    effect: Effect,
}

#[derive(Clone, Debug)]
enum Effect {
    Changed(Change),
    Synced(Node),
    /// The sync of a file failed: no later one makes durable what was written before it.
    GivenUp(Node),
    /// It failed and changed nothing.
    Nothing,
}

/// What fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Failing {
    /// Nothing.
    #[default]
    Never,
    /// The operation with this number.
    At(usize),
    /// That one, and all that come later.
    From(usize),
}

impl Failing {
    fn strikes(self, number: usize) -> bool {
        match self {
            Failing::Never => false,
            Failing::At(at) => number == at,
            Failing::From(from) => number >= from,
        }
    }
}

/// See the file's top.
#[derive(Clone)]
pub struct SimulatedDisk(Arc<Mutex<Disk>>);

struct Disk {
    /// What was durable at the beginning.
    durable: Vec<Content>,
    /// What whoever asks sees.
    nodes: Vec<Content>,
    operations: Vec<Operation>,
    failing: Failing,
    /// So much fits.
    volume_bytes: u64,
    /// Files that take more than what is in them.
    reserved: BTreeMap<Node, u64>,
}

impl SimulatedDisk {
    /// One that holds this empty folder.
    pub fn new(root: &Path) -> SimulatedDisk {
        let mut nodes = vec![Content::Folder(BTreeMap::new())];
        for name in names(root) {
            let (node, child) = (nodes.len() - 1, nodes.len());
            if let Some(Content::Folder(entries)) = nodes.get_mut(node) {
                entries.insert(name, child);
            }
            nodes.push(Content::Folder(BTreeMap::new()));
        }
        SimulatedDisk::holding(nodes)
    }

    /// An engine with its directory on it, always of one owner, which does nothing by itself. Why not, where it cannot begin.
    pub fn start(&self, root: &Path, fsync: Fsync) -> Result<DiskEngine, String> {
        let owner = Identity {
            node_id: 1,
            cluster_id: "simulated".to_owned(),
            directory_id: Uuid([3; 16]),
        };
        let directory = Directory::open_in(Arc::new(self.clone()), root, &owner);
        let directory = directory.map_err(|error| error.to_string())?;
        let engine = DiskEngine::by_hand(directory, Memory::new(PLENTY), fsync);
        engine.map_err(|error| error.to_string())
    }

    fn holding(nodes: Vec<Content>) -> SimulatedDisk {
        SimulatedDisk(Arc::new(Mutex::new(Disk {
            durable: nodes.clone(),
            nodes,
            operations: Vec::new(),
            failing: Failing::Never,
            volume_bytes: VOLUME_BYTES,
            reserved: BTreeMap::new(),
        })))
    }

    /// Of no rank: whoever uses a file system may hold any lock.
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many operations there were that a crash may undo.
    pub fn operations(&self) -> usize {
        self.disk().operations.len()
    }

    /// What an operation was, for a person.
    pub fn operation(&self, number: usize) -> String {
        let disk = self.disk();
        let operation = disk.operations.get(number);
        operation.map_or_else(|| "the end".to_owned(), |operation| operation.what.clone())
    }

    /// Has operations fail from now on.
    pub fn fail(&self, failing: Failing) {
        self.disk().failing = failing;
    }

    /// Has no more than so many bytes fit from now on.
    pub fn resize(&self, volume_bytes: u64) {
        self.disk().volume_bytes = volume_bytes;
    }

    /// What is on the disk if the power goes after the first so many operations.
    pub fn after_crash(&self, operations: usize, loss: Loss) -> SimulatedDisk {
        let disk = self.disk();
        let count = operations.min(disk.operations.len());
        let done = &disk.operations[..count];
        let mut nodes = disk.durable.clone();
        let made = &disk.nodes[nodes.len()..];
        nodes.extend(made.iter().map(Content::emptied));
        SimulatedDisk::holding(crash::survivors(nodes, done, loss))
    }
}

impl fmt::Display for SimulatedDisk {
    /// All files with their sizes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let disk = self.disk();
        let mut folders = vec![(String::new(), TOP)];
        while let Some((path, node)) = folders.pop() {
            let Content::Folder(entries) = &disk.nodes[node] else {
                continue;
            };
            for (name, node) in entries {
                match &disk.nodes[*node] {
                    Content::File(bytes) => writeln!(f, "{path}/{name} {}", bytes.len())?,
                    Content::Folder(_) => folders.push((format!("{path}/{name}"), *node)),
                }
            }
        }
        Ok(())
    }
}

fn names(path: &Path) -> Vec<String> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    });
    names.collect()
}

fn failure() -> io::Error {
    io::Error::other("it fails on purpose")
}

fn error(kind: io::ErrorKind) -> io::Error {
    io::Error::from(kind)
}

impl Disk {
    fn find(&self, path: &Path) -> io::Result<Node> {
        names(path).iter().try_fold(TOP, |node, name| {
            let found = self.entries(node)?.get(name).copied();
            found.ok_or_else(|| error(io::ErrorKind::NotFound))
        })
    }

    /// The folder in which a path lies, and its name there.
    fn place(&self, path: &Path) -> io::Result<(Node, String)> {
        let parent = path.parent().unwrap_or(Path::new(""));
        let name = names(path).pop();
        let name = name.ok_or_else(|| error(io::ErrorKind::InvalidInput))?;
        Ok((self.find(parent)?, name))
    }

    fn entries(&self, node: Node) -> io::Result<&BTreeMap<String, Node>> {
        match &self.nodes[node] {
            Content::Folder(entries) => Ok(entries),
            Content::File(_) => Err(error(io::ErrorKind::NotADirectory)),
        }
    }

    fn content(&self, node: Node) -> io::Result<&Vec<u8>> {
        match &self.nodes[node] {
            Content::File(bytes) => Ok(bytes),
            Content::Folder(_) => Err(error(io::ErrorKind::IsADirectory)),
        }
    }

    fn note(&mut self, what: String, effect: Effect) {
        self.operations.push(Operation { what, effect });
    }

    /// What files take that have a name.
    fn used(&self) -> u64 {
        let mut used = 0;
        let mut folders = vec![TOP];
        while let Some(node) = folders.pop() {
            match &self.nodes[node] {
                Content::File(bytes) => {
                    let reserved = self.reserved.get(&node).copied().unwrap_or(0);
                    used += reserved.max(bytes.len() as u64);
                }
                Content::Folder(entries) => folders.extend(entries.values()),
            }
        }
        used
    }

    /// Whether that fits.
    fn has_room(&self, change: &Change) -> bool {
        let Change::Bytes { file, at, bytes } = change else {
            return true;
        };
        let end = at + bytes.len() as u64;
        let there = self
            .content(*file)
            .map_or(0, |content| content.len() as u64);
        self.volume_bytes == VOLUME_BYTES
            || self.used() + end.saturating_sub(there) <= self.volume_bytes
    }

    fn strikes(&self) -> bool {
        self.failing.strikes(self.operations.len())
    }

    /// Does and notes something that a crash may undo, unless it is to fail.
    fn change(&mut self, what: String, change: Change) -> io::Result<()> {
        if !self.has_room(&change) {
            self.note(
                format!("{what}, for which there is no room"),
                Effect::Nothing,
            );
            return Err(error(io::ErrorKind::StorageFull));
        }
        let strikes = self.strikes();
        let what = match strikes {
            true => format!("{what}, which fails"),
            false => what,
        };
        match change {
            // A part of it is there all the same.
            Change::Bytes {
                file,
                at,
                mut bytes,
            } if strikes => {
                bytes.truncate(bytes.len() / 2);
                let part = Change::Bytes { file, at, bytes };
                crash::apply(&mut self.nodes, &part);
                self.note(what, Effect::Changed(part));
            }
            _ if strikes => self.note(what, Effect::Nothing),
            change => {
                crash::apply(&mut self.nodes, &change);
                self.note(what, Effect::Changed(change));
            }
        }
        match strikes {
            true => Err(failure()),
            false => Ok(()),
        }
    }

    fn sync(&mut self, what: String, node: Node) -> io::Result<()> {
        match self.strikes() {
            true => {
                let effect = match self.content(node) {
                    Ok(_) => Effect::GivenUp(node),
                    // Names stay in the file system's journal.
                    Err(_) => Effect::Nothing,
                };
                self.note(format!("{what}, which fails"), effect);
                Err(failure())
            }
            false => {
                self.note(what, Effect::Synced(node));
                Ok(())
            }
        }
    }

    fn make(&mut self, path: &Path, content: Content) -> io::Result<Node> {
        let (folder, name) = self.place(path)?;
        let node = self.nodes.len();
        // What nobody has a name for is not there.
        self.nodes.push(content.clone());
        let made = Change::Names(vec![(folder, name, Some(node))]);
        self.change(format!("make {}", path.display()), made)?;
        Ok(node)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        let (folder, name) = self.place(path)?;
        let gone = Change::Names(vec![(folder, name, None)]);
        self.change(format!("remove {}", path.display()), gone)
    }
}

impl Files for SimulatedDisk {
    fn list(&self, folder: &Path) -> io::Result<Vec<Listed>> {
        let disk = self.disk();
        let entries = disk.entries(disk.find(folder)?)?;
        let listed = entries.iter().map(|(name, node)| {
            let content = disk.content(*node).ok();
            Listed {
                name: name.clone(),
                is_folder: content.is_none(),
                bytes: content.map_or(0, |bytes| bytes.len() as u64),
                written_ms: 0,
            }
        });
        Ok(listed.collect())
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        if disk.find(folder).is_ok() {
            return Err(error(io::ErrorKind::AlreadyExists));
        }
        disk.make(folder, Content::Folder(BTreeMap::new()))
            .map(drop)
    }

    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn OpenFile>> {
        let mut disk = self.disk();
        let node = match disk.find(path) {
            Ok(node) => {
                let bytes = disk.content(node)?.len();
                if mode == Mode::Anew && bytes > 0 {
                    let size = Change::Size {
                        file: node,
                        bytes: 0,
                    };
                    disk.change(format!("empty {}", path.display()), size)?;
                }
                node
            }
            Err(_) if mode != Mode::Read => disk.make(path, Content::File(Vec::new()))?,
            Err(error) => return Err(error),
        };
        Ok(Arc::new(SimulatedFile {
            disk: self.clone(),
            node,
            path: path.display().to_string(),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let node = disk.find(from)?;
        let ((from_folder, from_name), (to_folder, to_name)) = (disk.place(from)?, disk.place(to)?);
        let names = vec![
            (from_folder, from_name, None),
            (to_folder, to_name, Some(node)),
        ];
        let what = format!("rename {} to {}", from.display(), to.display());
        disk.change(what, Change::Names(names))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.content(disk.find(path)?)?;
        disk.remove(path)
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        if !disk.entries(disk.find(folder)?)?.is_empty() {
            return Err(error(io::ErrorKind::DirectoryNotEmpty));
        }
        disk.remove(folder)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let node = disk.find(folder)?;
        disk.sync(format!("sync the folder {}", folder.display()), node)
    }

    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let mut disk = self.disk();
        let free = disk.volume_bytes.saturating_sub(disk.used());
        let node = match disk.find(path) {
            Ok(node) => node,
            Err(_) => disk.make(path, Content::File(Vec::new()))?,
        };
        if bytes > free {
            return Err(error(io::ErrorKind::StorageFull));
        }
        disk.reserved.insert(node, bytes);
        Ok(())
    }

    fn room(&self, _folder: &Path) -> io::Result<Room> {
        let disk = self.disk();
        Ok(Room {
            total_bytes: disk.volume_bytes,
            free_bytes: disk.volume_bytes.saturating_sub(disk.used()),
        })
    }
}

struct SimulatedFile {
    disk: SimulatedDisk,
    node: Node,
    path: String,
}

impl OpenFile for SimulatedFile {
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let disk = self.disk.disk();
        let content = disk.content(self.node)?;
        let from = content.len().min(at as usize);
        let bytes = into.len().min(content.len() - from);
        into[..bytes].copy_from_slice(&content[from..from + bytes]);
        Ok(bytes)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let what = format!("write {} bytes at {at} of {}", bytes.len(), self.path);
        let change = Change::Bytes {
            file: self.node,
            at,
            bytes: bytes.to_vec(),
        };
        self.disk.disk().change(what, change)
    }

    fn cut(&self, bytes: u64) -> io::Result<()> {
        let what = format!("cut {} to {bytes}", self.path);
        let file = self.node;
        self.disk.disk().change(what, Change::Size { file, bytes })
    }

    fn bytes(&self) -> io::Result<u64> {
        let disk = self.disk.disk();
        Ok(disk.content(self.node)?.len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        let what = format!("sync {}", self.path);
        self.disk.disk().sync(what, self.node)
    }
}
