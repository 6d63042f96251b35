//! `$(NAME)` in `command`, `args` and `env`, as the kubelet replaces it (Kubernetes API, Container v1 core, `command`).

/// Replaces `$(NAME)` by the variable's value and `$$` by `$`. What names no variable stays as it is.
pub(super) fn expand(text: &str, variables: &[(String, String)]) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let reference = after.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        if let Some(more) = after.strip_prefix('$') {
            result.push('$');
            rest = more;
        } else if let Some((name, more)) = reference {
            match variables.iter().rev().find(|(known, _)| known == name) {
                Some((_, value)) => result.push_str(value),
                None => result.push_str(&format!("$({name})")),
            }
            rest = more;
        } else {
            result.push('$');
            rest = after;
        }
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn references_are_replaced_as_the_kubelet_does() {
        let variables = [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "$(A)".to_owned())];
        for (text, wanted) in [
            ("", ""),
            ("plain $HOME ${A}", "plain $HOME ${A}"),
            ("$(A)-$(A)", "1-1"),
            ("$(B)", "$(A)"),
            ("$(C)", "$(C)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$$$$", "$$"),
            ("$(A", "$(A"),
            ("end$", "end$"),
        ] {
            assert_eq!(expand(text, &variables), wanted, "{text}");
        }
    }
}
