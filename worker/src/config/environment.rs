//! The variables as they were written.

use std::{collections::BTreeMap, path::Path};

/// Variables by name: the real environment, and below it what `.env` adds.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

/// Why `.env` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// A line that is no `NAME=value`.
    #[error("{file}: the line {line:?} is not NAME=value; quote values that hold spaces or #")]
    Line {
        /// The file.
        file: String,
        /// The line, as far as the parser takes it.
        line: String,
    },
    /// It is there and cannot be read.
    #[error("cannot read {file}")]
    Unreadable {
        /// The file.
        file: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl Environment {
    /// The process environment over the `.env` of the working directory (or of the nearest folder above that has one).
    ///
    /// # Errors
    /// A `.env` that cannot be read or parsed. That there is none is no error.
    pub fn load() -> Result<Self, EnvironmentError> {
        let real = real_variables();
        match find(".env") {
            Some(path) => Ok(read_file(&path)?.overridden_by(real)),
            None => Ok(Self { variables: real }),
        }
    }

    /// The process environment alone, without any `.env`.
    #[must_use]
    pub fn process() -> Self {
        Self { variables: real_variables() }
    }

    /// Exactly these variables: for tests, and for programs that bring their own.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        Self { variables: pairs.into_iter().map(|(n, v)| (n.into(), v.into())).collect() }
    }

    /// The value of a variable; an empty one counts as not set, as in the Python framework's `.env`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    fn overridden_by(mut self, real: BTreeMap<String, String>) -> Self {
        self.variables.extend(real);
        self
    }
}

fn real_variables() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn find(name: &str) -> Option<std::path::PathBuf> {
    let here = std::env::current_dir().ok()?;
    here.ancestors().map(|folder| folder.join(name)).find(|path| path.is_file())
}

fn read_file(path: &Path) -> Result<Environment, EnvironmentError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| explain(path, dotenvy::Error::Io(source)))?;
    let quoted: String = text.lines().map(|line| quote_bare_spaces(line) + "\n").collect();
    let lines = dotenvy::from_read_iter(quoted.as_bytes());
    let variables = lines.collect::<Result<_, _>>().map_err(|error| explain(path, error))?;
    Ok(Environment { variables })
}

/// Python's dotenv takes `LOG_FORMAT=%(asctime)s - %(message)s` without quotes, dotenvy does not:
/// the same file must work here.
fn quote_bare_spaces(line: &str) -> String {
    let Some((name, value)) = line.split_once('=') else { return line.to_owned() };
    let value = value.split(" #").next().unwrap_or_default().trim();
    let bare = !name.trim_start().starts_with('#') && !value.contains(['\'', '"']);
    if bare && value.contains(char::is_whitespace) {
        format!("{name}='{value}'")
    } else {
        line.to_owned()
    }
}

fn explain(path: &Path, error: dotenvy::Error) -> EnvironmentError {
    let file = path.display().to_string();
    match error {
        dotenvy::Error::LineParse(line, _) => EnvironmentError::Line { file, line },
        dotenvy::Error::Io(source) => EnvironmentError::Unreadable { file, source },
        other => EnvironmentError::Unreadable { file, source: std::io::Error::other(other) },
    }
}

/// Names only: values hold passwords.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Result<Environment, EnvironmentError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        std::fs::write(&path, text).unwrap();
        read_file(&path)
    }

    #[test]
    fn the_real_environment_wins_over_the_file() {
        let file = written("MQTT_BROKER=file\nDB_HOST=db\n").unwrap();
        let both = file.overridden_by(BTreeMap::from([("MQTT_BROKER".into(), "real".into())]));
        assert_eq!(both.get("MQTT_BROKER"), Some("real"));
        assert_eq!(both.get("DB_HOST"), Some("db"));
    }

    #[test]
    fn a_comment_after_a_value_and_quotes_are_understood() {
        let file = written("MQTT_USERNAME=me  # Optional\nDB_PASS='a#b'\n").unwrap();
        assert_eq!(file.get("MQTT_USERNAME"), Some("me"));
        assert_eq!(file.get("DB_PASS"), Some("a#b"));
    }

    #[test]
    fn an_empty_value_counts_as_not_set() {
        assert_eq!(written("DB_PASS=\n").unwrap().get("DB_PASS"), None);
    }

    #[test]
    fn a_python_log_format_with_spaces_needs_no_quotes() {
        let file = written("LOG_FORMAT=%(asctime)s - %(message)s  # note\n").unwrap();
        assert_eq!(file.get("LOG_FORMAT"), Some("%(asctime)s - %(message)s"));
    }

    #[test]
    fn a_line_that_is_no_assignment_is_shown_with_the_fix() {
        let error = written("MQTT_BROKER localhost\n").unwrap_err().to_string();
        assert!(error.contains("MQTT_BROKER localhost"), "{error}");
        assert!(error.contains("NAME=value"), "{error}");
    }

    #[test]
    fn the_debug_text_shows_names_and_no_values() {
        let text = format!("{:?}", Environment::from_pairs([("MQTT_PASSWORD", "s3cret")]));
        assert!(text.contains("MQTT_PASSWORD") && !text.contains("s3cret"), "{text}");
    }
}
