use super::super::text::Joined;
use super::*;

fn early(text: &str) -> Result<Mount, String> {
    let line = format!("--mount={text}");
    let mut joined = Joined::default();
    joined.push(0, &line);
    let whole = joined.fragment();
    let value = Spanned::new(text.to_owned(), whole.from("--mount=".len()).span());
    parse(&value, whole, '\\').map_err(|error| format!("{}: {}", &line[error.span.range()], error.message))
}

fn shown(mount: &Mount) -> String {
    let mut parts = vec![name_of(mount.kind).to_owned()];
    let words =
        [("target", &mount.target), ("source", &mount.source), ("id", &mount.id), ("env", &mount.env)];
    parts.extend(
        words.iter().filter_map(|(name, word)| word.as_ref().map(|word| format!("{name}={}", word.raw))),
    );
    parts.extend(mount.from.as_ref().map(|from| format!("from={}", from.value)));
    parts.extend(mount.readonly.map(|readonly| format!("readonly={readonly}")));
    parts.extend(mount.sharing.map(|sharing| format!("{sharing:?}")));
    parts.extend(mount.size.map(|size| format!("size={size}")));
    parts.extend(mount.required.then(|| "required".to_owned()));
    parts.extend(mount.mode.map(|mode| format!("mode={mode:o}")));
    parts.extend(mount.uid.map(|uid| format!("uid={uid}")));
    parts.extend(mount.gid.map(|gid| format!("gid={gid}")));
    parts.extend(mount.late.then(|| "late".to_owned()));
    parts.join(" ")
}

#[test]
fn options_are_read() {
    for (text, expected) in [
        ("target=/a", "bind target=/a"),
        ("type=bind,source=b,DST=/a,rw", "bind target=/a source=b readonly=false"),
        (
            "type=CACHE,target=/c,sharing=Locked,uid=1,gid=2,mode=0750",
            "cache target=/c Locked mode=750 uid=1 gid=2",
        ),
        ("type=tmpfs,target=/t,size=1.5 GiB", "tmpfs target=/t size=1610612736"),
        ("type=tmpfs,target=/t,size=64m", "tmpfs target=/t size=67108864"),
        ("type=secret,id=s,required,env=TOKEN", "secret id=s env=TOKEN required"),
        ("type=secret,id=s,required=0", "secret id=s"),
        ("type=ssh", "ssh"),
        ("from=stage,src=/x,dst=/y,ro=false", "bind target=/y source=/x from=stage readonly=false"),
        ("type=cache,\"target=/a,b\"", "cache target=/a,b"),
        ("type=cache,target=$DIR,id=${ID}", "cache target=$DIR id=${ID}"),
        ("type=$T,target=/a,size=1", "bind target=/a size=1 late"),
        ("type=cache,target=/a,uid=$U", "cache target=/a late"),
        ("from=price$,target=/a", "bind target=/a from=price$"),
    ] {
        assert_eq!(early(text).map(|mount| shown(&mount)), Ok(expected.to_owned()), "for {text}");
    }
}

#[test]
fn mistakes_are_named() {
    for (text, expected) in [
        ("type=tmp,target=/a", "type=tmp: unknown mount type `tmp`"),
        ("target=/a,size=1m", "size=1m: option `size` is not allowed for mounts of type bind"),
        ("size=1m,type=tmpfs", "size=1m: option `size` is not allowed for mounts of type bind"),
        ("target=/a,uid=1", "target=/a,uid=1: option `uid` is not allowed for mounts of type bind"),
        ("type=tmpfs,mode=1", "type=tmpfs,mode=1: option `mode` is not allowed for mounts of type tmpfs"),
        (
            "type=cache,target=/a,required",
            "required: option `required` is not allowed for mounts of type cache",
        ),
        ("type=cache,target=/a,mode=9", "mode=9: invalid value `9` of mount option `mode`"),
        ("type=cache,target=/a,uid=-1", "uid=-1: invalid value `-1` of mount option `uid`"),
        ("target=/a,ro=maybe", "ro=maybe: invalid value `maybe` of mount option `ro`"),
        ("target=/a,nope=1", "nope=1: unknown option `nope` of a mount"),
        ("target=/a,nope", "nope: `nope` is no `name=value` option of a mount"),
        ("from=$x,target=/a", "from=$x: `from` of a mount takes no variables"),
        ("type=secret", "type=secret: a secret mount needs an `id`, a `source` or a `target`"),
        (
            "type=secret,id=a,src=b",
            "type=secret,id=a,src=b: a secret mount takes either `source` or `id`, not both",
        ),
        ("type=secret,id=a,from=b", "type=secret,id=a,from=b: a secret mount takes no `from`"),
        (
            "target=/a,sharing=shared",
            "target=/a,sharing=shared: option `sharing` is not allowed for mounts of type bind",
        ),
        ("target=/a\"b", "target=/a\"b: a quote inside an unquoted option of a mount"),
        ("\"target=/a", "\"target=/a: a quoted option of a mount has no closing quote"),
    ] {
        assert_eq!(early(text).map(|mount| shown(&mount)), Err(expected.to_owned()), "for {text}");
    }
}

#[test]
fn variables_are_filled_in_late() {
    let mount = early("type=$T,target=/$D,sharing=private").unwrap();
    assert!(mount.late);
    let lookup = |name: &str| Some(if name == "T" { "cache" } else { "dir" }.to_owned());
    let mut fill = |value: &str| expand(value, '\\', &lookup, Mode::Word).map(|expansion| expansion.text);
    let full = mount.expanded(&mut fill).unwrap();
    assert_eq!(shown(&full), "cache target=/dir Private");

    let wrong = early("type=$D,target=/a").unwrap().expanded(&mut fill).unwrap_err();
    assert_eq!(wrong.message, "unknown mount type `dir`");
    for text in [
        "type=tmpfs,target=/a,size=$D",
        "target=/a,ro=$D",
        "type=cache,target=/a,mode=$D",
        "type=$D,sharing=shared",
    ] {
        let mut fill = |_: &str| Ok("secret".to_owned());
        let wrong = early(text).unwrap().expanded(&mut fill).unwrap_err();
        assert!(wrong.help.is_some(), "{text}: {}", wrong.message);
    }
}
