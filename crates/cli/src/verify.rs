//! `portcullis log verify` and `export`.

use crate::Context;
use crate::fail::{DONE, Done, Fail, REFUSED};
use crate::{log, show};
use portcullis_model::log::note::Verifier;
use serde_json::json;
use std::io;
use std::path::Path;

pub fn verify(context: &Context, folder: &Path, key: Option<&str>, to: Option<&Path>) -> Done {
    let unreadable = |why: io::Error| {
        Fail::at(folder, &why).hint("name the log's folder: `SITE/log`, or the site with --site")
    };
    let verifier = match key {
        Some(text) => Verifier::parse(text).ok_or_else(|| {
            Fail::untold("--key is not a verifier key").hint("give the text of a `vkey` file")
        })?,
        None => log::key_of(folder).map_err(unreadable)?,
    };
    match log::verify(folder, &verifier) {
        Ok(contents) => {
            let signed = contents
                .checkpoints
                .last()
                .map_or(0, |checkpoint| checkpoint.size);
            let entries = contents.hashes.len();
            if let Some(to) = to {
                log::export(&contents, &verifier, to).map_err(|why| {
                    let fail = Fail::at(to, &why);
                    match why.kind() {
                        io::ErrorKind::AlreadyExists => {
                            fail.hint("name a folder that does not exist yet")
                        }
                        _ => fail,
                    }
                })?;
            }
            let object = json!({
                "verified": true, "entries": entries, "signed": signed,
                "checkpoints": contents.checkpoints.len(), "torn_bytes": contents.torn_bytes,
                "key_is_from_the_folder": key.is_none(), "exported": to,
            });
            show::either(context.json, &object, || {
                let mut text = format!(
                    "verified: {entries} entries, {signed} of them under {} checkpoints\n",
                    contents.checkpoints.len()
                );
                if contents.torn_bytes > 0 {
                    text += &format!(
                        "note: {} bytes of a write that was cut short, or is under way, stand at the end\n",
                        contents.torn_bytes
                    );
                }
                if key.is_none() {
                    text += "note: checked with the key in the folder; give --key to check with one kept elsewhere\n";
                }
                if let Some(to) = to {
                    text += &format!("exported {signed} entries to {}\n", to.display());
                }
                text
            });
            Ok(DONE)
        }
        Err(log::Wrong::Damage(damage)) => {
            let object = json!({ "verified": false, "damage": damage.to_string() });
            show::either(context.json, &object, || format!("not verified: {damage}"));
            Ok(REFUSED)
        }
        Err(log::Wrong::Unreadable(why)) => Err(unreadable(why)),
    }
}
