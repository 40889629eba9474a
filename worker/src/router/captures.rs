use smallvec::SmallVec;

/// The values of a pattern's params, as byte ranges of the topic; on the heap from the ninth on.
#[derive(Clone, Debug, Default)]
pub struct Captures {
    ranges: SmallVec<[Span; 8]>,
}

/// Bytes `start..end` of a topic: at most 65,535 (MQTT 5, 1.5.4), so two bytes are enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u16,
    pub(super) end: u16,
}

impl Span {
    /// `None`: beyond what a topic may hold.
    pub(super) fn new(start: usize, end: usize) -> Option<Self> {
        Some(Self { start: start.try_into().ok()?, end: end.try_into().ok()? })
    }

    pub(super) fn is_empty(self) -> bool {
        self.start == self.end
    }
}

impl Captures {
    /// The value of the pattern's `i`-th param; `topic` is the one that was matched. Empty where
    /// there is no such param.
    #[must_use]
    pub fn get<'t>(&self, topic: &'t str, i: usize) -> &'t str {
        self.ranges
            .get(i)
            .and_then(|span| topic.get(usize::from(span.start)..usize::from(span.end)))
            .unwrap_or_default()
    }

    /// How many params there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.ranges.clear();
    }

    pub(super) fn push(&mut self, span: Span) {
        self.ranges.push(span);
    }

    pub(super) fn pop(&mut self) -> Option<Span> {
        self.ranges.pop()
    }

    pub(super) fn spans(&self) -> &[Span] {
        &self.ranges
    }

    /// Keeps the captures for which `named` says so, in order.
    pub(super) fn keep(&mut self, named: &[bool]) {
        let mut named = named.iter();
        self.ranges.retain(|_| named.next().copied().unwrap_or(true));
    }
}
