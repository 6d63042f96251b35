//! JSON and SARIF, for programs.

use serde_json::Value;

fn json(words: &[&str]) -> Value {
    let output = super::podturn(words);
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

#[test]
fn json_is_as_its_schema_says() {
    let schema = json(&["schema", "lint"]);
    let validator = jsonschema::validator_for(&schema).expect("the schema is one");
    for file in ["job.yaml", "silenced.yaml", "nothing.yaml"] {
        let report = json(&["lint", "--output", "json", file]);
        let errors: Vec<String> = validator.iter_errors(&report).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{file}: {errors:?}");
    }
    let report = json(&["lint", "--output", "json", "job.yaml"]);
    let finding = &report["findings"][0];
    assert_eq!((finding["kind"].as_str(), finding["name"].as_str()), (Some("Job"), Some("etl")));
    assert_eq!(finding["place"]["file"], "job.yaml");
    assert!(finding["place"]["line"].as_u64().is_some_and(|line| line > 1));
}

#[test]
fn a_stdout_that_takes_nothing_is_a_failure_that_is_said() {
    for output in ["text", "json", "sarif"] {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("a disk without room");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_podturn"));
        command.current_dir(super::package().join("tests/lint")).env("PODTURN_CONFIG", "/dev/null");
        let ended = command.args(["lint", "--output", output, "job.yaml"]).stdout(full).output().expect("it runs");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(125), "{output}: {said}");
        assert!(said.starts_with("error: cannot write to stdout: No space"), "{output}: {said}");
    }
}

/// By structure (SARIF 2.1.0, sections 3.13 to 3.30): each result names a rule of the driver's table, and a region in a file.
#[test]
fn sarif_names_rules_and_regions() {
    let log = json(&["lint", "--output", "sarif", "job.yaml", "silenced.yaml"]);
    assert_eq!(log["version"], "2.1.0");
    let runs = log["runs"].as_array().expect("a list of runs");
    assert_eq!(runs.len(), 1);
    let rules = runs[0]["tool"]["driver"]["rules"].as_array().expect("a table of rules");
    let results = runs[0]["results"].as_array().expect("results");
    assert!(results.len() >= 3, "{results:#?}");
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().expect("a place in the table")).expect("it fits");
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().expect("a level")));
        assert!(result["message"]["text"].as_str().is_some_and(|text| !text.is_empty()));
        let location = &result["locations"][0]["physicalLocation"];
        let uri = location["artifactLocation"]["uri"].as_str().expect("a file");
        assert!(["job.yaml", "silenced.yaml"].contains(&uri), "{uri}");
        let number = |name: &str| location["region"][name].as_u64().expect("a number");
        assert!(number("startLine") >= 1 && number("startColumn") >= 1);
        assert!((number("startLine"), number("startColumn")) <= (number("endLine"), number("endColumn")));
    }
    let silenced: Vec<&Value> =
        results.iter().filter(|result| result["suppressions"][0]["kind"] == "inSource").collect();
    assert_eq!(silenced.len(), 3, "what silenced.yaml silences");
}

/// The published schema, as `.ci/run` takes it out of a package.
#[test]
fn sarif_is_as_its_schema_says() {
    let path = super::package().join("target/sarif/package/lib/schemas/sarif-2.1.0-rtm.5.json");
    let Ok(schema) = std::fs::read_to_string(&path) else {
        #[expect(clippy::print_stderr, reason = "a test that did not run says so")]
        let () = eprintln!("NOT VALIDATED: {} is not there (.ci/run brings it)", path.display());
        return;
    };
    // Its pattern for a language has a bracket too many, which stricter validators refuse.
    let schema: Value = serde_json::from_str(&schema.replace("{2}]?$", "{2}?$")).expect("the schema is JSON");
    let validator = jsonschema::validator_for(&schema).expect("the schema is one");
    for file in ["job.yaml", "silenced.yaml", "refused.yaml", "nothing.yaml"] {
        let log = json(&["lint", "--output", "sarif", file]);
        let errors: Vec<String> = validator.iter_errors(&log).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{file}: {errors:?}");
    }
}
