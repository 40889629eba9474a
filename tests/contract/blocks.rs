//! Fenced code blocks of Markdown pages.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What stands between two fences.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) language: String,
    pub(crate) text: String,
    page: PathBuf,
    line: usize,
}

impl Block {
    /// `page:line` of its fence.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.page.display(), self.line)
    }
}

/// The blocks of a page, in order. A fence may be indented; what stands in it loses the same indent.
pub(crate) fn blocks(page: &Path) -> Vec<Block> {
    let text = fs::read_to_string(page).unwrap_or_default();
    let mut blocks = Vec::new();
    let mut open: Option<(Block, usize)> = None;
    for (number, line) in text.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        match (&mut open, fence) {
            (None, Some(language)) => {
                let indent = line.len() - line.trim_start().len();
                let language = language.trim().to_owned();
                let page = page.to_owned();
                open =
                    Some((Block { language, text: String::new(), page, line: number + 1 }, indent));
            }
            (Some(_), Some(_)) => blocks.extend(open.take().map(|(block, _)| block)),
            (Some((block, indent)), None) => {
                block.text.push_str(line.get(*indent..).unwrap_or_default());
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

/// The files below `folder` with this extension, in the order of their names; none where there is no folder.
pub(crate) fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| !path.ends_with("target"))
        .flat_map(|path| {
            if path.is_dir() {
                files(&path, extension)
            } else {
                path.extension()
                    .filter(|e| *e == extension)
                    .map(|_| path.clone())
                    .into_iter()
                    .collect()
            }
        })
        .collect();
    found.sort();
    found
}
