use super::{Level, MAX_TOPIC_BYTES, ParamKind, Pattern, forbidden_character};

/// Why a pattern is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PatternError {
    /// Names the level, the fault and the fix.
    pub message: String,
}

fn refuse<T>(message: impl Into<String>) -> Result<T, PatternError> {
    Err(PatternError { message: message.into() })
}

impl Pattern {
    /// Parses a whole pattern (prefixes already joined).
    ///
    /// # Errors
    /// See [`PatternError`].
    pub fn parse(source: &str) -> Result<Self, PatternError> {
        check_whole(source)?;
        let last = source.split('/').count() - 1;
        let mut levels: Vec<Level> = Vec::with_capacity(last + 1);
        for (at, text) in source.split('/').enumerate() {
            let level = parse_level(text, at == last).map_err(|fault| PatternError {
                message: format!("level {} \"{text}\" of \"{source}\": {fault}", at + 1),
            })?;
            levels.push(level);
        }
        check_names(source, &levels)?;
        Ok(Self { source: source.to_owned(), levels })
    }
}

fn check_whole(source: &str) -> Result<(), PatternError> {
    if source.is_empty() {
        return refuse("the pattern is empty; write at least one level, such as \"status\"");
    }
    if source.len() > MAX_TOPIC_BYTES {
        let bytes = source.len();
        return refuse(format!(
            "the pattern has {bytes} bytes; MQTT allows {MAX_TOPIC_BYTES}, so shorten it"
        ));
    }
    if let Some(found) = forbidden_character(source) {
        return refuse(format!(
            "the pattern holds the character U+{:04X}, which brokers refuse in a topic; remove it",
            u32::from(found)
        ));
    }
    if source == "$share" || source.starts_with("$share/") {
        return refuse(format!(
            "\"{source}\" begins with $share; leave it out: `shared` and `shareName` say who shares the subscription"
        ));
    }
    Ok(())
}

fn parse_level(text: &str, is_last: bool) -> Result<Level, String> {
    match text {
        "+" => Ok(Level::Any),
        "#" if is_last => Ok(Level::Rest),
        "#" => Err(
            "\"#\" stands for all further levels, so it must be the last; use \"+\" for one level"
                .into(),
        ),
        _ if text.contains(['{', '}']) => parse_braces(text, is_last),
        _ => match text.chars().find(|c| matches!(c, '+' | '#')) {
            Some(wildcard) => Err(format!(
                "\"{wildcard}\" must be a whole level; put a \"/\" around it or remove it"
            )),
            None => Ok(Level::Literal(text.to_owned())),
        },
    }
}

fn parse_braces(text: &str, is_last: bool) -> Result<Level, String> {
    let inside = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .filter(|inside| !inside.contains(['{', '}']))
        .ok_or("a param must be a whole level; write it between slashes, such as \"dev/{id}\"")?;
    if let Some(name) = inside.strip_suffix("...") {
        check_name(name)?;
        if !is_last {
            return Err(format!(
                "a tail takes all further levels, so it must be the last; use \"{{{name}}}\" for one level"
            ));
        }
        return Ok(Level::Tail { name: name.to_owned() });
    }
    let (name, kind) = inside.split_once(':').map_or((inside, None), |(n, k)| (n, Some(k)));
    check_name(name)?;
    Ok(Level::Param { name: name.to_owned(), kind: parse_kind(name, kind)? })
}

fn parse_kind(name: &str, kind: Option<&str>) -> Result<ParamKind, String> {
    match kind {
        None => Ok(ParamKind::Text),
        Some("int") => Ok(ParamKind::Int),
        Some("float") => Ok(ParamKind::Float),
        Some("uuid") => Ok(ParamKind::Uuid),
        Some(kind) => Err(format!(
            "\"{kind}\" is no type of param; use int, float or uuid, or \"{{{name}}}\" for any text"
        )),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let mut chars = name.chars();
    let starts_well = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if name.is_empty() {
        return Err(
            "a param needs a name, such as \"{id}\"; use \"+\" for a level without one".into()
        );
    }
    if starts_well && chars.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Ok(());
    }
    Err(format!(
        "\"{name}\" is no name of a param; use letters, digits and \"_\", not a digit first"
    ))
}

fn check_names(source: &str, levels: &[Level]) -> Result<(), PatternError> {
    let mut seen = std::collections::HashSet::new();
    for (at, level) in levels.iter().enumerate() {
        if let Some(name) = level.name().filter(|name| !seen.insert(*name)) {
            return refuse(format!(
                "level {} of \"{source}\": the param \"{name}\" is there twice; rename one of them",
                at + 1
            ));
        }
    }
    Ok(())
}
