//! Unpacks a hostile archive on the host: nothing is written, and no link points, outside its one entry.

use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

/// Unpacks an archive of exactly one file or directory into an empty directory; returns where it lies.
///
/// Devices and pipes are left out, and so are links that lead out of the entry: a later copy to the same
/// place, or a program of the host, would follow them. Links are made last, so that nothing is unpacked
/// through one.
pub(super) fn into(archive: impl Read, scratch: &Path) -> io::Result<PathBuf> {
    let mut links = Vec::new();
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        if kind.is_symlink() {
            let target = entry.link_name()?.unwrap_or_default().into_owned();
            links.push((entry.path()?.into_owned(), target));
        } else if kind.is_block_special() || kind.is_character_special() || kind.is_fifo() {
            tracing::warn!(path = %entry.path()?.display(), "device or pipe not copied");
        } else {
            entry.set_preserve_permissions(false);
            entry.unpack_in(scratch)?;
        }
    }
    for (path, target) in links {
        if !link(scratch, &path, &target)? {
            tracing::warn!(path = %path.display(), target = %target.display(), "link that leads out not copied");
        }
    }
    let mut names = fs::read_dir(scratch)?.collect::<io::Result<Vec<_>>>()?;
    match (names.pop(), names.is_empty()) {
        (Some(only), true) => Ok(only.path()),
        _ => Err(io::Error::other("the archive does not hold exactly one file or directory")),
    }
}

/// Makes a link if it stays inside. `false` when it does not, or its place is not inside.
fn link(scratch: &Path, path: &Path, target: &Path) -> io::Result<bool> {
    let Some(place) = normal(path) else { return Ok(false) };
    if !stays_inside(&place, target) {
        return Ok(false);
    }
    let mut parent = scratch.to_owned();
    for part in place.parent().into_iter().flat_map(Path::components) {
        parent.push(part);
        match fs::symlink_metadata(&parent) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => return Ok(false),
            Err(_) => fs::create_dir(&parent)?,
        }
    }
    let at = scratch.join(place);
    if fs::symlink_metadata(&at).is_ok_and(|meta| !meta.is_dir()) {
        fs::remove_file(&at)?;
    }
    std::os::unix::fs::symlink(target, at).map(|()| true)
}

/// The path without `.`; `None` when it is empty, absolute or has `..`.
fn normal(path: &Path) -> Option<PathBuf> {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    let parts: Vec<_> = parts
        .map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect::<Option<_>>()?;
    (!parts.is_empty()).then(|| parts.into_iter().collect())
}

/// Whether a link at `place` (below the top entry) with this text stays below the top entry, whatever other
/// links there are: it goes up first, not above the top, and then only down.
fn stays_inside(place: &Path, target: &Path) -> bool {
    let depth = place.components().count().saturating_sub(2);
    let (mut ups, mut down) = (0, false);
    for part in target.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(_) => down = true,
            Component::ParentDir if !down => ups += 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    place.components().count() > 1 && ups <= depth
}

/// Moves `from` to `to`: files and links replace what is there in one step, directories are merged. A link
/// at the target is replaced, never followed.
pub(super) fn merge(from: &Path, to: &Path) -> io::Result<()> {
    let source = fs::symlink_metadata(from)?;
    match fs::symlink_metadata(to) {
        Ok(there) if source.is_dir() && there.is_dir() => {
            for entry in fs::read_dir(from)? {
                let entry = entry?;
                merge(&entry.path(), &to.join(entry.file_name()))?;
            }
            Ok(())
        }
        _ => fs::rename(from, to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_may_go_up_to_the_top_entry_and_down_again() {
        let inside = |place: &str, target: &str| stays_inside(Path::new(place), Path::new(target));
        assert!(inside("top/a", "b/c"));
        assert!(inside("top/bin/a", "../lib/a"));
        for (place, target) in [
            ("top", "x"),
            ("top/a", "/etc/passwd"),
            ("top/a", "../x"),
            ("top/b/a", "../../x"),
            ("top/b/a", "c/../../../x"),
            ("top/b/a", "c/.."),
        ] {
            assert!(!inside(place, target), "{place} -> {target}");
        }
    }
}
