//! Gives every program the same build id when it was made from the same words and the same room code.
//!
//! Rooms of different builds refuse each other, since a frame may mean something else in another build.
//! The id is the version, a hash over the sources that define what crosses a link, and, where a release
//! sets it, `PORTCULLIS_BUILD`. The hash tells accidents apart, not attackers: FNV-1a is enough.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for folder in [here.join("src"), here.join("../model/src")] {
        println!("cargo::rerun-if-changed={}", folder.display());
        let mut files = Vec::new();
        sources(&folder, &mut files)?;
        files.sort();
        for file in files {
            let name = file.strip_prefix(&folder)?.to_string_lossy().into_owned();
            for byte in name.bytes().chain([0]).chain(fs::read(&file)?).chain([0]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }
    println!("cargo::rerun-if-env-changed=PORTCULLIS_BUILD");
    let mut build = format!("{}+{hash:016x}", std::env::var("CARGO_PKG_VERSION")?);
    if let Ok(release) = std::env::var("PORTCULLIS_BUILD") {
        build.push('.');
        build.extend(release.chars().filter(char::is_ascii_alphanumeric).take(40));
    }
    println!("cargo::rustc-env=PORTCULLIS_ROOM_BUILD={build}");
    Ok(())
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, into)?;
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            into.push(path);
        }
    }
    Ok(())
}
