//! What `up` binds and who may knock: listeners for programs (which ingress serves), the operators' socket (which the signer
//! serves), its own socket and the page of metrics. A guest gets a thread, a time limit, and one question.

use super::{
    Bell, Bound, CHAIN_BYTES_MAX, GUESTS_MAX, Happened, KEY_BYTES_MAX, LISTEN_BACKLOG, PAGE_WITHIN,
    page,
};
use crate::desk;
use crate::fail::{Fail, plain};
use crate::https;
use crate::seal;
use crate::site::{self, Site};
use portcullis_room::control::{ListenerSettings, TlsSettings};
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fs;
use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{self as unix_net, UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// One supervisor a site. The kernel gives the lock back whatever becomes of us.
pub fn lock(site: &Site) -> Result<fs::File, Fail> {
    let run = site.dir.join("run");
    if !run.exists() {
        seal::private_folder(&run)?;
    }
    let place = site.run("up.pid");
    let mut file = fs::OpenOptions::new()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(&place)
        .map_err(|why| Fail::at(&place, &why))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let pid = site::read_text(&place, 32).unwrap_or_default();
            return Err(Fail::refused(format!(
                "site `{}` is up already, as process {}",
                site.settings.name,
                pid.trim()
            ))
            .hint("`portcullis status` shows it; stop it there, or with SIGTERM"));
        }
        Err(fs::TryLockError::Error(why)) => return Err(Fail::at(&place, &why)),
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(|why| Fail::at(&place, &why))?;
    Ok(file)
}

pub(super) fn signals(bell: &Bell) -> Result<(), Fail> {
    let cannot = |why: std::io::Error| Fail::untold(format!("cannot watch for signals: {why}"));
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(cannot)?;
    let bell = bell.clone();
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for _ in signals.forever() {
                bell.ring(Happened::Signal);
            }
        })
        .map(drop)
        .map_err(cannot)
}

pub(super) fn bind(site: &Site, bell: &Bell) -> Result<Bound, Fail> {
    let mut listeners = Vec::new();
    for listener in &site.settings.listener {
        listener_settings(site, listener)?;
        let bound = TcpListener::bind(listener.bind).map_err(|why| {
            Fail::untold(format!(
                "listener for `{}`: {}: {}",
                listener.host,
                listener.bind,
                plain(&why)
            ))
            .hint("site.toml says where it listens; port 0 takes any free port")
        })?;
        // std asks for 128: when more programs than that connect at once, some of them would wait a second.
        if let Err(why) = socket2::SockRef::from(&bound).listen(LISTEN_BACKLOG) {
            return Err(Fail::untold(format!(
                "listener for `{}`: {why}",
                listener.host
            )));
        }
        listeners.push(bound);
    }
    if listeners.is_empty() {
        return Err(Fail::untold("site.toml has no listener")
            .hint("add a [[listener]] for each venue host that programs talk to"));
    }
    let operator = socket(&site.run("operator.sock"))?;
    let desk = socket(&site.run("up.sock"))?;
    let guests = Arc::new(AtomicUsize::new(0));
    let of_desk = bell.clone();
    let desk_guests = Arc::clone(&guests);
    spawn_named("desk", move || {
        for connection in desk.incoming() {
            let Some(connection) = taken(connection) else {
                continue;
            };
            let bell = of_desk.clone();
            guest(&desk_guests, move || serve_desk(connection, &bell));
        }
    })?;
    let metrics = match &site.settings.metrics {
        None => None,
        Some(metrics) => {
            let listener = TcpListener::bind(metrics.bind).map_err(|why| {
                Fail::untold(format!("metrics: {}: {}", metrics.bind, plain(&why)))
                    .hint("site.toml says where it listens; port 0 takes any free port")
            })?;
            let at = listener
                .local_addr()
                .map_err(|why| Fail::untold(format!("metrics: {why}")))?;
            let of_page = bell.clone();
            spawn_named("metrics", move || {
                for connection in listener.incoming() {
                    let Some(connection) = taken(connection) else {
                        continue;
                    };
                    let bell = of_page.clone();
                    guest(&guests, move || serve_page(connection, &bell));
                }
            })?;
            Some(at)
        }
    };
    Ok(Bound {
        listeners,
        operator,
        metrics,
    })
}

pub(super) fn spawn_named(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Fail> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map(drop)
        .map_err(|why| Fail::untold(format!("cannot start a thread: {why}")))
}

/// A connection, if there was one. Out of descriptors the next try fails at once too, so there is a pause.
fn taken<T>(connection: std::io::Result<T>) -> Option<T> {
    if connection.is_err() {
        thread::sleep(Duration::from_millis(100));
    }
    connection.ok()
}

/// A thread for one connection, if there are not too many.
pub(super) fn guest(guests: &Arc<AtomicUsize>, work: impl FnOnce() + Send + 'static) {
    if guests.fetch_add(1, Ordering::Relaxed) >= GUESTS_MAX {
        guests.fetch_sub(1, Ordering::Relaxed);
        return;
    }
    let count = Arc::clone(guests);
    let started = spawn_named("guest", move || {
        work();
        count.fetch_sub(1, Ordering::Relaxed);
    });
    if started.is_err() {
        guests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A socket that only its owner may use. The folder around it is closed to others, so there is no moment in between.
pub(super) fn socket(place: &Path) -> Result<UnixListener, Fail> {
    match fs::remove_file(place) {
        Err(why) if why.kind() != ErrorKind::NotFound => return Err(Fail::at(place, &why)),
        _ => {}
    }
    let listener = UnixListener::bind(place).map_err(|why| {
        let fail = Fail::at(place, &why);
        match why.kind() {
            ErrorKind::InvalidInput => {
                fail.hint("the path of the site is too long for a socket; use a shorter one")
            }
            _ => fail,
        }
    })?;
    fs::set_permissions(place, fs::Permissions::from_mode(0o600))
        .map_err(|why| Fail::at(place, &why))?;
    Ok(listener)
}

pub(super) fn serve_desk(mut connection: UnixStream, bell: &Bell) {
    let patience = Some(Duration::from_secs(5));
    let _ = connection.set_read_timeout(patience);
    let _ = connection.set_write_timeout(patience);
    let Ok((question, fd)) = desk::receive(&mut connection) else {
        return;
    };
    let answer = match serde_json::from_value(question) {
        Ok(ask) => {
            let (answer, wait) = channel();
            bell.ring(Happened::Asked { ask, fd, answer });
            wait.recv_timeout(Duration::from_secs(35)).unwrap_or_else(
                |_| json!({ "error": "it takes too long; see the lines of `portcullis up`" }),
            )
        }
        Err(why) => json!({ "error": format!("the question is not understood: {why}") }),
    };
    let _ = desk::send(&mut connection, &answer, None);
}

pub(super) fn serve_page(mut connection: std::net::TcpStream, bell: &Bell) {
    match page::is_wanted(&mut connection) {
        Ok(true) => {
            let (answer, wait) = channel();
            bell.ring(Happened::Page(answer));
            if let Ok(text) = wait.recv_timeout(PAGE_WITHIN * 3) {
                let _ = page::answer(&mut connection, "200 OK", &text);
            }
        }
        Ok(false) => {
            let _ = page::answer(&mut connection, "404 Not Found", "the page is /metrics\n");
        }
        Err(_) => {}
    }
}

/// What a listener shows, and that it can be used: ingress would end of it.
pub(super) fn listener_settings(
    site: &Site,
    listener: &site::Listener,
) -> Result<ListenerSettings, Fail> {
    let tls = match (&listener.tls_chain, &listener.tls_key) {
        (Some(chain), Some(key)) => {
            let tls = TlsSettings {
                chain_pem: site::read_text(&site.path(chain), CHAIN_BYTES_MAX)?,
                key_pem: site::read_text(&site.path(key), KEY_BYTES_MAX)?,
            };
            https::check_pair(&tls.chain_pem, &tls.key_pem).map_err(|why| {
                Fail::refused(format!("listener for `{}`: {why}", listener.host))
                    .hint("tls_chain is the certificate chain, leaf first, and tls_key its private key, both PEM")
            })?;
            Some(tls)
        }
        _ => None,
    };
    Ok(ListenerSettings {
        venue: listener.venue.clone(),
        host: listener.host.clone(),
        tls,
    })
}

/// sd_notify(3), where systemd started us and waits for it. Nothing depends on its arriving.
pub(super) fn tell_systemd(word: &str) {
    let Some(place) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let bytes = place.as_bytes();
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => unix_net::SocketAddr::from_abstract_name(name),
        None => unix_net::SocketAddr::from_pathname(&place),
    };
    if let (Ok(address), Ok(socket)) = (address, UnixDatagram::unbound()) {
        let _ = socket.send_to_addr(word.as_bytes(), &address);
    }
}
