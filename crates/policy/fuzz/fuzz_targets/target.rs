//! An accepted target has one spelling, which is accepted again and means the same; what a reference resolves
//! to is such a target too.

#![no_main]

use larder_policy::{CacheKey, HostPort, TargetUri};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (uri, reference) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len()));
    let _ = HostPort::parse(uri);
    let Ok(target) = TargetUri::parse(uri) else { return };
    assert_eq!(TargetUri::parse(target.as_str().as_bytes()).as_ref(), Ok(&target));
    assert!(target.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(target.path().starts_with('/') && !target.host().contains(['@', '/', '?', '#']));
    let key = CacheKey::of(&target);
    assert_eq!(CacheKey::from_stored(key.as_str()), Ok(key));
    if let Some(resolved) = target.resolve(reference) {
        assert_eq!(TargetUri::parse(resolved.as_str().as_bytes()), Ok(resolved));
    }
});
