//! The walls around a local pod: user, mount, process, IPC and host-name namespaces.
//!
//! Not here: what is mounted inside (`root`), and the processes (`container`). The network is the machine's own.

use std::fs;
use std::path::Path;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use super::mounts;

/// Why the pod's namespaces could not be made, with what to allow.
#[derive(Debug)]
pub struct NamespaceError {
    stage: &'static str,
    errno: Errno,
    hint: Option<String>,
}

impl std::fmt::Display for NamespaceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "this machine does not let podturn {}: {} ({:?})", self.stage, self.errno.desc(), self.errno)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for NamespaceError {}

/// With which rights the pod runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Of a real root: every user id can be taken on.
    Root,
    /// Of one user of this machine, who is root inside: other ids are names for the same user.
    OneUser,
}

/// Takes this process out of the machine's mount, IPC and host-name namespaces, and into a user namespace of its own
/// where it has no right to that otherwise. Must be called before the process has a second thread (unshare(2)).
///
/// # Errors
/// What the kernel refused, and which setting allows it.
pub fn enter(host_name: &str) -> Result<Rights, NamespaceError> {
    let walls = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    let rights = match unshare(walls) {
        Ok(()) => Rights::Root,
        Err(Errno::EPERM) => {
            enter_as_user(walls)?;
            Rights::OneUser
        }
        Err(errno) => return Err(NamespaceError { stage: "make mount namespaces", errno, hint: hint() }),
    };
    mounts::keep_to_ourselves().map_err(|errno| NamespaceError {
        stage: "separate its mounts",
        errno,
        hint: hint(),
    })?;
    // A pod's host name is its own name, cut as Kubernetes cuts it.
    let name: String = host_name.chars().take(63).collect();
    nix::unistd::sethostname(name.trim_end_matches(['-', '.'])).map_err(|errno| NamespaceError {
        stage: "set the pod's host name",
        errno,
        hint: None,
    })?;
    Ok(rights)
}

/// From here on every child of the calling thread is in a process namespace of its own; the first one is PID 1.
/// The calling thread cannot start threads any more (clone(2), CLONE_THREAD).
///
/// # Errors
/// What the kernel refused.
pub fn enclose_children() -> Result<(), NamespaceError> {
    unshare(CloneFlags::CLONE_NEWPID).map_err(|errno| NamespaceError {
        stage: "make process namespaces",
        errno,
        hint: hint(),
    })
}

/// A user namespace in which this user is root. The order is the kernel's (user_namespaces(7)): a process without
/// privilege may map its group only after it has given up setgroups.
fn enter_as_user(walls: CloneFlags) -> Result<(), NamespaceError> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | walls).map_err(|errno| NamespaceError {
        stage: "make user namespaces",
        errno,
        hint: hint(),
    })?;
    let writes = [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {user} 1")),
        ("/proc/self/gid_map", format!("0 {group} 1")),
    ];
    for (file, text) in writes {
        fs::write(file, text).map_err(|e| NamespaceError {
            stage: "map its own user into a user namespace",
            errno: e.raw_os_error().map_or(Errno::EIO, Errno::from_raw),
            hint: hint(),
        })?;
    }
    Ok(())
}

/// The setting of this kernel that closes user namespaces to users, if one does.
fn hint() -> Option<String> {
    let read = |name: &str| fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap_or_default();
    closed_by(&read).map(|fix| format!("Allow it with `{fix}` (as root), or run podturn as root."))
}

/// Which setting says no. `read` gives the text of a file under /proc/sys, empty where there is none.
fn closed_by(read: &dyn Fn(&str) -> String) -> Option<&'static str> {
    let is = |name: &str, value: &str| read(name).trim() == value;
    if is("user/max_user_namespaces", "0") {
        Some("sysctl user.max_user_namespaces=15000")
    } else if is("kernel/unprivileged_userns_clone", "0") {
        Some("sysctl kernel.unprivileged_userns_clone=1")
    } else if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        Some("sysctl kernel.apparmor_restrict_unprivileged_userns=0")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::closed_by;

    #[test]
    fn the_setting_that_says_no_is_named() {
        let cases = [
            ("user/max_user_namespaces", "0\n", Some("sysctl user.max_user_namespaces=15000")),
            ("kernel/unprivileged_userns_clone", "0\n", Some("sysctl kernel.unprivileged_userns_clone=1")),
            (
                "kernel/apparmor_restrict_unprivileged_userns",
                "1\n",
                Some("sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
            ),
            ("user/max_user_namespaces", "15000\n", None),
        ];
        for (file, text, fix) in cases {
            let read = |name: &str| if name == file { text.to_owned() } else { String::new() };
            assert_eq!(closed_by(&read), fix, "{file} = {text}");
        }
    }
}
