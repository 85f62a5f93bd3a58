//! Which host serves a path: each call says it in its first word.

pub fn of(path: &str) -> &'static str {
    let path = path.trim_start_matches('/');
    if path.starts_with("v5/") {
        return "api.bybit.com";
    }
    match path.get(..4) {
        Some("fapi" | "FAPI") => "fapi.binance.com",
        Some("dapi") => "dapi.binance.com",
        Some("papi") => "papi.binance.com",
        Some("eapi") => "eapi.binance.com",
        _ => "api.binance.com",
    }
}
