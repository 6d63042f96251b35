//! What can be chosen about the wiring.

use std::collections::BTreeMap;

use crate::plan::Placement;
use crate::plan::site::Templates;

/// The oldest Kubernetes with native sidecars switched on (KEP-753).
pub(super) const SIDECARS_SINCE: Version = Version { major: 1, minor: 29 };

/// The oldest Kubernetes with restart rules of containers switched on (KEP-5307).
pub(super) const RESTART_RULES_SINCE: Version = Version { major: 1, minor: 35 };

/// The oldest Kubernetes that mounts images as volumes without being told to (KEP-4639: off by default in 1.31 to 1.34, stable in
/// 1.36).
pub(super) const IMAGE_VOLUMES_SINCE: Version = Version { major: 1, minor: 35 };

/// The user of podturn's own containers: the image's.
pub const USER: u32 = 65532;

/// A version of Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second one.
    pub minor: u32,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl std::str::FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.trim_start_matches('v').splitn(3, '.').map(str::parse);
        match (parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(Self { major, minor }),
            _ => Err("it is a version such as 1.35".to_owned()),
        }
    }
}

/// Where the shared volume lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Medium {
    /// An emptyDir in memory: the fastest, and never full because of others.
    Memory,
    /// An emptyDir on the node's disk.
    Disk,
    /// A PersistentVolumeClaim: state outlives the node.
    Claim(String),
}

impl std::str::FromStr for Medium {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("pvc:") {
            Some("") | None if !matches!(text, "memory" | "disk") => Err("it is memory, disk or pvc:CLAIM".to_owned()),
            Some(claim) => Ok(Self::Claim(claim.to_owned())),
            None if text == "disk" => Ok(Self::Disk),
            None => Ok(Self::Memory),
        }
    }
}

/// Where a step's container has the shim from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ShimFrom {
    /// The shared volume: the init container puts it into each mailbox.
    #[default]
    Volume,
    /// An image that is mounted (KEP-4639); `None`: the one that goes with podturn's own.
    Image(Option<String>),
}

impl std::str::FromStr for ShimFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("image:")) {
            ("volume", _) => Ok(Self::Volume),
            ("image", _) => Ok(Self::Image(None)),
            (_, Some(image)) if !image.is_empty() => Ok(Self::Image(Some(image.to_owned()))),
            _ => Err("it is volume, image or image:NAME".to_owned()),
        }
    }
}

/// How long the pod may be active, as the kubelet and the Job controller see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// What the plan's own limits add up to, or a day where it has none.
    OfPlan,
    /// This many seconds.
    Seconds(u64),
    /// None.
    Off,
}

/// What an image runs by itself, as text of a manifest: what a kubelet would expand is escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// Its ENTRYPOINT.
    pub entrypoint: Vec<String>,
    /// Its CMD.
    pub cmd: Vec<String>,
    /// The image by digest, where it should be written so.
    pub pinned: Option<String>,
    /// Why a kubelet refuses it where `runAsNonRoot` is set and `runAsUser` is not, if it does.
    pub refused_as_non_root: Option<String>,
}

/// Everything that can be chosen.
#[derive(Clone, Debug)]
pub struct Options {
    /// podturn's own image.
    pub image: String,
    /// Its `imagePullPolicy`; `None`: Kubernetes' default.
    pub pull_policy: Option<String>,
    /// Where the coordinator runs.
    pub placement: Placement,
    /// Where the shared volume lies.
    pub medium: Medium,
    /// How large it may become: a quantity in bytes, such as `64Mi`.
    pub size_limit: String,
    /// Whether journal and turns are synced to the disk (`--durability node`).
    pub durable: bool,
    /// Whether shims and coordinator look at files instead of ringing bells, where containers share no sockets (`--bell file`).
    pub by_files: bool,
    /// Whether the pod's containers share a process namespace.
    pub share_pid: bool,
    /// Whether steps see the whole volume, where `subPath` is not to be had.
    pub whole_volume: bool,
    /// Where steps have the shim from.
    pub shim_from: ShimFrom,
    /// The user of podturn's own containers; `None`: the pod's or the image's.
    pub user: Option<u32>,
    /// The oldest Kubernetes that has to accept the result.
    pub kubernetes: Version,
    /// `activeDeadlineSeconds` of Pods and Jobs.
    pub deadline: Deadline,
    /// Whether Jobs get what keeps them from running a plan again.
    pub job_defaults: bool,
    /// Whether steps that may fail or are retried come back when their containers were killed as a whole.
    pub restart_rules: bool,
    /// Whether the pod asks for what its steps need at the same moment (`--pod-resources`).
    pub pod_resources: bool,
    /// Whether the plan, and what `uninject` needs, is left out of the annotations.
    pub drop_plan: bool,
    /// Values of the plan's parameters.
    pub parameters: BTreeMap<String, String>,
    /// Variables of the coordinator's container.
    pub coordinator_env: BTreeMap<String, String>,
    /// Where each kind of object has its pod template.
    pub templates: Templates,
    /// What images run by themselves, by the image's name in the manifest.
    pub images: BTreeMap<String, ImageConfig>,
    /// Why that is not known of others: the message, and what to do.
    pub unread: BTreeMap<String, (String, Option<String>)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            image: concat!("localhost/podturn:", env!("CARGO_PKG_VERSION")).to_owned(),
            pull_policy: None,
            placement: Placement::Sidecar,
            medium: Medium::Memory,
            size_limit: "64Mi".to_owned(),
            durable: false,
            by_files: false,
            share_pid: true,
            whole_volume: false,
            shim_from: ShimFrom::Volume,
            user: Some(USER),
            kubernetes: Version { major: 1, minor: 35 },
            deadline: Deadline::OfPlan,
            job_defaults: false,
            restart_rules: true,
            pod_resources: false,
            drop_plan: false,
            parameters: BTreeMap::new(),
            coordinator_env: BTreeMap::new(),
            templates: Templates::default(),
            images: BTreeMap::new(),
            unread: BTreeMap::new(),
        }
    }
}

impl Options {
    /// The image that has the shim, where one is mounted: the one that was named, or podturn's own with `-shim` behind its name.
    ///
    /// # Errors
    /// With what has to be done: the digest of podturn's own image says nothing of another one.
    pub(super) fn shim_image(&self) -> Result<Option<String>, String> {
        let own = match &self.shim_from {
            ShimFrom::Volume => return Ok(None),
            ShimFrom::Image(Some(image)) => return Ok(Some(image.clone())),
            ShimFrom::Image(None) => self.image.as_str(),
        };
        if own.contains('@') {
            return Err(format!("name the image with the shim that goes with {own}: --shim-from image:NAME"));
        }
        let name = own.rfind('/').map_or(0, |slash| slash + 1);
        let end = own[name..].find(':').map_or(own.len(), |colon| name + colon);
        Ok(Some(format!("{}-shim{}", &own[..end], &own[end..])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_with_the_shim_goes_with_podturns_own() {
        let of = |image: &str, shim_from: &str| {
            let shim_from = shim_from.parse().expect("a source");
            Options { image: image.to_owned(), shim_from, ..Options::default() }.shim_image()
        };
        assert_eq!(of("podturn:1", "volume"), Ok(None));
        for (own, shim) in [
            ("podturn", "podturn-shim"),
            ("podturn:0.1.0", "podturn-shim:0.1.0"),
            ("registry.example:5000/tools/podturn", "registry.example:5000/tools/podturn-shim"),
            ("registry.example:5000/tools/podturn:1", "registry.example:5000/tools/podturn-shim:1"),
        ] {
            assert_eq!(of(own, "image"), Ok(Some(shim.to_owned())), "{own}");
        }
        let digest = "podturn@sha256:1234";
        assert!(of(digest, "image").is_err_and(|why| why.contains("--shim-from image:NAME")));
        assert_eq!(of(digest, "image:shim@sha256:5678"), Ok(Some("shim@sha256:5678".to_owned())));
    }

    #[test]
    fn a_source_of_the_shim_is_named_whole() {
        for wrong in ["", "images", "image:", "Image"] {
            assert!(wrong.parse::<ShimFrom>().is_err(), "{wrong:?}");
        }
    }
}
