//! HTTPS for two purposes, and a look at a listener's certificate: `market fetch` asks a venue for its markets, the webhook tells people of alerts. Certificates,
//! names and pins are checked; no redirect is followed, no proxy taken from the environment, and nothing turns a check off.

use portcullis_model::wire::Host;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, TcpConnector,
    Transport, TransportAdapter,
};
use ureq::{Agent, Error};

/// An answer at most. Binance's list of all its markets has about 20 MB.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Whom to believe.
pub struct Trust {
    tls: Arc<ClientConfig>,
    pins: Vec<Vec<u8>>,
}

impl Trust {
    /// As egress does: the release's roots, the public ones if the release says so, and only the pinned keys if it has pins.
    pub fn of_host(host: &Host, roots: &[Vec<u8>]) -> Result<Self, String> {
        let pins = host.pins.iter().map(|pin| pin.to_vec()).collect();
        Self::new(roots.to_vec(), host.public_roots, pins)
    }

    /// The public roots, or those of a PEM file.
    pub fn of_roots(pem: Option<&[u8]>) -> Result<Self, String> {
        let roots = CertificateDer::pem_slice_iter(pem.unwrap_or_default())
            .map(|der| der.map(|der| der.to_vec()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|why| format!("the roots are not PEM: {why}"))?;
        Self::new(roots, pem.is_none(), Vec::new())
    }

    fn new(own: Vec<Vec<u8>>, public: bool, pins: Vec<Vec<u8>>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for der in own {
            roots
                .add(CertificateDer::from(der))
                .map_err(|why| format!("a root certificate cannot be used: {why}"))?;
        }
        if public {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        if roots.is_empty() {
            return Err("there is no root certificate to check it with".to_owned());
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|why| why.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            tls: Arc::new(tls),
            pins,
        })
    }
}

/// Asks with GET. `at` is where the host is to be found, if not at its name.
pub fn get(
    trust: Trust,
    url: &str,
    at: Option<&str>,
    patience: Duration,
) -> Result<Vec<u8>, String> {
    let agent = agent(Some(trust), at, patience);
    let mut answer = agent.get(url).call().map_err(|why| why.to_string())?;
    let status = answer.status().as_u16();
    let body = answer
        .body_mut()
        .with_config()
        .limit(ANSWER_BYTES_MAX)
        .read_to_vec()
        .map_err(|why| why.to_string())?;
    if status != 200 {
        let text: String = String::from_utf8_lossy(&body).chars().take(200).collect();
        return Err(format!("status {status}: {text}"));
    }
    Ok(body)
}

/// Tells with POST. `trust` may be absent for plain HTTP on loopback only, see [`check_url`].
pub fn post(agent: &Agent, url: &str, json: &str) -> Result<(), String> {
    let answer = agent
        .post(url)
        .header("content-type", "application/json")
        .send(json)
        .map_err(|why| why.to_string())?;
    match answer.status().as_u16() {
        200..300 => Ok(()),
        status => Err(format!("status {status}")),
    }
}

pub fn agent(trust: Option<Trust>, at: Option<&str>, patience: Duration) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
        .timeout_global(Some(patience))
        .build();
    let connector = ().chain(TcpConnector::default()).chain(Tls(trust));
    let resolver = At(at.map(str::to_owned), DefaultResolver::default());
    Agent::with_parts(config, connector, resolver)
}

/// `https://…`, or `http://` where the host is a loopback address.
pub fn check_url(url: &str) -> Result<(), String> {
    let uri: Uri = url.parse().map_err(|_| format!("`{url}` is no URL"))?;
    let host = uri.host().unwrap_or_default();
    match uri.scheme_str() {
        Some("https") if !host.is_empty() => Ok(()),
        Some("http") if host == "127.0.0.1" || host == "[::1]" => Ok(()),
        Some("http") => Err(format!(
            "`{url}` would go in the clear over a network; use https"
        )),
        _ => Err(format!("`{url}` is no URL; write `https://…`")),
    }
}

/// Whether a listener could show this chain with this key.
pub fn check_pair(chain_pem: &str, key_pem: &str) -> Result<(), String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|why| format!("the certificate chain is not PEM: {why}"))?;
    if chain.is_empty() {
        return Err("there is no certificate in the chain's file".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
        .map_err(|why| format!("the key's file has no private key in PEM: {why}"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map(drop)
        .map_err(|why| format!("certificate and key do not work together: {why}"))
}

/// Finds a host where the release says that it is.
#[derive(Debug)]
struct At(Option<String>, DefaultResolver);

impl Resolver for At {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let Some(address) = &self.0 else {
            return self.1.resolve(uri, config, timeout);
        };
        if let Ok(address) = address.parse::<SocketAddr>() {
            let mut found = self.1.empty();
            found.push(address);
            return Ok(found);
        }
        let other: Uri = format!("https://{address}/")
            .parse()
            .map_err(|_| Error::HostNotFound)?;
        self.1.resolve(&other, config, timeout)
    }
}

/// Wraps a connection in TLS, if the URL asks for it.
struct Tls(Option<Trust>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl<In: Transport> Connector<In> for Tls {
    type Out = Either<In, TlsTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let transport = chained.ok_or(Error::ConnectionFailed)?;
        if !details.needs_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let trust = self.0.as_ref().ok_or(Error::ConnectionFailed)?;
        let host = details.uri.host().ok_or(Error::HostNotFound)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(other)?;
        let mut tls = ClientConnection::new(Arc::clone(&trust.tls), name).map_err(other)?;
        let mut socket =
            TransportAdapter::new(transport.boxed(), Arc::clone(&details.current_time));
        socket.set_timeout(details.timeout);
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        // The chain and the name hold; now the pins, before a byte of ours is sent.
        if !trust.pins.is_empty() && !pinned(&tls, &trust.pins) {
            return Err(other(rustls::Error::General(
                "the certificate's key is none of those that the release pins".to_owned(),
            )));
        }
        Ok(Some(Either::B(TlsTransport {
            buffers: LazyBuffers::new(16_384, 16_384),
            stream: StreamOwned::new(tls, socket),
        })))
    }
}

fn pinned(tls: &ClientConnection, pins: &[Vec<u8>]) -> bool {
    let leaf = tls.peer_certificates().and_then(|chain| chain.first());
    let Some(Ok(leaf)) = leaf.map(webpki::EndEntityCert::try_from) else {
        return false;
    };
    let hash = aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA256,
        leaf.subject_public_key_info().as_ref(),
    );
    pins.iter().any(|pin| pin == hash.as_ref())
}

fn other(why: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Io(io::Error::other(why))
}

struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsTransport")
    }
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.sock.set_timeout(timeout);
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        self.stream.write_all(output)?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.sock.set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_in_the_clear_stay_on_this_machine() {
        for good in [
            "https://hooks.example/a?b=c",
            "http://127.0.0.1:9/x",
            "http://[::1]:9/",
        ] {
            assert_eq!(check_url(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "hooks.example",
            "http://hooks.example/",
            "ftp://x/",
            "http://localhost/",
            "https://",
        ] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn without_roots_nobody_is_believed() {
        assert!(Trust::of_roots(Some(b"")).is_err());
        assert!(Trust::of_roots(None).is_ok());
    }
}
