//! The hosts of a venue in a site: where egress may go (`release/hosts.toml`) and where programs knock (`site.toml`). An
//! account at a venue that the site does not know yet brings them; nobody has to write them by hand.

use crate::fail::Fail;
use crate::site::{self, LISTENERS_MAX, Site};
use portcullis_venues::{Catalog, Service};
use serde::Deserialize;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Where listeners begin if there is none.
const PORT_FIRST: u16 = 7_001;

#[derive(Deserialize)]
struct HostsFile {
    #[serde(default)]
    host: Vec<Known>,
}

#[derive(Deserialize)]
struct Known {
    venue: String,
    name: String,
}

/// A host that was added, and where programs find it.
pub struct Added {
    pub host: String,
    pub bind: SocketAddr,
}

/// What is to be written, and nothing is yet.
pub struct Plan {
    pub added: Vec<Added>,
    files: Vec<(PathBuf, String, String)>,
}

impl Plan {
    pub fn write(&self) -> Result<(), Fail> {
        self.files
            .iter()
            .try_for_each(|(place, text, more)| append(place, text, more))
    }
}

/// The hosts of a venue that the site does not name yet. `wanted` empty: the venue's first, if it has none at all.
/// `sessions`: the account whose programs may log on at those of them where a program can.
pub fn plan(
    site: &Site,
    venue: &str,
    wanted: &[String],
    sessions: Option<&str>,
) -> Result<Plan, Fail> {
    let catalog = Catalog::builtin().map_err(|why| Fail::untold(why.to_string()))?;
    let of_venue: Vec<&Service> = catalog
        .services()
        .iter()
        .filter(|service| service.venue() == venue)
        .collect();
    let names = || -> String {
        let names: Vec<&str> = of_venue.iter().map(|s| s.host.as_str()).collect();
        names.join(", ")
    };
    let Some(first) = of_venue.first() else {
        return Err(
            Fail::refused(format!("venue `{venue}` has no catalog here"))
                .hint("`portcullis decode --help` lists the venues"),
        );
    };
    let hosts_file = site.dir.join("release/hosts.toml");
    let text = site::read_text(&hosts_file, 1 << 20)?;
    let known: HostsFile = toml::from_str(&text).map_err(|why| {
        Fail::untold(format!(
            "release/hosts.toml: {}",
            why.to_string().trim_end()
        ))
    })?;
    let mut services = Vec::new();
    if wanted.is_empty() && !known.host.iter().any(|host| host.venue == venue) {
        services.push((first.host.as_str(), *first));
    }
    for host in wanted {
        let service = of_venue.iter().find(|s| s.serves(host)).ok_or_else(|| {
            Fail::refused(format!(
                "venue `{venue}` has no host `{host}` in the catalog"
            ))
            .hint(format!("it has {}", names()))
        })?;
        services.push((host.as_str(), *service));
    }
    if let Some(account) = sessions {
        check_sessions(&services, &known, account)?;
    }
    let mut added = Vec::new();
    let (mut hosts, mut listeners) = (String::new(), String::new());
    for (host, service) in services {
        if !known
            .host
            .iter()
            .any(|k| k.venue == venue && k.name == host)
        {
            let _ = write!(
                hosts,
                "\n[[host]]\nvenue = \"{venue}\"\nname = \"{host}\"\npublic_roots = true\n\
                 weight_per_minute = {}\norders_per_10s = {}\n",
                service.weight_per_minute, service.orders_per_10s
            );
            if let Some(account) = sessions.filter(|_| service.pipe) {
                let _ = writeln!(hosts, "sessions = [\"{account}\"]");
            }
        }
        let mut listening = site.settings.listener.iter();
        if !listening.any(|l| l.venue == venue && l.host == host) {
            let bind = next(site, added.len());
            let _ = write!(
                listeners,
                "\n[[listener]]\nvenue = \"{venue}\"\nhost = \"{host}\"\nbind = \"{bind}\"\n"
            );
            added.push(Added {
                host: host.to_owned(),
                bind,
            });
        }
    }
    if site.settings.listener.len() + added.len() > LISTENERS_MAX {
        return Err(Fail::refused(format!(
            "more than {LISTENERS_MAX} listeners"
        )));
    }
    let settings = site.dir.join("site.toml");
    let settings_text = site::read_text(&settings, 1 << 20)?;
    Ok(Plan {
        added,
        files: vec![
            (hosts_file, text, hosts),
            (settings, settings_text, listeners),
        ],
    })
}

/// Whether `--sessions` can be written: only with a new host, and one where programs log on.
fn check_sessions(
    services: &[(&str, &Service)],
    known: &HostsFile,
    account: &str,
) -> Result<(), Fail> {
    let mut pipes = services.iter().filter(|(_, service)| service.pipe);
    let Some((host, _)) = pipes.next() else {
        return Err(Fail::refused(
            "`--sessions` is about a host where programs log on, and no `--host` is one",
        )
        .hint("name it, such as `--host stream.bybit.com`"));
    };
    match known.host.iter().any(|known| known.name == *host) {
        false => Ok(()),
        true => Err(
            Fail::refused(format!("`{host}` stands in release/hosts.toml already"))
                .hint(format!("write `sessions = [\"{account}\"]` there")),
        ),
    }
}

/// The port after the last; on loopback. A site that takes any free port goes on so.
fn next(site: &Site, already: usize) -> SocketAddr {
    let ports = site.settings.listener.iter().map(|l| l.bind.port());
    let port = match ports.max() {
        None => PORT_FIRST,
        Some(0) => 0,
        Some(last) => last.saturating_add(1),
    };
    let port = match port {
        0 => 0,
        port => port.saturating_add(u16::try_from(already).unwrap_or(u16::MAX)),
    };
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Writes the file anew with more at its end: whole, or not at all.
fn append(place: &Path, text: &str, more: &str) -> Result<(), Fail> {
    if more.is_empty() {
        return Ok(());
    }
    let new = place.with_extension("toml.new");
    let mode = fs::metadata(place).map_err(|why| Fail::at(place, &why))?;
    fs::write(&new, format!("{}\n{more}", text.trim_end()))
        .and_then(|()| fs::set_permissions(&new, mode.permissions()))
        .and_then(|()| fs::File::open(&new)?.sync_all())
        .and_then(|()| fs::rename(&new, place))
        .map_err(|why| Fail::at(&new, &why))
}
