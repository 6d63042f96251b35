//! `$(...)` references in the texts of a container.
//!
//! Belongs here: finding them and putting texts in their place. Does not belong here: what they are in another engine.

use podturn_wire::reference::is_reference;

/// Calls `replacement` for each reference of a text, and puts what it gives in its place. `$$$$(plan.outcome)`, which is
/// the text `$(plan.outcome)` where podturn runs, becomes `$$(plan.outcome)`, of which a kubelet alone makes that text.
///
/// # Errors
/// The first one of `replacement`.
pub(super) fn replaced(
    text: &str,
    replacement: &mut dyn FnMut(&str) -> Result<String, String>,
) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((start, end, dollars)) = next(rest) {
        out.push_str(&rest[..start]);
        // The kubelet halves them, rounding up, and so does the shim, rounding down: an odd number there has a reference behind it.
        // What both would leave is doubled for the kubelet alone.
        let in_shim = dollars.div_ceil(2);
        out.push_str(&"$$".repeat(in_shim / 2));
        if in_shim % 2 == 1 {
            out.push_str(&replacement(&rest[start + dollars + 1..end - 1])?);
        } else {
            out.push_str(&rest[start + dollars..end]);
        }
        rest = &rest[end..];
    }
    out.push_str(rest);
    Ok(out)
}

/// The first reference: where its dollar signs begin, where its bracket ends, how many dollar signs there are.
fn next(text: &str) -> Option<(usize, usize, usize)> {
    text.match_indices("$(").find_map(|(at, _)| {
        let inner = &text[at + 2..];
        let end = inner.find(')')?;
        let dollars = text[..=at].bytes().rev().take_while(|byte| *byte == b'$').count();
        is_reference(&inner[..end]).then_some((at + 1 - dollars, at + 2 + end + 1, dollars))
    })
}

/// A reference, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reference<'r> {
    /// `steps.STEP.outputs.KEY`, and its default.
    Output(&'r str, &'r str, Option<&'r str>),
    /// `steps.STEP.phase`.
    Phase(&'r str),
    /// `steps.STEP.exitCode`, and its default.
    ExitCode(&'r str, Option<&'r str>),
    /// `params.NAME`.
    Parameter(&'r str),
    /// `plan.outcome`.
    Outcome,
}

impl<'r> Reference<'r> {
    /// Reads what stands between the brackets. The plan's check has seen that it is right.
    pub(super) fn read(inner: &'r str) -> Option<Self> {
        let (name, default) = inner.split_once(":-").map_or((inner, None), |(name, default)| (name, Some(default)));
        if name == "plan.outcome" {
            return Some(Self::Outcome);
        }
        if let Some(name) = name.strip_prefix("params.") {
            return Some(Self::Parameter(name));
        }
        let (step, field) = name.strip_prefix("steps.")?.split_once('.')?;
        match field.split_once('.') {
            Some(("outputs", key)) => Some(Self::Output(step, key, default)),
            None if field == "phase" => Some(Self::Phase(step)),
            None if field == "exitCode" => Some(Self::ExitCode(step, default)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_replaced_and_a_text_stays_one() {
        for (text, wanted) in [
            ("a $(steps.x.phase) b", "a <steps.x.phase> b"),
            ("$$(params.P)$(plan.outcome)", "<params.P><plan.outcome>"),
            ("$$$$(plan.outcome)", "$$(plan.outcome)"),
            ("$$$$$(params.P) $$$$$$(params.P)", "$$<params.P> $$<params.P>"),
            ("$$$$$$$$(params.P)", "$$$$(params.P)"),
            ("$(steps.a) $(params.a b)", "$(steps.a) $(params.a b)"),
            ("$(steps.a.outputs.v:-none)", "<steps.a.outputs.v:-none>"),
            ("$(HOME) $(date) $(steps.", "$(HOME) $(date) $(steps."),
        ] {
            assert_eq!(replaced(text, &mut |inner| Ok(format!("<{inner}>"))).as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn a_reference_has_parts() {
        let read = Reference::read;
        assert_eq!(read("steps.a.outputs.v:-x"), Some(Reference::Output("a", "v", Some("x"))));
        assert_eq!(read("steps.a.exitCode"), Some(Reference::ExitCode("a", None)));
        assert_eq!(read("steps.a.phase"), Some(Reference::Phase("a")));
        assert_eq!(read("params.P:-x"), Some(Reference::Parameter("P")));
        assert_eq!(read("plan.outcome"), Some(Reference::Outcome));
        assert_eq!(read("steps.a.color"), None);
    }
}
