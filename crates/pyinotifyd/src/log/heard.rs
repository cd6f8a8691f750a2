//! What is said through the `log` facade, for tests: the sentences that are no reports.

use std::cell::RefCell;

thread_local! {
    static HEARD: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// What is said on this thread while this works, a line each: `WARN - …`. Tests run beside each
/// other, so nobody hears the others.
pub(crate) fn heard(work: impl FnOnce()) -> Vec<String> {
    // Whoever comes second finds the same one there.
    let _ = log::set_logger(&Ears);
    log::set_max_level(log::LevelFilter::Info);
    HEARD.set(Some(Vec::new()));
    work();
    HEARD.take().unwrap_or_default()
}

struct Ears;

impl log::Log for Ears {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        HEARD.with_borrow_mut(|heard| {
            if let Some(heard) = heard {
                heard.push(format!("{} - {}", record.level(), record.args()));
            }
        });
    }

    fn flush(&self) {}
}
