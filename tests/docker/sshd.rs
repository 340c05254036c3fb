//! An OpenSSH server of the test's own, on the host side of the egress network.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::eventually;

/// Killed when dropped.
pub struct Sshd {
    child: Child,
    pub port: u16,
    /// The private key that it accepts.
    pub key: PathBuf,
    /// Its host key, as the manifest wants it.
    pub host_key: String,
    /// Who logs in: the user that runs the tests.
    pub user: String,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub fn make_key(path: &Path) -> String {
    output(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f"]).arg(path));
    let public = fs::read_to_string(path.with_extension("pub")).unwrap();
    public.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

impl Sshd {
    /// Starts it on a free port of `address`, with all its files in `dir`.
    pub async fn start(address: Ipv4Addr, dir: &Path) -> Self {
        fs::create_dir(dir).unwrap();
        let binary = Path::new("/usr/sbin/sshd");
        assert!(binary.exists(), "these tests need an OpenSSH server (Debian: openssh-server)");
        // As root it wants its empty directory.
        let _ = fs::create_dir_all("/run/sshd");
        let host_key = make_key(&dir.join("host"));
        let public = make_key(&dir.join("client"));
        fs::write(dir.join("authorized"), format!("{public}\n")).unwrap();
        let port = TcpListener::bind((address, 0)).unwrap().local_addr().unwrap().port();
        let at = dir.display();
        let config = format!(
            "ListenAddress {address}:{port}\nHostKey {at}/host\nAuthorizedKeysFile {at}/authorized\n\
             PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
        );
        fs::write(dir.join("config"), config).unwrap();
        let mut command = Command::new(binary);
        command.args(["-D", "-e", "-f"]).arg(dir.join("config"));
        command.stderr(fs::File::create(dir.join("log")).unwrap()).stdin(Stdio::null());
        let child = command.spawn().unwrap();
        let user = output(Command::new("id").arg("-un"));
        let sshd = Self { child, port, key: dir.join("client"), host_key, user };
        eventually(Duration::from_secs(10), || async {
            std::net::TcpStream::connect((address, port)).map_err(|error| error.to_string())
        })
        .await;
        sshd
    }
}
