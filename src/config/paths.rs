//! Where configuration and state live, after the XDG base directory rules.

use std::path::PathBuf;

use super::HostEnv;

/// The directories of this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// `$XDG_CONFIG_HOME/bottle/config.toml`.
    pub config_file: PathBuf,
    /// `$XDG_STATE_HOME/bottle`: leases, stored plans, audit files.
    pub state_dir: PathBuf,
    /// `~/.claude/skills`.
    pub skills_dir: PathBuf,
}

impl Paths {
    /// Resolves them. An empty or relative XDG variable is ignored, as the specification wants it.
    pub fn resolve(host: &HostEnv) -> Self {
        let base = |name: &str, fallback: &str| {
            host.var(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
                .unwrap_or_else(|| host.home().join(fallback))
        };
        Self {
            config_file: base("XDG_CONFIG_HOME", ".config").join("bottle").join("config.toml"),
            state_dir: base("XDG_STATE_HOME", ".local/state").join("bottle"),
            skills_dir: host.home().join(".claude").join("skills"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    fn paths(vars: &[(&str, &str)]) -> Paths {
        let vars: BTreeMap<_, _> = vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Paths::resolve(&HostEnv::new(vars, "/home/me", "/srv"))
    }

    #[test]
    fn without_variables_the_home_directory_is_used() {
        assert_eq!(paths(&[]).config_file, Path::new("/home/me/.config/bottle/config.toml"));
        assert_eq!(paths(&[]).state_dir, Path::new("/home/me/.local/state/bottle"));
    }

    #[test]
    fn absolute_variables_win_and_others_are_ignored() {
        let found = paths(&[("XDG_CONFIG_HOME", "/c"), ("XDG_STATE_HOME", "s")]);
        assert_eq!(found.config_file, Path::new("/c/bottle/config.toml"));
        assert_eq!(found.state_dir, Path::new("/home/me/.local/state/bottle"));
        assert_eq!(paths(&[("XDG_CONFIG_HOME", "")]).config_file, paths(&[]).config_file);
    }
}
