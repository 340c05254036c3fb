//! Post-mortem files: `<time>-<slug>-<bottle id>.json`, so that their names alone tell what they are and sort by age.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{bounds, files};
use crate::ids::{BottleId, Slug};
use crate::messages::PostMortem;

/// How many are kept.
pub(super) const KEPT: usize = 50;
/// Longest slug in a name.
const SLUG_BYTES: usize = 80;
/// A temporary file of this age has no writer any more.
const ABANDONED: Duration = Duration::from_secs(3600);

/// What a file's name tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostMortemFile {
    /// When the bottle failed (RFC 3339, UTC, milliseconds).
    pub time: String,
    /// Its visible name.
    pub slug: Slug,
    /// Its id.
    pub bottle: BottleId,
    /// Where it lies.
    pub path: PathBuf,
}

impl PostMortemFile {
    /// `None` for a file that is something else.
    pub(super) fn of(path: PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_str()?.strip_suffix(".json")?;
        let (time, rest) = name.split_once('-')?;
        let (slug, bottle) = rest.rsplit_once('-')?;
        let words =
            |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let named = words(slug) && words(bottle);
        Some(Self {
            time: time_of(time).filter(|_| named)?,
            slug: Slug::from(slug),
            bottle: BottleId::from(bottle),
            path: path.clone(),
        })
    }
}

/// `20261123T194501.123Z` with its separators; `None` for another form.
fn time_of(name: &str) -> Option<String> {
    let is_form = name.len() == 20
        && name.bytes().zip(*b"00000000T000000.000Z").all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            form => byte == form,
        });
    let part = |range: std::ops::Range<usize>| name.get(range).unwrap_or_default();
    is_form.then(|| {
        let date = [part(0..4), part(4..6), part(6..8)].join("-");
        let time = [part(9..11), part(11..13), part(13..20)].join(":");
        format!("{date}T{time}")
    })
}

/// Writes a bundle and removes the oldest beyond [`KEPT`].
pub(super) fn write(state_dir: &Path, bundle: &PostMortem) -> io::Result<PathBuf> {
    let dir = files::post_mortem_dir(state_dir);
    files::make_dir(&dir)?;
    let path = dir.join(name_of(bundle));
    let mut text = serde_json::to_vec_pretty(&bounds::post_mortem(bundle))?;
    text.push(b'\n');
    files::replace(&path, &text)?;
    remove_old(&dir);
    Ok(path)
}

fn name_of(bundle: &PostMortem) -> String {
    let time: jiff::Timestamp = bundle.time.parse().unwrap_or_else(|_| jiff::Timestamp::now());
    let time = format!("{time:.3}").replace(['-', ':'], "");
    let word = |text: &str, extra: &[char]| {
        let kept = text.chars().filter(|c| c.is_ascii_alphanumeric() || extra.contains(c));
        let text: String = kept.take(SLUG_BYTES).collect();
        if text.is_empty() { "unnamed".to_owned() } else { text }
    };
    format!("{time}-{}-{}.json", word(bundle.slug.as_str(), &['-']), word(bundle.bottle.as_str(), &[]))
}

/// Those that are there, newest first.
pub(super) fn list(dir: &Path) -> io::Result<Vec<PostMortemFile>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        found.extend(PostMortemFile::of(entry?.path()));
    }
    found.sort_by(|a, b| b.path.cmp(&a.path));
    Ok(found)
}

/// Others may remove at the same time; what is gone is gone.
fn remove_old(dir: &Path) {
    for file in list(dir).unwrap_or_default().into_iter().skip(KEPT) {
        let _ = std::fs::remove_file(file.path);
    }
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let is_temporary = entry.file_name().to_string_lossy().ends_with(".tmp");
        let age = entry.metadata().ok().and_then(|meta| meta.modified().ok()?.elapsed().ok());
        if is_temporary && age.is_some_and(|age| age > ABANDONED) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
