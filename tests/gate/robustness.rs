//! Broken and hostile clients: an answer or an end, never a crash, a hang or a growing process.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::engine::{Gate, Setup, Upstream, client_hello, dial, exchange};
use crate::engines;

#[test]
fn garbage_gets_400_or_an_end_and_the_gate_lives() {
    for engine in engines() {
        let gate = Gate::start(&engine, &Setup::default());
        let noise: Vec<u8> = (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for address in [gate.main, gate.scan] {
            for bytes in [
                &b"\0\0\0\0\r\n\r\n"[..],
                b"GET\r\n\r\n",
                b"CONNECT  HTTP/1.1\r\n\r\n",
                b"CONNECT localhost:443 HTTP/9.9\r\n\r\n",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                b"POST /api/v1/scan HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\nConnection: close\r\n\r\n{}",
                b"POST /api/v1/scan HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n",
                &noise,
                &client_hello(Some("localhost")),
            ] {
                let mut stream = dial(address);
                let _ = stream.write_all(bytes);
                let _ = stream.shutdown(Shutdown::Write);
                let mut answer = Vec::new();
                let _ = stream.take(1 << 20).read_to_end(&mut answer);
                assert!(!answer.starts_with(b"HTTP/1.1 2"), "{engine:?} {bytes:?}");
            }
        }
        assert!(gate.judge_text("still here").is_empty(), "{engine:?}");
    }
}

#[test]
fn a_huge_head_is_refused() {
    for engine in engines() {
        let gate = Gate::start(&engine, &Setup::default());
        let head = format!("CONNECT localhost:443 HTTP/1.1\r\nX-Long: {}\r\n\r\n", "a".repeat(3 << 20));
        let answer = exchange(gate.main, head.as_bytes());
        assert!(matches!(answer.status, 0 | 400 | 403 | 431), "{engine:?} {answer:?}");
    }
}

#[test]
fn a_head_that_drips_is_cut_off() {
    for engine in engines() {
        let gate = Gate::start(&engine, &Setup::default());
        let mut stream = dial(gate.main);
        let started = Instant::now();
        let mut cut = false;
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let _ = stream.write_all(b"CONNECT localhost:443 HTTP/1.1\r\n");
        while started.elapsed() < Duration::from_secs(18) && !cut {
            let _ = stream.write_all(b"X-A: b\r\n");
            cut =
                matches!(stream.read(&mut [0; 512]), Ok(0)) || stream.take_error().is_ok_and(|e| e.is_some());
        }
        assert!(cut, "{engine:?}: still open after {:?}", started.elapsed());
    }
}

#[test]
fn a_body_that_drips_is_a_read_error() {
    for engine in engines() {
        let gate = Gate::start(&engine, &Setup::default());
        let mut stream = dial(gate.scan);
        let token = crate::engine::TOKEN;
        write!(stream, "POST /api/v1/scan HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 100\r\n\r\n{{").unwrap();
        let mut answer = String::new();
        let started = Instant::now();
        let _ = stream.read_to_string(&mut answer);
        assert!(started.elapsed() < Duration::from_secs(10), "{engine:?}");
        assert!(!answer.contains("\"allow\""), "{engine:?} {answer}");
        if engine.is_builtin() {
            assert!(answer.contains("read_error"), "{answer}");
        }
    }
}

#[test]
fn a_silent_tunnel_never_reaches_the_upstream_and_ends() {
    for engine in engines() {
        if !engine.is_builtin() {
            continue; // pipelock has its own, longer patience.
        }
        let upstream = Upstream::start(b"");
        let gate = Gate::start(&engine, &Setup::default());
        let (mut tunnel, _) = gate.connect(&format!("localhost:{}", upstream.port));
        tunnel.write_all(&client_hello(Some("localhost"))[..20]).unwrap();
        let started = Instant::now();
        assert_eq!(tunnel.read(&mut [0; 16]).unwrap_or(0), 0);
        assert!(started.elapsed() < Duration::from_secs(15));
        assert!(upstream.bytes().is_empty());
    }
}

#[test]
fn a_half_closed_tunnel_still_carries_the_other_way() {
    for engine in engines() {
        let upstream = Upstream::start(b"");
        let gate = Gate::start(&engine, &Setup::default());
        let (mut tunnel, _) = gate.connect(&format!("localhost:{}", upstream.port));
        let hello = client_hello(Some("localhost"));
        tunnel.write_all(&hello).unwrap();
        if engine.is_builtin() {
            // pipelock closes both ways when one ends.
            tunnel.shutdown(Shutdown::Write).unwrap();
        }
        let mut echo = vec![0; hello.len()];
        tunnel.read_exact(&mut echo).unwrap();
        assert_eq!(echo, hello, "{engine:?}");
    }
}

#[test]
fn bulk_data_passes_unchanged() {
    for engine in engines() {
        let upstream = Upstream::start(b"");
        let gate = Gate::start(&engine, &Setup::default());
        let (tunnel, _) = gate.connect(&format!("localhost:{}", upstream.port));
        let mut bytes = client_hello(Some("localhost"));
        bytes.extend((0..4_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]));
        let mut writer = tunnel.try_clone().unwrap();
        let sent = bytes.clone();
        let sender = std::thread::spawn(move || writer.write_all(&sent));
        let mut echo = vec![0; bytes.len()];
        let mut reader = tunnel;
        reader.read_exact(&mut echo).unwrap();
        sender.join().unwrap().unwrap();
        assert!(echo == bytes, "{engine:?}: the bytes differ");
    }
}
