//! A state directory on a disk without room.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use bottle::error::chain;

use crate::farm::leftovers;
use crate::lab::{self, Lab, Want, printed, shell};

/// A tiny file system over the lab's state directory; unmounted when dropped.
struct Tiny(PathBuf);

impl Tiny {
    fn mount(lab: &Lab, options: &str) -> Option<Self> {
        let dir = lab.path("state");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "lab"]).arg(&dir).output().unwrap();
        if !mount.status.success() {
            eprintln!("skipped: a tmpfs cannot be mounted here: {}", String::from_utf8_lossy(&mount.stderr));
            return None;
        }
        Some(Self(dir))
    }

    /// Fills it with files until no more go in.
    fn fill(&self) {
        for number in 0.. {
            if fs::write(self.0.join(format!("fill-{number}")), [0; 4096]).is_err() {
                return;
            }
        }
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_fails_a_launch_at_once_and_says_so() {
    lab::run(1, async |lab| {
        let Some(tiny) = Tiny::mount(lab, "size=64k") else { return };
        let want = Want::default();
        let runtime = lab.runtime(&want).await;
        tiny.fill();
        let error = lab.try_launch(&runtime, &want).await.expect_err("there is no room for the audit");
        let text = chain(&error);
        assert!(text.contains("audit file") && text.contains("No space left on device"), "{text}");
        assert!(leftovers(&lab.agent).is_empty());
        runtime.shutdown().await;
    });
}

#[test]
fn when_the_audit_cannot_be_written_any_more_nothing_leaves_any_more() {
    lab::run(1, async |lab| {
        let Some(tiny) = Tiny::mount(lab, "size=128k") else { return };
        let path = lab.own_path("unaudited");
        let fetch = format!("curl -sS -o /dev/null -w '%{{http_code}}' https://api.anthropic.com{path}");
        lab.with_bottle(Want::default(), async |bottle| {
            assert!(printed(&shell(bottle, &fetch).await).starts_with("200"));
            tiny.fill();
            // The last page of the file takes a few more lines.
            let mut calls = 0;
            while printed(&shell(bottle, &fetch).await).starts_with("200") {
                calls += 1;
                assert!(calls < 100, "requests pass without a trace");
            }
            let arrived = lab.arrivals(&path).await.len();
            for _ in 0..3 {
                assert!(!printed(&shell(bottle, &fetch).await).starts_with("200"));
            }
            assert_eq!(lab.arrivals(&path).await.len(), arrived, "the egress is closed for good");
        })
        .await;
    });
}
