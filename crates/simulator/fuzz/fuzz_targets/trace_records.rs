//! Any bytes are a trace that ends, with at most one error and that at its end; every whole record before it is read.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(trace) = larder_simulator::trace::read(std::io::Cursor::new(bytes.to_vec())) else { return };
    let mut failed = false;
    for request in trace {
        assert!(!failed);
        failed = request.is_err();
    }
});
