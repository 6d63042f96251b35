//! A step's hooks and its liveness, with a real coordinator.

use std::process::Command;

use crate::pod::Pod;

#[test]
fn a_post_start_hook_that_fails_is_retried_as_a_command_that_fails() {
    for (retry, code, end) in [("{retry: {limit: 1}}", 0, "Succeeded Completed"), ("{}", 1, "Failed StartError")] {
        let script = "[ \"$PODTURN_ATTEMPT\" -ge 2 ] || gate never";
        let mut pod = Pod::laid_out(&format!("steps: {{build: {retry}}}"), &[("build", script)]);
        pod.hook("build", "--post-start", "[ \"$PODTURN_ATTEMPT\" -ge 2 ]");
        pod.gate("never");
        pod.coordinate();
        pod.start_all();
        assert_eq!(pod.container_end("build"), code, "{}", pod.everything());
        pod.coordinator_end();
        assert_eq!(pod.ends()["build"], end);
        let said = std::fs::read_to_string(pod.log("build")).expect("its log");
        assert!(said.contains("the postStart hook failed with code 1"), "{said}");
        assert_eq!(said.contains("its postStart hook ended with code 1"), code == 1, "the last word says why: {said}");
    }
}

#[test]
fn a_service_is_asked_while_it_serves_and_drains_before_it_is_stopped() {
    let plan = "steps: {first: {}, shop: {service: true, dependsOn: [first]}, test: {dependsOn: [shop]}}";
    let serve = "trap 'say term; exit 0' TERM; while :; do sleep 0.01; done";
    let mut pod = Pod::laid_out(plan, &[("first", "gate first"), ("shop", serve), ("test", "gate test")]);
    pod.hook(
        "shop",
        "--pre-stop",
        "echo $PODTURN_STEP $PODTURN_ATTEMPT drains >> $NOTES/witness; read -r _ < $NOTES/drain",
    );
    ["first", "test", "drain"].iter().for_each(|name| pod.gate(name));
    pod.coordinate();
    pod.start_all();
    let is_live = |pod: &Pod| {
        let probe = pod.volume("steps/shop/in/podturn-probe");
        let status = Command::new(probe).args(["liveness", "--exec", "1", "false"]).status();
        status.expect("it is executable").success()
    };
    pod.wait_note("first 1 begin");
    assert!(is_live(&pod), "nothing is asked while it waits");
    pod.open_gate("first");
    pod.wait_note("test 1 begin"); // so the service has begun
    assert!(!is_live(&pod), "it is asked while it serves");
    pod.open_gate("test");
    pod.wait_note("shop 1 drains");
    assert!(is_live(&pod), "nothing is asked on its way down");
    assert!(!pod.witness().contains(&"shop 1 term".to_owned()), "no stop signal before the end of the hook");
    pod.open_gate("drain");
    let (codes, _) = pod.end();
    assert!(codes.values().all(|code| *code == 0), "{codes:?}\n{}", pod.everything());
    assert_eq!(pod.ends()["shop"], "Succeeded Stopped");
    assert!(pod.witness().contains(&"shop 1 term".to_owned()), "{:?}", pod.witness());
}
