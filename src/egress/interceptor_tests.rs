//! Tests of the lines to and from the interceptor.

use proptest::prelude::*;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::*;
use crate::egress::{AuditVerdict, MIN_EXACT_SECRET_BYTES};

const CANARY: &str = "canary-value-0123456789";

fn secrets() -> SecretValues {
    SecretValues {
        exact: vec![
            ExactSecret { name: "Bottle Secret 1".into(), value: CANARY.into() },
            ExactSecret {
                name: "Bottle Secret 2".into(),
                value: "x".repeat(MIN_EXACT_SECRET_BYTES - 1).into(),
            },
        ],
        credentials: BTreeMap::from([("TOKEN".to_owned(), Secret::from(CANARY))]),
    }
}

fn config() -> InterceptorConfig {
    InterceptorConfig {
        bottle: "0123456789abcdef".into(),
        ca: BottleCa::mint("bottle demo", OffsetDateTime::now_utc()).expect("mints"),
        listen: ListenAddress { host: [0, 0, 0, 0].into(), port: 8080 },
        gate: GateAddress { host: [10, 1, 2, 3].into(), proxy_port: 8888, scan_port: 8890 },
        scan_token: CANARY.into(),
        confdir: "/run/mitm".into(),
        policy: EgressPolicy::default(),
        secrets: secrets(),
        extra_ca_pem: None,
    }
}

fn parsed(line: Secret<String>) -> Value {
    let text = line.expose_secret();
    assert_eq!(text.matches('\n').count(), 1);
    assert!(text.ends_with('\n'));
    serde_json::from_str(text).expect("one JSON object")
}

#[test]
fn configuration_is_one_line_with_everything_in_it() {
    let line = parsed(config().to_line().expect("serialises"));
    assert_eq!(line["version"], 1);
    assert_eq!(line["gate"], json!({"host": "10.1.2.3", "proxy_port": 8888, "scan_port": 8890}));
    assert_eq!(line["credentials"], json!({"TOKEN": CANARY}));
    assert_eq!(
        line["exact_secrets"],
        json!([{"name": "Bottle Secret 1", "value": CANARY}]),
        "short values are left out"
    );
    assert!(line["ca"]["private_key_pem"].as_str().is_some_and(|pem| pem.contains("PRIVATE KEY")));
}

#[test]
fn debug_output_holds_no_secret() {
    let control = Control::Policy(Box::default(), secrets());
    let shown = format!("{:?} {control:?} {:?}", config(), config().to_line());
    assert!(!shown.contains(CANARY) && !shown.contains("PRIVATE KEY"));
}

#[test]
fn control_lines_have_an_op() {
    let table = [
        (Control::Halt, json!({"op": "halt"})),
        (Control::Resume, json!({"op": "resume"})),
        (Control::Probe { id: 7, quiet: false }, json!({"op": "probe", "id": 7})),
        (Control::Probe { id: 7, quiet: true }, json!({"op": "probe", "id": 7, "quiet": true})),
        (Control::Ping(8), json!({"op": "ping", "id": 8})),
    ];
    for (control, expected) in table {
        assert_eq!(parsed(control.to_line().expect("serialises")), expected);
    }
    let policy = parsed(Control::Policy(Box::default(), secrets()).to_line().expect("serialises"));
    assert_eq!(policy["op"], "policy");
    assert_eq!(policy["policy"]["generation"], 1);
}

#[test]
fn events_of_the_addon_are_understood() {
    let audit = br#"{"event":"audit","time":"2026-01-02T03:04:05.678Z","bottle":"b","kind":"http","flow_id":"f","method":"GET","host":"h","path":"/","bytes":0,"bytes_received":0,"verdict":"deny","rule_ids":["BOTTLE-allowlist"],"scan_id":"","policy_generation":1,"ms":0.5,"probe":false}"#;
    match InterceptorEvent::parse(audit) {
        Ok(InterceptorEvent::Audit(record)) => assert_eq!(record.verdict, AuditVerdict::Deny),
        other => panic!("{other:?}"),
    }
    assert_eq!(InterceptorEvent::parse(b"{\"event\":\"ready\"}\n"), Ok(InterceptorEvent::Ready));
    let fault = InterceptorEvent::Fault { r#where: "request".into(), error: "KeyError".into() };
    assert_eq!(
        InterceptorEvent::parse(br#"{"event":"fault","where":"request","error":"KeyError"}"#),
        Ok(fault)
    );
    let probe = br#"{"event":"probe","id":7,"ok":true,"detail":"","ms":12.5,"checks":{"gate_health":true,"gate_refuses":true,"scan_denies":true,"proxy_denies":true,"proxy_allows":true}}"#;
    assert!(matches!(InterceptorEvent::parse(probe), Ok(InterceptorEvent::Probe { id: 7, ok: true, .. })));
}

#[test]
fn a_pong_names_its_ping() {
    let pong = br#"{"event":"pong","id":8}"#;
    assert_eq!(InterceptorEvent::parse(pong), Ok(InterceptorEvent::Pong { id: 8 }));
}

#[test]
fn garbage_is_an_error_without_a_quote() {
    assert_eq!(InterceptorEvent::parse(&[b'x'; MAX_EVENT_LINE_BYTES + 1]), Err(EventError::TooLong(65_537)));
    assert_eq!(InterceptorEvent::parse(b"\xff"), Err(EventError::NotText));
    for line in
        [&b""[..], b"{}", b"[]", b"{\"event\":\"unheard\"}", b"{\"event\":\"probe\",\"id\":\"canary\"}"]
    {
        let error = InterceptorEvent::parse(line).expect_err("no event");
        assert!(!error.to_string().contains("canary"));
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(line in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _outcome = InterceptorEvent::parse(&line);
    }
}
