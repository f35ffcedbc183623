//! What a RUN is given from outside (secrets, ssh agents, rights, hosts, limits), by the built program.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use kiln::digest::Digest;

use crate::support;
use crate::support::build_bench::{Bench, Built};

/// Fails if any file below `directory` holds `needle`; returns how many files were looked at.
fn count_without(directory: &Path, needle: &[u8]) -> usize {
    let mut count = 0;
    for entry in walkdir::WalkDir::new(directory) {
        let entry = entry.unwrap();
        assert!(
            !entry.file_name().to_string_lossy().as_bytes().windows(needle.len()).any(|part| part == needle),
            "{}",
            entry.path().display()
        );
        if entry.file_type().is_file() {
            let bytes = std::fs::read(entry.path()).unwrap();
            let found = bytes.windows(needle.len()).any(|part| part == needle);
            assert!(!found, "the secret stands in {}", entry.path().display());
            count += 1;
        }
    }
    count
}

#[test]
fn secrets_are_seen_by_the_command_and_by_nothing_else() {
    const VALUE: &str = "correct-horse-battery-staple";
    let Some(bench) = Bench::new() else { return };
    std::fs::write(bench.at("token"), format!("{VALUE}\n")).unwrap();
    let sum = Digest::of(format!("{VALUE}\n")).hex();
    let sum_of_variable = Digest::of(VALUE).hex();
    let proof = format!(
        "RUN --mount=type=secret,id=token --mount=type=secret,id=variable,env=TOKEN \
         echo \"{sum}  /run/secrets/token\" | sha256sum -c - && \
         test \"$(printf %s $TOKEN | sha256sum)\" = \"{sum_of_variable}  -\" && touch /proved"
    );
    // The second write comes when the first has long been read.
    let show = "RUN --mount=type=secret,id=token --mount=type=secret,id=variable,env=TOKEN \
                cat /run/secrets/token; echo $TOKEN >&2; printf correct-horse; sleep 0.3; echo -battery-staple; false";
    for isolation in ["root", "chroot"] {
        let isolation = format!("--isolation={isolation}");
        let secrets = ["--secret=id=token,src=token", "--secret=id=variable,env=TOKEN_HERE"];
        let run = |lines: &[&str], more: &[&str]| {
            let mut command =
                bench.command(lines, &[&secrets[..], &[&isolation, "--no-cache"], more].concat());
            Built::of(command.env("TOKEN_HERE", VALUE).output().unwrap())
        };
        let image = bench.at(&format!("image-{}", &isolation[12..]));
        let output = format!("--output=type=oci,dest={},tar=false,compression=uncompressed", image.display());
        run(&[&*proof], &[&*output]).says(&["OK"]);
        assert!(count_without(&image, VALUE.as_bytes()) > 3, "the image is empty");
        run(&[&*proof], &[]).says(&["OK"]);
        for progress in ["plain", "rawjson", "auto", "tty", "quiet"] {
            let failed = run(&[&*proof, show], &[&*format!("--progress={progress}")]);
            let failed = failed.fails_with(&["Dockerfile:3", "exit code: 1", "****"]);
            assert!(!failed.text.contains(VALUE), "{progress}: {}", failed.text);
        }
    }
    assert!(count_without(&bench.at("store"), VALUE.as_bytes()) > 3, "the store is empty");
}

#[test]
fn a_secret_has_its_mode_and_owner_and_leaves_nothing_behind() {
    let Some(bench) = Bench::new() else { return };
    std::fs::write(bench.at("a"), "A").unwrap();
    for isolation in ["root", "chroot"] {
        let isolation = format!("--isolation={isolation}");
        bench
            .build(
                &[
                    "RUN --mount=type=secret,id=a --mount=type=secret,id=a,target=/etc/a,mode=0444,uid=5,gid=6 \
                     --mount=type=secret,id=none stat -c '%n %a %u %g %s' /run/secrets/* /etc/a",
                    "RUN --mount=type=secret,id=none,env=NONE test \"${NONE-unset}\" = '' && ! test -e /run/secrets && echo gone",
                ],
                &["--secret=id=a,src=a", &isolation, "--no-cache", "--output=type=tar,dest=files.tar"],
            )
            .says(&["/run/secrets/a 400 0 0 1", "/etc/a 444 5 6 1", "gone"]);
        let names = support::run("tar", ["tf", bench.at("files.tar").to_str().unwrap()]);
        assert!(!names.contains("run/secrets") && !names.contains("etc/a"), "{names}");
    }
}

#[test]
fn a_required_secret_that_is_missing_names_the_line() {
    let Some(bench) = Bench::new() else { return };
    bench.build(&["RUN true", "RUN --mount=type=secret,id=pass,required true"], &[]).fails_with(&[
        "Dockerfile:3",
        "the secret `pass` is required, but was not given",
        "--secret id=pass,src=",
    ]);
    bench
        .build(&["RUN --mount=type=ssh,required true"], &[])
        .fails_with(&["Dockerfile:2", "the ssh agent `default` is required, but was not given"]);
    bench.build(&["RUN --mount=type=ssh echo $SSH_AUTH_SOCK"], &[]).says(&["/run/buildkit/ssh_agent.0"]);
}

#[test]
fn another_value_of_a_secret_is_no_other_step() {
    let Some(bench) = Bench::new() else { return };
    let build = |run: &str, value: &str| {
        let mut command = bench.command(&[run], &["--secret=id=a,env=A"]);
        Built::of(command.env("A", value).output().unwrap())
    };
    let run = "RUN --mount=type=secret,id=a date +%s%N >/made";
    assert!(!build(run, "first-value").says(&[]).text.contains("CACHED"));
    build(run, "second-value").says(&["CACHED"]);
    assert!(!build(&run.replace("id=a", "id=a,mode=0444"), "x").says(&[]).text.contains("CACHED"));
}

/// An agent with one key; ended with the test.
struct Agent {
    process: Child,
    socket: PathBuf,
    fingerprint: String,
}

impl Agent {
    fn start(directory: &Path) -> Self {
        let (key, socket) = (directory.join("key"), directory.join("agent.sock"));
        support::run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", key.to_str().unwrap()]);
        let mut process = Command::new("ssh-agent");
        let process = process.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        while !socket.exists() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let mut add = Command::new("ssh-add");
        assert!(add.arg("-q").arg(&key).env("SSH_AUTH_SOCK", &socket).status().unwrap().success());
        let listed = support::run("ssh-keygen", ["-l", "-f", key.to_str().unwrap()]);
        let fingerprint = listed.split(' ').nth(1).unwrap().to_owned();
        Self { process, socket, fingerprint }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn an_agent_is_asked_for_its_keys_but_keeps_them() {
    support::require!("ssh-agent", "ssh-add", "ssh-keygen", "ldd");
    let Some(bench) = Bench::new() else { return };
    support::copy_with_libraries("ssh-add", &bench.at("context/root"));
    let agent = Agent::start(&bench.at(""));
    let steps = [
        "COPY root /",
        "RUN --mount=type=ssh ssh-add -l && ! ssh-add -D && stat -c 'mode %a %u %g' $SSH_AUTH_SOCK",
        "RUN --mount=type=ssh,id=hub,target=/hub,uid=65534,mode=0600 stat -c 'own %a %u %g' /hub \
         && SSH_AUTH_SOCK=/hub su -s /bin/sh nobody -c 'ssh-add -l'",
        "RUN ! test -e /run/buildkit && ! test -e /hub && echo gone",
    ];
    for isolation in ["root", "chroot"] {
        let hub = format!("--ssh=hub={}", agent.socket.display());
        let isolation = format!("--isolation={isolation}");
        let mut command = bench.command(&steps, &["--ssh=default", &hub, &isolation, "--no-cache"]);
        let built = Built::of(command.env("SSH_AUTH_SOCK", &agent.socket).output().unwrap()).says(&[
            "mode 600 0 0",
            "own 600 65534 0",
            "gone",
        ]);
        assert_eq!(built.text.matches(&agent.fingerprint).count(), 2, "{}", built.text);
    }
    bench.build(&["RUN true"], &["--ssh=default"]).fails_with(&["SSH_AUTH_SOCK is not set"]);
}

#[test]
fn all_rights_are_given_only_where_allowed() {
    let Some(bench) = Bench::new() else { return };
    let steps = [
        "RUN ! mount -t tmpfs none /mnt; grep CapEff /proc/self/status; test -e /dev/loop-control || echo no loops",
        "RUN --security=insecure grep CapEff /proc/self/status | sed s/CapEff/All/; mkdir -p /mnt \
         && mount -t tmpfs none /mnt && umount /mnt && test -e /dev/loop-control && echo mounted",
        "USER nobody",
        "RUN --security=insecure grep CapEff /proc/self/status | sed s/CapEff/Nobody/",
    ];
    bench.build(&steps, &[]).fails_with(&[
        "Dockerfile:3",
        "RUN --security=insecure is not allowed",
        "--allow security.insecure",
    ]);
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("CapPrm:\t")).unwrap().to_owned();
    bench.build(&steps, &["--allow=security.insecure", "--allow=network.host", "--isolation=root"]).says(&[
        "CapEff:\t00000000a80425fb",
        "no loops",
        &format!("All:\t{own}"),
        "mounted",
        &format!("Nobody:\t{own}"),
    ]);
}

#[test]
fn mounts_of_a_command_with_all_rights_end_with_it() {
    let Some(bench) = Bench::new() else { return };
    let mount =
        "RUN --security=insecure mkdir /m && mount -t tmpfs none /m && echo lost >/m/file && echo mounted";
    let see = "RUN test -d /m && ! test -e /m/file && echo empty";
    for isolation in ["--isolation=root", "--isolation=chroot"] {
        bench
            .build(&[mount, see], &["--allow=security.insecure", isolation, "--no-cache"])
            .says(&["mounted", "empty"]);
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(bench.at("").to_str().unwrap()), "{isolation}: {mounts}");
    }
}

#[test]
fn hosts_memory_limits_and_network() {
    let Some(bench) = Bench::new() else { return };
    let steps = ["RUN cat /etc/hosts; df -k /dev/shm; ulimit -n; ulimit -Hn; ls /sys/class/net"];
    let arguments = |address: &'static str| {
        [
            "--add-host",
            address,
            "--shm-size=3m",
            "--ulimit=nofile=100:200",
            "--network=none",
            "--isolation=root",
        ]
    };
    let built = bench.build(&steps, &arguments("db:192.0.2.1"));
    let built = built.says(&["192.0.2.1\tdb", "3072", " 100\n", " 200\n", " lo\n"]);
    assert!(!built.text.contains("eth0"), "{}", built.text);
    // Where a name leads is no part of the step, but which names there are.
    bench.build(&steps, &arguments("db:192.0.2.2")).says(&["CACHED"]);
    let other = bench.build(&steps, &arguments("other:192.0.2.1")).says(&["192.0.2.1\tother"]);
    assert!(!other.text.contains("CACHED"), "{}", other.text);
    bench.build(&steps, &["--add-host=db:host-gateway"]).fails_with(&["host-gateway is not supported"]);
    bench.build(&steps, &["--ulimit=files=1"]).fails_with(&["`files` is no limit"]);
}
