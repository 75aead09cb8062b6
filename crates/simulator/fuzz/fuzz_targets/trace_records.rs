//! Any bytes are a trace that ends, if they are recognised as one, however the reader cuts them; and each line or record
//! is a request, or counted as unreadable.

#![no_main]

use std::io::BufReader;

use larder_simulator::trace::{Format, Trace};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some(format) = Format::sniff(bytes) else { return };
    let whole = Trace::new(bytes, format, None).read_all().expect("memory can be read");
    let cut = Trace::new(BufReader::with_capacity(7, bytes), format, None).read_all().expect("memory can be read");
    assert_eq!(whole, cut);
    if format == Format::OracleGeneral {
        assert_eq!(whole.0.len() as u64 + whole.1.count, bytes.len().div_ceil(24) as u64);
    }
});
