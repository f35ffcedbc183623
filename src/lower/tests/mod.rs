//! Whole files: every `testdata/lower/*.Dockerfile` is lowered with the options and images of the JSON file
//! beside it (if there is one); the plan's text and the findings are a snapshot.

mod laws;
mod statements;
mod support;

use crate::diagnostic::{Diagnostic, Source, render};

use support::Case;

fn rendered(source: &Source, diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|diagnostic| render(source, diagnostic)).collect()
}

#[test]
fn whole_files() {
    let cases = Case::all();
    assert!(cases.len() > 10, "the test data is missing");
    for case in cases {
        let shown = match case.lower() {
            Ok((graph, warnings)) => crate::graph::plan::text(&graph) + &rendered(&case.source, &warnings),
            Err(findings) => rendered(&case.source, &findings),
        };
        insta::with_settings!({
            snapshot_path => "../../../testdata/lower",
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_snapshot!(case.name, shown);
        });
    }
}
