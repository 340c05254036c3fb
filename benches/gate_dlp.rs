//! Throughput of the gate's content rules on the texts that an agent sends: prose, code, base64, hex, JSON.
//!
//! `cargo bench --bench gate_dlp`; prints one line a text: MB/s of one core, best of several rounds.

use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bottle::gate::dlp::{CustomPattern, Options, Scanner, Severity};

const TEXT_BYTES: usize = 1 << 20;
const ROUNDS: usize = 7;

const PROSE: &str = "The runtime launches each agent in a container of its own and watches it until it ends. When the \
    network fails, nothing leaves; when a sidecar stops, it is started again, and the agent keeps running. ";

const CODE: &str = "    pub(crate) fn next(&mut self) -> Option<Result<Item, Error>> {\n        let item = self.queue.pop_front()?;\n        \
    if item.deadline_ms < 1_250 { return Some(Err(Error::Deadline { id: item.id })); }\n        Some(Ok(item))\n    }\n";

fn main() {
    let random = random_bytes(TEXT_BYTES);
    let json = format!("{{\"role\": \"user\", \"content\": \"{}\", \"id\": 1024}}\n", PROSE.trim());
    let texts = [
        ("prose", repeat(PROSE)),
        ("code", repeat(CODE)),
        ("json", repeat(&json)),
        ("base64 image", STANDARD.encode(&random[..TEXT_BYTES / 4 * 3]).into_bytes()),
        (
            "hex digests",
            hex::encode(&random[..TEXT_BYTES / 2])
                .as_bytes()
                .chunks(64)
                .flat_map(|l| [l, b"\n"].concat())
                .collect(),
        ),
        ("random bytes", random),
    ];
    let plain = Scanner::new(Options::default()).expect("the default rules compile");
    let secrets = (0..50).map(|n| CustomPattern {
        name: format!("secret {n}"),
        regex: regex::escape(&format!("exact-secret-{n}-{}", n * 7919)),
        severity: Severity::Critical,
        validator: None,
        warn: false,
    });
    let with_secrets = Scanner::new(Options { include_defaults: true, patterns: secrets.collect() });
    let with_secrets = with_secrets.expect("escaped texts compile");
    let mut out = std::io::stdout();
    for (name, text) in &texts {
        let rates = [&plain, &with_secrets].map(|scanner| megabytes_a_second(scanner, text));
        let _ =
            writeln!(out, "{name:>14}: {:7.1} MB/s, with 50 exact secrets {:7.1} MB/s", rates[0], rates[1]);
    }
}

fn megabytes_a_second(scanner: &Scanner, text: &[u8]) -> f64 {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let findings = scanner.scan(black_box(text), None).expect("there is no deadline");
        best = best.min(started.elapsed());
        assert!(findings.is_empty(), "a false positive: {findings:?}");
    }
    text.len() as f64 / best.as_secs_f64() / 1e6
}

fn repeat(text: &str) -> Vec<u8> {
    text.bytes().cycle().take(TEXT_BYTES).collect()
}

/// xorshift, so that each run measures the same bytes.
fn random_bytes(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}
