//! Requests to switch protocols (RFC 9110, 7.8): WebSocket and whatever else is asked for by `Upgrade`.
//!
//! They are passed on, and the answer is never from nor for the store. Until the origin has said 101 nothing that came
//! behind the request goes out, so that no bytes of a client are taken for a protocol that the origin does not speak.
//! HTTP/2 is never among the protocols that are passed on: what went through then would be requests that nobody looks at.

use std::sync::Arc;

use http::Method;
use larder_policy::{Fields, ForwardReason, TargetUri, list_members, remove_hop_by_hop};

use crate::answer::{Answering, Told};
use crate::http1::Version;
use crate::origin::{Interim, OriginResponse, Switched, Upgrade};
use crate::pipeline::{Place, outbound};
use crate::request::ProxyRequest;
use crate::respond::{Answer, CacheStatus, sign};
use crate::shared::Worker;
use crate::transaction::Outcome;

/// The protocols that a request asks to switch to, as they are passed on: it must be an HTTP/1.1 GET without content.
pub(crate) fn asked_for(method: &Method, version: Version, fields: &Fields) -> Option<Vec<u8>> {
    let plain = *method == Method::GET
        && version == Version::Http11
        && !fields.contains("content-length")
        && !fields.contains("transfer-encoding");
    let option = |member: &[u8]| member.eq_ignore_ascii_case(b"upgrade");
    if !plain || !list_members(fields.all("connection")).any(option) {
        return None;
    }
    let protocols: Vec<&[u8]> =
        list_members(fields.all("upgrade")).filter(|protocol| may_pass(protocol)).collect();
    (!protocols.is_empty()).then(|| protocols.join(&b", "[..]))
}

/// Whether a protocol is named as one (`name` or `name/version`) and is not HTTP itself.
fn may_pass(protocol: &[u8]) -> bool {
    let name = protocol.split(|byte| *byte == b'/').next().unwrap_or_default();
    let starts = |with: &[u8]| name.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(byte);
    !name.is_empty() && protocol.iter().all(word) && !starts(b"h2") && !starts(b"h3") && !starts(b"http")
}

/// Passes a request to switch to `protocols` on. What comes back is the connection behind a 101, its head as the client
/// gets it, or another answer.
pub(crate) async fn answer(
    worker: &Arc<Worker>,
    request: &ProxyRequest,
    (target, place): (&TargetUri, Place),
    protocols: &[u8],
    interim: &mut impl Interim,
) -> Result<Box<Switched>, Answer> {
    let proxy = &worker.proxy;
    let Place { destination, policy, .. } = place;
    let outbound = outbound(proxy, request, destination, target.path_and_query());
    let status = CacheStatus { forwarded: Some(ForwardReason::Bypass), ..CacheStatus::default() };
    match worker.origins.upgrade(&outbound, protocols, interim).await {
        Ok(Upgrade::Switched(mut switched)) => {
            let head = &mut switched.head;
            let named: Vec<Vec<u8>> = head.fields.all("upgrade").map(<[u8]>::to_vec).collect();
            remove_hop_by_hop(&mut head.fields);
            // A 101 has no content, whatever it says.
            head.fields.remove("content-length");
            // All three were field values before, or are constants.
            let _ = head.fields.push("Connection", b"upgrade");
            for protocol in named {
                let _ = head.fields.push("Upgrade", &protocol);
            }
            sign(&mut head.fields, &proxy.own.names, head.version, &status);
            Ok(switched)
        }
        Ok(Upgrade::Answered(OriginResponse { mut head, body, .. })) => {
            remove_hop_by_hop(&mut head.fields);
            let status = CacheStatus { forward_status: Some(head.status), ..status };
            let told = Told { status, outcome: Outcome::Miss, hop: body.hop().clone() };
            Err(Answering { proxy, policy: &policy, target, request }.relay(head, body, told))
        }
        Err(error) => Err(proxy.own.upstream_failure(&error, ForwardReason::Bypass, proxy.clock.now())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(lines: &[(&str, &str)]) -> Option<String> {
        let mut fields = Fields::new();
        for (name, value) in lines {
            fields.push(name, value.as_bytes()).unwrap();
        }
        asked_for(&Method::GET, Version::Http11, &fields).map(|asked| String::from_utf8(asked).unwrap())
    }

    #[test]
    fn what_is_asked_for_is_passed_on_but_http_itself() {
        let says = ("Connection", "keep-alive, Upgrade");
        for (upgrade, passed) in [
            ("websocket", Some("websocket")),
            ("WebSocket", Some("WebSocket")),
            ("foo/2, bar", Some("foo/2, bar")),
            ("h2c, websocket", Some("websocket")),
            ("h2c", None),
            ("H2C", None),
            ("HTTP/2.0", None),
            ("h2c-14, h2", None),
            ("a b", None),
            ("\"websocket\"", None),
            ("", None),
        ] {
            assert_eq!(asked(&[says, ("Upgrade", upgrade)]).as_deref(), passed, "{upgrade}");
        }
    }

    #[test]
    fn both_fields_and_a_plain_get_are_needed() {
        let upgrade = ("Upgrade", "websocket");
        assert_eq!(asked(&[upgrade]), None);
        assert_eq!(asked(&[("Connection", "upgrade")]), None);
        assert_eq!(asked(&[("Connection", "upgrade"), upgrade, ("Content-Length", "0")]), None);
        let mut fields = Fields::new();
        fields.push("Connection", b"upgrade").unwrap();
        fields.push("Upgrade", b"websocket").unwrap();
        assert!(asked_for(&Method::GET, Version::Http11, &fields).is_some());
        assert!(asked_for(&Method::POST, Version::Http11, &fields).is_none());
        assert!(asked_for(&Method::GET, Version::Http10, &fields).is_none());
    }
}
