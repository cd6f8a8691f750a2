//! Which Python runs a config.py.

use std::{
    ffi::{OsStr, OsString},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// What says where Python is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clues {
    /// `--python`.
    pub(crate) named: Option<PathBuf>,
    /// `$PYINOTIFYD_PYTHON`.
    pub(crate) variable: Option<OsString>,
    /// `$VIRTUAL_ENV`: an environment that somebody activated.
    pub(crate) virtual_env: Option<OsString>,
    /// The folder of this program: in a virtual environment if it was installed there.
    pub(crate) program: Option<PathBuf>,
    /// `$PATH`.
    pub(crate) path: Option<OsString>,
}

/// There is no Python.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoPython {
    /// What was named cannot be run.
    #[error("{} ({by}) is no program that can be run", crate::errors::shown_path(program))]
    NotThere {
        /// What was named.
        program: PathBuf,
        /// By what.
        by: &'static str,
    },
    /// Nothing was named, and there is none to find.
    #[error("there is no python3 in $PATH, and a config.py needs one (3.8 or newer)")]
    Nowhere,
}

impl Clues {
    /// The path of the interpreter: what is named, else that of a virtual environment, else the
    /// one in `$PATH`.
    ///
    /// # Errors
    ///
    /// [`NoPython`].
    pub(crate) fn follow(&self) -> Result<PathBuf, NoPython> {
        let variable = self.variable.as_deref().filter(|it| !it.is_empty()).map(Path::new);
        let named = self.named.as_deref().map(|it| (it, "--python"));
        if let Some((program, by)) = named.or(variable.map(|it| (it, "$PYINOTIFYD_PYTHON"))) {
            return self
                .search(program.as_os_str())
                .ok_or_else(|| NoPython::NotThere { program: program.to_owned(), by });
        }
        let activated = self.virtual_env.as_deref().map(|it| Path::new(it).join("bin"));
        let own = self.program.clone().filter(|it| it.join("../pyvenv.cfg").exists());
        let environments = [activated, own].into_iter().flatten().map(|it| it.join("python3"));
        let first = environments.into_iter().find(|it| is_program(it));
        let anywhere = || ["python3", "python"].iter().find_map(|it| self.search(OsStr::new(it)));
        first.or_else(anywhere).ok_or(NoPython::Nowhere)
    }

    /// A program as a shell finds it: a name without a slash in `$PATH`.
    fn search(&self, name: &OsStr) -> Option<PathBuf> {
        let program = Path::new(name);
        if program.components().count() > 1 || program.has_root() {
            return Some(program.to_owned()).filter(|it| is_program(it));
        }
        std::env::split_paths(self.path.as_deref()?)
            .map(|it| it.join(name))
            .find(|it| is_program(it))
    }
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn program(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn what_is_named_comes_before_an_environment_and_that_before_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["named", "variable", "venv/bin/python3", "own/bin/python3", "path/python3"] {
            program(&at(name));
        }
        fs::write(at("own/pyvenv.cfg"), "").unwrap();
        let mut clues = Clues {
            named: Some(at("named")),
            variable: Some(at("variable").into()),
            virtual_env: Some(at("venv").into()),
            program: Some(at("own/bin")),
            path: Some(at("path").into()),
        };
        assert_eq!(clues.follow(), Ok(at("named")));
        clues.named = None;
        assert_eq!(clues.follow(), Ok(at("variable")));
        clues.variable = Some("python3".into());
        assert_eq!(clues.follow(), Ok(at("path/python3")));
        clues.variable = Some("".into());
        assert_eq!(clues.follow(), Ok(at("venv/bin/python3")));
        clues.virtual_env = None;
        assert_eq!(clues.follow(), Ok(at("own/bin/python3")));
        clues.program = Some(at("path"));
        assert_eq!(clues.follow(), Ok(at("path/python3")));
        clues.path = Some(at("venv").into());
        assert_eq!(clues.follow(), Err(NoPython::Nowhere));
        fs::set_permissions(at("named"), fs::Permissions::from_mode(0o644)).unwrap();
        clues.named = Some(at("named"));
        let (program, by) = (at("named"), "--python");
        assert_eq!(clues.follow(), Err(NoPython::NotThere { program, by }));
    }
}
