//! y/N on a real terminal.

use crate::engine;
use crate::support::{docker, wants_engine};

#[test]
fn everything_but_yes_aborts_with_success() {
    if !wants_engine() {
        return;
    }
    let home = engine::configured(r#"{"bottles":{"dev":{}},"agents":{"coder":{"bottle":"dev"}}}"#);
    let before = home.tree();
    for answer in [&b"n\n"[..], b"\n", b"\x04", b"Yes please\n", b"yEs\n", b"no\n", b"j\n"] {
        let run = home.on_terminal("\"$BOTTLE\" start coder", answer);
        assert_eq!(run.code, 0, "{answer:?}: {}", run.out);
        assert!(run.out.contains("launch this agent? [y/N]"), "{}", run.out);
        assert!(run.out.contains("aborted; nothing was created"), "{answer:?}: {}", run.out);
    }
    assert_eq!(home.tree(), before, "a refused launch leaves nothing on disk");
}

#[test]
fn ctrl_c_at_the_question_is_an_interrupt() {
    if !wants_engine() {
        return;
    }
    let home = engine::configured(r#"{"bottles":{"dev":{}},"agents":{"coder":{"bottle":"dev"}}}"#);
    let before = home.tree();
    let run = home.on_terminal("trap : INT; \"$BOTTLE\" start coder; echo code $?", b"\x03");
    assert!(run.out.contains("failed to finish: interrupted\n"), "{}", run.out);
    assert!(run.out.ends_with("code 130\n"), "{}", run.out);
    assert_eq!(home.tree(), before);
}

#[test]
fn without_a_terminal_nobody_is_taken_to_have_said_yes() {
    if !wants_engine() {
        return;
    }
    let home = engine::configured(r#"{"bottles":{"dev":{}},"agents":{"coder":{"bottle":"dev"}}}"#);
    let mut command = home.command(&["--quiet", "start", "coder"]);
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"y\n").unwrap();
    let run = crate::home::Run::of(&home, child.wait_with_output().unwrap());
    insta::assert_snapshot!(engine::neutral(&run.page()));
}

#[test]
fn ctrl_c_at_a_hidden_question_restores_the_terminal() {
    if !wants_engine() {
        return;
    }
    let manifest = r#"{"bottles":{"dev":{"env":{"PIN":"?PIN"}}},"agents":{"coder":{"bottle":"dev"}}}"#;
    let home = engine::configured(manifest);
    let line = "trap : INT; \"$BOTTLE\" start coder --yes; echo code $?; stty -a | tr ' ;' '\\n\\n' | grep -x -e -echo -e echo";
    let run = home.on_terminal(line, b"\x03");
    assert!(run.out.contains("code 130"), "{}", run.out);
    assert!(run.out.trim_end().ends_with("\necho"), "echo is on again: {}", run.out);
    assert!(!docker(&["ps", "--all", "--format", "{{.Names}}"]).contains("claude-bottle-coder\n"));
}
