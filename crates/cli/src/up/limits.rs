//! What egress knows of the venues' limits, kept here so that a ban outlives egress, and in a file so that it outlives `up`.
//! Egress' word alone: whoever holds it can make the next one wait, three days at most, and could wait himself.

use super::Up;
use crate::show;
use portcullis_room::clock;
use portcullis_room::control::{Peer, VenueLimits};
use serde_json::json;
use std::fs;
use std::io;
use std::path::Path;

/// Hosts at most; of a room that names more nothing is taken.
const HOSTS_MAX: usize = 256;
/// A host's name at most.
const HOST_BYTES_MAX: usize = 255;
/// The file within `run/`. It has the same fields, with times since 1970, since the boot clock does not outlive the machine.
const FILE: &str = "limits.json";

impl Up<'_> {
    /// What the last run of egress, or of `up`, left.
    pub(super) fn read_limits(&mut self) {
        let file = self.site.run(FILE);
        match read(&file, now()) {
            Ok(limits) => self.limits = limits,
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            Err(why) => self.alert(
                "limits-lost",
                json!({ "file": file.display().to_string(), "why": why.to_string() }),
            ),
        }
    }

    /// Egress says how things stand.
    pub(super) fn take_limits(&mut self, peer: Peer, limits: Vec<VenueLimits>) {
        let fits = |of: &VenueLimits| of.host.len() <= HOST_BYTES_MAX;
        if peer != Peer::Egress || limits.len() > HOSTS_MAX || !limits.iter().all(fits) {
            return;
        }
        let bans = |limits: &[VenueLimits]| -> Vec<u64> {
            limits.iter().map(|of| of.banned_until_us).collect()
        };
        // Weight is forgotten in a minute anyway: it is worth no write a second.
        let is_kept = bans(&self.limits) == bans(&limits);
        self.limits = limits;
        if is_kept {
            return;
        }
        if let Err(why) = write(&self.site.run(FILE), &self.limits, now()) {
            self.alert("limits-not-kept", json!({ "why": why.to_string() }));
        }
    }
}

/// The same moment by both clocks: boot, and since 1970.
fn now() -> (u64, u64) {
    (clock::boot_us(), show::now().0)
}

/// Moves a time from the first clock to the second.
fn moved(at: u64, (from, to): (u64, u64)) -> u64 {
    to.saturating_add(at).saturating_sub(from)
}

fn read(file: &Path, (boot, unix): (u64, u64)) -> io::Result<Vec<VenueLimits>> {
    let mut limits: Vec<VenueLimits> = serde_json::from_slice(&fs::read(file)?)?;
    for of in &mut limits {
        of.banned_until_us = moved(of.banned_until_us, (unix, boot));
        of.at_us = moved(of.at_us, (unix, boot));
    }
    Ok(limits)
}

fn write(file: &Path, limits: &[VenueLimits], now: (u64, u64)) -> io::Result<()> {
    let kept: Vec<VenueLimits> = limits
        .iter()
        .map(|of| VenueLimits {
            banned_until_us: moved(of.banned_until_us, now),
            at_us: moved(of.at_us, now),
            ..of.clone()
        })
        .collect();
    let new = file.with_extension("new");
    fs::write(&new, serde_json::to_vec(&kept)?)?;
    fs::rename(new, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_outlives_the_machine() {
        let folder = std::env::temp_dir().join(format!("up-limits-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join(FILE);
        let limits = |banned_until_us, at_us| {
            vec![VenueLimits {
                host: "api.binance.com".to_owned(),
                banned_until_us,
                weight_used: 7,
                at_us,
            }]
        };
        let (boot, unix) = (5_000_000, 1_790_000_000_000_000);
        write(&file, &limits(boot + 90, boot - 10), (boot, unix)).unwrap();
        assert_eq!(
            read(&file, (boot, unix)).unwrap(),
            limits(boot + 90, boot - 10)
        );
        // Twenty microseconds later, just after a start of the machine.
        assert_eq!(read(&file, (15, unix + 20)).unwrap(), limits(85, 0));
        // A host that asked for nothing.
        write(&file, &limits(0, 0), (boot, unix)).unwrap();
        assert_eq!(read(&file, (15, unix + 20)).unwrap(), limits(0, 0));
        fs::write(&file, "[{").unwrap();
        assert!(read(&file, (boot, unix)).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
