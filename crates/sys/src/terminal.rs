//! A terminal to draw on.

use std::os::fd::AsFd;

use rustix::termios::{tcgetpgrp, tcgetwinsize};

/// How wide it is, in columns; `None` if it is no terminal, does not say, or is not ours to draw on:
/// that of another session, or one that something else has in its foreground.
#[must_use]
pub fn columns(terminal: impl AsFd) -> Option<u16> {
    let is_ours = tcgetpgrp(&terminal).is_ok_and(|it| it.as_raw_pid() == own_group());
    let columns = tcgetwinsize(&terminal).ok()?.ws_col;
    (is_ours && columns > 0).then_some(columns)
}

/// Our process group; 0 if its leader is outside of our PID namespace (`pid_namespaces(7)`), as in a
/// container that was entered. `rustix` takes that for impossible.
fn own_group() -> i32 {
    // SAFETY: `getpgrp(2)` takes nothing and always succeeds.
    unsafe { libc::getpgrp() }
}

#[cfg(test)]
mod tests {
    use rustix::{
        pty::{OpenptFlags, openpt},
        termios::{Winsize, tcsetwinsize},
    };

    use super::*;

    #[test]
    fn what_is_no_terminal_of_ours_is_not_drawn_on() {
        let (_, pipe) = std::io::pipe().unwrap();
        assert_eq!(columns(&pipe), None);
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal, size).unwrap();
        assert_eq!(columns(&terminal), None, "it is nobody's");
    }
}
