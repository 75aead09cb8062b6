//! Filling parts: into a partial, and from a partial into a blob.
//!
//! What is flushed is in the partial for good, whatever becomes of the fill: the map names it, and it is counted. The record that
//! follows says what the head is now, and gives a new partial its owner.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use larder_policy::{Runs, StoredResponse};

use super::{CoreBody, Expect, Fill, Storing, Temp, append, new_core};
use crate::blob::{BLOCK, has_tree, write_tree};
use crate::command::{AppendBody, Reservation};
use crate::digest::BlobDigest;
use crate::error::ReadError;
use crate::layout::TempFile;
use crate::partial::{PartWriter, Partial};
use crate::stored::Stored;

/// A body that has become whole, proved as far as its digest needs it.
struct Whole {
    digest: BlobDigest,
    inline: Option<Bytes>,
    tree: Option<TempFile>,
    expected: bool,
}

impl Fill {
    /// The body will not become whole: what came is kept as a part, if it can be gone on with and is at least `least` bytes or
    /// goes into a part that is there. Its readers see an error all the same.
    pub async fn keep(mut self, least: u64) -> Option<Arc<Stored>> {
        let fresh = self.filling.base().is_none();
        if (fresh && self.received < least.max(1)) || !self.filling.response().can_be_resumed() {
            return None;
        }
        let whole = matches!(self.storing.as_ref()?, Storing::Whole(_));
        if (whole && self.filling.length().is_none()) || !self.flush(true).await {
            return None;
        }
        match self.storing.take()? {
            Storing::Whole(Some(temp)) => self.keep_beginning(*temp).await,
            Storing::Part(writer) => self.record_part(writer).await,
            Storing::Whole(None) => None,
        }
    }

    /// Fewer bytes came than the head of a new part said.
    pub(super) fn is_short(&self) -> bool {
        let announced = self.filling.part().map(|part| part.end - part.start);
        self.filling.base().is_none() && announced.is_some_and(|announced| self.received < announced)
    }

    pub(super) async fn flush_part(
        &mut self,
        mut writer: PartWriter,
        more: Option<Reservation>,
        at: u64,
        chunks: Vec<Bytes>,
    ) -> bool {
        if let Some(more) = more {
            writer.reserved(more);
        }
        let until = chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>() + at;
        if until == at {
            self.storing = Some(Storing::Part(writer));
            return true;
        }
        let partials = self.shared.partials.clone();
        match tokio::task::spawn_blocking(move || writer.write(&partials, at, &chunks)).await {
            Ok(Ok(writer)) => {
                if let Some(partial) = &writer.partial {
                    self.filling.added(partial.clone(), until);
                }
                self.storing = Some(Storing::Part(writer));
                true
            }
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
                if let Some(base) = self.filling.base() {
                    let error = ReadError::Damaged { digest: base.digest, offset: at };
                    self.shared.blobs.report(base, &error);
                }
                false
            }
            Ok(Err(error)) => {
                self.shared.write_failed("write a part", &error);
                false
            }
            Err(_) => false,
        }
    }

    /// All of the part has come.
    pub(super) async fn store_part(&mut self) -> Option<Arc<Stored>> {
        if !self.flush(true).await {
            return None;
        }
        let Some(Storing::Part(writer)) = self.storing.take() else { return None };
        self.record_part(writer).await
    }

    /// Appends the record of a part as it is now, or of the whole that it has become.
    async fn record_part(&mut self, mut writer: PartWriter) -> Option<Arc<Stored>> {
        let stored = self.record(&mut writer).await?;
        writer.recorded();
        Some(stored)
    }

    async fn record(&mut self, writer: &mut PartWriter) -> Option<Arc<Stored>> {
        let partial = writer.partial.clone()?;
        let runs = partial.runs();
        let complete_length = self.filling.complete_length();
        let response = self.filling.response().holding(&runs, complete_length)?;
        if let Some(len) = complete_length.filter(|_| response.facts().part().is_none()) {
            let Whole { digest, inline, tree, expected } = self.whole(&partial, len).await?;
            if !expected {
                self.digest_mismatch();
                // It is not what its URL says, and so is no part of it.
                if let Some(base) = self.filling.base() {
                    let error = ReadError::Damaged { digest: base.digest, offset: 0 };
                    self.shared.blobs.report(base, &error);
                }
                return None;
            }
            let reservation = writer.reservation.take();
            let body = match (inline.clone(), writer.fresh.take()) {
                (Some(body), _) => AppendBody::Inline(body),
                (None, None) => AppendBody::Completed { partial: partial.name(), tree, reservation },
                (None, Some(fresh)) => {
                    let reservation = reservation?;
                    AppendBody::New { temp: fresh.data, tree, reservation }
                }
            };
            return self.append_body(response, CoreBody { digest, len, inline, partial: None }, body).await;
        }
        let (fresh, reservation) = (writer.fresh.take(), writer.reservation.take());
        self.append_partial(response, partial, AppendBody::Partial { fresh, reservation }).await
    }

    async fn append_partial(
        &self,
        response: StoredResponse,
        partial: Arc<Partial>,
        body: AppendBody,
    ) -> Option<Arc<Stored>> {
        let (digest, len) = (partial.name(), u64::from(partial.blocks()) * BLOCK);
        let core = CoreBody { digest, len, inline: None, partial: Some(partial) };
        self.append_body(response, core, body).await
    }

    async fn append_body(
        &self,
        response: StoredResponse,
        core: CoreBody,
        body: AppendBody,
    ) -> Option<Arc<Stored>> {
        let core = new_core(&self.shared, self.filling.key(), response, core);
        append(&self.shared, &self.sender, core, body).await
    }

    /// Digest and tree of a partial that has every byte; the body itself where it is small.
    async fn whole(&mut self, partial: &Arc<Partial>, len: u64) -> Option<Whole> {
        let (layout, of, expect) = (self.shared.layout.clone(), partial.clone(), self.expect.take());
        let small = len <= self.shared.options.segment_max();
        let job = move || {
            let Some((digest, values)) = of.digest(len)? else { return Ok(None) };
            let mut inline = small.then(BytesMut::new);
            let mut expect = expect;
            if expect.is_some() || small {
                of.read_all(len, |bytes| {
                    if let Some(expect) = &mut expect {
                        expect.update(bytes);
                    }
                    if let Some(inline) = &mut inline {
                        inline.extend_from_slice(bytes);
                    }
                })?;
            }
            let tree = (!small && has_tree(len)).then(|| write_tree(&layout, len, &values)).transpose();
            let expected = expect.is_none_or(Expect::met);
            let inline = inline.map(BytesMut::freeze);
            Ok(Some(tree.map(|tree| Whole { digest, inline, tree, expected })))
        };
        match tokio::task::spawn_blocking(job).await.ok()? {
            Ok(Some(Ok(whole))) => Some(whole),
            Ok(Some(Err(error))) => {
                self.shared.write_failed("write a tree", &error);
                None
            }
            Ok(None) => None,
            Err(error) => {
                if let Some(base) = self.filling.base() {
                    self.shared.blobs.report(base, &error);
                }
                None
            }
        }
    }

    /// The beginning of a whole response becomes a partial.
    async fn keep_beginning(&mut self, temp: Temp) -> Option<Arc<Stored>> {
        let (len, complete) = (self.received, self.filling.length()?);
        let response = self.filling.response().holding(&Runs::of(0..len), Some(complete))?;
        let partials = self.shared.partials.clone();
        let Temp { file, name, digester, reservation, .. } = temp;
        let job = move || {
            let (partial, fresh) = partials.adopt(name, file)?;
            // Room that was taken ahead for all of it goes back.
            partial.trim(len)?;
            partial.adopt(len, &digester.values_from(0)).map(|()| (partial, fresh))
        };
        match tokio::task::spawn_blocking(job).await.ok()? {
            Ok((partial, fresh)) => {
                let body = AppendBody::Partial { fresh: Some(fresh), reservation: Some(reservation) };
                self.append_partial(response, partial, body).await
            }
            Err(error) => {
                self.shared.write_failed("keep what came", &error);
                None
            }
        }
    }
}
