//! The scan API: verdicts, error codes, their order, and what an answer looks like.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::engine::{Gate, Setup, TOKEN, exchange};
use crate::engines;

fn github() -> String {
    ["gh", "p_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o50smkjE"].concat()
}

fn aws() -> String {
    ["AKIA", "2E0A8F3BI44C99QT"].concat()
}

#[test]
fn urls_are_judged_by_the_allowlist() {
    for engine in engines() {
        let gate = Gate::start(&engine, &Setup::default());
        assert!(gate.judge_url("https://localhost/v1/messages?beta=true").is_empty(), "{engine:?}");
        for url in [
            "https://deny-probe.invalid/",
            "https://localhost.deny-probe.invalid/",
            "https://2130706433/",
            "http://127.0.0.1/",
        ] {
            assert_eq!(gate.judge_url(url), ["URL-allowlist"], "{engine:?} {url}");
        }
        let denied = gate.judge_url(&format!("https://localhost/?token={}", github()));
        assert!(denied == ["URL-core_dlp"] || denied == ["DLP-URL-Exfil"], "{engine:?} {denied:?}");
        assert_eq!(gate.judge_url("https://localhost/a%0d%0ab"), ["URL-crlf_injection"], "{engine:?}");
    }
}

#[test]
fn a_name_with_reserved_addresses_is_denied_unless_trusted() {
    for engine in engines() {
        let gate = Gate::start(&engine, &Setup { trusted: vec![], ..Setup::default() });
        assert_eq!(gate.judge_url("https://localhost/"), ["SSRF-Private-IP"], "{engine:?}");
    }
}

#[test]
fn texts_are_judged_by_content() {
    for engine in engines() {
        let gate = Gate::start(&engine, &Setup::default());
        for text in ["hello world", "fn main() { println!(\"{}\", 42); }", "Zażółć gęślą jaźń 🦀"]
        {
            assert!(gate.judge_text(text).is_empty(), "{engine:?} {text}");
        }
        let anthropic = ["sk-ant-", "api03-a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0u1V2w3X4y5Z6"].concat();
        let pem = ["-----BEGIN RSA ", "PRIVATE KEY-----\nMIIEpAIBAAKCAQEA"].concat();
        for (text, rule) in [
            (github(), "DLP-GitHub Token"),
            (aws(), "DLP-AWS Access ID"),
            (anthropic, "DLP-Anthropic API Key"),
            (pem, "DLP-Private Key Header"),
            (STANDARD.encode(format!("token {}", github())), "DLP-GitHub Token"),
            (hex::encode(github()), "DLP-GitHub Token"),
            (github().chars().flat_map(|c| [c, '\u{200b}']).collect(), "DLP-GitHub Token"),
        ] {
            let rules = gate.judge_text(&text);
            assert!(rules.iter().any(|found| found == rule), "{engine:?} {rule}: {text} gave {rules:?}");
        }
    }
}

#[test]
fn exact_secrets_come_as_patterns() {
    let secret = "Tr0ub4dor.and+horse";
    let dlp = format!(
        "  patterns:\n    - {{name: bottle secret, regex: '{}', severity: critical}}\n    - {{name: soft, regex: 'softword[0-9]+', severity: low, action: warn}}\n",
        regex::escape(secret)
    );
    for engine in engines() {
        let gate = Gate::start(&engine, &Setup { dlp: dlp.clone(), ..Setup::default() });
        for text in [
            secret.to_owned(),
            format!("a {secret} b"),
            secret.to_uppercase(),
            STANDARD.encode(secret),
            hex::encode(secret),
        ] {
            assert_eq!(gate.judge_text(&text), ["DLP-bottle secret"], "{engine:?} {text}");
        }
        assert!(gate.judge_text("Tr0ub4dor and horse, softword12").is_empty(), "{engine:?}");
    }
}

#[test]
fn an_answer_has_the_documented_shape() {
    for engine in engines() {
        let gate = Gate::start(&engine, &Setup::default());
        let question = json!({
            "kind": "dlp", "input": {"text": STANDARD.encode(github())}, "context": {"request_id": "b7-1", "session_id": "s", "agent_name": "a"},
            "options": {"include_evidence": true},
        });
        let (status, answer) = gate.ask(&question);
        assert_eq!(status, 200);
        assert_eq!(answer["request_id"], "b7-1");
        assert_eq!(answer["kind"], "dlp");
        assert_eq!(answer["findings"][0]["scanner"], "dlp");
        assert_eq!(answer["findings"][0]["severity"], "critical");
        assert_eq!(answer["findings"][0]["evidence"]["encoding"], "base64", "{engine:?} {answer}");
        let id = answer["scan_id"].as_str().unwrap();
        assert!(id.len() == 21 && id.starts_with("scan-"), "{id}");
        assert!(!answer.to_string().contains("a1B2c3"), "the finding quotes the text");
        if engine.is_builtin() {
            assert!(answer["engine_version"].as_str().unwrap().starts_with("builtin-"));
        }
    }
}

#[test]
fn every_error_has_its_code() {
    for engine in engines() {
        let gate = Gate::start(&engine, &Setup::default());
        let good = json!({"kind": "dlp", "input": {"text": "x"}}).to_string();
        let code =
            |answer: &serde_json::Value| answer["errors"][0]["code"].as_str().unwrap_or_default().to_owned();
        let long_text = json!({"kind": "dlp", "input": {"text": "x".repeat(100_001)}}).to_string();
        let long_url =
            json!({"kind": "url", "input": {"url": format!("https://localhost/{}", "x".repeat(2000))}})
                .to_string();
        let huge = json!({"kind": "dlp", "input": {"text": "x".repeat(250_000)}}).to_string();
        for (token, body, expected) in [
            ("wrong", good.as_str(), (401, "unauthorized")),
            ("", &good, (401, "unauthorized")),
            ("wrong", "{", (401, "unauthorized")),
            (TOKEN, &huge, (400, "body_too_large")),
            (TOKEN, "{", (400, "invalid_json")),
            (TOKEN, "[]", (400, "invalid_json")),
            (TOKEN, r#"{"kind":"dlp","input":{"text":"x"},"more":1}"#, (400, "invalid_json")),
            (TOKEN, r#"{"kind":"dlp","input":{"text":"x","more":1}}"#, (400, "invalid_json")),
            (TOKEN, r#"{"kind":"dlp","input":{"text":"x"}} {}"#, (400, "invalid_json")),
            (TOKEN, r#"{"kind":"poem","input":{}}"#, (400, "invalid_kind")),
            (TOKEN, r#"{}"#, (400, "invalid_kind")),
            (TOKEN, r#"{"kind":"prompt_injection","input":{"content":"x"}}"#, (400, "kind_disabled")),
            (
                TOKEN,
                r#"{"kind":"tool_call","input":{"tool_name":"x","arguments":{"a":1}}}"#,
                (400, "kind_disabled"),
            ),
            (TOKEN, r#"{"kind":"dlp","input":{"url":"https://localhost/"}}"#, (400, "invalid_input")),
            (TOKEN, r#"{"kind":"url","input":{"url":"localhost"}}"#, (400, "invalid_input")),
            (TOKEN, r#"{"kind":"url","input":{"url":"ftp://localhost/"}}"#, (400, "invalid_input")),
            (TOKEN, &long_text, (400, "invalid_input")),
            (TOKEN, &long_url, (400, "invalid_input")),
        ] {
            let (status, answer) = gate.post(token, body.as_bytes());
            let shown = &body[..body.len().min(80)];
            assert_eq!((status, code(&answer).as_str()), expected, "{engine:?} {token} {shown}: {answer}");
            assert_eq!(answer["status"], "error", "{engine:?} {shown}");
            assert!(answer["decision"].is_null(), "{engine:?} {shown}");
        }
        let request = format!(
            "GET /api/v1/scan HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
        );
        let answer = exchange(gate.scan, request.as_bytes());
        assert!(answer.status == 405 && answer.body.contains("method_not_allowed"), "{engine:?} {answer:?}");
        let other = exchange(
            gate.scan,
            b"POST /other HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
        assert_eq!(other.status, 404, "{engine:?}");
    }
}

#[test]
fn the_rate_of_a_token_is_limited() {
    for engine in engines() {
        let scan = "  rate_limit: {requests_per_minute: 1, burst: 3}\n".to_owned();
        let gate = Gate::start(&engine, &Setup { scan, ..Setup::default() });
        let statuses: Vec<u16> =
            (0..5).map(|_| gate.ask(&json!({"kind": "dlp", "input": {"text": "x"}})).0).collect();
        assert_eq!(statuses, [200, 200, 200, 429, 429], "{engine:?}");
    }
}

#[test]
fn the_kill_switch_denies_everything() {
    for engine in engines() {
        let extra = "kill_switch: {enabled: true, message: halted}\n".to_owned();
        let gate = Gate::start(&engine, &Setup { extra, ..Setup::default() });
        let (status, answer) = gate.ask(&json!({"kind": "dlp", "input": {"text": "x"}}));
        assert_eq!(
            (status, answer["errors"][0]["code"].as_str()),
            (503, Some("kill_switch_active")),
            "{engine:?}"
        );
        let (_, denied) = gate.connect("localhost:443");
        assert!(denied.status == 503 && denied.body.contains("kill_switch_active"), "{engine:?} {denied:?}");
        let health = exchange(gate.main, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert!(
            health.status == 200 && health.body.contains("\"kill_switch_active\":true"),
            "{engine:?} {health:?}"
        );
    }
}
