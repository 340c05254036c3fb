//! `--help` of every command, word for word.

use crate::home::Home;

const COMMANDS: [&str; 21] = [
    "audit",
    "cleanup",
    "completions",
    "cp",
    "doctor",
    "edit",
    "events",
    "exec",
    "info",
    "init",
    "inspect",
    "list",
    "logs",
    "post-mortem",
    "schema",
    "setup",
    "start",
    "stats",
    "stop",
    "tree",
    "version",
];

#[test]
fn the_overview_names_every_command() {
    let run = Home::new().run(&["--help"]);
    for command in COMMANDS {
        assert!(run.out.contains(&format!("\n  {command} ")), "{command}");
    }
    insta::assert_snapshot!(run.page());
}

#[test]
fn every_command_explains_itself() {
    let home = Home::new();
    for command in COMMANDS {
        insta::assert_snapshot!(format!("help_{command}"), home.run(&[command, "--help"]).page());
    }
}

#[test]
fn wrong_command_lines_are_usage_errors() {
    let home = Home::new();
    for args in
        [&[][..], &["strat"], &["start"], &["list", "extra"], &["logs", "--role", "x", "y"], &["stop"]]
    {
        let run = home.run(args);
        assert_eq!(run.code, 2, "{args:?}: {}", run.page());
        assert!(run.out.is_empty() && !run.err.is_empty(), "{args:?}");
    }
    assert!(home.run(&["strat"]).err.contains("'start'"));
}

#[test]
fn other_names_of_list_work() {
    let home = Home::new();
    for name in ["list", "ls", "ps"] {
        assert_eq!(home.run(&[name]).code, 7, "no engine");
    }
}
