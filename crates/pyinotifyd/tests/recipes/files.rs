//! The recipes for single files: small pictures, what a mount brings, what is over.

use std::{
    fs::{self, File},
    process::Command,
};

use super::{
    starts,
    support::{HOSTILE, Recipe, mode, named, names, read, write},
};

#[test]
fn a_picture_has_a_small_one_that_goes_with_it() {
    let recipe = Recipe::page("thumbnails");
    let convert = "for last; do :; done\n{ echo small; cat; } > \"${last#jpeg:}\"\n\
                   ! grep -q broken \"${last#jpeg:}\" || { echo 'no picture' >&2; exit 1; }";
    recipe.program("/usr/bin/convert", convert);
    recipe.program("/usr/bin/rm", "exec rm \"$@\"");
    let mut daemon = recipe.start();
    let photos = recipe.path("/srv/photos");
    for name in HOSTILE {
        write(photos.join(named(name, ".JPG")), "picture");
    }
    write(photos.join("broken.jpg"), "broken");
    write(photos.join("notes.txt"), "x");
    daemon.wait_count(": done for ", HOSTILE.len());
    daemon.wait_count(" - ERROR - ", 1);
    let mut small: Vec<_> = HOSTILE.iter().map(|it| named(it, ".JPG.jpg")).collect();
    small.sort();
    assert_eq!(names(recipe.path("/srv/thumbs")), small);
    assert_eq!(read(recipe.path("/srv/thumbs/a b.JPG.jpg")), "small\npicture");
    assert_eq!(mode(recipe.path("/srv/thumbs/a b.JPG.jpg")), 0o644);
    for args in recipe.ran_with("convert") {
        let before =
            ["-", "-auto-orient", "-thumbnail", "400x400>"].map(|it| it.as_bytes().to_vec());
        assert_eq!(args[..4], before);
        assert!(args[4].starts_with(b"jpeg:") && args.len() == 5, "{args:?}");
    }
    assert_eq!(recipe.ran_with("convert").len(), HOSTILE.len() + 1);
    for name in HOSTILE {
        fs::remove_file(photos.join(named(name, ".JPG"))).unwrap();
    }
    daemon.wait_count(": done for ", 2 * HOSTILE.len());
    daemon.sync();
    daemon.stop();
    assert_eq!(names(recipe.path("/srv/thumbs")), [""; 0]);
    let mut gone: Vec<_> = HOSTILE
        .iter()
        .map(|it| {
            let path = recipe.bytes("/srv/thumbs", named(it, ".JPG.jpg").as_encoded_bytes());
            vec![b"--force".to_vec(), b"--".to_vec(), path]
        })
        .collect();
    gone.sort();
    assert_eq!(recipe.ran_with("rm"), gone);
}

#[test]
fn what_a_mount_brings_is_moved_from_it_each_time_it_comes() {
    let recipe = Recipe::page("removable");
    // The directory that the card is mounted on is there without it, and is empty.
    fs::remove_dir(recipe.path("/media/camera/DCIM")).unwrap();
    let point = recipe.path("/media/camera");
    let Some(mut daemon) = recipe.start_apart(&point) else { return };
    let pid = daemon.child.id().to_string();
    let inside = |script: &str| {
        let _start = starts::one();
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &pid, "/bin/sh", "-e", "-c", script]).arg(&point);
        let done = command.output().unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    // Its files are there before it is, as a card is put in.
    let card = recipe.mkdir("card");
    recipe.mkdir("media/slot");
    let put_in = "mount -t tmpfs tmpfs \"$0/../slot\"; cp -a \"$0/../../card/.\" \"$0/../slot\"; \
                  mount --move \"$0/../slot\" \"$0\"";
    let pull_out = "find \"$0\" -type f -printf '%f\\n'; umount \"$0\"";
    for round in 0..2 {
        for (number, name) in HOSTILE.iter().enumerate() {
            let folder = card.join("DCIM").join(format!("{round}{}", number % 2));
            fs::create_dir_all(&folder).unwrap();
            write(folder.join(named(name, ".JPG")), "picture");
        }
        write(card.join("DCIM/index.dat"), "stays");
        inside(put_in);
        daemon.wait_count(": moved ", (round + 1) * HOSTILE.len());
        daemon.sync();
        assert_eq!(inside(pull_out), "index.dat\n");
        fs::remove_dir_all(&card).unwrap();
        daemon.sync();
    }
    daemon.stop();
    assert_eq!(daemon.count(" - ERROR - "), 0, "{:#?}", daemon.log);
    let mut moved = Vec::new();
    for folder in ["00", "01", "10", "11"] {
        let folder = recipe.path("/srv/photos").join(folder);
        moved.extend(names(&folder));
        assert_eq!(mode(folder), 0o755);
    }
    let mut wanted: Vec<_> = HOSTILE.iter().map(|it| named(it, ".JPG")).collect();
    wanted.extend(wanted.clone());
    wanted.sort();
    moved.sort();
    assert_eq!(moved, wanted);
}

#[test]
fn what_was_left_alone_is_deleted_also_if_the_daemon_was_killed_meanwhile() {
    let recipe = Recipe::page("expire").instead("delay = \"1h\"", "delay = \"1s\"");
    write(recipe.path("/srv/exchange/old"), "was there before");
    write(recipe.path("kept"), "x");
    let mut daemon = recipe.start();
    let exchange = recipe.path("/srv/exchange");
    recipe.mkdir("/srv/exchange/sub");
    for name in HOSTILE {
        write(exchange.join(named(name, "")), "x");
        write(exchange.join("sub").join(named(name, "")), "x");
    }
    std::os::unix::fs::symlink(recipe.path("kept"), exchange.join("link")).unwrap();
    write(exchange.join("README"), "stays");
    let open = File::create(exchange.join("open")).unwrap();
    daemon.sync();
    daemon.kill();
    let mut daemon = recipe.start();
    daemon.wait("/open is not ready: open for writing");
    drop(open);
    daemon.wait("/open after ");
    while names(exchange.join("sub")) != [""; 0] || names(&exchange).len() > 3 {
        daemon.wait(" after ");
    }
    daemon.sync();
    daemon.stop();
    assert_eq!(names(&exchange), ["README", "old", "sub"]);
    assert!(recipe.path("kept").exists());
    assert_eq!(daemon.count(" - ERROR - "), 0, "{:#?}", daemon.log);
}
