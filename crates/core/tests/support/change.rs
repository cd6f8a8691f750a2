//! What people do to files, at random.

use proptest::prelude::*;

use super::kernel::Kernel;

/// A change of the file tree: the number of a directory, and that of a name in it.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Mkdir(usize, u8),
    /// Opens a file to write to it.
    Write(usize, u8),
    Close(usize, u8),
    /// Both at once.
    Save(usize, u8),
    Remove(usize, u8),
    Rename(usize, u8, usize, u8),
    Exchange(usize, u8, usize, u8),
}

/// The name of that number.
pub(crate) fn name(n: u8) -> &'static str {
    ["a", "b", "c", "d"][usize::from(n) % 4]
}

impl Change {
    /// What it does to the kernel's files.
    pub(crate) fn apply(&self, kernel: &mut Kernel) {
        match *self {
            Self::Mkdir(d, n) => {
                kernel.create(kernel.nth_dir(d), name(n), true);
            }
            Self::Write(d, n) => kernel.open_to_write(kernel.nth_dir(d), name(n)),
            Self::Close(d, n) => {
                kernel.close_written(kernel.nth_dir(d), name(n));
            }
            Self::Save(d, n) => {
                Self::Write(d, n).apply(kernel);
                Self::Close(d, n).apply(kernel);
            }
            Self::Remove(d, n) => kernel.remove(kernel.nth_dir(d), name(n)),
            Self::Rename(d, n, e, m) => {
                kernel.rename(kernel.nth_dir(d), name(n), kernel.nth_dir(e), name(m));
            }
            Self::Exchange(d, n, e, m) => {
                kernel.exchange(kernel.nth_dir(d), name(n), kernel.nth_dir(e), name(m));
            }
        }
    }
}

/// Any change but an exchange.
pub(crate) fn daily_change() -> impl Strategy<Value = Change> {
    let (d, n) = (0..8usize, 0..4u8);
    prop_oneof![
        4 => (d.clone(), n.clone()).prop_map(|(d, n)| Change::Mkdir(d, n)),
        3 => (d.clone(), n.clone()).prop_map(|(d, n)| Change::Write(d, n)),
        3 => (d.clone(), n.clone()).prop_map(|(d, n)| Change::Close(d, n)),
        6 => (d.clone(), n.clone()).prop_map(|(d, n)| Change::Save(d, n)),
        2 => (d.clone(), n.clone()).prop_map(|(d, n)| Change::Remove(d, n)),
        4 => (d.clone(), n.clone(), d, n).prop_map(|(d, n, e, m)| Change::Rename(d, n, e, m)),
    ]
}

/// Two that change places.
pub(crate) fn exchange() -> impl Strategy<Value = Change> {
    let (d, n) = (0..8usize, 0..4u8);
    (d.clone(), n.clone(), d, n).prop_map(|(d, n, e, m)| Change::Exchange(d, n, e, m))
}
