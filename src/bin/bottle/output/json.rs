//! Documents for programs.

use bottle::error::ErrorKind;
use serde::Serialize;
use serde_json::json;

use crate::error::{CliError, CliResult};

/// Version of every document this binary prints, but for the plan, which has its own. Adding keys is fine.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// A document with a line end.
pub(super) fn pretty(value: &impl Serialize) -> CliResult<String> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(failed)
}

/// A document on one line.
pub(super) fn line(value: &impl Serialize) -> CliResult<String> {
    serde_json::to_string(value).map(|text| text + "\n").map_err(failed)
}

fn failed(error: serde_json::Error) -> CliError {
    CliError::new(ErrorKind::Internal, "write JSON").because(error)
}

/// A failed command, on one line.
pub(super) fn error(error: &CliError) -> String {
    let mut body = json!({
        "kind": error.kind,
        "message": format!("failed to {}", error.message),
        "chain": error.causes(),
        "exit_code": error.exit_code(),
    });
    if let Some(remedy) = &error.remedy {
        body["remedy"] = remedy.as_str().into();
    }
    if let Some(findings) = &error.findings {
        body["findings"] = findings.as_ref().clone();
    }
    format!("{}\n", json!({ "schema_version": SCHEMA_VERSION, "error": body }))
}
