//! `podturn inject --pod-resources` on random pods: what it writes is what the API server takes, and no less than what can run at once.
//!
//! The sums here are those of Kubernetes' documentation ("Pod-level resources", "Sidecar containers: resource sharing"), counted again from
//! the manifest that comes out; the steps that can run at once are found by trying all sets of them.
//!
//! Belongs here: what holds for every pod. Does not belong here: the words of the report (`tests/inject`), and the search for the
//! largest set (`src/turn/tests/sizing.rs`).

use podturn::inject::{Format, Options, convert, inject, thousandths};
use podturn::plan::SourceFile;
use proptest::prelude::*;
use serde_json::Value;

/// A container: what it asks for in millicores, and its limit, each where there is one.
type Asked = (Option<u64>, Option<u64>);

#[derive(Clone, Debug)]
struct Draft {
    /// Each with the steps before it that it depends on.
    steps: Vec<(Asked, Vec<usize>)>,
    unmanaged: Vec<Asked>,
    /// With whether it goes on as a native sidecar.
    init: Vec<(Asked, bool)>,
}

fn drafts() -> impl Strategy<Value = Draft> {
    // A limit is never below the request: the API server refuses that anyway.
    let asked = (proptest::option::of(1..4000_u64), proptest::option::of(0..1000_u64))
        .prop_map(|(request, more)| (request, more.map(|more| request.unwrap_or(100) + more)));
    let steps = proptest::collection::vec((asked.clone(), proptest::collection::vec(0..6_usize, 0..3)), 1..6);
    let steps = steps.prop_map(|steps| {
        let before = |(at, (asked, on)): (usize, (Asked, Vec<usize>))| {
            let mut on: Vec<usize> = on.into_iter().filter(|on| *on < at).collect();
            on.sort_unstable();
            on.dedup();
            (asked, on)
        };
        steps.into_iter().enumerate().map(before).collect()
    });
    let others = proptest::collection::vec(asked.clone(), 0..2);
    let init = proptest::collection::vec((asked, any::<bool>()), 0..3);
    (steps, others, init).prop_map(|(steps, unmanaged, init)| Draft { steps, unmanaged, init })
}

impl Draft {
    fn text(&self) -> String {
        let container = |name: String, (request, limit): Asked, more: &str| {
            let of = |kind: &str, amount: Option<u64>| amount.map(|amount| format!("{kind}: {{ cpu: {amount}m }}"));
            let resources: Vec<String> = [of("requests", request), of("limits", limit)].into_iter().flatten().collect();
            let resources = resources.join(", ");
            format!("    - {{ name: {name}, image: i, command: [x], resources: {{ {resources} }}{more} }}\n")
        };
        let plan: String = (0..)
            .zip(&self.steps)
            .map(|(at, (_, on))| {
                let on: Vec<String> = on.iter().map(|on| format!("s{on}")).collect();
                format!("        s{at}: {{ dependsOn: [{}] }}\n", on.join(", "))
            })
            .collect();
        let steps = (0..).zip(&self.steps).map(|(at, (asked, _))| container(format!("s{at}"), *asked, ""));
        let unmanaged = (0..).zip(&self.unmanaged).map(|(at, asked)| container(format!("u{at}"), *asked, ""));
        let init = (0..).zip(&self.init).map(|(at, (asked, is_sidecar))| {
            container(format!("i{at}"), *asked, if *is_sidecar { ", restartPolicy: Always" } else { "" })
        });
        let init: String = init.collect();
        let init = if init.is_empty() { init } else { format!("  initContainers:\n{init}") };
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  annotations:\n    podturn.dev/plan: |\n      steps:\n{plan}spec:\n  \
             restartPolicy: Never\n{init}  containers:\n{}",
            steps.chain(unmanaged).collect::<String>()
        )
    }

    /// What the steps need that can run at the same time: the heaviest set of which none leads to another.
    fn most_at_once(&self) -> u64 {
        let count = self.steps.len();
        let mut leads = vec![vec![false; count]; count];
        for (at, (_, on)) in self.steps.iter().enumerate() {
            for before in on {
                leads[*before][at] = true;
                for row in &mut leads {
                    row[at] |= row[*before];
                }
            }
        }
        let weight = |at: usize| self.steps[at].0.0.or(self.steps[at].0.1).unwrap_or(0);
        let sets = (0..1_usize << count).map(|set| (0..count).filter(|at| set >> at & 1 == 1).collect::<Vec<_>>());
        let is_free = |set: &Vec<usize>| set.iter().all(|a| set.iter().all(|b| !leads[*a][*b]));
        sets.filter(is_free).map(|set| set.into_iter().map(weight).sum()).max().unwrap_or(0)
    }
}

/// Millicores that a container asks for: a limit counts where there is no request.
fn request(container: &Value) -> u64 {
    let resources = &container["resources"];
    let of = |kind: &str| resources[kind]["cpu"].as_str().map(|text| thousandths(text).expect("a quantity"));
    of("requests").or_else(|| of("limits")).unwrap_or(0)
}

/// What the API server adds up: ordinary containers with the sidecars, or an init container with the sidecars before it.
fn aggregate(spec: &Value) -> u64 {
    let (mut sidecars, mut start) = (0, 0);
    for container in spec["initContainers"].as_array().into_iter().flatten() {
        start = start.max(sidecars + request(container));
        if container["restartPolicy"] == "Always" {
            sidecars += request(container);
        }
    }
    let ordinary: u64 = spec["containers"].as_array().into_iter().flatten().map(request).sum();
    start.max(sidecars + ordinary)
}

fn spec(text: &str, pod_resources: bool) -> Value {
    let options = Options { pod_resources, ..Options::default() };
    let done = inject(&SourceFile::new("p.yaml", text), &options);
    let done = done.unwrap_or_else(|wrong| panic!("{}\n{text}", wrong.render(false)));
    let json = convert(&SourceFile::new("p.yaml", done.text), Format::Json).expect("it is YAML");
    serde_json::from_str::<Value>(&json).expect("it is JSON")["spec"].take()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_pod_never_asks_for_less_than_its_containers_nor_than_runs_at_once(draft in drafts()) {
        let text = draft.text();
        let [before, after] = [false, true].map(|sized| spec(&text, sized));
        let own = after["resources"]["requests"]["cpu"].as_str().map(|text| thousandths(text).expect("a quantity"));
        let Some(own) = own else {
            prop_assert_eq!(aggregate(&after), aggregate(&before), "nothing was changed\n{}", text);
            return Ok(());
        };
        prop_assert!(own >= aggregate(&after), "{own}m is refused, since {}m are asked for\n{text}", aggregate(&after));
        prop_assert!(own < aggregate(&before), "{own}m saves nothing\n{text}");
        // The same pod whose steps ask for nothing has what is there beside them.
        let beside: u64 = {
            let is_step = |container: &&Value| container["name"].as_str().is_some_and(|name| name.starts_with('s'));
            let ordinary = before["containers"].as_array().into_iter().flatten().filter(|c| !is_step(c));
            let all = before["initContainers"].as_array().into_iter().flatten();
            ordinary.chain(all.filter(|container| container["restartPolicy"] == "Always")).map(request).sum()
        };
        prop_assert!(own >= beside + draft.most_at_once(), "{own}m are less than what runs at once\n{text}");
        for (container, old) in after["containers"].as_array().into_iter().flatten().zip(before["containers"].as_array().into_iter().flatten()) {
            prop_assert_eq!(&container["resources"]["limits"], &old["resources"]["limits"], "limits stay");
            prop_assert!(request(container) <= request(old) && (request(container) > 0) == (request(old) > 0), "{}", container);
        }
    }
}
