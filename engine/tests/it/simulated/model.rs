//! What a disk promises: files and folders as a process sees them, what of that is durable, and what
//! has been done since. Knows no faults and chooses no images: `images.rs` does.
//!
//! The promises are the weakest that file systems make: a synced file has its bytes, a synced folder
//! has its names, a rename inside of a folder happens or does not, and nothing else is certain.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use cairn_engine::base::time::UnixMs;

/// A file or folder, whatever its names are.
pub(crate) type NodeId = usize;

/// Something that was done. Files that are open are named by their node, others by path.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    CreateDir(PathBuf),
    /// Creates a file or empties the one that is there.
    Create(PathBuf),
    /// Creates a file if it is not there.
    Open(PathBuf),
    Write {
        file: NodeId,
        at: usize,
        bytes: Arc<[u8]>,
    },
    Cut {
        file: NodeId,
        to: usize,
    },
    Sync {
        file: NodeId,
        is_ok: bool,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Link {
        from: PathBuf,
        to: PathBuf,
    },
    Remove(PathBuf),
    SyncDir {
        dir: PathBuf,
        is_ok: bool,
    },
    /// The clock shows this from here on.
    Clock(UnixMs),
    /// The workload says something, for the checks.
    Note(Note),
}

/// What a workload says between two calls: that it has promised something, or is about to do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) what: &'static str,
    pub(crate) number: u64,
}

/// What a file has gone through since it was synced.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Write { at: usize, bytes: Arc<[u8]> },
    Cut { to: usize },
}

#[derive(Debug, Clone, Default)]
pub(crate) struct FileNode {
    /// What a process reads.
    pub(crate) current: Vec<u8>,
    /// What is certain to survive, but for `doubtful`.
    pub(crate) durable: Vec<u8>,
    /// What leads from `durable` to `current`.
    pub(crate) changes: Vec<Change>,
    /// What a failed sync was to make durable. The kernel told of that once and has taken the pages for
    /// clean since: no later sync brings them to the disk, though it succeeds. Parts of `current`.
    pub(crate) doubtful: Vec<Range<usize>>,
    /// The same, of `durable`.
    pub(crate) durable_doubtful: Vec<Range<usize>>,
    pub(crate) modified: UnixMs,
}

/// What has become of a folder's names since it was synced.
#[derive(Debug, Clone)]
pub(crate) enum NameChange {
    Set { name: OsString, node: NodeId },
    Unset { name: OsString },
    Move { from: OsString, to: OsString, node: NodeId },
}

pub(crate) type Names = BTreeMap<OsString, NodeId>;

#[derive(Debug, Clone, Default)]
pub(crate) struct DirNode {
    pub(crate) current: Names,
    pub(crate) durable: Names,
    pub(crate) changes: Vec<NameChange>,
}

#[derive(Debug, Clone)]
pub(crate) enum Node {
    File(FileNode),
    Dir(DirNode),
}

/// A disk.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) nodes: Vec<Node>,
    pub(crate) now: UnixMs,
}

const ROOT: NodeId = 0;

fn failed(kind: io::ErrorKind) -> io::Error {
    io::Error::from(kind)
}

impl FileNode {
    fn change(&mut self, change: Change, now: UnixMs) {
        change.apply(&mut self.current, usize::MAX);
        if let Change::Cut { to } = change {
            cut(&mut self.doubtful, to);
        }
        self.changes.push(change);
        self.modified = now;
    }

    fn sync(&mut self, is_ok: bool) {
        if is_ok {
            self.durable.clone_from(&self.current);
            self.changes.clear();
            self.durable_doubtful.clone_from(&self.doubtful);
        } else {
            self.doubtful.extend(written(&self.changes));
        }
    }
}

/// The parts of a file that these changes have written and left there.
pub(crate) fn written(changes: &[Change]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for change in changes {
        match change {
            Change::Write { at, bytes } => ranges.push(*at..at + bytes.len()),
            Change::Cut { to } => cut(&mut ranges, *to),
        }
    }
    ranges
}

fn cut(ranges: &mut Vec<Range<usize>>, to: usize) {
    ranges.retain_mut(|range| {
        range.end = range.end.min(to);
        range.start < range.end
    });
}

impl Change {
    /// Makes the change to `content`; of a write only the first `most` bytes.
    pub(crate) fn apply(&self, content: &mut Vec<u8>, most: usize) {
        match self {
            Change::Write { at, bytes } => {
                let bytes = &bytes[..bytes.len().min(most)];
                let end = at + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*at..end].copy_from_slice(bytes);
            }
            Change::Cut { to } => content.resize(*to, 0),
        }
    }
}

impl NameChange {
    pub(crate) fn apply(&self, names: &mut Names) {
        match self {
            NameChange::Set { name, node } => {
                names.insert(name.clone(), *node);
            }
            NameChange::Unset { name } => {
                names.remove(name);
            }
            NameChange::Move { from, to, node } => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

impl DirNode {
    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.current);
        self.changes.push(change);
    }
}

impl Model {
    /// A disk with a root folder and nothing in it.
    pub(crate) fn new() -> Model {
        Model { nodes: vec![Node::Dir(DirNode::default())], now: UnixMs(0) }
    }

    /// Does what `op` says. The node of the file that is created, opened or found.
    pub(crate) fn apply(&mut self, op: &Op) -> io::Result<Option<NodeId>> {
        match op {
            Op::CreateDir(path) => self.create_dir(path)?,
            Op::Create(path) => {
                let id = self.open_or_create(path)?;
                let now = self.now;
                let file = self.file_mut(id)?;
                if !file.current.is_empty() {
                    file.change(Change::Cut { to: 0 }, now);
                }
                return Ok(Some(id));
            }
            Op::Open(path) => return self.open_or_create(path).map(Some),
            Op::Write { file, at, bytes } => {
                let now = self.now;
                self.file_mut(*file)?.change(Change::Write { at: *at, bytes: Arc::clone(bytes) }, now);
            }
            Op::Cut { file, to } => {
                let now = self.now;
                self.file_mut(*file)?.change(Change::Cut { to: *to }, now);
            }
            Op::Sync { file, is_ok } => self.file_mut(*file)?.sync(*is_ok),
            Op::Rename { from, to } => self.rename(from, to)?,
            Op::Link { from, to } => self.link(from, to)?,
            Op::Remove(path) => {
                let (dir, name) = self.parent(path)?;
                let node = self.child(dir, &name).ok_or_else(|| failed(io::ErrorKind::NotFound))?;
                self.file_mut(node)?;
                self.dir_mut(dir)?.change(NameChange::Unset { name });
            }
            Op::SyncDir { dir, is_ok } => {
                let id = self.find(dir).ok_or_else(|| failed(io::ErrorKind::NotFound))?;
                let dir = self.dir_mut(id)?;
                if *is_ok {
                    dir.durable.clone_from(&dir.current);
                    dir.changes.clear();
                }
            }
            Op::Clock(now) => self.now = *now,
            Op::Note(_) => {}
        }
        Ok(None)
    }

    fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        match self.child(dir, &name).map(|id| &self.nodes[id]) {
            Some(Node::Dir(_)) => Ok(()),
            Some(Node::File(_)) => Err(failed(io::ErrorKind::AlreadyExists)),
            None => {
                let node = self.add(Node::Dir(DirNode::default()));
                self.dir_mut(dir)?.change(NameChange::Set { name, node });
                Ok(())
            }
        }
    }

    fn open_or_create(&mut self, path: &Path) -> io::Result<NodeId> {
        let (dir, name) = self.parent(path)?;
        if let Some(id) = self.child(dir, &name) {
            self.file_mut(id)?;
            return Ok(id);
        }
        let node = self.add(Node::File(FileNode { modified: self.now, ..FileNode::default() }));
        self.dir_mut(dir)?.change(NameChange::Set { name, node });
        Ok(node)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (from_dir, from) = self.parent(from)?;
        let (to_dir, to) = self.parent(to)?;
        let node = self.child(from_dir, &from).ok_or_else(|| failed(io::ErrorKind::NotFound))?;
        match self.child(to_dir, &to).map(|id| &self.nodes[id]) {
            Some(Node::Dir(_)) => return Err(failed(io::ErrorKind::IsADirectory)),
            // Two names of one file: nothing happens.
            Some(Node::File(_)) if self.child(to_dir, &to) == Some(node) => return Ok(()),
            _ => {}
        }
        if from_dir == to_dir {
            self.dir_mut(from_dir)?.change(NameChange::Move { from, to, node });
        } else {
            // Across folders each of them tells its half on its own.
            self.dir_mut(to_dir)?.change(NameChange::Set { name: to, node });
            self.dir_mut(from_dir)?.change(NameChange::Unset { name: from });
        }
        Ok(())
    }

    fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.find(from).ok_or_else(|| failed(io::ErrorKind::NotFound))?;
        self.file_mut(node)?;
        let (dir, name) = self.parent(to)?;
        if self.child(dir, &name).is_some() {
            return Err(failed(io::ErrorKind::AlreadyExists));
        }
        self.dir_mut(dir)?.change(NameChange::Set { name, node });
        Ok(())
    }

    fn add(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn child(&self, dir: NodeId, name: &OsStr) -> Option<NodeId> {
        match &self.nodes[dir] {
            Node::Dir(dir) => dir.current.get(name).copied(),
            Node::File(_) => None,
        }
    }

    /// The folder and the name of what `path` leads to, there or not.
    fn parent(&self, path: &Path) -> io::Result<(NodeId, OsString)> {
        let mut names = names(path);
        let name = names.pop().ok_or(failed(io::ErrorKind::InvalidInput))?;
        let dir = names.iter().try_fold(ROOT, |dir, name| self.child(dir, name));
        match dir.map(|id| (id, &self.nodes[id])) {
            Some((id, Node::Dir(_))) => Ok((id, name)),
            Some((_, Node::File(_))) => Err(failed(io::ErrorKind::NotADirectory)),
            None => Err(failed(io::ErrorKind::NotFound)),
        }
    }

    /// What `path` leads to.
    pub(crate) fn find(&self, path: &Path) -> Option<NodeId> {
        names(path).iter().try_fold(ROOT, |dir, name| self.child(dir, name))
    }

    pub(crate) fn file_mut(&mut self, id: NodeId) -> io::Result<&mut FileNode> {
        match &mut self.nodes[id] {
            Node::File(file) => Ok(file),
            Node::Dir(_) => Err(failed(io::ErrorKind::IsADirectory)),
        }
    }

    pub(crate) fn dir_mut(&mut self, id: NodeId) -> io::Result<&mut DirNode> {
        match &mut self.nodes[id] {
            Node::Dir(dir) => Ok(dir),
            Node::File(_) => Err(failed(io::ErrorKind::NotADirectory)),
        }
    }
}

/// The names on the way from the root, which is also the working folder.
fn names(path: &Path) -> Vec<OsString> {
    let mut names = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => names.push(name.to_owned()),
            Component::ParentDir => {
                names.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    names
}
