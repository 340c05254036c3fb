//! SSH through the chain: pinned hosts work, nothing else does, and the key stays out of the agent's reach.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::lab::{self, Lab, Want, printed, says, shell};
use crate::sshd::{Sshd, make_key};
use crate::workspace::git;

const NAME: &str = "git.example.org";

fn want(lab: &Lab, sshd: &Sshd, host_key: Option<&str>) -> Want {
    let mut entry = json!({
        "Host": "forge", "Hostname": NAME, "Port": sshd.port, "User": sshd.user, "IdentityFile": sshd.key,
    });
    if let Some(key) = host_key {
        entry["KnownHostKey"] = Value::from(key);
    }
    Want {
        bottle: json!({ "ssh": [entry], "egress": {
            "extra_hosts": { NAME: lab.farm.stub.address.to_string() }, "private_hosts": [NAME],
        } }),
        ..Want::default()
    }
}

#[test]
fn a_pinned_host_serves_commands_and_repositories_and_nothing_else_is_reached() {
    lab::run(1, async |lab| {
        let sshd = Sshd::start(lab.farm.stub.address, &lab.path("sshd")).await;
        let repo = lab.path("repo");
        fs::create_dir(&repo).unwrap();
        git(&repo, &["init", "-q"]);
        fs::write(repo.join("file"), "through the chain\n").unwrap();
        git(&repo, &["add", "-A"]);
        git(&repo, &["commit", "-qm", "x"]);
        let (user, port, repo) = (&sshd.user, sshd.port, repo.display());
        lab.with_bottle(want(lab, &sshd, Some(&sshd.host_key)), async |bottle| {
            assert_eq!(says(bottle, "ssh forge echo reached").await, "reached");
            says(bottle, &format!("git clone -q ssh://{user}@{NAME}:{port}{repo} one")).await;
            says(
                bottle,
                &format!("git clone -q {user}@{NAME}:{repo} two && git clone -q forge:{repo} three"),
            )
            .await;
            assert_eq!(says(bottle, "cat one/file two/file three/file | uniq").await, "through the chain");
            says(bottle, "head -c 3000000 /dev/zero | ssh forge wc -c | grep -qx 3000000").await;

            for other in
                [format!("{NAME}:22"), format!("{NAME}:{}", port ^ 1), format!("other.example.org:{port}")]
            {
                let (host, port) = other.split_once(':').unwrap();
                let proxy = "${HTTPS_PROXY#http://}";
                let script = format!(
                    "p={proxy}; socat - PROXY:${{p%:*}}:{host}:{port},proxyport=${{p#*:}} </dev/null"
                );
                let refused = printed(&shell(bottle, &script).await);
                assert!(refused.contains("Forbidden"), "{other}: {refused}");
            }
            let not_ssh =
                "p=${HTTPS_PROXY#http://}; printf 'GET / HTTP/1.0\\r\\n\\r\\n' | socat -t5 - PROXY:${p%:*}:";
            let said = shell(bottle, &format!("{not_ssh}{NAME}:{port},proxyport=${{p#*:}}")).await;
            assert!(!printed(&said).contains("Invalid SSH"), "{}", printed(&said));
            assert!(lab.audit(bottle).contains("\"kind\":\"ssh\""));

            key_stays_hidden(bottle, &fs::read_to_string(&sshd.key).unwrap()).await;
        })
        .await;
    });
}

async fn key_stays_hidden(bottle: &bottle::Bottle, key: &str) {
    assert!(says(bottle, "ssh-add -L").await.starts_with("ssh-ed25519 "));
    let part = key.lines().nth(2).unwrap();
    let script = "{ cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline; ps axeww; env; \
                  grep -rasl 'PRIVATE KEY' / --exclude-dir=proc --exclude-dir=sys --include='*' 2>/dev/null \
                  | xargs -r grep -ahs -A3 'PRIVATE KEY'; } 2>/dev/null";
    for (place, text) in [
        ("the agent", printed(&shell(bottle, script).await)),
        ("inspect", crate::support::docker(&["inspect", &bottle.plan().names().agent])),
        ("changed files", exported(&bottle.plan().names().agent)),
    ] {
        assert!(!text.contains(part), "the key is in: {place}");
    }
    for script in [
        "ls /run/bottle/root",
        "cat /proc/$(pgrep -x ssh-agent)/mem",
        "cat /proc/$(pgrep -x ssh-agent)/environ | grep .",
        "echo > ~/.ssh/known_hosts",
        "echo > ~/.ssh/config",
        "mv ~/.ssh ~/elsewhere && mkdir ~/.ssh && ls ~/.ssh/new",
    ] {
        assert!(!shell(bottle, script).await.success(), "{script}");
    }
}

/// The container's file system, printable parts.
fn exported(container: &str) -> String {
    let script =
        format!("docker export {container} | tar -xO home run tmp workspace var 2>/dev/null | strings -n 20");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_host_with_another_key_or_with_none_pinned_is_refused() {
    lab::run(2, async |lab| {
        let sshd = Sshd::start(lab.farm.stub.address, &lab.path("sshd")).await;
        let wrong = make_key(&lab.path("wrong"));
        for pinned in [Some(wrong.as_str()), None] {
            lab.with_bottle(want(lab, &sshd, pinned), async |bottle| {
                let refused = shell(bottle, "ssh -o BatchMode=yes forge echo reached").await;
                let said = printed(&refused);
                assert_eq!(refused.code, 255, "{said}");
                assert!(said.contains("Host key verification failed"), "{said}");
            })
            .await;
        }
    });
}
