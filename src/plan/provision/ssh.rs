//! Step `ssh`: client configuration and pinned host keys. Keys never enter an archive: they are loaded into
//! root's ssh-agent through standard input (`actors/provisioner.rs`).

use std::fmt::Write as _;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::Path;

use super::{AGENT_HOME, Archive, HostFileError, Owner};
use crate::plan::SshKeyFile;
use crate::plan::members::{MITMPROXY_PORT, SSH_AUTH_SOCK};

/// Starts root's ssh-agent and the relay to it; then loads the key on standard input.
pub const LOAD_KEY_SCRIPT: &str = include_str!("../../../assets/agent/load-ssh-key.sh");

/// Adds `~/.ssh/config` and `~/.ssh/known_hosts`, owned by root so that the agent cannot unpin a host.
///
/// # Errors
/// The archive's writer failed.
pub fn add<W: Write>(
    archive: &mut Archive<W>,
    entries: &[SshKeyFile],
    proxy: Ipv4Addr,
) -> Result<(), HostFileError> {
    if entries.is_empty() {
        return Ok(());
    }
    let dir = Path::new(AGENT_HOME).join(".ssh");
    archive.dir(&dir, 0o755, Owner::Root).map_err(HostFileError::at(&dir))?;
    for (name, content) in [("config", config(entries, proxy)), ("known_hosts", known_hosts(entries))] {
        let path = dir.join(name);
        archive.file(&path, 0o644, Owner::Root, content.as_bytes()).map_err(HostFileError::at(&path))?;
    }
    Ok(())
}

/// ssh_config(5): each entry answers to its alias and to its real name, so that `git@host:repo` and
/// `ssh://host:port/` URLs work without the user's help.
fn config(entries: &[SshKeyFile], proxy: Ipv4Addr) -> String {
    let mut text =
        String::from("# Written by bottle. Connections go only to these hosts, through the proxy.\n");
    for entry in entries {
        let names = if entry.host == entry.hostname {
            entry.host.clone()
        } else {
            format!("{} {}", entry.host, entry.hostname)
        };
        let _ = writeln!(text, "\nHost {names}\n  HostName {}\n  Port {}", entry.hostname, entry.port);
        if let Some(user) = &entry.user {
            let _ = writeln!(text, "  User {user}");
        }
    }
    let _ = write!(
        text,
        "\nHost *\n  ProxyCommand socat - PROXY:{proxy}:%h:%p,proxyport={MITMPROXY_PORT}\n  \
         IdentityAgent {SSH_AUTH_SOCK}\n  StrictHostKeyChecking yes\n  \
         UserKnownHostsFile {AGENT_HOME}/.ssh/known_hosts\n  PasswordAuthentication no\n"
    );
    text
}

/// sshd(8), SSH_KNOWN_HOSTS FILE FORMAT: a port other than 22 is written `[host]:port`.
fn known_hosts(entries: &[SshKeyFile]) -> String {
    let mut text = String::new();
    for entry in entries {
        let Some(key) = &entry.known_host_key else { continue };
        if entry.port == 22 {
            let _ = writeln!(text, "{} {key}", entry.hostname);
        } else {
            let _ = writeln!(text, "[{}]:{} {key}", entry.hostname, entry.port);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(port: u16) -> SshKeyFile {
        SshKeyFile {
            host: "git".into(),
            hostname: "git.example.org".into(),
            port,
            user: Some("git".into()),
            identity_file: "/keys/id".into(),
            known_host_key: Some("ssh-ed25519 AAAA".into()),
        }
    }

    #[test]
    fn the_client_goes_through_the_proxy_and_trusts_only_pinned_keys() {
        let text = config(&[entry(2222)], Ipv4Addr::new(10, 0, 0, 2));
        assert!(
            text.contains("Host git git.example.org\n  HostName git.example.org\n  Port 2222\n  User git\n")
        );
        assert!(text.contains("ProxyCommand socat - PROXY:10.0.0.2:%h:%p,proxyport=8080\n"));
        assert!(text.contains("StrictHostKeyChecking yes"));
    }

    #[test]
    fn known_hosts_names_a_port_only_when_it_is_not_22() {
        assert_eq!(known_hosts(&[entry(22)]), "git.example.org ssh-ed25519 AAAA\n");
        assert_eq!(known_hosts(&[entry(2222)]), "[git.example.org]:2222 ssh-ed25519 AAAA\n");
    }
}
