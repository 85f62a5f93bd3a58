//! The compiled-in catalog loads, is whole, and says of every endpoint what it is.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]
use portcullis_model::action::ActionKind;
use portcullis_venues::binance::Binance;

#[test]
fn the_catalog_loads() {
    let venue = Binance::builtin().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(venue.catalog().endpoints().count(), 534);
    let reviewed = venue
        .catalog()
        .endpoints()
        .filter(|(_, e)| e.reviewed)
        .count();
    assert!(reviewed > 360, "{reviewed}");
    let _ = ActionKind::ALL;
}
