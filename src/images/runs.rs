//! What an image says about running it, and what Kubernetes makes of that together with a container's own fields.
//!
//! Belongs here: pure rules. Their sources: the OCI image configuration (opencontainers/image-spec, `config.md`), the
//! table in Kubernetes' "Define a Command and Arguments for a Container", and containerd, which carries it out
//! (`WithProcessArgs`). Does not belong here: where a configuration comes from.

use std::fmt;

use serde::Serialize;

/// What an image runs when a manifest says nothing else. Empty lists and `None` are what the image does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Runs {
    /// `ENTRYPOINT`. The shell form is `["/bin/sh", "-c", "..."]` here, as builders write it.
    pub entrypoint: Vec<String>,
    /// `CMD`: arguments for the entrypoint, or the whole command line where there is none.
    pub cmd: Vec<String>,
    /// `USER`: a number or a name, either with `:group`. `None` is root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `WORKDIR`. `None` is `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// `STOPSIGNAL`: a name or a number. `None` is SIGTERM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// What the reference pointed to (`sha256:...`), so `NAME@DIGEST` is this image for ever; of an image for several
    /// platforms that of its index. `None` where the source knows none (a `docker save` archive).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The platform that was read: `linux/amd64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
}

/// The whole command line of a container, in the two halves in which a manifest writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// What `command` has to be: the container's own, or the image's entrypoint. May be empty, and `args` is all then.
    pub command: Vec<String>,
    /// What `args` has to be: the container's own, or the image's `CMD`.
    pub args: Vec<String>,
}

/// Neither the container nor its image says what to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NothingToRun;

impl fmt::Display for NothingToRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("its image has neither an entrypoint nor a command")
    }
}

impl std::error::Error for NothingToRun {}

impl Runs {
    /// What a container with this `command` and these `args` runs; an empty list is the same as none.
    ///
    /// | `command` | `args` | runs |
    /// | --- | --- | --- |
    /// | - | - | `ENTRYPOINT CMD` |
    /// | - | given | `ENTRYPOINT args` |
    /// | given | - | `command`: the image's `CMD` is dropped |
    /// | given | given | `command args` |
    ///
    /// The halves are plain text, and what a manifest says is expanded once more: [`as_manifest_text`] for what comes
    /// from the image.
    ///
    /// # Errors
    /// [`NothingToRun`], where the container runtime would say "no command specified".
    pub fn command_line(&self, command: &[String], args: &[String]) -> Result<CommandLine, NothingToRun> {
        let line = if command.is_empty() {
            CommandLine {
                command: self.entrypoint.clone(),
                args: if args.is_empty() { self.cmd.clone() } else { args.to_vec() },
            }
        } else {
            CommandLine { command: command.to_vec(), args: args.to_vec() }
        };
        if line.command.is_empty() && line.args.is_empty() { Err(NothingToRun) } else { Ok(line) }
    }

    /// The number of the user that the image names, where it names one by number; no user is root, so 0.
    #[must_use]
    pub fn uid(&self) -> Option<u32> {
        let user = self.user.as_deref().unwrap_or("0");
        user.split(':').next().unwrap_or(user).parse().ok()
    }
}

/// Why a kubelet refuses a container with `runAsNonRoot: true` and no `runAsUser`, if it does: it does not look into the
/// image, so it cannot know the number of a user's name.
#[must_use]
pub fn refused_by_run_as_non_root(runs: &Runs) -> Option<String> {
    match runs.uid() {
        Some(0) => Some("its image runs as root".to_owned()),
        Some(_) => None,
        None => {
            let user = runs.user.as_deref().unwrap_or_default();
            Some(format!("its image names its user (\"{user}\") and not the user's number"))
        }
    }
}

/// An argument from an image as a manifest has to write it: a kubelet replaces `$(NAME)` and halves `$$` in `command` and
/// `args`, and leaves alone what comes from the image.
#[must_use]
pub fn as_manifest_text(argument: &str) -> String {
    let mut text = String::with_capacity(argument.len());
    let mut characters = argument.chars().peekable();
    while let Some(character) = characters.next() {
        text.push(character);
        if character == '$' && matches!(characters.peek(), Some('$' | '(')) {
            text.push('$');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{CommandLine, NothingToRun, Runs, as_manifest_text, refused_by_run_as_non_root};

    fn list(words: &str) -> Vec<String> {
        words.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn command_and_args_replace_what_the_table_of_kubernetes_says() {
        // The image's entrypoint and cmd, the container's command and args, and what runs.
        let table = [
            ("/ep", "foo bar", "", "", Some(("/ep", "foo bar"))),
            ("/ep", "foo bar", "/cmd", "", Some(("/cmd", ""))),
            ("/ep", "foo bar", "", "zoo", Some(("/ep", "zoo"))),
            ("/ep", "foo bar", "/cmd", "zoo", Some(("/cmd", "zoo"))),
            ("", "sh", "", "", Some(("", "sh"))),
            ("", "sh", "", "env", Some(("", "env"))),
            ("/ep", "", "", "", Some(("/ep", ""))),
            ("", "", "", "", None),
            ("", "", "", "zoo", Some(("", "zoo"))),
            ("", "", "/cmd", "", Some(("/cmd", ""))),
        ];
        for (entrypoint, cmd, command, args, expected) in table {
            let runs = Runs { entrypoint: list(entrypoint), cmd: list(cmd), ..Runs::default() };
            let expected = expected
                .map(|(command, args)| CommandLine { command: list(command), args: list(args) })
                .ok_or(NothingToRun);
            let case = format!("[{entrypoint}] [{cmd}] with [{command}] [{args}]");
            assert_eq!(runs.command_line(&list(command), &list(args)), expected, "{case}");
        }
    }

    #[test]
    fn only_a_number_other_than_0_passes_run_as_non_root() {
        let table = [
            (None, Some("its image runs as root")),
            (Some("0"), Some("its image runs as root")),
            (Some("0:1000"), Some("its image runs as root")),
            (Some("root"), Some("its image names its user (\"root\") and not the user's number")),
            (Some("app:app"), Some("its image names its user (\"app:app\") and not the user's number")),
            (Some("1000"), None),
            (Some("1000:0"), None),
        ];
        for (user, expected) in table {
            let runs = Runs { user: user.map(str::to_owned), ..Runs::default() };
            assert_eq!(refused_by_run_as_non_root(&runs).as_deref(), expected, "{user:?}");
        }
    }

    /// A kubelet's expansion (k8s.io/kubernetes/third_party/forked/golang/expansion), with every variable defined.
    fn expanded_by_a_kubelet(text: &str) -> String {
        let (mut out, mut rest) = (String::new(), text);
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some((_, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
                out.push_str("EXPANDED");
                rest = after;
            } else {
                out.push('$');
            }
        }
        out + rest
    }

    #[test]
    fn an_argument_of_an_image_survives_the_kubelets_expansion() {
        for text in ["plain", "$HOME", "$(HOME)", "$$", "$$(A)", "a$", "$$$(A)$$$", "echo $((1+1)) $1 ${B}", "($)"] {
            assert_eq!(expanded_by_a_kubelet(&as_manifest_text(text)), text);
        }
        assert_eq!(as_manifest_text("exec $1 ${B}"), "exec $1 ${B}", "what needs no escape gets none");
    }
}
