//! Ingress: faces the programs. Started by `portcullis up`.

use portcullis_gateway::{ingress, start};
use portcullis_room::control::Peer;
use std::process::ExitCode;

fn main() -> ExitCode {
    start::program(Peer::Ingress, ingress::serve)
}
