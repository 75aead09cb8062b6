//! Any bytes decode to a record or a fault; a record never reaches beyond its bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(taken) = larder_storage::fuzzing::record_decode(bytes) {
        assert!(taken <= bytes.len());
    }
});
