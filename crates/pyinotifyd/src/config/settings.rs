//! What a configuration says about the program itself.

use std::path::PathBuf;

use crate::log::LogSettings;

/// What a configuration says about the program itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Where pending tasks are kept over a restart; `None`: in memory.
    pub(crate) state_dir: Option<PathBuf>,
    /// What is logged, and where to.
    pub(crate) log: LogSettings,
}
