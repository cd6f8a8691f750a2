//! `pyinotifyd schema`: the JSON schema of config.toml.

use crate::config::schema;

/// The schema as a file, with a line end.
pub(crate) fn text() -> String {
    format!("{:#}\n", schema::schema())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_schema_of_the_reference_is_up_to_date() {
        let there = include_str!("../../../../docs/reference/config.schema.json");
        assert_eq!(super::text(), there, "run `cargo xtask schema`");
    }
}
