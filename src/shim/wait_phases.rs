//! Reading `public/phases.json`: whether a condition holds. Pure.
//!
//! Phases are words here, and the conditions' verdicts are in the file: a coordinator that knows more phases than this shim
//! is understood all the same.

use podturn_wire::json::Object;
use podturn_wire::{Text, VERSION, WireError};

/// The conditions of a dependency, as `dependsOn` has them.
const CONDITIONS: [&str; 5] = ["Started", "Ready", "Succeeded", "Failed", "Completed"];

/// One of [`CONDITIONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Condition(&'static str);

impl Condition {
    /// What a dependency means that names no condition.
    pub(crate) const READY: Self = Self(CONDITIONS[1]);

    pub(crate) fn parse(text: &str) -> Option<Self> {
        CONDITIONS.into_iter().find(|name| *name == text).map(Self)
    }
}

/// The longest phase is `Succeeded`; there is room for longer ones.
pub(crate) type Phase = Text<24>;

/// What the file says of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    /// It may still come.
    Open,
    /// It can never be met any more, since the step is in this phase.
    Lost(Phase),
    /// The plan has no step of this name.
    NoSuchStep,
}

/// The file as it was read.
#[derive(Clone)]
pub(crate) struct Phases<'a>(Object<'a>);

impl<'a> Phases<'a> {
    /// # Errors
    /// When the bytes are not a whole file, or one of another version.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let file = Object::parse(bytes)?;
        match file.number("version")? {
            VERSION => file.object("steps")?.map(Self).ok_or(WireError::Member("steps")),
            other => Err(WireError::Version(other)),
        }
    }

    /// # Errors
    /// When the step is not described as it should be.
    pub(crate) fn verdict(&self, step: &str, condition: Condition) -> Result<Verdict, WireError> {
        let Some(step) = self.0.entry(step) else { return Ok(Verdict::NoSuchStep) };
        let conditions = step.object("conditions")?.ok_or(WireError::Member("conditions"))?;
        if !conditions.has(condition.0) {
            return Ok(Verdict::Open);
        }
        Ok(if conditions.boolean(condition.0)? { Verdict::Met } else { Verdict::Lost(step.text("phase")?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] = br#"{"version":1,"run":"0000000000c0ffee","steps":{
        "build":{"phase":"Failed","conditions":{"Started":true,"Ready":false,"Succeeded":false,"Failed":true,"Completed":true}},
        "db":{"phase":"Meditating","conditions":{"Started":true}},
        "odd":{"phase":"Running"}}}"#;

    fn of(step: &str, condition: &str) -> Result<Verdict, WireError> {
        let condition = Condition::parse(condition).expect("a condition");
        Phases::parse(FILE).expect("whole").verdict(step, condition)
    }

    #[test]
    fn the_file_decides_and_not_the_phase() {
        assert_eq!(of("build", "Failed"), Ok(Verdict::Met));
        assert_eq!(of("build", "Succeeded"), Ok(Verdict::Lost(Text::truncated("Failed"))));
        assert_eq!(of("db", "Started"), Ok(Verdict::Met), "a phase that this shim has never heard of");
        assert_eq!(of("db", "Ready"), Ok(Verdict::Open));
        assert_eq!(of("web", "Ready"), Ok(Verdict::NoSuchStep));
    }

    #[test]
    fn what_is_no_such_file_is_no_verdict() {
        assert_eq!(of("odd", "Ready"), Err(WireError::Member("conditions")));
        for (bytes, error) in [
            (&FILE[..100], WireError::Syntax),
            (b"{\"version\":2,\"steps\":{}}", WireError::Version(2)),
            (b"{\"version\":1}", WireError::Member("steps")),
        ] {
            assert_eq!(Phases::parse(bytes).err(), Some(error));
        }
    }
}
