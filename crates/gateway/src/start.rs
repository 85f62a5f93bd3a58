//! How both rooms begin and end: the control channel first, then confinement, and only then the first byte.

use crate::lines::Lines;
use crate::tls::TlsError;
use portcullis_room::BUILD_ID;
use portcullis_room::confine::{Require, Room, confine};
use portcullis_room::control::{
    Control, ControlError, Descriptors, FromRoom, Peer, Received, ToRoom,
};
use portcullis_room::schedule;
use serde_json::{Value, json};
use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

/// Why a room ends.
#[derive(Debug)]
pub enum Ended {
    /// It was told to, or `up` is gone.
    InOrder,
    Failed(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InOrder => f.write_str("ended in order"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl From<std::io::Error> for Ended {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<TlsError> for Ended {
    fn from(error: TlsError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<ControlError> for Ended {
    fn from(error: ControlError) -> Self {
        match error {
            // `up` is gone.
            ControlError::Closed => Self::InOrder,
            error => Self::Failed(error.to_string()),
        }
    }
}

/// A room that is confined and has not read anything yet.
pub struct Begun {
    pub control: Control,
    pub(crate) lines: Lines,
}

/// Runs a room's program from its arguments to its exit code.
#[must_use]
pub fn program(me: Peer, serve: impl FnOnce(Begun) -> Ended) -> ExitCode {
    let name = format!("portcullis-{me}");
    let mut require_sandbox = false;
    for argument in std::env::args_os().skip(1) {
        match argument.to_str() {
            Some("--require-sandbox") => require_sandbox = true,
            Some("--version") => {
                println!("{name} {BUILD_ID}");
                return ExitCode::SUCCESS;
            }
            _ => {
                eprintln!(
                    "error: {name} takes `--require-sandbox` and nothing else\nhint: `portcullis up` starts it"
                );
                return ExitCode::from(2);
            }
        }
    }
    let begun = match begin(me, require_sandbox) {
        Ok(begun) => begun,
        Err(Ended::InOrder) => return ExitCode::SUCCESS,
        Err(Ended::Failed(why)) => {
            eprintln!("error: {name}: {why}");
            return ExitCode::from(1);
        }
    };
    match serve(begun) {
        Ended::InOrder => ExitCode::SUCCESS,
        Ended::Failed(why) => {
            eprintln!("error: {name}: {why}");
            ExitCode::from(1)
        }
    }
}

fn begin(me: Peer, require_sandbox: bool) -> Result<Begun, Ended> {
    let mut control = Control::from_fd3()?;
    let mut lines = Lines::of(me.name())?;
    // It wakes the next room and goes on with its turn; without it (some containers) it only costs more.
    if let Err(why) = schedule::batch() {
        lines.event("not-batch", json!({ "why": why.to_string() }));
    }
    // The library's random numbers set themselves up with a call (an advice that no kernel has, to tell an emulator) that
    // is not in the room's list.
    aws_lc_rs::rand::fill(&mut [0; 1])
        .map_err(|_| Ended::Failed("the system gives no random numbers".to_owned()))?;
    let room = match me {
        Peer::Ingress => Room::Ingress,
        Peer::Egress => Room::Egress,
        Peer::Signer => {
            return Err(Ended::Failed(
                "the signer is a program of its own".to_owned(),
            ));
        }
    };
    let require = match require_sandbox {
        true => Require::Sandbox,
        false => Require::No,
    };
    let sandbox = confine(&room, require).map_err(|why| Ended::Failed(why.to_string()))?;
    lines.event("started", json!({ "build": BUILD_ID, "sandbox": sandbox }));
    control.send(&FromRoom::Ready {
        room: me,
        build: BUILD_ID.to_owned(),
        sandbox,
    })?;
    Ok(Begun { control, lines })
}

/// Makes a room of what `up` says first, runs it, and says goodbye. `make` gives nothing if it is to end before it began.
pub(crate) fn serve<R>(
    begun: Begun,
    make: impl FnOnce(&mut Control, Lines) -> Result<Option<R>, Ended>,
    run: impl FnOnce(&mut R, &mut Control) -> Result<Ended, Ended>,
) -> Ended {
    let Begun { mut control, lines } = begun;
    let ended = match make(&mut control, lines) {
        Ok(Some(mut room)) => run(&mut room, &mut control).unwrap_or_else(|why| why),
        Ok(None) => Ended::InOrder,
        Err(why) => why,
    };
    stopped(&mut control, &ended);
    ended
}

/// Waits for the first message, the settings. `None`: it is to end before it began.
pub(crate) fn settings(
    control: &mut Control,
) -> Result<Option<(Value, Descriptors)>, ControlError> {
    loop {
        match control.receive_within(Duration::from_secs(3600))? {
            Received::Message(ToRoom::Start { settings }, fds) => return Ok(Some((settings, fds))),
            Received::Message(ToRoom::Stop, _) | Received::Closed => return Ok(None),
            Received::Message(..) | Received::NotNow => {}
        }
    }
}

/// Says goodbye to `up`, if it is there.
fn stopped(control: &mut Control, ended: &Ended) {
    let message = match ended {
        Ended::InOrder => FromRoom::Stopped {
            ok: true,
            why: None,
        },
        Ended::Failed(why) => FromRoom::Stopped {
            ok: false,
            why: Some(why.clone()),
        },
    };
    let _ = control.send(&message);
}
