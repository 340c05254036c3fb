//! A tiny image made on the spot from the static busybox of the machine that runs the tests.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use sha2::{Digest as _, Sha256};

/// Part of the tag: change it with the content below.
const RECIPE: &str = "2";

/// Makes the image once per content and returns its reference.
pub fn busybox() -> &'static str {
    static REFERENCE: OnceLock<String> = OnceLock::new();
    REFERENCE.get_or_init(|| {
        let binary = find();
        let content = std::fs::read(binary).unwrap();
        let hash = hex::encode(Sha256::new().chain_update(RECIPE).chain_update(&content).finalize());
        let reference = format!("bottle-test/busybox:{}", &hash[..12]);
        let known = Command::new("docker").args(["image", "inspect", &reference]).output().unwrap();
        if !known.status.success() {
            import(binary, &content, &reference);
        }
        reference
    })
}

fn find() -> &'static Path {
    ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .map(Path::new)
        .find(|path| path.exists())
        .expect("a static busybox is needed for the test image (Debian: busybox-static)")
}

fn import(binary: &Path, content: &[u8], reference: &str) {
    let archive = archive(binary, content);
    let mut child = Command::new("docker")
        .args([
            "import",
            "--change",
            "ENV PATH=/bin",
            "--change",
            "LABEL bottle-test=busybox",
            "-",
            reference,
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the docker command runs");
    child.stdin.take().unwrap().write_all(&archive).unwrap();
    assert!(child.wait().unwrap().success(), "the test image could not be imported");
}

fn archive(binary: &Path, content: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut file = |path: &str, kind: tar::EntryType, mode: u32, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content).unwrap();
    };
    for (dir, mode) in [("bin", 0o755), ("etc", 0o755), ("data", 0o777), ("tmp", 0o1777), ("root", 0o700)] {
        file(dir, tar::EntryType::Directory, mode, b"");
    }
    file("bin/busybox", tar::EntryType::Regular, 0o755, content);
    file(
        "etc/passwd",
        tar::EntryType::Regular,
        0o644,
        b"root:x:0:0::/root:/bin/sh\nagent:x:1000:1000::/data:/bin/sh\n",
    );
    file("etc/group", tar::EntryType::Regular, 0o644, b"root:x:0:\nagent:x:1000:\n");
    let applets = Command::new(binary).arg("--list").output().unwrap().stdout;
    // The list names busybox itself: a link of that name would replace the program.
    for applet in String::from_utf8_lossy(&applets).lines().filter(|name| *name != "busybox") {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox").unwrap();
    }
    tar.into_inner().unwrap()
}
