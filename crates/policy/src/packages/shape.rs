//! The words that paths of packages are made of: versions, digests, names.
//!
//! All of them are exact: what is not read to its end is not of the shape.

/// Decodes lower-case hexadecimal digits, exactly `N` bytes of them.
pub(super) fn decode_hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if digits.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    let mut digits = digits.bytes();
    for byte in &mut bytes {
        *byte = digit(digits.next()?)? << 4 | digit(digits.next()?)?;
    }
    Some(bytes)
}

/// Whether a text is exactly so many lower-case hexadecimal digits.
pub(super) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a text has at least one byte, and only `allowed` ones.
pub(super) fn consists_of(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && text.bytes().all(allowed)
}

/// Whether a text is so many decimal digits at least, and nothing else.
pub(super) fn is_number(text: &str) -> bool {
    consists_of(text, |byte| byte.is_ascii_digit())
}

/// Whether a text begins with a letter or a digit and goes on with those and `others`.
pub(super) fn is_name(text: &str, others: &[u8]) -> bool {
    text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && consists_of(text, |byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
}

/// Whether a text is a version in the way of most ecosystems: it begins with a digit and has letters, digits and `.-_~+!` after
/// that. A plus sign may be percent-encoded.
pub(super) fn is_version(text: &str) -> bool {
    let plain = without_escaped_plus(text);
    plain.bytes().next().is_some_and(|byte| byte.is_ascii_digit())
        && consists_of(&plain, |byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'~' | b'+' | b'!')
        })
}

/// Whether a text is a version by the grammar of semantic versioning: three numbers without leading zeros, then perhaps `-` and
/// a pre-release, and `+` and build metadata.
pub(super) fn is_semver(text: &str) -> bool {
    let plain = without_escaped_plus(text);
    let (rest, build) = match plain.split_once('+') {
        Some((rest, build)) => (rest, Some(build)),
        None => (&*plain, None),
    };
    let (numbers, pre_release) = match rest.split_once('-') {
        Some((numbers, pre_release)) => (numbers, Some(pre_release)),
        None => (rest, None),
    };
    let number = |part: &str| is_number(part) && (part == "0" || !part.starts_with('0'));
    let identifiers = |text: &str| {
        text.split('.').all(|part| consists_of(part, |byte| byte.is_ascii_alphanumeric() || byte == b'-'))
    };
    numbers.split('.').count() == 3
        && numbers.split('.').all(number)
        && pre_release.is_none_or(identifiers)
        && build.is_none_or(identifiers)
}

fn without_escaped_plus(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains('%') { text.replace("%2B", "+").replace("%2b", "+").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_is_exact() {
        assert_eq!(decode_hex("00ff"), Some([0, 255]));
        for text in ["", "00f", "00FF", "00fg", "00ff0"] {
            assert_eq!(decode_hex::<2>(text), None, "{text}");
            assert!(!is_hex(text, 4), "{text}");
        }
        assert!(is_hex("00ff", 4));
    }

    #[test]
    fn versions_look_like_versions() {
        for text in ["1", "1.0", "2024.1.post1", "1.0-2~bpo12%2B1", "1!2.0", "0.1_alpha"] {
            assert!(is_version(text), "{text}");
        }
        for text in ["", "latest", "v1", "1/2", "1 2", "1%2F2", "1?"] {
            assert!(!is_version(text), "{text}");
        }
    }

    #[test]
    fn semantic_versions_are_whole() {
        for text in
            ["1.2.3", "0.0.0", "1.0.0-rc.1", "1.0.0-0.3.7", "1.0.0+build.5", "1.0.0-a-b%2Bx.y", "10.20.30"]
        {
            assert!(is_semver(text), "{text}");
        }
        for text in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "01.2.3",
            "1.2.x",
            "v1.2.3",
            "1.2.3-",
            "1.2.3+",
            "1.2.3-a..b",
            "1.2.3-a_b",
        ] {
            assert!(!is_semver(text), "{text}");
        }
    }
}
