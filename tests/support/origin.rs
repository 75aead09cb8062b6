//! An origin that does as the test says, down to the byte.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use super::message::Head;

/// A request as the origin received it.
#[derive(Debug, Clone)]
pub struct Received {
    pub head: Head,
    pub method: String,
    pub target: String,
    pub body: Vec<u8>,
    /// Which connection it came on, counted from 0.
    pub connection: usize,
}

impl Received {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }
}

/// What the origin does with the connection after its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    Keep,
    Close,
    /// Closed with a reset.
    Reset,
}

type Handler = dyn Fn(&Received, &mut Reply<'_>) -> After + Send + Sync;

/// A running origin.
pub struct Origin {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    received: Mutex<Vec<Received>>,
    arrived: Condvar,
    stopped: AtomicBool,
    handler: Box<Handler>,
}

/// Writes an answer.
pub struct Reply<'s> {
    stream: &'s TcpStream,
}

impl Reply<'_> {
    /// Raw bytes, at once. A proxy that has gone is not the origin's fault.
    pub fn raw(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.stream.write_all(bytes.as_ref());
        self
    }

    /// Status, fields (each line without its end) and a body with its length.
    pub fn send(&mut self, status: u16, fields: &[&str], body: &[u8]) -> After {
        let mut head = format!("HTTP/1.1 {status} Whatever\r\n");
        for field in fields {
            head.push_str(field);
            head.push_str("\r\n");
        }
        if status != 304 && status != 204 && status >= 200 {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut message = head.into_bytes();
        message.extend_from_slice(body);
        self.raw(message);
        After::Keep
    }

    /// 200 that is fresh for an hour.
    pub fn fresh(&mut self, body: impl AsRef<[u8]>) -> After {
        self.send(200, &["Cache-Control: max-age=3600", "Content-Type: text/plain"], body.as_ref())
    }
}

impl Origin {
    /// Starts one that answers each request by `handler`, on as many connections as come.
    pub fn start(handler: impl Fn(&Received, &mut Reply<'_>) -> After + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            received: Mutex::default(),
            arrived: Condvar::new(),
            stopped: AtomicBool::new(false),
            handler: Box::new(handler),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let shared = Arc::clone(&accepting);
                thread::spawn(move || {
                    let _ = shared.converse(&stream, number);
                });
            }
        });
        Self { address, shared }
    }

    /// `http://127.0.0.1:port` and this path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests so far.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// How many requests have come.
    pub fn count(&self) -> usize {
        self.shared.received.lock().unwrap().len()
    }

    /// Waits until that many requests have come.
    pub fn wait_for(&self, count: usize) {
        let received = self.shared.received.lock().unwrap();
        let (received, timeout) = self
            .shared
            .arrived
            .wait_timeout_while(received, super::PATIENCE, |received| received.len() < count)
            .unwrap();
        assert!(!timeout.timed_out(), "{} of {count} requests came", received.len());
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn converse(&self, stream: &TcpStream, connection: usize) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        while let Some(head) = Head::read(&mut reader)? {
            let mut words = head.line.split(' ');
            let (method, target) =
                (words.next().unwrap_or("").to_owned(), words.next().unwrap_or("").to_owned());
            if head.field("expect").is_some() {
                Reply { stream }.raw("HTTP/1.1 100 Continue\r\n\r\n");
            }
            let body = read_body(&mut reader, &head)?;
            let received = Received { head, method, target, body, connection };
            self.received.lock().unwrap().push(received.clone());
            self.arrived.notify_all();
            match (self.handler)(&received, &mut Reply { stream }) {
                After::Keep => {}
                After::Close => {
                    let _ = stream.shutdown(std::net::Shutdown::Both);
                    break;
                }
                After::Reset => {
                    let _ = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
                    break;
                }
            }
            if self.stopped.load(Ordering::SeqCst) {
                break;
            }
        }
        Ok(())
    }
}

fn read_body(reader: &mut BufReader<TcpStream>, head: &Head) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if let Some(length) = head.field("content-length") {
        let length: u64 = length.parse().map_err(|_| io::ErrorKind::InvalidData)?;
        if reader.take(length).read_to_end(&mut body)? as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    } else if head.field("transfer-encoding").is_some() {
        loop {
            let mut line = String::new();
            io::BufRead::read_line(reader, &mut line)?;
            let size = u64::from_str_radix(line.trim_end(), 16).map_err(|_| io::ErrorKind::InvalidData)?;
            if size > 0 {
                reader.take(size).read_to_end(&mut body)?;
            }
            io::BufRead::read_line(reader, &mut String::new())?;
            if size == 0 {
                break;
            }
        }
    }
    Ok(body)
}

/// Something that waits until the test lets it go on.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    pub fn is_open(&self) -> bool {
        *self.0.0.lock().unwrap()
    }

    pub fn wait(&self) {
        let open = self.0.0.lock().unwrap();
        drop(self.0.1.wait_timeout_while(open, super::PATIENCE, |open| !*open).unwrap());
    }
}
