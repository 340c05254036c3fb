//! [`HostEnv`]: one snapshot of the process's surroundings, taken at the top and handed down.
//!
//! Nothing below reads `std::env`, so every function of the library can be tested without changing the
//! environment of the test process.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// Environment, home and working directory at one moment.
#[derive(Clone, Default)]
pub struct HostEnv {
    vars: BTreeMap<String, String>,
    home: PathBuf,
    cwd: PathBuf,
}

impl HostEnv {
    /// A snapshot with given content.
    pub fn new(vars: BTreeMap<String, String>, home: impl Into<PathBuf>, cwd: impl Into<PathBuf>) -> Self {
        Self { vars, home: home.into(), cwd: cwd.into() }
    }

    /// The snapshot of this process. Variables that are not Unicode are left out: no value of the manifest
    /// could hold them.
    ///
    /// # Errors
    /// The working directory does not exist any more.
    pub fn from_process() -> std::io::Result<Self> {
        let vars: BTreeMap<_, _> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let home = vars.get("HOME").filter(|home| !home.is_empty()).map_or("/", String::as_str).into();
        Ok(Self { vars, home, cwd: std::env::current_dir()? })
    }

    /// A variable; empty counts as set.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str)
    }

    /// A variable that is set and not empty.
    pub fn var_non_empty(&self, name: &str) -> Option<&str> {
        self.var(name).filter(|value| !value.is_empty())
    }

    /// Names of all variables.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.vars.keys().map(String::as_str)
    }

    /// The home directory.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The working directory.
    pub fn cwd(&self) -> &Path {
        &self.cwd
    }

    /// A path as people write it: `~/` is the home directory, a relative path starts at the working directory.
    pub fn expand(&self, path: &str) -> PathBuf {
        match path.strip_prefix("~/") {
            Some(rest) => self.home.join(rest),
            None if path == "~" => self.home.clone(),
            None => self.cwd.join(path),
        }
    }
}

impl fmt::Debug for HostEnv {
    /// Shows how many variables there are, never a value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostEnv")
            .field("vars", &self.vars.len())
            .field("home", &self.home)
            .field("cwd", &self.cwd)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_expand_as_people_write_them() {
        let host = HostEnv::new(BTreeMap::new(), "/home/me", "/srv");
        assert_eq!(host.expand("~/x"), Path::new("/home/me/x"));
        assert_eq!(host.expand("x"), Path::new("/srv/x"));
        assert_eq!(host.expand("/x"), Path::new("/x"));
        assert_eq!(host.expand("~"), Path::new("/home/me"));
    }

    #[test]
    fn debug_shows_no_value() {
        let host = HostEnv::new(BTreeMap::from([("TOKEN".into(), "canary-value".into())]), "/h", "/c");
        assert!(!format!("{host:?}").contains("canary"));
    }
}
