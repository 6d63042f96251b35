//! `public/phases.json`: phases and conditions, and nothing else, for whoever looks on from a container that is no step
//! (`podturn-shim wait`).

use std::collections::BTreeMap;

use podturn_turn::{Condition, Dependency, State as Core, StepId};
use podturn_wire::VERSION;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};

/// Every condition that a dependency can have.
const CONDITIONS: [Condition; 5] =
    [Condition::Started, Condition::Ready, Condition::Succeeded, Condition::Failed, Condition::Completed];

/// The phases of a run. A view, whole each time it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(title = "phases.json")]
pub struct Phases {
    /// The version of the protocol.
    pub version: u64,
    /// The run's id: 16 hex digits.
    pub run: String,
    /// The steps by name.
    pub steps: BTreeMap<String, PhaseOf>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PhaseOf {
    /// Its phase, as in `state.json`.
    pub phase: String,
    /// The conditions (Started, Ready, Succeeded, Failed, Completed) that are met now: true; and those that never will be: false.
    pub conditions: BTreeMap<String, bool>,
}

/// The JSON Schema of `phases.json`.
#[must_use]
pub fn phases_schema() -> Schema {
    schema_for!(Phases)
}

impl Phases {
    /// Those of a core's state.
    #[must_use]
    pub fn of(core: &Core) -> Self {
        let steps = core.plan().steps.iter().zip(0..);
        let steps = steps.map(|(step, index)| (step.name.clone(), PhaseOf::of(core, StepId(index))));
        Self { version: VERSION, run: core.run().to_string(), steps: steps.collect() }
    }
}

impl PhaseOf {
    fn of(core: &Core, step: StepId) -> Self {
        let phase = core.phase(step);
        let verdicts = CONDITIONS.into_iter().filter_map(|condition| {
            let met = core.is_met(Dependency { step, condition });
            // One that has ended leaves no condition undecided.
            (met || phase.is_end()).then(|| (format!("{condition:?}"), met))
        });
        Self { phase: format!("{phase:?}"), conditions: verdicts.collect() }
    }
}
