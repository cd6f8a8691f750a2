//! `pyinotifyd convert`: a config.py as config.toml.
//!
//! What the file becomes, [`crate::config`] decides. Here it is only read, and what came of it is
//! written: the configuration to standard output, what is not in it to standard error.

use std::io::{self, Write};

use super::{Convert, check, config_file::ConfigFile, terminal};
use crate::{
    config::convert::Converted,
    errors::{Exit, Fatal},
    host::start::Options,
};

/// Converts a configuration.
///
/// # Errors
///
/// It is a config.toml already, or nothing can be written. Mistakes in it are shown on standard
/// error, and the exit status says so.
pub(crate) fn run(convert: &Convert) -> Result<Exit, Fatal> {
    let file = ConfigFile::of(&convert.file);
    let options = Options::new(convert.python.clone(), false);
    let Converted { text, notes } = match check::convert(&file, &options) {
        Ok(converted) => converted,
        Err(diagnostics) => return Ok(check::refuse(&diagnostics, &file)),
    };
    for note in notes {
        // Nobody is left to tell when this fails.
        let _ = writeln!(io::stderr(), "note: {note}");
    }
    terminal::print(&text)?;
    Ok(Exit::Success)
}
