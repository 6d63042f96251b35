//! Plans that are taken: what each spelling means, that a plan can be handed on, and that no input does harm.

use std::fmt::Write as _;

use podturn::plan::{Manifest, PodFacts, Source, canonical, check, check_wired};
use podturn_turn::{Condition, Plan, Restarts};
use proptest::prelude::*;

fn checked(text: &str) -> Plan {
    with_facts(text, &PodFacts::default())
}

fn with_facts(text: &str, facts: &PodFacts) -> Plan {
    match check(&Source::file("plan.yaml", text), facts) {
        Ok(checked) => checked.plan,
        Err(diagnostics) => panic!("this plan is right:\n{text}\n{diagnostics}"),
    }
}

fn checked_wired(text: &str) -> Plan {
    check_wired(&Source::file("plan.yaml", text), &PodFacts::default()).expect("it was checked before").plan
}

fn pod(json: &str) -> PodFacts {
    PodFacts::parse(json).expect("these facts are right")
}

#[test]
fn every_spelling_of_the_same_plan_is_the_same_plan() {
    let wanted = checked("steps: { a: {}, b: { dependsOn: [a] }, c: { dependsOn: [b] } }");
    let facts = pod(r#"{"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}"#);
    let spellings = [
        "steps: [a, b, c]",
        "steps:\n  - a\n  - b\n  - c\n",
        "steps: { a: , b: { dependsOn: [a: Succeeded] }, c: { dependsOn: [{ step: b }] } }",
        "steps: { a: {}, b: { dependsOn: [a: Ready] }, c: { dependsOn: [{ step: b, condition: Succeeded }] } }",
        "{\"steps\": {\"a\": {}, \"b\": {\"dependsOn\": [\"a\"]}, \"c\": {\"dependsOn\": [\"b\"]}}}",
        "sequential",
        "'sequential'\n",
        "steps: sequential",
        "---\n# a comment\nsteps: [a, b, c]\n...\n",
    ];
    for text in spellings {
        assert_eq!(with_facts(text, &facts).steps, wanted.steps, "{text}");
    }
}

#[test]
fn anchors_and_merge_keys_save_typing() {
    let plan = checked(
        "steps:\n  a: &slow { timeout: 1h, retry: { limit: 2 } }\n  b: *slow\n  c: { <<: *slow, timeout: 5m, dependsOn: [a] }\n",
    );
    assert_eq!(plan.steps[1].timeout, Some(3_600_000));
    assert_eq!((plan.steps[2].timeout, plan.steps[2].retry.limit), (Some(300_000), 2), "what is written out wins");
}

#[test]
fn a_step_may_be_called_step() {
    let plan = checked("steps: { step: {}, b: { dependsOn: [step: Failed] }, c: { dependsOn: [{ step: step }] } }");
    assert_eq!(plan.steps[1].depends_on[0].condition, Condition::Failed);
    assert_eq!(plan.steps[2].depends_on[0].condition, Condition::Succeeded);
}

#[test]
fn what_is_not_said_has_the_documented_default() {
    let step = &checked("steps: [a]").steps[0];
    assert_eq!((step.retry.limit, step.success_exit_codes.as_slice(), step.stop_signal), (0, &[0][..], 15));
    assert_eq!((step.restarts, step.termination_log.as_str()), (Restarts::Never, "/dev/termination-log"));
    let plan = checked("steps: [a]");
    assert_eq!((plan.grace_period, plan.arrival_timeout, plan.coordinator_grace), (10_000, 600_000, 30_000));
    let sidecar = with_facts("steps: [a]", &pod(r#"{"placement": "sidecar"}"#));
    assert_eq!(sidecar.coordinator_grace, 900_000);
}

#[test]
fn what_the_pod_says_of_a_container_reaches_its_step() {
    let facts = pod(r#"{"restartPolicy": "Always", "containers": [
            {"name": "a"},
            {"name": "b", "restarts": "Never", "terminationMessagePath": "/tmp/log"},
            {"name": "c", "restarts": "WhenKilled", "terminationMessagePolicy": "FallbackToLogsOnError"}]}"#);
    let plan = with_facts("sequential", &facts);
    let told: Vec<_> = plan.steps.iter().map(|step| (step.restarts, step.termination_log.as_str())).collect();
    assert_eq!(
        told,
        [(Restarts::Always, "/dev/termination-log"), (Restarts::Never, "/tmp/log"), (Restarts::WhenKilled, "")]
    );
}

#[test]
fn facts_that_are_wrong_are_told_with_their_place() {
    let table = [
        ("", "PODTURN_POD:1:1: error: this does not describe a pod: EOF while parsing a value"),
        ("{\n \"restartpolicy\": \"Never\"}", "PODTURN_POD:2:16: error: this does not describe a pod: unknown field"),
        (
            "{\"restartPolicy\": \"Sometimes\"}",
            "PODTURN_POD:1:29: error: this does not describe a pod: unknown variant",
        ),
    ];
    for (json, start) in table {
        let error = PodFacts::parse(json).expect_err("these facts are wrong").to_string();
        assert!(error.starts_with(start), "{json}: {error}");
    }
}

#[test]
fn the_pod_is_found_wherever_its_kind_keeps_it() {
    let pod = "metadata: { annotations: { podturn.dev/plan: sequential } }, spec: { restartPolicy: Never, containers: [{ name: a }] }";
    let kinds = [
        ("Pod", format!("{{ kind: Pod, {pod} }}")),
        ("Job", format!("{{ kind: Job, spec: {{ template: {{ {pod} }} }} }}")),
        ("CronJob", format!("{{ kind: CronJob, spec: {{ jobTemplate: {{ spec: {{ template: {{ {pod} }} }} }} }} }}")),
        ("Deployment", format!("{{ kind: Deployment, spec: {{ template: {{ {pod} }} }} }}")),
        ("Pod", format!("{{ kind: List, items: [{{ kind: Service }}, {{ kind: Pod, {pod} }}] }}")),
        ("Pod", format!("kind: ConfigMap\n---\n---\n{{ kind: Pod, {pod} }}\n---\nkind: Service\n")),
    ];
    for (kind, text) in kinds {
        let manifest = Manifest::read("m.yaml", text.as_str()).unwrap_or_else(|error| panic!("{text}\n{error}"));
        assert_eq!(manifest.kind, kind, "{text}");
        assert_eq!(manifest.facts.containers[0].name, "a", "{text}");
        assert!(check(&manifest.plan, &manifest.facts).is_ok(), "{text}");
    }
}

#[test]
fn a_long_chain_is_no_deep_recursion() {
    let small_stack = std::thread::Builder::new().stack_size(256 * 1024);
    let chain = small_stack.spawn(|| {
        let mut text = "steps:\n".to_owned();
        // Backwards, so that a walk from the first step goes through all of them.
        for at in 0..9_999 {
            writeln!(text, "  s{at}: {{ dependsOn: [s{}: Failed] }}", at + 1).expect("a string takes everything");
        }
        text.push_str("  s9999: {}\n");
        let steps = checked(&text).steps.len();
        let circle = text.replace("  s9999: {}", "  s9999: { dependsOn: [s0] }");
        let error = check(&Source::file("p", circle), &PodFacts::default()).expect_err("a circle").to_string();
        (steps, error.contains("s9999 -> s0 -> s1") && error.contains("more ..."))
    });
    assert_eq!(chain.expect("a thread starts").join().expect("it ends"), (10_000, true));
}

/// As much nonsense as is looked at at all. What is asserted is that each is refused (bounded work is the limits' doing:
/// depth, nodes, copies, kept diagnostics, compared names); nothing is timed.
#[test]
fn megabytes_of_nonsense_are_refused() {
    let size = podturn::plan::FILE_MAX - 64;
    let wide = |item: &str| item.repeat((size / item.len()).min(60_000));
    let many_steps: String =
        (0..60_000).fold("steps:\n".to_owned(), |text, at| text + &format!("  s{at}: {{ x: 1 }}\n"));
    let mut texts = vec![many_steps, format!("steps: [{}]", wide("ab, ")), "\u{feff}".repeat(1000)];
    texts.extend(["[", "{", "- ", "? ", "a: ", "!x ", "&a ", "\"", "|\n ", "\t", "\0", "%YAML 1.2\n---\n"].map(wide));
    texts.push("steps: { ".to_owned() + &wide("a: {}, ") + "}");
    let merged: String = (0..60_000).map(|at| format!("{{ k{at}: 1 }}, ")).collect();
    texts.push(format!("<<: [{merged}]"));
    texts.push("steps: { a: { dependsOn: [".to_owned() + &wide("a, ") + "] } }");
    texts.push("steps: { a: { dependsOn: [".to_owned() + &wide("{ b: 1, c: }, ") + "] } }");
    texts.push(format!("steps: {}", "x".repeat(size)));
    let values: String = (0..250).map(|at| format!("v{at}, ")).collect();
    texts.push(format!("steps: {{ a: {{ matrix: {{ x: [{values}] }}, when: {:?} }} }}", "x".repeat(100_000)));
    let keys: String = (0..1_000).map(|at| format!("k{at}: [a, b], ")).collect();
    texts.push(format!("steps: {{ a: {{ matrix: {{ {keys} }} }} }}"));
    // A dependency for each pair.
    let matrices: String =
        (0..8).map(|at| format!("m{at}: {{ dependsOn: [a], matrix: {{ x: [{values}] }} }}, ")).collect();
    texts.push(format!("steps: {{ a: {{ matrix: {{ x: [{values}] }} }}, {matrices} }}"));
    for text in texts {
        let start: String = text.chars().take(24).collect();
        assert!(check(&Source::file("p", text), &PodFacts::default()).is_err(), "{start:?}...");
    }
}

/// A plan in the plan's own words: steps only depend on earlier ones, so it is free of circles.
fn arbitrary_plan() -> impl Strategy<Value = String> {
    let step = (
        proptest::collection::vec((any::<prop::sample::Index>(), 0..5_usize), 0..4),
        proptest::option::of((0..5_u32, 0..5000_u64, 1000..5000_u32, proptest::option::of(1..9_u64), 0..=1000_u32)),
        proptest::sample::subsequence(
            vec!["ExitCode", "Signal", "OOMKilled", "TimedOut", "ShimLost", "Interrupted"],
            1..6,
        ),
        proptest::option::of(1..10_000_000_u64),
        (any::<bool>(), proptest::bool::weighted(0.1), proptest::option::of(1..=15_u8)),
        proptest::collection::btree_map(0..3_usize, 1..4_u32, 0..3),
        proptest::sample::subsequence((0..=255_u8).collect::<Vec<_>>(), 0..5),
    );
    let options = (proptest::option::of(1..9_u32), 0..3_usize, proptest::option::of(1..99_999_u64), 0..99_999_u64);
    (proptest::collection::vec(step, 1..20), options).prop_map(|(steps, options)| {
        let (max_parallel, on_failure, timeout, grace) = options;
        let mut text = format!("pools: {{ p0: 3, p1: 4, p2: 5 }}\ngracePeriod: {grace}ms\n");
        text += &format!("onFailure: {}\n", ["Continue", "Drain", "Cancel"][on_failure]);
        max_parallel.iter().for_each(|n| text += &format!("maxParallel: {n}\n"));
        timeout.iter().for_each(|n| text += &format!("timeout: {n}s\n"));
        text += "steps:\n";
        let finally: Vec<bool> = steps.iter().map(|step| step.4.1).collect();
        for (at, (edges, retry, causes, timeout, (allow, last, signal), uses, codes)) in steps.into_iter().enumerate() {
            text += &format!("  s{at}:\n    allowFailure: {allow}\n    finally: {last}\n");
            let mut targets = std::collections::BTreeMap::new();
            for (index, condition) in edges.into_iter().filter(|_| at > 0) {
                targets.insert(index.index(at), ["Started", "Succeeded", "Failed", "Completed", "Ready"][condition]);
            }
            targets.retain(|target, _| last || !finally[*target]);
            let list: Vec<String> =
                targets.iter().map(|(target, condition)| format!("s{target}: {condition}")).collect();
            text += &format!("    dependsOn: [{}]\n", list.join(", "));
            timeout.iter().for_each(|n| text += &format!("    timeout: {n}ms\n"));
            signal.iter().for_each(|n| text += &format!("    stopSignal: {n}\n"));
            let uses: Vec<String> = uses.iter().map(|(pool, units)| format!("p{pool}: {units}")).collect();
            text += &format!("    uses: {{ {} }}\n", uses.join(", "));
            if !codes.is_empty() {
                text += &format!("    successExitCodes: {codes:?}\n");
            }
            let Some((limit, duration, factor, cap, jitter)) = retry else { continue };
            let cap = cap.map_or_else(String::new, |cap| format!(", cap: {cap}h"));
            let (factor, jitter) = (f64::from(factor) / 1000.0, f64::from(jitter) / 1000.0);
            text += &format!("    retry:\n      limit: {limit}\n      causes: [{}]\n", causes.join(", "));
            text += &format!("      backoff: {{ duration: {duration}ms, factor: {factor}, jitter: {jitter}{cap} }}\n");
        }
        text
    })
}

/// The name of an instance, as the reference says it.
fn instance_name(step: &str, values: &[&String]) -> Option<String> {
    let part = |value: &&String| {
        let dashed: String =
            value.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let part = dashed.trim_matches('-').to_owned();
        (!part.is_empty()).then_some(part)
    };
    let parts: Option<Vec<String>> = values.iter().map(part).collect();
    Some([vec![step.to_owned()], parts?].concat().join("-")).filter(|name| name.len() <= 63)
}

/// All combinations, the last key the fastest.
fn combinations(matrix: &[Vec<String>]) -> Vec<Vec<&String>> {
    let Some((first, rest)) = matrix.split_first() else { return vec![Vec::new()] };
    let rest = combinations(rest);
    first.iter().flat_map(|value| rest.iter().map(move |rest| [vec![value], rest.clone()].concat())).collect()
}

proptest! {
    /// Names of instances can be told from the plan alone, each is that of a container, and no two are the same: or the plan is
    /// refused.
    #[test]
    fn instances_have_names_that_can_be_foretold(
        step in "[a-z]([a-z0-9-]{0,20}[a-z0-9])?",
        matrix in proptest::collection::vec(
            proptest::collection::vec(prop_oneof!["[a-z0-9.]{1,4}", "[A-Za-z0-9._+ \u{e9}-]{0,24}", "[a-c][-.][a-c]"], 1..4),
            1..4,
        ),
    ) {
        let axes: serde_json::Map<String, serde_json::Value> =
            matrix.iter().zip(["z", "a", "m"]).map(|(values, key)| (key.to_owned(), values.clone().into())).collect();
        let plan = serde_json::json!({ "steps": { &step: { "matrix": axes }, "zz-last": { "dependsOn": [&step] } } });
        let names: Vec<Option<String>> =
            combinations(&matrix).iter().map(|values| instance_name(&step, values)).collect();
        let unique: std::collections::HashSet<_> = names.iter().flatten().chain([&"zz-last".to_owned()]).cloned().collect();
        match check(&Source::file("p", plan.to_string()), &PodFacts::default()) {
            Ok(checked) => {
                let got: Vec<Option<String>> =
                    checked.plan.steps.iter().map(|step| Some(step.name.clone())).take(names.len()).collect();
                prop_assert_eq!(&got, &names);
                prop_assert_eq!(unique.len(), names.len() + 1);
                prop_assert!(got.iter().flatten().all(|name| podturn_wire::names::is_container_name(name)));
                prop_assert_eq!(checked.plan.steps[names.len()].depends_on.len(), names.len());
                prop_assert_eq!(canonical(&checked.plan), canonical(&checked_wired(&canonical(&checked.plan))));
            }
            Err(error) => prop_assert!(names.contains(&None) || unique.len() <= names.len(), "{}\n{}", plan, error),
        }
    }

    /// What `run` and `inject` hand on is the plan that was checked, in every detail, whatever file it came from.
    #[test]
    fn a_plan_that_is_handed_on_stays_the_same(text in arbitrary_plan()) {
        // A few random plans ask a step to succeed and to fail: those are refused, rightly.
        if let Ok(checked) = check(&Source::file("p", text.as_str()), &PodFacts::default()) {
            let plan = checked.plan;
            let json = canonical(&plan);
            prop_assert_eq!(&with_facts(&json, &pod(r#"{"placement": "sidecar"}"#)), &plan);
            prop_assert_eq!(canonical(&with_facts(&json, &PodFacts::default())), json);
        } else {
            prop_assume!(text.contains("Failed"));
        }
    }

    /// Whatever is cut out of a good plan, or put into it, or made up: an answer, and one that can be printed.
    #[test]
    fn no_input_panics(
        text in prop_oneof![
            "\\PC{0,200}",
            "[-?:,\\[\\]{}#&*!|>'\"%@` \n\tab\u{e9}<~.0]{0,80}",
            (arbitrary_plan(), any::<prop::sample::Index>(), 0..40_usize, "[-?:,\\[\\]{}&*!|>'\" \na~]{0,6}").prop_map(
                |(text, at, length, new)| {
                    let at = at.index(text.len());
                    let end = (at + length).min(text.len());
                    format!("{}{new}{}", &text[..at], &text[end..])
                },
            ),
        ],
        style in 0..5_usize,
    ) {
        let _ = check(&Source::file("p", text.as_str()), &PodFacts::default()).map_err(|error| error.render(true));
        let head = "kind: Pod\nspec: { containers: [{ name: s0 }] }\nmetadata:\n  annotations:\n    podturn.dev/plan: ";
        let indented = text.replace('\n', "\n      ");
        let value = match style {
            0 => format!("|\n      {indented}"),
            1 => format!(">-\n      {indented}"),
            2 => format!("'{}'", indented.replace('\'', "''")),
            3 => format!("{text:?}"),
            _ => indented,
        };
        match Manifest::read("m", format!("{head}{value}\n")) {
            Ok(manifest) => {
                let _ = check(&manifest.plan, &manifest.facts).map_err(|error| error.render(true));
            }
            Err(error) => drop(error.render(false)),
        }
    }

    /// Whatever looks like a reference in a container, and however it is written: an answer whose places are in the file.
    #[test]
    fn no_reference_panics(
        pieces in proptest::collection::vec(
            prop_oneof![
                "[$]{1,4}[(](steps|params|plan|matrix|step)[.](a|x-|[a-z\u{e9} .:-]{0,6})",
                Just("$(matrix.x)".to_owned()),
                Just("$(steps.a-$(matrix.x)".to_owned()),
                "[.](outputs|phase|exitCode)[.]?[a-z]{0,2}",
                "[)]{1,2}|:-|[ '\"\n\u{e9}]{1,3}",
            ],
            0..8,
        ),
        style in 0..3_usize,
    ) {
        let text = pieces.concat();
        let value = match style {
            0 => serde_json::Value::from(text.as_str()).to_string(),
            1 => format!("'{}'", text.replace('\'', "''")),
            _ => format!("|2\n          {}", text.replace('\n', "\n          ")),
        };
        let manifest = format!(
            "kind: Pod\nmetadata:\n  annotations:\n    podturn.dev/plan: 'steps: {{ a: {{}}, b: {{ dependsOn: [a], matrix: {{ x: [a, \"2\"] }} }} }}'\n\
             spec:\n  restartPolicy: Never\n  containers:\n    - name: a\n      command: [make]\n    - name: b\n      image: {value}\n      \
             args:\n        - {value}\n",
        );
        let Ok(manifest) = Manifest::read("m", manifest.as_str()) else { return Ok(()) };
        let told = match manifest.check(&manifest.facts) {
            Ok(checked) => {
                prop_assert_eq!(manifest.expanded(&checked).facts.containers.len(), 3);
                checked.warnings
            }
            Err(wrong) => wrong,
        };
        for diagnostic in told.sorted() {
            let place = diagnostic.place.as_ref().expect("it has a place");
            prop_assert!(place.span.start <= place.span.end && place.span.end <= place.file.text().len());
        }
        drop(told.render(true));
    }

    /// In a literal block every error has the place that it has in the plan alone, moved by the block's place.
    #[test]
    fn a_literal_block_moves_places_and_nothing_else(indent in 1..8_usize, text in "(steps:\n)?([ ]{2}[a-d]: (\\{ x: \\[[\u{e9}a]\\] \\}|\\[b, c\\]|5)\n(\n)?){1,6}") {
        let pad = " ".repeat(4 + indent);
        let block: String = text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("{pad}{line}\n") }).collect();
        let head = "kind: Pod\nspec: { restartPolicy: Never, containers: [{ name: a }, { name: b }, { name: c }, { name: d }] }\nmetadata:\n  annotations:\n    podturn.dev/plan: |";
        // The block's indentation is said, as the text may begin with blanks of its own.
        let outer = format!("{head}{indent}\n{block}");
        let alone = check(&Source::file("p", text.as_str()), &pod(r#"{"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "d"}]}"#));
        let manifest = Manifest::read("p", outer).expect("the manifest is right");
        let inside = check(&manifest.plan, &manifest.facts);
        let places = |result: Result<podturn::plan::Checked, podturn::plan::Diagnostics>, lines: usize, columns: usize| {
            let Err(diagnostics) = result else { return Vec::new() };
            let all = diagnostics.sorted().into_iter().map(|diagnostic| {
                let place = diagnostic.place.as_ref().expect("a plan's error has a place");
                let (line, column) = place.file.line_and_column(place.span.start);
                (line + lines, column + columns, place.span.end - place.span.start, diagnostic.message.clone())
            });
            all.collect()
        };
        prop_assert_eq!(places(alone, 5, 4 + indent), places(inside, 0, 0));
    }
}
