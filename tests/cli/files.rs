//! `init`, `edit`, `info`: the manifest as a file.

use crate::home::Home;

const MANIFEST: &str = r#"{
  "bottles": { "dev": {
    "env": { "LOG": "debug", "TOKEN": "${HOST_TOKEN}", "PIN": "?PIN for the staging box" },
    "egress": { "allowlist": ["git.example.org"] }
  } },
  "agents": { "coder": { "bottle": "dev", "skills": ["review"], "prompt": "You are careful.\nAlways." } }
}"#;

#[test]
fn init_writes_a_first_manifest_and_never_overwrites() {
    let home = Home::new();
    assert_eq!(home.run(&["init", "--yes"]).code, 0);
    let file = home.work().join("claude-bottle.json");
    let text = std::fs::read_to_string(&file).unwrap();
    insta::assert_snapshot!("init_default", text);
    let again = home.run(&["init", "--yes"]);
    insta::assert_snapshot!("init_again", again.page());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    assert_eq!(home.run(&["info", "coder"]).code, 0);
    assert_eq!(home.run(&["init", "--yes", "--home"]).code, 0);
    assert!(home.path().join("claude-bottle.json").exists());
}

#[test]
fn init_asks_on_the_terminal() {
    let home = Home::new();
    let run = home.on_terminal("\"$BOTTLE\" init", b"writer\nbox\ngit.example.org, *.example.net\n\n");
    assert_eq!(run.code, 0, "{}", run.out);
    let info = home.run(&["info", "writer", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&info.out).unwrap();
    assert_eq!(value["bottle"], "box");
    assert_eq!(value["egress"]["allowlist"], serde_json::json!(["git.example.org", "*.example.net"]));
}

#[test]
fn init_without_a_terminal_says_what_to_pass() {
    let home = Home::new();
    insta::assert_snapshot!(home.run(&["init"]).page());
    assert!(!home.work().join("claude-bottle.json").exists());
}

#[test]
fn edit_checks_what_was_written() {
    let home = Home::new().manifest(MANIFEST);
    let editor = |line: &str| {
        let path = home.path().join("editor.sh");
        std::fs::write(&path, line).unwrap();
        format!("sh {}", path.display())
    };
    let run = |editor: &str| {
        let mut command = home.command(&["edit"]);
        let output = command.env("EDITOR", editor).stdin(std::process::Stdio::null()).output().unwrap();
        crate::home::Run::of(&home, output)
    };
    insta::assert_snapshot!("edit_valid", run("true").page());
    let broken = run(&editor("sed -i 's/\"bottle\": \"dev\"/\"bottle\": \"dve\"/' \"$1\""));
    assert_eq!(broken.code, 3);
    assert!(broken.err.contains("did you mean"), "{}", broken.err);
    let failed = run("false");
    assert!(failed.code == 3 && failed.err.contains("VISUAL or EDITOR"), "{}", failed.err);
    assert_eq!(Home::new().run(&["edit"]).code, 4);
}

#[test]
fn edit_offers_to_open_it_again() {
    let home = Home::new().manifest("{}");
    // The first call breaks the file, the second one mends it.
    let mended = "{\"bottles\":{},\"agents\":{}}";
    let script =
        format!("if grep -q broken \"$1\"; then echo '{mended}' > \"$1\"; else echo broken > \"$1\"; fi");
    std::fs::write(home.path().join("editor.sh"), script).unwrap();
    let run = home.on_terminal("EDITOR=\"sh $HOME/editor.sh\" \"$BOTTLE\" edit", b"\n");
    assert!(run.out.contains("open it again? [Y/n]"), "{}", run.out);
    assert_eq!(run.code, 0, "{}", run.out);
}

#[test]
fn info_shows_sources_and_never_values() {
    let home = Home::new().manifest(MANIFEST).var("HOST_TOKEN", "canary");
    let text = home.run(&["info", "coder"]);
    insta::assert_snapshot!("info_text", text.page());
    let json = home.run(&["info", "coder", "--json"]);
    insta::assert_snapshot!("info_json", json.page());
    assert!(!text.page().contains("canary") && !json.page().contains("canary"));
    insta::assert_snapshot!("info_unknown", home.run(&["info", "codr"]).page());
}
