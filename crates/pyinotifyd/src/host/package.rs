//! The Python package that a host runs, as it is compiled into the program.

/// What `python3 -c` is given.
pub(super) const BOOTSTRAP: &str = include_str!("../../python/bootstrap.py");

macro_rules! modules {
    ($($name:literal = $path:literal),* $(,)?) => {
        /// Modules by name: the text, and whether it is a package.
        pub(super) const MODULES: &[(&str, &str, bool)] = &[
            $(($name, include_str!(concat!("../../python/", $path)), is_package($path))),*
        ];

        #[cfg(test)]
        const PATHS: &[&str] = &[$($path),*];
    };
}

modules! {
    "pyinotifyd" = "pyinotifyd/__init__.py",
    "pyinotifyd._describe" = "pyinotifyd/_describe.py",
    "pyinotifyd._errors" = "pyinotifyd/_errors.py",
    "pyinotifyd._events" = "pyinotifyd/_events.py",
    "pyinotifyd._host" = "pyinotifyd/_host.py",
    "pyinotifyd._link" = "pyinotifyd/_link.py",
    "pyinotifyd._logs" = "pyinotifyd/_logs.py",
    "pyinotifyd._objects" = "pyinotifyd/_objects.py",
    "pyinotifyd._runs" = "pyinotifyd/_runs.py",
    "pyinotifyd._serve" = "pyinotifyd/_serve.py",
    "pyinotifyd._state" = "pyinotifyd/_state.py",
    "pyinotifyd._watchdog" = "pyinotifyd/_watchdog.py",
    "pyinotifyd.filemanager" = "pyinotifyd/filemanager.py",
    "pyinotifyd.scheduler" = "pyinotifyd/scheduler.py",
    "pyinotifyd.watch" = "pyinotifyd/watch.py",
    "pyinotify" = "pyinotify.py",
}

const fn is_package(path: &str) -> bool {
    matches!(path.as_bytes(), [.., b'_', b'_', b'.', b'p', b'y'])
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn every_file_of_the_package_is_in_the_program() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
        let mut found = BTreeSet::from(["pyinotify.py".to_owned()]);
        for entry in fs::read_dir(top.join("pyinotifyd")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if Path::new(&name).extension().is_some_and(|it| it == "py") {
                found.insert(format!("pyinotifyd/{name}"));
            }
        }
        assert_eq!(found, PATHS.iter().map(|it| (*it).to_owned()).collect());
        for ((name, _, package), path) in MODULES.iter().zip(PATHS) {
            let module = path.trim_end_matches(".py").trim_end_matches("/__init__");
            assert_eq!(module.replace('/', "."), **name);
            assert_eq!(*package, path.ends_with("__init__.py"));
        }
    }
}
