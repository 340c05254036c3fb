//! `bottle audit`: the egress decisions of a bottle, from its audit file; it stays after the bottle is gone.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use bottle::audit_log::AuditLog;
use bottle::egress::{AuditRecord, AuditVerdict};
use bottle::error::ErrorKind;
use bottle::ids::BottleId;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::app::App;
use crate::cli::AuditArgs;
use crate::error::{CliError, CliResult};
use crate::exit_code;
use crate::output::{decision, one_line};

/// How often a followed file is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

pub(crate) async fn run(app: &App, args: AuditArgs) -> CliResult {
    let path = find(app, &args.name).await?;
    let failed = |source| CliError::io(format!("read {}", path.display()), source);
    let mut lines = BufReader::new(File::open(&path).await.map_err(failed)?);
    let mut kept = VecDeque::new();
    let mut line = String::new();
    let mut first_pass = true;
    loop {
        let count = lines.read_line(&mut line).await.map_err(failed)?;
        if line.ends_with('\n') {
            if let Some(shown) = show(app, &args, &line)? {
                match args.tail {
                    Some(tail) if first_pass => {
                        kept.push_back(shown);
                        if kept.len() > tail {
                            kept.pop_front();
                        }
                    }
                    _ => app.ui.data(&shown)?,
                }
            }
            line.clear();
        } else if count == 0 {
            if std::mem::take(&mut first_pass) {
                app.ui.data(&kept.drain(..).collect::<String>())?;
            }
            if !args.follow {
                return Ok(exit_code::SUCCESS);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// The file of a bottle by id, else by the name of one that the engine knows.
async fn find(app: &App, name: &str) -> CliResult<PathBuf> {
    let is_id = name.len() == 16 && name.chars().all(|c| c.is_ascii_hexdigit());
    let by_id = AuditLog::path(&app.paths.state_dir, &BottleId::from(name));
    if is_id && by_id.exists() {
        return Ok(by_id);
    }
    let bottle = app.attach(name).await?;
    let path = AuditLog::path(&app.paths.state_dir, &bottle.bottle().bottle);
    if path.exists() {
        return Ok(path);
    }
    let message = format!("show the decisions of bottle {name}: there is no {}", path.display());
    Err(CliError::new(ErrorKind::NotFound, message)
        .remedy("the file lies in the state directory of the process that owns the bottle"))
}

/// A line for people or programs; `None` when it was not asked for.
fn show(app: &App, args: &AuditArgs, line: &str) -> CliResult<Option<String>> {
    let record: AuditRecord = serde_json::from_str(line).map_err(|source| {
        CliError::new(ErrorKind::Protocol, "understand a line of the audit file").because(source)
    })?;
    if args.denied && !matches!(record.verdict, AuditVerdict::Deny | AuditVerdict::Unavailable) {
        return Ok(None);
    }
    if app.ui.json() {
        return Ok(Some(line.to_owned()));
    }
    Ok(Some(format!("{} {}\n", one_line(&record.time), decision(app.ui, &record))))
}
