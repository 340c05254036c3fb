//! `bottle schema`: the JSON Schema of `claude-bottle.json`, for editors.

use crate::app::App;
use crate::error::CliResult;
use crate::exit_code;

pub(crate) fn run(app: &App) -> CliResult {
    app.ui.document(&bottle::manifest::schema())?;
    Ok(exit_code::SUCCESS)
}
