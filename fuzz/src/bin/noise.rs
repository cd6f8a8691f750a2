//! Drives the targets without libFuzzer: `noise --list`, `noise TARGET SECONDS [SEED]`.
//!
//! The seeds (`fuzz/seeds/TARGET/`) and the corpus (`fuzz/corpus/TARGET/`, as libFuzzer leaves it)
//! are replayed first; then come mutations of them and of a few words. What breaks a promise is
//! written to `fuzz/artifacts/TARGET/` and the seed is shown.

use std::{
    env, fs,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use targets::TARGETS;

/// What decoders trip over: separators, escapes, limits, halves of characters.
const WORDS: [&[u8]; 14] = [
    b"",
    b"/",
    b"..",
    b"\0",
    b"\n",
    b"\\",
    b"{pathname}",
    b"\xff",
    b"\xf4\x8f\xbc\x80",
    b"\xe2\x80\xae",
    b"\xc3",
    b"IN_CLOSE_WRITE",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x80",
];

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["--list"] => {
            TARGETS.iter().for_each(|(name, _)| println!("{name}"));
            ExitCode::SUCCESS
        }
        [name, seconds, seed @ ..] => {
            let target = TARGETS.iter().find(|it| it.0 == *name);
            let (Some((name, target)), Ok(seconds)) = (target, seconds.parse()) else {
                eprintln!("error: no such target, or no number of seconds");
                return ExitCode::from(2);
            };
            let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let seed = seed.first().and_then(|it| it.parse().ok()).unwrap_or(clock.as_secs());
            drive(name, *target, Duration::from_secs(seconds), seed)
        }
        _ => {
            eprintln!("noise --list | noise TARGET SECONDS [SEED]");
            ExitCode::from(2)
        }
    }
}

fn drive(name: &str, target: fn(&[u8]), length: Duration, seed: u64) -> ExitCode {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut corpus: Vec<Vec<u8>> = WORDS.map(<[u8]>::to_vec).into();
    for kept in ["seeds", "corpus"] {
        if let Ok(entries) = fs::read_dir(folder.join(kept).join(name)) {
            let mut paths: Vec<PathBuf> = entries.flatten().map(|it| it.path()).collect();
            paths.sort();
            corpus.extend(paths.iter().flat_map(fs::read));
        }
    }
    let end = Instant::now() + length;
    let mut random = Random(seed | 1);
    let mut count = 0_u64;
    let mut replay = corpus.clone().into_iter();
    loop {
        let input = replay.next().unwrap_or_else(|| random.mutated(&corpus));
        if panic::catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
            let folder = folder.join("artifacts").join(name);
            let file = folder.join(format!("noise-{seed}-{count}"));
            let kept = fs::create_dir_all(&folder).and_then(|()| fs::write(&file, &input));
            eprintln!("error: {name} broke after {count} inputs of seed {seed}: {input:?}");
            if kept.is_ok() {
                eprintln!("the input is in {}", file.display());
            }
            return ExitCode::FAILURE;
        }
        count += 1;
        if count % 16 == 0 && Instant::now() >= end {
            println!("{name}: {count} inputs, seed {seed}");
            return ExitCode::SUCCESS;
        }
    }
}

/// xorshift64: good enough for noise, and the same from the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % bound.max(1)
    }

    fn mutated(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(8) {
            let at = self.below(input.len() + 1);
            match self.below(4) {
                0 => {
                    let word = &corpus[self.below(corpus.len())];
                    input.splice(at..at, word.iter().copied());
                }
                1 => input.insert(at, u8::try_from(self.below(256)).unwrap_or(0)),
                2 if at < input.len() => input[at] ^= 1 << self.below(8),
                _ => input.truncate(at),
            }
        }
        input
    }
}
