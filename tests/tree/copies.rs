//! Copies in and out: the rules of `docker cp`, and archives of an agent that lies.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bottle::backend::{Backend as _, BackendErrorKind, Op};
use bottle::ids::Role;
use bottle::messages::OperationError;
use bottle::testing::{Fault, FaultRule};

use crate::farm::{Farm, chain, tree};

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_directory_takes_the_source_under_its_own_name_and_a_new_name_is_the_target() {
    let farm = Farm::new().await;
    let bottle = farm.launch().await;
    let agent = farm.member(&bottle, Role::Agent);
    let host = farm.dir.path();
    write(&host.join("in/a.txt"), "a");
    write(&host.join("in/sub/b.txt"), "b");
    let read = |path: &str| farm.engine.file(&agent, path).map(|bytes| String::from_utf8(bytes).unwrap());
    bottle.cp_in(host.join("in"), "/work").await.unwrap();
    assert_eq!(read("/work/in/sub/b.txt").as_deref(), Some("b"));
    bottle.cp_in(host.join("in"), "/work/new").await.unwrap();
    assert_eq!(read("/work/new/a.txt").as_deref(), Some("a"));
    bottle.cp_in(host.join("in/a.txt"), "/deep/missing/parent/").await.unwrap();
    assert_eq!(read("/deep/missing/parent/a.txt").as_deref(), Some("a"));
    bottle.cp_in(host.join("in/a.txt"), "relative.txt").await.unwrap();
    assert_eq!(read("/workspace/relative.txt").as_deref(), Some("a"));
    write(&host.join("in/a.txt"), "again");
    bottle.cp_in(host.join("in/a.txt"), "/work/in/a.txt").await.unwrap();
    assert_eq!(read("/work/in/a.txt").as_deref(), Some("again"));
    assert!(tree(&farm.engine, &agent, "/work/in").await.values().all(|(_, uid, ..)| *uid == 1000));
}

#[tokio::test(start_paused = true)]
async fn copies_out_follow_the_same_rules_and_can_be_repeated() {
    let farm = Farm::new().await;
    let bottle = farm.launch().await;
    let host = farm.dir.path();
    write(&host.join("in/sub/b.txt"), "b");
    bottle.cp_in(host.join("in"), "/work/in").await.unwrap();
    std::fs::create_dir(host.join("out")).unwrap();
    for _ in 0..2 {
        bottle.cp_out("/work/in", host.join("out")).await.unwrap();
        assert_eq!(std::fs::read_to_string(host.join("out/in/sub/b.txt")).unwrap(), "b");
    }
    bottle.cp_out("/work/in/sub/b.txt", host.join("named")).await.unwrap();
    assert_eq!(std::fs::read_to_string(host.join("named")).unwrap(), "b");
    write(&host.join("out/in/mine.txt"), "mine");
    bottle.cp_out("/work/in", host.join("out")).await.unwrap();
    assert_eq!(std::fs::read_to_string(host.join("out/in/mine.txt")).unwrap(), "mine");
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_named() {
    let farm = Farm::new().await;
    let bottle = farm.launch().await;
    let missing = bottle.cp_in(farm.dir.path().join("nowhere"), "/work").await.unwrap_err();
    assert!(matches!(&missing, OperationError::Host { path, .. } if path.ends_with("nowhere")), "{missing}");
    let missing = bottle.cp_out("/work/nowhere", farm.dir.path()).await.unwrap_err();
    assert!(chain(&missing).contains("/work/nowhere"), "{}", chain(&missing));
    let missing = bottle.cp_out("/work", farm.dir.path().join("no/parent")).await.unwrap_err();
    assert!(
        matches!(&missing, OperationError::Host { path, .. } if path.ends_with("no/parent")),
        "{missing}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_refuses_an_upload_is_the_error() {
    let farm = Farm::new().await;
    let bottle = farm.launch().await;
    farm.engine.fault(FaultRule::on(Op::PutArchive, Fault::Error(BackendErrorKind::NoSpace)));
    let refused = bottle.cp_in(farm.host.cwd(), "/work/").await.unwrap_err();
    assert!(matches!(&refused, OperationError::Backend(error) if error.kind == BackendErrorKind::NoSpace));
}

#[tokio::test(start_paused = true)]
async fn a_copy_under_way_at_a_close_ends_with_closed() {
    let farm = Farm::new().await;
    let bottle = farm.launch().await;
    farm.engine.set_latency(Duration::from_secs(2));
    let copies = [bottle.cp_in(farm.host.cwd(), "/work/")].into_iter().map(|copy| async {
        tokio::join!(copy, async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            bottle.close().await
        })
    });
    for (copied, _) in futures::future::join_all(copies).await {
        assert!(matches!(copied, Err(OperationError::Closed(_))), "{copied:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_is_cut_off_leaves_nothing_behind() {
    let farm = Farm::new().await;
    let bottle = farm.launch().await;
    let host = farm.dir.path();
    write(&host.join("big"), &"x".repeat(300 * 1024));
    bottle.cp_in(host.join("big"), "/work/").await.unwrap();
    std::fs::create_dir(host.join("out")).unwrap();
    farm.engine.fault(FaultRule::on(Op::GetArchive, Fault::HalfClosed));
    assert!(bottle.cp_out("/work/big", host.join("out")).await.is_err());
    assert_eq!(std::fs::read_dir(host.join("out")).unwrap().count(), 0);
}

/// A tar archive without the checks of a polite writer.
struct Hostile(tar::Builder<Vec<u8>>);

impl Hostile {
    fn entry(&mut self, kind: tar::EntryType, path: &str, link: &str, content: &str) -> &mut Self {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o6777);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.append(&header, content.as_bytes()).unwrap();
        self
    }
}

/// Copies a hostile archive out of the bottle into `target`; the host's tree afterwards must be the same
/// outside of it.
async fn copy_hostile(build: impl FnOnce(&mut Hostile), times: usize) -> (tempfile::TempDir, Vec<String>) {
    let mut archive = Hostile(tar::Builder::new(Vec::new()));
    build(&mut archive);
    let bytes = archive.0.into_inner().unwrap();
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("victim/file"), "untouched");
    std::fs::create_dir(dir.path().join("target")).unwrap();
    let engine = Arc::new(crate::liar::Liar::new(bytes));
    let bottle = crate::liar::attach(engine).await;
    for _ in 0..times {
        let _ = bottle.cp_out("/work/x", dir.path().join("target")).await;
        let _ = bottle.cp_out("/work/x", dir.path().join("target/x")).await;
    }
    assert_eq!(std::fs::read_to_string(dir.path().join("victim/file")).unwrap(), "untouched");
    assert_eq!(std::fs::read_dir(dir.path().join("victim")).unwrap().count(), 1);
    let mut top: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    top.sort();
    (dir, top)
}

#[tokio::test]
async fn no_hostile_archive_writes_outside_its_target() {
    use tar::EntryType::{Block, Char, Directory, Fifo, Link, Regular, Symlink};
    type Build = fn(&mut Hostile);
    let attacks: [(&str, Build); 10] = [
        ("parent path", |tar| drop(tar.entry(Regular, "x/../../victim/file", "", "owned"))),
        ("leading parent path", |tar| drop(tar.entry(Regular, "../victim/file", "", "owned"))),
        ("absolute path", |tar| drop(tar.entry(Regular, "/tmp/bottle-test-absolute", "", "owned"))),
        ("through a link up", |tar| {
            tar.entry(Directory, "x", "", "").entry(Symlink, "x/l", "../../victim", "");
            tar.entry(Regular, "x/l/file", "", "owned");
        }),
        ("the entry itself is a link", |tar| {
            tar.entry(Symlink, "x", "../victim", "");
            tar.entry(Regular, "x/file", "", "owned");
        }),
        ("only a link", |tar| drop(tar.entry(Symlink, "x", "../victim", ""))),
        ("a hard link to a file of the host", |tar| {
            tar.entry(Directory, "x", "", "").entry(Link, "x/h", "../../victim/file", "");
            tar.entry(Regular, "x/h", "", "owned");
        }),
        ("a link in a linked directory", |tar| {
            tar.entry(Directory, "x", "", "")
                .entry(Directory, "x/a", "", "")
                .entry(Directory, "x/a/b", "", "");
            tar.entry(Symlink, "x/a/b/up", "../..", "").entry(Symlink, "x/a/b/up/out", "../../../victim", "");
            tar.entry(Regular, "x/out/file", "", "owned");
        }),
        ("a directory that becomes a link", |tar| {
            tar.entry(Directory, "x", "", "").entry(Directory, "x/d", "", "");
            tar.entry(Symlink, "x/d", "../../victim", "").entry(Regular, "x/d/file", "", "owned");
        }),
        ("devices", |tar| {
            tar.entry(Directory, "x", "", "").entry(Char, "x/c", "", "").entry(Block, "x/b", "", "");
            tar.entry(Fifo, "x/p", "", "").entry(Regular, "x/ok", "", "fine");
        }),
    ];
    for (name, build) in attacks {
        let (dir, top) = copy_hostile(build, 2).await;
        assert_eq!(top, ["target", "victim"], "{name}");
        for link in links_below(&dir.path().join("target")) {
            let real = std::fs::canonicalize(&link).unwrap_or(link);
            assert!(real.starts_with(dir.path().canonicalize().unwrap().join("target")), "{name}: {real:?}");
        }
    }
    assert!(!Path::new("/tmp/bottle-test-absolute").exists());
}

fn links_below(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        assert!(kind.is_dir() || kind.is_file() || kind.is_symlink(), "{:?} is a device", entry.path());
        if kind.is_symlink() {
            found.push(entry.path());
        } else if kind.is_dir() {
            found.extend(links_below(&entry.path()));
        }
    }
    found
}

#[tokio::test]
async fn links_that_stay_inside_and_modes_arrive_without_privileges() {
    use std::os::unix::fs::PermissionsExt as _;
    use tar::EntryType::{Directory, Regular, Symlink};
    let build = |tar: &mut Hostile| {
        tar.entry(Directory, "x", "", "").entry(Regular, "x/file", "", "text");
        tar.entry(Directory, "x/bin", "", "").entry(Symlink, "x/bin/l", "../file", "");
    };
    let (dir, _) = copy_hostile(build, 1).await;
    assert_eq!(std::fs::read_to_string(dir.path().join("target/x/bin/l")).unwrap(), "text");
    let mode = std::fs::metadata(dir.path().join("target/x/file")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7000, 0, "no setuid or setgid bit");
}

#[tokio::test(start_paused = true)]
async fn a_copy_in_sends_links_as_links_and_never_what_they_point_to() {
    let farm = Farm::new().await;
    let bottle = farm.launch().await;
    write(&farm.dir.path().join("secret"), "secret");
    write(&farm.dir.path().join("in/a"), "a");
    std::os::unix::fs::symlink("../secret", farm.dir.path().join("in/link")).unwrap();
    bottle.cp_in(farm.dir.path().join("in"), "/work/in").await.unwrap();
    let agent = farm.member(&bottle, Role::Agent);
    let all = tree(&farm.engine, &agent, "/work/in").await;
    assert_eq!(all["in/link"].2, tar::EntryType::Symlink);
    assert!(all.values().all(|(.., content)| content != b"secret"));
    farm.engine.remove_member(&agent).await.unwrap();
}
