//! What a person may do on a live page: buttons for those who have the token.

use std::fmt::Write as _;

use super::Page;
use crate::view::Act;
use crate::view::escape::Escaped;
use crate::volume::published::Step;

/// The field for the token, what is about the whole plan, and the question whether it is meant. Shown by the script.
pub(super) const ACTIONS: &str = "\
<section id=\"actions\" aria-labelledby=\"actions-title\" hidden>\n<h2 id=\"actions-title\">Controls</h2>\n\
<form><p><label>Token <input id=\"token\" type=\"password\" autocomplete=\"off\" spellcheck=\"false\"></label> \
<button type=\"button\" data-verb=\"pause\">Pause</button> <button type=\"button\" data-verb=\"resume\">Resume</button> \
<button type=\"button\" data-verb=\"cancel\">Cancel the plan</button></p></form>\n<p id=\"answer\" role=\"status\"></p>\n</section>\n\
<dialog id=\"sure\" aria-labelledby=\"question\"><p id=\"question\"></p><p><button type=\"button\" id=\"yes\">Yes</button> \
<button type=\"button\" id=\"no\">No</button></p></dialog>\n";

impl Page<'_> {
    /// The buttons of one step.
    pub(super) fn write_actions(&self, step: &Step, html: &mut String) {
        if !self.acts {
            return;
        }
        let mut suiting = Act::OF_A_STEP.into_iter().filter(|act| act.suits(step)).peekable();
        if suiting.peek().is_none() {
            return;
        }
        html.push_str("<p class=\"acts\">");
        for act in suiting {
            let verb = act.word();
            let word = verb[..1].to_ascii_uppercase() + &verb[1..];
            let name = Escaped(&step.name);
            let _ = write!(
                html,
                "<button type=\"button\" data-verb=\"{verb}\" data-step=\"{name}\" data-attempt=\"{}\" aria-label=\"{word} {name}\">{word}</button> ",
                step.attempt
            );
        }
        html.push_str("</p>");
    }
}
