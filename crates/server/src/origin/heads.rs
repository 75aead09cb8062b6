//! The heads that come before content: interim ones are handed on, up to a bound, and a switch of protocols must have been asked
//! for.
//!
//! While an interim response goes to a client that is slow to take it, the next heads are read: HTTP/2 has no flow control for
//! heads, so that a flood of them would gather in memory, unread, where the bound does not see it.

use std::collections::VecDeque;
use std::pin::pin;

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

/// Reads the heads of one exchange, handing interim ones on, up to a bound.
pub(super) struct Heads {
    interim_left: usize,
    /// What was read while an interim response was handed on.
    ahead: VecDeque<ResponseHead>,
}

impl Heads {
    /// For an exchange with so many interim responses at most.
    pub(super) fn new(interim_responses: usize) -> Self {
        Self { interim_left: interim_responses, ahead: VecDeque::new() }
    }

    /// The head that ends the wait; none where that is a `100 (Continue)`. Cancelled, it loses at most an interim response that was
    /// being handed on.
    pub(super) async fn next(
        &mut self,
        receiving: &mut Receiving,
        interim: &mut impl Interim,
        host: &str,
        until: Until<'_>,
    ) -> Result<Option<ResponseHead>, UpstreamError> {
        loop {
            let head = match self.ahead.pop_front() {
                Some(head) => head,
                None => self.read(receiving, host).await?,
            };
            if head.status == StatusCode::SWITCHING_PROTOCOLS {
                return match until {
                    Until::Switch(protocols) if switches_to(&head, protocols) => Ok(Some(head)),
                    Until::Switch(_) => {
                        Err(protocol(host, "it switched to a protocol that was not asked for"))
                    }
                    Until::Final | Until::Continue => Err(protocol(host, "it switched protocols unasked")),
                };
            }
            if is_last(&head) {
                return Ok(Some(head));
            }
            let go_on = head.status == StatusCode::CONTINUE && until == Until::Continue;
            self.hand_on(head, receiving, interim, host).await?;
            if go_on {
                return Ok(None);
            }
        }
    }

    /// Hands an interim response on.
    pub(super) async fn hand_on(
        &mut self,
        head: ResponseHead,
        receiving: &mut Receiving,
        interim: &mut impl Interim,
        host: &str,
    ) -> Result<(), UpstreamError> {
        let mut given = pin!(interim.interim(head));
        while !self.ahead.back().is_some_and(is_last) {
            tokio::select! {
                biased;
                () = &mut given => return Ok(()),
                head = self.read(receiving, host) => self.ahead.push_back(head?),
            }
        }
        given.await;
        Ok(())
    }

    async fn read(&mut self, receiving: &mut Receiving, host: &str) -> Result<ResponseHead, UpstreamError> {
        let head = receiving.head(host).await?;
        if !is_last(&head) {
            self.interim_left = self
                .interim_left
                .checked_sub(1)
                .ok_or_else(|| protocol(host, "too many interim responses"))?;
        }
        Ok(head)
    }
}

/// Whether HTTP says nothing more by heads after it.
fn is_last(head: &ResponseHead) -> bool {
    !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS
}

fn protocol(host: &str, reason: &str) -> UpstreamError {
    UpstreamError::Protocol { host: host.to_owned(), reason: reason.to_owned() }
}

/// Whether a 101 names only protocols that were asked for, and one at least (RFC 9110, 7.8).
fn switches_to(head: &ResponseHead, asked: &[u8]) -> bool {
    let was_asked =
        |named: &[u8]| list_members([asked].into_iter()).any(|one| one.eq_ignore_ascii_case(named));
    let mut named = list_members(head.fields.all("upgrade")).peekable();
    head.version == Version::Http11 && named.peek().is_some() && named.all(was_asked)
}
