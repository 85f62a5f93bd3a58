//! Binance against its vectors.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

#[path = "suite/host.rs"]
mod host;
mod suite;

venue_suite!(binance);

/// USD-M and COIN-M.
mod futures {
    mod binance_futures {
        use crate::host;
        use crate::suite::{Sample, Understood};

        pub fn decode(sample: &Sample) -> Result<Understood, String> {
            crate::binance::decode_at(host::of(&sample.target), sample)
        }
    }
    crate::venue_suite!(binance_futures);
}

mod binance {
    use super::suite::{Sample, Understood};
    use portcullis_model::action::Stamp;
    use portcullis_model::id::Timestamp;
    use portcullis_model::wire::Header;
    use portcullis_venues::{Actions, Catalog, Signature};
    use portcullis_venues::{DecodeError, RawRequest};

    pub fn decode(sample: &Sample) -> Result<Understood, String> {
        decode_at("api.binance.com", sample)
    }

    pub fn decode_at(host: &str, sample: &Sample) -> Result<Understood, String> {
        let venue = Catalog::builtin().unwrap();
        let (mut target, mut body) = (sample.target.clone(), sample.body.clone());
        if !sample.bare {
            let extra = "timestamp=1790000000123&signature=00";
            if body.is_empty() || sample.method == "GET" {
                target.push(if target.contains('?') { '&' } else { '?' });
                target.push_str(extra);
            } else {
                body = format!("{body}&{extra}");
            }
        }
        let mut headers: Vec<(String, String)> = sample
            .headers
            .iter()
            .map(|[n, v]| (n.clone(), v.clone()))
            .collect();
        for (name, value) in [
            (
                "X-MBX-APIKEY",
                "PcVirtKeyHmac0000000000000000000000000000000000000000000000000001",
            ),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ] {
            if !headers.iter().any(|(n, _)| n == name) {
                headers.push((name.to_owned(), value.to_owned()));
            }
        }
        let code = |e: DecodeError| format!("{}: {e}", e.code());
        let actions = read(venue, host, &sample.method, &target, &headers, &body).map_err(code)?;
        let stamp = Stamp {
            venue_time_ms: 1_790_000_000_999,
            receive_window_ms: 1000,
            at: Timestamp(0),
        };
        let unsigned = venue.prepare(&actions, stamp).unwrap();
        let message = String::from_utf8(unsigned.message("RealKey").to_vec()).unwrap();
        let scheme = "recvWindow=1000&timestamp=1790000000999";
        let sent = message
            .strip_suffix(scheme)
            .unwrap_or(&message)
            .trim_end_matches('&')
            .to_owned();
        let ready = unsigned.finish("RealKey".into(), &Signature::HmacSha256([7; 32]));
        let headers: Vec<(String, String)> = ready
            .headers
            .iter()
            .map(|(n, v)| ((*n).to_owned(), v.clone()))
            .collect();
        let again = read(
            venue,
            host,
            ready.method,
            &ready.target,
            &headers,
            &ready.body,
        )
        .map_err(|e| format!("rebuilt: {e}"))?;
        Ok(Understood {
            actions: serde_json::to_value(&actions.list).unwrap(),
            sent,
            again: serde_json::to_value(&again.list).unwrap(),
        })
    }

    fn read(
        venue: &Catalog,
        host: &str,
        method: &str,
        target: &str,
        headers: &[(String, String)],
        body: &str,
    ) -> Result<Actions, DecodeError> {
        let headers: Vec<Header> = headers
            .iter()
            .map(|(name, value)| Header {
                name,
                value: value.as_bytes().into(),
            })
            .collect();
        venue.decode(&RawRequest {
            method,
            host,
            target: target.as_bytes(),
            headers: &headers,
            body: body.as_bytes(),
        })
    }
}
