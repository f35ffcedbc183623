use std::fmt::Write as _;
use std::path::Path;

use super::{Deployment, Format, Presence, Surroundings, Tag, read};
use crate::diagnostic::{self, Diagnostic, Source};

/// What lies on the disk of these tests: all below `app/`.
fn presence(path: &Path) -> Presence {
    match path.to_str().unwrap() {
        "app/Dockerfile" | "app/container/Dockerfile" | "app/web.dockerfile" | "/srv/Dockerfile" => {
            Presence::File
        }
        "app" | "app/container" | "app/.." | "app/assets" => Presence::Directory,
        _ => Presence::Nothing,
    }
}

fn outcome(name: &str, text: &str, environment: Option<&str>) -> Result<Deployment, Vec<Diagnostic>> {
    let format = Format::of(name).unwrap();
    let surroundings = Surroundings { directory: Path::new("app"), environment, presence: &presence };
    read(format, &Source::new(name, text), &surroundings)
}

/// Prints what was understood, or the findings as the user reads them.
fn shown(name: &str, text: &str, environment: Option<&str>) -> String {
    let mut out = String::new();
    match outcome(name, text, environment) {
        Ok(deployment) => {
            for image in deployment.images {
                let (kind, tag) = match &image.tag {
                    Tag::Local(tag) => ("local", tag.familiar()),
                    Tag::Registry(tag) => ("registry", tag.familiar()),
                    Tag::None => ("no", "tag".into()),
                };
                let dockerfile = image.dockerfile.as_deref().unwrap_or(Path::new("(the context's)"));
                write!(out, "build {:?}: {kind} {tag}, ", image.name).unwrap();
                write!(out, "{} in {}", dockerfile.display(), image.context.display()).unwrap();
                write!(out, ", {}/{}", image.platform.os, image.platform.architecture).unwrap();
                for (name, value) in image.build_args {
                    write!(out, ", {name}={value}").unwrap();
                }
                if let Some(target) = image.target {
                    write!(out, ", target {target}").unwrap();
                }
                if let Some(ignore) = image.ignore_file {
                    write!(out, ", ignoring by {}", ignore.display()).unwrap();
                }
                out.push('\n');
            }
            for prebuilt in deployment.prebuilt {
                writeln!(out, "exists {:?}: {}", prebuilt.name, prebuilt.image).unwrap();
            }
        }
        Err(findings) => {
            for finding in findings {
                out += &diagnostic::render(&Source::new(name, text), &finding);
            }
        }
    }
    out
}

const WORKER: &str = r#"{
  // The worker.
  "name": "Shop",
  "containers": [
    { "class_name": "Web Front", "image": "./Dockerfile", },
    { "name": "API", "class_name": "Api", "image": "container/Dockerfile", "image_build_context": "..",
      "image_vars": { "VERSION": "1.2", "DEBUG": true, "N": 3 }, /* all
      three */ },
    { "class_name": "Old", "configuration": { "image": "web.dockerfile" } },
    { "class_name": "Ready", "image": "registry.cloudflare.com/abc/ready:1" },
  ],
  "env": {
    "staging": { "containers": [{ "class_name": "Web", "image": "Dockerfile" }] },
    "named": { "name": "other", "containers": [{ "class_name": "Web", "image": "/srv/Dockerfile" }] },
    "bare": {},
  },
}
"#;

#[test]
fn wranglers_containers_are_images() {
    insta::assert_snapshot!(shown("wrangler.jsonc", WORKER, None), @r#"
    build "shop-web-front": local shop-web-front:latest, app/Dockerfile in app, linux/amd64
    build "api": local api:latest, app/container/Dockerfile in app/.., linux/amd64, DEBUG=true, N=3, VERSION=1.2
    build "shop-old": local shop-old:latest, app/web.dockerfile in app, linux/amd64
    exists "shop-ready": registry.cloudflare.com/abc/ready:1
    "#);
}

#[test]
fn an_environment_has_containers_of_its_own() {
    insta::assert_snapshot!(shown("wrangler.json", WORKER, Some("staging")), @r#"build "shop-web-staging": local shop-web-staging:latest, app/Dockerfile in app, linux/amd64"#);
    insta::assert_snapshot!(shown("wrangler.json", WORKER, Some("named")), @r#"build "other-web-named": local other-web-named:latest, /srv/Dockerfile in /srv, linux/amd64"#);
    insta::assert_snapshot!(shown("wrangler.json", WORKER, Some("bare")), @r#"
    error: `containers` stands at the top level only, and `env.bare` does not inherit it
     --> wrangler.json:4:3
      |
    4 |   "containers": [
      |   ^^^^^^^^^^^^
      = help: repeat it below `env.bare`
    "#);
    insta::assert_snapshot!(shown("wrangler.json", WORKER, Some("stagin")), @r#"
    error: the file has no environment `stagin`
      --> wrangler.json:12:3
       |
    12 |   "env": {
       |   ^^^^^
       = help: did you mean `staging`?
    "#);
}

#[test]
fn wranglers_toml_says_the_same() {
    let text = "name = \"shop\"\n\n[[containers]]\nclass_name = \"Web\"\nimage = \"./Dockerfile\"\nimage_vars = { A = \"b\" }\n\n[[env.staging.containers]]\nclass_name = \"Web\"\nimage = \"container/Dockerfile\"\n";
    insta::assert_snapshot!(shown("wrangler.toml", text, None), @r#"build "shop-web": local shop-web:latest, app/Dockerfile in app, linux/amd64, A=b"#);
    insta::assert_snapshot!(shown("wrangler.toml", text, Some("staging")), @r#"build "shop-web-staging": local shop-web-staging:latest, app/container/Dockerfile in app/container, linux/amd64"#);
}

#[test]
fn all_mistakes_of_a_wrangler_file_are_shown_at_once() {
    let text = r#"{
  "containers": [
    { "class_name": "NoWorkerName", "image": "Dockerfile" },
    { "name": "a", "image": "container/" },
    { "name": "b", "image": "Dokerfile" },
    { "name": "c", "image": "https://docker.io/httpd:1" },
    { "name": "d" },
    { "name": "e", "image": 5 },
    { "name": "a b", "image": "Dockerfile" },
    { "name": "f", "image": "Dockerfile", "image_build_context": "nowhere" },
    { "name": "g", "image": "Dockerfile", "image_vars": { "A": ["b"] } },
    { "name": "h", "scheduling_policy": "durable_object", "images": {} },
    { "name": "twice", "image": "Dockerfile" },
    { "name": "Twice", "image": "Dockerfile" }
  ]
}
"#;
    insta::assert_snapshot!(shown("wrangler.jsonc", text, None));
}

#[test]
fn fly_builds_one_image_in_the_files_directory() {
    let text = "app = \"shop-1\"\nprimary_region = \"ams\"\n\n[build]\ndockerfile = \"./container/Dockerfile\"\nignorefile = \"fly.ignore\"\nbuild-target = \"prod\"\n\n[build.args]\nVERSION = \"1\"\n\n[env]\nPORT = \"8080\"\n";
    insta::assert_snapshot!(shown("fly.toml", text, None), @r#"build "shop-1": registry registry.fly.io/shop-1:latest, app/container/Dockerfile in app, linux/amd64, VERSION=1, target prod, ignoring by app/fly.ignore"#);
    insta::assert_snapshot!(shown("fly.toml", "app = 'shop'\n", None), @r#"build "shop": registry registry.fly.io/shop:latest, (the context's) in app, linux/amd64"#);
    insta::assert_snapshot!(shown("fly.toml", "[build]\nbuild_target = 'x'\n", None), @r#"build "": no tag, (the context's) in app, linux/amd64, target x"#);
    insta::assert_snapshot!(shown("fly.staging.toml", "app = 'shop'\n[build]\nimage = 'nginx:1'\nbuilder = 'x'\n", None), @r#"exists "shop": nginx:1"#);
}

#[test]
fn what_fly_builds_otherwise_is_refused_by_name() {
    for (key, value) in
        [("builder", "'b'"), ("buildpacks", "['p']"), ("builtin", "'deno'"), ("compose", "{ file = 'c' }")]
    {
        let shown = shown("fly.toml", &format!("app = 'a'\n[build]\n{key} = {value}\n"), None);
        assert!(shown.starts_with(&format!("error: `{key}` asks for ")), "{shown}");
        assert!(shown.contains("fly.toml:3:1"), "{shown}");
    }
    insta::assert_snapshot!(shown("fly.toml", "[build]\ndockerfile = 'https://a.example/Dockerfile'\n", None), @r"
    error: kiln does not read a Dockerfile from an address
     --> fly.toml:2:14
      |
    2 | dockerfile = 'https://a.example/Dockerfile'
      |              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: download it, and name the file
    ");
    insta::assert_snapshot!(shown("fly.toml", "app = 'a'\n[build.args]\nN = 1\n", None), @r"
    error: `N` must be a string
     --> fly.toml:3:5
      |
    3 | N = 1
      |     ^
      = help: write it in double quotes
    ");
}

#[test]
fn texts_that_are_no_documents() {
    insta::assert_snapshot!(shown("wrangler.jsonc", "{\n  \"name\": \"a\"\n  \"main\": \"b\"\n}\n", None), @r#"
    error: the file is not JSON: expected comma
     --> wrangler.jsonc:2:14
      |
    2 |   "name": "a"
      |              ^
      = help: comments and trailing commas are allowed, everything else as in JSON
    "#);
    insta::assert_snapshot!(shown("wrangler.jsonc", "", None), @r"
    error: the file is empty
     --> wrangler.jsonc:1:1
      |
    1 |
      | ^
    ");
    insta::assert_snapshot!(shown("wrangler.jsonc", "\u{feff}{ 'name': 1 }", None), @r"
    error: the file is not JSON: single-quoted strings are not allowed
     --> wrangler.jsonc:1:3
      |
    1 | { 'name': 1 }
      |   ^
      = help: comments and trailing commas are allowed, everything else as in JSON
    ");
    insta::assert_snapshot!(shown("wrangler.toml", "name = \"a\"\nmain = b\n", None), @r"
    error: the file is not TOML: string values must be quoted, expected literal string
     --> wrangler.toml:2:8
      |
    2 | main = b
      |        ^
    ");
    insta::assert_snapshot!(shown("wrangler.json", "{ \"name\": \"a\" }", None), @r#"
    error: the file has no `containers`: there is nothing to build
     --> wrangler.json:1:1
      |
    1 | { "name": "a" }
      | ^
      = help: add a container whose `image` names a Dockerfile
    "#);
    insta::assert_snapshot!(shown("fly.toml", "app = 1\n", None), @r"
    error: `app` must be a string
     --> fly.toml:1:7
      |
    1 | app = 1
      |       ^
      = help: write it in double quotes
    ");
}

#[test]
fn a_byte_order_mark_moves_no_span() {
    let text = "\u{feff}{ \"containers\": 5 }";
    let findings = outcome("wrangler.json", text, None).unwrap_err();
    assert_eq!(&text[findings[0].span.range()], "5");
    assert!(outcome("fly.toml", "\u{feff}app = 'a'\n", None).is_ok());
}

#[test]
fn names_of_files_say_whose_they_are() {
    for (name, expected) in [
        ("wrangler.jsonc", Some(Format::WranglerJson)),
        ("wrangler.json", Some(Format::WranglerJson)),
        ("wrangler.staging.jsonc", Some(Format::WranglerJson)),
        ("wrangler.toml", Some(Format::WranglerToml)),
        ("fly.toml", Some(Format::Fly)),
        ("fly.production.toml", Some(Format::Fly)),
        ("fly.json", None),
        ("app.toml", None),
        ("wrangler", None),
    ] {
        assert_eq!(Format::of(name), expected, "{name}");
    }
    assert!(super::FILE_NAMES.iter().all(|name| Format::of(name).is_some()));
}

proptest::proptest! {
    #[test]
    fn no_text_is_too_strange(text in "[\\[\\]{}\"a:=,.\n#/* 1é\u{feff}-]{0,40}") {
        for name in super::FILE_NAMES {
            for finding in outcome(name, &text, None).err().into_iter().flatten() {
                let rendered = diagnostic::render(&Source::new(name, &*text), &finding);
                proptest::prop_assert!(rendered.starts_with("error: "));
                proptest::prop_assert!(finding.span.end <= text.len(), "{:?}", finding);
            }
        }
    }
}
