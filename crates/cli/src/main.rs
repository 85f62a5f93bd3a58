//! `portcullis`: the operator's program. It links neither the signer nor the gateway: what needs them it asks of them, or
//! starts them. What can be read from the log and the working copy is read there, without asking anybody.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests state what must hold"
    )
)]

mod account;
mod bench;
mod decode;
mod desk;
mod explain;
mod exposure;
mod fail;
mod freqtrade;
mod halt;
mod hosts;
mod https;
mod init;
mod ledger;
mod log;
mod market;
mod operator;
mod policy;
mod reseal;
mod seal;
mod show;
mod site;
mod status;
mod strategy;
mod terminal;
mod up;
mod verify;
mod view;
mod words;

use clap::{Parser, Subcommand};
use fail::{COULD_NOT_TELL, DONE, Done, Fail};
use seal::Given;
use site::Site;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Options that every command has stand apart in its help.
const EVERYWHERE: &str = "Everywhere";

#[derive(Parser)]
#[command(
    name = "portcullis",
    version,
    about = "A gate between trading programs and exchanges",
    after_help = "A first site:
  portcullis init --site ./site --name fund-1 --credential ./fund-1.credential
  export PORTCULLIS_SITE=$PWD/site
  portcullis up

Exit codes: 0 done, 1 refused or not true, 2 could not tell. `portcullis COMMAND --help` has examples.",
    disable_help_subcommand = true
)]
struct Arguments {
    /// The site's folder
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "PORTCULLIS_SITE",
        hide_env_values = true,
        help_heading = EVERYWHERE
    )]
    site: Option<PathBuf>,
    /// Print JSON, one object on one line
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    json: bool,
    /// The first line of standard input is the site's passphrase
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    passphrase_stdin: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a site that permits nothing yet
    Init(init::Init),
    /// Run the gate
    Up(up::Arguments),
    /// Show what runs, what is in force, and what should worry you
    Status(status::Status),
    /// Name the firm's accounts, and add their real keys
    #[command(subcommand)]
    Account(account::Account),
    /// Name trading programs, and issue their virtual keys
    #[command(subcommand)]
    Strategy(strategy::Strategy),
    /// Fetch market facts, and list them
    #[command(subcommand)]
    Market(market::Market),
    /// Check, test, explain and put in force what governs
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Stop: nothing that the level refuses is signed once this returns
    Halt(halt::Halt),
    /// Lower or end a halt
    Resume(halt::Resume),
    /// Say what a strategy can lose at worst
    Exposure(exposure::Exposure),
    /// Say what an entry was, why it was decided so, and what came of it
    Explain(explain::Explain),
    /// Read, verify and export the log
    #[command(subcommand)]
    Log(view::Log),
    /// Say what a raw HTTP request asks of a venue, or why it is not understood
    Decode(decode::Decode),
    /// Ask a room of the running gate to end and start again
    Restart(desk::Restart),
    /// Open the secrets of a running gate that is sealed
    Unseal(desk::Unseal),
    /// Seal the site's secrets again, to others
    Reseal(reseal::Reseal),
    /// After a jump of the clock: say that the present time is right
    ConfirmTime(halt::ConfirmTime),
    /// Measure what the gate costs on this machine
    Bench(bench::Bench),
}

/// What every command is given.
pub struct Context {
    pub site: Option<PathBuf>,
    pub site_from_environment: bool,
    pub json: bool,
    pub given: Given,
}

impl Context {
    pub fn open(&self) -> Result<Site, Fail> {
        Site::open(self.site.as_deref())
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(why) => return usage(&why),
    };
    let context = Context {
        site_from_environment: std::env::var_os("PORTCULLIS_SITE").is_some_and(|set| {
            arguments
                .site
                .as_ref()
                .is_some_and(|site| site.as_os_str() == set)
        }),
        site: arguments.site,
        json: arguments.json,
        given: match arguments.passphrase_stdin {
            true => Given::OnStdin,
            false => Given::Asked,
        },
    };
    match run(&context, arguments.command) {
        Ok(code) => ExitCode::from(code),
        Err(fail) => {
            if context.json {
                let object = serde_json::json!({
                    "error": fail.fact, "code": fail.kind, "hint": fail.hint,
                });
                show::text(&object.to_string());
            } else {
                // A closed standard error must not turn a refusal into a panic.
                let _ = writeln!(std::io::stderr(), "{fail}");
            }
            ExitCode::from(fail.code)
        }
    }
}

/// Help and version are answers; anything else that clap says is a usage error, in our form.
fn usage(why: &clap::Error) -> ExitCode {
    if !why.use_stderr() {
        show::text(&why.to_string());
        return ExitCode::from(DONE);
    }
    let said = why.to_string();
    let words = match said.strip_prefix("error: ") {
        // No command at all: the help.
        None => said,
        Some(said) => {
            let fact: Vec<&str> = said
                .lines()
                .take_while(|line| !line.is_empty())
                .map(str::trim)
                .collect();
            let line = |word: &str| said.lines().find_map(|line| line.trim().strip_prefix(word));
            // Clap's advice on passing an unknown option as a value would put secrets where they must not be.
            let hint = match (line("tip: "), line("Usage: ")) {
                (Some(tip), _) if !tip.starts_with("to pass") => tip.to_owned(),
                (_, Some(usage)) => format!("usage: `{usage}`; `--help` has examples"),
                _ => "`--help` has examples".to_owned(),
            };
            format!("error: {}\nhint: {hint}\n", fact.join(" "))
        }
    };
    let _ = write!(std::io::stderr(), "{words}");
    ExitCode::from(COULD_NOT_TELL)
}

fn run(context: &Context, command: Command) -> Done {
    match command {
        Command::Init(arguments) => init::run(context, &arguments),
        Command::Up(arguments) => up::run(context, &arguments),
        Command::Status(arguments) => status::run(context, &arguments),
        Command::Account(arguments) => account::run(context, &arguments),
        Command::Strategy(arguments) => strategy::run(context, &arguments),
        Command::Market(arguments) => market::run(context, &arguments),
        Command::Policy(arguments) => policy::run(context, &arguments),
        Command::Halt(arguments) => halt::halt(context, &arguments),
        Command::Resume(arguments) => halt::resume(context, &arguments),
        Command::Exposure(arguments) => exposure::run(context, &arguments),
        Command::Explain(arguments) => explain::run(context, &arguments),
        Command::Log(arguments) => view::run(context, &arguments),
        Command::Decode(arguments) => decode::run(context, &arguments),
        Command::Restart(arguments) => desk::restart(context, &arguments),
        Command::Unseal(arguments) => desk::unseal(context, &arguments),
        Command::Reseal(arguments) => reseal::run(context, &arguments),
        Command::ConfirmTime(arguments) => halt::confirm_time(context, &arguments),
        Command::Bench(arguments) => bench::run(context, &arguments),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_command_is_well_formed_and_has_an_example() {
        let mut all = vec![Arguments::command()];
        Arguments::command().debug_assert();
        while let Some(command) = all.pop() {
            let inner: Vec<_> = command.get_subcommands().cloned().collect();
            if inner.is_empty() {
                let help = command.get_after_help().map(ToString::to_string);
                assert!(
                    help.is_some_and(|help| help.contains("Example")),
                    "{} has no example",
                    command.get_name()
                );
            }
            all.extend(inner);
        }
    }
}
