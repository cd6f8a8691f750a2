//! One file at a time.

use std::{
    fs::{self, File},
    os::{
        fd::AsRawFd,
        unix::{
            ffi::OsStrExt,
            fs::{FileExt, MetadataExt, symlink},
        },
    },
    path::Path,
    sync::atomic::AtomicBool,
    time::{Duration, SystemTime},
};

use pyinotifyd_sys::files::{Change, Fault, How, Options};
use rustix::fs::{CWD, FileType, IFlags, Mode, XattrFlags, mknodat};

use crate::{World, chmod, is_root, mode, names, options, owner, rm, tempdir};

#[test]
fn a_file_is_moved_and_its_changes_are_told() {
    for world in World::all() {
        let from = world.write("a", "content");
        let old = SystemTime::UNIX_EPOCH + Duration::new(1_000_000, 123_456_789);
        File::open(&from).unwrap().set_modified(old).unwrap();
        chmod(&from, 0o640);
        let done = world.mv("a", "b", &options()).unwrap();
        let to = world.dst.join("b");
        assert_eq!(fs::read(&to).unwrap(), b"content");
        assert_eq!(fs::metadata(&to).unwrap().modified().unwrap(), old);
        assert_eq!(mode(&to), 0o640);
        assert!(!from.exists());
        let (from, to) = (from.as_os_str().as_bytes(), to.as_os_str().as_bytes());
        match done.how {
            How::Renamed => {
                let change = Change::Renamed { from: from.to_vec(), to: to.to_vec() };
                assert_eq!(done.changes, [change]);
            }
            How::Copied => {
                assert_eq!((done.bytes, done.entries, done.changes.len()), (7, 1, 3));
                assert!(matches!(&done.changes[1], Change::Renamed { to: name, .. } if name == to));
                assert_eq!(done.changes[2], Change::Removed(from.to_vec()));
            }
            How::Removed | How::Gone | How::Finished => panic!("{done:?}"),
        }
        world.verify_clean();
    }
}

#[test]
fn a_file_is_copied_and_its_source_stays() {
    for world in World::all() {
        world.write("a", "content");
        world.write("empty", "");
        let done = world.cp("a", "b", &options()).unwrap();
        assert_eq!((done.how, done.bytes), (How::Copied, 7));
        world.cp("empty", "empty", &options()).unwrap();
        assert_eq!(fs::read(world.src.join("a")).unwrap(), b"content");
        assert_eq!(fs::read(world.dst.join("b")).unwrap(), b"content");
        assert_eq!(fs::read(world.dst.join("empty")).unwrap(), b"");
        world.verify_clean();
    }
}

#[test]
fn what_is_there_is_replaced_only_if_asked() {
    for world in World::all() {
        for copy in [false, true] {
            let act = |options: &Options<'_>| {
                if copy { world.cp("a", "b", options) } else { world.mv("a", "b", options) }
            };
            world.write("a", "new");
            fs::write(world.dst.join("b"), "old").unwrap();
            let error = act(&options()).unwrap_err();
            assert_eq!((error.kind, error.is_temporary()), (Fault::Exists, false));
            assert_eq!(fs::read(world.src.join("a")).unwrap(), b"new");
            assert_eq!(fs::read(world.dst.join("b")).unwrap(), b"old");
            world.verify_clean();
            act(&Options { overwrite: true, ..options() }).unwrap();
            assert_eq!(fs::read(world.dst.join("b")).unwrap(), b"new");
            assert_eq!(world.src.join("a").exists(), copy);
            world.verify_clean();
        }
    }
}

#[test]
fn a_directory_is_never_replaced_and_never_replaces() {
    let overwrite = Options { overwrite: true, ..options() };
    for world in World::all() {
        world.write("file", "x");
        fs::create_dir(world.src.join("dir")).unwrap();
        fs::create_dir(world.dst.join("empty")).unwrap();
        fs::write(world.dst.join("there"), "y").unwrap();
        for (from, to) in [("file", "empty"), ("dir", "there"), ("dir", "empty")] {
            assert_eq!(
                world.mv(from, to, &overwrite).unwrap_err().kind,
                Fault::Exists,
                "{from} {to}"
            );
            assert_eq!(
                world.cp(from, to, &overwrite).unwrap_err().kind,
                Fault::Exists,
                "{from} {to}"
            );
        }
        assert_eq!(names(&world.src), [b"dir".to_vec(), b"file".to_vec()]);
        assert_eq!(fs::read(world.dst.join("there")).unwrap(), b"y");
        world.verify_clean();
    }
}

#[test]
fn a_source_that_is_gone_has_its_own_error_and_is_no_error_for_delete() {
    let world = World::near();
    assert_eq!(world.mv("no", "b", &options()).unwrap_err().kind, Fault::SourceGone);
    assert_eq!(world.cp("no/no", "b", &options()).unwrap_err().kind, Fault::SourceGone);
    assert_eq!(rm(&world.src.join("no"), &options()).unwrap().how, How::Gone);
    assert_eq!(rm(&world.src.join("no/no"), &options()).unwrap().how, How::Gone);
}

#[test]
fn missing_directories_are_an_error_or_made_with_their_mode() {
    for world in World::all() {
        world.write("a", "x");
        let error = world.mv("a", "x/y/b", &options()).unwrap_err();
        assert_eq!((error.kind, error.is_temporary()), (Fault::NoDirectory, false));
        assert!(names(&world.dst).is_empty());
        fs::create_dir(world.dst.join("x")).unwrap();
        chmod(&world.dst.join("x"), 0o711);
        let made = Options { auto_create: true, dirmode: Some(0o2750), ..options() };
        let done = world.mv("a", "x/y/z/b", &made).unwrap();
        assert_eq!(fs::read(world.dst.join("x/y/z/b")).unwrap(), b"x");
        assert_eq!(mode(&world.dst.join("x")), 0o711, "what existed is not touched");
        assert_eq!(mode(&world.dst.join("x/y")), 0o2750);
        assert_eq!(mode(&world.dst.join("x/y/z")), 0o2750);
        let created =
            |name: &str| Change::Created(world.dst.join(name).as_os_str().as_bytes().to_vec());
        assert_eq!(done.changes[..2], [created("x/y"), created("x/y/z")]);
    }
}

#[test]
fn even_the_administrators_directory_is_made_if_it_is_missing() {
    let world = World::near();
    world.write("a", "x");
    let root = world.dst.join("r/s");
    let to = root.join("t/b");
    let from = world.src.join("a");
    let made = Options { auto_create: true, ..options() };
    let (from, to) = (crate::place(&world.src, &from), crate::place(&root, &to));
    pyinotifyd_sys::files::move_entry(from, to, &made).unwrap();
    assert_eq!(fs::read(root.join("t/b")).unwrap(), b"x");
}

#[test]
fn links_are_followed_in_the_administrators_part_only() {
    let world = World::near();
    let real = world.dst.join("real");
    fs::create_dir_all(real.join("sub")).unwrap();
    symlink(&real, world.dst.join("link")).unwrap();
    world.write("a", "x");
    let error = world.mv("a", "link/sub/b", &Options { auto_create: true, ..options() });
    assert_eq!(error.unwrap_err().kind, Fault::LinkInTheWay);
    let to = world.dst.join("link/sub/b");
    let from = world.src.join("a");
    let root = world.dst.join("link");
    let (from, to) = (crate::place(&world.src, &from), crate::place(&root, &to));
    pyinotifyd_sys::files::move_entry(from, to, &options()).unwrap();
    assert!(real.join("sub/b").exists());
}

#[test]
fn a_link_is_moved_and_copied_as_a_link() {
    for world in World::all() {
        let secret = tempdir();
        fs::write(secret.path().join("shadow"), "secret").unwrap();
        chmod(&secret.path().join("shadow"), 0o600);
        symlink(secret.path().join("shadow"), world.src.join("a")).unwrap();
        let changed = Options { filemode: Some(0o666), ..options() };
        world.cp("a", "copy", &changed).unwrap();
        world.mv("a", "b", &changed).unwrap();
        for name in ["copy", "b"] {
            assert_eq!(fs::read_link(world.dst.join(name)).unwrap(), secret.path().join("shadow"));
        }
        assert_eq!(mode(&secret.path().join("shadow")), 0o600);
        assert!(names(&world.src).is_empty());
        // A link at the destination is replaced itself, never written through.
        world.write("c", "new");
        world.cp("c", "b", &Options { overwrite: true, ..options() }).unwrap();
        assert_eq!(fs::read(secret.path().join("shadow")).unwrap(), b"secret");
        assert!(!world.dst.join("b").is_symlink());
        rm(&world.dst.join("copy"), &options()).unwrap();
        assert!(secret.path().join("shadow").exists());
        world.verify_clean();
    }
}

#[test]
fn mode_and_owner_are_given_and_set_id_bits_are_dropped() {
    for world in World::all() {
        let from = world.write("a", "x");
        chmod(&from, 0o6755);
        world.cp("a", "copy", &options()).unwrap();
        assert_eq!(mode(&world.dst.join("copy")), 0o755);
        world.cp("a", "mode", &Options { filemode: Some(0o4644), ..options() }).unwrap();
        assert_eq!(mode(&world.dst.join("mode")), 0o644);
        assert_eq!(mode(&from), 0o6755, "a copy does not touch its source");
        if is_root() {
            std::os::unix::fs::chown(&from, Some(1234), Some(1235)).unwrap();
            chmod(&from, 0o6711);
            world.cp("a", "own", &options()).unwrap();
            assert_eq!(owner(&world.dst.join("own")), (0, 0), "as with cp");
            let given = Options { user: Some(77), group: Some(78), ..options() };
            world.mv("a", "given", &given).unwrap();
            assert_eq!(owner(&world.dst.join("given")), (77, 78));
            assert_eq!(mode(&world.dst.join("given")), 0o711);
            std::os::unix::fs::chown(world.write("b", "x"), Some(1234), Some(1235)).unwrap();
            world.mv("b", "kept", &Options { filemode: Some(0o600), ..options() }).unwrap();
            assert_eq!(owner(&world.dst.join("kept")), (1234, 1235), "as with mv");
        } else {
            eprintln!("skipped: owners, because this is not root");
        }
    }
}

#[test]
fn a_failed_rename_leaves_mode_and_owner_of_the_source() {
    let world = World::near();
    let from = world.write("a", "x");
    chmod(&from, 0o4751);
    let before = (mode(&from), owner(&from));
    // The look before the rename says that the name is free; the rename itself fails.
    let long = "x".repeat(256);
    let changed = Options { filemode: Some(0o600), ..options() };
    world.mv("a", &long, &changed).unwrap_err();
    fs::create_dir(world.src.join("dir")).unwrap();
    chmod(&world.src.join("dir"), 0o751);
    let inside = world.src.join("dir/dir");
    let dir = world.src.join("dir");
    let error = pyinotifyd_sys::files::move_entry(
        crate::place(&world.src, &dir),
        crate::place(&world.src, &inside),
        &Options { dirmode: Some(0o700), ..options() },
    );
    assert_eq!(error.unwrap_err().kind, Fault::IntoItself);
    assert_eq!((mode(&from), owner(&from)), before);
    assert_eq!(mode(&dir), 0o751);
}

#[test]
fn a_file_with_another_name_is_not_given_a_new_owner_or_mode() {
    for world in World::all() {
        let secret = world.write("secret", "x");
        chmod(&secret, 0o600);
        fs::hard_link(&secret, world.src.join("a")).unwrap();
        let changed = Options { filemode: Some(0o666), ..options() };
        for result in [world.mv("a", "b", &changed), world.cp("a", "b", &changed)] {
            let error = result.unwrap_err();
            assert_eq!((error.kind, error.is_temporary()), (Fault::HardLinked, false));
        }
        assert_eq!(mode(&secret), 0o600);
        assert!(names(&world.dst).is_empty() && world.src.join("a").exists());
        world.cp("a", "c", &Options { allow_hard_links: true, ..changed }).unwrap();
        world.mv("a", "b", &options()).unwrap();
        assert_eq!(mode(&world.dst.join("b")), 0o600);
    }
}

#[test]
fn two_names_of_one_file_become_one() {
    let world = World::near();
    let from = world.write("a", "x");
    fs::hard_link(&from, world.dst.join("b")).unwrap();
    world.mv("a", "b", &Options { overwrite: true, ..options() }).unwrap();
    assert!(!from.exists() && world.dst.join("b").exists());
}

#[test]
fn a_file_is_not_moved_to_itself() {
    let world = World::near();
    let from = world.write("a", "x");
    let itself = crate::place(&world.src, &from);
    for overwrite in [false, true] {
        let options = Options { overwrite, ..options() };
        let error = pyinotifyd_sys::files::move_entry(itself, itself, &options).unwrap_err();
        assert_eq!(error.kind, Fault::SamePlace);
        let error = pyinotifyd_sys::files::copy_entry(itself, itself, &options).unwrap_err();
        assert_eq!(error.kind, Fault::SamePlace);
    }
    assert_eq!(fs::read(from).unwrap(), b"x");
}

#[test]
fn holes_stay_holes() {
    for world in World::all() {
        let path = world.src.join("sparse");
        let file = File::create_new(&path).unwrap();
        file.write_all_at(b"begin", 1 << 20).unwrap();
        file.write_all_at(b"end", 300 << 20).unwrap();
        file.set_len(512 << 20).unwrap();
        drop(file);
        world.cp("sparse", "b", &options()).unwrap();
        let copy = File::open(world.dst.join("b")).unwrap();
        let metadata = copy.metadata().unwrap();
        assert_eq!(metadata.len(), 512 << 20);
        assert!(metadata.blocks() * 512 < 1 << 20, "{} blocks", metadata.blocks());
        let mut bytes = [0; 5];
        copy.read_exact_at(&mut bytes, 1 << 20).unwrap();
        assert_eq!(&bytes, b"begin");
        copy.read_exact_at(&mut bytes[..3], 300 << 20).unwrap();
        assert_eq!(&bytes[..3], b"end");
    }
}

#[test]
fn users_attributes_go_along_and_others_do_not() {
    for world in World::all() {
        let from = File::open(world.write("a", "x")).unwrap();
        match rustix::fs::fsetxattr(&from, c"user.note", b"kept", XattrFlags::empty()) {
            Ok(()) => (),
            Err(errno) => {
                eprintln!("skipped: user attributes, because of {errno}");
                return;
            }
        }
        if is_root() {
            // cap_net_raw=p, as setcap writes it.
            let caps = [0, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            rustix::fs::fsetxattr(&from, c"security.capability", &caps, XattrFlags::empty())
                .unwrap();
            rustix::fs::fsetxattr(&from, c"trusted.x", b"y", XattrFlags::empty()).unwrap();
        }
        world.cp("a", "b", &options()).unwrap();
        let to = File::open(world.dst.join("b")).unwrap();
        let mut value = [0; 16];
        match rustix::fs::fgetxattr(&to, c"user.note", &mut value[..]) {
            Ok(len) => assert_eq!(&value[..len], b"kept"),
            Err(rustix::io::Errno::OPNOTSUPP) => eprintln!("skipped: no user attributes there"),
            Err(errno) => panic!("{errno}"),
        }
        for name in [c"security.capability", c"trusted.x"] {
            rustix::fs::fgetxattr(&to, name, &mut value[..]).unwrap_err();
        }
    }
}

#[test]
fn only_what_has_content_is_copied_but_everything_can_be_renamed_and_deleted() {
    for world in World::all() {
        let fifo = world.src.join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let error = world.cp("fifo", "b", &options()).unwrap_err();
        assert_eq!((error.kind, error.is_temporary()), (Fault::Special, false));
        let error = world.mv("fifo", "b", &Options { filemode: Some(0o600), ..options() });
        assert_eq!(error.unwrap_err().kind, Fault::Special);
        match world.mv("fifo", "b", &options()) {
            Ok(done) => assert_eq!(done.how, How::Renamed),
            Err(error) => assert_eq!(error.kind, Fault::Special),
        }
        mknodat(CWD, world.src.join("f2"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        rm(&world.src.join("f2"), &options()).unwrap();
        assert!(!world.src.join("f2").exists());
        world.verify_clean();
    }
}

#[test]
fn a_leased_file_is_busy_and_nobody_waits() {
    for world in World::all() {
        let from = world.write("a", "x");
        let holder = File::options().write(true).open(&from).unwrap();
        // SAFETY: no pointers; the lease ends with the descriptor. SIGIO is ignored, whose
        // default action would end the tests when the lease is to be broken.
        let leased = unsafe {
            libc::signal(libc::SIGIO, libc::SIG_IGN);
            libc::fcntl(holder.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK)
        };
        assert_eq!(leased, 0, "{}", std::io::Error::last_os_error());
        let error = world.cp("a", "b", &options()).unwrap_err();
        assert_eq!((error.kind, error.is_temporary()), (Fault::Busy, true), "{error}");
        let error = world.mv("a", "b", &Options { filemode: Some(0o600), ..options() });
        assert_eq!(error.unwrap_err().kind, Fault::Busy);
        assert!(names(&world.dst).is_empty());
        drop(holder);
        world.mv("a", "b", &options()).unwrap();
    }
}

#[test]
fn a_device_is_never_read() {
    let world = World::near();
    let zero = Path::new("/dev/zero");
    let error = pyinotifyd_sys::files::copy_entry(
        crate::place(Path::new("/dev"), zero),
        crate::place(&world.dst, &world.dst.join("b")),
        &options(),
    );
    assert_eq!(error.unwrap_err().kind, Fault::Special);
    // Regular, but without an end that its size would tell.
    let kmsg = Path::new("/proc/self/status");
    let done = pyinotifyd_sys::files::copy_entry(
        crate::place(Path::new("/proc/self"), kmsg),
        crate::place(&world.dst, &world.dst.join("b")),
        &options(),
    );
    assert_eq!(done.map_or(0, |done| done.bytes), 0);
}

#[test]
fn cancelling_leaves_everything_as_it_was() {
    let cancel = AtomicBool::new(true);
    let cancelled = Options { auto_create: true, rec: true, ..Options::new(&cancel) };
    for world in World::all() {
        world.write("a", "content");
        fs::create_dir(world.src.join("d")).unwrap();
        fs::write(world.src.join("d/f"), "x").unwrap();
        // Where the file system shares content at once, there is no moment to stop at.
        let Err(error) = world.cp("a", "b", &cancelled) else { continue };
        assert_eq!(error.kind, Fault::Cancelled);
        assert_eq!(world.cp("d", "e", &cancelled).unwrap_err().kind, Fault::Cancelled);
        assert_eq!(rm(&world.src.join("d"), &cancelled).unwrap_err().kind, Fault::Cancelled);
        assert!(names(&world.dst).is_empty() && world.src.join("d/f").exists());
        world.verify_clean();
    }
}

#[test]
fn a_source_that_cannot_be_deleted_is_in_one_place_only() {
    for world in World::all() {
        let from = File::open(world.write("a", "x")).unwrap();
        let flags = match rustix::fs::ioctl_getflags(&from) {
            Ok(flags) => flags,
            Err(errno) => {
                eprintln!("skipped: an immutable file, because of {errno}");
                return;
            }
        };
        if let Err(errno) = rustix::fs::ioctl_setflags(&from, flags | IFlags::IMMUTABLE) {
            eprintln!("skipped: an immutable file, because of {errno}");
            return;
        }
        let moved = world.mv("a", "b", &options());
        let changed = world.mv("a", "b", &Options { filemode: Some(0o600), ..options() });
        let deleted = rm(&world.src.join("a"), &options());
        rustix::fs::ioctl_setflags(&from, flags).unwrap();
        for result in [moved, changed, deleted] {
            let error = result.unwrap_err();
            assert_eq!((error.kind, error.is_temporary()), (Fault::Denied, false), "{error}");
        }
        assert_eq!(fs::read(world.src.join("a")).unwrap(), b"x");
        assert!(names(&world.dst).is_empty(), "the copy was taken away again");
    }
}

#[test]
fn names_of_any_bytes_are_names() {
    for world in World::all() {
        let name = std::ffi::OsStr::from_bytes(b"\xff\n;$(x) \x1b");
        let from = world.src.join(name);
        fs::write(&from, "x").unwrap();
        let to = world.dst.join(name);
        let (from, to) = (crate::place(&world.src, &from), crate::place(&world.dst, &to));
        pyinotifyd_sys::files::move_entry(from, to, &options()).unwrap();
        assert_eq!(names(&world.dst), [name.as_bytes().to_vec()]);
    }
}

#[test]
fn a_path_that_climbs_is_refused() {
    let world = World::near();
    world.write("a", "x");
    assert_eq!(world.mv("a", "../b", &options()).unwrap_err().kind, Fault::BadPath);
    assert_eq!(world.mv("a", "x/../../b", &options()).unwrap_err().kind, Fault::BadPath);
    assert_eq!(rm(&world.src.join(".."), &options()).unwrap_err().kind, Fault::BadPath);
}
