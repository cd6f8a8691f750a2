//! Directories with all that is in them.

use std::{
    fs,
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt, symlink},
    },
    path::Path,
    process::Command,
};

use pyinotifyd_sys::files::{Fault, How, Options};
use rustix::{
    fs::{CWD, FileType, Mode, OFlags, mkdirat, mknodat, openat},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use crate::{World, chmod, is_root, mode, names, options, owner, rm, tempdir};

/// A tree with a bit of everything that can be copied.
fn plant(world: &World) {
    let top = world.src.join("tree");
    fs::create_dir_all(top.join("a/b")).unwrap();
    fs::write(top.join("a/b/f"), "content").unwrap();
    fs::write(top.join("g"), "more").unwrap();
    fs::hard_link(top.join("g"), top.join("a/g2")).unwrap();
    symlink("/etc/shadow", top.join("a/link")).unwrap();
    chmod(&top.join("a/b/f"), 0o4751);
    chmod(&top.join("a"), 0o2755);
    chmod(&top, 0o750);
}

fn verify(top: &Path) {
    assert_eq!(fs::read(top.join("a/b/f")).unwrap(), b"content");
    assert_eq!(fs::read(top.join("g")).unwrap(), b"more");
    assert_eq!(fs::read(top.join("a/g2")).unwrap(), b"more");
    assert_eq!(fs::read_link(top.join("a/link")).unwrap(), Path::new("/etc/shadow"));
}

#[test]
fn a_tree_is_copied_and_moved() {
    for world in World::all() {
        plant(&world);
        let done = world.cp("tree", "copy", &options()).unwrap();
        assert_eq!((done.how, done.entries, done.bytes), (How::Copied, 7, 15));
        verify(&world.dst.join("copy"));
        assert_eq!(mode(&world.dst.join("copy")), 0o750);
        assert_eq!(mode(&world.dst.join("copy/a")), 0o755);
        assert_eq!(mode(&world.dst.join("copy/a/b/f")), 0o751);
        verify(&world.src.join("tree"));
        let before = fs::metadata(world.src.join("tree/a")).unwrap().mtime();
        world.mv("tree", "moved", &options()).unwrap();
        verify(&world.dst.join("moved"));
        assert_eq!(fs::metadata(world.dst.join("moved/a")).unwrap().mtime(), before);
        assert_eq!(mode(&world.dst.join("moved/a")), 0o2755, "as a rename would leave it");
        assert!(names(&world.src).is_empty());
        world.verify_clean();
    }
}

#[test]
fn a_tree_gets_the_look_everywhere() {
    for world in World::all() {
        plant(&world);
        fs::remove_file(world.src.join("tree/a/g2")).unwrap();
        let mut changed = Options { filemode: Some(0o640), dirmode: Some(0o710), ..options() };
        if is_root() {
            (changed.user, changed.group) = (Some(77), Some(78));
        }
        world.cp("tree", "copy", &changed).unwrap();
        assert_eq!(mode(&world.dst.join("copy")), 0o710);
        assert_eq!(mode(&world.dst.join("copy/a")), 0o710);
        assert_eq!(mode(&world.dst.join("copy/a/b/f")), 0o640);
        world.mv("tree", "moved", &changed).unwrap();
        assert_eq!(mode(&world.dst.join("moved")), 0o710);
        assert_eq!(mode(&world.dst.join("moved/a")), 0o710);
        assert_eq!(mode(&world.dst.join("moved/a/b/f")), 0o640);
        if is_root() {
            assert_eq!(owner(&world.dst.join("copy/a/b/f")), (77, 78));
            assert_eq!(owner(&world.dst.join("moved")), (77, 78));
            assert_eq!(owner(&world.dst.join("moved/a/b/f")), (77, 78));
        }
    }
}

#[test]
fn a_tree_with_something_that_cannot_be_copied_is_left_alone() {
    let Some(world) = World::far() else { return };
    plant(&world);
    mknodat(CWD, world.src.join("tree/a/fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    for result in [world.mv("tree", "b", &options()), world.cp("tree", "b", &options())] {
        let error = result.unwrap_err();
        assert_eq!(error.kind, Fault::Special);
        assert!(error.path.ends_with(b"tree/a/fifo"));
    }
    verify(&world.src.join("tree"));
    assert!(names(&world.dst).is_empty());
}

#[test]
fn a_tree_is_not_copied_into_itself() {
    let world = World::near();
    plant(&world);
    let tree = world.src.join("tree");
    let inside = tree.join("a/copy");
    let error = pyinotifyd_sys::files::copy_entry(
        crate::place(&world.src, &tree),
        crate::place(&world.src, &inside),
        &options(),
    );
    assert_eq!(error.unwrap_err().kind, Fault::IntoItself);
    verify(&tree);
    assert_eq!(names(&tree.join("a")).len(), 3);
}

#[test]
fn a_full_directory_is_deleted_only_if_asked() {
    let world = World::near();
    plant(&world);
    let top = world.src.join("tree");
    let error = rm(&top, &options()).unwrap_err();
    assert_eq!((error.kind, error.is_temporary()), (Fault::NotEmpty, false));
    verify(&top);
    let done = rm(&top, &Options { rec: true, ..options() }).unwrap();
    assert_eq!((done.how, done.entries), (How::Removed, 7));
    assert!(!top.exists());
    fs::create_dir(&top).unwrap();
    rm(&top, &options()).unwrap();
    assert!(!top.exists());
}

#[test]
fn deleting_a_tree_follows_no_link() {
    let world = World::near();
    let outside = tempdir();
    fs::write(outside.path().join("f"), "x").unwrap();
    fs::create_dir(world.src.join("d")).unwrap();
    symlink(outside.path(), world.src.join("d/link")).unwrap();
    rm(&world.src.join("d"), &Options { rec: true, ..options() }).unwrap();
    assert!(outside.path().join("f").exists());
}

/// Makes a chain of directories that is longer than any path may be, with a file at its end.
fn dig(top: &Path, depth: usize) {
    fs::create_dir(top).unwrap();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut dir = openat(CWD, top, flags, Mode::empty()).unwrap();
    for _ in 0..depth {
        mkdirat(&dir, c"a-long-enough-name", Mode::RWXU).unwrap();
        dir = openat(&dir, c"a-long-enough-name", flags, Mode::empty()).unwrap();
    }
    let file: OwnedFd = openat(&dir, c"f", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
    rustix::io::write(&file, b"deep").unwrap();
}

/// Runs in a process of its own, since the limit holds for a whole process.
#[test]
fn deep_trees_need_few_descriptors_child() {
    if std::env::var_os("FILES_DEEP").is_none() {
        return;
    }
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: hard }).unwrap();
    for world in World::all() {
        dig(&world.src.join("deep"), 1500);
        world.cp("deep", "copy", &options()).unwrap();
        world.mv("deep", "moved", &options()).unwrap();
        assert!(!world.src.join("deep").exists());
        // A file at the end of such a path is an ordinary source, too.
        let mut path = world.dst.join("moved");
        path.extend(std::iter::repeat_n("a-long-enough-name", 1500));
        path.push("f");
        let from = crate::place(&world.dst, &path);
        let to = world.dst.join("f");
        pyinotifyd_sys::files::move_entry(from, crate::place(&world.dst, &to), &options()).unwrap();
        assert_eq!(fs::read(to).unwrap(), b"deep");
        for name in ["copy", "moved"] {
            let done = rm(&world.dst.join(name), &Options { rec: true, ..options() }).unwrap();
            assert!(done.entries > 1500);
        }
        assert_eq!(names(&world.dst), [b"f"]);
    }
    println!("deep done");
}

#[test]
fn deep_trees_need_few_descriptors() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "trees::deep_trees_need_few_descriptors_child", "--nocapture"])
        .env("FILES_DEEP", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("deep done"), "{output:?}");
}
