//! Finds the `:name` binds of a statement and writes the placeholders of a dialect.

use std::fmt::Write as _;

use super::dialect::Dialect;

/// A statement cut at its binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StatementText {
    dialect: Dialect,
    /// One more than binds.
    pieces: Vec<String>,
    /// A name may come more than once.
    pub(crate) binds: Vec<String>,
}

impl StatementText {
    /// Names inside quotes, comments and `::casts` are no binds.
    pub(crate) fn parse(dialect: Dialect, text: &str) -> Self {
        let mut parsed = Self { dialect, pieces: Vec::new(), binds: Vec::new() };
        let (mut piece, mut at) = (String::new(), 0);
        while at < text.len() {
            let rest = &text[at..];
            if let Some(name) = bind(rest) {
                parsed.pieces.push(std::mem::take(&mut piece));
                parsed.binds.push(name.to_owned());
                at += 1 + name.len();
                continue;
            }
            let length = opaque(dialect, rest, text[..at].chars().next_back());
            piece.push_str(&rest[..length]);
            at += length;
        }
        parsed.pieces.push(piece);
        parsed
    }

    /// The statement with placeholders; each cast by way of text to the type at its index, if any.
    pub(crate) fn write(&self, types: &[String]) -> String {
        let mut text = String::new();
        for (index, piece) in self.pieces.iter().enumerate() {
            text.push_str(piece);
            if index == self.binds.len() {
                break;
            }
            self.dialect.push_placeholder(&mut text, index + 1);
            if let Some(kind) = types.get(index) {
                let _ = write!(text, "::text::{kind}");
            }
        }
        text
    }
}

fn bind(rest: &str) -> Option<&str> {
    let name = rest.strip_prefix(':')?;
    if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return None;
    }
    let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    Some(&name[..end.unwrap_or(name.len())])
}

/// How many bytes at the start of `rest` hold no bind: a quoted part, a comment, or one character.
fn opaque(dialect: Dialect, rest: &str, before: Option<char>) -> usize {
    let first = rest.chars().next().map_or(1, char::len_utf8);
    match rest.as_bytes() {
        [b':', b':', ..] => 2,
        [b'\'', ..] => quoted(rest, '\'', escapes(dialect, before)),
        [b'"', ..] => quoted(rest, '"', dialect == Dialect::MySql),
        [b'`', ..] => quoted(rest, '`', false),
        [b'-', b'-', ..] => rest.find('\n').unwrap_or(rest.len()),
        [b'#', ..] if dialect == Dialect::MySql => rest.find('\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => rest[2..].find("*/").map_or(rest.len(), |end| end + 4),
        [b'$', ..] if dialect == Dialect::Postgres => dollar_quoted(rest).unwrap_or(first),
        _ => first,
    }
}

fn escapes(dialect: Dialect, before: Option<char>) -> bool {
    match dialect {
        Dialect::MySql => true,
        Dialect::Postgres => matches!(before, Some('e' | 'E')),
        Dialect::Sqlite => false,
    }
}

/// A doubled quote ends one quoted part and starts the next, which is as good.
fn quoted(rest: &str, quote: char, backslash: bool) -> usize {
    let mut characters = rest.char_indices().skip(1);
    while let Some((index, character)) = characters.next() {
        if backslash && character == '\\' {
            characters.next();
        } else if character == quote {
            return index + 1;
        }
    }
    rest.len()
}

/// `$tag$ … $tag$`
fn dollar_quoted(rest: &str) -> Option<usize> {
    let end = rest[1..].find('$')? + 2;
    let tag = &rest[..end];
    let inner = &tag[1..tag.len() - 1];
    if inner.starts_with(|c: char| c.is_ascii_digit())
        || !inner.chars().all(|c| c.is_alphanumeric() || c == '_')
    {
        return None;
    }
    Some(rest[end..].find(tag).map_or(rest.len(), |close| end + close + tag.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_outside_of_quotes_comments_and_casts_are_binds() {
        use Dialect::{MySql, Postgres, Sqlite};
        let table: [(Dialect, &str, &str, &[&str]); 15] = [
            (MySql, "SELECT :a, :b_2", "SELECT ?, ?", &["a", "b_2"]),
            (
                Sqlite,
                "UPDATE t SET v=:v WHERE k=:k AND v<>:v",
                "UPDATE t SET v=? WHERE k=? AND v<>?",
                &["v", "k", "v"],
            ),
            (Postgres, "SELECT :a::int, ':b', :c", "SELECT $1::int, ':b', $2", &["a", "c"]),
            (Postgres, "SELECT \":a\", x::text", "SELECT \":a\", x::text", &[]),
            (MySql, "SELECT '\\':a', :b", "SELECT '\\':a', ?", &["b"]),
            (Postgres, "SELECT '\\', :b", "SELECT '\\', $1", &["b"]),
            (Postgres, "SELECT E'\\':a', :b", "SELECT E'\\':a', $1", &["b"]),
            (Sqlite, "SELECT 'it''s :a' || :b", "SELECT 'it''s :a' || ?", &["b"]),
            (MySql, "SELECT 1 -- :a\n, :b # :c", "SELECT 1 -- :a\n, ? # :c", &["b"]),
            (Postgres, "SELECT /* :a */ :b", "SELECT /* :a */ $1", &["b"]),
            (Postgres, "SELECT $f$ :a $f$, :b", "SELECT $f$ :a $f$, $1", &["b"]),
            (Postgres, "SELECT $$:a$$", "SELECT $$:a$$", &[]),
            (MySql, "SELECT `:a`, 'é:x', :é", "SELECT `:a`, 'é:x', :é", &[]),
            (Sqlite, "SELECT ':open", "SELECT ':open", &[]),
            (MySql, "SELECT @x := 1, :a", "SELECT @x := 1, ?", &["a"]),
        ];
        for (dialect, text, written, binds) in table {
            let parsed = StatementText::parse(dialect, text);
            assert_eq!(parsed.write(&[]), written, "{text}");
            assert_eq!(parsed.binds, binds, "{text}");
        }
    }

    #[test]
    fn postgres_binds_are_cast_by_way_of_text() {
        let parsed = StatementText::parse(Dialect::Postgres, "SELECT * FROM t WHERE id = :id");
        assert_eq!(parsed.write(&["INT8".to_owned()]), "SELECT * FROM t WHERE id = $1::text::INT8");
    }
}
