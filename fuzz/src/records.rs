//! The kernel's queue.

use pyinotifyd_core::{
    event::{EventType, Mask},
    record::Wd,
};
use pyinotifyd_sys::inotify::decode;

/// Any bytes are records, and then perhaps one error. Records lie one behind the other, their
/// names are in the buffer, and what they say can be shown.
pub fn records(data: &[u8]) {
    let mut decoded = decode(data);
    let mut at = 0;
    let mut error = None;
    while let Some(record) = decoded.next() {
        let record = match record {
            Ok(record) => record,
            Err(broken) => {
                error = Some(broken);
                break;
            }
        };
        let header: [u8; 16] = data[at..at + 16].try_into().expect("16 are 16");
        let field = |at: usize| header[at..at + 4].try_into().expect("4 are 4");
        assert_eq!(record.wd, i32::from_ne_bytes(field(0)));
        assert_eq!(record.mask, u32::from_ne_bytes(field(4)), "unknown bits are kept");
        assert_eq!(record.cookie, u32::from_ne_bytes(field(8)));
        let padded = u32::from_ne_bytes(field(12)) as usize;
        assert_eq!(decoded.consumed(), at + 16 + padded);
        assert!(!record.name.contains(&0));
        assert!(data[at + 16..decoded.consumed()].starts_with(record.name));
        at = decoded.consumed();
        // The engine's types take all of it.
        let mask = Mask(record.mask);
        let types: Mask = mask.event_types().map(EventType::mask).fold(Mask::NONE, Mask::with);
        assert!(mask.contains(types), "{mask}");
        assert!(!format!("{mask} {:?}", Wd(record.wd)).is_empty());
    }
    assert!(decoded.next().is_none(), "an error is the end");
    match error {
        None => assert_eq!(decoded.consumed(), data.len()),
        Some(broken) => {
            assert_eq!((broken.at, broken.at), (at, decoded.consumed()));
            assert_eq!(broken.has, data.len() - at);
            assert!(broken.needs > broken.has, "{broken}");
        }
    }
}
