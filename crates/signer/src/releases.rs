//! Releases on disk, each in a folder named by its hash. What lies there is believed only if it hashes to the name, and
//! put in force only if that hash is in the log.

use portcullis_model::release::{Files, hash};
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A release's files at most, and their bytes together.
pub const FILES_MAX: usize = 256;
pub const BYTES_MAX: u64 = 8 << 20;

/// Why a release cannot be stored or loaded.
#[derive(Debug)]
pub enum StoreError {
    Io {
        place: PathBuf,
        error: io::Error,
    },
    /// A file's name leads out of the release, or is not plain.
    Name(String),
    TooLarge,
    /// What lies there is not what the log names.
    Hash {
        place: PathBuf,
    },
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { place, error } => write!(f, "{}: {error}", place.display()),
            Self::Name(name) => write!(
                f,
                "`{name}` is no name for a file of a release; use a-z, 0-9, `-`, `_`, `.` and at most one folder"
            ),
            Self::TooLarge => write!(
                f,
                "the release has more than {FILES_MAX} files or {BYTES_MAX} bytes"
            ),
            Self::Hash { place } => write!(
                f,
                "{} is not the release that the log names; restore it from a backup",
                place.display()
            ),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

fn at(place: &Path) -> impl FnOnce(io::Error) -> StoreError + '_ {
    move |error| StoreError::Io {
        place: place.to_owned(),
        error,
    }
}

/// Writes a release, synced, and gives its hash. One that is there already is left as it is, if it is whole.
pub fn store(folder: &Path, files: &Files) -> Result<[u8; 32], StoreError> {
    check(files)?;
    let hash = hash(files);
    let place = folder.join(hex(&hash));
    if place.is_dir() && load(folder, &hash).is_ok() {
        return Ok(hash);
    }
    let new = folder.join(format!("{}.new", hex(&hash)));
    let _ = fs::remove_dir_all(&new);
    let _ = fs::remove_dir_all(&place);
    let make = |place: &Path| {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(place)
    };
    make(&new).map_err(at(&new))?;
    let mut folders = vec![new.clone()];
    for (name, text) in files {
        let file = new.join(name);
        if let Some(parent) = file.parent().filter(|parent| *parent != new) {
            make(parent).map_err(at(parent))?;
            folders.push(parent.to_owned());
        }
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file)
            .and_then(|mut open| {
                open.write_all(text.as_bytes())
                    .and_then(|()| open.sync_all())
            })
            .map_err(at(&file))?;
    }
    for part in &folders {
        sync(part)?;
    }
    fs::rename(&new, &place).map_err(at(&place))?;
    sync(folder)?;
    Ok(hash)
}

/// Reads the release of this hash.
pub fn load(folder: &Path, wanted: &[u8; 32]) -> Result<Files, StoreError> {
    let place = folder.join(hex(wanted));
    let mut files = Files::new();
    let mut left = BYTES_MAX;
    read(&place, "", &mut files, &mut left)?;
    match hash(&files) == *wanted {
        true => Ok(files),
        false => Err(StoreError::Hash { place }),
    }
}

fn read(place: &Path, prefix: &str, files: &mut Files, left: &mut u64) -> Result<(), StoreError> {
    for item in fs::read_dir(place).map_err(at(place))? {
        let item = item.map_err(at(place))?;
        let path = item.path();
        let name = item.file_name().to_string_lossy().into_owned();
        let name = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}/{name}")
        };
        let kind = item.file_type().map_err(at(&path))?;
        if kind.is_dir() && prefix.is_empty() {
            read(&path, &name, files, left)?;
            continue;
        }
        if !kind.is_file() || files.len() >= FILES_MAX {
            return Err(StoreError::Name(name));
        }
        let mut text = String::new();
        let read = fs::File::open(&path)
            .and_then(|file| file.take(*left + 1).read_to_string(&mut text))
            .map_err(at(&path))?;
        *left = left.checked_sub(read as u64).ok_or(StoreError::TooLarge)?;
        files.insert(name, text);
    }
    Ok(())
}

fn check(files: &Files) -> Result<(), StoreError> {
    let bytes: u64 = files.values().map(|text| text.len() as u64).sum();
    if files.len() > FILES_MAX || bytes > BYTES_MAX {
        return Err(StoreError::TooLarge);
    }
    for name in files.keys() {
        let plain = |part: &str| {
            !part.is_empty()
                && part.len() <= 64
                && !part.starts_with('.')
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        let parts: Vec<&str> = name.split('/').collect();
        if parts.len() > 2 || !parts.iter().all(|part| plain(part)) {
            return Err(StoreError::Name(name.chars().take(80).collect()));
        }
    }
    Ok(())
}

fn sync(folder: &Path) -> Result<(), StoreError> {
    fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(at(folder))
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("portcullis-releases-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn files() -> Files {
        [("mandates.toml", "a"), ("markets/binance.json", "b")]
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .into()
    }

    #[test]
    fn a_release_comes_back_as_it_was_and_altered_not_at_all() {
        let folder = folder("whole");
        let hash = store(&folder, &files()).unwrap();
        assert_eq!(load(&folder, &hash).unwrap(), files());
        assert_eq!(store(&folder, &files()).unwrap(), hash);
        let place = folder.join(hex(&hash));
        fs::write(place.join("mandates.toml"), "A").unwrap();
        assert!(matches!(load(&folder, &hash), Err(StoreError::Hash { .. })));
        // Storing it again mends it.
        store(&folder, &files()).unwrap();
        assert!(load(&folder, &hash).is_ok());
        fs::write(place.join("extra.toml"), "").unwrap();
        assert!(matches!(load(&folder, &hash), Err(StoreError::Hash { .. })));
        let _ = fs::remove_dir_all(folder);
    }

    #[test]
    fn names_stay_inside() {
        let folder = folder("names");
        for name in ["../x", "/x", "a/b/c", "", ".x", "a//b", "a b"] {
            let files: Files = [(name.to_owned(), String::new())].into();
            assert!(
                matches!(store(&folder, &files), Err(StoreError::Name(_))),
                "{name}"
            );
        }
        let _ = fs::remove_dir_all(folder);
    }
}
