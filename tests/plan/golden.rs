//! The JSON contract and the text. `BOTTLE_UPDATE=1` writes the JSON files anew.

use std::path::Path;

use bottle::plan::{BottleSpec, LaunchPlan, resolve, to_json};

use crate::support::{EXHAUSTIVE, MINIMAL, config, facts, plan, spec, used};

fn full() -> LaunchPlan {
    let mut facts = facts();
    facts.runtimes.push("runsc".into());
    facts.vars.insert("CLAUDE_BOTTLE_OAUTH_TOKEN".into());
    facts.used_slugs = used(&["coder"]);
    let wish = BottleSpec { copy_cwd: true, remote_control: true, detach: true, ..spec(EXHAUSTIVE, "coder") };
    resolve(&wish, &config(), &facts).unwrap()
}

fn check(name: &str, plan: &LaunchPlan) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plan/golden").join(name);
    let text = format!("{}\n", serde_json::to_string_pretty(&to_json(plan)).unwrap());
    if std::env::var_os("BOTTLE_UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "{name} changed: a renamed or removed key needs a new schema_version\n{text}");
}

#[test]
fn json_of_the_minimal_example() {
    check("minimal.json", &plan(MINIMAL, "coder").unwrap());
}

#[test]
fn json_of_the_exhaustive_example() {
    check("exhaustive.json", &full());
}

#[test]
fn text_of_both_examples() {
    insta::assert_snapshot!("minimal", plan(MINIMAL, "coder").unwrap().print());
    insta::assert_snapshot!("exhaustive", full().print());
}

#[test]
fn a_plan_survives_storage_and_keeps_its_hash() {
    let plan = full();
    let stored = serde_json::to_string(&plan).unwrap();
    let back: LaunchPlan = serde_json::from_str(&stored).unwrap();
    assert_eq!(back, plan);
    assert_eq!(back.hash(), plan.hash());
    assert_ne!(back.with_slug("other".into()).hash(), plan.hash());
}

#[test]
fn another_slug_renames_everything_that_has_a_name() {
    let plan = full();
    assert_eq!(plan.slug().as_str(), "coder-2");
    let next = plan.with_slug("coder-3".into());
    assert_eq!(next.names().agent, "claude-bottle-coder-3");
    assert_eq!(next.names().mid, "claude-bottle-mid-coder-3");
    assert_eq!(next.base_slug().as_str(), "coder");
    assert!(!to_json(&next).to_string().contains("coder-2"));
}

#[test]
fn the_policy_is_the_union_of_defaults_manifest_and_ssh() {
    let policy = full().policy().unwrap();
    assert_eq!(policy.check(), []);
    assert!(policy.allows_host("sub.example.net") && policy.allows_host("api.anthropic.com"));
    // An SSH host that is in no other list passes the gate for its port, but not for HTTPS.
    assert!(!policy.allows_host("mirror.example.org"));
    assert!(policy.gate_hosts().iter().any(|host| host.as_str() == "mirror.example.org"));
    insta::assert_json_snapshot!(policy);
}
