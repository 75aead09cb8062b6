//! A second, slow reading of single lines, byte by byte as the grammar has it.
//!
//! httparse reads the heads that are well-formed, which is nearly all. This names the fault when it refuses one,
//! and lets a hopeless first line be refused before the rest of the head has come. Tests hold both to one opinion.

use super::error::ParseError;

/// Whether `byte` may stand in a token (RFC 9110, 5.6.2).
pub(super) fn is_tchar(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'#'
            | b'$'
            | b'%'
            | b'&'
            | b'\''
            | b'*'
            | b'+'
            | b'-'
            | b'.'
            | b'^'
            | b'_'
            | b'`'
            | b'|'
            | b'~'
    ) || byte.is_ascii_alphanumeric()
}

/// Whether all of it is a token, and there is some.
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_tchar(byte))
}

/// Whether all of it may stand in a field value or reason phrase: HTAB, SP, VCHAR, obs-text (RFC 9110, 5.5).
pub(super) fn is_field_content(text: &[u8]) -> bool {
    text.iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

/// Whether all of it may stand in a request target, and there is some.
pub(super) fn is_target(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_graphic)
}

/// A request line without its CRLF (RFC 9112, 3).
pub(super) fn request_line(line: &[u8]) -> Result<(), ParseError> {
    no_control(line)?;
    let (method, rest) = split_space(line).ok_or(ParseError::RequestLine)?;
    if method.is_empty() {
        return Err(ParseError::RequestLine);
    }
    if !is_token(method) {
        return Err(ParseError::Method);
    }
    let (target, version_text) = split_space(rest).ok_or(ParseError::RequestLine)?;
    if target.is_empty() || version_text.first().is_none_or(|&byte| byte == b' ') {
        return Err(ParseError::RequestLine);
    }
    if !is_target(target) {
        return Err(ParseError::Target);
    }
    if line == b"PRI * HTTP/2.0" {
        return Err(ParseError::Http2Preface);
    }
    if version_text.contains(&b' ') {
        return Err(ParseError::RequestLine);
    }
    version(version_text)
}

/// A status line without its CRLF (RFC 9112, 4). The space before an absent reason phrase may be absent too: origins
/// omit it, and there is no second way to read that.
pub(super) fn status_line(line: &[u8]) -> Result<(), ParseError> {
    no_control(line)?;
    let (version_text, rest) = split_space(line).ok_or(ParseError::StatusLine)?;
    if !version_text.starts_with(b"HTTP/") {
        return Err(ParseError::StatusLine);
    }
    version(version_text)?;
    let (code, reason) = rest.split_at_checked(3).ok_or(ParseError::StatusLine)?;
    let code_is_sound = code.iter().all(u8::is_ascii_digit) && code.first() != Some(&b'0');
    let reason_is_sound = reason.is_empty() || (reason.first() == Some(&b' ') && is_field_content(reason));
    if code_is_sound && reason_is_sound { Ok(()) } else { Err(ParseError::StatusLine) }
}

/// A field line without its CRLF (RFC 9112, 5).
pub(super) fn field_line(line: &[u8]) -> Result<(), ParseError> {
    no_control(line)?;
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(ParseError::ObsFold);
    }
    let colon = line.iter().position(|&byte| byte == b':').ok_or(ParseError::FieldName)?;
    let (name, value) = line.split_at_checked(colon).ok_or(ParseError::FieldName)?;
    if matches!(name.last(), Some(b' ' | b'\t')) {
        return Err(ParseError::SpaceBeforeColon);
    }
    if !is_token(name) {
        return Err(ParseError::FieldName);
    }
    if is_field_content(value) { Ok(()) } else { Err(ParseError::FieldValue) }
}

/// The first fault in a whole section whose lines all end in CRLF, given the rule for its first line.
pub(super) fn first_fault(
    section: &[u8],
    first: fn(&[u8]) -> Result<(), ParseError>,
) -> Result<(), ParseError> {
    let mut rest = section;
    let mut rule = first;
    while let Some(lf) = memchr::memchr(b'\n', rest) {
        let (line, after) = rest.split_at_checked(lf + 1).unwrap_or_default();
        match line.strip_suffix(b"\r\n") {
            None => return Err(ParseError::BareLf),
            Some(b"") => return Ok(()),
            Some(line) => rule(line)?,
        }
        rule = field_line;
        rest = after;
    }
    Ok(())
}

/// Bytes that others take for the end of a line or of a string.
fn no_control(line: &[u8]) -> Result<(), ParseError> {
    match line.iter().find(|&&byte| byte == 0 || byte == b'\r') {
        None => Ok(()),
        Some(0) => Err(ParseError::Nul),
        Some(_) => Err(ParseError::BareCr),
    }
}

fn split_space(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = text.iter().position(|&byte| byte == b' ')?;
    let (before, from) = text.split_at_checked(space)?;
    Some((before, from.get(1..)?))
}

/// RFC 9112, 2.3. A minor version above 1 could be read as 1.1, but nobody speaks one in good faith.
fn version(text: &[u8]) -> Result<(), ParseError> {
    match text {
        b"HTTP/1.0" | b"HTTP/1.1" => Ok(()),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(ParseError::VersionUnsupported)
        }
        _ => Err(ParseError::VersionSyntax),
    }
}
