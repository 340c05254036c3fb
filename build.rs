//! Lists the addon's files for embedding, so that an installed binary needs no checkout.
//!
//! Writes `addon_files.rs` to `OUT_DIR`: a slice of (path in the archive, content). An absent directory gives an
//! empty list. No other work is done here.

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    let root =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?).join("assets/addon");
    println!("cargo::rerun-if-changed={}", root.display());
    println!("cargo::rerun-if-changed=build.rs");
    let mut files = Vec::new();
    if root.join("bottle_addon").is_dir() {
        collect(&root.join("bottle_addon"), &mut files)?;
    }
    files.sort();
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?).join("addon_files.rs");
    let mut out = fs::File::create(out)?;
    writeln!(out, "&[")?;
    for file in &files {
        let name = file.strip_prefix(&root).map_err(io::Error::other)?;
        writeln!(out, "    ({:?}, include_bytes!({:?}).as_slice()),", name.display().to_string(), file)?;
    }
    writeln!(out, "]")
}

/// Collects what belongs to the package: no bytecode, no hidden files, no tests beside the modules.
fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('.') || name == "__pycache__" || name == "tests" || name.ends_with(".pyc") {
            continue;
        }
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
