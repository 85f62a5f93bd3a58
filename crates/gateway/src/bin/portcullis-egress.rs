//! Egress: faces the exchanges. Started by `portcullis up`.

use portcullis_gateway::{egress, start};
use portcullis_room::control::Peer;
use std::process::ExitCode;

fn main() -> ExitCode {
    start::program(Peer::Egress, egress::serve)
}
