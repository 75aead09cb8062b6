//! A field section is read back from exactly one text, and none of its lines holds another.

#![no_main]

use larder_policy::Fields;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(fields) = Fields::from_wire(data) {
        assert_eq!(fields.as_wire(), data);
        assert_eq!(data.split(|byte| *byte == b'\n').count(), fields.len() + 1);
    }
    let mut built = Fields::new();
    for line in data.split(|byte| *byte == b'\n') {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        let before = built.len();
        let pushed = built.push(name, value).is_ok();
        assert_eq!(built.len(), before + usize::from(pushed));
    }
    let read = Fields::from_wire(built.as_wire()).expect("what was built is read back");
    assert!(read.iter().eq(built.iter()));
});
