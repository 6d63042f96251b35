//! What a renderer of GitHub's Markdown makes of a run: the same words, and no markup but ours.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::markdown;
use crate::history::{History, Record};
use crate::view::graph::Graph;
use crate::view::played::{EVIL, act, plan, record};

fn text(record: &Record) -> String {
    let history = History::of(record).expect("the record is sound");
    markdown(&history.state, &Graph::of_run(&history.plan, &history.state))
}

/// The table's cells, and every other event, as the renderer sees them.
fn read(text: &str) -> (Vec<String>, Vec<Event<'_>>) {
    let (mut cells, mut others, mut is_cell) = (Vec::<String>::new(), Vec::new(), false);
    for event in Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_MATH) {
        match event {
            Event::Start(Tag::TableCell) => {
                is_cell = true;
                cells.push(String::new());
            }
            Event::End(TagEnd::TableCell) => is_cell = false,
            Event::Text(words) if is_cell => cells.last_mut().expect("a cell").push_str(&words),
            other => others.push(other),
        }
    }
    (cells, others)
}

#[test]
fn a_run_as_a_summary() {
    let plan = plan(
        "steps: { build: {}, unit-test: { dependsOn: [build], retry: { limit: 1 } }, publish: { dependsOn: [unit-test] } }",
    );
    let text = text(&record(plan, &[&[act(62, 0)], &[act(1, 3), act(1, 4)], &[act(1, 0)]]));
    let expected = "\
## ✗ podturn: Failed after 1m04s

| Step | Phase | Reason | Attempts | Began | Took | Exit |
| --- | --- | --- | --: | --: | --: | --: |
| build | ✓ Succeeded | Completed | 1 | +1ms | 1m02s | 0 |
| unit-test | ✗ Failed | ExitCode | 2 | +1m02s | 2.00s | 4 |
| publish | – Omitted | DependencyLost | 0 | - | - | - |

- **unit-test**: Failed (ExitCode): its command ended with code 4, on attempt 2
- **publish**: Omitted (DependencyLost): unit-test Failed (ExitCode 4)

<details><summary>Graph</summary>

```mermaid
flowchart LR
  s0[\"✓ build\"]:::good
  s1[\"✗ unit-test\"]:::bad
  s2[\"– publish\"]:::none
  s0 --> s1
  s1 --> s2
";
    assert!(text.starts_with(expected), "{text}");
    assert!(text.ends_with("```\n\n</details>\n"), "{text}");
    let (cells, _) = read(&text);
    assert_eq!(cells.len(), 4 * 7, "{cells:?}");
}

#[test]
fn nothing_that_a_run_brings_is_taken_for_markup() {
    let mut hostile = plan("steps: { a: {}, b: { dependsOn: [a] } }");
    hostile.steps[0].name = EVIL.to_owned();
    let text = text(&record(hostile, &[&[act(1, 1)], &[act(1, 0)]]));
    let (cells, others) = read(&text);
    assert_eq!(cells.len(), 3 * 7, "{cells:?}");
    let shown: String = EVIL.replace('\n', " ").replace(['\0', '\x1b', '\u{202e}'], "\u{fffd}");
    assert_eq!(cells[7], shown.split_whitespace().collect::<Vec<_>>().join(" "), "the name, as text");
    for event in others {
        match event {
            Event::InlineHtml(html) | Event::Html(html) => {
                assert!(html.starts_with("<details>") || html.starts_with("</details>"), "{html}");
            }
            Event::Start(Tag::Link { .. } | Tag::Image { .. } | Tag::Emphasis | Tag::Strikethrough)
            | Event::Code(_)
            | Event::InlineMath(_)
            | Event::DisplayMath(_) => panic!("{event:?}\n{text}"),
            _ => {}
        }
    }
}

/// GitHub makes links of addresses in text (GFM, "Autolinks (extension)"): a run could lead people away.
#[test]
fn an_address_that_a_run_brings_is_no_link() {
    let mut hostile = plan("steps: { a: {} }");
    hostile.steps[0].name = "see https://evil.example/x, WWW.evil.example: done".to_owned();
    let text = text(&record(hostile, &[&[act(1, 1)]]));
    let rows = text.split("<details>").next().expect("the table");
    assert!(!rows.contains("://") && !rows.to_lowercase().contains("www."), "{rows}");
    let (cells, _) = read(&text);
    assert_eq!(cells[7], "see https://evil.example/x, WWW.evil.example: done", "it reads the same");
}

#[test]
fn a_graph_that_nobody_draws_is_left_out() {
    let names: Vec<String> = (0..3_000).map(|index| format!("step-{index}: {{}}")).collect();
    let plan = plan(&format!("steps: {{ {} }}", names.join(", ")));
    let acts: Vec<_> = (0..3_000).map(|index| vec![act(1, u8::from(index == 2_999))]).collect();
    let acts: Vec<&[_]> = acts.iter().map(Vec::as_slice).collect();
    let text = text(&record(plan, &acts));
    assert!(!text.contains("mermaid"), "it is too large for that");
    assert!(text.len() < 1024 * 1024, "GitHub takes 1 MiB: {}", text.len());
    assert!(text.contains("| step-2999 | ✗ Failed |"), "whoever failed has a row");
    assert!(text.contains("and 1000 more steps"), "{}", &text[text.len() - 200..]);
}
