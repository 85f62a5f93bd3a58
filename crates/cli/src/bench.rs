//! `portcullis bench`: runs the benchmark's program, which lies beside this one.

use crate::Context;
use crate::fail::{Done, Fail};
use crate::seal;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;

#[derive(clap::Args)]
#[command(
    disable_help_flag = true,
    after_help = "Example:
  portcullis bench --json"
)]
pub struct Bench {
    /// Passed on to `portcullis-bench`; `--help` shows them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

pub fn run(context: &Context, arguments: &Bench) -> Done {
    let program = seal::beside("portcullis-bench")?;
    let why = std::process::Command::new(&program)
        .args(context.json.then_some("--json"))
        .args(&arguments.arguments)
        .exec();
    Err(Fail::at(&program, &why))
}
