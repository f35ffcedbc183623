//! `kiln bench`: what its rows say besides times.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::kiln::Kiln;

fn place() -> Kiln {
    let kiln = Kiln::new();
    for number in 0..20 {
        kiln.write(&format!("files/{}/{number}", number % 3), format!("{number} ").repeat(5000));
    }
    kiln.write("files/.dockerignore", "*\n");
    kiln
}

#[test]
fn a_layer_is_as_long_with_more_threads_and_from_nothing_known() {
    let kiln = place();
    let ended = kiln.run("bench layer files --jobs 2 --repeat 2 --format json --plot plot.svg").success();
    let mut written: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in ended.text().lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let name = row["Name"].as_str().unwrap();
        assert!(row["MBPerSecond"].as_f64().unwrap() > 0.0, "{line}");
        if !name.contains('|') {
            written.entry(name.to_owned()).or_default().push(row["Written"].as_u64().unwrap());
        }
    }
    let lengths = |name: &str| written[name].as_slice();
    for step in ["list", "read", "hash"] {
        assert_eq!(lengths(step), [0, 0], "{step}");
    }
    for name in ["tar", "gzip 1", "gzip 2", "gzip 4", "gzip 6", "gzip 9", "zstd 1", "zstd 3", "zstd 9"] {
        let [one, two] = lengths(name) else { panic!("{name}: {:?}", lengths(name)) };
        assert_eq!(one, two, "{name}");
    }
    assert!(lengths("gzip 6")[0] < lengths("tar")[0]);
    assert_eq!(lengths("cold gzip 4"), lengths("gzip 4"));
    assert_eq!(lengths("cold zstd 3"), lengths("zstd 3"));
    let plot = std::fs::read_to_string(kiln.at("plot.svg")).unwrap();
    assert!(plot.contains(">gzip 6, 2 jobs</text>") && plot.contains(": 21 files, "), "{plot}");
    assert!(!kiln.at("store").exists(), "no store is needed");
}

#[test]
fn a_table_is_shown_unless_something_else_is_asked_for() {
    let table = place().run("bench layer files --jobs 1 --repeat 1").success();
    let header: Vec<&str> = table
        .text()
        .lines()
        .next()
        .unwrap()
        .split("  ")
        .filter(|word| !word.is_empty())
        .map(str::trim)
        .collect();
    assert_eq!(header, ["WHAT", "JOBS", "SECONDS", "CPU S", "MB/S", "FILES/S", "BYTES"]);
    assert!(table.text().lines().any(|line| line.starts_with("cold gzip 4 ")), "{}", table.text());
}

#[test]
fn what_cannot_be_measured_is_said() {
    let kiln = place();
    std::fs::create_dir(kiln.at("empty")).unwrap();
    for (arguments, code, expected) in [
        ("empty", 1, "error: there is nothing to measure in `empty`: no file has a byte\n"),
        (
            "absent",
            1,
            "error: cannot open the build context `absent`: No such file or directory (os error 2)\n",
        ),
    ] {
        let ended = kiln.run(&format!("bench layer {arguments}"));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(code), expected));
    }
    assert_eq!(kiln.run("bench layer files --repeat 0").code, Some(125));
}
