//! Requests that wait for their turn: cancels first, then orders, reads, public data; within a lane the virtual keys in
//! turn, so that a program that floods waits behind itself.
//!
//! Which lane and key a request belongs to is taken from its bytes, before anything is verified: who lies about it only
//! waits elsewhere.

use portcullis_model::Map;
use portcullis_model::action::ActionKind;
use portcullis_model::wire::{FRAME_METHOD, Lane, REQUESTS_WAITING_MAX, Request};
use portcullis_venues::Catalog;
use portcullis_venues::catalog::Method;
use portcullis_venues::dialect::CONNECT;
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

/// Requests that wait at most; a frame beyond it is refused by ingress' own credits, and dropped here.
pub const WAITING_MAX: usize = REQUESTS_WAITING_MAX as usize;

/// One lane: each key's requests in order, and the keys in turn.
#[derive(Debug, Default)]
struct Queue {
    turn: VecDeque<Vec<u8>>,
    by_key: Map<Vec<u8>, VecDeque<Vec<u8>>>,
}

impl Queue {
    fn push(&mut self, key: &[u8], frame: Vec<u8>) {
        match self.by_key.get_mut(key) {
            Some(waiting) => waiting.push_back(frame),
            None => {
                self.by_key.insert(key.to_vec(), VecDeque::from([frame]));
                self.turn.push_back(key.to_vec());
            }
        }
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        let key = self.turn.pop_front()?;
        let waiting = self.by_key.get_mut(&key)?;
        let frame = waiting.pop_front();
        if waiting.is_empty() {
            self.by_key.remove(&key);
        } else {
            self.turn.push_back(key);
        }
        frame
    }
}

/// All lanes.
#[derive(Debug, Default)]
pub struct Lanes {
    queues: BTreeMap<Lane, Queue>,
    waiting: usize,
}

impl Lanes {
    /// Takes a request's CBOR. `false`: no room.
    pub fn push(&mut self, catalog: &Catalog, request: &Request<'_>, cbor: &[u8]) -> bool {
        if self.waiting >= WAITING_MAX {
            return false;
        }
        let service = catalog.service(request.host);
        let glance = service
            .filter(|_| request.method == FRAME_METHOD)
            .and_then(|service| match request.body.is_empty() {
                true => Some((Cow::Borrowed(CONNECT), Cow::Borrowed(""))),
                false => service.dialect.glance(request.body),
            });
        let name = service.map_or("", |service| service.dialect.key_header());
        let of_header = || -> &[u8] {
            request
                .headers
                .iter()
                .find(|header| header.name == name)
                .map_or(&[], |header| header.value)
        };
        // Frames of a session have no key: each of its connections waits behind itself.
        let connection = request.connection.to_be_bytes();
        let (path, key): (Cow<'_, [u8]>, &[u8]) = match &glance {
            Some((method, key)) if key.is_empty() => (method.as_bytes().into(), &connection),
            Some((method, key)) => (method.as_bytes().into(), key.as_bytes()),
            None => (path(request).into(), of_header()),
        };
        let lane = lane(catalog, request, &path);
        let queue = self.queues.entry(lane).or_default();
        // A key is at most as long as an API key may be; what is longer is no key.
        queue.push(key.get(..128).unwrap_or(key), cbor.to_vec());
        self.waiting += 1;
        true
    }

    /// The next one to serve.
    pub fn pop(&mut self) -> Option<Vec<u8>> {
        let frame = self.queues.values_mut().find_map(Queue::pop)?;
        self.waiting -= 1;
        Some(frame)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Ingress is gone, and with it whoever asked.
    pub fn clear(&mut self) {
        self.queues.clear();
        self.waiting = 0;
    }
}

fn path<'b>(request: &Request<'b>) -> &'b [u8] {
    let target: &'b [u8] = request.target;
    target.split(|b| *b == b'?').next().unwrap_or_default()
}

fn lane(catalog: &Catalog, request: &Request<'_>, path: &[u8]) -> Lane {
    let endpoint = Method::from_name(request.method)
        .zip(std::str::from_utf8(path).ok())
        .and_then(|(method, path)| catalog.find(request.host, method, path));
    match endpoint.map(|(_, endpoint)| endpoint.action) {
        Some(ActionKind::CancelOrder | ActionKind::CancelAll) => Lane::Cancel,
        Some(ActionKind::Public) => Lane::Public,
        Some(kind) if kind.is_read() => Lane::Read,
        Some(_) => Lane::Order,
        // Refused anyway.
        None => Lane::Public,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_model::id::RequestId;
    use portcullis_model::wire::Header;

    fn push(lanes: &mut Lanes, key: &str, method: &str, path: &str, mark: u8) -> bool {
        let request = Request {
            id: RequestId { epoch: 1, seq: 1 },
            connection: 1,
            host: "api.binance.com",
            source: (&[127u8, 0, 0, 1][..]).into(),
            method,
            target: path.as_bytes().into(),
            headers: vec![Header {
                name: "x-mbx-apikey",
                value: key.as_bytes().into(),
            }],
            body: (&[][..]).into(),
        };
        lanes.push(Catalog::builtin().unwrap(), &request, &[mark])
    }

    fn drain(lanes: &mut Lanes) -> Vec<u8> {
        std::iter::from_fn(|| lanes.pop())
            .map(|frame| frame[0])
            .collect()
    }

    #[test]
    fn cancels_come_first_and_public_data_last() {
        let mut lanes = Lanes::default();
        push(&mut lanes, "a", "GET", "/api/v3/depth?symbol=X", 4);
        push(&mut lanes, "a", "GET", "/api/v3/account", 3);
        push(&mut lanes, "a", "POST", "/api/v3/order", 2);
        push(&mut lanes, "a", "DELETE", "/api/v3/order", 1);
        assert_eq!(drain(&mut lanes), [1, 2, 3, 4]);
        assert!(lanes.is_empty());
    }

    #[test]
    fn frames_have_the_lane_of_their_method() {
        let mut lanes = Lanes::default();
        let mut push = |connection: u64, body: &str, mark: u8| {
            let request = Request {
                id: RequestId { epoch: 1, seq: 1 },
                connection,
                host: "ws-api.binance.com",
                source: (&[127u8, 0, 0, 1][..]).into(),
                method: "WS",
                target: (&b"/ws-api/v3"[..]).into(),
                headers: Vec::new(),
                body: body.as_bytes().into(),
            };
            lanes.push(Catalog::builtin().unwrap(), &request, &[mark]);
        };
        push(1, r#"{"id":1,"method":"depth","params":{"symbol":"A"}}"#, 8);
        push(
            1,
            r#"{"id":1,"method":"account.status","params":{"apiKey":"a"}}"#,
            7,
        );
        for _ in 0..2 {
            push(1, r#"{"id":1,"method":"order.place","params":{}}"#, 3);
        }
        push(2, r#"{"id":1,"method":"order.place","params":{}}"#, 4);
        push(
            3,
            r#"{"id":1,"method":"order.place","params":{"apiKey":"k"}}"#,
            5,
        );
        push(
            4,
            r#"{"id":1,"method":"order.cancel","params":{"apiKey":"k"}}"#,
            1,
        );
        push(4, "no frame", 9);
        assert_eq!(drain(&mut lanes), [1, 3, 4, 5, 3, 7, 8, 9]);
    }

    #[test]
    fn a_flood_waits_behind_itself() {
        let mut lanes = Lanes::default();
        for _ in 0..5 {
            push(&mut lanes, "flood", "POST", "/api/v3/order", 9);
        }
        push(&mut lanes, "b", "POST", "/api/v3/order", 1);
        push(&mut lanes, "c", "POST", "/api/v3/order", 2);
        assert_eq!(drain(&mut lanes), [9, 1, 2, 9, 9, 9, 9]);
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut lanes = Lanes::default();
        let pushed = (0..WAITING_MAX + 5)
            .filter(|_| push(&mut lanes, "a", "POST", "/api/v3/order", 0))
            .count();
        assert_eq!(pushed, WAITING_MAX);
    }
}
