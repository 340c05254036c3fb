//! Step `skills`: directories of the host's `~/.claude/skills`, with their modes.

use std::io::Write;
use std::path::Path;

use super::tree::{self, Skipped};
use super::{AGENT_HOME, Archive, HostFileError, Owner};
use crate::plan::SkillDir;

/// Adds each skill under the agent's `~/.claude/skills`. Returns what was left out.
///
/// # Errors
/// A file of a skill cannot be read.
pub fn add<W: Write>(archive: &mut Archive<W>, skills: &[SkillDir]) -> Result<Vec<Skipped>, HostFileError> {
    let mut skipped = Vec::new();
    if skills.is_empty() {
        return Ok(skipped);
    }
    let claude = Path::new(AGENT_HOME).join(".claude");
    let root = claude.join("skills");
    for dir in [&claude, &root] {
        archive.dir(dir, 0o755, Owner::Agent).map_err(HostFileError::at(dir))?;
    }
    for skill in skills {
        // The skill itself may be a link (people link skills into place); nothing inside it is followed.
        let real = std::fs::canonicalize(&skill.path).map_err(HostFileError::at(&skill.path))?;
        skipped.extend(tree::add(archive, &real, &root.join(&skill.name))?);
    }
    Ok(skipped)
}
