//! The small programs that scripted processes know, and a shell of statements without expansion.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::super::streams::Output;
use super::script::{Emit, Input, Process};
use crate::plan::spec::TtySize;

/// The exit code of a program that does not exist.
pub(super) const UNKNOWN: i64 = 127;
/// What a process asks of the model.
pub(super) trait World: Send + Sync {
    /// Command lines of the member's processes with their ids.
    fn processes(&self) -> Vec<(i64, String)>;
    /// A file's content.
    fn file(&self, path: &str) -> Option<Vec<u8>>;
    /// Makes an empty file; `false` without a directory for it.
    fn touch(&self, path: &str) -> bool;
    /// The member's addresses.
    fn addresses(&self) -> String;
    /// Adds a process; dropping the guard removes it.
    fn enter(&self, command: &str) -> Box<dyn Send>;
}

/// The surroundings of one process.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) world: Arc<dyn World>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) uid: u32,
    pub(super) cwd: String,
    pub(super) emit: Emit,
    pub(super) tty: Arc<std::sync::Mutex<Option<TtySize>>>,
    pub(super) ignores_term: Arc<AtomicBool>,
    /// Ends what was put in the background.
    pub(super) kill: CancellationToken,
}

impl Context {
    fn out(&self, text: impl Into<Vec<u8>>) {
        (self.emit)(Output::Stdout(text.into().into()));
    }

    fn on_stderr(&self) -> Self {
        let emit = self.emit.clone();
        let emit: Emit = Arc::new(move |output| {
            let (Output::Stdout(bytes) | Output::Stderr(bytes) | Output::Console(bytes)) = output;
            emit(Output::Stderr(bytes));
        });
        Self { emit, ..self.clone() }
    }
}

/// Whether a program of that name exists here.
pub(super) fn is_known(program: &str) -> bool {
    const KNOWN: &[&str] = &[
        "true", "false", "sleep", "echo", "cat", "printenv", "id", "pwd", "stty", "ps", "ip", "env", "sh",
        "setsid", "exit", "trap", "read", "touch",
    ];
    KNOWN.contains(&program)
}

/// Runs one program to its end.
pub(super) fn run(argv: Vec<String>, context: Context, mut input: Input) -> Process {
    Box::pin(async move { run_with(&argv, &context, &mut input).await })
}

async fn run_with(argv: &[String], context: &Context, input: &mut Input) -> i64 {
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    let _listed = context.world.enter(&argv.join(" "));
    match words.as_slice() {
        ["sh", "-c", script, ..] => Box::pin(shell(script, context, input)).await,
        ["setsid", rest @ ..] => {
            let rest: Vec<String> = rest.iter().map(|word| (*word).to_owned()).collect();
            Box::pin(run_with(&rest, context, input)).await
        }
        words => builtin(words, context, input).await,
    }
}

async fn builtin(words: &[&str], context: &Context, input: &mut Input) -> i64 {
    match words {
        ["true"] => 0,
        ["false"] => 1,
        ["exit", code] => code.parse().unwrap_or(2),
        ["sleep", seconds] => {
            match Duration::try_from_secs_f64(seconds.parse().unwrap_or(0.0)) {
                Ok(pause) => tokio::time::sleep(pause).await,
                // `infinity`: what the agent's first process does.
                Err(_) => std::future::pending().await,
            }
            0
        }
        ["echo", words @ ..] => {
            context.out(format!("{}\n", words.join(" ")));
            0
        }
        ["cat"] => {
            while let Some(piece) = input.piece().await {
                context.out(piece.to_vec());
            }
            0
        }
        ["touch", path] => i64::from(!context.world.touch(path)),
        ["cat", path] => print(context, context.world.file(path)),
        ["printenv", key] => {
            print(context, context.env.get(*key).map(|value| format!("{value}\n").into_bytes()))
        }
        ["id", "-u"] => print(context, Some(format!("{}\n", context.uid).into_bytes())),
        ["pwd"] => print(context, Some(format!("{}\n", context.cwd).into_bytes())),
        ["env"] => {
            let all = context.env.iter().map(|(key, value)| format!("{key}={value}\n"));
            print(context, Some(all.collect::<String>().into_bytes()))
        }
        ["ip", "-4", "addr"] => print(context, Some(context.world.addresses().into_bytes())),
        ["stty", "size"] => {
            let size = *context.tty.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            print(context, size.map(|size| format!("{} {}\r\n", size.rows, size.cols).into_bytes()))
        }
        ["ps"] => {
            let found = context.world.processes().into_iter();
            let found: String = found.map(|(pid, command)| format!("{pid} {command}\n")).collect();
            print(context, Some(found.into_bytes()))
        }
        ["trap", "", "TERM"] => {
            context.ignores_term.store(true, Ordering::Relaxed);
            0
        }
        ["read", _] => i64::from(input.line().await.is_none()),
        _ => UNKNOWN,
    }
}

fn print(context: &Context, text: Option<Vec<u8>>) -> i64 {
    match text {
        Some(text) => {
            context.out(text);
            0
        }
        None => 1,
    }
}

/// One statement of a script.
#[derive(Debug, PartialEq, Eq)]
struct Statement {
    words: Vec<String>,
    to_stderr: bool,
    background: bool,
}

async fn shell(script: &str, context: &Context, input: &mut Input) -> i64 {
    let mut code = 0;
    for statement in parse(script) {
        let own = if statement.to_stderr { context.on_stderr() } else { context.clone() };
        if statement.background {
            let kill = context.kill.clone();
            let (_, nothing) = tokio::sync::mpsc::unbounded_channel();
            let process = run(statement.words, own, Input::new(nothing));
            // The task is the modelled process itself; it ends with its member.
            tokio::spawn(async move { kill.run_until_cancelled(process).await });
            code = 0;
        } else if statement.words.first().is_some_and(|word| word == "exit") {
            return statement.words.get(1).and_then(|code| code.parse().ok()).unwrap_or(code);
        } else {
            code = run_with(&statement.words, &own, input).await;
        }
    }
    code
}

fn parse(script: &str) -> Vec<Statement> {
    let mut statements = Vec::new();
    let (mut words, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    let mut letters = script.chars().peekable();
    let end_word = |words: &mut Vec<String>, word: &mut String, any: &mut bool| {
        if *any {
            words.push(std::mem::take(word));
        }
        *any = false;
    };
    let end = |words: &mut Vec<String>, background, statements: &mut Vec<Statement>| {
        let to_stderr = words.last().is_some_and(|word| word == ">&2");
        if to_stderr {
            words.pop();
        }
        if !words.is_empty() {
            statements.push(Statement { words: std::mem::take(words), to_stderr, background });
        }
    };
    while let Some(letter) = letters.next() {
        match letter {
            '\'' => (quoted, any) = (!quoted, true),
            _ if quoted => word.push(letter),
            '>' if letters.peek() == Some(&'&') => {
                end_word(&mut words, &mut word, &mut any);
                (word, any) = (">&".to_owned(), true);
                letters.next();
            }
            ';' | '\n' | '&' => {
                end_word(&mut words, &mut word, &mut any);
                end(&mut words, letter == '&', &mut statements);
            }
            letter if letter.is_whitespace() => end_word(&mut words, &mut word, &mut any),
            letter => {
                word.push(letter);
                any = true;
            }
        }
    }
    end_word(&mut words, &mut word, &mut any);
    end(&mut words, false, &mut statements);
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_backgrounds_quotes_and_redirections_are_told_apart() {
        let parsed = parse("trap '' TERM; echo bad >&2; setsid sleep 1 & exit 3");
        let shape: Vec<(String, bool, bool)> =
            parsed.iter().map(|one| (one.words.join(" "), one.to_stderr, one.background)).collect();
        assert_eq!(
            shape,
            [
                ("trap  TERM".to_owned(), false, false),
                ("echo bad".to_owned(), true, false),
                ("setsid sleep 1".to_owned(), false, true),
                ("exit 3".to_owned(), false, false),
            ]
        );
    }
}
