//! What the store reads of the files that it is told of.
//!
//! It is read on another thread, because a file system may not answer: that of a server that is away, or
//! of a program that hangs (FUSE). After a while such a file system is given up, with the thread that
//! hangs in it, until that has come back. What cannot be looked at is not known: it will be told once
//! more after a restart, and all others go on.

use std::{
    collections::HashMap,
    io,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use pyinotifyd_core::{
    path::{below, shown},
    stamp::Stamp,
    time::Human,
    tree::Kind,
};
use pyinotifyd_sys::{enter, lease, mounts::MountWatch, stamp};

use super::index::{Looked, Place};
use crate::errors::words;

/// So long a look may take. Meanwhile nothing is written, and so no run starts.
const PATIENCE: Duration = Duration::from_secs(5);

/// So long all looks together may take that are asked for at once: a file system that answers slowly
/// is given up as well.
const ALTOGETHER: Duration = Duration::from_secs(30);

/// On a file system that counts whole seconds a change is visible in the next one; on FAT in the
/// next but one.
const COARSE: Duration = Duration::from_secs(2);

/// What one look finds.
pub(super) type Sight = Box<dyn FnMut(&Place) -> Looked + Send>;

/// Looks at files, within bounds.
pub(super) struct Eyes {
    new: Box<dyn Fn() -> Sight + Send>,
    patience: Duration,
    altogether: Duration,
    thread: Option<Thread>,
    /// Whether it was told that no thread can be started.
    blind: bool,
    /// Where file systems are that do not answer, and the looks that hang in them.
    hung: Vec<(Box<[u8]>, Receiver<Looked>)>,
}

/// A thread that looks. It ends when nobody asks it any more.
struct Thread {
    asked: Sender<Vec<Place>>,
    found: Receiver<Looked>,
}

impl Eyes {
    /// Those that see by what `new` makes. Nothing is started before the first look.
    pub(super) fn new(new: impl Fn() -> Sight + Send + 'static) -> Self {
        Self {
            new: Box::new(new),
            patience: PATIENCE,
            altogether: ALTOGETHER,
            thread: None,
            blind: false,
            hung: Vec::new(),
        }
    }

    /// From now on all looks together take no longer than one may: the end waits for them.
    pub(super) fn hurry(&mut self) {
        self.altogether = self.altogether.min(self.patience);
    }

    #[cfg(test)]
    pub(super) fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The states that are to be kept with tasks. One that may change without showing is none.
    pub(super) fn stamps(&mut self, paths: Vec<Vec<u8>>) -> Vec<Option<Stamp>> {
        let places = paths.into_iter().map(|path| Place { path, probe: false });
        let places: Vec<Place> = places.collect();
        let states = self.look(&places).into_iter().map(|it| match it {
            Looked::Is(state) => state.map(|it| it.1),
            Looked::Racy | Looked::Open => None,
        });
        states.collect()
    }

    /// What is at these places, in their order. What cannot be looked at is to be looked at later.
    pub(super) fn look(&mut self, places: &[Place]) -> Vec<Looked> {
        self.welcome_back();
        let mut found = vec![Looked::Racy; places.len()];
        let mut from = 0;
        loop {
            let hangs = |it: &Place| self.hung.iter().any(|(at, _)| below(&it.path, at).is_some());
            let asked: Vec<usize> =
                (from..places.len()).filter(|it| !hangs(&places[*it])).collect();
            let Some(hung) = self.ask(places, &asked, &mut found) else { return found };
            self.give_up(&places[hung].path);
            from = hung + 1;
        }
    }

    /// Looks at those; gives back the one at which it took too long.
    fn ask(&mut self, places: &[Place], asked: &[usize], found: &mut [Looked]) -> Option<usize> {
        if asked.is_empty() {
            return None;
        }
        let thread = match self.thread.take().map_or_else(|| Thread::start((self.new)()), Ok) {
            Ok(thread) => {
                self.blind = false;
                self.thread.insert(thread)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.blind, true) {
                    let why = words(&error);
                    log::error!("files are not looked at: cannot start a thread: {why}");
                }
                return None;
            }
        };
        // Should it have ended, by a fault of its own, that is seen when it does not answer.
        let until = Instant::now() + self.altogether;
        let _ = thread.asked.send(asked.iter().map(|it| places[*it].clone()).collect());
        for at in asked {
            let left = until.saturating_duration_since(Instant::now());
            match thread.found.recv_timeout(self.patience.min(left)) {
                Ok(looked) => found[*at] = looked,
                Err(RecvTimeoutError::Timeout) => return Some(*at),
                Err(RecvTimeoutError::Disconnected) => {
                    self.thread = None;
                    return None;
                }
            }
        }
        None
    }

    /// The thread hangs in the file system of this path: others are looked at by a new one.
    fn give_up(&mut self, path: &[u8]) {
        let Some(thread) = self.thread.take() else { return };
        let mount = mount_of(path);
        log::warn!(
            "the file system at {} has not answered for {}: what changes there is not known to \
             have been told until it does",
            shown(&mount),
            Human(self.patience)
        );
        self.hung.push((mount, thread.found));
    }

    /// A look that has come back says that its file system answers again.
    fn welcome_back(&mut self) {
        self.hung.retain(|(mount, look)| {
            let hangs = look.try_recv() == Err(TryRecvError::Empty);
            if !hangs {
                log::info!("the file system at {} answers again", shown(mount));
            }
            hangs
        });
    }
}

impl Thread {
    fn start(mut sight: Sight) -> io::Result<Self> {
        let (asked, questions) = channel::<Vec<Place>>();
        let (answers, found) = channel();
        thread::Builder::new().name("store-eyes".into()).spawn(move || {
            for place in questions.into_iter().flatten() {
                if answers.send(sight(&place)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { asked, found })
    }
}

/// The mount that a path is in. The table is the kernel's own: reading it asks no file system.
fn mount_of(path: &[u8]) -> Box<[u8]> {
    let table = MountWatch::new();
    let mounts = table.iter().flat_map(MountWatch::known).map(|it| &it.path);
    let longest = mounts.filter(|it| below(path, it).is_some()).max_by_key(|it| it.len());
    longest.cloned().unwrap_or_else(|| path.into())
}

/// What `statx(2)` tells, and whether that may be believed. A file whose change is younger than
/// `racy` may change again without that showing, unless its file system is known to be `fine`.
pub(super) fn sight(racy: Duration, fine: bool) -> Sight {
    // Whether a device is known to give each change a time of its own.
    let mut devices = HashMap::new();
    Box::new(move |place| {
        // What cannot be looked at is as good as absent: it will be told again.
        let Ok(found) = stamp::look(&place.path) else { return Looked::Is(None) };
        let mut is_fine =
            || fine && *devices.entry(found.dev).or_insert_with(|| stamp::is_fine(&place.path));
        if is_young(&found, racy) && !is_fine() {
            return Looked::Racy;
        }
        let kind = match found.kind {
            enter::Kind::Directory => Kind::Directory,
            enter::Kind::File => Kind::File,
            enter::Kind::Other => Kind::Other,
        };
        // Asked behind the look: what is closed now has had this state, or will have an event.
        if place.probe
            && kind == Kind::File
            && lease::is_closed_path(&place.path) == lease::Closed::No
        {
            return Looked::Open;
        }
        let stamp::Look { ino, ctime, mtime, btime, size, .. } = found;
        Looked::Is(Some((kind, Stamp { ino, ctime, mtime, btime, size })))
    })
}

fn is_young(found: &stamp::Look, racy: Duration) -> bool {
    if racy.is_zero() {
        return false;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let changed = Duration::from_nanos(found.ctime.try_into().unwrap_or(0));
    // A time in the future is not raced with either: the next change is told by another one.
    let window = match found.ctime % 1_000_000_000 {
        0 => racy.max(COARSE),
        _ => racy,
    };
    now.abs_diff(changed) < window
}

/// The state of a path as rounds see it, for tests.
#[cfg(test)]
pub(super) fn state(path: &[u8]) -> super::index::State {
    match sight(Duration::ZERO, false)(&Place { path: path.into(), probe: false }) {
        Looked::Is(state) => state,
        Looked::Racy | Looked::Open => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;
    use crate::log::heard;

    const LONG: Duration = Duration::from_secs(60);

    fn places(paths: &[&str]) -> Vec<Place> {
        paths.iter().map(|it| Place { path: it.as_bytes().into(), probe: false }).collect()
    }

    /// Eyes to which `/proc/x` hangs until somebody says so.
    fn eyes() -> (Eyes, Sender<()>) {
        let (release, released) = channel();
        let released = Arc::new(Mutex::new(released));
        let eyes = Eyes::new(move || {
            let released = Arc::clone(&released);
            Box::new(move |place| {
                if place.path == b"/proc/x" {
                    let released = released.lock().unwrap_or_else(PoisonError::into_inner);
                    let _ = released.recv();
                }
                Looked::Is(None)
            })
        });
        (eyes, release)
    }

    #[test]
    fn a_file_system_that_does_not_answer_is_given_up_and_others_are_looked_at() {
        let (eyes, release) = eyes();
        let mut eyes = eyes.with_patience(Duration::from_millis(500));
        let unknown = Looked::Racy;
        let known = Looked::Is(None);
        let paths = places(&["/a", "/proc/x", "/b", "/proc/y"]);
        let mut said = heard(|| {
            assert_eq!(eyes.look(&paths), [known, unknown, known, unknown]);
        });
        // From now on nobody waits for it.
        let mut eyes = eyes.with_patience(LONG);
        assert_eq!(eyes.look(&places(&["/proc/x", "/proc/y", "/c"])), [unknown, unknown, known]);
        assert_eq!(eyes.stamps(vec![b"/proc/y".to_vec()]), [None]);
        release.send(()).unwrap();
        drop(release);
        said.extend(heard(|| {
            while eyes.look(&places(&["/proc/y"])) != [known] {
                thread::yield_now();
            }
        }));
        insta::assert_snapshot!("hung", said.join("\n"));
        assert_eq!(eyes.look(&places(&["/proc/x"])), [known]);
        assert!(eyes.hung.is_empty());
    }

    #[test]
    fn a_look_that_fails_by_a_fault_of_its_own_is_not_waited_for() {
        let mut eyes = Eyes::new(|| Box::new(|_| panic!("on purpose"))).with_patience(LONG);
        for _ in 0..2 {
            assert_eq!(eyes.look(&places(&["/a", "/b"])), [Looked::Racy; 2]);
        }
    }
}
