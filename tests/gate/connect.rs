//! The destination lock: what `CONNECT` admits, and what never reaches an upstream.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::engine::{Gate, Setup, Upstream, client_hello, eventually, exchange};
use crate::engines;

/// True when the other side closes without sending anything.
fn closes_silently(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    // A reset is an end too.
    let _ = stream.read_to_end(&mut rest);
    rest.is_empty()
}

#[test]
fn tls_for_the_asked_host_passes_both_ways() {
    for engine in engines() {
        let upstream = Upstream::start(b"");
        let gate = Gate::start(&engine, &Setup::default());
        for target in ["localhost", "LOCALHOST", "localhost."] {
            if target == "localhost." && !engine.is_builtin() {
                continue; // pipelock asks the resolver for the name with its dot, which knows no such name.
            }
            let (mut tunnel, answer) = gate.connect(&format!("{target}:{}", upstream.port));
            assert_eq!(answer.status, 200, "{engine:?} {target} {answer:?}\n{}", gate.log());
            let hello = client_hello(Some("localhost"));
            tunnel.write_all(&hello).unwrap();
            let mut echo = vec![0; hello.len()];
            tunnel.read_exact(&mut echo).unwrap();
            assert_eq!(echo, hello, "{engine:?}");
            tunnel.write_all(b"more").unwrap();
            let mut more = [0; 4];
            tunnel.read_exact(&mut more).unwrap();
            assert_eq!(&more, b"more");
        }
    }
}

#[test]
fn a_hello_in_small_pieces_passes() {
    for engine in engines() {
        let upstream = Upstream::start(b"");
        let gate = Gate::start(&engine, &Setup::default());
        let (mut tunnel, _) = gate.connect(&format!("localhost:{}", upstream.port));
        let hello = client_hello(Some("localhost"));
        for piece in hello.chunks(23) {
            tunnel.write_all(piece).unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
        let mut echo = vec![0; hello.len()];
        tunnel.read_exact(&mut echo).unwrap();
        assert_eq!(echo, hello, "{engine:?}");
    }
}

#[test]
fn hosts_outside_the_list_get_403_and_no_connection() {
    for engine in engines() {
        let upstream = Upstream::start(b"");
        let gate = Gate::start(&engine, &Setup::default());
        for host in [
            "127.0.0.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "127.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "evil.invalid",
            "localhost.evil.invalid",
        ] {
            let (_, answer) = gate.connect(&format!("{host}:{}", upstream.port));
            // pipelock's URL parser gives up on some spellings; a refusal all the same.
            assert!(matches!(answer.status, 400 | 403), "{engine:?} {host} {answer:?}");
        }
        let (_, answer) = gate.connect("evil.invalid:443");
        assert!(answer.body.starts_with("CONNECT blocked: "), "{engine:?} {answer:?}");
        assert_eq!(upstream.connections(), 0, "{engine:?}");
    }
}

#[test]
fn reserved_addresses_are_refused_at_the_dial() {
    for engine in engines() {
        let upstream = Upstream::start(b"");
        let gate = Gate::start(&engine, &Setup { trusted: vec![], ..Setup::default() });
        let (_, answer) = gate.connect(&format!("localhost:{}", upstream.port));
        assert_eq!(answer.status, 403, "{engine:?} {answer:?}");
        // An address that is listed by its text is still a reserved address.
        let gate =
            Gate::start(&engine, &Setup { allow: vec!["127.0.0.1"], trusted: vec![], ..Setup::default() });
        let (_, answer) = gate.connect(&format!("127.0.0.1:{}", upstream.port));
        assert_eq!(answer.status, 403, "{engine:?} {answer:?}");
        assert_eq!(upstream.connections(), 0, "{engine:?}");
    }
}

#[test]
fn an_exempt_range_lifts_the_refusal() {
    for engine in engines() {
        let upstream = Upstream::start(b"");
        let extra = "ssrf: {ip_allowlist: [\"127.0.0.0/8\", \"::1/128\"]}\n".to_owned();
        let gate = Gate::start(&engine, &Setup { trusted: vec![], extra, ..Setup::default() });
        let (_, answer) = gate.connect(&format!("localhost:{}", upstream.port));
        assert_eq!(answer.status, 200, "{engine:?} {answer:?}");
        assert!(gate.judge_url("https://localhost/").is_empty(), "{engine:?}");
    }
}

#[test]
fn no_look_up_in_the_verdict_still_means_a_check_at_the_dial() {
    for engine in engines() {
        if !engine.is_builtin() {
            continue; // Stricter: pipelock takes `internal: []` as "no SSRF check by address at all".
        }
        let upstream = Upstream::start(b"");
        let gate = Gate::start(
            &engine,
            &Setup { trusted: vec![], extra: "internal: []\n".into(), ..Setup::default() },
        );
        assert!(gate.judge_url("https://localhost/").is_empty());
        let (_, answer) = gate.connect(&format!("localhost:{}", upstream.port));
        assert_eq!((answer.status, upstream.connections()), (403, 0), "{answer:?}");
    }
}

#[test]
fn another_server_name_ends_the_tunnel_before_a_byte_leaves() {
    for engine in engines() {
        let upstream = Upstream::start(b"");
        let gate = Gate::start(&engine, &Setup::default());
        let target = format!("localhost:{}", upstream.port);
        let (mut tunnel, answer) = gate.connect(&target);
        assert_eq!(answer.status, 200, "{engine:?}");
        tunnel.write_all(&client_hello(Some("evil.invalid"))).unwrap();
        assert!(closes_silently(&mut tunnel), "{engine:?}");
        eventually("the mismatch is logged", &gate, || gate.log().contains("sni_mismatch"));
        let (mut tunnel, _) = gate.connect(&target);
        let mut broken = client_hello(Some("localhost"));
        broken[43] = 0xff;
        tunnel.write_all(&broken).unwrap();
        assert!(closes_silently(&mut tunnel), "{engine:?}");
        assert!(upstream.bytes().is_empty(), "{engine:?}");
    }
}

#[test]
fn only_tls_with_a_name_and_ssh_pass() {
    for engine in engines() {
        if !engine.is_builtin() {
            continue; // Stricter: pipelock relays TLS without a name and every other protocol.
        }
        let upstream = Upstream::start(b"");
        let gate = Gate::start(&engine, &Setup::default());
        for first in [
            client_hello(None),
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            b"\0\0\0\0".to_vec(),
            b"SSH-1.5-old\r\n".to_vec(),
        ] {
            let (mut tunnel, answer) = gate.connect(&format!("localhost:{}", upstream.port));
            assert_eq!(answer.status, 200);
            tunnel.write_all(&first).unwrap();
            assert!(closes_silently(&mut tunnel), "{first:?}");
        }
        assert!(upstream.bytes().is_empty());
    }
}

#[test]
fn ssh_passes_when_both_sides_speak_it() {
    for engine in engines() {
        let upstream = Upstream::start(b"SSH-2.0-test\r\n");
        let gate = Gate::start(&engine, &Setup::default());
        let (mut tunnel, answer) = gate.connect(&format!("localhost:{}", upstream.port));
        assert_eq!(answer.status, 200, "{engine:?}");
        tunnel.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").unwrap();
        let mut banner = [0; 14];
        tunnel.read_exact(&mut banner).unwrap();
        assert_eq!(&banner, b"SSH-2.0-test\r\n", "{engine:?}");
        if engine.is_builtin() {
            let other = Upstream::start(b"220 mail ready\r\n");
            let (mut tunnel, _) = gate.connect(&format!("localhost:{}", other.port));
            tunnel.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").unwrap();
            assert!(closes_silently(&mut tunnel));
        }
    }
}

#[test]
fn ports_for_mail_and_names_are_refused() {
    for engine in engines() {
        if !engine.is_builtin() {
            continue; // Stricter: pipelock has no rule about ports.
        }
        let gate = Gate::start(&engine, &Setup::default());
        for port in [0, 25, 53] {
            assert_eq!(gate.connect(&format!("localhost:{port}")).1.status, 403, "{port}");
        }
        for target in ["localhost:", "localhost:https", "localhost:99999", "user@localhost:443"] {
            assert_eq!(gate.connect(target).1.status, 400, "{target}");
        }
    }
}

#[test]
fn a_closed_port_is_502() {
    for engine in engines() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let gate = Gate::start(&engine, &Setup::default());
        let (_, answer) = gate.connect(&format!("localhost:{port}"));
        assert!(answer.status == 502 && answer.body.contains("tunnel dial failed"), "{engine:?} {answer:?}");
    }
}

#[test]
fn a_secret_in_the_connect_head_is_refused() {
    for engine in engines() {
        let upstream = Upstream::start(b"");
        // pipelock warns unless told to block; ours always blocks.
        let extra =
            "request_body_scanning: {enabled: true, action: block, scan_headers: true, header_mode: all}\n"
                .to_owned();
        let gate = Gate::start(&engine, &Setup { extra, ..Setup::default() });
        let header = format!("X-Note: {}\r\n", ["gh", "p_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o50smkjE"].concat());
        let (_, answer) = gate.connect_with(&format!("localhost:{}", upstream.port), &header);
        assert_eq!((answer.status, upstream.connections()), (403, 0), "{engine:?} {answer:?}");
        assert!(!gate.log().contains("a1B2c3D4"), "{engine:?}: the log shows the secret");
    }
}

#[test]
fn connect_is_405_when_it_is_off() {
    for engine in engines() {
        let gate = Gate::start(&engine, &Setup { forward: false, ..Setup::default() });
        assert_eq!(gate.connect("localhost:443").1.status, 405, "{engine:?}");
    }
}

#[test]
fn absolute_form_requests_never_leave() {
    for engine in engines() {
        let upstream = Upstream::start(b"");
        let gate = Gate::start(&engine, &Setup::default());
        let request = |url: String| {
            let text = format!("GET {url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            exchange(gate.main, text.as_bytes()).status
        };
        assert_eq!(request("http://evil.invalid/".into()), 403, "{engine:?}");
        if engine.is_builtin() {
            // Stricter: pipelock would carry these out, in clear.
            assert_eq!(request(format!("http://localhost:{}/", upstream.port)), 405);
            assert_eq!(request(format!("https://localhost:{}/", upstream.port)), 405);
            assert_eq!(request("/fetch?url=https://localhost/".into()), 403);
        }
        assert_eq!(request("/nothing".into()), 404, "{engine:?}");
        assert_eq!(upstream.connections(), 0, "{engine:?}");
    }
}

#[test]
fn an_idle_tunnel_ends() {
    for engine in engines() {
        let upstream = Upstream::start(b"");
        let gate = Gate::start(&engine, &Setup { idle: 1, ..Setup::default() });
        let (mut tunnel, _) = gate.connect(&format!("localhost:{}", upstream.port));
        let hello = client_hello(Some("localhost"));
        tunnel.write_all(&hello).unwrap();
        let mut echo = vec![0; hello.len()];
        tunnel.read_exact(&mut echo).unwrap();
        let started = Instant::now();
        assert!(closes_silently(&mut tunnel), "{engine:?}");
        assert!(started.elapsed() < Duration::from_secs(5), "{engine:?}");
    }
}
