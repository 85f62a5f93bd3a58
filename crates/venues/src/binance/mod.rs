//! Binance: the query-string scheme and the spot and SAPI catalog. Reads a program's request, says what it asks, writes
//! the request that the venue gets, and reads the venue's answers. It sees no key store and no socket: a signature is
//! made and a credential placed by the caller, who is told which bytes and where.
//!
//! What the scheme does not sign, here as at the venue: method, path and host. They are taken as they arrived; the gate
//! judges the action that they name, and the key that signs is the least that can do it.

mod actions;
mod orders;
mod prepare;
mod present;
mod refusals;
mod signature;
mod summary;

pub use actions::Actions;
pub use prepare::{Ready, Unsigned};
pub use present::{Presented, RECEIVE_WINDOW_US_DEFAULT, RECEIVE_WINDOW_US_MAX};
pub use refusals::{REFUSAL_HEADER, REFUSALS, RefusalCode, refusal_code, refuse};
pub(crate) use signature::decode_base64;
pub use signature::{Signature, VerifyKey, virtual_key_text};
pub use summary::summarize;

use crate::catalog::{Catalog, CatalogError};
use crate::error::DecodeError;
use crate::request::RawRequest;
use portcullis_model::action::Stamp;
use portcullis_model::release::{CATALOG_FOLDER, Files};
use std::sync::{Arc, LazyLock};

/// The catalog that is compiled in.
pub const CATALOG: (&str, &str) = ("binance.toml", include_str!("../../catalog/binance.toml"));

/// Hosts that serve the catalog of `api.binance.com`.
pub const HOSTS: [&str; 7] = [
    "api.binance.com",
    "api1.binance.com",
    "api2.binance.com",
    "api3.binance.com",
    "api4.binance.com",
    "api-gcp.binance.com",
    "data-api.binance.vision",
];

static BUILTIN: LazyLock<Result<Arc<Binance>, CatalogError>> =
    LazyLock::new(|| Binance::load(&[]).map(Arc::new));

/// The venue with one catalog.
#[derive(Debug)]
pub struct Binance {
    catalog: Catalog,
}

impl Binance {
    /// The compiled-in catalog and what a site adds, `(file name, text)` each. Additions for other hosts are skipped.
    pub fn load(extra: &[(&str, &str)]) -> Result<Self, CatalogError> {
        Ok(Self {
            catalog: Catalog::load(CATALOG, extra)?,
        })
    }

    /// The compiled-in catalog alone.
    pub fn builtin() -> Result<&'static Self, &'static CatalogError> {
        BUILTIN.as_ref().map(|shared| &**shared)
    }

    /// The compiled-in catalog with what a release adds to it.
    pub fn of_release(files: &Files) -> Result<Arc<Self>, CatalogError> {
        let extra: Vec<(&str, &str)> = files
            .iter()
            .filter(|(name, _)| name.starts_with(CATALOG_FOLDER))
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        match extra.is_empty() {
            true => BUILTIN.clone(),
            false => Self::load(&extra).map(Arc::new),
        }
    }

    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Reads credential, signature and fields; nothing is verified yet.
    pub fn present<'a>(&'a self, request: &RawRequest<'a>) -> Result<Presented<'a>, DecodeError> {
        present::present(self, request)
    }

    /// What a request asks, without looking at its signature: for the command line and for tests.
    pub fn decode(&self, request: &RawRequest<'_>) -> Result<Actions, DecodeError> {
        self.present(request)?.decode(None)
    }

    /// The request that the venue gets, built from the typed fields alone, its keyed operation still open.
    #[must_use]
    pub fn prepare(&self, actions: &Actions, stamp: Stamp) -> Unsigned {
        prepare::prepare(self, actions, stamp)
    }
}
