//! The gate with everything on: a site made by the command line as an operator would, with the origin as its venue.

use crate::Standing;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

pub fn start(
    _bin: &Path,
    _folder: &Path,
    _origin: SocketAddr,
    _cores: Option<&str>,
) -> io::Result<Standing> {
    Err(io::Error::other("the gate cannot be started yet"))
}

/// Processes started by `parent`.
pub fn children(parent: u32) -> Vec<u32> {
    let Ok(folder) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    folder
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let parent_of = stat
                .rsplit_once(')')
                .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
            parent_of == Some(parent)
        })
        .collect()
}
