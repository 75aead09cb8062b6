//! Whatever bytes come as a request: one reading, whole or in pieces, as received or as sent on; its body likewise.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| larder_server::fuzzing::request_head(data));
