//! A step's `when` in a run: its value by what the core knows now.

use podturn_turn::{Decision, State, StepId};

use super::{Expression, StepView, View};

/// What a step's `when` comes to now: the answer to [`State::question`]. Without a `when`: it runs.
#[must_use]
pub fn decide(state: &State, step: StepId) -> Decision {
    let Some(expression) = state.plan().steps[step.index()].when.as_deref() else { return Decision::Run };
    match Expression::read(expression) {
        Ok(read) => match read.evaluate(&view_for(&read, state)) {
            Ok(true) => Decision::Run,
            Ok(false) => Decision::Skip,
            Err(why) => Decision::Error(format!("{why}, in `{expression}`")),
        },
        Err(error) => Decision::Error(format!("{}, in `{expression}`", error.why)),
    }
}

/// What the expression sees: the steps that it names, and not more, however many the plan has.
fn view_for(expression: &Expression, state: &State) -> View {
    let plan = state.plan();
    let names = expression.names();
    let step = |name: &str| {
        let id = StepId(u32::try_from(plan.steps.iter().position(|step| step.name == name)?).ok()?);
        let seen = state.view(id);
        Some(StepView {
            phase: format!("{:?}", seen.phase),
            exit_code: seen.last_end.map(|ended| ended.exit.code()),
            outputs: seen.outputs.values,
        })
    };
    let named = names.iter().filter(|name| name.parts[0] == "steps").filter_map(|name| name.parts.get(1));
    View {
        steps: named.filter_map(|name| Some((name.clone(), step(name)?))).collect(),
        params: plan.parameters.iter().map(|known| (known.name.clone(), known.value.clone())).collect(),
        outcome: Some(format!("{:?}", state.outcome_of_main())),
    }
}
