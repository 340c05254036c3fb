//! The URL judge, rule id by rule id.

use super::*;
use crate::gate::config::tests_support::policy;

const FILE: &str = r#"
mode: strict
api_allowlist: ["api.example.test", "*.wild.test", "10.1.2.3", "127.0.0.1", "blocked.example.test"]
ssrf: {ip_allowlist: ["10.1.2.0/24"]}
fetch_proxy:
  monitoring: {max_url_length: 200, entropy_threshold: 4.0, max_requests_per_minute: 100, blocklist: ["blocked.example.test"]}
"#;

fn rule(url: &str) -> Option<&'static str> {
    judge_url(&policy(FILE), url, Instant::now()).err().map(|refusal| refusal.stage.rule_id())
}

#[test]
fn allowed_urls_pass() {
    for url in [
        "https://api.example.test/v1/messages?beta=true",
        "https://API.example.test./",
        "http://api.example.test:8443/a",
        "https://a.wild.test/",
        "https://wild.test/",
        "https://10.1.2.3/",
    ] {
        assert_eq!(rule(url), None, "{url}");
    }
}

#[test]
fn each_stage_has_its_rule_id() {
    let token = ["gh", "p_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o50smkjE"].concat();
    let twilio = ["SK", "0a1b2c3d4e5f60718293a4b5c6d7e8f9"].concat();
    let cases = [
        ("https://", "URL-parser"),
        ("https://api.example.test\\@evil.test/", "URL-parser"),
        ("ftp://api.example.test/", "URL-scheme"),
        ("https://api.example.test/a%0d%0aX: y", "URL-crlf_injection"),
        ("https://api.example.test/a/%2e%2e/b", "URL-path_traversal"),
        ("https://evil.test/", "URL-allowlist"),
        ("https://api.example.test@evil.test/", "URL-allowlist"),
        ("https://2130706433/", "URL-allowlist"),
        ("https://0x7f000001/", "URL-allowlist"),
        ("https://[::1]/", "URL-allowlist"),
        ("https://127.0.0.1/", "URL-core_ssrf"),
        ("https://blocked.example.test/", "BLOCK-Domain"),
        (&format!("https://api.example.test/?q={token}"), "URL-core_dlp"),
        (&format!("https://api.example.test/{twilio}"), "DLP-URL-Exfil"),
        ("https://api.example.test/?q=q8Zr1xWv7Tn3Ky6Bd0Hf5Jm2", "URL-entropy"),
        ("https://q8zr1xwv7tn3ky6bd0hf.wild.test/", "URL-subdomain_entropy"),
        (&format!("https://api.example.test/{}", "a".repeat(200)), "URL-length"),
    ];
    for (url, expected) in cases {
        assert_eq!(rule(url), Some(expected), "{url}");
    }
}

#[test]
fn the_budget_of_a_host_runs_out() {
    let policy = policy(FILE);
    let now = Instant::now();
    let host = Host::parse("api.example.test").unwrap();
    assert!((0..100).all(|_| judge_host(&policy, &host, now).is_ok()));
    assert_eq!(judge_host(&policy, &host, now).unwrap_err().stage, Stage::Rate);
    assert!(judge_host(&policy, &Host::parse("wild.test").unwrap(), now).is_ok());
}

#[test]
fn reasons_never_show_the_query() {
    let refusal = judge_url(&policy(FILE), "https://evil.test/?secret=hunter2", Instant::now()).unwrap_err();
    assert!(!refusal.reason.contains("hunter2"));
}
