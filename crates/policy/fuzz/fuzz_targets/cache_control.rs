//! Whatever Cache-Control says, a prohibition on a further line still holds, and a further line never
//! lengthens a lifetime. The order of the lines does not matter.

#![no_main]

use larder_policy::{Directive, ResponseDirectives, Restriction};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let alone = ResponseDirectives::of_cache_control(lines.iter().copied());
    let further: [&[u8]; 1] = [b"no-store, No-Cache, PRIVATE, max-age=7"];
    let more = ResponseDirectives::of_cache_control(lines.iter().copied().chain(further));
    assert!(more.no_store);
    assert_eq!((&more.no_cache, &more.private), (&Restriction::Whole, &Restriction::Whole));
    match (alone.max_age, more.max_age) {
        (Directive::Absent, Directive::Value(after)) => assert_eq!(after.as_secs(), 7),
        (Directive::Invalid, after) => assert_eq!(after, Directive::Invalid),
        (Directive::Value(before), Directive::Value(after)) => {
            assert!(after <= before && after.as_secs() <= 7)
        }
        (before, after) => panic!("{before:?} became {after:?}"),
    }
    assert_eq!((alone.s_maxage, alone.public), (more.s_maxage, more.public));

    let backwards = ResponseDirectives::of_cache_control(lines.iter().rev().copied());
    assert_eq!((alone.max_age, alone.s_maxage), (backwards.max_age, backwards.s_maxage));
    assert_eq!((alone.no_store, alone.public), (backwards.no_store, backwards.public));
    assert_eq!(alone.private == Restriction::Whole, backwards.private == Restriction::Whole);
});
