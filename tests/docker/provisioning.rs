//! What a ready bottle holds: its certificate, the environment that makes clients trust it, prompt, skills.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::lab::{self, Want, says};

const CERTIFICATE: &str = "/usr/local/share/ca-certificates/claude-bottle-mitm.crt";
const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

#[test]
fn the_certificate_is_the_bottles_own_and_stands_in_the_bundle_once() {
    lab::run(1, async |lab| {
        lab.with_bottle(Want::default(), async |bottle| {
            let pem = says(bottle, &format!("cat {CERTIFICATE}")).await;
            assert_eq!(fingerprint(&pem), bottle.fingerprint().unwrap().to_string());
            let bundle = says(bottle, &format!("cat {BUNDLE}")).await;
            assert_eq!(bundle.matches(pem.trim()).count(), 1);
            assert!(bundle.matches("BEGIN CERTIFICATE").count() > 100, "the image's own roots stay");
            let env = says(bottle, "printenv NODE_EXTRA_CA_CERTS SSL_CERT_FILE REQUESTS_CA_BUNDLE").await;
            assert_eq!(env, format!("{CERTIFICATE}\n{BUNDLE}\n{BUNDLE}"));
            let modes = says(bottle, &format!("stat -c '%a %U' {CERTIFICATE} {BUNDLE}")).await;
            assert_eq!(modes, "644 root\n644 root");
        })
        .await;
    });
}

fn fingerprint(pem: &str) -> String {
    use base64::Engine as _;
    use sha2::Digest as _;
    let text: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    let bytes: Vec<_> = sha2::Sha256::digest(der).iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

#[test]
fn prompt_and_skills_arrive_with_their_modes_and_belong_to_the_agent() {
    lab::run(1, async |lab| {
        let skill = lab.path("home/.claude/skills/greet");
        fs::create_dir_all(skill.join("scripts")).unwrap();
        fs::write(skill.join("SKILL.md"), "Greet.").unwrap();
        fs::write(skill.join("scripts/run"), "#!/bin/sh\necho greetings\n").unwrap();
        fs::set_permissions(skill.join("scripts/run"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(skill.join("SKILL.md"), fs::Permissions::from_mode(0o640)).unwrap();
        fs::create_dir_all(lab.path("home/.claude/skills/other")).unwrap();
        let prompt = "First line.\n\"Second\" $line `with` 'quotes' — and é.\n";
        let want = Want { agent: json!({ "skills": ["greet"], "prompt": prompt }), ..Want::default() };
        lab.with_bottle(want, async |bottle| {
            assert_eq!(says(bottle, "cat ~/.bottle/prompt.md").await, prompt.trim());
            assert_eq!(says(bottle, "~/.claude/skills/greet/scripts/run").await, "greetings");
            let listed = says(bottle, "cd ~/.claude/skills && find . -printf '%p %m %u\\n' | sort").await;
            let expected = ". 755 agent\n./greet 755 agent\n./greet/SKILL.md 640 agent\n\
                            ./greet/scripts 755 agent\n./greet/scripts/run 755 agent";
            assert_eq!(listed, expected);
            says(bottle, "touch ~/.claude/skills/mine ~/.claude/mine ~/.bottle/mine").await;
        })
        .await;
    });
}
