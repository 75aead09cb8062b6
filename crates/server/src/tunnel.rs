//! Tunnels, by CONNECT or after a 101: bytes both ways, nothing looked at, nothing stored.
//!
//! Each direction ends by itself (TCP half-close). One that fails gives the other a while, as an answer may be on its way, and then both
//! sides see that the tunnel was cut. Both silent for the idle limit end it, too; when the proxy is to stop, soon. Between two TCP
//! connections the bytes stay in the kernel (splice), once there are enough of them to be worth a pipe.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::byte_stream::{Abort, ByteStream};

/// What an idle tunnel holds for each direction.
const SMALL: usize = 8 * 1024;
/// What a busy one holds: fewer system calls for a byte.
const LARGE: usize = 128 * 1024;

/// When one direction has failed or the proxy is to stop, silence of this length ends a tunnel.
const ENDING_SILENCE: Duration = Duration::from_secs(2);

/// Bytes carried each way.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    /// From the client to the other side.
    up: AtomicU64,
    /// From the other side to the client.
    down: AtomicU64,
}

impl Carried {
    /// From the client to the other side.
    pub(crate) fn up(&self) -> u64 {
        self.up.load(Ordering::Relaxed)
    }

    /// From the other side to the client.
    pub(crate) fn down(&self) -> u64 {
        self.down.load(Ordering::Relaxed)
    }
}

/// How a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Both directions came to their end.
    Both,
    /// Nothing was carried for too long.
    Silence,
    /// What the client sent could not be carried to its end.
    Client,
    /// What the other side sent could not.
    Server,
}

/// Carries bytes until both directions have ended, both are silent for `idle`, or one fails.
pub(crate) async fn carry(
    client: ByteStream,
    server: ByteStream,
    idle: Duration,
    draining: watch::Receiver<bool>,
    carried: &Carried,
) -> Ended {
    let failed = Failed::default();
    let silence = silence(carried, idle, draining, &failed);
    match (client.into_tcp(), server.into_tcp()) {
        (Ok((client, early_up)), Ok((server, early_down))) => {
            let (mut client_read, mut client_write) = client.into_split();
            let (mut server_read, mut server_write) = server.into_split();
            let up = async {
                first(&mut server_write, early_up, &carried.up).await?;
                kernel::one_way(&mut client_read, &mut server_write, &carried.up).await
            };
            let down = async {
                first(&mut client_write, early_down, &carried.down).await?;
                kernel::one_way(&mut server_read, &mut client_write, &carried.down).await
            };
            let ended = until_over(up, down, silence, &failed).await;
            if matches!(ended, Ended::Client | Ended::Server) {
                // An orderly end would look like that of the content.
                client_write.abort();
                server_write.abort();
            }
            ended
        }
        (client, server) => {
            let whole = |tcp: Result<_, ByteStream>| {
                tcp.map_or_else(|other| other, |(tcp, early)| ByteStream::tcp(tcp).after(early))
            };
            // Dropped without its end, any other stream than TCP is cut.
            let (mut client_read, mut client_write) = tokio::io::split(whole(client));
            let (mut server_read, mut server_write) = tokio::io::split(whole(server));
            let up = copy(&mut client_read, &mut server_write, u64::MAX, &carried.up);
            let down = copy(&mut server_read, &mut client_write, u64::MAX, &carried.down);
            let (up, down) = (async { up.await.map(|_| ()) }, async { down.await.map(|_| ()) });
            until_over(up, down, silence, &failed).await
        }
    }
}

/// Which direction has failed first.
#[derive(Default)]
struct Failed {
    client: AtomicBool,
    server: AtomicBool,
}

impl Failed {
    fn any(&self) -> bool {
        self.client.load(Ordering::Relaxed) || self.server.load(Ordering::Relaxed)
    }
}

async fn until_over(
    up: impl Future<Output = io::Result<()>>,
    down: impl Future<Output = io::Result<()>>,
    silence: impl Future<Output = ()>,
    failed: &Failed,
) -> Ended {
    let up = async {
        if up.await.is_err() && !failed.any() {
            failed.client.store(true, Ordering::Relaxed);
        }
    };
    let down = async {
        if down.await.is_err() && !failed.any() {
            failed.server.store(true, Ordering::Relaxed);
        }
    };
    let silent = tokio::select! {
        _ = async { tokio::join!(up, down) } => false,
        () = silence => true,
    };
    match (failed.client.load(Ordering::Relaxed), failed.server.load(Ordering::Relaxed)) {
        (true, _) => Ended::Client,
        (_, true) => Ended::Server,
        (false, false) if silent => Ended::Silence,
        (false, false) => Ended::Both,
    }
}

/// What ended a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copied {
    /// The end of the stream, which was passed on.
    All,
    /// As many bytes as were to be copied.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only splice goes on from there"))]
    Enough,
}

/// What was read before the tunnel began goes first.
async fn first(to: &mut OwnedWriteHalf, early: BytesMut, count: &AtomicU64) -> io::Result<()> {
    to.write_all(&early).await?;
    count.fetch_add(early.len() as u64, Ordering::Relaxed);
    Ok(())
}

/// Copies until the end, or until so many bytes have gone.
async fn copy<R, W>(from: &mut R, to: &mut W, enough: u64, count: &AtomicU64) -> io::Result<Copied>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut copied = 0;
    let mut buffer = BytesMut::with_capacity(SMALL);
    while copied < enough {
        let read = from.read_buf(&mut buffer).await?;
        if read == 0 {
            to.shutdown().await?;
            return Ok(Copied::All);
        }
        to.write_all(&buffer).await?;
        to.flush().await?;
        copied += read as u64;
        count.fetch_add(read as u64, Ordering::Relaxed);
        let (filled, small) = (read == buffer.capacity(), read < SMALL / 2);
        buffer.clear();
        if filled && buffer.capacity() < LARGE {
            buffer = BytesMut::with_capacity(LARGE);
        } else if small && buffer.capacity() > SMALL {
            buffer = BytesMut::with_capacity(SMALL);
        }
    }
    Ok(Copied::Enough)
}

/// Returns once nothing has been carried for `idle`, or for less where the tunnel is about to end.
async fn silence(carried: &Carried, idle: Duration, draining: watch::Receiver<bool>, failed: &Failed) {
    let sum = || carried.up().wrapping_add(carried.down());
    let step = (idle.min(ENDING_SILENCE) / 4).max(Duration::from_millis(1));
    let (mut last, mut since) = (sum(), Instant::now());
    loop {
        sleep(step).await;
        let now = sum();
        let ending = failed.any() || *draining.borrow();
        if now != last {
            (last, since) = (now, Instant::now());
        } else if since.elapsed() >= if ending { idle.min(ENDING_SILENCE) } else { idle } {
            return;
        }
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    //! From one TCP connection to another without a copy to user space.

    use std::os::fd::OwnedFd;

    use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
    use tokio::io::Interest;
    use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

    use super::{AsyncWriteExt, AtomicU64, Copied, Ordering, copy, io};

    /// A tunnel that has carried less in a direction does without a pipe for it.
    const WORTH_A_PIPE: u64 = 64 * 1024;
    /// What a pipe should hold. One user's pipes have a bound in all, beyond which they are made smaller.
    const PIPE_BYTES: usize = 256 * 1024;
    /// A smaller pipe costs more than it saves.
    const LEAST_PIPE_BYTES: usize = 64 * 1024;

    pub(super) async fn one_way(
        from: &mut OwnedReadHalf,
        to: &mut OwnedWriteHalf,
        count: &AtomicU64,
    ) -> io::Result<()> {
        if copy(from, to, WORTH_A_PIPE, count).await? == Copied::All {
            return Ok(());
        }
        match pipe() {
            Some((out, into)) => spliced(from, to, (&out, &into), count).await,
            None => copy(from, to, u64::MAX, count).await.map(|_| ()),
        }
    }

    /// A pipe that is large enough, if there is one to be had.
    fn pipe() -> Option<(OwnedFd, OwnedFd)> {
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        let bytes = fcntl_setpipe_size(&into, PIPE_BYTES)
            .or_else(|_| rustix::pipe::fcntl_getpipe_size(&into))
            .unwrap_or_default();
        (bytes >= LEAST_PIPE_BYTES).then_some((out, into))
    }

    /// The pipe is empty before anything is read, so that a read which would block waits for the peer and for nothing else.
    async fn spliced(
        from: &OwnedReadHalf,
        to: &mut OwnedWriteHalf,
        (out, into): (&OwnedFd, &OwnedFd),
        count: &AtomicU64,
    ) -> io::Result<()> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let (source, sink) = (from.as_ref(), to.as_ref());
        loop {
            let take = || splice(source, None, into, None, PIPE_BYTES, flags).map_err(io::Error::from);
            let mut held = source.async_io(Interest::READABLE, take).await?;
            if held == 0 {
                return to.shutdown().await;
            }
            while held > 0 {
                let give = || splice(out, None, sink, None, held, flags).map_err(io::Error::from);
                let given = sink.async_io(Interest::WRITABLE, give).await?;
                if given == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                held -= given;
                count.fetch_add(given as u64, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

    use super::{AtomicU64, copy, io};

    pub(super) async fn one_way(
        from: &mut OwnedReadHalf,
        to: &mut OwnedWriteHalf,
        count: &AtomicU64,
    ) -> io::Result<()> {
        copy(from, to, u64::MAX, count).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Both ends of a TCP connection.
    async fn tcp() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    async fn both_ways<C, S>(client: C, client_far: ByteStream, server: S, server_far: ByteStream)
    where
        C: AsyncRead + AsyncWrite,
        S: AsyncRead + AsyncWrite,
    {
        let carried = Arc::new(Carried::default());
        let counts = Arc::clone(&carried);
        let far = (client_far.after(b"early "[..].into()), server_far.after(b"hello "[..].into()));
        let (_drain, draining) = watch::channel(false);
        let idle = Duration::from_secs(60);
        let tunnel = tokio::spawn(async move { carry(far.0, far.1, idle, draining, &carried).await });
        let (mut client_read, mut client_write) = tokio::io::split(client);
        let (mut server_read, mut server_write) = tokio::io::split(server);
        let long: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7) as u8).collect();
        let send = async {
            client_write.write_all(&long).await.unwrap();
            client_write.shutdown().await.unwrap();
        };
        let mut up = Vec::new();
        let (_, read) = tokio::join!(send, server_read.read_to_end(&mut up));
        read.unwrap();
        assert!(up.starts_with(b"early ") && up[6..] == long);
        // The client has ended its direction; the other one still works.
        server_write.write_all(b"down").await.unwrap();
        server_write.shutdown().await.unwrap();
        let mut down = Vec::new();
        client_read.read_to_end(&mut down).await.unwrap();
        assert_eq!(down, b"hello down");
        assert_eq!(tunnel.await.unwrap(), Ended::Both);
        assert_eq!((counts.up(), counts.down()), (up.len() as u64, 10));
    }

    #[tokio::test]
    async fn each_direction_ends_by_itself_and_early_bytes_go_first() {
        let ((client, client_far), (server, server_far)) = (tcp().await, tcp().await);
        both_ways(client, ByteStream::tcp(client_far), server, ByteStream::tcp(server_far)).await;
        let (client, client_far) = tokio::io::duplex(1 << 16);
        let (server, server_far) = tcp().await;
        both_ways(client, ByteStream::other(client_far), server, ByteStream::tcp(server_far)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_it_and_soon_when_the_proxy_is_to_stop() {
        for (drains, least, most) in [(false, 600, 700), (true, 2, 10)] {
            let (_client, client_far) = tokio::io::duplex(64);
            let (_server, server_far) = tokio::io::duplex(64);
            let (client, server) = (ByteStream::other(client_far), ByteStream::other(server_far));
            let (_drain, draining) = watch::channel(drains);
            let began = Instant::now();
            let idle = Duration::from_secs(600);
            let ended = carry(client, server, idle, draining, &Carried::default()).await;
            assert_eq!(ended, Ended::Silence);
            assert!((least..most).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        }
    }

    #[tokio::test]
    async fn a_side_that_breaks_off_is_seen_to_break_off_by_the_other() {
        let ((mut client, client_far), (server, server_far)) = (tcp().await, tcp().await);
        let (_drain, draining) = watch::channel(false);
        let tunnel = tokio::spawn(async move {
            let (client, server) = (ByteStream::tcp(client_far), ByteStream::tcp(server_far));
            carry(client, server, Duration::from_secs(60), draining, &Carried::default()).await
        });
        socket2::SockRef::from(&server).set_linger(Some(Duration::ZERO)).unwrap();
        drop(server);
        let read = client.read(&mut [0; 8]).await;
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(tunnel.await.unwrap(), Ended::Server);
    }
}
