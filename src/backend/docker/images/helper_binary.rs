//! Finds the static helpers and makes sure that they can run in an image without a loader.

use std::path::{Path, PathBuf};

use tokio::fs;

use super::{ImageName, SetupError, SetupErrorKind, Step};

/// A program of this repository that runs inside an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Helper {
    /// `bottle-gate`, the builtin gate.
    Gate,
    /// `bottle-init`, the first process of the agent's container.
    Init,
}

impl Helper {
    fn file(self) -> &'static str {
        match self {
            Self::Gate => "bottle-gate",
            Self::Init => "bottle-init",
        }
    }

    fn error(self, kind: SetupErrorKind) -> SetupError {
        SetupError::new(self.step(), self.image(), kind)
    }

    fn step(self) -> Step {
        match self {
            Self::Gate => Step::FindGate,
            Self::Init => Step::FindInit,
        }
    }

    fn image(self) -> ImageName {
        match self {
            Self::Gate => ImageName::Gate,
            Self::Init => ImageName::Agent,
        }
    }
}

/// Reads a static helper: the given file, or the first static one of the usual places.
///
/// Usual places: beside the running executable, `gate/<name>` in the directories above it (where
/// `scripts/build-gate.sh` puts it in a build tree), and `beside`, the directory of another helper.
///
/// # Errors
/// `NoGateBinary` or `NoInitBinary` where none exists, `NotStatic` where none is usable, `Unreadable`.
pub async fn find_helper(
    helper: Helper,
    given: Option<&Path>,
    beside: Option<&Path>,
) -> Result<(PathBuf, Vec<u8>), SetupError> {
    let places = match given {
        Some(path) => vec![path.to_owned()],
        None => usual_places(helper.file(), std::env::current_exe().ok(), beside),
    };
    let mut refused = None;
    for path in &places {
        let bytes = match fs::read(path).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(SetupError::unreadable(helper.step(), helper.image(), path.clone(), error));
            }
        };
        match static_elf(&bytes) {
            Ok(()) => return Ok((path.clone(), bytes)),
            // A development build lies beside the executable and is dynamic: a static one further on is better.
            Err(reason) => {
                refused = refused.or(Some(SetupErrorKind::NotStatic { path: path.clone(), reason }))
            }
        }
    }
    Err(helper.error(refused.unwrap_or(match helper {
        Helper::Gate => SetupErrorKind::NoGateBinary { places },
        Helper::Init => SetupErrorKind::NoInitBinary { places },
    })))
}

fn usual_places(file: &str, exe: Option<PathBuf>, beside: Option<&Path>) -> Vec<PathBuf> {
    let mut places: Vec<_> = beside.map(|dir| dir.join(file)).into_iter().collect();
    let Some(exe) = exe else { return places };
    places.extend(exe.parent().map(|dir| dir.join(file)));
    // target/debug/bottle, target/debug/deps/test-…: the build tree's root is two or three levels up.
    places.extend(exe.ancestors().skip(2).take(3).map(|dir| dir.join("gate").join(file)));
    places
}

/// Accepts a 64-bit x86 executable that names no interpreter.
fn static_elf(bytes: &[u8]) -> Result<(), &'static str> {
    const INTERPRETER: u32 = 3;
    const X86_64: u16 = 62;
    let half = |at: usize| bytes.get(at..at + 2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    let word = |at: usize| bytes.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        return Err("no 64-bit little-endian ELF file");
    }
    if half(18) != Some(X86_64) {
        return Err("built for another processor");
    }
    let table = bytes.get(32..40).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
    let (Some(table), Some(size), Some(count)) = (table, half(54), half(56)) else {
        return Err("truncated header");
    };
    for index in 0..u64::from(count) {
        let at = index.checked_mul(u64::from(size)).and_then(|at| at.checked_add(table));
        match at
            .and_then(|at| usize::try_from(at).ok())
            .and_then(|at| at.checked_add(4).map(|_| at))
            .and_then(word)
        {
            None => return Err("truncated program header table"),
            Some(INTERPRETER) => return Err("dynamically linked"),
            Some(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with one program header of the given type.
    fn elf(kind: u32) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[18] = 62;
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64..68].copy_from_slice(&kind.to_le_bytes());
        bytes
    }

    #[test]
    fn only_executables_without_interpreter_pass() {
        assert_eq!(static_elf(&elf(1)), Ok(()));
        assert_eq!(static_elf(&elf(3)), Err("dynamically linked"));
        assert_eq!(static_elf(&elf(1)[..66]), Err("truncated program header table"));
        assert_eq!(static_elf(b"#!/bin/sh"), Err("no 64-bit little-endian ELF file"));
        let mut far = elf(1);
        far[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(static_elf(&far), Err("truncated program header table"));
    }

    #[test]
    fn the_test_executable_itself_is_found_dynamic_or_static_without_a_panic() {
        let bytes = std::fs::read(std::env::current_exe().expect("valid")).expect("valid");
        let _ = static_elf(&bytes);
    }

    #[tokio::test]
    async fn a_missing_binary_names_the_places_and_the_remedy() {
        let missing = Path::new("/nonexistent/helper");
        let error = find_helper(Helper::Gate, Some(missing), None).await.expect_err("refused");
        assert!(error.to_string().contains("/nonexistent/helper"), "{error}");
        assert!(error.remedy().contains("--gate-binary"));
        let error = find_helper(Helper::Init, Some(missing), None).await.expect_err("refused");
        assert_eq!(error.to_string(), "find bottle-init for agent: no bottle-init at /nonexistent/helper");
        assert!(error.remedy().contains("build-gate.sh") && !error.remedy().contains("--gate-binary"));
    }

    #[test]
    fn a_helper_is_looked_for_beside_the_other_first() {
        let exe = Some(PathBuf::from("/t/debug/bottle"));
        let places = usual_places("bottle-init", exe, Some(Path::new("/given")));
        let places: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
        assert_eq!(
            places,
            ["/given/bottle-init", "/t/debug/bottle-init", "/t/gate/bottle-init", "/gate/bottle-init"]
        );
    }
}
