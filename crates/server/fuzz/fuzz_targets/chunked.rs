//! Whatever bytes come as a chunked body: the decoder and the grammar agree, whole or in pieces, as received or as
//! sent on.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| larder_server::fuzzing::chunked(data));
