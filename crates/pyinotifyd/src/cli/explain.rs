//! `pyinotifyd explain`: what would be done about an event, and why.
//!
//! What the answer is, [`pyinotifyd_core::explain`] decides. Here it is only found out whether the
//! path is a directory; [`crate::explained`] has the forms of the answer.

use std::{
    io::{self, IsTerminal, Write},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use pyinotifyd_core::{explain::explain, path::normalize};

use super::{
    Explain, ask, check, config_file,
    terminal::{self, Look},
};
use crate::{
    config::diagnostic::render_all,
    control::words::{Request, Shown},
    errors::{Exit, Fatal, shown_path, words},
    explained,
    host::start::Options,
};

/// Explains an event.
///
/// # Errors
///
/// There is no configuration, or nothing can be written. Mistakes in the configuration are shown
/// on standard error, and the exit status says so.
pub(crate) fn run(command: &Explain) -> Result<Exit, Fatal> {
    if command.running {
        let (path, is_dir) = look(&command.path)?;
        let (path, event) = (Shown::new(&path), command.on.to_string());
        let request = Request::Explain { path, event, is_dir, json: command.json };
        return ask::text(command.socket.as_deref(), &request, command.json);
    }
    let file = config_file::choose(command.config.as_deref(), Path::exists)
        .map_err(|none| none.fatal("write one of them, or name another with --config"))?;
    let options = Options::new(command.python.clone(), false);
    let loaded = match check::read(&file, &options) {
        Ok(read) => read.into_loaded(),
        Err(mistakes) => {
            let colour = Look::new().has_colours(io::stderr().is_terminal());
            let said = render_all(&mistakes, &shown_path(&file.path).to_string(), colour);
            // Nobody is left to tell when this fails.
            let _ = writeln!(io::stderr(), "{said}");
            return Ok(Exit::Failure);
        }
    };
    let (path, is_dir) = look(&command.path)?;
    let explanation = explain(&loaded.plan, &path, is_dir, command.on);
    terminal::print(&explained::shown(&explanation, command.json))
}

/// The path, absolute, and whether it is a directory: as it is there, or, where nothing is, as a
/// slash at its end says.
fn look(path: &Path) -> Result<(Vec<u8>, bool), Fatal> {
    let cwd = std::env::current_dir().map_err(|error| {
        Fatal::text(format!("cannot find the working directory: {}", words(&error)))
    })?;
    let bytes = path.as_os_str().as_bytes();
    let normal = normalize(cwd.as_os_str().as_bytes(), bytes);
    let is_dir = match std::fs::symlink_metadata(std::ffi::OsStr::from_bytes(&normal)) {
        Ok(metadata) => metadata.is_dir(),
        Err(_) => bytes.ends_with(b"/"),
    };
    Ok((normal, is_dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_a_directory_if_it_is_written_so() {
        let dir = tempfile::tempdir().unwrap();
        let kind = |name: &str| look(&dir.path().join(name)).unwrap().1;
        assert!(kind(""));
        assert!(kind("new/"));
        assert!(!kind("new"));
        std::os::unix::fs::symlink(dir.path(), dir.path().join("link")).unwrap();
        assert!(!kind("link/"), "inotify tells of the link");
    }
}
