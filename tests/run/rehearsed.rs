//! A rehearsal foretells how a real run of the same plan ends, and neither begins a step before those that it comes after.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::Value;

use super::pod::Place;

const BUILD: &str = include_str!("../../manifests/build-scan-publish.yaml");
const QUICKSTART: &str = include_str!("../../manifests/quickstart.yaml");

/// How each step ended (`NAME PHASE REASON CODE`), the outcome, and when those that ran began and ended, in ms.
struct Seen {
    ends: Vec<String>,
    outcome: String,
    spans: HashMap<String, (i64, i64)>,
}

/// From the table and the last sentence.
fn rehearsed(place: &Place, file: &str, arguments: &[&str]) -> Seen {
    let (code, out, err) = place.ask(&[&["rehearse", file], arguments].concat());
    assert_eq!(code, 0, "{out}{err}");
    let mut seen = Seen { ends: Vec::new(), outcome: String::new(), spans: HashMap::new() };
    let lines = out.lines().skip_while(|line| !line.starts_with("STEP ")).skip(1);
    for line in lines.take_while(|line| !line.contains(": ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, phase, reason, _, began, took, code] = words[..] else { panic!("{line:?} in {out}") };
        seen.ends.push(format!("{name} {phase} {reason} {code}"));
        if let Some(began) = began.strip_prefix('+').map(milliseconds) {
            seen.spans.insert(name.to_owned(), (began, began + milliseconds(took)));
        }
    }
    let outcome = out.lines().find_map(|line| line.strip_prefix("outcome: ")?.split(' ').next());
    seen.outcome = outcome.expect("it ends").to_owned();
    seen
}

/// `500ms` or `2.50s`: nothing here takes a minute.
fn milliseconds(text: &str) -> i64 {
    let number = |text: &str| text.parse::<f64>().expect("a number");
    let ms = text.strip_suffix("ms").map(number);
    ms.unwrap_or_else(|| number(text.trim_end_matches('s')) * 1_000.0).round() as i64
}

/// From the state that it prints, and which step comes after which one.
fn ran(place: &Place, file: &str) -> (Seen, Vec<(String, String)>) {
    let ended = place.start_file(file.as_ref(), &["--json"]).end();
    let state = ended.state();
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let at = |value: &Value| value.as_str()?.parse::<Timestamp>().ok().map(Timestamp::as_millisecond);
    let steps = state["steps"].as_array().expect("a list");
    let mut seen = Seen { ends: Vec::new(), outcome: word(&state["outcome"]), spans: HashMap::new() };
    let mut after = Vec::new();
    for step in steps {
        let name = word(&step["name"]);
        let code = step["exitCode"].as_u64().map_or("-".to_owned(), |code| code.to_string());
        seen.ends.push(format!("{name} {} {} {code}", word(&step["phase"]), word(&step["reason"])));
        seen.spans.extend(at(&step["startedAt"]).zip(at(&step["endedAt"])).map(|span| (name.clone(), span)));
        let on = step["dependsOn"].as_array().map_or(&[][..], Vec::as_slice).iter().map(|on| word(&on["step"]));
        after.extend(on.map(|on| (name.clone(), on)));
        if step["finally"] == true {
            after.extend(steps.iter().map(|on| (name.clone(), word(&on["name"]))).filter(|(step, on)| step != on));
        }
    }
    (seen, after)
}

#[test]
fn a_rehearsal_ends_as_the_run_does_and_both_keep_the_order() {
    let quality = r#"test "$(wc -w < app)" -ge 2"#;
    assert_eq!(BUILD.matches(quality).count(), 1);
    let failing = BUILD.replace(quality, "false");
    let known = "--output=scan.severity=low";
    let table: [(&str, &[&str], &str); 3] = [
        (BUILD, &[known], "Succeeded"),
        (&failing, &[known, "--fail=quality=1"], "Failed"),
        (QUICKSTART, &["--fail=lint=2"], "Succeeded"),
    ];
    for (manifest, arguments, outcome) in table {
        let place = Place::new();
        let file = place.path("pod.yaml");
        std::fs::write(&file, manifest).expect("it can be written");
        let file = file.to_str().expect("UTF-8");
        let foretold = rehearsed(&place, file, arguments);
        let (real, after) = ran(&place, file);
        assert_eq!(foretold.ends, real.ends);
        assert_eq!((foretold.outcome.as_str(), real.outcome.as_str()), (outcome, outcome));
        assert!(after.len() >= 5, "the order is known: {after:?}");
        for (step, on) in &after {
            for spans in [&foretold.spans, &real.spans] {
                if let (Some((began, _)), Some((_, ended))) = (spans.get(step), spans.get(on)) {
                    assert!(began >= ended, "{step} comes after {on}: {spans:?}");
                }
            }
        }
    }
}
