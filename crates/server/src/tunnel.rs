//! CONNECT: bytes both ways, nothing looked at, nothing stored.
//!
//! Each direction ends by itself (TCP half-close). Both silent for the idle limit, or the proxy's stop, end the tunnel.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep};

/// What an idle tunnel holds for each direction.
const SMALL: usize = 8 * 1024;
/// What a busy one holds: fewer system calls for a byte.
const LARGE: usize = 128 * 1024;

/// Bytes carried each way.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    /// From the client to the other side.
    pub(crate) up: AtomicU64,
    /// From the other side to the client.
    pub(crate) down: AtomicU64,
}

/// Carries bytes until both directions have ended, both are silent for `idle`, or one fails.
///
/// `early_up` and `early_down` were read before the tunnel began and go first.
pub(crate) async fn carry<C, D, S>(
    (mut client_read, mut client_write): (C, D),
    early_up: Bytes,
    server: S,
    early_down: Bytes,
    idle: Duration,
    carried: Arc<Carried>,
) where
    C: AsyncRead + Unpin,
    D: AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite,
{
    let (mut server_read, mut server_write) = tokio::io::split(server);
    let up = one_way(&mut client_read, &mut server_write, early_up, &carried.up);
    let down = one_way(&mut server_read, &mut client_write, early_down, &carried.down);
    let both = async { tokio::try_join!(up, down) };
    tokio::select! {
        _ = both => {}
        () = silence(&carried, idle) => {}
    }
}

async fn one_way<R, W>(from: &mut R, to: &mut W, early: Bytes, count: &AtomicU64) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    if !early.is_empty() {
        to.write_all(&early).await?;
        count.fetch_add(early.len() as u64, Ordering::Relaxed);
    }
    drop(early);
    let mut buffer = BytesMut::with_capacity(SMALL);
    loop {
        let read = from.read_buf(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer).await?;
        count.fetch_add(read as u64, Ordering::Relaxed);
        let filled = read == buffer.capacity();
        buffer.clear();
        if filled && buffer.capacity() < LARGE {
            buffer = BytesMut::with_capacity(LARGE);
        }
    }
}

/// Returns once nothing has been carried for `idle`.
async fn silence(carried: &Carried, idle: Duration) {
    let sum = || carried.up.load(Ordering::Relaxed).wrapping_add(carried.down.load(Ordering::Relaxed));
    let step = (idle / 8).max(Duration::from_millis(1));
    let (mut last, mut since) = (sum(), Instant::now());
    loop {
        sleep(step).await;
        let now = sum();
        if now != last {
            (last, since) = (now, Instant::now());
        } else if since.elapsed() >= idle {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_direction_ends_by_itself_and_early_bytes_go_first() {
        let (client, client_far) = tokio::io::duplex(1 << 16);
        let (server, mut server_far) = tokio::io::duplex(1 << 16);
        let carried = Arc::new(Carried::default());
        let counts = Arc::clone(&carried);
        let tunnel = tokio::spawn(carry(
            tokio::io::split(client_far),
            Bytes::from_static(b"early "),
            server,
            Bytes::from_static(b"hello "),
            Duration::from_secs(60),
            carried,
        ));
        let (mut client_read, mut client_write) = tokio::io::split(client);
        client_write.write_all(b"up").await.unwrap();
        client_write.shutdown().await.unwrap();
        let mut up = Vec::new();
        server_far.read_to_end(&mut up).await.unwrap();
        assert_eq!(up, b"early up");
        server_far.write_all(b"down").await.unwrap();
        server_far.shutdown().await.unwrap();
        let mut down = Vec::new();
        client_read.read_to_end(&mut down).await.unwrap();
        assert_eq!(down, b"hello down");
        tunnel.await.unwrap();
        assert_eq!((counts.up.load(Ordering::Relaxed), counts.down.load(Ordering::Relaxed)), (8, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_it() {
        let (_client, client_far) = tokio::io::duplex(64);
        let (server, _server_far) = tokio::io::duplex(64);
        let idle = Duration::from_secs(600);
        let carried = Arc::new(Carried::default());
        carry(tokio::io::split(client_far), Bytes::new(), server, Bytes::new(), idle, carried).await;
    }
}
