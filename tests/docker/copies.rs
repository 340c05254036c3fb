//! Copies in and out of a bottle.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use bottle::error::chain;
use bottle::{ExecRequest, messages::OperationError};

use crate::lab::{self, Want, says, shell};

#[test]
fn files_and_directories_go_in_and_come_out_with_their_modes() {
    lab::run(1, async |lab| {
        let tree = lab.path("work/tree");
        fs::create_dir_all(tree.join("inner")).unwrap();
        fs::write(tree.join("inner/run.sh"), "#!/bin/sh\necho ran\n").unwrap();
        fs::set_permissions(tree.join("inner/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(tree.join("private"), "x").unwrap();
        fs::set_permissions(tree.join("private"), fs::Permissions::from_mode(0o600)).unwrap();
        symlink("private", tree.join("link")).unwrap();
        lab.with_bottle(Want::default(), async |bottle| {
            bottle.cp_in(&tree, "/workspace").await.unwrap();
            assert_eq!(says(bottle, "tree/inner/run.sh").await, "ran");
            assert_eq!(says(bottle, "stat -c '%a %U' tree/private").await, "600 agent");
            assert_eq!(says(bottle, "readlink tree/link").await, "private");
            bottle.cp_in(tree.join("private"), "/workspace/new/deep/name").await.unwrap();
            assert_eq!(says(bottle, "cat new/deep/name").await, "x");
            says(bottle, "echo more >> new/deep/name && echo y > new/deep/second").await;

            let back = lab.path("back");
            bottle.cp_out("/workspace/tree", &back).await.unwrap();
            let mode = |name: &str| fs::metadata(back.join(name)).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode("inner/run.sh"), mode("private")), (0o755, 0o600));
            assert_eq!(fs::read_link(back.join("link")).unwrap(), std::path::Path::new("private"));
            bottle.cp_out("tree/inner/run.sh", lab.path("work")).await.unwrap();
            assert!(lab.path("work/run.sh").exists());
        })
        .await;
    });
}

#[test]
fn what_cannot_be_copied_is_said_clearly() {
    lab::run(1, async |lab| {
        let file = lab.path("work/file");
        fs::write(&file, "x").unwrap();
        lab.with_bottle(Want::default(), async |bottle| {
            let error = bottle.cp_in(lab.path("work/none"), "/workspace").await.unwrap_err();
            assert!(matches!(error, OperationError::Host { .. }), "{error:?}");
            assert!(chain(&error).contains("work/none: No such file"), "{}", chain(&error));
            let error = bottle.cp_out("/workspace/none", lab.path("back")).await.unwrap_err();
            assert!(chain(&error).contains("/workspace/none"), "{}", chain(&error));
            let error = bottle.cp_out("/etc/hostname", lab.path("none/deeper/back")).await.unwrap_err();
            assert!(chain(&error).contains("No such file"), "{}", chain(&error));
            for unseen in ["/proc/new", "/sys/new", "/run/bottle/new", "/workspace/../proc/new"] {
                let error = bottle.cp_in(&file, unseen).await.unwrap_err();
                assert!(chain(&error).starts_with(&format!("copy {unseen}: ")), "{}", chain(&error));
            }
            let error = bottle.cp_in(&file, "/etc/hostname/below").await.unwrap_err();
            assert!(chain(&error).contains("not a directory"), "{}", chain(&error));
        })
        .await;
    });
}

#[test]
fn a_hostile_inside_writes_nothing_outside_the_target() {
    lab::run(1, async |lab| {
        let outside = lab.path("work/outside");
        fs::create_dir(&outside).unwrap();
        let target = lab.path("back");
        lab.with_bottle(Want::default(), async |bottle| {
            let script = format!(
                "mkdir -p evil && ln -s {0} evil/out && ln -s /etc/passwd evil/passwd && mkfifo evil/pipe && \
                 ln -s ../../../../.. evil/up && echo ok > evil/file",
                outside.display()
            );
            says(bottle, &script).await;
            says(bottle, "ln -s file evil/beside").await;
            bottle.cp_out("evil", &target).await.unwrap();
            assert_eq!(fs::read_to_string(target.join("file")).unwrap(), "ok\n");
            assert!(!target.join("pipe").exists());
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
            for out in ["out", "passwd", "up"] {
                assert!(fs::symlink_metadata(target.join(out)).is_err(), "{out} leads out");
            }
            assert_eq!(fs::read_link(target.join("beside")).unwrap(), std::path::Path::new("file"));
            // Copied in below a link of the agent's: lands inside the container, wherever the link leads.
            shell(bottle, "ln -s /nonexistent dangling").await;
            fs::write(lab.path("work/new"), "new").unwrap();
            let copied = bottle.cp_in(lab.path("work/new"), "/workspace/dangling/x").await;
            assert!(copied.is_err());
            let alive = bottle.exec(ExecRequest::new(["true"])).await.unwrap();
            assert!(alive.success() && !std::path::Path::new("/nonexistent").exists());
        })
        .await;
    });
}
