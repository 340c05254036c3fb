//! A running gate process with its own directory and ports, and the few bytes of HTTP needed to talk to it.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub(crate) const TOKEN: &str = "conformance-token-0123456789abcdef";
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Which program is under test.
#[derive(Debug, Clone)]
pub(crate) enum Engine {
    Builtin,
    Pipelock(PathBuf),
}

impl Engine {
    pub(crate) fn program(&self) -> PathBuf {
        match self {
            Self::Builtin => env!("CARGO_BIN_EXE_bottle-gate").into(),
            Self::Pipelock(path) => path.clone(),
        }
    }

    /// True for the engine that is deliberately stricter in some cases.
    pub(crate) fn is_builtin(&self) -> bool {
        matches!(self, Self::Builtin)
    }
}

/// What differs between the configurations of the cases.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) allow: Vec<&'static str>,
    pub(crate) trusted: Vec<&'static str>,
    /// Pasted at the end of the file.
    pub(crate) extra: String,
    /// Pasted into `dlp`.
    pub(crate) dlp: String,
    /// Pasted into `scan_api`.
    pub(crate) scan: String,
    pub(crate) forward: bool,
    /// Seconds.
    pub(crate) idle: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            allow: vec!["localhost", "*.allowed.invalid"],
            trusted: vec!["localhost"],
            extra: String::new(),
            dlp: String::new(),
            scan: "  rate_limit: {requests_per_minute: 600000, burst: 10000}\n".to_owned(),
            forward: true,
            idle: 3,
        }
    }
}

impl Setup {
    pub(crate) fn yaml(&self, main: SocketAddr, scan: SocketAddr) -> String {
        let mut text = String::new();
        let Self { allow, trusted, extra, dlp, scan: scan_extra, forward, idle } = self;
        let _ = write!(
            text,
            "version: 1\nmode: strict\nenforce: true\napi_allowlist: {allow:?}\ntrusted_domains: {trusted:?}\n\
             fetch_proxy:\n  listen: \"{main}\"\n  monitoring: {{max_url_length: 4096, entropy_threshold: 5.2, max_requests_per_minute: 60000}}\n\
             forward_proxy: {{enabled: {forward}, max_tunnel_seconds: 30, idle_timeout_seconds: {idle}}}\n\
             dlp:\n  scan_env: false\n  include_defaults: true\n{dlp}\
             media_policy: {{enabled: false}}\nsentry: {{enabled: false}}\nlogging: {{format: json, output: stdout}}\n\
             scan_api:\n  listen: \"{scan}\"\n  auth: {{bearer_tokens: [\"{TOKEN}\"]}}\n  max_body_bytes: 200000\n\
             \x20 field_limits: {{url: 2000, text: 100000}}\n  timeouts: {{read: 2s, write: 10s, scan: 5s}}\n\
             \x20 kinds: {{url: true, dlp: true, prompt_injection: false, tool_call: false}}\n{scan_extra}{extra}",
        );
        text
    }
}

/// A gate process. Killed on drop.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) child: Child,
    pub(crate) main: SocketAddr,
    pub(crate) scan: SocketAddr,
    pub(crate) directory: tempfile::TempDir,
    log: Arc<Mutex<String>>,
}

/// A port that was free a moment ago. Both engines take their ports from the file.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Gate {
    pub(crate) fn start(engine: &Engine, setup: &Setup) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (main, scan) = (free_address(), free_address());
        let path = directory.path().join("gate.yaml");
        std::fs::write(&path, setup.yaml(main, scan)).unwrap();
        let mut command = Command::new(engine.program());
        command.args(["run", "-c"]).arg(&path).stdin(Stdio::null());
        Self::spawn(command, main, scan, directory, None)
    }

    /// The configuration goes through a pipe and never touches a disk.
    pub(crate) fn start_from_stdin(engine: &Engine, setup: &Setup, argument: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (main, scan) = (free_address(), free_address());
        let mut command = Command::new(engine.program());
        command.args(["run", "-c", argument]).stdin(Stdio::piped());
        Self::spawn(command, main, scan, directory, Some(setup.yaml(main, scan)))
    }

    fn spawn(
        mut command: Command,
        main: SocketAddr,
        scan: SocketAddr,
        directory: tempfile::TempDir,
        input: Option<String>,
    ) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        if let Some(input) = input {
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        }
        let log = Arc::new(Mutex::new(String::new()));
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for stream in streams {
            let log = log.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let mut log = log.lock().unwrap();
                    log.push_str(&line);
                    log.push('\n');
                }
            });
        }
        let gate = Self { child, main, scan, directory, log };
        eventually("the gate is healthy", &gate, || TcpStream::connect(gate.main).is_ok());
        gate
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// One question to the scan API: status and document.
    pub(crate) fn ask(&self, question: &Value) -> (u16, Value) {
        self.post(TOKEN, question.to_string().as_bytes())
    }

    pub(crate) fn post(&self, token: &str, body: &[u8]) -> (u16, Value) {
        let head = format!(
            "POST /api/v1/scan HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let answer = exchange(self.scan, &[head.as_bytes(), body].concat());
        (answer.status, serde_json::from_str(&answer.body).unwrap_or(Value::Null))
    }

    /// The verdict on a URL: rule ids, empty when allowed.
    pub(crate) fn judge_url(&self, url: &str) -> Vec<String> {
        self.rules(&json!({"kind": "url", "input": {"url": url}}))
    }

    /// The verdict on a text: rule ids, empty when allowed.
    pub(crate) fn judge_text(&self, text: &str) -> Vec<String> {
        self.rules(&json!({"kind": "dlp", "input": {"text": text}}))
    }

    fn rules(&self, question: &Value) -> Vec<String> {
        let (status, answer) = self.ask(question);
        assert_eq!((status, answer["status"].as_str()), (200, Some("completed")), "{answer}\n{}", self.log());
        let rules: Vec<String> = answer["findings"]
            .as_array()
            .map(|findings| findings.iter().map(|f| f["rule_id"].as_str().unwrap().to_owned()).collect())
            .unwrap_or_default();
        assert_eq!(answer["decision"], if rules.is_empty() { "allow" } else { "deny" }, "{answer}");
        rules
    }

    /// Opens a tunnel: the stream after the answer's head, and the status.
    pub(crate) fn connect(&self, target: &str) -> (TcpStream, Answer) {
        self.connect_with(target, "")
    }

    pub(crate) fn connect_with(&self, target: &str, headers: &str) -> (TcpStream, Answer) {
        let mut stream = dial(self.main);
        write!(stream, "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{headers}\r\n").unwrap();
        let answer = read_answer(&mut stream, true);
        (stream, answer)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An HTTP answer.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,

    pub(crate) body: String,
}

pub(crate) fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends bytes, reads one answer to the end of the connection.
pub(crate) fn exchange(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = dial(address);
    // A gate that has seen enough may answer and close before all is written.
    let _ = stream.write_all(bytes);
    read_answer(&mut stream, false)
}

/// Reads a head, and a body unless a 200 to `CONNECT` makes the rest a tunnel.
fn read_answer(stream: &mut TcpStream, tunnel: bool) -> Answer {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => break,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let mut body = Vec::new();
    if !(tunnel && status == 200) {
        let length = head
            .to_ascii_lowercase()
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.lines().next()?.parse().ok());
        match length {
            Some(length) => {
                let _ = stream.take(length).read_to_end(&mut body);
            }
            None => {
                let _ = stream.read_to_end(&mut body);
            }
        }
    }
    Answer { status, body: String::from_utf8_lossy(&body).into_owned() }
}

/// Waits for a state; shows the log when it does not come.
pub(crate) fn eventually(what: &str, gate: &Gate, mut probe: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !probe() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}\n{}", gate.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An upstream on loopback that echoes, after an optional greeting, and counts connections and bytes.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) port: u16,
    seen: Arc<Mutex<(usize, Vec<u8>)>>,
}

impl Upstream {
    pub(crate) fn start(greeting: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new((0, Vec::new())));
        let shared = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                shared.lock().unwrap().0 += 1;
                let shared = shared.clone();
                std::thread::spawn(move || {
                    let mut stream = stream;
                    let _ = stream.write_all(greeting);
                    let mut buffer = [0; 16 * 1024];
                    while let Ok(read @ 1..) = stream.read(&mut buffer) {
                        shared.lock().unwrap().1.extend_from_slice(&buffer[..read]);
                        if stream.write_all(&buffer[..read]).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { port, seen }
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.lock().unwrap().0
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.seen.lock().unwrap().1.clone()
    }
}

/// A minimal ClientHello, with or without a server name.
pub(crate) fn client_hello(name: Option<&str>) -> Vec<u8> {
    let vector = |width: usize, body: &[u8]| -> Vec<u8> {
        let length = body.len().to_be_bytes();
        [&length[length.len() - width..], body].concat()
    };
    let mut extensions = [&[0, 43][..], &vector(2, &[2, 3, 4])].concat();
    if let Some(name) = name {
        let entry = [&[0][..], &vector(2, name.as_bytes())].concat();
        extensions.extend([&[0, 0][..], &vector(2, &vector(2, &entry))].concat());
    }
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend(vector(1, &[9; 32]));
    body.extend(vector(2, &[0x13, 1, 0x13, 2]));
    body.extend(vector(1, &[0]));
    body.extend(vector(2, &extensions));
    let message = [&[1][..], &vector(3, &body)].concat();
    [&[22, 3, 1][..], &vector(2, &message)].concat()
}
