//! The `:name` binds of an SQL statement: outside of quotes, comments and `::casts`.

/// Why a statement is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum StatementError {
    #[error("is empty; write one SQL statement")]
    Empty,
    #[error("holds more than one statement; write one handler for each")]
    Several,
    #[error("has {0} without its end; close it, and write a quote inside of quotes twice")]
    Unclosed(&'static str),
}

/// The names after `:`, each once, in order.
pub(super) fn binds(text: &str) -> Result<Vec<&str>, StatementError> {
    let mut names = Vec::new();
    let (mut rest, mut has_text, mut ended) = (text, false, false);
    while !rest.is_empty() {
        let token = token(rest)?;
        let (found, after) = rest.split_at(token.length);
        rest = after;
        match token.kind {
            Kind::Space => continue,
            Kind::End => {
                ended = has_text;
                continue;
            }
            Kind::Bind if !names.contains(&&found[1..]) => names.push(&found[1..]),
            Kind::Bind | Kind::Other => {}
        }
        if ended {
            return Err(StatementError::Several);
        }
        has_text = true;
    }
    if has_text { Ok(names) } else { Err(StatementError::Empty) }
}

enum Kind {
    /// White space or a comment.
    Space,
    /// `;`
    End,
    /// `:name`
    Bind,
    Other,
}

struct Token {
    kind: Kind,
    /// Bytes, at least one character.
    length: usize,
}

fn token(rest: &str) -> Result<Token, StatementError> {
    let other = |length| Ok(Token { kind: Kind::Other, length });
    let first = rest.chars().next().unwrap_or(' ');
    match first {
        '\'' => other(quoted(rest, '\'', "a quoted text")?),
        '"' => other(quoted(rest, '"', "a quoted name")?),
        '`' => other(quoted(rest, '`', "a quoted name")?),
        ';' => Ok(Token { kind: Kind::End, length: 1 }),
        _ if rest.starts_with("--") => {
            Ok(Token { kind: Kind::Space, length: rest.find('\n').unwrap_or(rest.len()) })
        }
        _ if rest.starts_with("/*") => {
            let end = rest[2..].find("*/").ok_or(StatementError::Unclosed("a comment"))?;
            Ok(Token { kind: Kind::Space, length: end + 4 })
        }
        _ if rest.starts_with("::") || rest.starts_with(":=") => other(2),
        ':' => match name_length(&rest[1..]) {
            0 => other(1),
            length => Ok(Token { kind: Kind::Bind, length: length + 1 }),
        },
        '$' => other(dollar_quoted(rest)?),
        _ if first.is_whitespace() => Ok(Token { kind: Kind::Space, length: first.len_utf8() }),
        _ => other(name_length(rest).max(first.len_utf8())),
    }
}

/// Bytes of the identifier that `rest` begins with, or 0.
fn name_length(rest: &str) -> usize {
    if rest.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len())
}

/// Bytes of a quoted text; a doubled quote stands for itself.
fn quoted(rest: &str, quote: char, what: &'static str) -> Result<usize, StatementError> {
    let mut at = 1;
    while let Some(found) = rest[at..].find(quote) {
        at += found + 1;
        if !rest[at..].starts_with(quote) {
            return Ok(at);
        }
        at += 1;
    }
    Err(StatementError::Unclosed(what))
}

/// Bytes of PostgreSQL's `$tag$ … $tag$`, or of the `$` alone.
fn dollar_quoted(rest: &str) -> Result<usize, StatementError> {
    let tag = 1 + name_length(&rest[1..]);
    if !rest[tag..].starts_with('$') {
        return Ok(1);
    }
    let (tag, body) = rest.split_at(tag + 1);
    let end = body.find(tag).ok_or(StatementError::Unclosed("a $-quoted text"))?;
    Ok(tag.len() + end + tag.len())
}
