//! Becoming another user, for good.
//!
//! For a process that has one thread and is about to become another program: the ids are those of
//! the calling thread. Everything is verified afterwards, so that a mistake ends in an error and
//! not in a program that runs with the daemon's rights.
//!
//! The bounding set and `no_new_privs` are left alone: a task run as `www-data` may well call
//! `sendmail` or `sudo`, as it may from that user's own shell.

use std::{
    ffi::{CStr, c_int},
    io,
};

use rustix::{
    process::{Gid, Uid},
    thread::{CapabilitySet, CapabilitySets},
};

use crate::errno;

/// Whom to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User id; `None`: it stays.
    pub uid: Option<u32>,
    /// Group id; `None`: it stays.
    pub gid: Option<u32>,
    /// Supplementary groups; `None`: they stay.
    pub groups: Option<Vec<u32>>,
}

/// What of it failed.
#[derive(Debug, thiserror::Error)]
#[error("{call}: {}", errno::words(source))]
pub struct IdentityError {
    /// The system call, or what was verified.
    pub call: &'static str,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Becomes this identity. What was done before an error stays done: the process must end then.
pub fn become_identity(want: &Identity) -> Result<(), IdentityError> {
    // As an ordinary user one may "become" oneself, for which setgroups(2) is refused.
    if is(want).map_err(at("/proc/thread-self/status"))? {
        return Ok(());
    }
    if let Some(groups) = &want.groups {
        let groups: Vec<_> = groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        rustix::thread::set_thread_groups(&groups).map_err(at("setgroups"))?;
    }
    if let Some(gid) = want.gid {
        let gid = Gid::from_raw(gid);
        rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(at("setresgid"))?;
    }
    if let Some(uid) = want.uid {
        let id = Uid::from_raw(uid);
        rustix::thread::set_thread_res_uid(id, id, id).map_err(at("setresuid"))?;
        if uid != 0 {
            drop_capabilities()?;
        }
    }
    verify(want)
}

/// The groups that the user database gives this user, `gid` among them.
///
/// Asks whatever `nsswitch.conf` says, so it may take long.
pub fn supplementary_groups(user: &CStr, gid: u32) -> io::Result<Vec<u32>> {
    /// `NGROUPS_MAX`: more than that the kernel does not take.
    const MOST: usize = 65_536;
    let mut groups = vec![0; 64];
    loop {
        let mut count = c_int::try_from(groups.len()).unwrap_or(c_int::MAX);
        // SAFETY: `user` ends with NUL; `groups` has room for `count` ids, which the call sets to
        // how many there are.
        let result =
            unsafe { libc::getgrouplist(user.as_ptr(), gid, groups.as_mut_ptr(), &raw mut count) };
        let found = usize::try_from(count).unwrap_or_default();
        if result >= 0 {
            groups.truncate(found);
            return Ok(groups);
        }
        if groups.len() >= MOST {
            return Err(io::Error::from(rustix::io::Errno::INVAL));
        }
        groups.resize(found.max(groups.len() * 2).min(MOST), 0);
    }
}

/// setresuid(2) does it for a process that was root, unless its securebits say otherwise; for a
/// service that runs as an ordinary user with capabilities it does not.
fn drop_capabilities() -> Result<(), IdentityError> {
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, none).map_err(at("capset"))?;
    rustix::thread::clear_ambient_capability_set().map_err(at("prctl PR_CAP_AMBIENT_CLEAR_ALL"))
}

/// That it is so, and that there is no way back.
fn verify(want: &Identity) -> Result<(), IdentityError> {
    let wrong = |call| Err(IdentityError { call, source: rustix::io::Errno::PERM.into() });
    if !is(want).map_err(at("/proc/thread-self/status"))? {
        return wrong("verifying the ids");
    }
    if want.uid.is_none_or(|uid| uid == 0) {
        return Ok(());
    }
    let left = rustix::thread::capabilities(None).map_err(at("capget"))?;
    if !(left.effective | left.permitted | left.inheritable).is_empty() {
        return wrong("verifying that no capability is left");
    }
    if rustix::thread::set_thread_uid(Uid::ROOT).is_ok() {
        return wrong("verifying that root cannot be regained");
    }
    Ok(())
}

/// Whether all ids (real, effective, saved and of the file system) are those.
fn is(want: &Identity) -> io::Result<bool> {
    let status = std::fs::read_to_string("/proc/thread-self/status")?;
    let ids = |key: &str| -> Vec<u32> {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        line.split_whitespace().filter_map(|id| id.parse().ok()).collect()
    };
    let all = |key, want: Option<u32>| want.is_none_or(|want| ids(key) == [want; 4]);
    let groups = want.groups.as_ref().is_none_or(|want| {
        let (mut have, mut want) = (ids("Groups:"), want.clone());
        have.sort_unstable();
        want.sort_unstable();
        want.dedup();
        have.dedup();
        have == want
    });
    Ok(all("Uid:", want.uid) && all("Gid:", want.gid) && groups)
}

fn at<E: Into<io::Error>>(call: &'static str) -> impl FnOnce(E) -> IdentityError {
    move |error| IdentityError { call, source: error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_of_root_hold_the_one_given() {
        assert!(supplementary_groups(c"root", 54_321).unwrap().contains(&54_321));
    }

    #[test]
    fn to_become_oneself_needs_no_privilege() {
        let uid = rustix::process::getuid().as_raw();
        let gid = rustix::process::getgid().as_raw();
        let me = Identity { uid: Some(uid), gid: Some(gid), groups: None };
        assert!(is(&me).unwrap());
        become_identity(&me).unwrap();
        assert!(!is(&Identity { uid: Some(uid + 1), ..me }).unwrap());
    }
}
