//! Findings as SARIF 2.1.0 (OASIS Standard, March 2020), which code scanning reads.

use serde_json::{Value, json};

use super::json::Range;
use super::{Finding, Linted, RULES, Rule};
use crate::plan::Severity;

/// One run. What the manifests silence is in it, too, as suppressed in the source (section 3.35).
#[must_use]
pub fn sarif(all: &Linted) -> Value {
    let rules: Vec<Value> = RULES.iter().map(descriptor).collect();
    let kept = all.findings.iter().map(|finding| result(finding, false));
    let results: Vec<Value> = kept.chain(all.silenced.iter().map(|finding| result(finding, true))).collect();
    json!({
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "podturn",
                "version": env!("CARGO_PKG_VERSION"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

fn descriptor(rule: &Rule) -> Value {
    json!({
        "id": rule.code,
        "shortDescription": { "text": rule.title },
        "help": { "text": format!("docs/lint.md says why it hurts and how it is put right, under {}.", rule.code) },
        "defaultConfiguration": { "level": level(rule.severity) },
    })
}

fn result(finding: &Finding, is_silenced: bool) -> Value {
    let told = &finding.diagnostic;
    let parts = [Some(told.message.as_str()), told.label.as_deref(), told.help.as_deref()];
    let text: Vec<&str> = parts.into_iter().flatten().collect();
    let mut result = json!({
        "ruleId": finding.rule.code,
        "ruleIndex": RULES.iter().position(|rule| *rule == finding.rule),
        "level": level(told.severity),
        "message": { "text": text.join("\n") },
    });
    if let Some(range) = told.place.as_ref().map(Range::from) {
        result["locations"] = json!([{
            "physicalLocation": {
                "artifactLocation": { "uri": uri(&range.file) },
                "region": {
                    "startLine": range.line,
                    "startColumn": range.column,
                    "endLine": range.end_line,
                    "endColumn": range.end_column,
                },
            },
        }]);
    }
    if is_silenced {
        result["suppressions"] = json!([{ "kind": "inSource" }]);
    }
    result
}

/// A path as a URI reference (RFC 3986): what may not stand in a path is written as `%` and two digits.
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.trim_start_matches("./").bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=@".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}
