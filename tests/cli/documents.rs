//! What is generated: schema, completions, version. And how data behaves on its stream.

use std::process::Stdio;

use crate::home::{BOTTLE, Home};

#[test]
fn the_schema_is_the_one_that_is_checked_in() {
    let run = Home::new().run(&["schema"]);
    let printed: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    let kept: serde_json::Value =
        serde_json::from_str(include_str!("../../docs/claude-bottle.schema.json")).unwrap();
    assert_eq!(printed, kept);
}

#[test]
fn completions_exist_for_the_usual_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let run = Home::new().run(&["completions", shell]);
        assert!(run.code == 0 && run.out.contains("bottle") && run.out.lines().count() > 50, "{shell}");
    }
    assert_eq!(Home::new().run(&["completions", "csh"]).code, 2);
}

#[test]
fn the_version_is_the_packages() {
    let home = Home::new();
    assert_eq!(home.run(&["version"]).out, format!("bottle {}\n", env!("CARGO_PKG_VERSION")));
    let value: serde_json::Value = serde_json::from_str(&home.run(&["version", "--json"]).out).unwrap();
    assert_eq!(value["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(value["backends"], serde_json::json!(["docker"]));
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let script = format!("'{BOTTLE}' completions bash | true; '{BOTTLE}' schema > /dev/full");
    let output =
        std::process::Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!error.contains("panicked"), "{error}");
    assert!(error.contains("failed to write to standard output"), "a full disk is told: {error}");
    assert_eq!(output.status.code(), Some(9));
}

#[test]
fn colours_need_a_terminal_and_can_be_turned_off() {
    let home = Home::new();
    assert!(!home.run(&["list"]).err.contains('\u{1b}'));
    let coloured = home.on_terminal("\"$BOTTLE\" list", b"");
    assert!(coloured.out.contains("\u{1b}[1;31merror:"), "{}", coloured.out);
    for line in ["NO_COLOR=1 \"$BOTTLE\" list", "\"$BOTTLE\" --no-color list"] {
        assert!(!home.on_terminal(line, b"").out.contains('\u{1b}'), "{line}");
    }
}
