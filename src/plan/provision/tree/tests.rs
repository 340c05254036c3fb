//! Hostile trees: links out, pipes, odd names, many files.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::symlink;

use super::*;

fn pack(from: &Path) -> (BTreeMap<PathBuf, (char, String)>, Vec<Skipped>) {
    let mut bytes = Vec::new();
    let skipped = add(&mut Archive::new(&mut bytes), from, Path::new("/w")).unwrap();
    let mut entries = BTreeMap::new();
    for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        assert_eq!((entry.header().uid().unwrap(), entry.header().gid().unwrap()), (1000, 1000));
        assert_eq!(entry.header().mode().unwrap() & 0o7000, 0, "no special bits");
        let path = entry.path().unwrap().into_owned();
        let kind = entry.header().entry_type();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        if let Some(link) = entry.link_name().unwrap() {
            text = link.display().to_string();
        }
        entries.insert(
            path,
            (
                if kind.is_dir() {
                    'd'
                } else if kind.is_symlink() {
                    'l'
                } else {
                    'f'
                },
                text,
            ),
        );
    }
    (entries, skipped)
}

#[test]
fn links_are_copied_as_links_and_never_followed() {
    let (outside, tree) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(outside.path().join("secret"), "host only").unwrap();
    symlink(outside.path().join("secret"), tree.path().join("file")).unwrap();
    symlink(outside.path(), tree.path().join("dir")).unwrap();
    symlink("../../..", tree.path().join("up")).unwrap();
    let (entries, skipped) = pack(tree.path());
    assert_eq!(entries.len(), 4);
    assert!(entries.values().all(|(_, text)| !text.contains("host only")));
    assert_eq!(entries[Path::new("w/up")], ('l', "../../..".into()));
    assert!(skipped.is_empty());
}

#[test]
fn pipes_and_sockets_are_left_out_and_reported() {
    let tree = tempfile::tempdir().unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(tree.path().join("socket")).unwrap();
    let fifo = tree.path().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let (entries, skipped) = pack(tree.path());
    assert_eq!(entries.len(), 1);
    assert_eq!(skipped.len(), 2);
}

#[test]
fn odd_names_special_bits_and_long_paths_arrive() {
    let tree = tempfile::tempdir().unwrap();
    let long = tree.path().join("x".repeat(120)).join("y".repeat(120));
    fs::create_dir_all(&long).unwrap();
    fs::write(long.join("deep"), "deep").unwrap();
    fs::write(tree.path().join("new\nline"), "a").unwrap();
    fs::write(tree.path().join("-rf *"), "b").unwrap();
    fs::set_permissions(tree.path().join("-rf *"), fs::Permissions::from_mode(0o6755)).unwrap();
    let (entries, _) = pack(tree.path());
    assert_eq!(entries[Path::new("w/new\nline")].1, "a");
    assert_eq!(entries[Path::new("w/-rf *")].1, "b");
    assert!(entries.values().any(|(_, text)| text == "deep"));
}

#[test]
fn ten_thousand_files_are_one_archive() {
    let tree = tempfile::tempdir().unwrap();
    for n in 0..10_000 {
        fs::write(tree.path().join(format!("f{n}")), "").unwrap();
    }
    assert_eq!(pack(tree.path()).0.len(), 10_001);
}

#[test]
fn a_missing_tree_is_an_error_that_names_it() {
    let error =
        add(&mut Archive::new(Vec::new()), Path::new("/nonexistent/tree"), Path::new("/w")).unwrap_err();
    assert_eq!(error.to_string(), "read /nonexistent/tree");
}
