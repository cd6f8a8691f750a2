//! Every environment variable that the program reads, sets, or keeps from tasks.

/// Set for each command: the path of the event, as bytes. Of a batch, here and below, the first.
pub(crate) const PATHNAME: &str = "PYINOTIFYD_PATHNAME";
/// Set for each command: the event's type, without `IN_ISDIR`.
pub(crate) const MASKNAME: &str = "PYINOTIFYD_MASKNAME";
/// Set for each command: where the subject of a move was before; empty if there is no such path.
pub(crate) const SRC_PATHNAME: &str = "PYINOTIFYD_SRC_PATHNAME";
/// Set for each command: the task, the same in each attempt.
pub(crate) const TASK_ID: &str = "PYINOTIFYD_TASK_ID";
/// Set for each command: 1 for the first attempt.
pub(crate) const ATTEMPT: &str = "PYINOTIFYD_ATTEMPT";
/// Set for each command: the scheduler's name.
pub(crate) const SCHEDULER: &str = "PYINOTIFYD_SCHEDULER";
/// Set for a command line that names `{dirname}`.
pub(crate) const DIRNAME: &str = "PYINOTIFYD_DIRNAME";
/// Set for a command line that names `{basename}`.
pub(crate) const BASENAME: &str = "PYINOTIFYD_BASENAME";
/// Set for the commands of a scheduler with `batch`: how many paths this command gets.
pub(crate) const COUNT: &str = "PYINOTIFYD_COUNT";

/// Read, from the command's environment: where a program without a slash in its name is sought.
pub(crate) const PATH: &str = "PATH";

/// Set when a command has a `user`: that user's home directory.
pub(crate) const HOME: &str = "HOME";
/// Set when a command has a `user`: that user's name.
pub(crate) const USER: &str = "USER";
/// Set when a command has a `user`: that user's name.
pub(crate) const LOGNAME: &str = "LOGNAME";
/// Set when a command has a `user`: that user's login shell.
pub(crate) const SHELL: &str = "SHELL";

/// What the daemon was told by its service manager and no task may take for its own: with
/// `NOTIFY_SOCKET` a task could say that the daemon has stopped, with `LISTEN_FDS` it would take
/// its own descriptors for sockets. And what is set anew for each command, which must not be left
/// over from a task that the daemon itself was started by.
///
/// `INVOCATION_ID` and `JOURNAL_STREAM` are true of a task as well, and stay.
pub(crate) const NOT_FOR_TASKS: &[&str] = &[
    NOTIFY_SOCKET,
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
    WATCHDOG_USEC,
    WATCHDOG_PID,
    "MAINPID",
    "FDSTORE",
    PATHNAME,
    MASKNAME,
    SRC_PATHNAME,
    TASK_ID,
    ATTEMPT,
    SCHEDULER,
    DIRNAME,
    BASENAME,
    COUNT,
];

/// Read: set to anything but nothing, it asks for output without colours (<https://no-color.org>).
pub(crate) const NO_COLOR: &str = "NO_COLOR";
/// Read: what kind of terminal it is. Nothing is drawn on one that is `dumb`, and nothing has colours there.
pub(crate) const TERM: &str = "TERM";
/// Read: where the service manager has made a place for state.
pub(crate) const STATE_DIRECTORY: &str = "STATE_DIRECTORY";
/// Read: where the service manager wants to hear how the daemon is.
pub(crate) const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
/// Read: after how many microseconds without a word the service manager takes the daemon for hung.
pub(crate) const WATCHDOG_USEC: &str = "WATCHDOG_USEC";
/// Read: whom that is about; unset, whoever reads it.
pub(crate) const WATCHDOG_PID: &str = "WATCHDOG_PID";
/// Read: where the service manager has made a place for sockets.
pub(crate) const RUNTIME_DIRECTORY: &str = "RUNTIME_DIRECTORY";
/// Read: where a user's own sockets are.
pub(crate) const XDG_RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";
/// Read: which Python runs a config.py.
pub(crate) const PYTHON: &str = "PYINOTIFYD_PYTHON";
/// Read: the virtual environment that somebody has activated; its Python runs a config.py.
pub(crate) const VIRTUAL_ENV: &str = "VIRTUAL_ENV";
