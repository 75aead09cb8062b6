//! The heads that come before content: interim ones are handed on, up to a bound, and a switch of protocols must have been asked
//! for.

use http::StatusCode;
use larder_policy::list_members;

use super::halves::Receiving;
use super::messages::Interim;
use crate::error::UpstreamError;
use crate::http1::{ResponseHead, Version};

/// Until which head is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Until<'p> {
    /// The final one.
    Final,
    /// `100 (Continue)`, which ends the wait without a head, or the final one.
    Continue,
    /// The final one, or a switch to one of these protocols.
    Switch(&'p [u8]),
}

/// Reads heads, handing interim ones on, up to a bound.
pub(super) struct Heads {
    pub(super) interim_left: usize,
}

impl Heads {
    /// The head that ends the wait; none where that is a `100 (Continue)`.
    pub(super) async fn next(
        &mut self,
        receiving: &mut Receiving,
        interim: &mut impl Interim,
        host: &str,
        until: Until<'_>,
    ) -> Result<Option<ResponseHead>, UpstreamError> {
        loop {
            let head = receiving.head(host).await?;
            let protocol =
                |reason: &str| UpstreamError::Protocol { host: host.to_owned(), reason: reason.to_owned() };
            if head.status == StatusCode::SWITCHING_PROTOCOLS {
                return match until {
                    Until::Switch(protocols) if switches_to(&head, protocols) => Ok(Some(head)),
                    Until::Switch(_) => Err(protocol("it switched to a protocol that was not asked for")),
                    Until::Final | Until::Continue => Err(protocol("it switched protocols unasked")),
                };
            }
            if !head.status.is_informational() {
                return Ok(Some(head));
            }
            self.interim_left =
                self.interim_left.checked_sub(1).ok_or_else(|| protocol("too many interim responses"))?;
            let go_on = head.status == StatusCode::CONTINUE && until == Until::Continue;
            interim.interim(head).await;
            if go_on {
                return Ok(None);
            }
        }
    }
}

/// Whether a 101 names only protocols that were asked for, and one at least (RFC 9110, 7.8).
fn switches_to(head: &ResponseHead, asked: &[u8]) -> bool {
    let was_asked =
        |named: &[u8]| list_members([asked].into_iter()).any(|one| one.eq_ignore_ascii_case(named));
    let mut named = list_members(head.fields.all("upgrade")).peekable();
    head.version == Version::Http11 && named.peek().is_some() && named.all(was_asked)
}
