//! `kiln image`, `kiln save`, `kiln load`: sessions as a user has them.

use crate::support::kiln::{EPOCH, Kiln, ended};
use crate::support::listing::Image;
use crate::support::validate;

/// Builds two images that need no base, so that everything about them is fixed.
fn project() -> Kiln {
    let kiln = Kiln::new();
    kiln.write("one/Dockerfile", "FROM scratch\nCOPY file /\nENV A=1\nCMD [\"/file\"]\n");
    kiln.write("one/file", "one\n");
    kiln.write("two/Dockerfile", "FROM scratch\nLABEL only=metadata\n");
    for (context, tags) in [("one", ["app:1", "app:latest"].as_slice()), ("two", &["example.org/two:2"])] {
        let mut command = kiln.command();
        command.env("SOURCE_DATE_EPOCH", EPOCH);
        command.args([
            "build",
            "--output",
            "type=image,rewrite-timestamp=true",
            "--platform",
            "linux/amd64",
            context,
        ]);
        for tag in tags {
            command.args(["-t", tag]);
        }
        ended(&mut command).success();
    }
    kiln
}

/// Prints the table without the age, which changes.
fn list(kiln: &Kiln) -> String {
    let line = r"table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedAt}}\t{{.Size}}";
    ended(kiln.command().args(["image", "ls", "--format", line])).success().text().to_owned()
}

#[test]
fn images_are_listed_by_their_names() {
    let kiln = project();
    insta::assert_snapshot!(list(&kiln), @r"
    REPOSITORY        TAG       IMAGE ID       CREATED AT                      SIZE
    app               1         0fa94bff69a1   2023-11-14 22:13:20 +0000 UTC   4B
    app               latest    0fa94bff69a1   2023-11-14 22:13:20 +0000 UTC   4B
    example.org/two   2         a69bb976df50   2023-11-14 22:13:20 +0000 UTC   0B
    ");
    insta::assert_snapshot!(kiln.run("image ls -q").success().text(), @r"
    0fa94bff69a1
    0fa94bff69a1
    a69bb976df50
    ");
    insta::assert_snapshot!(without_tag_time(kiln.run("image inspect app:1").success().text()), @r#"
    [
      {
        "Architecture": "amd64",
        "Author": "",
        "Comment": "buildkit.dockerfile.v0",
        "Config": {
          "ArgsEscaped": true,
          "Cmd": [
            "/file"
          ],
          "Env": [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "A=1"
          ],
          "WorkingDir": "/"
        },
        "Created": "2023-11-14T22:13:20Z",
        "Descriptor": {
          "digest": "sha256:77a989dc7592bbfc6d6f5b52147ae128a9a840bb23945be60272c6bff40a0e33",
          "mediaType": "application/vnd.oci.image.manifest.v1+json",
          "size": 401
        },
        "DockerVersion": "",
        "GraphDriver": {
          "Data": null,
          "Name": "kiln"
        },
        "Id": "sha256:0fa94bff69a1eb524ff16a4a01a54b8764e87d22e6e4ecf340c6dda31c451847",
        "Metadata": {
        },
        "Os": "linux",
        "Parent": "",
        "RepoDigests": [],
        "RepoTags": [
          "app:1",
          "app:latest"
        ],
        "RootFS": {
          "Layers": [
            "sha256:9a52a1bc4f9a293395fcd0d639405ae7af3074de9fee1c21312c767dc9db48c4"
          ],
          "Type": "layers"
        },
        "Size": 4,
        "Variant": ""
      }
    ]
    "#);
    let missing = kiln.run("image inspect app:1 nothing");
    assert_eq!((missing.code, missing.stderr.as_str()), (Some(1), "error: No such image: nothing\n"));
    assert!(missing.text().contains("app:1"), "what is there is shown all the same");
}

/// The time at which an image was named is now.
fn without_tag_time(text: &str) -> String {
    let is_time = |line: &&str| !line.contains("LastTagTime");
    text.lines().filter(is_time).collect::<Vec<_>>().join("\n")
}

#[test]
fn names_are_removed_one_by_one() {
    let kiln = project();
    insta::assert_snapshot!(kiln.run("image rm app:1").success().text(), @r#"Untagged: app:1"#);
    insta::assert_snapshot!(list(&kiln), @r"
    REPOSITORY        TAG       IMAGE ID       CREATED AT                      SIZE
    app               latest    0fa94bff69a1   2023-11-14 22:13:20 +0000 UTC   4B
    example.org/two   2         a69bb976df50   2023-11-14 22:13:20 +0000 UTC   0B
    ");
    let id = kiln.run("image ls -q app").success();
    let id = id.text().lines().next().unwrap().to_owned();
    insta::assert_snapshot!(kiln.run(&format!("image rm {id}")).success().text(), @r"
    Untagged: app:latest
    Deleted: sha256:0fa94bff69a1eb524ff16a4a01a54b8764e87d22e6e4ecf340c6dda31c451847
    ");
    insta::assert_snapshot!(list(&kiln), @r"
    REPOSITORY        TAG       IMAGE ID       CREATED AT                      SIZE
    example.org/two   2         a69bb976df50   2023-11-14 22:13:20 +0000 UTC   0B
    ");
}

#[test]
fn what_is_saved_can_be_loaded() {
    let kiln = project();
    for (form, options) in [("docker", ""), ("oci", " --format oci")] {
        let file = format!("{form}.tar");
        kiln.run(&format!("save{options} -o {file} app:1")).success();
        validate::assert_sound(&kiln.at(&file));
        // On standard output it is the same.
        let output = kiln.run(&format!("save{options} app:1")).success().stdout;
        assert!(output == std::fs::read(kiln.at(&file)).unwrap(), "{form}");

        let other = |line: &str| {
            ended(kiln.command().env("KILN_STORE", kiln.at(form)).args(line.split(' '))).success()
        };
        assert_eq!(other(&format!("load -i {file}")).text(), "Loaded image: app:1\n");
        assert_eq!(
            without_tag_time(other("image inspect app:1").text()),
            {
                // The other store knows one of the names.
                let text = without_tag_time(kiln.run("image inspect app:1").success().text());
                text.replace("app:1\",\n      \"app:latest\"", "app:1\"")
            },
            "{form}"
        );
        other(&format!("save --format oci -o {form}-again.tar app:1"));
        let (first, again) =
            (Image::read(&kiln.at(&file)), Image::read(&kiln.at(&format!("{form}-again.tar"))));
        assert_eq!(first.config, again.config);
        assert_eq!(first.tree().since(&again.tree()), "");
    }
}

/// A loaded image, and one that was built here, are bases by their names.
#[test]
fn images_of_the_store_are_bases() {
    let kiln = project();
    kiln.write("three/Dockerfile", "FROM app:1\nCOPY --from=app /file /copied\n");
    ended(kiln.command().args([
        "build",
        "--platform",
        "linux/amd64",
        "--output",
        "type=oci,dest=three.tar",
        "three",
    ]))
    .success();
    validate::assert_sound(&kiln.at("three.tar"));
    let image = Image::read(&kiln.at("three.tar"));
    let tree = image.tree();
    assert_eq!(tree.0[&b"copied"[..]].text, "one\n");
    assert_eq!(image.config["config"]["Env"].as_array().unwrap().last().unwrap(), "A=1");
}
