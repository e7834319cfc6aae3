//! A server of one object, which answers wrongly when it is told to.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// A wrong answer to one request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The connection is closed without an answer.
    Drop,
    /// This status.
    Status(u16),
    /// The answer ends in the middle.
    Truncate,
    /// The whole object with status 200, whatever was asked for.
    IgnoreRange,
    /// Another range than the one that was asked for.
    OtherRange,
    /// The answer comes this many milliseconds late.
    Delay(u64),
}

/// A request for a range.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) target: String,
    pub(crate) bytes: u64,
    pub(crate) has_signature: bool,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) object: Vec<u8>,
    pub(crate) e_tag: Option<&'static str>,
    pub(crate) modified: Option<&'static str>,
    /// Whether `If-Match` is compared.
    pub(crate) compares: bool,
    pub(crate) faults: VecDeque<Fault>,
    pub(crate) requests: Vec<Request>,
}

pub(crate) struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Server {
    /// A server of this object at every path, with an ETag that is compared.
    pub(crate) fn of(object: &[u8]) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            object: object.to_vec(),
            e_tag: Some("\"1\""),
            modified: Some("Tue, 01 Dec 2026 00:00:00 GMT"),
            compares: true,
            ..State::default()
        }));
        let shared = state.clone();
        // It ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                thread::spawn(move || answer(&stream, &state));
            }
        });
        Server { address, state }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }
}

/// Answers one request, and closes the connection. A client that has gone is no failure.
fn answer(mut stream: &TcpStream, state: &Mutex<State>) -> Option<()> {
    let (target, headers) = request(stream)?;
    let header = |name: &str| {
        let found = headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    };
    let mut state = state.lock().unwrap();
    let length = state.object.len();
    let (begin, end) = match header("range") {
        Some(range) => range_of(range),
        None => (0, length),
    };
    let end = end.min(length);
    state.requests.push(Request {
        target,
        bytes: end.saturating_sub(begin) as u64,
        has_signature: header("authorization").is_some(),
    });
    let fault = state.faults.pop_front();
    let (e_tag, modified) = (state.e_tag, state.modified);
    let is_changed = state.compares && header("if-match").is_some_and(|tag| Some(tag) != e_tag);
    let object = state.object.clone();
    drop(state);
    let (begin, end) = match fault {
        Some(Fault::OtherRange) => (begin + 1, end),
        _ => (begin, end),
    };
    let status = match fault {
        Some(Fault::Drop) => {
            stream.shutdown(Shutdown::Both).ok()?;
            return None;
        }
        Some(Fault::Status(status)) => status,
        Some(Fault::IgnoreRange) => 200,
        _ if is_changed => 412,
        _ if header("range").is_none() => 200,
        _ if begin >= length => 416,
        _ => 206,
    };
    let body = match status {
        200 => &object[..],
        206 => &object[begin..end],
        _ => &[],
    };
    if let Some(Fault::Delay(milliseconds)) = fault {
        thread::sleep(Duration::from_millis(milliseconds));
    }
    let mut head = format!(
        "HTTP/1.1 {status} Status\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    if status == 206 {
        head += &format!("Content-Range: bytes {begin}-{}/{length}\r\n", end - 1);
    }
    for (name, value) in [("ETag", e_tag), ("Last-Modified", modified)] {
        if let Some(value) = value {
            head += &format!("{name}: {value}\r\n");
        }
    }
    stream.write_all((head + "\r\n").as_bytes()).ok()?;
    let sent = match fault {
        Some(Fault::Truncate) => body.len() / 2,
        _ => body.len(),
    };
    stream.write_all(&body[..sent]).ok()
}

/// The path and the headers of a request, in lower case.
fn request(stream: &TcpStream) -> Option<(String, Vec<(String, String)>)> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let target = first.split(' ').nth(1)?.to_owned();
    let headers = lines.map_while(|line| line.ok().filter(|line| !line.is_empty()));
    let headers = headers.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    Some((target, headers.collect()))
}

/// Begin and end of `bytes=BEGIN-LAST`.
fn range_of(range: &str) -> (usize, usize) {
    let (begin, last) = range
        .strip_prefix("bytes=")
        .unwrap()
        .split_once('-')
        .unwrap();
    (begin.parse().unwrap(), last.parse::<usize>().unwrap() + 1)
}
