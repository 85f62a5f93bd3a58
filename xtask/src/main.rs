//! The developers' scripts: `cargo xtask fuzz SECONDS` runs every fuzz target for that long each.

use std::path::Path;
use std::process::{Command, ExitCode};

const HELP: &str = "cargo xtask fuzz SECONDS [TARGET]
  runs every fuzz target (or one) under libFuzzer for so many seconds, with the corpus in fuzz/corpus;
  needs cargo-fuzz (`cargo install cargo-fuzz --locked`) and a C++ compiler";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["fuzz", seconds] => seconds
            .parse()
            .map_err(|_| HELP.to_owned())
            .and_then(|s| fuzz(s, None)),
        ["fuzz", seconds, target] => seconds
            .parse()
            .map_err(|_| HELP.to_owned())
            .and_then(|s| fuzz(s, Some(target))),
        _ => Err(HELP.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the targets one after the other; the first that crashes ends it, with its input in `fuzz/artifacts`.
fn fuzz(seconds: u32, only: Option<&str>) -> Result<(), String> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let folder = root.join("fuzz/fuzz_targets");
    let mut targets: Vec<String> = std::fs::read_dir(&folder)
        .map_err(|why| format!("{}: {why}", folder.display()))?
        .filter_map(|file| Some(file.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .filter(|target| only.is_none_or(|only| only == target))
        .collect();
    targets.sort();
    if targets.is_empty() {
        return Err(format!("there is no such target\n{HELP}"));
    }
    let mut executions = 0;
    for target in &targets {
        println!("== {target}: {seconds} s");
        // Sanitizers are an unstable option of the compiler; the fuzzers alone ask the stable one for it. What is found
        // new goes to a folder that git ignores; what is worth keeping is moved to the corpus by hand.
        let found = root.join("target/fuzz-found").join(target);
        std::fs::create_dir_all(&found).map_err(|why| format!("{}: {why}", found.display()))?;
        let output = Command::new(env!("CARGO"))
            .args(["fuzz", "run", "--features", "libfuzzer", target])
            .arg(&found)
            .arg(root.join("fuzz/corpus").join(target))
            .args([
                "--",
                &format!("-max_total_time={seconds}"),
                "-max_len=65536",
                "-timeout=10",
            ])
            .args(["-rss_limit_mb=2048", "-print_final_stats=1"])
            .current_dir(root)
            .env("RUSTC_BOOTSTRAP", "1")
            // Optimising fifteen programs as wholes takes long, and a fuzzer gains nothing by it.
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
            .output()
            .map_err(|why| format!("cannot run cargo fuzz: {why}\n{HELP}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(format!("{said}\n{target} failed"));
        }
        let count: u64 = said
            .lines()
            .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
            .and_then(|text| text.trim().parse().ok())
            .ok_or_else(|| format!("{said}\n{target} did not say how much it ran"))?;
        println!("-- {target}: {count} executions, no crash");
        executions += count;
    }
    println!(
        "{} targets, {executions} executions, no crash",
        targets.len()
    );
    Ok(())
}
