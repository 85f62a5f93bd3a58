//! The supervisor's own socket, `run/up.sock`: what the signer has no part in. Frames `u32 big-endian length | JSON`, one
//! question and one answer a connection; a pipe with secrets may come with the question, and `up` hands it on unread.

use crate::Context;
use crate::fail::{DONE, Done, Fail};
use crate::operator;
use crate::seal::{self, Opener};
use crate::show;
use crate::site::Site;
use crate::terminal::Secret;
use portcullis_room::control::Peer;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A question or an answer at most.
const FRAME_BYTES_MAX: usize = 1 << 20;
/// A room that is restarted may take so long to end and to start.
const PATIENCE: Duration = Duration::from_secs(40);

/// What `up` is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Ask {
    Status,
    /// End a room in order, and start it again.
    Restart {
        room: Peer,
    },
    /// Hand the pipe that comes with this to the signer.
    Secrets,
    /// Open the secrets with what the site has.
    Unseal,
}

#[derive(clap::Args)]
#[command(after_help = "Example:
  portcullis restart ingress

The room ends in order and starts again, with the program that now lies beside `portcullis`; listeners stay open, and what arrives meanwhile waits. It takes a renewed certificate in, and helps a room that behaves oddly. A new version is one restart of the service instead: rooms of different builds refuse each other (docs/ops/upgrade.md). Where a person opens the site, `portcullis unseal` follows a restart of the signer.")]
pub struct Restart {
    #[arg(value_enum)]
    room: RoomName,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum RoomName {
    Ingress,
    Signer,
    Egress,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  portcullis unseal                                asks for the passphrase
  pass show fund-1 | portcullis unseal --passphrase-stdin")]
pub struct Unseal {}

pub fn restart(context: &Context, arguments: &Restart) -> Done {
    let site = context.open()?;
    let room = match arguments.room {
        RoomName::Ingress => Peer::Ingress,
        RoomName::Signer => Peer::Signer,
        RoomName::Egress => Peer::Egress,
    };
    let answer = ask(&site, &Ask::Restart { room }, None)?.ok_or_else(not_up)?;
    show::either(context.json, &answer, || {
        let ms = answer
            .get("gap_ms")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        format!("{room} has ended in order and runs again after {ms} ms")
    });
    Ok(DONE)
}

pub fn unseal(context: &Context, _: &Unseal) -> Done {
    let site = context.open()?;
    if ask(&site, &Ask::Status, None)?.is_none() {
        return Err(not_up());
    }
    let passphrase = seal::passphrase(&site, context.given)?;
    hand_secrets(&site, passphrase.as_ref()).map_err(|fail| operator::explain_seal(fail, &site))?;
    show::either(context.json, &json!({ "unsealed": true }), || {
        "the signer has the site's secrets".to_owned()
    });
    Ok(DONE)
}

fn not_up() -> Fail {
    Fail::refused("`portcullis up` does not run on this site")
        .hint("start it, or see `portcullis status`")
}

/// Opens the site's secrets for the running signer: here if a person opens them, by `up` if systemd does.
pub fn hand_secrets(site: &Site, passphrase: Option<&Secret>) -> Result<(), Fail> {
    let here =
        passphrase.is_some() || matches!(Opener::of(site), Opener::KeyFile(file) if file.is_file());
    if !here {
        return ask(site, &Ask::Unseal, None)?.map(drop).ok_or_else(not_up);
    }
    let (pipe, opening) = seal::open(site, &site.sealed()?, passphrase)?;
    let asked = ask(site, &Ask::Secrets, Some(pipe.as_fd()));
    drop(pipe);
    opening.finish()?;
    asked?.map(drop).ok_or_else(not_up)
}

/// `None`: nobody listens.
pub fn ask(site: &Site, ask: &Ask, fd: Option<BorrowedFd<'_>>) -> Result<Option<Value>, Fail> {
    let place = site.run("up.sock");
    let mut connection = match UnixStream::connect(&place) {
        Ok(connection) => connection,
        Err(why)
            if matches!(
                why.kind(),
                ErrorKind::NotFound | ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(why) => return Err(Fail::at(&place, &why)),
    };
    let mut talk = || -> io::Result<Value> {
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.set_write_timeout(Some(PATIENCE))?;
        send(&mut connection, &serde_json::to_value(ask)?, fd)?;
        receive(&mut connection).map(|(answer, _)| answer)
    };
    let answer =
        talk().map_err(|why| Fail::untold(format!("`portcullis up` did not answer: {why}")))?;
    match answer.get("error").and_then(Value::as_str) {
        None => Ok(Some(answer)),
        Some(why) => {
            let mut fail = Fail::refused(why);
            fail.hint = answer
                .get("hint")
                .and_then(Value::as_str)
                .map(str::to_owned);
            Err(fail)
        }
    }
}

/// One frame, with a descriptor beside its first byte.
pub fn send(to: &mut UnixStream, json: &Value, fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let json = json.to_string();
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend_from_slice(json.as_bytes());
    let fds: Vec<BorrowedFd<'_>> = fd.into_iter().collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        beside.push(SendAncillaryMessage::ScmRights(&fds));
    }
    let sent = sendmsg(
        &*to,
        &[IoSlice::new(&frame)],
        &mut beside,
        SendFlags::NOSIGNAL,
    )?;
    to.write_all(frame.get(sent..).unwrap_or_default())
}

/// One frame, and the descriptor that came with it.
pub fn receive(from: &mut UnixStream) -> io::Result<(Value, Option<OwnedFd>)> {
    let mut fd = None;
    let mut head = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(
        &*from,
        &mut [IoSliceMut::new(&mut head)],
        &mut beside,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            fd = fds.last().or(fd);
        }
    }
    if got.bytes == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    from.read_exact(head.get_mut(got.bytes..).unwrap_or_default())?;
    let length = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::other("a frame that is too long"));
    }
    let mut json = vec![0; length];
    from.read_exact(&mut json)?;
    Ok((serde_json::from_slice(&json)?, fd))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_travels_with_a_question() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        let (mut read, write) = io::pipe().unwrap();
        send(&mut here, &json!({ "ask": "secrets" }), Some(write.as_fd())).unwrap();
        drop(write);
        let (question, fd) = receive(&mut there).unwrap();
        assert!(matches!(
            serde_json::from_value(question).unwrap(),
            Ask::Secrets
        ));
        let mut write = io::PipeWriter::from(fd.unwrap());
        write.write_all(b"x").unwrap();
        drop(write);
        let mut got = String::new();
        read.read_to_string(&mut got).unwrap();
        assert_eq!(got, "x");
        send(&mut there, &json!({}), None).unwrap();
        assert!(receive(&mut here).unwrap().1.is_none());
    }

    #[test]
    fn a_long_frame_is_refused() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        here.write_all(&[0xff; 8]).unwrap();
        assert!(receive(&mut there).is_err());
    }
}
