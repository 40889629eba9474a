//! RouteMQ in Python, the framework that this one replaces: installed from PyPI into a virtual environment, pinned.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::Order;
use crate::error::{BenchError, Context as _};

/// The release, and what it needs today to be installed.
const PACKAGES: [&str; 3] = ["routemq==0.25.0", "SQLAlchemy<2.1", "greenlet"];
/// Names of an interpreter that is new enough (3.12), after what the variable PYTHON names.
const INTERPRETERS: [&str; 4] = ["python3.14", "python3.13", "python3.12", "python3"];

/// The command that runs the framework against the broker of `order`.
pub(super) fn command(order: &Order) -> Result<Command, BenchError> {
    let folder = PathBuf::from("target/bench-python");
    install(&folder)?;
    let app = folder.join("application/app/routers");
    fs::create_dir_all(&app).context("no folder for the Python application")?;
    for (file, text) in [
        ("application/app/__init__.py", ""),
        ("application/app/routers/__init__.py", ""),
        ("application/app/routers/bench.py", include_str!("../../python/routes.py")),
    ] {
        fs::write(folder.join(file), text).context("the Python application is not written")?;
    }
    fs::write(&order.progress, [0; 16]).context("no progress file")?;
    let folder = folder.canonicalize().context("no folder for the Python application")?;
    let mut command = Command::new(folder.join("environment/bin/routemq"));
    command.arg("run").current_dir(folder.join("application"));
    for (name, value) in [
        ("MQTT_BROKER", "127.0.0.1".to_owned()),
        ("MQTT_PORT", order.port.to_string()),
        ("LOG_LEVEL", "ERROR".to_owned()),
        ("ENABLE_REDIS", "false".to_owned()),
        ("PYTHONPATH", ".".to_owned()),
        ("BENCH_QOS", order.qos.to_string()),
        ("BENCH_PROGRESS", order.progress.display().to_string()),
    ] {
        command.env(name, value);
    }
    command.envs(database(order)?);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command)
}

/// Where rows go, as the framework is told.
fn database(order: &Order) -> Result<Vec<(&'static str, String)>, BenchError> {
    let Some(url) = &order.database else {
        return Ok(vec![("ENABLE_MYSQL", "false".to_owned())]);
    };
    let parts = url.strip_prefix("mysql://").and_then(|rest| {
        let (user, rest) = rest.split_once('@')?;
        let (address, name) = rest.split_once('/')?;
        Some((user.split_once(':')?, address.split_once(':')?, name))
    });
    let ((user, password), (host, port), name) =
        parts.ok_or_else(|| BenchError::Wrong(format!("{url} is no URL of a database")))?;
    let variables = [
        ("ENABLE_MYSQL", "true"),
        ("DB_HOST", host),
        ("DB_PORT", port),
        ("DB_NAME", name),
        ("DB_USER", user),
        ("DB_PASS", password),
    ];
    Ok(variables.map(|(variable, value)| (variable, value.to_owned())).into())
}

/// Once; afterwards nothing is fetched. An environment that was left half installed, or was moved, is made anew.
fn install(folder: &Path) -> Result<(), BenchError> {
    let environment = folder.join("environment");
    if succeeds(Command::new(environment.join("bin/routemq")).arg("--help")) {
        return Ok(());
    }
    let given = std::env::var("PYTHON").into_iter();
    let mut names = given.chain(INTERPRETERS.map(str::to_owned));
    let interpreter = names.find(|name| is_new_enough(name));
    let interpreter = interpreter.ok_or_else(|| absent("Python 3.12 or later (PYTHON=PATH)"))?;
    fs::create_dir_all(folder).context("no folder for Python")?;
    if !succeeds(Command::new(interpreter).args(["-m", "venv", "--clear"]).arg(&environment)) {
        return Err(absent("the venv module of Python"));
    }
    let mut pip = Command::new(environment.join("bin/pip"));
    if succeeds(pip.args(["install", "--quiet"]).args(PACKAGES)) {
        return Ok(());
    }
    Err(absent("routemq 0.25.0 on PyPI"))
}

fn is_new_enough(interpreter: &str) -> bool {
    let test = "import sys; sys.exit(sys.version_info < (3, 12))";
    succeeds(Command::new(interpreter).args(["-c", test]))
}

/// What it says is nobody's business: the caller says what it means.
fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn absent(what: &str) -> BenchError {
    BenchError::Absent(format!("{what}, which the Python framework needs"))
}
