//! A step with a matrix: its instances run, each with its own values, and whoever depends on them waits for all or for one.

use serde_json::json;

use super::pod::Place;

const PLAN: &str = r#"
steps:
  first: {}
  each:  { dependsOn: [first], matrix: { number: ["1.0", "2"], letter: [a, B] } }
  one:   { dependsOn: [each-2-b] }
  all:   { dependsOn: [each] }
"#;

#[test]
fn whoever_depends_on_a_matrix_waits_for_all_of_it_and_whoever_names_an_instance_for_that_one() {
    let place = Place::new();
    place.gate("gate");
    // Two of the four are held up until the step that depends on another one has run.
    let each = "if [ $(matrix.number) = 1.0 ]; then read _ < /notes/gate; fi; echo $PODTURN_STEP $(matrix.number) $(matrix.letter) >> /notes/witness";
    let one = "echo one >> /notes/witness; echo here";
    let note = "echo $PODTURN_STEP >> /notes/witness";
    let pod = place.pod(PLAN, &[("first", note), ("each", each), ("one", one), ("all", note)]);
    let mut run = place.start(&pod, &["--json"]);
    run.wait_said("one", "here");
    let _gate = place.open_gate("gate");
    let ended = run.end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    let names = ["first", "each-1-0-a", "each-1-0-b", "each-2-a", "each-2-b", "one", "all"];
    assert_eq!(ended.steps(), names.map(|name| format!("{name} Succeeded Completed 1")), "{}", ended.all());
    let witness = place.lines("witness");
    let when =
        |line: &str| witness.iter().position(|known| known == line).unwrap_or_else(|| panic!("{line}: {witness:?}"));
    assert_eq!(when("first"), 0, "{witness:?}");
    assert!(when("each-2-b 2 B") < when("one") && when("one") < when("each-1-0-a 1.0 a"), "{witness:?}");
    assert!(when("one") < when("each-1-0-b 1.0 B"), "{witness:?}");
    assert_eq!(when("all"), witness.len() - 1, "{witness:?}");
    assert_eq!(witness.len(), names.len(), "{witness:?}");
    when("each-2-a 2 a");
}

#[test]
fn every_string_of_an_instance_has_its_values() {
    let place = Place::new();
    let mut pod =
        place.pod("steps: { each: { matrix: { name: [Tom, Ann] } } }", &[("each", "pwd; echo $WHO '$$(matrix.name)'")]);
    let container = &mut pod["spec"]["containers"][0];
    container["env"] = json!([{ "name": "WHO", "value": "$(matrix.name), $$(matrix.name)" }]);
    container["workingDir"] = json!("/work/$(matrix.name)");
    container["volumeMounts"] = json!([{ "name": "work", "mountPath": "/work/$(matrix.name)" }]);
    pod["spec"]["volumes"] = json!([{ "name": "work", "emptyDir": {} }]);
    let ended = place.run(&pod, &[]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    // `$$` is the kubelet's way to write a text, in the command as in the environment.
    assert_eq!(ended.said("each-tom"), ["/work/Tom", "Tom, $(matrix.name) $(matrix.name)"], "{}", ended.all());
    assert_eq!(ended.said("each-ann"), ["/work/Ann", "Ann, $(matrix.name) $(matrix.name)"], "{}", ended.all());
}

/// A failure of one instance is that of the whole for those who need the whole, and nothing to the others.
#[test]
fn an_instance_fails_alone() {
    let place = Place::new();
    let plan =
        "steps: { each: { matrix: { code: ['0', '3'] } }, one: { dependsOn: [each-0] }, all: { dependsOn: [each] } }";
    let pod = place.pod(plan, &[("each", "exit $(matrix.code)"), ("one", ""), ("all", "")]);
    let ended = place.run(&pod, &["--json"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    let expected = [
        "each-0 Succeeded Completed 1",
        "each-3 Failed ExitCode 1",
        "one Succeeded Completed 1",
        "all Omitted DependencyLost 0",
    ];
    assert_eq!(ended.steps(), expected, "{}", ended.all());
}
