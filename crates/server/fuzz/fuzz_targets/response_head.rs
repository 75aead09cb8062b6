//! Whatever bytes come as a response (the first byte stands for the method asked with): one reading, whole or in
//! pieces, as received or as sent on; its body likewise.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| larder_server::fuzzing::response_head(data));
