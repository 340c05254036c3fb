//! `bottle cp`: files between the host and a running bottle, with `docker cp`'s forms.

use std::path::Path;

use crate::app::App;
use crate::cli::CpArgs;
use crate::error::{CliError, CliResult};
use crate::exit_code;

/// One side of a copy.
#[derive(Debug, PartialEq, Eq)]
enum Side<'a> {
    Host(&'a str),
    Bottle { name: &'a str, path: &'a str },
}

pub(crate) async fn run(app: &App, args: CpArgs) -> CliResult {
    match (side(&args.source), side(&args.destination)) {
        (Side::Host(host), Side::Bottle { name, path }) => {
            let host = absolute(app, host)?;
            app.attach(name).await?.cp_in(&host, path).await?;
        }
        (Side::Bottle { name, path }, Side::Host(host)) => {
            let host = absolute(app, host)?;
            app.attach(name).await?.cp_out(path, &host).await?;
        }
        (Side::Host(_), Side::Host(_)) => {
            let error = CliError::usage("copy: neither side names a bottle");
            return Err(error.remedy("write one side as name:path; ./a:b is a file of the host"));
        }
        (Side::Bottle { .. }, Side::Bottle { .. }) => {
            let error = CliError::usage("copy: both sides name a bottle");
            return Err(error.remedy("copy to the host first"));
        }
    }
    app.ui.note(&format!("copied {} to {}", args.source, args.destination));
    Ok(exit_code::SUCCESS)
}

/// A colon makes a bottle's side, unless a slash or a dot at the start says that it is a path.
fn side(text: &str) -> Side<'_> {
    match text.split_once(':') {
        Some((name, path)) if !name.is_empty() && !name.starts_with('.') && !name.contains('/') => {
            Side::Bottle { name, path }
        }
        _ => Side::Host(text),
    }
}

/// Relative to the working directory. A slash or `/.` at the end is kept: it has a meaning.
fn absolute(app: &App, path: &str) -> CliResult<std::path::PathBuf> {
    if path == "-" {
        let error = CliError::usage("copy: archives on standard input and output are not supported");
        return Err(error.remedy("use `bottle exec -i name tar …`"));
    }
    Ok(app.host.cwd().join(Path::new(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_names_a_bottle_unless_it_is_a_path() {
        assert_eq!(side("coder:/x:y"), Side::Bottle { name: "coder", path: "/x:y" });
        for path in ["/a:b", "./a:b", "../a:b", "dir/a:b", ":x", "plain", "-"] {
            assert_eq!(side(path), Side::Host(path), "{path}");
        }
    }
}
