//! A home of its own for each test, and the real binary run in it with a sanitised environment.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The binary under test.
pub(crate) const BOTTLE: &str = env!("CARGO_BIN_EXE_bottle");

/// A home with a working directory below it.
pub(crate) struct Home {
    dir: tempfile::TempDir,
    vars: BTreeMap<String, String>,
}

impl Home {
    /// An empty one, without an engine: the address leads nowhere.
    pub(crate) fn new() -> Self {
        let home = Self::with_engine();
        home.var("DOCKER_HOST", "unix:///nonexistent")
    }

    /// An empty one, with the engine of this machine.
    pub(crate) fn with_engine() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("work")).unwrap();
        let mut vars: BTreeMap<_, _> = [("TERM", "dumb"), ("LANG", "C.UTF-8")].map(pair).into();
        vars.insert("PATH".to_owned(), std::env::var("PATH").unwrap());
        vars.insert("HOME".to_owned(), dir.path().display().to_string());
        vars.extend(std::env::var("DOCKER_HOST").ok().map(|at| ("DOCKER_HOST".to_owned(), at)));
        Self { dir, vars }
    }

    pub(crate) fn var(mut self, name: &str, value: &str) -> Self {
        self.vars.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn manifest(self, text: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.work().join("claude-bottle.json"), text).unwrap();
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// The command in a session without a terminal, whatever the tests run in.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("setsid");
        command.args(["--wait", BOTTLE]).args(args);
        command.env_clear().envs(&self.vars).current_dir(self.work());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Run {
        Run::of(self, self.command(args).stdin(Stdio::null()).output().unwrap())
    }

    /// The command line in a shell on a terminal of its own; `answer` is typed once a question is shown.
    pub(crate) fn on_terminal(&self, line: &str, answer: &[u8]) -> Run {
        let mut child = self.terminal(line);
        let mut input = child.stdin.take().unwrap();
        let mut output = child.stdout.take().unwrap();
        let mut seen = Vec::new();
        let mut byte = [0];
        while std::io::Read::read(&mut output, &mut byte).unwrap() == 1 {
            seen.extend(byte);
            if [&b"] "[..], b"]: ", b": "].iter().any(|end| seen.ends_with(end)) && is_question(&seen) {
                break;
            }
        }
        input.write_all(answer).unwrap();
        std::io::Read::read_to_end(&mut output, &mut seen).unwrap();
        drop(input);
        let status = child.wait().unwrap();
        Run::of(self, Output { status, stdout: seen, stderr: Vec::new() })
    }

    /// A shell on a terminal of its own.
    pub(crate) fn terminal(&self, line: &str) -> Child {
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", line, "/dev/null"]);
        command.env_clear().envs(&self.vars).env("SHELL", "/bin/sh").env("BOTTLE", BOTTLE);
        command.current_dir(self.work()).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Every file below, with its size.
    pub(crate) fn tree(&self) -> Vec<(PathBuf, u64)> {
        let mut found = Vec::new();
        let mut todo = vec![self.dir.path().to_owned()];
        while let Some(dir) = todo.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let entry = entry.unwrap();
                let meta = entry.metadata().unwrap();
                if meta.is_dir() {
                    todo.push(entry.path());
                }
                found.push((entry.path(), meta.len()));
            }
        }
        found.sort();
        found
    }
}

fn is_question(seen: &[u8]) -> bool {
    let text = String::from_utf8_lossy(seen);
    let last = text.rsplit('\n').next().unwrap_or_default();
    last.contains("[y/N]") || last.contains("[Y/n]") || last.contains("]: ") || last.starts_with("PIN: ")
}

fn pair((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// What a run left.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    pub(crate) fn of(home: &Home, output: Output) -> Self {
        let neutral = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap().replace("\r\n", "\n");
            text.replace(&home.path().display().to_string(), "[HOME]")
        };
        Self {
            code: output.status.code().unwrap_or(-1),
            out: neutral(output.stdout),
            err: neutral(output.stderr),
        }
    }

    /// Exit code and both streams, for a snapshot.
    pub(crate) fn page(&self) -> String {
        let part = |name: &str, text: &str| {
            if text.is_empty() { String::new() } else { format!("--- {name}\n{text}") }
        };
        format!("exit {}\n{}{}", self.code, part("stdout", &self.out), part("stderr", &self.err))
    }
}
