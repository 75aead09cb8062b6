//! What `benches/peers/run` measures with: the floor, the origin, and clients for what wrk and h2load cannot do.
//!
//! All of it is one thread and one epoll each, so that a measurement knows on which core it runs.

mod client;
mod report;
mod responder;
mod stream;

use std::net::SocketAddr;

use clap::Parser;

#[derive(Parser)]
#[command(about = "The floor, the origin and the clients of benches/peers")]
enum Instrument {
    /// Find the end of each request's head, look at nothing in it, and write the same answer
    Floor {
        /// Where to listen
        #[arg(long)]
        listen: SocketAddr,
        /// Bytes in the body of the answer
        #[arg(long)]
        bytes: u64,
    },
    /// Answer `/store/BYTES/NAME` cacheable, `/pass/BYTES/NAME` not, and `/requests` with how many of these there were
    Origin {
        /// Where to listen
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Ask for one path again and again, and check every answer
    Client(client::Options),
}

fn main() -> anyhow::Result<()> {
    match Instrument::parse() {
        Instrument::Floor { listen, bytes } => responder::serve(listen, &mut responder::Floor::new(bytes)),
        Instrument::Origin { listen } => responder::serve(listen, &mut responder::Origin::default()),
        Instrument::Client(options) => client::run(&options, &mut std::io::stdout().lock()),
    }
}
