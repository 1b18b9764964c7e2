//! The little JSON that a program without a parser needs: writing texts, finding `cniVersion`.

use std::fmt::Write;

/// A JSON string (RFC 8259 section 7).
pub(crate) fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => {
                // Writing to a String can't fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// An object of texts.
pub(crate) fn object<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let fields: Vec<_> = fields.map(|(key, value)| format!("{}:{}", text(key), text(value))).collect();
    format!("{{{}}}", fields.join(","))
}

/// The version that a configuration names, for an error that is made without the agent's parser.
pub(crate) fn version_in(config: &str) -> Option<String> {
    let (_, rest) = config.split_once("\"cniVersion\"")?;
    let (version, _) =
        rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?.split_once('"')?;
    let plain = !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    plain.then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_as_json_wants() {
        for (plain, json) in [
            ("", r#""""#),
            ("a \"b\" \\c/", r#""a \"b\" \\c/""#),
            ("tab\tline\r\n", r#""tab\tline\r\n""#),
            ("\u{0}\u{1f}\u{7f}", "\"\\u0000\\u001f\u{7f}\""),
            ("ä€😀", "\"ä€😀\""),
        ] {
            assert_eq!(text(plain), json);
        }
        assert_eq!(object([("a", "1"), ("b\"", "\n")].into_iter()), r#"{"a":"1","b\"":"\n"}"#);
    }

    #[test]
    fn the_version_is_found_where_it_is_one() {
        for (config, version) in [
            (r#"{"cniVersion":"1.0.0","name":"weft"}"#, Some("1.0.0")),
            ("{\"name\":\"x\",\n \"cniVersion\" : \"0.4.0\"}", Some("0.4.0")),
            (r#"{"cniVersion":1}"#, None),
            (r#"{"cniVersion":"\"evil"}"#, None),
            ("{}", None),
        ] {
            assert_eq!(version_in(config).as_deref(), version, "{config}");
        }
    }
}
