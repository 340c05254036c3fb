//! Whole launches by the command, on a real engine with the real images: exit codes, streams, terminal, interrupts,
//! and nothing left behind. The images are those of `bottle setup`; the upstream is the stub of the demonstration.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use bottle::backend::docker::DockerBackend;
use bottle::config::Config;
use rustix::process::{Pid, Signal, kill_process};

use crate::engine::resources;
use crate::home::{BOTTLE, Home};
use crate::stub::{HOSTS, Stub};
use crate::support::{unique, wants_engine};

/// A home that is set up, an agent whose command is `sh -c`, and its upstream.
struct Place {
    home: Home,
    agent: String,
    network: String,
    stub: Stub,
}

impl Place {
    async fn new() -> Self {
        let home = Home::with_engine();
        let setup = home.run(&["setup", "--quiet", "--gate", "builtin"]);
        assert_eq!(setup.code, 0, "the images have to be ready: {}", setup.page());
        let (agent, network) = (unique("cli"), unique("claude-bottle-test-egress"));
        let path = home.path().join(".config/bottle/config.toml");
        let mut config = Config::load(&path).unwrap();
        config.egress_network = network.clone();
        config.address_pool = crate::support::pool();
        config.write(&path).unwrap();
        let backend = DockerBackend::connect().await.unwrap();
        let subnet = backend.ensure_shared(&network, config.address_pool).await.unwrap();
        let address = (u32::from(subnet.network()) + 1).into();
        let image = config.images.mitmproxy.as_ref().unwrap().reference.to_string();
        let ca = home.path().join("stub-ca.pem");
        let stub = Stub::start(&image, &unique("stub"), ("bottle.test", "cli"), address, ca).await.unwrap();
        let hosts: serde_json::Value = HOSTS
            .iter()
            .map(|host| ((*host).to_owned(), address.to_string().into()))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let egress = serde_json::json!({
            "extra_ca": stub.ca_file, "extra_hosts": hosts, "private_hosts": HOSTS,
        });
        let manifest = serde_json::json!({
            "bottles": { "dev": { "command": ["sh", "-c"], "egress": egress } },
            "agents": { agent.as_str(): { "bottle": "dev" } },
        });
        let home = home.manifest(manifest.to_string());
        Self { home, agent, network, stub }
    }

    /// Ends the upstream; nothing of the agent may be left.
    async fn end(self) {
        self.stub.stop().await;
        assert_eq!(resources(&self.agent), "", "nothing is left on the engine");
        let backend = DockerBackend::connect().await.unwrap();
        bottle::backend::Backend::remove_shared(&backend, &self.network).await.unwrap();
    }

    /// Starts the agent and waits until it has printed `up`.
    fn running(&self, script: &str) -> std::process::Child {
        let mut command = std::process::Command::new(BOTTLE);
        let like = self.home.command(&[]);
        command.env_clear().envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(self.home.work()).args(["start", &self.agent, "--yes", "--quiet", "--", script]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::with_capacity(1, child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        if line != "up\n" {
            let mut error = String::new();
            child.stderr.as_mut().unwrap().read_to_string(&mut error).unwrap();
            panic!("{line}{error}");
        }
        child
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_exit_code_pass_through_and_other_processes_can_help() {
    if !wants_engine() {
        return;
    }
    let place = Place::new().await;
    let (home, agent) = (&place.home, place.agent.as_str());
    let mut child = place.running("echo up; cat; echo oops >&2; exit 7");

    let listed: serde_json::Value = serde_json::from_str(&home.run(&["list", "--json"]).out).unwrap();
    let mine = listed["bottles"].as_array().unwrap().iter().find(|bottle| bottle["slug"] == agent).unwrap();
    assert_eq!(mine["owner_alive_here"], true);
    assert_eq!(home.run(&["exec", agent, "sh", "-c", "exit 42"]).code, 42);
    assert_eq!(
        home.run(&["exec", "-e", "A=b", "-w", "/tmp", agent, "sh", "-c", "echo $A $PWD"]).out,
        "b /tmp\n"
    );
    assert_eq!(home.run(&["exec", "--timeout", "0.5", agent, "sleep", "60"]).code, 124);
    std::fs::write(home.work().join("f"), "content").unwrap();
    assert_eq!(home.run(&["cp", "f", &format!("{agent}:/workspace/")]).code, 0);
    assert_eq!(home.run(&["cp", &format!("{agent}:/workspace/f"), "g"]).code, 0);
    assert_eq!(std::fs::read(home.work().join("g")).unwrap(), b"content");
    let stats: serde_json::Value = serde_json::from_str(&home.run(&["stats", agent, "--json"]).out).unwrap();
    assert!(stats["stats"].as_array().unwrap().iter().all(|row| row["memory_bytes"].as_u64() > Some(0)));
    let seen: serde_json::Value = serde_json::from_str(&home.run(&["inspect", agent]).out).unwrap();
    assert_eq!(seen["bottles"][0]["owner"]["state"], "alive");
    assert_eq!(seen["bottles"][0]["members"].as_array().unwrap().len(), 3);
    assert!(home.run(&["audit", agent]).out.contains(" allow "));
    assert!(home.run(&["logs", "--role", "mitmproxy", agent]).out.contains("probe"));
    assert!(
        !home.run(&["cleanup", "--dry-run"]).out.contains(agent),
        "a living owner's bottle is left alone"
    );

    child.stdin.take().unwrap().write_all(b"through\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "through\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "oops\n");
    assert_eq!(output.status.code(), Some(7));
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_takes_everything_down() {
    if !wants_engine() {
        return;
    }
    let place = Place::new().await;
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let child = place.running("echo up; sleep 600");
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(resources(&place.agent), "", "{signal:?}");
    }
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_launch_leaves_nothing() {
    if !wants_engine() {
        return;
    }
    let place = Place::new().await;
    for wait in [50, 300, 900, 1600] {
        let mut command = place.home.command(&["start", &place.agent, "--yes", "--", "sleep 600"]);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(wait)).await;
        // setsid without a fork becomes the command itself.
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let status = child.wait().unwrap();
        assert!(status.code() == Some(130) || wait == 50, "{wait} ms: {status}");
        assert_eq!(resources(&place.agent), "", "after {wait} ms");
    }
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_gets_a_terminal_and_the_users_is_restored() {
    if !wants_engine() {
        return;
    }
    let place = Place::new().await;
    // The engine sets the size a moment after the start. Ctrl-C goes to the agent, which traps it; afterwards the terminal is as it was.
    let line = format!(
        "stty rows 33 cols 99; before=$(stty -g); \"$BOTTLE\" start {} --yes --quiet -- \
         'trap \"echo caught; exit 9\" INT; tty; sleep 1; stty size; printf \"\\033[?1049h\\033[?25l\"; echo ready; while :; do sleep 0.1; done'; \
         echo code $?; [ \"$before\" = \"$(stty -g)\" ] && echo restored",
        place.agent
    );
    let mut child = place.home.terminal(&line);
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let begun = Instant::now();
    let mut seen = String::new();
    let mut byte = [0];
    while !seen.contains("ready") && output.read(&mut byte).unwrap() == 1 {
        seen.push(byte[0].into());
        assert!(begun.elapsed() < Duration::from_secs(120), "{seen}");
    }
    input.write_all(b"\x03").unwrap();
    output.read_to_string(&mut seen).unwrap();
    child.wait().unwrap();
    for expected in ["/dev/pts/", "33 99", "caught", "code 9", "restored", "\u{1b}[?25h", "\u{1b}[?1049l"] {
        assert!(seen.contains(expected), "{expected}: {seen}");
    }
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_owner_leaves_is_cleaned_up() {
    if !wants_engine() {
        return;
    }
    let place = Place::new().await;
    let mut child = place.running("echo up; sleep 600");
    child.kill().unwrap();
    child.wait().unwrap();
    let shown = place.home.run(&["cleanup", "--dry-run"]);
    assert!(shown.code == 0 && shown.out.contains(&place.agent), "{}", shown.page());
    assert_ne!(resources(&place.agent), "", "a dry run removes nothing");
    let refused = place.home.on_terminal("\"$BOTTLE\" cleanup", b"n\n");
    assert!(refused.code == 0 && refused.out.contains("nothing was removed"), "{}", refused.out);
    let cleaned = place.home.run(&["cleanup", "--yes", "--json"]);
    assert_eq!(cleaned.code, 0, "{}", cleaned.page());
    let again = place.home.run(&["cleanup"]);
    // Bottles of other tests may be left alone besides.
    assert!(again.code == 0 && again.err.starts_with("nothing to clean up\n"), "{}", again.page());
    place.end().await;
}
