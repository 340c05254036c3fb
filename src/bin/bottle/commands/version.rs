//! `bottle version`

use serde_json::json;

use crate::app::{App, BACKENDS};
use crate::error::CliResult;
use crate::exit_code;
use crate::output::SCHEMA_VERSION;

pub(crate) fn run(app: &App) -> CliResult {
    let version = env!("CARGO_PKG_VERSION");
    if app.ui.json() {
        app.ui.document(&json!({
            "schema_version": SCHEMA_VERSION,
            "version": version,
            "plan_schema_version": bottle::plan::json::SCHEMA_VERSION,
            "backends": BACKENDS,
        }))?;
    } else {
        app.ui.data(&format!("bottle {version}\n"))?;
    }
    Ok(exit_code::SUCCESS)
}
