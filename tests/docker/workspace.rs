//! The caller's working directory in a bottle: a repository that works, a hostile tree that does no harm.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::lab::{self, Want, says};

pub fn git(dir: &Path, arguments: &[&str]) {
    let identity =
        ["-c", "user.name=Lab", "-c", "user.email=lab@example.org", "-c", "init.defaultBranch=main"];
    let output = Command::new("git").arg("-C").arg(dir).args(identity).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn with_cwd() -> Want {
    Want { copy_cwd: true, ..Want::default() }
}

#[test]
fn a_repository_is_the_agents_own() {
    lab::run(1, async |lab| {
        let work = lab.path("work");
        git(&work, &["init", "-q"]);
        fs::write(work.join("file"), "one\n").unwrap();
        git(&work, &["add", "-A"]);
        git(&work, &["commit", "-qm", "A first commit"]);
        fs::write(work.join("new"), "untracked\n").unwrap();
        lab.with_bottle(with_cwd(), async |bottle| {
            assert_eq!(says(bottle, "pwd").await, "/workspace");
            assert_eq!(says(bottle, "git status --porcelain").await, "?? new");
            assert!(says(bottle, "git log --oneline").await.ends_with("A first commit"));
            says(bottle, "git -c user.name=A -c user.email=a@b commit -qam x --allow-empty && git fsck")
                .await;
            assert_eq!(says(bottle, "stat -c %U . .git file new").await, "agent\nagent\nagent\nagent");
        })
        .await;
        assert_eq!(fs::read_to_string(work.join("file")).unwrap(), "one\n");
    });
}

#[test]
fn a_hostile_tree_lands_safely() {
    lab::run(1, async |lab| {
        let (work, secret) = (lab.path("work"), lab.path("home/secret"));
        fs::write(&secret, "host only").unwrap();
        symlink(&secret, work.join("link")).unwrap();
        symlink("/etc", work.join("etc")).unwrap();
        symlink("../../../..", work.join("up")).unwrap();
        for name in ["..x", "...", "new\nline", "-rf *", "$(touch pwned)"] {
            fs::write(work.join(name), name).unwrap();
        }
        fs::write(work.join(std::ffi::OsStr::from_bytes(b"not\xffutf8")), "x").unwrap();
        fs::create_dir_all(work.join("d".repeat(200)).join("e".repeat(200))).unwrap();
        assert!(Command::new("mkfifo").arg(work.join("pipe")).status().unwrap().success());
        fs::create_dir(work.join("many")).unwrap();
        for number in 0..10_000 {
            fs::write(work.join(format!("many/{number}")), "").unwrap();
        }
        lab.with_bottle(with_cwd(), async |bottle| {
            assert_eq!(says(bottle, "find many -type f | wc -l").await, "10000");
            assert_eq!(says(bottle, "cat '..x' '...' $'new\\nline' './-rf *'").await, "..x...new\nline-rf *");
            assert_eq!(says(bottle, "test ! -e pwned && cat './$(touch pwned)'").await, "$(touch pwned)");
            assert_eq!(says(bottle, "cat $'not\\xffutf8'").await, "x");
            says(bottle, "test ! -e pipe && test -L link && test ! -e link && test -L etc && test -L up")
                .await;
            says(bottle, &format!("test -d {}/{}", "d".repeat(200), "e".repeat(200))).await;
            // Nothing was written through the links: the image's own files are untouched.
            assert_eq!(
                says(bottle, "find /etc /home -newer /workspace/many/0 -user agent | wc -l").await,
                "0"
            );
        })
        .await;
    });
}
