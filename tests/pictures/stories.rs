//! Which runs are in the pictures: the pods that people really write, as they are and with a failure, and with time to be looked at.

/// One run, and the moment of it that is shown.
pub(crate) struct Story {
    /// The manifest in `manifests/`.
    pub(crate) manifest: &'static str,
    /// How it goes: the end of the pictures' names.
    pub(crate) way: &'static str,
    /// What is different from the manifest: exactly once, and something else there.
    pub(crate) changes: &'static [(&'static str, &'static str)],
    /// Steps and their phases: the moment.
    pub(crate) moment: &'static [(&'static str, &'static str)],
    /// It goes on until Ctrl-C.
    pub(crate) is_endless: bool,
}

/// A second or so of a core's time.
macro_rules! works {
    ($before:literal) => {
        concat!($before, "i=0; while [ $i -lt 900000 ]; do i=$((i+1)); done; ")
    };
}

/// Waits until its picture is made.
macro_rules! waits {
    ($volume:literal, $rest:literal) => {
        concat!("until test -e ", $volume, "/go-on; do sleep 0.2; done; ", $rest)
    };
}

pub(crate) const STORIES: [Story; 10] = [
    Story {
        manifest: "build-scan-publish",
        way: "good",
        changes: &[
            ("echo \"building\"", works!("echo \"building\"; sleep 1; ")),
            ("grep -q password app", waits!("/work", "grep -q password app")),
            ("echo \"good enough\"", works!("echo \"good enough\"; ")),
        ],
        moment: &[("scan", "Running"), ("quality", "Succeeded")],
        is_endless: false,
    },
    Story {
        manifest: "build-scan-publish",
        way: "failing",
        changes: &[
            ("echo \"building\"", works!("echo \"building\"; ")),
            ("echo \"the application\" > app", "echo short > app"),
            ("test -e app && echo", waits!("/work", "test -e app && echo")),
        ],
        moment: &[("quality", "Failed"), ("publish", "Omitted"), ("notify", "Running")],
        is_endless: false,
    },
    Story {
        manifest: "database-test",
        way: "good",
        changes: &[
            ("sleep 0.2 # it takes its time", works!("sleep 1; ")),
            ("echo \"migrated\"", "sleep 1; echo \"migrated\""),
            ("grep -q \"create users\"", waits!("/run/database", "grep -q \"create users\"")),
        ],
        moment: &[("database", "Ready"), ("itest", "Running")],
        is_endless: false,
    },
    Story {
        manifest: "database-test",
        way: "failing",
        changes: &[
            (
                "exec 3<>/run/database/requests\n",
                "exec 3<>/run/database/requests; sleep 2; echo 'no space left' >&2; exit 0\n",
            ),
            ("echo \"migrated\"", waits!("/run/database", "echo \"migrated\"")),
        ],
        moment: &[("database", "Failed"), ("migrate", "Running")],
        is_endless: false,
    },
    Story {
        manifest: "proxy-job",
        way: "good",
        changes: &[
            ("echo extracting |", works!("echo extracting |")),
            ("tr a-z A-Z <", waits!("/run/proxy", "tr a-z A-Z <")),
        ],
        moment: &[("proxy", "Ready"), ("transform", "Running")],
        is_endless: false,
    },
    Story {
        manifest: "proxy-job",
        way: "failing",
        changes: &[(
            "tr a-z A-Z < /run/proxy/data | tee /run/proxy/transformed",
            "echo 'attempt '$PODTURN_ATTEMPT': the column price is missing' >&2; [ $PODTURN_ATTEMPT -lt 3 ] || \
             until test -e /run/proxy/go-on; do sleep 0.2; done; exit 9",
        )],
        moment: &[("proxy", "Ready"), ("transform", "Running 3")],
        is_endless: false,
    },
    Story {
        manifest: "train-evaluate",
        way: "good",
        changes: &[
            ("echo weights > /data/model", "sleep 2; echo weights > /data/model"),
            ("seq 100 > /data/dataset", "sleep 1; seq 100 > /data/dataset"),
            ("echo \"attempt $PODTURN_ATTEMPT\"", works!("echo \"attempt $PODTURN_ATTEMPT\"; ")),
            (
                "cat /data/model /data/dataset > /data/trained",
                waits!("/data", "cat /data/model /data/dataset > /data/trained"),
            ),
        ],
        moment: &[("train", "Running 2")],
        is_endless: false,
    },
    Story {
        manifest: "train-evaluate",
        way: "failing",
        changes: &[
            (
                "echo weights > /data/model; echo 'the model is here'",
                "echo 'the mirror does not answer' >&2; [ $PODTURN_ATTEMPT -lt 4 ] || until test -e /data/go-on; do sleep 0.2; done; exit 6",
            ),
            ("seq 100 > /data/dataset", "sleep 2; seq 100 > /data/dataset"),
        ],
        moment: &[("model", "Running 4"), ("dataset", "Succeeded")],
        is_endless: false,
    },
    Story {
        manifest: "services-in-order",
        way: "good",
        changes: &[("echo caching;", works!("echo caching; ")), ("echo migrating;", works!("echo migrating; "))],
        moment: &[("cache", "Ready"), ("api", "Ready"), ("web", "Ready")],
        is_endless: true,
    },
    Story {
        manifest: "services-in-order",
        way: "failing",
        changes: &[
            ("until test -e /run/app/crash; do sleep 0.1; done", "sleep 3"),
            ("backoff: { duration: 1s, cap: 5m }", "backoff: { duration: 2m, cap: 5m }"),
        ],
        moment: &[("api", "Backoff")],
        is_endless: true,
    },
];
