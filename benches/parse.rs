//! From the text of a long Dockerfile to the graph of its build: `cargo bench --bench parse`.
//!
//! Two thousand lines with what real files have: stages, build arguments, long RUNs over several lines,
//! here-documents, copies between stages and metadata. The goal is less than 10 ms for all of it.

use std::fmt::Write as _;

use divan::{Bencher, black_box};
use kiln::diagnostic::Source;
use kiln::dockerfile::parse;
use kiln::lower::{Bases, Lowered, Options, lower};
use kiln::oci::Platform;

const LINES: usize = 2000;

fn main() {
    divan::main();
}

/// Every stage has twenty lines; ten stand on one another, and each such tower copies from the one before.
fn text() -> String {
    let mut text = String::from("ARG VERSION=1.2\n");
    for stage in 0..LINES / 20 {
        let below = if stage % 10 == 0 { "scratch".to_owned() } else { format!("s{}", stage - 1) };
        let earlier =
            if stage < 10 { ".".to_owned() } else { format!("--from=s{} /opt", stage - stage % 10 - 1) };
        let _ = write!(
            text,
            r#"FROM {below} AS s{stage}
ARG VERSION
ARG FLAVOR=plain
ENV PREFIX=/opt/s{stage} PATH="/opt/s{stage}/bin:${{PATH:-/bin}}"
ENV NAME=${{PREFIX##*/}}-${{VERSION%.*}}
LABEL org.example.stage="{stage}" \
      org.example.version="${{VERSION}}"
WORKDIR ${{PREFIX}}
COPY {earlier} /opt
RUN set -eux; \
    ./configure --prefix="$PREFIX" --flavor=$FLAVOR; \
    # A comment inside.
    make -j"$(nproc)" install
COPY --chown=1000:1000 src/ lib/*.c ./src/
RUN <<EOF
echo $NAME
make check
EOF
USER 1000
EXPOSE 80/tcp 443
CMD ["server", "--stage", "{stage}"]
"#
        );
    }
    text
}

#[divan::bench]
fn parses(bencher: Bencher<'_, '_>) {
    let source = Source::new("Dockerfile", text());
    bencher.bench(|| parse(black_box(source.clone())));
}

#[divan::bench]
fn parses_and_lowers(bencher: Bencher<'_, '_>) {
    let source = Source::new("Dockerfile", text());
    let options = Options::new(Platform::host());
    bencher.bench(|| {
        let file = parse(black_box(source.clone())).dockerfile.expect("the file is sound");
        let lowered = lower(&file, &options, &Bases::default()).expect("the file is sound");
        assert!(matches!(lowered, Lowered::Done { .. }), "it needs no base");
        lowered
    });
}
