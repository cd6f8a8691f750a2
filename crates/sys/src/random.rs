//! Bytes that nobody can guess.

use std::io;

use rustix::{
    io::Errno,
    rand::{GetRandomFlags, getrandom},
};

/// Fills a buffer of at most 256 bytes, which `getrandom(2)` never gives only a part of.
pub fn fill(buffer: &mut [u8]) -> io::Result<()> {
    loop {
        match getrandom(&mut *buffer, GetRandomFlags::empty()) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => (),
            Err(errno) => return Err(errno.into()),
        }
    }
}
