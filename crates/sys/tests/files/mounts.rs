//! What needs mounts of its own: each test in a thread with a private mount namespace.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

use pyinotifyd_sys::files::{Fault, How, Options};
use rustix::{
    io::Errno,
    mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change, mount_remount},
    thread::{UnshareFlags, unshare_unsafe},
};

use crate::{World, is_root, names, options, rm, tempdir};

/// Runs `test` in a mount namespace that ends with it, if that is permitted. Its directory can be
/// removed only when the mounts are gone with their thread.
fn with_mounts(test: impl FnOnce(&Path) + Send + 'static) {
    if !is_root() {
        eprintln!("skipped: mounts, because this is not root");
        return;
    }
    let dir = tempdir();
    let path = dir.path().to_owned();
    let run = move || {
        // SAFETY: only this thread's working directory, root, umask and mounts become its own;
        // no descriptor table is shared or lost.
        match unsafe { unshare_unsafe(UnshareFlags::FS | UnshareFlags::NEWNS) } {
            Ok(()) => (),
            Err(Errno::PERM) => {
                eprintln!("skipped: mounts, because a mount namespace is not permitted here");
                return;
            }
            Err(errno) => panic!("unshare: {errno}"),
        }
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change(c"/", private).unwrap();
        test(&path);
    };
    thread::spawn(run).join().unwrap();
    dir.close().unwrap();
}

fn tmpfs(on: &Path, data: &str) {
    fs::create_dir_all(on).unwrap();
    let data = std::ffi::CString::new(data).unwrap();
    mount(c"tmpfs", on, c"tmpfs", MountFlags::empty(), data.as_c_str()).unwrap();
}

#[test]
fn a_full_disk_is_temporary_and_leaves_nothing() {
    with_mounts(|dir| {
        let mut world = World::near_in(dir);
        world.dst = world.dst.join("small");
        tmpfs(&world.dst, "size=1m");
        world.write("a", vec![7; 3 << 20]);
        fs::create_dir(world.src.join("d")).unwrap();
        fs::write(world.src.join("d/f"), vec![7; 3 << 20]).unwrap();
        fs::write(world.dst.join("there"), "old").unwrap();
        for (from, to) in [("a", "b"), ("a", "there"), ("d", "e")] {
            let overwrite = Options { overwrite: true, ..options() };
            for result in [world.mv(from, to, &overwrite), world.cp(from, to, &overwrite)] {
                let error = result.unwrap_err();
                assert_eq!((error.kind, error.is_temporary()), (Fault::NoSpace, true), "{error}");
            }
        }
        assert_eq!(names(&world.dst), [b"there"]);
        assert_eq!(fs::read(world.dst.join("there")).unwrap(), b"old");
        assert_eq!(fs::metadata(world.src.join("a")).unwrap().len(), 3 << 20);
        assert_eq!(fs::metadata(world.src.join("d/f")).unwrap().len(), 3 << 20);
    });
}

#[test]
fn a_tree_ends_where_another_file_system_begins() {
    with_mounts(|dir| {
        for bind in [false, true] {
            let world = World::near_in(&dir.join(bind.to_string()));
            let inner = world.src.join("tree/inner");
            let outside = world.dst.join("outside");
            fs::create_dir_all(&inner).unwrap();
            fs::create_dir(&outside).unwrap();
            if bind {
                mount_bind(&outside, &inner).unwrap();
            } else {
                tmpfs(&inner, "size=1m");
            }
            fs::write(inner.join("f"), "x").unwrap();
            let rec = Options { rec: true, ..options() };
            let tree = world.src.join("tree");
            for result in
                [rm(&tree, &rec), world.cp("tree", "b", &options()), rm(&inner, &options())]
            {
                let error = result.unwrap_err();
                assert_eq!(error.kind, Fault::OtherFileSystem, "{error}");
                assert!(error.path.ends_with(b"tree/inner"), "{error}");
            }
            assert_eq!(fs::read(inner.join("f")).unwrap(), b"x");
            assert_eq!(names(&world.dst), [b"outside"]);
        }
    });
}

#[test]
fn two_mounts_of_one_file_system_are_moved_between() {
    with_mounts(|dir| {
        let mut world = World::near_in(dir);
        let bound = world.src.join("bound");
        fs::create_dir(&bound).unwrap();
        mount_bind(&world.dst, &bound).unwrap();
        world.dst = bound;
        let from = world.write("a", "x");
        crate::chmod(&from, 0o4755);
        std::os::unix::fs::symlink("to", world.src.join("l")).unwrap();
        let given = Options { user: Some(77), group: Some(78), ..options() };
        assert_eq!(world.mv("a", "b", &given).unwrap().how, How::Copied);
        assert_eq!(world.mv("l", "l", &given).unwrap().how, How::Copied);
        assert_eq!(crate::owner(&world.dst.join("b")), (77, 78));
        assert_eq!(crate::owner(&world.dst.join("l")), (77, 78));
        assert_eq!(crate::mode(&world.dst.join("b")), 0o755);
    });
}

#[test]
fn from_a_read_only_file_system_nothing_is_moved() {
    with_mounts(|dir| {
        let mut world = World::near_in(dir);
        world.src = world.src.join("ro");
        tmpfs(&world.src, "size=1m");
        world.write("a", "x");
        mount_remount(&world.src, MountFlags::RDONLY, c"").unwrap();
        let error = world.mv("a", "b", &options()).unwrap_err();
        assert_eq!((error.kind, error.errno), (Fault::Denied, Some(Errno::ROFS)));
        assert!(names(&world.dst).is_empty());
        world.cp("a", "b", &options()).unwrap();
        let error = rm(&world.src.join("a"), &options()).unwrap_err();
        assert_eq!((error.kind, error.is_temporary()), (Fault::Denied, false));
    });
}

#[test]
fn other_file_systems_do_the_same() {
    with_mounts(|dir| {
        for kind in ["ext4", "xfs", "btrfs"] {
            let mut world = World::near_in(&dir.join(kind));
            let Some(on) = image(kind, &world.dst) else { continue };
            world.dst = on;
            world.write("a", vec![1; 100_000]);
            world.mv("a", "b", &options()).unwrap();
            assert_eq!(fs::read(world.dst.join("b")).unwrap(), vec![1; 100_000]);
            // Within it, content can be shared.
            world.src = world.dst.clone();
            world.cp("b", "c", &options()).unwrap();
            assert_eq!(fs::read(world.dst.join("c")).unwrap(), vec![1; 100_000]);
            world.verify_clean();
        }
    });
}

/// A new file system in a file, if this machine can make it.
fn image(kind: &str, near: &Path) -> Option<PathBuf> {
    let (file, on) = (near.join(format!("{kind}.img")), near.join(kind));
    fs::File::create(&file).unwrap().set_len(320 << 20).unwrap();
    fs::create_dir(&on).unwrap();
    let ran = |program: &str, args: &[&std::ffi::OsStr]| {
        std::process::Command::new(program).args(args).output().is_ok_and(|o| o.status.success())
    };
    let made = ran(&format!("mkfs.{kind}"), &["-q".as_ref(), file.as_os_str()]);
    if made && ran("mount", &["-o".as_ref(), "loop".as_ref(), file.as_os_str(), on.as_os_str()]) {
        return Some(on);
    }
    eprintln!("skipped: {kind}, because it cannot be made or mounted here");
    None
}
