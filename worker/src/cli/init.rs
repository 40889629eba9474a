//! `routemq init`: a first route and a `.env`, never overwriting.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use super::{Ended, failure::Failure, print, style};

/// Writes a first route and a .env into a folder; what is there already is kept.
#[derive(Args, Debug)]
#[command(after_help = "Example: routemq init my-routes && routemq dev my-routes --simulate 1/s")]
pub(crate) struct Init {
    /// The folder; it is made if need be
    #[arg(default_value = ".", value_name = "DIR")]
    folder: PathBuf,
}

const FILES: [(&str, &str); 2] =
    [("route.yaml", include_str!("init/route.yaml")), (".env", include_str!("init/env"))];

impl Init {
    pub(crate) fn execute(self) -> Ended {
        let folder = &self.folder;
        fs::create_dir_all(folder).map_err(|error| {
            Failure::world(format!("cannot make the folder {}", folder.display())).because(&error)
        })?;
        let mut rows = Vec::new();
        for (name, content) in FILES {
            let path = folder.join(name);
            let done = if write_new(&path, content)? { "wrote" } else { "kept" };
            rows.push(vec![done.to_owned(), path.display().to_string()]);
        }
        let lines = style::columns(&rows).join("\n");
        print(&format!("{lines}\n\n{}", next_steps(folder)))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// False: something of that name is there already. The check and the creation are one step.
fn write_new(path: &Path, content: &str) -> Result<bool, Failure> {
    let opened = fs::OpenOptions::new().write(true).create_new(true).open(path);
    let written = match opened {
        Ok(mut file) => file.write_all(content.as_bytes()).map(|()| true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    };
    written
        .map_err(|error| Failure::world(format!("cannot write {}", path.display())).because(&error))
}

fn next_steps(folder: &Path) -> String {
    let route = folder.join("route.yaml");
    let route = route.strip_prefix(".").unwrap_or(&route).display().to_string();
    let rows = [
        (format!("routemq check {route}"), "is it right?"),
        (
            format!("routemq dev {route} --simulate 1/s"),
            "see it work: broker and database included",
        ),
        (format!("routemq run {route}"), "against the broker and database of .env"),
    ];
    let rows: Vec<_> = rows
        .into_iter()
        .map(|(command, what)| vec![format!("  {command}"), format!("# {what}")])
        .collect();
    format!("Next:\n{}\n", style::columns(&rows).join("\n"))
}
