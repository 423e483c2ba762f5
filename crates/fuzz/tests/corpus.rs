//! Every target takes the corpus that is kept, whole, cut and bent, without cargo-fuzz.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};

/// What is kept of one target, and of all.
const MOST_FILES: usize = 40;
const MOST_FILE: u64 = 16 * 1024;
const MOST_BYTES: u64 = 300 * 1024;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// A file whole, cut at 32 places, and with a byte changed at 64, the same ones in each run.
fn run(name: &str) {
    let target = fuzz::TARGETS.iter().find(|(known, _)| *known == name).unwrap().1;
    target(&[]);
    let files = files(&folder().join("corpus").join(name));
    assert!(!files.is_empty());
    let mut random = 7_u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below.max(1)
    };
    for file in files {
        // The last one printed is the one that failed.
        println!("{}", file.display());
        let data = fs::read(&file).unwrap();
        target(&data);
        for _ in 0..32 {
            target(&data[..next(data.len())]);
        }
        let mut bent = data.clone();
        for _ in 0..64.min(data.len()) {
            let at = next(data.len());
            bent[at] ^= 1 << next(8);
            target(&bent);
            if next(4) == 0 {
                bent.copy_from_slice(&data);
            }
        }
    }
}

macro_rules! corpora {
    ($($name:ident),* $(,)?) => {
        $(#[test] fn $name() { run(stringify!($name)); })*

        #[test]
        fn every_target_has_its_program_its_corpus_and_its_test() {
            let known: Vec<_> = fuzz::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
            assert_eq!(known, [$(stringify!($name)),*]);
            let stem = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
            let programs: Vec<_> = files(&folder().join("fuzz_targets")).iter().map(stem).collect();
            assert_eq!(programs, known);
            let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
            for name in known {
                assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
            }
        }
    };
}

corpora!(
    link,
    mjpeg,
    opus,
    proxy,
    rtp_rtcp,
    sdp,
    settings,
    signaling_client,
    signaling_server,
    srtp,
    stun,
    transport,
    turn,
    vp8_decoder,
    vp8_depacketizer,
    wav,
    y4m,
);

#[test]
fn what_is_kept_is_small() {
    let mut bytes = 0;
    for (name, _) in fuzz::TARGETS {
        let files = files(&folder().join("corpus").join(name));
        assert!(files.len() <= MOST_FILES, "{name}: {} files", files.len());
        for file in files {
            let size = fs::metadata(&file).unwrap().len();
            assert!(size <= MOST_FILE, "{}: {size} bytes", file.display());
            bytes += size;
        }
    }
    assert!(bytes <= MOST_BYTES, "{bytes} bytes");
}
