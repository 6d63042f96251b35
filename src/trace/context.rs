//! Ids of traces and spans, and the W3C header that carries them.
//!
//! Source: <https://www.w3.org/TR/trace-context/#traceparent-header>.

use podturn_turn::{Plan, StepId};
use podturn_wire::RunId;

/// A trace's id: 16 bytes, not all 0.
pub type TraceId = [u8; 16];

/// A span's id: 8 bytes, not all 0.
pub type SpanId = [u8; 8];

/// The lowest bit of the flags: somebody keeps this trace.
const SAMPLED: u8 = 1;

/// What a `TRACEPARENT` names: the span within which something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// `trace-flags`.
    pub flags: u8,
}

impl Parent {
    /// Reads a `traceparent`; `None`: it is none. Of a later version only what this one has counts.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let [version] = hex::<1>(parts.next()?)?;
        let (trace, span, [flags]) = (hex(parts.next()?)?, hex(parts.next()?)?, hex::<1>(parts.next()?)?);
        let is_whole = version != 0xff && (version > 0 || parts.next().is_none());
        (is_whole && trace != TraceId::default() && span != SpanId::default()).then_some(Self { trace, span, flags })
    }

    /// Whether its trace is kept.
    #[must_use]
    pub const fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }
}

impl std::fmt::Display for Parent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { trace, span, flags } = self;
        write!(f, "00-{:032x}-{:016x}-{flags:02x}", u128::from_be_bytes(*trace), u64::from_be_bytes(*span))
    }
}

/// Lower case, and nothing before or behind.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 2 * N || !text.bytes().all(is_lower) {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// The trace of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    run: RunId,
    parent: Option<Parent>,
}

impl Context {
    /// The run's trace: its own, or within that of its parent.
    #[must_use]
    pub const fn new(run: RunId, parent: Option<Parent>) -> Self {
        Self { run, parent }
    }

    /// The trace of a run with this plan. The parameter [`super::PARAMETER`] names its parent, or else `given`, if they are contexts.
    #[must_use]
    pub fn of(run: RunId, plan: &Plan, given: Option<&str>) -> Self {
        let named = plan.parameters.iter().find(|parameter| parameter.name == super::PARAMETER);
        let named = named.and_then(|parameter| Parent::parse(&parameter.value));
        Self::new(run, named.or_else(|| given.and_then(Parent::parse)))
    }

    /// Within which span the run happens.
    #[must_use]
    pub const fn parent(&self) -> Option<Parent> {
        self.parent
    }

    /// The trace. Its own ends with the run's id, which is random, so that whoever knows the one finds the other.
    #[must_use]
    pub fn trace(&self) -> TraceId {
        let own = (u128::from(mix(self.run.0)) << 64) | u128::from(self.run.0);
        self.parent.map_or_else(|| own.max(1).to_be_bytes(), |parent| parent.trace)
    }

    /// The span of the whole run.
    #[must_use]
    pub fn run_span(&self) -> SpanId {
        self.span([0, 0, 0])
    }

    /// The span of a step.
    #[must_use]
    pub fn step_span(&self, step: StepId) -> SpanId {
        self.span([1, step.0, 0])
    }

    /// The span of an attempt.
    #[must_use]
    pub fn attempt_span(&self, step: StepId, attempt: u32) -> SpanId {
        self.span([2, step.0, attempt])
    }

    /// The span of a step's wait, the first of which is 0.
    #[must_use]
    pub fn wait_span(&self, step: StepId, wait: u32) -> SpanId {
        self.span([3, step.0, wait])
    }

    /// What the command of an attempt is told of its context.
    #[must_use]
    pub fn of_attempt(&self, step: StepId, attempt: u32) -> Parent {
        let flags = self.parent.map_or(SAMPLED, |parent| parent.flags);
        Parent { trace: self.trace(), span: self.attempt_span(step, attempt), flags }
    }

    fn span(&self, place: [u32; 3]) -> SpanId {
        let id = place.into_iter().fold(mix(self.run.0), |id, part| mix(id ^ u64::from(part)));
        id.max(1).to_be_bytes()
    }
}

/// Spreads a number over 64 bits: the finalizer of splitmix64 (Steele, Lea and Flood, 'Fast splittable pseudorandom number generators').
const fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_header_is_read_as_the_standard_has_it() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let parent = Parent::parse(text).expect("the standard's example");
        assert!(parent.is_sampled());
        assert_eq!(parent.to_string(), text);
        assert!(!Parent::parse(&text.replace("-01", "-00")).expect("it is one").is_sampled());
        assert_eq!(
            Parent::parse(&format!("cc{}-what-comes", &text[2..])),
            Some(parent),
            "a later version may have more"
        );
        for wrong in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-éaf7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        ] {
            assert_eq!(Parent::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_span_of_a_run_has_an_id_of_its_own_and_always_the_same() {
        let context = Context::new(RunId(0xab), None);
        let mut ids = HashSet::from([context.run_span()]);
        for step in (0..300).map(StepId) {
            assert!(ids.insert(context.step_span(step)));
            for number in 0..10 {
                assert!(ids.insert(context.attempt_span(step, number)) && ids.insert(context.wait_span(step, number)));
            }
        }
        assert!(!ids.contains(&SpanId::default()));
        assert_eq!(Context::new(RunId(0xab), None).step_span(StepId(7)), context.step_span(StepId(7)));
        assert_ne!(Context::new(RunId(0xac), None).step_span(StepId(7)), context.step_span(StepId(7)));
        assert!(
            context.of_attempt(StepId(1), 2).to_string().contains("00000000000000ab-"),
            "the run's id ends the trace's"
        );
    }

    #[test]
    fn a_run_within_another_trace_is_a_part_of_it() {
        let parent = Parent::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00").expect("it is one");
        let told = Context::new(RunId(1), Some(parent)).of_attempt(StepId(0), 1).to_string();
        assert!(told.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && told.ends_with("-00"), "{told}");
        assert!(!told.contains("b7ad6b7169203331"), "the attempt's own span: {told}");
    }
}
