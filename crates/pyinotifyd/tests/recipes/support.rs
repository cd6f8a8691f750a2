//! A page's recipe in a folder of the test's own, and the daemon that runs it.

use std::{
    ffi::OsStr,
    fmt::Write as _,
    fs,
    ops::{Deref, DerefMut},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::{program::Program, starts};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_pyinotifyd");

/// Where the paths of the pages begin.
const ROOTS: [&str; 6] = ["/etc/", "/media/", "/srv/", "/usr/", "/var/", "\"/etc\""];

/// Who stands for the accounts of the pages.
const NOBODY: &str = "nobody";

/// Put behind each configuration: what [`Running::sync`] waits for.
const SYNC: &str = r#"
[log]
levels = { sync = "warning" }
[scheduler.sync]
log = "SYNC {basename}"
log_level = "warning"
[[watch]]
path = "@/sync"
event_map = { IN_CREATE = "sync" }
"#;

/// The same for a config.py.
const PYTHON_SYNC: &str = r#"
setLoglevel(WARNING, "sync")

def _sync(event):
    logging.getLogger("sync").warning("SYNC " + event.name)

incoming = [incoming, Watch("@/sync", {"IN_CREATE": _sync})]
"#;

/// Names that want to be more than a name; none of them has a slash.
pub(crate) const HOSTILE: [&[u8]; 7] = [
    b"a b",
    b"$(touch harm)`touch harm`",
    b"-rf",
    b"new\nline",
    b"'quo\"te\\",
    b"\xff\xfe no text",
    b"* {pathname} %s;&|",
];

/// A name with this at its end.
pub(crate) fn named(name: &[u8], end: &str) -> std::ffi::OsString {
    OsStr::from_bytes(&[name, end.as_bytes()].concat()).to_owned()
}

/// Writes a file. When this returns it is closed.
pub(crate) fn write(path: impl AsRef<Path>, text: impl AsRef<[u8]>) {
    let _apart = starts::none();
    fs::write(path, text).unwrap();
}

pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names in a directory, in order.
pub(crate) fn names(dir: impl AsRef<Path>) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|it| it.unwrap().file_name()).collect();
    names.sort();
    names
}

pub(crate) fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// A configuration of a page, with its paths in a folder of the test's own.
pub(crate) struct Recipe {
    dir: TempDir,
    text: String,
    file: &'static str,
    /// As whom its commands run, if not as we.
    user: Option<String>,
}

/// One run of a program that a script stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ran {
    /// Its name, without the directories before it.
    pub(crate) program: String,
    /// The user that it ran as.
    pub(crate) uid: u32,
    /// Its arguments, byte for byte.
    pub(crate) args: Vec<Vec<u8>>,
}

impl Recipe {
    /// The recipe of the page `docs/recipes/NAME.md`: its configuration, the directories that it
    /// has made, and its programs.
    pub(crate) fn page(name: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let page = read(root.join("docs/recipes").join(name).with_extension("md"));
        let (file, text) =
            match (blocks(&page, "toml").as_slice(), blocks(&page, "python").as_slice()) {
                ([toml], []) => ("config.toml", toml.clone()),
                ([], [python]) => ("config.py", python.clone()),
                _ => panic!("{name} has not one configuration"),
            };
        let mut recipe = Self::new(file, text);
        recipe.take_user();
        for line in blocks(&page, "console").iter().flat_map(|it| it.lines()) {
            recipe.prepare(line.strip_prefix("# ").expect("a command for root begins so"));
        }
        for (path, text) in programs(&page) {
            let text = recipe.placed(&text);
            recipe.install(&path, &text);
        }
        recipe
    }

    /// A configuration of any page.
    pub(crate) fn new(file: &'static str, text: String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Other users have to get to what is in it.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for (name, mode) in [("sync", 0o755), ("ran", 0o1777), ("said", 0o1777)] {
            let path = dir.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let mut recipe = Self { dir, text, file, user: None };
        recipe.text = recipe.placed(&recipe.text);
        let paths = recipe.text.lines().filter_map(|it| it.trim().strip_prefix("path = \""));
        for path in
            paths.chain(recipe.text.lines().filter_map(|it| it.trim().strip_prefix("path=\"")))
        {
            fs::create_dir_all(path.trim_end_matches(['"', ','])).unwrap();
        }
        recipe
    }

    /// A text with the pages' paths in this folder.
    fn placed(&self, text: &str) -> String {
        let top = self.dir.path().to_str().unwrap();
        let mut text = text.replace("#!/bin/", "#!//bin/");
        for root in ROOTS {
            let placed = root.replacen('/', &format!("{top}/"), 1);
            text = text.replace(root, &placed);
        }
        text.replace("#!//bin/", "#!/bin/")
    }

    /// Has `nobody` stand for the user of the page. Without root nobody can be anybody else: then
    /// the line is taken out, and that is said.
    fn take_user(&mut self) {
        let lines = self.text.lines().filter_map(|it| it.strip_prefix("user = \""));
        let mut users: Vec<_> = lines.map(|it| it.trim_end_matches('"').to_owned()).collect();
        users.dedup();
        let user = match users.as_slice() {
            [] => return,
            [user] => user.clone(),
            _ => panic!("more than one user: {users:?}"),
        };
        let line = format!("user = \"{user}\"\n");
        if rustix::process::geteuid().is_root() {
            self.text = self.text.replace(&line, &format!("user = \"{NOBODY}\"\n"));
        } else {
            eprintln!("skipped: the command as another user, because this is not root");
            self.text = self.text.replace(&line, "");
        }
        self.user = Some(user);
    }

    /// Runs a command that the page shows for before.
    fn prepare(&self, line: &str) {
        let mut line = self.placed(line);
        if let Some(user) = &self.user {
            let root = rustix::process::geteuid().is_root();
            let owner = if root { format!("-o {NOBODY}") } else { String::new() };
            line = line.replace(&format!("-o {user}"), &owner);
        }
        // `install -d` gives only the last directory its owner and mode.
        let above =
            fs::create_dir_all(self.path("/srv")).and(fs::create_dir_all(self.path("/var/lib")));
        above.unwrap();
        let _start = starts::one();
        let done = Command::new("/bin/sh").arg("-c").arg(&line).output().unwrap();
        assert!(done.status.success(), "{line}: {done:?}");
    }

    /// Writes something else in place of what is on the page, which has to be there.
    pub(crate) fn instead(mut self, of: &str, text: &str) -> Self {
        assert!(self.text.contains(of), "{of} is not in {}", self.text);
        self.text = self.text.replace(of, text);
        self
    }

    /// Where a path of the recipe is.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path.trim_start_matches('/'))
    }

    /// The same as bytes, with a name behind it.
    pub(crate) fn bytes(&self, dir: &str, name: &[u8]) -> Vec<u8> {
        self.path(dir).join(OsStr::from_bytes(name)).into_os_string().into_encoded_bytes()
    }

    pub(crate) fn mkdir(&self, path: &str) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// Puts a script in the place of a program. What it has to say goes to the folder `said`. It writes down who it is, as whom it runs, and its
    /// arguments, and then does what `body` says.
    pub(crate) fn program(&self, path: &str, body: &str) {
        let ran = self.path("ran");
        let text = format!(
            "#!/bin/sh\nrecord=$(mktemp '{0}/.XXXXXXXX')\n\
             printf '%s\\0' \"${{0##*/}}\" \"$(id -u)\" \"$@\" > \"$record\"\n\
             chmod 0644 \"$record\"\nmv \"$record\" '{0}/run'\"${{record##*/}}\"\n{body}\n",
            ran.display()
        );
        self.install(path, &text);
    }

    fn install(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write(&path, text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What the programs' scripts have written down, in no order.
    pub(crate) fn ran(&self) -> Vec<Ran> {
        let mut ran = Vec::new();
        for name in names(self.path("ran")) {
            let record = fs::read(self.path("ran").join(&name)).unwrap();
            let mut words = record.strip_suffix(b"\0").unwrap().split(|it| *it == 0);
            let text = |word: &[u8]| String::from_utf8(word.to_vec()).unwrap();
            ran.push(Ran {
                program: text(words.next().unwrap()),
                uid: text(words.next().unwrap()).parse().unwrap(),
                args: words.map(<[u8]>::to_vec).collect(),
            });
        }
        ran.sort();
        ran
    }

    /// The arguments of all runs of a program, sorted. Each ran as the user of the page.
    pub(crate) fn ran_with(&self, program: &str) -> Vec<Vec<Vec<u8>>> {
        let ours = rustix::process::geteuid();
        let uid = match &self.user {
            Some(_) if ours.is_root() => uid_of(NOBODY),
            Some(_) | None => ours.as_raw(),
        };
        let ran = self.ran().into_iter().filter(|it| it.program == program);
        ran.map(|it| {
            assert_eq!(it.uid, uid, "{it:?}");
            it.args
        })
        .collect()
    }

    /// The daemon with this recipe.
    pub(crate) fn start(&self) -> Running {
        let mut command = Command::new(BINARY);
        self.configure(&mut command);
        Running::start(command, "ready, ", self.path("sync"))
    }

    /// The same in a mount namespace of its own, in which a directory is a mount point; `None`,
    /// said aloud, where that may not be.
    pub(crate) fn start_apart(&self, mount_point: &Path) -> Option<Running> {
        let unshare = |script: &str| {
            let mut command = Command::new("unshare");
            command.args(["--mount", "--propagation", "private", "/bin/sh", "-c", script]);
            command.arg(mount_point);
            command
        };
        let start = starts::one();
        let tried = unshare("mount -t tmpfs tmpfs \"$0\"").output();
        drop(start);
        if !tried.is_ok_and(|it| it.status.success()) {
            eprintln!("skipped: a mount that comes and goes, because nobody may mount here");
            return None;
        }
        let mut command = unshare("exec \"$@\"");
        command.arg(BINARY);
        self.configure(&mut command);
        Some(Running::start(command, "ready, ", self.path("sync")))
    }

    fn configure(&self, command: &mut Command) {
        let top = self.dir.path().to_str().unwrap();
        let mut text = self.text.clone();
        match self.file {
            "config.py" => {
                let (head, last) = text.split_once("\npyinotifyd = ").unwrap();
                let last = last.replace("[incoming]", "incoming");
                text = format!("{head}{PYTHON_SYNC}\npyinotifyd = {last}\n");
            }
            _ => write!(text, "\n{SYNC}").unwrap(),
        }
        let file = self.path(self.file);
        write(&file, text.replace("@/", &format!("{top}/")));
        command.arg("run").arg("-c").arg(file).stdout(Stdio::null());
        command.env("RUNTIME_DIRECTORY", self.path("run"));
        if self.file == "config.py" {
            command.arg("--state-dir").arg(self.path("/var/lib/pyinotifyd"));
        }
    }
}

fn uid_of(name: &str) -> u32 {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd.lines().find_map(|it| it.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap().split(':').nth(1).unwrap().parse().unwrap()
}

/// The program, running. Killed when it is dropped.
pub(crate) struct Running {
    program: Program,
    sync: PathBuf,
    syncs: usize,
}

impl Deref for Running {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Program {
        &mut self.program
    }
}

impl Running {
    /// Starts it, and waits until it says so.
    pub(crate) fn start(command: Command, ready: &str, sync: PathBuf) -> Self {
        let syncs = fs::read_dir(&sync).map_or(0, Iterator::count);
        Self { program: Program::start(command, ready), sync, syncs }
    }

    /// Waits until so many lines have had this in them since the start.
    pub(crate) fn wait_count(&mut self, part: &str, count: usize) {
        self.looked = 0;
        for _ in 0..count {
            self.wait(part);
        }
    }

    /// How many lines so far have this in them.
    pub(crate) fn count(&self, part: &str) -> usize {
        self.log.iter().filter(|it| it.contains(part)).count()
    }

    /// Returns when everything that happened before has been handled: what is found in a new
    /// directory is told at a barrier, which the first file sees put, and the second passed.
    pub(crate) fn sync(&mut self) {
        drop(starts::none());
        for _ in 0..2 {
            self.syncs += 1;
            let name = self.syncs.to_string();
            fs::write(self.sync.join(&name), "").unwrap();
            self.looked = 0;
            self.wait(&format!("SYNC {name}"));
        }
    }

    /// Ends it as nobody should.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it with SIGTERM, and waits until it has ended well.
    pub(crate) fn stop(&mut self) {
        rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.wait("stopped");
        assert!(self.child.wait().unwrap().success(), "{:#?}", self.log);
    }

    /// The same once nothing is left to do: this many runs have been, each at its first attempt,
    /// and all went well. A run ends with a line that says `after` how long.
    pub(crate) fn stop_after(&mut self, runs: usize) {
        self.wait_count(" after ", runs);
        self.sync();
        self.stop();
        let parts = [": started for ", " after ", " - WARNING - ", " - ERROR - ", " kept for "];
        let syncs = self.syncs;
        let counts = parts.map(|it| self.count(it));
        assert_eq!(counts, [runs, runs, syncs, 0, 0], "{:#?}", self.log);
    }
}

/// The blocks of code in this language.
pub(crate) fn blocks(page: &str, language: &str) -> Vec<String> {
    let begin = format!("```{language}\n");
    let block = |it: &str| it.split("\n```").next().unwrap().to_owned();
    page.split(&begin).skip(1).map(block).collect()
}

/// The scripts of a page, each with its path: the last that stands in backquotes before it.
fn programs(page: &str) -> Vec<(String, String)> {
    let mut parts = page.split("```sh\n");
    let mut before = parts.next().unwrap();
    let mut programs = Vec::new();
    for part in parts {
        let path = before.rsplit('`').skip(1).step_by(2).find(|it| it.starts_with('/'));
        let (text, behind) = part.split_once("\n```").unwrap();
        programs.push((path.unwrap().to_owned(), format!("{text}\n")));
        before = behind;
    }
    programs
}
