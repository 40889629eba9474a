//! `routemq check`: what is wrong, and where.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use routemq_crds::document::{DocumentProblem, Documents};
use serde_json::json;

use super::{Ended, Output, documents, print, style};

/// Says what is wrong with documents: schema, patterns, expressions, overlaps.
///
/// Problems go to standard output as `file:line:column: field: problem`.
#[derive(Args, Debug)]
#[command(after_help = "Example: routemq check examples/quickstart\n\n\
    Exit codes: 0 all is right, 1 there are problems.")]
pub(crate) struct Check {
    /// Files and folders of MqttRoutes, Secrets and ConfigMaps
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl Check {
    pub(crate) fn execute(self) -> Ended {
        let checked = Documents::check(&self.paths);
        match self.output {
            Output::Json => as_json(&checked),
            Output::Text => self.as_text(checked),
        }
    }

    fn as_text(&self, checked: Result<Documents, Vec<DocumentProblem>>) -> Ended {
        let documents = checked.map_err(|problems| documents::refused(&problems))?;
        for note in &documents.notes {
            eprintln!("note: {note}");
        }
        documents::not_empty(&documents, &self.paths)?;
        let paint = style::Paint::stdout();
        print(&format!("{} {}\n", paint.green("ok:"), in_words(&documents)))
    }
}

/// `2 MqttRoutes with 7 routes, 1 Secret in 3 files`.
fn in_words(documents: &Documents) -> String {
    let routes = documents.routes.iter().map(|it| it.object.spec.routes.len()).sum();
    let mut words = format!(
        "{} with {}",
        style::count(documents.routes.len(), "MqttRoute"),
        style::count(routes, "route")
    );
    let others = [(documents.secrets.len(), "Secret"), (documents.config_maps.len(), "ConfigMap")];
    for (number, what) in others.into_iter().filter(|(number, _)| *number > 0) {
        words = format!("{words}, {}", style::count(number, what));
    }
    format!("{words} in {}", style::count(documents.files.len(), "file"))
}

fn as_json(checked: &Result<Documents, Vec<DocumentProblem>>) -> Ended {
    let (documents, problems) = match checked {
        Ok(documents) => (Some(documents), [].as_slice()),
        Err(problems) => (None, problems.as_slice()),
    };
    let empty = documents.is_some_and(|documents| documents.routes.is_empty());
    let report = json!({
        "ok": problems.is_empty() && !empty,
        "mqttRoutes": documents.map_or(0, |documents| documents.routes.len()),
        "notes": documents.map_or(&[][..], |documents| &documents.notes),
        "problems": problems.iter().map(problem).collect::<Vec<_>>(),
    });
    print(&format!("{report:#}\n"))?;
    Ok(ExitCode::from(u8::from(!problems.is_empty() || empty)))
}

fn problem(problem: &DocumentProblem) -> serde_json::Value {
    json!({
        "file": problem.file.display().to_string(),
        "line": problem.position.map(|position| position.line),
        "column": problem.position.map(|position| position.column),
        "field": problem.field,
        "message": problem.message,
    })
}
