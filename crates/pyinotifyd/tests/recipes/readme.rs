//! What the README shows: its first command and its recipes.

use std::{
    fs,
    io::Read,
    process::{Command, Stdio},
};

use super::support::{BINARY, Recipe, Running, blocks, mode, names, write};

const README: &str = include_str!("../../../../README.md");

#[test]
fn the_first_command_shows_what_the_readme_says() {
    let block = blocks(section("## Try it"), "sh").remove(0);
    let command = block.strip_prefix("mkdir -p /tmp/inbox && cargo run --release -- ").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let inbox = dir.path().join("inbox");
    fs::create_dir(&inbox).unwrap();
    let command = command.replace("/tmp/inbox", inbox.to_str().unwrap());
    let mut child = Command::new("/bin/sh");
    child.arg("-c").arg(format!("exec {BINARY} {command}")).stdout(Stdio::piped());
    let mut running = Running::start(child, "ready, 1 Watch, 1 directory", inbox.clone());
    write(inbox.join("a file"), "x");
    running.wait(": done for ");
    let mut stdout = running.child.stdout.take().unwrap();
    running.stop();
    let mut said = String::new();
    stdout.read_to_string(&mut said).unwrap();
    assert_eq!(said, format!("got {}/a file\n", inbox.display()));
}

#[test]
fn a_recipe_runs_a_program_on_each_finished_upload() {
    let recipe = recipe(0);
    recipe.program("/usr/local/bin/scan", "");
    let mut daemon = recipe.start();
    let names = ["a b", "$(id)", "-rf", "half.part"];
    for name in names {
        write(recipe.path("/srv/upload").join(name), "x");
    }
    // The last one is taken as soon as it has its final name, which is told behind all others.
    fs::rename(recipe.path("/srv/upload/half.part"), recipe.path("/srv/upload/whole")).unwrap();
    daemon.stop_after(4);
    let expected: [&[u8]; 4] = [b"$(id)", b"-rf", b"a b", b"whole"];
    let expected = expected.map(|it| vec![recipe.bytes("/srv/upload", it)]);
    assert_eq!(recipe.ran_with("scan"), expected);
}

#[test]
fn a_recipe_reloads_a_service_once_however_many_files_changed() {
    let recipe = recipe(1);
    recipe.program("/usr/bin/systemctl", "");
    write(recipe.path("/etc/nginx").join("old.conf"), "x");
    let mut daemon = recipe.start();
    for name in ["a.conf", "b.conf", "sites/c.conf", ".d.swp"] {
        let path = recipe.path("/etc/nginx").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write(path, "x");
    }
    fs::remove_file(recipe.path("/etc/nginx/old.conf")).unwrap();
    daemon.stop_after(1);
    assert_eq!(recipe.ran_with("systemctl"), [[b"reload".to_vec(), b"nginx".to_vec()]]);
}

#[test]
fn a_recipe_files_away_what_its_name_says() {
    let recipe = recipe(2);
    let mut daemon = recipe.start();
    let scans = recipe.path("/srv/scans");
    write(scans.join("readme.txt"), "stays");
    write(scans.join("2026-03-invoice.pdf"), "new");
    daemon.wait(&format!(": moved {}/2026-03-invoice.pdf to ", scans.display()));
    daemon.stop();
    let moved = recipe.path("/srv/archive/2026/03-invoice.pdf");
    assert_eq!(fs::read_to_string(&moved).unwrap(), "new");
    assert_eq!(mode(&moved), 0o640);
    assert_eq!(names(&scans), ["readme.txt"]);
}

/// The recipe with this number.
fn recipe(number: usize) -> Recipe {
    Recipe::new("config.toml", blocks(section("## Recipes"), "toml").remove(number))
}

/// What stands below a heading of the README, up to the next of its rank.
fn section(heading: &str) -> &'static str {
    let (_, below) = README.split_once(&format!("\n{heading}\n")).expect("the heading is there");
    below.split("\n## ").next().unwrap()
}
