//! Dry runs and errors that need an engine: a dry run reads it and creates nothing.

use bottle::config::{Config, ImageConfig};
use bottle::ids::Role;

use crate::home::Home;
use crate::support::{docker, image, unique, wants_engine};

/// A home whose configuration names an image that is on the engine. Nothing is launched from it.
pub(crate) fn configured(manifest: &str) -> Home {
    let home = Home::with_engine().manifest(manifest);
    let mut config = Config::default();
    for role in Role::ALL {
        config.images.set(role, ImageConfig { reference: image::busybox().into(), digest: None });
    }
    config.write(&home.path().join(".config/bottle/config.toml")).unwrap();
    home
}

/// Names of what carries an agent's name on the engine. Other tests run beside this one.
pub(crate) fn resources(agent: &str) -> String {
    let filter = format!("label=bottle.agent={agent}");
    let containers = docker(&["ps", "--all", "--quiet", "--filter", &filter]);
    containers + &docker(&["network", "ls", "--quiet", "--filter", &filter])
}

/// Digests differ from machine to machine.
pub(crate) fn neutral(page: &str) -> String {
    let mut parts = page.split("sha256:");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str("sha256:[HEX]");
        text.push_str(part.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
    }
    text.replace(image::busybox(), "[IMAGE]")
}

const MANIFEST: &str = r#"{
  "bottles": { "dev": { "env": { "A": "literal", "B": "${FROM_HOST}" }, "egress": { "allowlist": ["x.example.org"] } } },
  "agents": { "coder": { "bottle": "dev", "prompt": "Be brief." } }
}"#;

#[test]
fn a_dry_run_shows_the_plan_and_creates_nothing() {
    if !wants_engine() {
        return;
    }
    let agent = unique("dry");
    let manifest = MANIFEST.replace("\"coder\"", &format!("{agent:?}"));
    let home = configured(&manifest).var("FROM_HOST", "canary");
    let before = home.tree();
    let text = home.run(&["start", &agent, "--dry-run"]);
    let json = home.run(&["start", &agent, "--dry-run", "--format=json"]);
    let same = home.run(&["start", &agent, "--dry-run", "--json"]);
    let shown = |page: String| neutral(&page).replace(&agent, "[AGENT]");
    insta::assert_snapshot!("dry_run_text", shown(text.page()));
    insta::assert_snapshot!("dry_run_json", shown(json.page()));
    assert_eq!(json.out, same.out);
    assert!(!text.page().contains("canary") && !json.page().contains("canary"));
    assert_eq!(home.tree(), before, "nothing on disk");
    assert_eq!(resources(&agent), "", "nothing on the engine");
}

#[test]
fn the_variable_makes_every_start_a_dry_run() {
    if !wants_engine() {
        return;
    }
    let home = configured(MANIFEST).var("FROM_HOST", "x").var("CLAUDE_BOTTLE_DRY_RUN", "1");
    let run = home.run(&["start", "coder", "--yes", "--format=json"]);
    assert_eq!(run.code, 0, "{}", run.page());
    let plan: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(plan["agent"], "coder");
}

#[test]
fn a_plan_that_cannot_work_is_refused_with_all_reasons() {
    if !wants_engine() {
        return;
    }
    let page = |home: &Home, agent: &str| neutral(&home.run(&["start", agent, "--dry-run"]).page());
    let home = configured(MANIFEST);
    insta::assert_snapshot!("unknown_agent", page(&home, "codr"));
    insta::assert_snapshot!("unset_variable", page(&home, "coder"));
    let asks = MANIFEST.replace("${FROM_HOST}", "?PIN");
    insta::assert_snapshot!("nobody_to_ask", page(&configured(&asks), "coder"));
    let bare = Home::with_engine().manifest(MANIFEST).var("FROM_HOST", "x");
    insta::assert_snapshot!("no_images", page(&bare, "coder"));
}

#[test]
fn names_of_every_kind_make_a_plan_or_a_clear_error() {
    if !wants_engine() {
        return;
    }
    let plan = |agent: &str| {
        let agents = format!("{:?}: {{ \"bottle\": \"dev\" }}", agent);
        let home = configured(&format!(r#"{{"bottles":{{"dev":{{}}}},"agents":{{{agents}}}}}"#));
        home.run(&["start", agent, "--dry-run", "--json"])
    };
    let slug = |agent: &str| {
        let run = plan(agent);
        let value: serde_json::Value =
            serde_json::from_str(&run.out).unwrap_or_else(|_| panic!("{}", run.page()));
        value["slug"].as_str().unwrap().to_owned()
    };
    assert!(slug("a").starts_with('a'));
    assert!(slug(&"x".repeat(300)).len() <= 40);
    assert!(slug("Überprüfer Nr. 7").starts_with("berpr-fer-nr-7"));
    let refused = plan("日本");
    assert_eq!(refused.code, 125, "{}", refused.page());
}

#[test]
fn unknown_bottles_are_not_found() {
    if !wants_engine() {
        return;
    }
    let home = configured(MANIFEST);
    let name = unique("nobody");
    for (args, code) in [
        (vec!["logs", &name], 4),
        (vec!["stop", &name], 4),
        (vec!["inspect", &name], 4),
        (vec!["stats", &name], 4),
        (vec!["audit", &name], 4),
        (vec!["cp", "x", &format!("{name}:/y")], 4),
        (vec!["exec", &name, "true"], 125),
    ] {
        let run = home.run(&args);
        assert_eq!(run.code, code, "{args:?}: {}", run.page());
        assert!(run.err.contains("`bottle list` shows the running bottles"), "{}", run.err);
    }
}

#[test]
fn the_doctor_finds_what_is_missing() {
    if !wants_engine() {
        return;
    }
    let bare = Home::with_engine();
    let run = bare.run(&["doctor", "--json"]);
    assert_eq!(run.code, 1);
    let value: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(value["ready"], false);
    let grades: std::collections::BTreeMap<_, _> = value["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| (check["name"].as_str().unwrap(), check["grade"].as_str().unwrap()))
        .collect();
    assert_eq!((grades["config"], grades["image"], grades["manifest"]), ("fail", "fail", "warn"));
    assert_eq!(configured(&MANIFEST.replace("skills", "")).run(&["doctor"]).code, 0);
}
