//! `bottle edit`: opens the manifest, checks it when the editor closes, offers to open it again.

use std::path::{Path, PathBuf};

use bottle::error::ErrorKind;
use bottle::manifest::{self, FILE_NAME};
use tokio::process::Command;

use crate::app::App;
use crate::cli::EditArgs;
use crate::error::{CliError, CliResult};
use crate::exit_code;
use crate::prompt;

pub(crate) async fn run(app: &App, args: EditArgs) -> CliResult {
    let path = target(app, &args)?;
    loop {
        open(app, &path).await?;
        // Without --manifest the merged whole is what counts: the other file may miss what this one names.
        let errors = match manifest::load(&app.host, args.manifest.as_deref()) {
            Ok(_) => break,
            Err(errors) => errors,
        };
        app.ui.say(&manifest::render(&errors));
        match prompt::ask("open it again? [Y/n] ".to_owned()).await {
            Ok(Some(answer)) if !matches!(answer.trim(), "n" | "N" | "no" | "NO") => {}
            _ => return Err(CliError::from(errors).remedy("run `bottle edit` again")),
        }
    }
    app.ui.note(&format!("{} is valid", path.display()));
    Ok(exit_code::SUCCESS)
}

/// The named file, else the one of the working directory, else the one of the home.
fn target(app: &App, args: &EditArgs) -> CliResult<PathBuf> {
    let (here, home) = (app.host.cwd().join(FILE_NAME), app.host.home().join(FILE_NAME));
    let path = match (&args.manifest, args.home) {
        (Some(path), _) => app.host.cwd().join(path),
        (None, false) if here.exists() => here,
        (None, _) => home,
    };
    if path.exists() {
        return Ok(path);
    }
    Err(CliError::new(ErrorKind::NotFound, format!("edit {}: there is no such file", path.display()))
        .remedy("`bottle init` writes a first one"))
}

/// Runs the editor as git does: through the shell, because the variable may hold arguments.
async fn open(app: &App, path: &Path) -> CliResult<()> {
    let chosen = ["VISUAL", "EDITOR"].into_iter().find_map(|name| app.host.var_non_empty(name));
    let editor = chosen.unwrap_or("vi");
    let status = Command::new("/bin/sh")
        .args(["-c", &format!("{editor} \"$@\""), editor])
        .arg(path)
        .status()
        .await
        .map_err(|source| CliError::io(format!("run the editor {editor:?}"), source))?;
    if status.success() {
        return Ok(());
    }
    Err(CliError::new(ErrorKind::Input, format!("edit: {editor:?} ended with {status}"))
        .remedy("set VISUAL or EDITOR to an editor that is installed"))
}
