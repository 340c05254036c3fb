//! A Docker engine of the test's own, in namespaces of its own: it can be stopped, killed and stalled, nothing in
//! it reaches anything outside, and it goes with the process that made it.

use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::UnixStream;

/// A freshly installed engine takes half a second; one that stops containers first takes ten.
const BOOT_PATIENCE: Duration = Duration::from_secs(60);
const PROGRAMS: [&str; 5] = ["dockerd", "docker", "unshare", "nsenter", "ip"];

/// How an engine is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restore {
    /// Containers outlive it.
    Live,
    /// They end with it.
    No,
}

pub struct PrivateEngine {
    dir: PathBuf,
    cgroup: String,
    keeper: Child,
    /// Closing it ends everything.
    hold: Option<ChildStdin>,
    /// First process of the namespaces, as this process sees it.
    pid: u32,
    daemon: Option<Child>,
}

/// Why there cannot be one here; `None` when there can.
pub fn why_not() -> Option<String> {
    if !cfg!(target_os = "linux") || !rustix::process::geteuid().is_root() {
        return Some("it needs Linux and root".into());
    }
    let missing = PROGRAMS.into_iter().find(|program| {
        let found =
            Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        matches!(found, Err(error) if error.kind() == io::ErrorKind::NotFound)
    });
    missing.map(|program| format!("it needs the program {program}"))
}

impl PrivateEngine {
    /// Namespaces and files; the engine itself is started by [`PrivateEngine::boot`].
    pub fn new(name: &str) -> io::Result<Self> {
        let dir = std::env::temp_dir().join(format!("bottle-{name}"));
        std::fs::create_dir(&dir)?;
        std::fs::write(dir.join("keeper.sh"), include_str!("keeper.sh"))?;
        std::fs::write(dir.join("daemon.json"), "{}")?;
        let cgroup = format!("bottle-{name}");
        let mut keeper = Command::new("unshare")
            .args([
                "--net",
                "--mount",
                "--pid",
                "--fork",
                "--mount-proc",
                "--propagation",
                "slave",
                "--",
                "sh",
            ])
            .arg(dir.join("keeper.sh"))
            .arg(&dir)
            .arg(&cgroup)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let hold = keeper.stdin.take();
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line)?;
        let children = format!("/proc/{0}/task/{0}/children", keeper.id());
        let pid = std::fs::read_to_string(children)?.trim().parse().map_err(io::Error::other)?;
        let engine = Self { dir, cgroup, keeper, hold, pid, daemon: None };
        if line.trim() == "ready" {
            Ok(engine)
        } else {
            Err(io::Error::other("its namespaces were not made"))
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.join("engine.sock")
    }

    /// Where the processes of this engine can be looked at by the ids it gives.
    pub fn proc(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/proc", self.pid))
    }

    /// A command in the namespaces of the engine, with the files of this process.
    pub fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.pid.to_string(), "-n", "-m", "-p", "--", program]);
        command
    }

    /// Starts the engine and waits until it answers. Returns how long that took.
    pub async fn boot(&mut self, restore: Restore) -> Duration {
        let began = Instant::now();
        let log = std::fs::File::options().create(true).append(true).open(self.log()).unwrap();
        let path = |name: &str| self.dir.join(name).into_os_string();
        let mut command = self.inside("dockerd");
        command.arg("--data-root").arg(path("data")).arg("--exec-root").arg(path("exec"));
        command.arg("--pidfile").arg(path("engine.pid")).arg("--config-file").arg(path("daemon.json"));
        command.args(["--host", &format!("unix://{}", self.socket().display())]);
        command.args(["--cgroup-parent", &format!("/{}", self.cgroup), "--log-level", "warn"]);
        if restore == Restore::Live {
            command.arg("--live-restore");
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.daemon = Some(command.spawn().unwrap());
        while !answers(&self.socket()).await {
            let ended = self.daemon.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none() && began.elapsed() < BOOT_PATIENCE, "no engine: {}", self.last_words());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        began.elapsed()
    }

    /// Ends the engine and waits until its process is gone. Returns how long that took.
    pub async fn end(&mut self, signal: Signal) -> Duration {
        let began = Instant::now();
        self.signal(signal);
        let mut daemon = self.daemon.take().expect("it runs");
        while daemon.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < BOOT_PATIENCE, "the engine does not end: {}", self.last_words());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        began.elapsed()
    }

    /// Signals the engine's own process.
    pub fn signal(&self, signal: Signal) {
        let entry = self.daemon.as_ref().map(Child::id).expect("it runs");
        // The entered namespace costs a process in between: the engine is its only child.
        let children = std::fs::read_to_string(format!("/proc/{entry}/task/{entry}/children")).unwrap();
        let pid = children.trim().parse().ok().and_then(Pid::from_raw).expect("the engine's process");
        kill_process(pid, signal).unwrap();
    }

    /// Packets that tried to leave for somewhere else.
    pub fn strays(&self) -> u64 {
        let table = std::fs::read_to_string(format!("/proc/{}/net/dev", self.pid)).unwrap();
        let line = table.lines().find_map(|line| line.trim().strip_prefix("nowhere:")).unwrap();
        // Eight columns are what came in; the tenth counts packets out.
        line.split_whitespace().nth(9).unwrap().parse().unwrap()
    }

    fn log(&self) -> PathBuf {
        self.dir.join("engine.log")
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        drop(self.hold.take());
        let _ = self.keeper.wait();
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.wait();
        }
    }
}

/// Whether an engine answers at this socket.
pub async fn answers(socket: &Path) -> bool {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let ask = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n").await?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await?;
        io::Result::Ok(answer == *b"HTTP/1.1 200")
    };
    matches!(tokio::time::timeout(Duration::from_secs(2), ask).await, Ok(Ok(true)))
}
