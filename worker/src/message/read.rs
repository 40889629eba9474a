//! Bytes of what the socket gave, and what keeps them.

use std::{fmt, ops::Range, sync::Arc, time::SystemTime};

use bytes::Bytes;

use super::RouteInfo;

/// What the messages of one read have in common, as one lane sees it: whoever counted references of the read buffer itself for
/// each message would contend with the socket's task and with other lanes.
pub(crate) struct Origin {
    /// What was read.
    pub(crate) read: Bytes,
    pub(crate) arrived: SystemTime,
    /// Of the table that matched them.
    pub(crate) routes: Arc<[RouteInfo]>,
}

/// Bytes of [`Origin::read`]: a read has less than 4 GiB, since no packet is larger than 256 MiB (MQTT 5, 1.5.5).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    start: u32,
    len: u32,
}

/// Bytes of what was read, and what keeps them.
#[derive(Clone)]
pub(crate) struct Slice {
    origin: Arc<Origin>,
    part: Part,
}

impl Origin {
    pub(super) fn bytes(&self, part: Part) -> &[u8] {
        &self.read[part.range()]
    }

    /// By themselves; they share the read buffer.
    pub(super) fn shared(&self, part: Part) -> Bytes {
        self.read.slice(part.range())
    }
}

/// Without what was read: most of it is other messages.
impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").field("arrived", &self.arrived).finish_non_exhaustive()
    }
}

impl Part {
    /// Where `inner`, which lies in `outer`, stands in it.
    pub(crate) fn of(outer: &[u8], inner: &[u8]) -> Self {
        let narrow = |number: usize| u32::try_from(number).unwrap_or_default();
        let start = inner.as_ptr().addr().checked_sub(outer.as_ptr().addr());
        match start {
            Some(start) if start + inner.len() <= outer.len() => {
                Self { start: narrow(start), len: narrow(inner.len()) }
            }
            _ => Self { start: 0, len: 0 },
        }
    }

    /// Bytes.
    pub(super) fn size(self) -> u64 {
        self.len.into()
    }

    fn range(self) -> Range<usize> {
        let start = self.start as usize;
        start..start + self.len as usize
    }
}

impl Slice {
    pub(super) fn new(origin: &Arc<Origin>, part: Part) -> Self {
        Self { origin: Arc::clone(origin), part }
    }

    pub(crate) fn view(&self) -> &[u8] {
        self.origin.bytes(self.part)
    }

    /// By itself; shares the read buffer.
    pub(crate) fn bytes(&self) -> Bytes {
        self.origin.shared(self.part)
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::Part;

    #[test]
    fn a_part_is_found_where_it_stands_and_what_stands_elsewhere_is_empty() {
        let read = b"site/7/statuspayload".as_slice();
        let (topic, payload) = read.split_at(13);
        assert_eq!(Part::of(read, topic).range(), 0..13);
        assert_eq!(Part::of(read, payload).range(), 13..20);
        assert_eq!(Part::of(topic, payload).range(), 0..0);
        assert_eq!(Part::of(payload, topic).range(), 0..0);
        assert_eq!(Part::of(read, &[]).range(), 0..0);
    }
}
