//! Why a wish cannot become a plan: all reasons at once.

use bottle::plan::facts::{FileFact, HostFacts, ImageFact, KeyFact};
use bottle::plan::{BottleSpec, resolve};

use crate::support::{EXHAUSTIVE, config, facts, plan, spec};

#[test]
fn every_problem_is_reported_at_once() {
    let facts = HostFacts {
        vars: Default::default(),
        terminal: false,
        skills: ["revue".to_owned()].into(),
        keys: [
            ("~/.ssh/id_ed25519".to_owned(), KeyFact::Encrypted),
            ("/etc/keys/mirror".to_owned(), KeyFact::Unreadable("permission denied".into())),
        ]
        .into(),
        bundles: [("/etc/ssl/corporate.pem".to_owned(), FileFact::Wrong("holds no PEM certificate".into()))]
            .into(),
        credential_files: [("~/.config/team".to_owned(), FileFact::Unreadable("not found".into()))].into(),
        images: [("bottle-mitmproxy:1".into(), ImageFact::Present("sha256:other".into()))].into(),
        cwd_is_dir: false,
        ..facts()
    };
    let text = EXHAUSTIVE.replace("ssh-ed25519 AAAA", "ssh-ed25519 BBBB");
    let wish = BottleSpec { copy_cwd: true, ..spec(&text, "coder") };
    let mut config = config();
    config.images.pipelock = None;
    insta::assert_snapshot!(resolve(&wish, &config, &facts).unwrap_err());
}

#[test]
fn an_unknown_agent_names_the_nearest() {
    insta::assert_snapshot!(plan(EXHAUSTIVE, "codr").unwrap_err());
}

#[test]
fn the_forwarded_token_and_a_credential_of_the_same_header_conflict() {
    let text = EXHAUSTIVE.replace("x-api-key", "Authorization");
    let mut facts = facts();
    facts.vars.insert("CLAUDE_BOTTLE_OAUTH_TOKEN".into());
    let errors = resolve(&spec(&text, "coder"), &config(), &facts).unwrap_err();
    assert!(errors.to_string().contains("same header"), "{errors}");
    let without = BottleSpec { forward_oauth_token: false, ..spec(&text, "coder") };
    assert!(resolve(&without, &config(), &facts).is_ok());
}

#[test]
fn a_variable_cannot_be_both_value_and_placeholder() {
    let text = EXHAUSTIVE.replace("\"LOG\": \"debug\"", "\"ANTHROPIC_API_KEY\": \"${HOST_TOKEN}\"");
    let errors = plan(&text, "coder").unwrap_err();
    assert!(errors.to_string().contains("is also in env"), "{errors}");
}

#[test]
fn all_usual_host_keys_are_understood() {
    let keys = [
        "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHwf2HMM5TRXvo2SQJjsNkiDD5KqiiNjrGVv3UUh+mMT5RHxiRtOnlqvjhQtBq0VpmpCV/PwUdhOig4vkbqAcEc=",
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC7",
    ];
    for (key, good) in keys.into_iter().zip([true, false]) {
        let text = EXHAUSTIVE
            .replace("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGMv8JIYPQxTLxAxm9rP5ujH5FpXWAzpkMQkPw7MmNkp", key);
        assert_eq!(plan(&text, "coder").is_ok(), good, "{key}");
    }
}

#[test]
fn rules_for_a_host_out_of_reach_are_a_problem() {
    let text = EXHAUSTIVE.replace(r#""rules": {"#, r#""rules": { "other.example": [ {} ],"#);
    let errors = plan(&text, "coder").unwrap_err();
    assert!(errors.to_string().contains("other.example"), "{errors}");
}
