//! Images whose name does not say which one it is.

use std::collections::BTreeMap;

use super::codes;
use super::findings::Found;
use super::pod::Pod;
use crate::plan::Span;
use crate::plan::diagnostic::quote;

pub(super) fn ask(pod: &Pod<'_>, found: &mut Found) {
    let mut loose: BTreeMap<&str, (Span, Vec<&str>)> = BTreeMap::new();
    for (name, container) in ["initContainers", "containers"].iter().flat_map(|list| pod.containers(list)) {
        let Some(node) = container.get("image") else { continue };
        let Some(image) = node.as_str().filter(|image| !image.is_empty() && !is_fixed(image)) else { continue };
        loose.entry(image).or_insert_with(|| (node.place(), Vec::new())).1.push(pod.container_of(name));
    }
    for (image, (span, mut containers)) in loose {
        containers.dedup();
        let why = match tag(image) {
            Some(_) => "`latest` is whatever was pushed last",
            None => "without a tag it is `latest`: whatever was pushed last",
        };
        let more = match containers.len() {
            1 => String::new(),
            count => format!(" ({count} containers have it)"),
        };
        found
            .add(codes::IMAGE, span, format!("image {}{more}: {why}", quote(image)), &containers)
            .help("name a version, or a digest (`podturn resolve` prints it): two runs should run the same thing");
    }
}

/// The tag, where there is one. A registry may have a port.
fn tag(image: &str) -> Option<&str> {
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split_once(':').map(|(_, tag)| tag)
}

fn is_fixed(image: &str) -> bool {
    image.contains('@') || tag(image).is_some_and(|tag| tag != "latest")
}

#[cfg(test)]
mod tests {
    use super::is_fixed;

    #[test]
    fn a_version_or_a_digest_says_which_image_it_is() {
        for (image, wanted) in [
            ("busybox", false),
            ("busybox:latest", false),
            ("busybox:1.37", true),
            ("registry.local:5000/team/app", false),
            ("registry.local:5000/team/app:2", true),
            ("app@sha256:0123", true),
            ("app:latest@sha256:0123", true),
        ] {
            assert_eq!(is_fixed(image), wanted, "{image}");
        }
    }
}
