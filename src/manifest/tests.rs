//! What manifests are accepted, what is said about the others, and that nothing panics.

mod findings;
mod random;

use std::path::Path;

use super::*;

fn source(text: &str) -> Source {
    Source::new("claude-bottle.json", text)
}

/// Parses one text whose findings are expected, and shows them.
fn rendered(text: &str) -> String {
    render(&parse(&[source(text)]).expect_err("findings"))
}

/// The findings of one bottle's body, as `path: found; rule`.
fn bottle(body: &str) -> Vec<String> {
    let text = format!(r#"{{"bottles":{{"b":{body}}},"agents":{{"a":{{"bottle":"b"}}}}}}"#);
    match parse(&[source(&text)]) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.findings.iter().map(ToString::to_string).collect(),
    }
}

fn examples() -> Vec<(std::path::PathBuf, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples");
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    assert!(paths.len() >= 2, "minimal and exhaustive");
    paths.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn the_checked_in_schema_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/claude-bottle.schema.json");
    let text = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    if std::env::var_os("BOTTLE_UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(checked_in == text, "the schema changed; run this test with BOTTLE_UPDATE=1");
}

#[test]
fn examples_are_valid_for_the_schema_and_for_us() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for (path, text) in examples() {
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let wrong: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{}: {wrong:?}", path.display());
        parse(&[Source::new(&path, text)]).unwrap_or_else(|errors| panic!("{}", render(&errors)));
    }
}

#[test]
fn the_exhaustive_example_means_what_it_says() {
    let (_, text) = examples().into_iter().next().unwrap();
    insta::assert_debug_snapshot!(parse(&[source(&text)]).unwrap());
}

#[test]
fn objects_merge_and_the_rest_is_replaced() {
    let home = r#"{"bottles":{"dev":{"env":{"A":"1","B":"1"},"egress":{"allowlist":["a.example"]}}},
        "agents":{"x":{"bottle":"dev","skills":["s"]}}}"#;
    let cwd = r#"{"bottles":{"dev":{"env":{"B":"2"},"egress":{"allowlist":["b.example"]}}},"agents":{"y":{"bottle":"dev"}}}"#;
    let manifest = parse(&[source(home), source(cwd)]).unwrap();
    let dev = &manifest.bottles["dev"];
    assert_eq!(dev.env["A"], EnvValue::Literal("1".into()));
    assert_eq!(dev.env["B"], EnvValue::Literal("2".into()));
    assert_eq!(dev.egress.allowlist, ["b.example"]);
    assert_eq!(manifest.agents.keys().collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!(manifest.agents["x"].skills, ["s"]);
}

#[test]
fn places_survive_the_merge() {
    let home = Source::new("home.json", "{\n \"bottles\": {\"dev\": {\"restrat\": 1}},\n \"agents\": {}\n}");
    let cwd = Source::new("cwd.json", "{\n \"bottles\": {\"dev\":\n   {\"image\": 7}}}");
    let findings = parse(&[home, cwd]).unwrap_err().findings;
    let places: Vec<_> =
        findings.iter().map(|f| (f.file.to_str().unwrap(), f.line, f.column, f.json_path.as_str())).collect();
    assert_eq!(
        places,
        [("home.json", 2, 22, "bottles.dev.restrat"), ("cwd.json", 3, 14, "bottles.dev.image")]
    );
}

#[test]
fn files_are_found_read_and_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (home, cwd) = (dir.path().join("home"), dir.path().join("cwd"));
    std::fs::create_dir_all(&home).unwrap();
    std::fs::create_dir_all(&cwd).unwrap();
    let host = crate::config::HostEnv::new(Default::default(), &home, &cwd);
    let none = load(&host, None).unwrap_err();
    assert!(none.to_string().contains("bottle init"), "{none}");

    let good = br#"{"bottles":{"b":{}},"agents":{"a":{"bottle":"b"}}}"#;
    std::fs::write(home.join(FILE_NAME), good).unwrap();
    assert!(load(&host, None).unwrap().agents.contains_key("a"));
    std::fs::write(cwd.join(FILE_NAME), br#"{"agents":{"c":{"bottle":"b"}}}"#).unwrap();
    assert_eq!(load(&host, None).unwrap().agents.len(), 2);
    std::fs::write(cwd.join("other.json"), [b"\xef\xbb\xbf".as_slice(), good].concat()).unwrap();
    assert_eq!(load(&host, Some(Path::new("other.json"))).unwrap().agents.len(), 1, "it replaces both");

    let bad: [(&[u8], &str); 6] = [
        (b"", "an empty file"),
        (b"// only a comment", "an empty file"),
        (b"\x7fELF\0\0", "binary"),
        (b"\xff\xfe{\0}\0", "UTF-16"),
        (b"{\"a\": \"\xff\"}", "not UTF-8"),
        (&[b' '; MAX_BYTES + 1], "more than 1 MiB"),
    ];
    for (bytes, expected) in bad {
        std::fs::write(cwd.join(FILE_NAME), bytes).unwrap();
        let errors = load(&host, None).unwrap_err().to_string();
        assert!(errors.contains(expected), "{errors}");
    }
    std::fs::remove_file(cwd.join(FILE_NAME)).unwrap();
    std::fs::create_dir(cwd.join(FILE_NAME)).unwrap();
    assert!(load(&host, None).unwrap_err().to_string().contains("cannot be read"));
}
