//! What the store can do on this disk: `cargo run --release --example store -- DIR`.

use std::{
    path::PathBuf,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use pyinotifyd::store::{Opened, Reply, RowState, Say, Store, TaskRow, Writer};
use pyinotifyd_core::{
    event::{Event, EventType, Origin},
    record::Wd,
    stamp::{Identity, IndexId, Stamp},
    task::TaskId,
    tree::{Kind, Seen},
};

fn main() {
    let dir = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = dir.join(format!("store-{}", std::process::id()));
    let (writer, replies) = open(&dir);
    commits(&writer, &replies);
    tasks(&writer, &replies);
    joins(&writer, &replies, "new directories of 20 files, joined", 0);
    joins(&writer, &replies, "known directories of 20 files, joined", 0);
    touches(&writer, &replies, &dir);
    let stats = Arc::clone(writer.stats());
    show("end", 1, || drop(writer));
    println!("{} commits, {} rows, {} bytes", stats.commits(), stats.rows(), stats.bytes());
    let mut count = 0;
    show("open", 1, || count = Store::open(&dir).expect("it was open").kept.tasks.len());
    println!("{count} tasks were read");
    std::fs::remove_dir_all(&dir).expect("it is ours");
}

fn open(dir: &std::path::Path) -> (Writer, mpsc::Receiver<Reply>) {
    let Opened { store, .. } = Store::open(dir).expect("a store can be made there");
    let (sender, replies) = mpsc::channel();
    let writer = store.start(Box::new(move |reply| drop(sender.send(reply))));
    (writer.expect("a thread can be started"), replies)
}

/// One after the other, each waited for.
fn commits(writer: &Writer, replies: &mpsc::Receiver<Reply>) {
    show("commits, each waited for", 500, || {
        for number in 0..500 {
            writer.say(Say::Task(task(u128::from(number))));
            writer.say(Say::Sync(number));
            wait(writer, replies, |reply| *reply == Reply::Committed(number));
        }
    });
}

fn tasks(writer: &Writer, replies: &mpsc::Receiver<Reply>) {
    show("tasks, a reply for each, none waited for", 100_000, || {
        for number in 0..100_000 {
            writer.say(Say::Task(task(u128::from(number))));
            writer.say(Say::Sync(number));
        }
        wait(writer, replies, |reply| *reply == Reply::Committed(99_999));
    });
}

fn joins(writer: &Writer, replies: &mpsc::Receiver<Reply>, what: &str, first: u64) {
    const COUNT: u64 = 10_000;
    show(what, COUNT, || {
        for ticket in first..first + COUNT {
            let identity = Identity { ino: ticket, btime: 1, dev: 0 };
            let listed = (0..20).map(|it| seen(ticket, it)).collect();
            writer.say(Say::Join { ticket, identity, listed, baseline: true });
        }
        for _ in 0..COUNT {
            wait(writer, replies, |reply| matches!(reply, Reply::Joined { .. }));
        }
    });
}

fn touches(writer: &Writer, replies: &mpsc::Receiver<Reply>, dir: &std::path::Path) {
    show("names of files that changed, confirmed", 50_000, || {
        for number in 0..50_000_u32 {
            let name = number.to_string().into_bytes();
            let path = dir.join("state.sqlite").into_os_string().into_encoded_bytes();
            writer.say(Say::Touch {
                dir: IndexId(1 + number % 1000),
                name: name.into(),
                path,
                probe: false,
            });
        }
        let begun = Instant::now();
        while writer.stats().dirty() > 0 || begun.elapsed() < Duration::from_millis(50) {
            if let Ok(Reply::WantFence(number)) = replies.recv_timeout(Duration::from_millis(10)) {
                writer.say(Say::Passed(number));
            }
        }
    });
}

/// Waits for a reply, and lets all fences pass at once.
fn wait(writer: &Writer, replies: &mpsc::Receiver<Reply>, is_it: impl Fn(&Reply) -> bool) {
    loop {
        match replies.recv().expect("the thread lives") {
            Reply::WantFence(number) => writer.say(Say::Passed(number)),
            reply if is_it(&reply) => return,
            Reply::Committed(_) | Reply::Joined { .. } | Reply::Trouble(_) => (),
        }
    }
}

fn show(what: &str, count: u64, work: impl FnOnce()) {
    let begun = Instant::now();
    work();
    let took = begun.elapsed();
    println!("{what}: {count} in {took:.2?}, {:.0}/s", count as f64 / took.as_secs_f64());
}

fn task(id: u128) -> TaskRow {
    let event = Event {
        event_type: EventType::CloseWrite,
        mask: EventType::CloseWrite.mask(),
        is_dir: false,
        pathname: format!("/srv/incoming/some/where/file-{id}").into_bytes().into(),
        src_pathname: None,
        name_len: 0,
        root_len: 13,
        wd: Wd(1),
        cookie: 0,
        origin: Origin::Live,
        subject: None,
    };
    TaskRow {
        id: TaskId(id.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)),
        scheduler: "job".into(),
        event: Arc::new(event),
        attempt: 1,
        first: 0,
        due: 0,
        dir: IndexId::NONE,
        state: RowState::Pending,
        stamp: None,
        leader: None,
    }
}

fn seen(dir: u64, number: u64) -> Seen {
    let stamp =
        Stamp { ino: dir * 100 + number, ctime: 1 << 60, mtime: 1 << 60, btime: 1 << 60, size: 5 };
    Seen { name: format!("file-{number}.txt").into_bytes().into(), kind: Kind::File, stamp }
}
