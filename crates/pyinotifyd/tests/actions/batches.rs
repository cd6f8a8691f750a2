//! Many paths for one command.

use std::{collections::BTreeSet, fs, os::unix::ffi::OsStrExt};

use crate::support::{World, name, until};

const FILES: usize = 3_000;

/// Names of 200 bytes and more, some of them of several lines.
fn file_name(number: usize) -> Vec<u8> {
    let mut name = format!("{number:06}").into_bytes();
    name.resize(200, b'n');
    if number.is_multiple_of(10) {
        name.extend(b"\n* $(id) '\" \xff");
    }
    name
}

/// Runs all in batches; gives how many commands there were.
fn batched(command: &str, words: &str, input: &str) -> usize {
    let world = World::new();
    let mut gate = world.gate();
    let daemon = world.start(&format!(
        "
[scheduler.job]
exec = [\"/bin/sh\", \"-c\", \"echo $PYINOTIFYD_COUNT >>$DIR/counts; read x <$DIR/gate; \
         {command}\"{words}]
batch = {{ max_items = 100000, input = \"{input}\" }}
slots = 1
[scheduler.seen]
log = \"seen {{basename}}\"
include_filter = {{ glob = \"last\" }}
[[watch]]
path = \"$DIR/in\"
event_map = {{ IN_CLOSE_WRITE = [\"job\", \"seen\"] }}
"
    ));
    // All others gather while the first command waits.
    let first = world.write("in/first", "");
    until("the first command runs", || world.exists("counts"));
    let mut want: BTreeSet<Vec<u8>> = BTreeSet::from([first.as_os_str().as_bytes().to_vec()]);
    for number in 0..FILES {
        let path = world.write(world.path("in").join(name(&file_name(number))), "");
        want.insert(path.as_os_str().as_bytes().to_vec());
    }
    let last = world.write("in/last", "");
    want.insert(last.as_os_str().as_bytes().to_vec());
    daemon.wait_for("seen last");
    gate.open(100);
    daemon.wait_for_count("job *done for ", 2);
    let got = fs::read(world.path("got")).unwrap();
    let got: Vec<_> = got.strip_suffix(b"\0").unwrap().split(|byte| *byte == 0).collect();
    assert_eq!(got.len(), FILES + 2);
    let got: BTreeSet<_> = got.into_iter().map(<[u8]>::to_vec).collect();
    assert!(got == want, "each path once, byte for byte");
    let counts = world.read("counts");
    let counts: Vec<usize> = counts.lines().map(|it| it.parse().unwrap()).collect();
    assert_eq!(counts.iter().sum::<usize>(), FILES + 2);
    counts.len()
}

#[test]
fn paths_as_arguments_are_never_cut_off() {
    let print = "printf '%s\\\\0' \\\"$@\\\" >>$DIR/got";
    let commands = batched(print, ", \"sh\", \"{pathname}\"", "args");
    assert!((2..=6).contains(&commands), "{commands} commands");
}

#[test]
fn paths_on_standard_input_come_to_one_command() {
    assert_eq!(batched("cat >>$DIR/got", "", "stdin"), 2);
}
