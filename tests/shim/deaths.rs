//! A shim that is killed takes its command along, whenever it happens.

use nix::sys::signal::Signal;

use crate::mailbox::Mailbox;

#[test]
fn a_killed_shim_takes_its_command_along() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&["sh", "-c", "echo ready; exec sleep 1000"]).arrive();
    mailbox.begin(1);
    assert_eq!(mailbox.line(), "ready");
    mailbox.signal(Signal::SIGKILL);
    assert_eq!(mailbox.exit_code(), 137);
    mailbox.output(); // ends only when the command, which holds the pipe, is gone
    while mailbox.packet().is_some() {}
}

/// At every point between the turn and a while after exec, as far as chance finds them: the pipe's end proves that
/// nothing of the command lives, and the report says truthfully whether it was begun.
#[test]
fn there_is_no_moment_at_which_the_command_survives() {
    let mut begun = 0;
    for round in 0..120u32 {
        let mut mailbox = Mailbox::listening();
        let proof = mailbox.path("out/ran");
        let script = format!("touch {}; exec sleep 1000", proof.display());
        mailbox.start(&["sh", "-c", &script]).arrive();
        mailbox.turn(|turn| turn.attempt = Some(1));
        for _ in 0..round * 150 {
            std::hint::spin_loop(); // a little later in each round
        }
        mailbox.signal(Signal::SIGKILL);
        assert_eq!(mailbox.exit_code(), 137);
        mailbox.output();
        let attempt = mailbox.report().and_then(|report| report.attempt);
        assert!(attempt.is_some() || !proof.exists(), "round {round}: it ran, and no report says so");
        begun += usize::from(attempt.is_some());
    }
    println!("{begun} of 120 kills came after the begin");
}
