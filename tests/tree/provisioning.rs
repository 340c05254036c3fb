//! What lies inside the agent when its caller gets the handle.

use bottle::backend::Op;
use bottle::ids::Role;
use bottle::testing::{ExecAnswer, Fault, FaultRule};

use crate::farm::{BUNDLE, Farm, chain, tree};

const AGENT: u64 = 1000;

#[tokio::test(start_paused = true)]
async fn the_certificate_is_a_file_of_its_own_and_appended_to_the_images_bundle() {
    let farm = Farm::new().await;
    let bottle = farm.try_launch().await.unwrap();
    let agent = farm.member(&bottle, Role::Agent);
    let certificate =
        farm.engine.file(&agent, "/usr/local/share/ca-certificates/claude-bottle-mitm.crt").unwrap();
    let certificate = String::from_utf8(certificate).unwrap();
    assert!(certificate.starts_with("-----BEGIN CERTIFICATE-----"));
    let bundle = farm.engine.file(&agent, "/etc/ssl/certs/ca-certificates.crt").unwrap();
    assert_eq!(String::from_utf8(bundle).unwrap(), format!("{BUNDLE}{certificate}"));
}

#[tokio::test(start_paused = true)]
async fn prompt_skills_ssh_and_workspace_lie_where_they_belong_with_owner_and_mode() {
    let farm = Farm::new().await;
    let bottle = farm.try_launch().await.unwrap();
    let agent = farm.member(&bottle, Role::Agent);
    let home = tree(&farm.engine, &agent, "/home/agent").await;
    let entry = |name: &str| {
        home.get(&format!("agent/{name}")).unwrap_or_else(|| panic!("{name}: {:?}", home.keys()))
    };
    let (mode, uid, _, content) = entry(".bottle/prompt.md");
    assert_eq!((*mode, *uid, content.as_slice()), (0o644, AGENT, b"Be careful.".as_slice()));
    let (mode, uid, ..) = entry(".claude/skills/review/run.sh");
    assert_eq!((*mode, *uid), (0o755, AGENT));
    assert_eq!(entry(".claude/skills/review/SKILL.md").3, b"Look twice.\n");
    // Root's, so that the agent cannot unpin a host.
    let (_, uid, _, content) = entry(".ssh/config");
    let config = String::from_utf8(content.clone()).unwrap();
    assert!(*uid == 0 && config.contains("HostName git.example.org"), "{config}");
    let workspace = tree(&farm.engine, &agent, "/workspace").await;
    assert_eq!(workspace["workspace/src/main.rs"].3, b"fn main() {}\n");
    assert!(workspace.values().all(|(_, uid, ..)| *uid == AGENT), "{workspace:?}");
}

#[tokio::test(start_paused = true)]
async fn no_private_key_is_ever_a_file() {
    let farm = Farm::new().await;
    let bottle = farm.try_launch().await.unwrap();
    let all = tree(&farm.engine, &farm.member(&bottle, Role::Agent), "/").await;
    for (name, (.., content)) in all {
        assert!(!String::from_utf8_lossy(&content).contains("PRIVATE KEY"), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_skill_that_vanished_names_the_step_and_the_path() {
    let farm = Farm::new().await;
    let (plan, material) = farm.plan_of(true).await;
    std::fs::remove_dir_all(farm.dir.path().join("home/.claude/skills/review")).unwrap();
    let text = chain(&farm.runtime.launch(plan, material).await.unwrap_err());
    assert!(text.contains("provisioning (skills)") && text.contains("skills/review"), "{text}");
    farm.assert_nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_not_taken_names_the_step_and_what_was_said() {
    let farm = Farm::new().await;
    farm.engine.set_hook(|_, argv| {
        let loads = argv.last().is_some_and(|script| script.contains("ssh-add"));
        loads.then(|| ExecAnswer { stderr: b"error in libcrypto".to_vec(), code: 1, ..ExecAnswer::default() })
    });
    let text = chain(&farm.try_launch().await.unwrap_err());
    assert!(text.contains("provisioning (ssh)") && text.contains("error in libcrypto"), "{text}");
    farm.assert_nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn a_bundle_that_breaks_off_never_becomes_the_trust_store() {
    let farm = Farm::new().await;
    let long = vec![b'x'; 200 * 1024];
    let path = "/etc/ssl/certs/ca-certificates.crt";
    farm.engine.add_image_file(&crate::farm::image(Role::Agent), path, &long);
    farm.engine.fault(FaultRule::on(Op::GetArchive, Fault::HalfClosed));
    let text = chain(&farm.try_launch().await.unwrap_err());
    assert!(text.contains("provisioning (ca)"), "{text}");
    farm.assert_nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_output_breaks_off_is_judged_by_its_exit_code() {
    let farm = Farm::new().await;
    farm.engine.fault(FaultRule::on(Op::Exec, Fault::HalfClosed));
    let bottle = farm.try_launch().await.unwrap();
    crate::farm::assert_works(&bottle).await;
}
