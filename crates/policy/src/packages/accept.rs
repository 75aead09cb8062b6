//! What Accept and Content-Type tell of an ecosystem's protocol.
//!
//! Nothing here decides; a rule asks. Media types are compared without their parameters and regardless of letter case (RFC
//! 9110, 8.3.1).

use crate::fields::{Fields, list_members, trim_ows};

/// npm's abbreviated document.
pub(super) const NPM_ABBREVIATED: &[u8] = b"application/vnd.npm.install-v1+json";

/// Whether Accept names a media type.
pub(super) fn names(request: &Fields, media_type: &[u8]) -> bool {
    list_members(request.all("accept")).any(|member| essence(member).eq_ignore_ascii_case(media_type))
}

/// Whether the content is in one of the formats of npm's documents.
pub(super) fn is_packument(response: &Fields) -> bool {
    is_one_of(response, &[b"application/json", NPM_ABBREVIATED])
}

/// Whether the content is a page for a browser.
pub(super) fn is_page(response: &Fields) -> bool {
    is_one_of(response, &[b"text/html", b"application/xhtml+xml"])
}

fn is_one_of(response: &Fields, media_types: &[&[u8]]) -> bool {
    let found = response.first("content-type").map(essence);
    found.is_some_and(|found| media_types.iter().any(|known| found.eq_ignore_ascii_case(known)))
}

/// The type without its parameters.
fn essence(value: &[u8]) -> &[u8] {
    trim_ows(value.split(|byte| *byte == b';').next().unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(name: &str, value: &str) -> Fields {
        let mut fields = Fields::new();
        fields.push(name, value.as_bytes()).unwrap();
        fields
    }

    #[test]
    fn a_media_type_is_found_with_its_weight_and_in_any_case() {
        let accept = fields("Accept", "text/plain, Application/Vnd.NPM.install-v1+json ; q=1.0, */*");
        assert!(names(&accept, NPM_ABBREVIATED));
        assert!(!names(&fields("Accept", "application/json, */*"), NPM_ABBREVIATED));
        assert!(!names(&Fields::new(), NPM_ABBREVIATED));
    }

    #[test]
    fn content_is_told_by_its_type() {
        assert!(is_page(&fields("Content-Type", "Text/HTML; charset=utf-8")));
        assert!(!is_page(&fields("Content-Type", "application/octet-stream")) && !is_page(&Fields::new()));
        assert!(is_packument(&fields("content-type", "application/json; charset=utf-8")));
        assert!(!is_packument(&fields("content-type", "application/problem+json")));
    }
}
