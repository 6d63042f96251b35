//! Who answers the core's questions: what evaluates a `when`, and a person at the controls, who also asks for what does not apply.

use podturn_turn::{Answer, Decision, Kind, Phase, Request};

use super::{World, id};

impl World {
    /// A `when` has a value, whether it was asked for or not.
    pub(super) fn decide(&mut self, n: usize) -> Result<(), String> {
        let decision = match self.tape.draw(6) {
            4 => Decision::Skip,
            5 => Decision::Error("no such key: v".into()),
            _ => Decision::Run,
        };
        self.tell(Kind::Decided { step: id(n), decision })
    }

    /// What is journaled is only what does something; here also what does not, as it must not matter in a replay.
    pub(super) fn request(&mut self, request: Request) -> Result<(), String> {
        let (does, must) = (matches!(self.state.answer(request), Answer::Does(_)), self.judge.applies(request));
        if does != must {
            let event = self.journal.len() + 1;
            return Err(format!("event {event}: {request:?} applies: {does}, expected {must}"));
        }
        self.tell(Kind::Requested { request })
    }

    /// The answer to an approval that is asked for, or to a failure that waits.
    pub(super) fn ask_a_person(&mut self, n: usize) -> Result<(), String> {
        let (step, attempt) = (id(n), self.state.attempt(id(n)));
        if self.state.phase(step) == Phase::Awaiting {
            return self.request(Request::Approve { step });
        }
        let retry = Request::Retry { step, attempt };
        // The ordinary choice is the one that ends it: a person who retries for ever is no fair world.
        let choices = [Request::Skip { step, attempt }, retry, retry, Request::Stop { step, attempt }];
        let choice = self.tape.pick(&choices);
        if choice == retry && !self.judge.applies(retry) {
            self.request(retry)?; // and is told why not
            return self.request(Request::Skip { step, attempt });
        }
        self.request(choice)
    }

    /// Anything, of any step, for any attempt.
    pub(super) fn ask_for_something(&mut self) -> Result<(), String> {
        let n = self.tape.draw(self.places.len());
        let (step, newest) = (id(n), self.state.attempt(id(n)));
        let attempt = match self.tape.draw(6) {
            4 => newest.saturating_sub(1),
            5 => newest + 1,
            _ => newest,
        };
        let request = match self.tape.draw(12) {
            0 | 1 => Request::Approve { step },
            2..=4 => Request::Retry { step, attempt },
            5 | 6 => Request::Stop { step, attempt },
            7 | 8 => Request::Skip { step, attempt },
            9 => Request::Pause,
            _ => Request::Resume,
        };
        self.request(request)
    }

    /// What a person has to do when nothing can happen by itself any more: end a pause of their own, and a pod that runs for ever.
    pub(super) fn last_resort(&self) -> Option<Request> {
        let choices = [Request::Resume, Request::Cancel];
        let applies = |request: &Request| self.judge.applies(*request);
        choices.into_iter().filter(|request| *request == Request::Resume || self.plan.long_running).find(applies)
    }
}
