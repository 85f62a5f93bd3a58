//! `portcullis-signer`: the room with the keys and the log. `portcullis up` starts it, and so does `portcullis` for a
//! command before the site runs; both speak to it over descriptor 3.
//!
//! It confines itself, says that it is ready, and only then reads its first byte. From there on it is one loop
//! ([`portcullis_signer::serve`]) until it is told to stop, the log fails, or whoever started it is gone.

use portcullis_authority::compile_release;
use portcullis_model::id::Name;
use portcullis_model::release::{Authority, Files};
use portcullis_model::state::State;
use portcullis_room::clock::{boot_us, unix_us};
use portcullis_room::confine::{Operators, Require, Room, SandboxReport, confine};
use portcullis_room::control::{
    Control, Descriptors, FromRoom, OperatorSettings, Peer, Received, ToRoom,
};
use portcullis_room::io::{Flow, set_nonblocking, write};
use portcullis_room::poll::Waker;
use portcullis_room::{BUILD_ID, schedule};
use portcullis_signer::clock::Reading;
use portcullis_signer::core::{Compile, Seal};
use portcullis_signer::gate::{Gate, Sealed, Site};
use portcullis_signer::log_file::{FileSystem, Wake};
use portcullis_signer::serve::{Ended, Serve};
use portcullis_venues::Catalog;
use serde::Deserialize;
use std::error::Error;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

const HELP: &str = "\
portcullis-signer: the room that holds keys and log; `portcullis up` starts it

  portcullis-signer --site DIR [--require-sandbox] [--any-user]

  --require-sandbox  do not start where the kernel cannot confine it whole
  --any-user         operators may be other users than the one it runs as; without privilege this costs the empty
                     network namespace, in which other users have no name

exit codes: 0 ended in order, 1 refused, 2 could not start
";

/// Whoever started us says what to do within this, or is not there.
const START_WITHIN: Duration = Duration::from_secs(30);
/// Another signer of the site may still be ending.
const LOCK_WITHIN: Duration = Duration::from_secs(5);
/// Lines that `up` has not read: beyond it they are dropped, the log has them.
const LINE_BYTES_MAX: usize = 1 << 20;

fn main() -> ExitCode {
    let arguments = match Arguments::read(std::env::args_os().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            // A closed standard output must not turn help into a panic.
            let _ = io::stdout().write_all(HELP.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(why) => return fail(2, &why),
    };
    match run(&arguments) {
        Ok(Ended::Stopped | Ended::Alone) => ExitCode::SUCCESS,
        // Whoever started us was told why over the channel, and says it.
        Ok(Ended::Failed(_)) => ExitCode::from(1),
        Err(why) if why.is::<Told>() => ExitCode::from(2),
        Err(why) => fail(2, &why.to_string()),
    }
}

/// It could not start, and said why over the channel.
#[derive(Debug)]
struct Told;

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it could not start, and said why")
    }
}

impl Error for Told {}

fn fail(code: u8, why: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: signer: {why}");
    ExitCode::from(code)
}

struct Arguments {
    site: PathBuf,
    require: Require,
    operators: Operators,
}

impl Arguments {
    fn read(
        mut arguments: impl Iterator<Item = std::ffi::OsString>,
    ) -> Result<Option<Self>, String> {
        let mut site = None;
        let (mut require, mut operators) = (Require::No, Operators::OurUser);
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                Some("--site") => site = arguments.next().map(PathBuf::from),
                Some("--require-sandbox") => require = Require::Sandbox,
                Some("--any-user") => operators = Operators::AnyUser,
                Some("--help" | "-h" | "help") => return Ok(None),
                _ => return Err(format!("`{}` is not an option", argument.display())),
            }
        }
        match site {
            Some(site) => Ok(Some(Self {
                site,
                require,
                operators,
            })),
            None => Err("`--site DIR` is missing".to_owned()),
        }
    }
}

/// What the start message says to the signer. Fields for other rooms may stand beside these.
#[derive(Deserialize)]
struct Settings {
    site: String,
    operators: Vec<OperatorSettings>,
    #[serde(default)]
    seal: Seal,
}

/// Cedar, as the release's authority.
struct Cedar;

impl Compile for Cedar {
    fn compile(&self, files: &Files, state: &State) -> Result<Box<dyn Authority>, String> {
        compile_release(files, state)
    }
}

fn run(arguments: &Arguments) -> Result<Ended, Box<dyn Error>> {
    let mut control = Control::from_fd3()?;
    schedule::batch()?;
    let report = confined(arguments)?;
    control.send(&FromRoom::Ready {
        room: Peer::Signer,
        build: BUILD_ID.to_owned(),
        sandbox: report.clone(),
    })?;
    let started = start(arguments, &mut control).and_then(|started| loaded(started, report));
    match started {
        Ok((mut serve, lock)) => {
            serve.control(control)?;
            let ended = serve.run();
            drop(lock);
            Ok(ended)
        }
        Err(why) => {
            let stopped = FromRoom::Stopped {
                ok: false,
                why: Some(why.to_string()),
            };
            match control.send(&stopped) {
                Ok(()) => Err(Told.into()),
                // The channel may be what failed.
                Err(_) => Err(why),
            }
        }
    }
}

/// Locks this process in. The folders that it keeps are made first.
fn confined(arguments: &Arguments) -> Result<SandboxReport, Box<dyn Error>> {
    for part in ["log", "releases"] {
        let place = arguments.site.join(part);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&place)
            .map_err(|why| format!("{}: {why}", place.display()))?;
    }
    let room = Room::Signer {
        site: arguments.site.clone(),
        operators: arguments.operators,
    };
    Ok(confine(&room, arguments.require)?)
}

/// The start message, and the folder that it is about.
struct Started {
    settings: Settings,
    fds: Descriptors,
    folder: PathBuf,
    /// Held to the end: one signer a site.
    lock: File,
}

fn start(arguments: &Arguments, control: &mut Control) -> Result<Started, Box<dyn Error>> {
    let (settings, fds) = loop {
        match control.receive_within(START_WITHIN)? {
            Received::Message(ToRoom::Start { settings }, fds) => {
                break (portcullis_room::control::settings(settings)?, fds);
            }
            Received::Message(ToRoom::Stop, _) | Received::Closed => {
                return Err("told to stop before the start".into());
            }
            Received::Message(..) => {}
            Received::NotNow => return Err("nobody said what to do within 30 seconds".into()),
        }
    };
    let folder = arguments.site.clone();
    let lock = lock(&folder)?;
    Ok(Started {
        settings,
        fds,
        folder,
        lock,
    })
}

/// The loop, with the site's log verified and folded; and the lock on it.
fn loaded(mut started: Started, report: SandboxReport) -> Result<(Serve, File), Box<dyn Error>> {
    let settings = started.settings;
    let catalog = Catalog::builtin()?;
    let waker = Waker::new()?;
    let wake: Wake = {
        let waker = waker.clone();
        Arc::new(move || waker.wake())
    };
    let name = Name::new(&settings.site)?;
    let site = Site {
        folder: started.folder,
        name,
        by: settings
            .operators
            .first()
            .map_or_else(|| "init".to_owned(), |one| one.name.clone()),
        seal: settings.seal,
        compile: Arc::new(Cedar),
        disk: Arc::new(FileSystem),
        wake,
    };
    let sealed = Sealed::new(site, reading())?;
    let mut serve = Serve::new(
        Gate::Sealed(Box::new(sealed)),
        catalog,
        BUILD_ID.as_bytes(),
        waker,
        reading,
        lines()?,
    )?;
    serve.sandbox(Peer::Signer, report)?;
    serve.operators(settings.operators);
    if let Some(listener) = started.fds.take("operator") {
        serve.listener(listener)?;
    }
    if let Some(connection) = started.fds.take("operator-connection") {
        serve.operator(connection)?;
    }
    Ok((serve, started.lock))
}

fn reading() -> Reading {
    Reading {
        wall_us: unix_us(),
        boot_us: boot_us(),
    }
}

/// One signer a site: a second one would append to the same log.
fn lock(folder: &Path) -> Result<File, Box<dyn Error>> {
    let place = folder.join("log").join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&place)
        .map_err(|why| format!("{}: {why}", place.display()))?;
    let mut left = LOCK_WITHIN;
    let step = Duration::from_millis(20);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if !left.is_zero() => {
                std::thread::sleep(step);
                left = left.saturating_sub(step);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(format!(
                    "another signer of this site is running (it holds {}); stop it, or speak to it",
                    place.display()
                )
                .into());
            }
            Err(TryLockError::Error(why)) => {
                return Err(format!("{}: {why}", place.display()).into());
            }
        }
    }
}

/// Structured lines to standard output, which `up` reads. Never waits for it.
fn lines() -> io::Result<impl FnMut(&str) + 'static> {
    let out = io::stdout();
    set_nonblocking(&out)?;
    let mut waiting: Vec<u8> = Vec::new();
    Ok(move |line: &str| {
        if waiting.len() + line.len() < LINE_BYTES_MAX {
            waiting.extend_from_slice(line.as_bytes());
            waiting.push(b'\n');
        }
        while !waiting.is_empty() {
            match write(&out, &waiting) {
                Ok(Flow::Moved(count)) => drop(waiting.drain(..count)),
                Ok(Flow::NotNow) => return,
                Ok(Flow::Closed) | Err(_) => {
                    // Nobody reads any more; the log has what counts.
                    waiting.clear();
                    return;
                }
            }
        }
    })
}
