//! Reads manifest files. The only part of the module that touches the disk.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::error::{Finding, ManifestErrors};
use super::model::Manifest;
use super::tree::Source;
use super::validate::parse;
use crate::config::HostEnv;

/// Name of the file in the home and in the working directory.
pub const FILE_NAME: &str = "claude-bottle.json";
/// Largest file that is read.
pub const MAX_BYTES: usize = 1024 * 1024;

/// Files a manifest is read from, lowest first: home, then working directory; or only the explicit one.
pub fn locations(host: &HostEnv, explicit: Option<&Path>) -> Vec<PathBuf> {
    match explicit {
        Some(path) => vec![host.cwd().join(path)],
        None => {
            let mut paths = vec![host.home().join(FILE_NAME), host.cwd().join(FILE_NAME)];
            paths.dedup();
            paths
        }
    }
}

/// Reads, merges and validates. `explicit` (from `--manifest`) replaces both usual files.
///
/// # Errors
/// All findings of all files; one finding when there is no manifest at all.
pub fn load(host: &HostEnv, explicit: Option<&Path>) -> Result<Manifest, ManifestErrors> {
    let paths = locations(host, explicit);
    let mut sources = Vec::new();
    let mut findings = Vec::new();
    for path in &paths {
        match read(path) {
            Ok(Some(bytes)) => match decode(path, bytes) {
                Ok(source) => sources.push(source),
                Err(finding) => findings.push(*finding),
            },
            Ok(None) => {}
            Err(error) => findings.push(Finding::of_file(
                path,
                format!("a file that cannot be read: {error}"),
                "a manifest is a readable file",
                None,
            )),
        }
    }
    if !findings.is_empty() {
        // What can be read is still checked, so that one round shows everything.
        if let Err(more) = parse(&sources).map(drop)
            && !sources.is_empty()
        {
            findings.extend(more.findings);
        }
        return Err(ManifestErrors { findings });
    }
    if sources.is_empty() {
        let place = paths.last().cloned().unwrap_or_default();
        let looked = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ");
        let hint = Some("run `bottle init` to write a first one".to_owned());
        return Err(Finding::of_file(place, "no manifest", format!("{looked} has to exist"), hint).into());
    }
    parse(&sources)
}

/// One byte more than allowed is read, so that a huge file is recognised without being read.
fn read(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Bytes → text. A UTF-8 byte order mark is dropped.
///
/// # Errors
/// The file is too large, binary, or in another encoding.
pub fn decode(path: &Path, bytes: Vec<u8>) -> Result<Source, Box<Finding>> {
    let wrong = |found: String| {
        let rule = "a manifest is JSON text in UTF-8, up to 1 MiB";
        Box::new(Finding::of_file(path, found, rule, None))
    };
    if bytes.len() > MAX_BYTES {
        return Err(wrong("a file of more than 1 MiB".to_owned()));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(wrong("text in UTF-16".to_owned()));
    }
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        return Err(wrong(format!("a binary file (a NUL byte at offset {at})")));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source::new(path, text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))),
        Err(error) => {
            Err(wrong(format!("bytes that are not UTF-8 (at offset {})", error.utf8_error().valid_up_to())))
        }
    }
}
