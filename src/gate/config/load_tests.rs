//! The file: the documented sample loads, slips are named, secrets are never quoted.

use super::*;
use crate::gate::error::Reason;

fn parse_text(text: &str) -> Result<Policy, ConfigError> {
    parse(text.as_bytes(), Path::new("."))
}

fn error(text: &str) -> String {
    parse_text(text).unwrap_err().to_string()
}

const MINIMAL: &str = "mode: strict\napi_allowlist: [a.test]\n";

#[test]
fn every_key_of_the_documented_sample_is_accepted() {
    let policy = parse_text(include_str!("sample.yaml")).unwrap();
    let scan = policy.scan.as_ref().unwrap();
    assert_eq!(scan.text_limit_bytes, 8_388_608);
    assert_eq!(scan.scan_timeout.as_secs(), 30);
    assert!(!policy.ssrf.resolve_in_verdict);
    assert!(policy.tunnel.enabled);
    assert_eq!(policy.config_hash.len(), 64);
}

#[test]
fn defaults_are_pipelocks() {
    let policy = parse_text(MINIMAL).unwrap();
    assert_eq!(policy.main_listen.to_string(), "127.0.0.1:8888");
    assert_eq!((policy.tunnel.idle.as_secs(), policy.tunnel.max_life.as_secs()), (120, 300));
    assert!(policy.scan.is_none() && !policy.tunnel.enabled && policy.ssrf.resolve_in_verdict);
}

#[test]
fn slips_are_named() {
    assert!(error(&format!("{MINIMAL}api_alowlist: []\n")).contains("api_alowlist"));
    assert!(error(&format!("{MINIMAL}dlp: {{patern: []}}\n")).contains("patern"));
    assert!(error("").contains("empty"));
    assert!(error("mode: balanced\napi_allowlist: [a.test]\n").contains("mode"));
    assert!(error("api_allowlist: [a.test]\n").contains("mode"));
    assert!(error("mode: strict\n").contains("deny-all.invalid"));
    let all = error(
        "mode: audit\napi_allowlist: ['https://a']\nenforce: false\nssrf: {ip_allowlist: ['0.0.0.0/0', '10.0.0.1/8']}\ntls_interception: {enabled: true}\n",
    );
    for part in ["mode", "https://a", "enforce", "0.0.0.0/0", "10.0.0.1/8", "tls_interception"] {
        assert!(all.contains(part), "{part}: {all}");
    }
    let scan = format!("{MINIMAL}scan_api: {{listen: '127.0.0.1:0', timeouts: {{scan: '5 seconds'}}}}\n");
    assert!(error(&scan).contains("bearer_tokens") && error(&scan).contains("5 seconds"));
    assert!(error("a: b\n---\nc: d\n").contains("pars"));
}

#[test]
fn values_of_the_wrong_type_are_not_quoted() {
    let text = format!("{MINIMAL}scan_api: {{auth: {{bearer_tokens: \"hunter2-token\"}}}}\n");
    assert!(!error(&text).contains("hunter2"), "{}", error(&text));
    let text = format!("{MINIMAL}dlp: {{patterns: [{{name: mine, regex: '(hunter2', severity: high}}]}}\n");
    assert!(error(&text).contains("mine") && !error(&text).contains("hunter2"), "{}", error(&text));
}

#[test]
fn the_secrets_file_is_checked_line_by_line() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secrets.txt");
    let load = |text: &str, mode: u32| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        parse(format!("{MINIMAL}dlp: {{secrets_file: secrets.txt}}\n").as_bytes(), directory.path())
    };
    let policy = load("# comment\n\nhunter2-hunter2-hunter2\n", 0o600).unwrap();
    assert_eq!(policy.scanner.scan(b"x hunter2-hunter2-hunter2", None).unwrap()[0].name, "Known Secret Leak");
    assert!(matches!(load("short\n", 0o600), Err(ConfigError::Invalid(findings))
        if matches!(findings[0].reason, Reason::SecretLength { line: 1, length: 5, min: 16 })));
    assert!(load("hunter2-hunter2-hunter2\n", 0o644).is_err());
    std::fs::remove_file(&path).unwrap();
    assert!(
        parse(format!("{MINIMAL}dlp: {{secrets_file: secrets.txt}}\n").as_bytes(), directory.path()).is_err()
    );
}
