//! Step `prompt`: the text for the agent's system prompt.

use std::io::Write;
use std::path::Path;

use super::{AGENT_HOME, Archive, HostFileError, Owner, PROMPT_PATH};

/// Adds the prompt file, readable by the agent.
///
/// # Errors
/// The archive's writer failed.
pub fn add<W: Write>(archive: &mut Archive<W>, prompt: &str) -> Result<(), HostFileError> {
    let (dir, path) = (Path::new(AGENT_HOME).join(".bottle"), Path::new(PROMPT_PATH));
    archive.dir(&dir, 0o755, Owner::Agent).map_err(HostFileError::at(&dir))?;
    archive.file(path, 0o644, Owner::Agent, prompt.as_bytes()).map_err(HostFileError::at(path))
}
