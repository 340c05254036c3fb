//! What people read when something is wrong, without an engine: message, causes, remedy, exit code.

use crate::home::Home;

fn start(manifest: impl AsRef<[u8]>) -> String {
    Home::new().manifest(manifest).run(&["start", "coder", "--dry-run"]).page()
}

#[test]
fn broken_manifests_are_explained() {
    insta::assert_snapshot!("no_manifest", Home::new().run(&["start", "coder"]).page());
    insta::assert_snapshot!("empty", start(""));
    insta::assert_snapshot!("syntax", start("{ \"bottles\": { \"dev\": } }"));
    insta::assert_snapshot!("binary", start([0x7f, b'E', b'L', b'F', 0, 1]));
    insta::assert_snapshot!("not_utf8", start([b'{', 0xff, b'}']));
    insta::assert_snapshot!("huge", start(vec![b' '; 2 << 20]));
    insta::assert_snapshot!("no_object", start("[1, 2]"));
    insta::assert_snapshot!("duplicate_key", start(r#"{"bottles": {"a": {}, "a": {}}, "agents": {}}"#));
    let unknown = r#"{"bottles": {"dev": {"enf": {}, "runtime": "runsc", "egress": {"dlp_action": "maybe"}}},
 "agents": {"coder": {"bottle": "dve"}}}"#;
    insta::assert_snapshot!("all_at_once", start(unknown));
}

#[test]
fn a_manifest_can_be_named() {
    let home = Home::new();
    insta::assert_snapshot!(home.run(&["info", "coder", "--manifest", "nowhere.json"]).page());
    std::fs::write(home.work().join("m.json"), r#"{"bottles":{"b":{}},"agents":{"a":{"bottle":"b"}}}"#)
        .unwrap();
    assert_eq!(home.run(&["info", "a", "--manifest", "m.json"]).code, 0);
}

#[test]
fn an_engine_that_is_down_is_named_with_a_remedy() {
    let home = Home::new().manifest(r#"{"bottles":{"dev":{}},"agents":{"coder":{"bottle":"dev"}}}"#);
    insta::assert_snapshot!("engine_down_list", home.run(&["list"]).page());
    insta::assert_snapshot!("engine_down_start", home.run(&["start", "coder", "--yes"]).page());
    insta::assert_snapshot!("engine_down_json", home.run(&["--json", "cleanup"]).page());
    for args in
        [&["stop", "x"][..], &["stats"], &["inspect", "x"], &["cp", "x:/a", "b"], &["logs", "x"], &["setup"]]
    {
        assert_eq!(home.run(args).code, 7, "{args:?}");
    }
    assert_eq!(home.run(&["exec", "x", "true"]).code, 125);
}

#[test]
fn an_unknown_backend_lists_the_known_ones() {
    let home = Home::new().var("CLAUDE_BOTTLE_BACKEND", "podmann");
    insta::assert_snapshot!(home.run(&["list"]).page());
    assert_eq!(home.run(&["setup"]).code, 3);
    assert_eq!(Home::new().var("CLAUDE_BOTTLE_BACKEND", "").run(&["list"]).code, 7, "empty means default");
}

#[test]
fn contradictions_on_the_command_line_are_usage_errors() {
    let home = Home::new();
    insta::assert_snapshot!("json_without_dry_run", home.run(&["start", "x", "--format=json"]).page());
    insta::assert_snapshot!("detach", home.run(&["start", "x", "--detach"]).page());
    insta::assert_snapshot!("cp_nowhere", home.run(&["cp", "a", "./b:c"]).page());
    insta::assert_snapshot!("cp_twice", home.run(&["cp", "a:b", "b:c"]).page());
    insta::assert_snapshot!("exec_without_terminal", home.run(&["exec", "-it", "x", "sh"]).page());
    insta::assert_snapshot!("exec_unset", home.run(&["exec", "-e", "NOT_SET", "x", "sh"]).page());
}

#[test]
fn a_broken_configuration_is_explained() {
    let home = Home::new().manifest(r#"{"bottles":{"dev":{}},"agents":{"coder":{"bottle":"dev"}}}"#);
    let dir = home.path().join(".config/bottle");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("config.toml"), "adress_pool = '10.0.0.0/16'\n").unwrap();
    insta::assert_snapshot!(home.run(&["start", "coder", "--dry-run"]).page());
}

#[test]
fn errors_for_programs_are_one_json_object() {
    let home = Home::new().manifest(r#"{"bottles": {"dev": {"x": 1}}, "agents": {}}"#);
    let run = home.run(&["--json", "start", "coder"]);
    assert_eq!((run.code, run.out.as_str()), (125, ""));
    let value: serde_json::Value = serde_json::from_str(&run.err).unwrap();
    assert_eq!(value["schema_version"], 1);
    assert_eq!(value["error"]["kind"], "input");
    assert_eq!(value["error"]["exit_code"], 125);
    assert_eq!(value["error"]["message"], "failed to read the manifest");
    assert!(value["error"]["chain"].is_array());
    assert_eq!(value["error"]["findings"][0]["json_path"], "bottles.dev.x");
}

#[test]
fn secrets_of_the_manifest_and_the_host_are_not_repeated() {
    let text = r#"{"bottles": {"dev": {"env": {"A": "canary-literal ${X}", "B": "${HOST}"}}}, "agents": {"#;
    let home = Home::new().manifest(text).var("HOST", "canary-host");
    for args in [&["start", "coder"][..], &["info", "coder"], &["doctor"], &["--json", "doctor"]] {
        let page = home.run(args).page();
        assert!(!page.contains("canary"), "{args:?}: {page}");
    }
}
