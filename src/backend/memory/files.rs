//! A member's files, and tar archives of them.

use std::collections::BTreeMap;
use std::io::{self, Read as _};

/// Directories that every member has.
const DIRECTORIES: &[&str] =
    &["/", "/data", "/etc", "/home", "/opt", "/root", "/run", "/tmp", "/usr", "/usr/local", "/var", "/work"];

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Directory { mode: u32, uid: u64 },
    File { mode: u32, uid: u64, content: Vec<u8> },
    Link { uid: u64, target: String },
}

/// Files by absolute path.
#[derive(Clone, Debug)]
pub(super) struct Files(BTreeMap<String, Node>);

impl Files {
    /// The usual directories and `more` with their parents.
    pub(super) fn new<'a>(more: impl Iterator<Item = &'a str>) -> Self {
        let mut files = Self(BTreeMap::new());
        for path in DIRECTORIES.iter().copied().chain(more) {
            let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
            for end in ends.chain([path.len()]) {
                files.0.entry(path[..end].to_owned()).or_insert(Node::Directory { mode: 0o755, uid: 0 });
            }
        }
        files
    }

    /// A file's content.
    pub(super) fn read(&self, path: &str) -> Option<Vec<u8>> {
        match self.0.get(&clean(path)) {
            Some(Node::File { content, .. }) => Some(content.clone()),
            _ => None,
        }
    }

    /// Puts a file of the image there.
    pub(super) fn put(&mut self, path: &str, content: &[u8]) {
        self.0.insert(clean(path), Node::File { mode: 0o644, uid: 0, content: content.to_vec() });
    }

    /// Makes an empty file where there is none. `false` without a directory for it.
    pub(super) fn touch(&mut self, path: &str) -> bool {
        let path = clean(path);
        let parent = path.rfind('/').map_or("/", |at| &path[..at.max(1)]);
        let possible = self.has_directory(parent);
        if possible {
            let file = Node::File { mode: 0o644, uid: 0, content: Vec::new() };
            self.0.entry(path).or_insert(file);
        }
        possible
    }

    /// Drops everything below a directory.
    pub(super) fn empty(&mut self, path: &str) {
        let below = format!("{}/", clean(path).trim_end_matches('/'));
        self.0.retain(|name, _| !name.starts_with(&below));
    }

    pub(super) fn has_directory(&self, path: &str) -> bool {
        matches!(self.0.get(&clean(path)), Some(Node::Directory { .. }))
    }

    /// Unpacks an archive under `path`.
    pub(super) fn unpack(&mut self, path: &str, archive: &[u8]) -> io::Result<()> {
        for entry in tar::Archive::new(archive).entries()? {
            let mut entry = entry?;
            let name = clean(&format!("{path}/{}", entry.path()?.to_string_lossy()));
            let mode = entry.header().mode()? & 0o7777;
            // A polite writer sets it; an engine takes an empty field for root.
            let uid = entry.header().uid().unwrap_or(0);
            let node = match entry.header().entry_type() {
                tar::EntryType::Directory => Node::Directory { mode, uid },
                tar::EntryType::Symlink => {
                    let target = entry.link_name()?.unwrap_or_default().to_string_lossy().into_owned();
                    Node::Link { uid, target }
                }
                _ => {
                    let mut content = Vec::new();
                    entry.read_to_end(&mut content)?;
                    Node::File { mode, uid, content }
                }
            };
            let parents: Vec<usize> =
                name.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0).collect();
            for end in parents {
                self.0.entry(name[..end].to_owned()).or_insert(Node::Directory { mode: 0o755, uid: 0 });
            }
            self.0.insert(name, node);
        }
        Ok(())
    }

    /// Packs `path` with its own name at the top; `None` when it is missing.
    pub(super) fn pack(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let path = clean(path);
        if !self.0.contains_key(&path) {
            return Ok(None);
        }
        let parent = path.rfind('/').map_or(0, |at| at + 1);
        let mut tar = tar::Builder::new(Vec::new());
        let below = format!("{}/", path.trim_end_matches('/'));
        for (name, node) in self.0.iter().filter(|(name, _)| **name == path || name.starts_with(&below)) {
            let relative = name.get(parent..).filter(|name| !name.is_empty()).unwrap_or(".");
            let mut header = tar::Header::new_gnu();
            match node {
                Node::Directory { mode, uid } => {
                    header.set_uid(*uid);
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_mode(*mode);
                    header.set_size(0);
                    tar.append_data(&mut header, format!("{relative}/"), io::empty())?;
                }
                Node::File { mode, uid, content } => {
                    header.set_uid(*uid);
                    header.set_mode(*mode);
                    header.set_size(content.len() as u64);
                    tar.append_data(&mut header, relative, content.as_slice())?;
                }
                Node::Link { uid, target } => {
                    header.set_uid(*uid);
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_mode(0o777);
                    header.set_size(0);
                    tar.append_link(&mut header, relative, target)?;
                }
            }
        }
        tar.into_inner().map(Some)
    }
}

/// One absolute form for every spelling of a path.
fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}
