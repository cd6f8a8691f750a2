//! Which configuration is read, and in which language it is.

use std::path::{Path, PathBuf};

use crate::errors::Fatal;

/// Where configurations are looked for, the first that exists.
pub(crate) const DEFAULTS: [&str; 2] = ["/etc/pyinotifyd/config.py", "/etc/pyinotifyd/config.toml"];

/// The language of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// The original's.
    Python,
    /// Our own.
    Toml,
}

impl Language {
    /// By its name alone: `.toml` is ours, and all else the original's, which takes any name.
    pub(crate) fn of(file: &Path) -> Self {
        match file.extension() {
            Some(ending) if ending.eq_ignore_ascii_case("toml") => Self::Toml,
            Some(_) | None => Self::Python,
        }
    }
}

/// The configuration to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it is written in.
    pub language: Language,
    /// A default that exists too, and is not read: worth a warning.
    pub passed_over: Option<PathBuf>,
}

impl ConfigFile {
    /// One that was named, which need not exist.
    pub(crate) fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), language: Language::of(path), passed_over: None }
    }
}

/// None was named, and there is none at the default places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no configuration: neither {} nor {} exists", DEFAULTS[0], DEFAULTS[1])]
pub(crate) struct NoConfig;

impl NoConfig {
    /// As the end of the program, with what this command has to say about it.
    pub(crate) fn fatal(self, hint: &str) -> Fatal {
        Fatal::new(&self).hint(hint)
    }
}

/// The configuration that was named, which need not exist, else the first default that does.
///
/// # Errors
///
/// [`NoConfig`].
pub(crate) fn choose(
    named: Option<&Path>,
    exists: impl Fn(&Path) -> bool,
) -> Result<ConfigFile, NoConfig> {
    if let Some(path) = named {
        return Ok(ConfigFile::of(path));
    }
    let mut there = DEFAULTS.into_iter().map(PathBuf::from).filter(|it| exists(it));
    let path = there.next().ok_or(NoConfig)?;
    Ok(ConfigFile { language: Language::of(&path), path, passed_over: there.next() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(named: Option<&str>, there: &[&str]) -> Result<(String, Language, bool), NoConfig> {
        choose(named.map(Path::new), |it| there.iter().any(|there| it == Path::new(there)))
            .map(|it| (it.path.display().to_string(), it.language, it.passed_over.is_some()))
    }

    #[test]
    fn the_originals_configuration_comes_first() {
        let [python, toml] = DEFAULTS;
        assert_eq!(chosen(None, &[toml]), Ok((toml.into(), Language::Toml, false)));
        assert_eq!(chosen(None, &[python]), Ok((python.into(), Language::Python, false)));
        assert_eq!(chosen(None, &[toml, python]), Ok((python.into(), Language::Python, true)));
        assert_eq!(chosen(None, &[]), Err(NoConfig));
    }

    #[test]
    fn what_is_named_is_taken() {
        assert_eq!(chosen(Some("x.toml"), &DEFAULTS), Ok(("x.toml".into(), Language::Toml, false)));
        assert_eq!(chosen(Some("x.conf"), &[]), Ok(("x.conf".into(), Language::Python, false)));
    }
}
