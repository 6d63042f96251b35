//! The schemas that `podturn schema` prints: what they take, what they refuse, and the reference made from one.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use podturn::plan::site::Templates;
use podturn::plan::{
    Manifest, PodFacts, Reporter, Source, canonical, check, check_wired, plan_reference, plan_schema, pod_schema, yaml,
};
use serde_json::{Value, json};

fn validator() -> jsonschema::Validator {
    jsonschema::validator_for(&plan_schema().to_value()).expect("the schema is one")
}

/// The plans of the design that are made of tasks, in its words, as JSON.
fn plans_of_the_design() -> [Value; 5] {
    [
        json!("sequential"),
        json!({"steps": ["build", "test", "publish"]}),
        json!({"steps": {
            "build": {},
            "unit": {"dependsOn": ["build"], "retry": {"limit": 2}},
            "itest": {"dependsOn": ["build"], "timeout": "15m"},
            "publish": {"dependsOn": ["unit", "itest"]},
            "notify": {"finally": true},
        }}),
        json!({"maxParallel": 3, "pools": {"gpu": 1, "mem": 8}, "timeout": "1h30m", "onFailure": "Drain", "gracePeriod": "500ms",
            "arrivalTimeout": "10m", "coordinatorGrace": "90s", "steps": {"train": {"uses": {"gpu": 1}}, "next": null}}),
        json!({"steps": {
            "a": {"successExitCodes": [0, 3], "allowFailure": true, "stopSignal": "SIGINT", "retry": {
                "limit": 3,
                "backoff": {"duration": "5s", "factor": 1.5, "cap": "1m", "jitter": 0.2},
                "causes": ["ExitCode", "OOMKilled", "Interrupted"],
                "exitCodes": [75]}},
            "b": {"dependsOn": [{"a": "Failed"}], "stopSignal": 15},
            "c": {"dependsOn": [{"step": "a", "condition": "Completed"}, {"b": "Started"}], "stopSignal": "RTMIN+3"},
            "d": {"dependsOn": ["a"], "matrix": {"python": ["3.12", "3.13"], "os": ["linux"]}},
            "e": {"dependsOn": ["d", {"b": "Completed"}]},
        }}),
    ]
}

fn facts() -> PodFacts {
    PodFacts::parse(r#"{"containers": [{"name": "a"}, {"name": "b"}]}"#).expect("the facts are right")
}

#[test]
fn the_plans_of_the_design_fit_the_schema_and_the_check() {
    let validator = validator();
    for plan in plans_of_the_design() {
        assert_eq!(validator.iter_errors(&plan).map(|error| error.to_string()).collect::<Vec<_>>(), [""; 0], "{plan}");
        let facts = if plan == "sequential" { facts() } else { PodFacts::default() };
        let checked = check(&Source::file("p", plan.to_string()), &facts).unwrap_or_else(|error| panic!("{error}"));
        let handed_on: Value = serde_json::from_str(&canonical(&checked.plan)).expect("it is JSON");
        assert!(validator.is_valid(&handed_on), "{handed_on}");
    }
}

/// What the schema can say, it says: each of these is refused by both.
#[test]
fn the_schema_refuses_what_the_check_refuses() {
    let step = |step: Value| json!({"steps": {"a": {}, "b": step}});
    let table = [
        json!("seqential"),
        json!(["a"]),
        json!({}),
        json!({"steps": {}}),
        json!({"steps": []}),
        json!({"steps": ["a", "a"]}),
        json!({"steps": ["a", {"b": {}}]}),
        json!({"steps": {"A_b": {}}}),
        json!({"steps": ["a"], "maxParallel": 0}),
        json!({"steps": ["a"], "maxParallel": null}),
        json!({"steps": ["a"], "timeout": 5}),
        json!({"steps": ["a"], "timeout": "5"}),
        json!({"steps": ["a"], "timeout": ""}),
        json!({"steps": ["a"], "timeout": "1m1h"}),
        json!({"steps": ["a"], "onFailure": "Stop"}),
        json!({"steps": ["a"], "pools": {"gpu": 0}}),
        json!({"steps": ["a"], "parameters": []}),
        json!({"steps": ["a"], "parameters": {"1st": "x"}}),
        step(json!({"service": "yes"})),
        step(json!({"service": true, "readiness": {"tcpSocket": {"port": 0}}})),
        step(json!({"service": true, "readiness": {"exec": {"command": []}}})),
        step(json!({"service": true, "readiness": {"file": {"path": "ready"}}})),
        step(json!({"service": true, "readiness": {"file": {"path": "/ready"}, "periodSeconds": 0}})),
        step(json!({"when": true})),
        step(json!({"approval": 1})),
        step(json!({"dependson": []})),
        step(json!({"dependsOn": "a"})),
        step(json!({"dependsOn": [{"a": "Done"}]})),
        step(json!({"dependsOn": [{"condition": "Failed", "step": 1}]})),
        step(json!({"retry": {}})),
        step(json!({"retry": {"limit": 1001}})),
        step(json!({"retry": {"limit": 1, "backoff": {"jitter": 2}}})),
        step(json!({"retry": {"limit": 1, "backoff": {"factor": 0.5}}})),
        step(json!({"retry": {"limit": 1, "causes": ["Oom"]}})),
        step(json!({"retry": {"limit": 1, "causes": []}})),
        step(json!({"successExitCodes": [256]})),
        step(json!({"successExitCodes": []})),
        step(json!({"allowFailure": "yes"})),
        step(json!({"stopSignal": "sigterm"})),
        step(json!({"stopSignal": 0})),
        step(json!({"uses": {"gpu": 0}})),
        step(json!({"matrix": {}})),
        step(json!({"matrix": null})),
        step(json!({"matrix": ["a"]})),
        step(json!({"matrix": {"os": []}})),
        step(json!({"matrix": {"os": "linux"}})),
        step(json!({"matrix": {"os": ["linux", "linux"]}})),
        step(json!({"matrix": {"os": ["linux", ""]}})),
        step(json!({"matrix": {"python": [3.12]}})),
        step(json!({"matrix": {"a b": ["x"]}})),
    ];
    let validator = validator();
    for plan in table {
        assert!(!validator.is_valid(&plan), "{plan}");
        assert!(check(&Source::file("p", plan.to_string()), &PodFacts::default()).is_err(), "{plan}");
    }
}

#[test]
fn the_plans_of_our_manifests_fit_the_schema() {
    let validator = validator();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    let mut seen = 0;
    for entry in fs::read_dir(directory).expect("there are manifests") {
        let path = entry.expect("they can be listed").path();
        let text = fs::read_to_string(&path).expect("a manifest can be read");
        let source = Source::file("m", if path.extension().is_some_and(|end| end == "yaml") { text } else { continue });
        let mut reporter = Reporter::new(source.outer());
        let documents = yaml::parse(&source).unwrap_or_else(|error| panic!("{}\n{error}", path.display()));
        let pods = documents.iter().flat_map(|document| Manifest::all(document, &Templates::default(), &mut reporter));
        let pods: Vec<Manifest> = pods.collect();
        assert!(!reporter.has_errors(), "{}\n{}", path.display(), reporter.finish());
        for manifest in pods {
            let checked = manifest.check(&manifest.facts).unwrap_or_else(|error| panic!("{}\n{error}", path.display()));
            let facts = manifest.expanded(&checked).facts;
            let handed_on: Value = serde_json::from_str(&canonical(&checked.plan)).expect("it is JSON");
            assert!(validator.is_valid(&handed_on), "{}: {handed_on}", path.display());
            let again = check_wired(&Source::file("again", handed_on.to_string()), &facts);
            let again = again.unwrap_or_else(|error| panic!("{}\n{error}", path.display()));
            assert_eq!(again.plan, checked.plan, "{}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 10, "the manifests are there");
}

#[test]
fn facts_of_a_pod_fit_their_schema() {
    let validator = jsonschema::validator_for(&pod_schema().to_value()).expect("the schema is one");
    for facts in [PodFacts::default(), facts()] {
        let value = serde_json::to_value(&facts).expect("facts are JSON");
        assert!(validator.is_valid(&value), "{value}");
        assert_eq!(PodFacts::parse(&value.to_string()).expect("they come back"), facts);
    }
    for wrong in [
        json!({"restartPolicy": "Sometimes"}),
        json!({"placement": "Sidecar"}),
        json!({"containers": [{}]}),
        json!({"x": 1}),
    ] {
        assert!(!validator.is_valid(&wrong), "{wrong}");
    }
}

#[test]
fn every_document_has_a_schema_and_says_so() {
    for document in ["plan", "pod", "turn", "report", "state", "journal"] {
        let output = podturn().args(["schema", document]).output().expect("podturn starts");
        assert!(output.status.success(), "{document}");
        let schema: Value = serde_json::from_slice(&output.stdout).expect("a schema is JSON");
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{document}");
        assert!(jsonschema::meta::is_valid(&schema), "{document}");
    }
    podturn().args(["schema", "nonsense"]).assert().code(2).stdout("");
    podturn().args(["schema", "turn", "--markdown"]).assert().code(2).stdout("");
}

#[test]
fn the_plan_reference_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/plan-reference.md");
    let written = fs::read_to_string(path).unwrap_or_default();
    let how = "cargo run -q -- schema plan --markdown > docs/plan-reference.md";
    assert!(written == plan_reference(), "docs/plan-reference.md is stale; make it anew:\n  {how}");
}

/// The plan that the reference shows is one.
#[test]
fn the_example_of_the_plan_reference_is_right() {
    let reference = plan_reference();
    let example = reference.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let names = ["build", "unit", "itest", "publish", "rescue", "notify"].map(|name| format!("{{ name: {name} }}"));
    let manifest =
        format!("kind: Pod\n{example}spec: {{ restartPolicy: Never, containers: [{}] }}\n", names.join(", "));
    let manifest = Manifest::read("example", manifest).unwrap_or_else(|error| panic!("{error}"));
    let checked = check(&manifest.plan, &manifest.facts).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(checked.plan.steps.len(), 6);
}

fn podturn() -> Command {
    Command::cargo_bin("podturn").expect("the binary is built")
}
