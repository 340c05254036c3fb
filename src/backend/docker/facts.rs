//! What the engine is, and what weakens isolation on it. The judgement is pure.

use bollard::models::{SystemInfo, SystemInfoCgroupVersionEnum, SystemVersion};

use super::super::{BackendFacts, BackendResult, Op, Subject};
use super::engine::Engine;

/// Asks the engine what it is. (Docker API: `GET /version`, `GET /info`.)
pub(super) async fn ask(engine: &Engine) -> BackendResult<BackendFacts> {
    let subject = || Subject::Engine(engine.address.clone());
    let (version, info) = futures::join!(
        engine.call(Op::Connect, subject(), engine.docker.version()),
        engine.call(Op::Connect, subject(), engine.docker.info()),
    );
    let (version, info) = (version?, info?);
    let encrypted = !engine.address.starts_with("tcp://");
    Ok(judge(&version, &info, encrypted))
}

fn judge(version: &SystemVersion, info: &SystemInfo, encrypted: bool) -> BackendFacts {
    let number = version.version.clone().unwrap_or_default();
    let mut runtimes: Vec<String> = info.runtimes.iter().flatten().map(|(name, _)| name.clone()).collect();
    runtimes.sort();
    BackendFacts {
        weaknesses: weaknesses(parts(&number), info, encrypted),
        version: format!("Docker {number}"),
        api_version: version.api_version.clone().unwrap_or_default(),
        runtimes,
    }
}

/// `20.10.24+dfsg1` → (20, 10, 24). What cannot be read counts as 0, the oldest.
pub(super) fn parts(version: &str) -> (u32, u32, u32) {
    let mut numbers = version.split(['.', '+', '-', '~']).map(|part| part.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}

fn weaknesses(version: (u32, u32, u32), info: &SystemInfo, encrypted: bool) -> Vec<String> {
    let security: Vec<&str> = info.security_options.iter().flatten().map(String::as_str).collect();
    let has = |name: &str| security.iter().any(|option| option.contains(name));
    let rootless = has("rootless");
    let rows: &[(bool, &str)] = &[
        (
            version < (25, 0, 5),
            "this engine forwards name lookups out of internal networks (CVE-2024-29018); bottle gives members \
             a resolver that answers nothing, upgrade to engine 25.0.5 or later",
        ),
        (
            version < (28, 0, 0),
            "this engine cannot isolate a bridge's gateway by itself; bottle keeps the host's address off its \
             bridges instead, upgrade to engine 28 or later",
        ),
        (
            info.live_restore_enabled != Some(true),
            "containers stop when the engine restarts; set \"live-restore\": true in the engine's daemon.json",
        ),
        (
            !rootless && !has("userns"),
            "root in a container is root on the host's kernel; set \"userns-remap\" in the engine's \
             daemon.json or use a rootless engine",
        ),
        (!has("seccomp"), "the engine applies no seccomp profile; use a kernel and engine with seccomp"),
        (
            !has("apparmor") && !has("selinux"),
            "no AppArmor or SELinux profile confines containers; enable one of them on the host",
        ),
        (
            info.cgroup_version == Some(SystemInfoCgroupVersionEnum::_1),
            "control groups are version 1; boot the host with systemd.unified_cgroup_hierarchy=1",
        ),
        (
            info.swap_limit == Some(false),
            "the memory limit does not cover swap; boot the host with swapaccount=1 or turn swap off",
        ),
        (
            info.memory_limit == Some(false) || info.pids_limit == Some(false),
            "limits on memory or processes are not enforced; enable the memory and pids control groups",
        ),
        (
            rootless,
            "a rootless engine may ignore limits on memory, CPU and processes; delegate the control groups \
             to the user (systemd, cgroup version 2)",
        ),
        (!encrypted, "the connection to the engine is not encrypted; forward its socket through ssh instead"),
    ];
    rows.iter().filter(|(applies, _)| *applies).map(|(_, text)| (*text).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_distributions_are_read() {
        assert_eq!(parts("20.10.24+dfsg1"), (20, 10, 24));
        assert_eq!(parts("28.2.2"), (28, 2, 2));
        assert_eq!(parts("dev"), (0, 0, 0));
    }

    #[test]
    fn a_strict_new_engine_has_no_weakness() {
        let mut info = SystemInfo {
            live_restore_enabled: Some(true),
            security_options: Some(
                ["name=userns", "name=seccomp,profile=builtin", "name=apparmor"].map(str::to_owned).into(),
            ),
            cgroup_version: Some(SystemInfoCgroupVersionEnum::_2),
            ..SystemInfo::default()
        };
        assert_eq!(weaknesses((28, 1, 0), &info, true), Vec::<String>::new());
        info.live_restore_enabled = Some(false);
        assert_eq!(weaknesses((28, 1, 0), &info, false).len(), 2);
    }

    #[test]
    fn an_old_engine_is_told_apart() {
        assert!(weaknesses((20, 10, 24), &SystemInfo::default(), true)[0].contains("CVE-2024-29018"));
        assert!(!weaknesses((25, 0, 5), &SystemInfo::default(), true)[0].contains("CVE-2024-29018"));
    }
}
