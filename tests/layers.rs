//! Data flows one way: a module imports only modules of its own or a lower layer.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};

/// Longest prefix wins. `plan::spec` is what a backend is asked for in the bottle's own words, so it lies below
/// the backends; the rest of `plan` looks at a backend (read-only) and lies above. Messages and the actors that
/// exchange them are one layer.
const LAYERS: [(&str, u32); 21] = [
    ("ids", 0),
    ("error", 0),
    ("gate", 1),
    ("channel", 1),
    ("init", 1),
    ("config", 1),
    ("manifest", 1),
    ("egress", 1),
    ("lease", 1),
    ("audit_log", 2),
    ("metrics", 2),
    ("plan::spec", 2),
    ("backend", 3),
    ("plan", 4),
    ("messages", 5),
    ("actors", 5),
    ("journal", 5),
    ("handle", 6),
    ("runtime", 7),
    ("testing", 8),
    ("", 9),
];

fn layer(path: &str) -> u32 {
    let hit = LAYERS
        .iter()
        .filter(|(prefix, _)| {
            prefix.is_empty()
                || path == *prefix
                || path.strip_prefix(prefix).is_some_and(|r| r.starts_with("::"))
        })
        .max_by_key(|(prefix, _)| prefix.len());
    hit.map_or(9, |(_, level)| *level)
}

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "bin") {
                sources(&path, into);
            }
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            into.push(path);
        }
    }
}

fn module_of(path: &Path) -> String {
    let relative = path.strip_prefix("src").unwrap().with_extension("");
    let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    parts.iter().filter(|part| *part != "mod" && *part != "lib").cloned().collect::<Vec<_>>().join("::")
}

fn is_test(path: &Path) -> bool {
    path.iter().any(|part| part.to_string_lossy().trim_end_matches(".rs").ends_with("tests"))
}

#[test]
fn modules_import_only_downwards() {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let mut upward = Vec::new();
    let mut seen = 0;
    for file in files.iter().filter(|file| !is_test(file)) {
        let text = fs::read_to_string(file).unwrap();
        let module = module_of(file);
        let code = text.split("#[cfg(test)]").next().unwrap();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for import in line.split("crate::").skip(1) {
                let target: String =
                    import.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':').collect();
                seen += 1;
                if layer(&target) > layer(&module) && layer(&target) < 9 {
                    upward.push(format!("{module} imports {target}"));
                }
            }
        }
    }
    assert!(seen > 200, "the check sees imports: {seen}");
    assert!(upward.is_empty(), "{}", upward.join("\n"));
}

#[test]
fn no_source_file_is_longer_than_600_lines() {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let long: Vec<_> = files
        .iter()
        .filter(|file| !is_test(file))
        .map(|file| (file, fs::read_to_string(file).unwrap().lines().count()))
        .filter(|(_, lines)| *lines > 600)
        .collect();
    assert!(long.is_empty(), "{long:?}");
}

#[test]
fn every_source_file_says_what_it_is_for() {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let silent: Vec<_> =
        files.iter().filter(|file| !fs::read_to_string(file).unwrap().starts_with("//!")).collect();
    assert!(silent.is_empty(), "{silent:?}");
}
