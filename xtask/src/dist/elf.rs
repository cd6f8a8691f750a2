//! What of an ELF file tells how it is linked.

use crate::Outcome;

const ET_DYN: u16 = 3;
const PT_INTERP: u32 = 3;

/// Sees whether a 64-bit program of this machine's byte order is position-independent and needs no
/// interpreter, which is what loads shared libraries.
pub(super) fn verify_static_pie(file: &[u8]) -> Outcome {
    let (kind, segments) = read(file).ok_or("this is no program that can be read")?;
    if kind != ET_DYN {
        return Err("the program is not position-independent".to_owned());
    }
    if segments.contains(&PT_INTERP) {
        return Err("the program needs shared libraries".to_owned());
    }
    Ok(())
}

/// The file's type, and the types of its segments.
fn read(file: &[u8]) -> Option<(u16, Vec<u32>)> {
    file.strip_prefix(b"\x7fELF\x02")?;
    let half = |at| Some(u16::from_ne_bytes(file.get(at..at + 2)?.try_into().ok()?));
    let table = u64::from_ne_bytes(file.get(32..40)?.try_into().ok()?);
    let (table, size, count) = (usize::try_from(table).ok()?, half(54)?, half(56)?);
    let segment = |number: u16| {
        let at = table.checked_add(usize::from(number) * usize::from(size))?;
        Some(u32::from_ne_bytes(file.get(at..at.checked_add(4)?)?.try_into().ok()?))
    };
    Some((half(16)?, (0..count).map(segment).collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program of this type with these segments, as far as it is looked at.
    fn program(kind: u16, segments: &[u32]) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..5].copy_from_slice(b"\x7fELF\x02");
        file[16..18].copy_from_slice(&kind.to_ne_bytes());
        file[32..40].copy_from_slice(&64_u64.to_ne_bytes());
        file[54..56].copy_from_slice(&4_u16.to_ne_bytes());
        file[56..58].copy_from_slice(&u16::try_from(segments.len()).unwrap().to_ne_bytes());
        file.extend(segments.iter().flat_map(|it| it.to_ne_bytes()));
        file
    }

    #[test]
    fn only_what_needs_nothing_passes() {
        assert_eq!(verify_static_pie(&program(ET_DYN, &[6, 1])), Ok(()));
        assert!(
            verify_static_pie(&program(ET_DYN, &[6, PT_INTERP])).unwrap_err().contains("shared")
        );
        assert!(verify_static_pie(&program(2, &[1])).unwrap_err().contains("position"));
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let whole = program(ET_DYN, &[6, 1]);
        for len in 0..whole.len() {
            assert!(verify_static_pie(&whole[..len]).is_err(), "{len}");
        }
    }
}
