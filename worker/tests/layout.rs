//! How programs are linked (`worker/layout/cc`): what is said to `cc`, which is a script here that says what it hears.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

fn layout() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/layout"))
}

/// What `cc` is told besides `arguments`, without the names of files.
fn added(arguments: &[&str]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let cc = folder.path().join("cc");
    fs::write(&cc, "#!/bin/sh\nprintf '%s\\n' \"$@\"\n").unwrap();
    fs::set_permissions(&cc, fs::Permissions::from_mode(0o700)).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let mut linker = Command::new(layout().join("cc"));
    let output = linker.args(arguments).env("PATH", path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    let said: Vec<&str> = said.lines().collect();
    assert!(said.starts_with(arguments), "{said:?}");
    let without_file =
        |word: &&str| word.split_inclusive("-file=").next().unwrap_or(word).to_owned();
    said[arguments.len()..].iter().map(without_file).collect()
}

#[test]
fn optimized_programs_are_laid_out_and_nothing_else_is_touched() {
    let ordered = ["-no-pie", "-Wl,--symbol-ordering-file=", "-Wl,--no-warn-symbol-ordering"];
    for (case, arguments, expected) in [
        ("a debug program", &["-fuse-ld=lld", "-pie", "a.o"][..], &[][..]),
        ("a library", &["-fuse-ld=lld", "-Wl,-O1", "-shared", "a.o"], &[]),
        ("a program without libraries", &["-fuse-ld=lld", "-Wl,-O1", "-static-pie", "a.o"], &[]),
        ("GNU ld, which is not named", &["-Wl,-O1", "-pie", "a.o"], &["-no-pie"]),
        ("a linker of one's own", &["-fuse-ld=lld", "-Wl,-O1", "-fuse-ld=mold"], &["-no-pie"]),
        ("an optimized program", &["-fuse-ld=lld", "-Wl,-O1", "-pie", "a.o"], &ordered),
    ] {
        assert_eq!(added(arguments), expected, "{case}");
    }
}

/// The functions as they would be named in a program are the functions as the list names them.
#[test]
fn the_list_names_functions_as_the_linker_looks_for_them() {
    let list = layout().join("functions");
    let mut paths = Command::new("awk");
    let output = paths.arg("-f").arg(layout().join("paths.awk")).arg(&list).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let paths = String::from_utf8(output.stdout).unwrap();
    let functions = fs::read_to_string(list).unwrap();
    assert!(functions.lines().count() > 3000, "{} functions", functions.lines().count());
    for (line, function) in paths.lines().zip(functions.lines()) {
        assert_eq!(line, format!("{function}\t{function}"));
    }
}
