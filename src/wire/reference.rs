//! `$(...)` references in the words of a command line and environment: where they are, and what is one.
//!
//! Belongs here: the grammar, which the shim and the plan's check share. Does not belong here: values.

/// A piece of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Stays as it is.
    Plain(&'a [u8]),
    /// A value comes in its place: what stands between the brackets, default included.
    Reference(&'a str),
}

/// The pieces of `word` in order. Of n dollar signs directly before the bracket of a reference half (rounded down) are
/// left, and an odd n means its value, an even one the literal text. All else stays as it is.
pub fn pieces(word: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = word;
    core::iter::from_fn(move || {
        let mut from = 0;
        while let Some(at) = rest[from..].iter().position(|byte| *byte == b'$').map(|at| from + at) {
            let dollars = rest[at..].iter().take_while(|byte| **byte == b'$').count();
            from = at + dollars;
            let Some(reference) = bracketed(&rest[from..]) else { continue };
            let kept = at + dollars / 2;
            if kept == 0 {
                rest = &rest[from + reference.len() + 2..];
                return Some(Piece::Reference(reference));
            }
            let plain = &rest[..kept];
            rest = &rest[from - dollars % 2..];
            return Some(Piece::Plain(plain));
        }
        let plain = core::mem::take(&mut rest);
        if plain.is_empty() { None } else { Some(Piece::Plain(plain)) }
    })
}

/// The reference in the brackets at the beginning of `text`, if there is one.
#[cold]
#[inline(never)]
fn bracketed(text: &[u8]) -> Option<&str> {
    let inner = text.strip_prefix(b"(")?;
    let end = inner.iter().position(|byte| *byte == b')')?;
    core::str::from_utf8(&inner[..end]).ok().filter(|inner| is_reference(inner))
}

/// Whether what stands between the brackets is a reference: `NAME` or `NAME:-DEFAULT`, with a NAME of the forms
/// `steps.STEP.outputs.KEY`, `steps.STEP.phase`, `steps.STEP.exitCode`, `plan.outcome`, `params.PARAMETER`.
#[must_use]
pub fn is_reference(inner: &str) -> bool {
    // Bytes and positions: the searches of `str` would be a good part of the shim.
    let inner = inner.as_bytes();
    let end = inner.windows(2).position(|pair| pair == b":-").unwrap_or(inner.len());
    let name = &inner[..end];
    if let Some(parameter) = name.strip_prefix(b"params.") {
        return is_word(parameter);
    }
    let Some(rest) = name.strip_prefix(b"steps.") else { return name == b"plan.outcome" };
    let Some(dot) = rest.iter().position(|byte| *byte == b'.') else { return false };
    let (step, field) = (&rest[..dot], &rest[dot + 1..]);
    let is_field = field == b"phase" || field == b"exitCode";
    is_word(step) && (is_field || field.strip_prefix(b"outputs.").is_some_and(is_word))
}

fn is_word(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::format;
    use std::string::String;

    use super::*;

    /// The word with `<NAME>` in the place of every reference.
    fn marked(word: &str) -> String {
        pieces(word.as_bytes())
            .map(|piece| match piece {
                Piece::Plain(text) => String::from_utf8_lossy(text).into_owned(),
                Piece::Reference(reference) => format!("<{reference}>"),
            })
            .collect()
    }

    #[test]
    fn references_are_found_wherever_they_are() {
        for (word, pieces) in [
            ("$(steps.build.outputs.version)", "<steps.build.outputs.version>"),
            ("--tag=v$(steps.build.outputs.a.b_c-D):latest", "--tag=v<steps.build.outputs.a.b_c-D>:latest"),
            ("$(steps.a.phase)$(steps.b-2.exitCode:-none)", "<steps.a.phase><steps.b-2.exitCode:-none>"),
            ("$(plan.outcome) $(params.TARGET_ENV:-a:-b $(x)", "<plan.outcome> <params.TARGET_ENV:-a:-b $(x>"),
            ("", ""),
        ] {
            assert_eq!(marked(word), pieces);
        }
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        for word in [
            "$(date)",
            "$$",
            "$$(date)",
            "echo $((1+2)) $HOME ${X} $",
            "$(steps.build)",
            "$(steps.build.outputs.)",
            "$(steps.build.outputs.a b)",
            "$(steps..phase)",
            "$(steps.build.log)",
            "$(plan.phase)",
            "$(params.)",
            "$(steps.build.phase",
            "(steps.build.phase)",
            "$ (steps.build.phase)",
        ] {
            assert_eq!(marked(word), word);
        }
        assert_eq!(pieces(b"\xff$(steps.a.phase)").count(), 2, "words need not be UTF-8");
        assert_eq!(pieces(b"$(steps.a.phase:-\xff)").count(), 1);
    }

    #[test]
    fn dollar_signs_before_a_reference_are_halved() {
        for (word, pieces) in [
            ("$$(plan.outcome)", "$(plan.outcome)"),
            ("$$$(plan.outcome)", "$<plan.outcome>"),
            ("$$$$(plan.outcome)", "$$(plan.outcome)"),
            ("a$$(plan.outcome)b$(plan.outcome)", "a$(plan.outcome)b<plan.outcome>"),
            ("$$ $(plan.outcome)", "$$ <plan.outcome>"),
        ] {
            assert_eq!(marked(word), pieces);
        }
    }
}
