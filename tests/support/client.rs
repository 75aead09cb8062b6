//! A client over a plain socket.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::message::Response;

/// One connection to a proxy, or through it.
pub struct Client<S = TcpStream> {
    pub reader: BufReader<S>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(super::PATIENCE)).unwrap();
        Self { reader: BufReader::new(stream) }
    }

    /// Tells the other side that no more will come.
    pub fn finish_sending(&mut self) {
        self.reader.get_ref().shutdown(Shutdown::Write).unwrap();
    }

    /// Asks for a tunnel, and has to get it.
    pub fn tunnel(mut self, to: &str) -> Self {
        self.send(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n"));
        let established = self.response("CONNECT");
        assert_eq!(established.status, 200, "{}", established.text());
        self
    }
}

impl<S: Read + Write> Client<S> {
    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.reader.get_mut().write_all(bytes.as_ref()).unwrap();
        self
    }

    /// Sends a request head in absolute-form.
    pub fn request(&mut self, method: &str, url: &str, fields: &[&str]) -> &mut Self {
        let host = url.split('/').nth(2).unwrap_or("");
        let mut head = format!("{method} {url} HTTP/1.1\r\nHost: {host}\r\n");
        for field in fields {
            head.push_str(field);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        self.send(head)
    }

    /// Sends a GET in origin-form, and reads the answer.
    pub fn ask(&mut self, host: &str, path: &str, fields: &[&str]) -> Response {
        let lines: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n")).response("GET")
    }

    /// Reads the answer to a request with this method.
    pub fn response(&mut self, method: &str) -> Response {
        Response::read(&mut self.reader, method).unwrap()
    }

    pub fn get(&mut self, url: &str, fields: &[&str]) -> Response {
        self.request("GET", url, fields).response("GET")
    }

    pub fn call(&mut self, method: &str, url: &str, fields: &[&str], body: &[u8]) -> Response {
        let length = format!("Content-Length: {}", body.len());
        let mut all = fields.to_vec();
        if !body.is_empty() {
            all.push(&length);
        }
        self.request(method, url, &all);
        self.send(body);
        self.response(method)
    }

    /// All bytes up to the end of the connection, however it ends.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.reader.read_to_end(&mut rest);
        rest
    }

    /// Whether the proxy has closed the connection: waits for its end, and nothing may come before that.
    pub fn is_closed(&mut self) -> bool {
        self.rest().is_empty()
    }
}
