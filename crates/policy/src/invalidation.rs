//! What a successful unsafe request makes obsolete (RFC 9111, 4.4).

use http::{Method, StatusCode};

use crate::fields::Fields;
use crate::key::CacheKey;
use crate::request::MethodClass;
use crate::target::TargetUri;

/// The keys of which all stored responses are to be removed, after the answer to a request.
///
/// The target itself, and what Location and Content-Location name on the same origin: another origin's
/// responses are not for this one to remove. Empty for a safe method, and after an error, which changed
/// nothing. Methods not known to be safe are unsafe.
pub fn invalidates(
    method: &Method,
    status: StatusCode,
    target: &TargetUri,
    response: &Fields,
) -> Vec<CacheKey> {
    if !MethodClass::of(method).is_unsafe() || !(status.is_success() || status.is_redirection()) {
        return Vec::new();
    }
    let mut keys = vec![CacheKey::of(target)];
    for name in ["location", "content-location"] {
        let named = response.first(name).and_then(|reference| target.resolve(reference));
        if let Some(named) = named.filter(|named| named.same_origin(target)) {
            let key = CacheKey::of(&named);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    keys
}
