//! What `kiln login` and `kiln logout` write: one entry of a credentials file, or what its helper keeps.
//!
//! Everything else in the file stays, byte for byte and in its order: other tools keep their settings there. The file
//! is replaced as a whole, readable by its owner alone.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::super::error::Error;
use super::file::{File, is_filed_under};
use super::{helper, names_of};

/// Where a password went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// Into the file, where whoever can read the file can read it.
    InTheFile,
    /// To this program.
    ByHelper(String),
}

/// Saves the password of a host in a credentials file, or with the helper that the file names for the host.
///
/// # Errors
/// If the file cannot be understood or written, or the helper fails.
pub fn save_login(path: &Path, host: &str, user: &str, password: &str) -> Result<Kept, Error> {
    let text = read(path)?;
    let names = names_of(host);
    let mut document = Document::parse(path, &text)?;
    let (kept, entry) = match File::parse(path, &text)?.helper(&names) {
        Some((program, server)) => {
            helper::store(&program, server, user, password)?;
            // An empty entry, as docker leaves it: the host is listed, its secret is elsewhere.
            (Kept::ByHelper(program), Vec::new())
        }
        None => {
            let auth = STANDARD.encode(format!("{user}:{password}"));
            (Kept::InTheFile, vec![("auth".to_owned(), Node::Text(auth))])
        }
    };
    document.auths().set(names[0], Node::Object(Object(entry)));
    document.write(path)?;
    Ok(kept)
}

/// Removes what a credentials file or its helper keeps for a host; tells whether the file had an entry.
///
/// # Errors
/// If the file cannot be understood or written, or the helper fails.
pub fn erase_login(path: &Path, host: &str) -> Result<bool, Error> {
    let text = read(path)?;
    let names = names_of(host);
    if let Some((program, server)) = File::parse(path, &text)?.helper(&names) {
        helper::erase(&program, server)?;
    }
    let mut document = Document::parse(path, &text)?;
    let entries = &mut document.auths().0;
    let before = entries.len();
    entries.retain(|(key, _)| !names.iter().any(|name| is_filed_under(key, name)));
    let removed = entries.len() < before;
    if removed {
        document.write(path)?;
    }
    Ok(removed)
}

fn read(path: &Path) -> Result<String, Error> {
    match fs_err::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(unusable(path, &error)),
    }
}

fn unusable(path: &Path, error: &std::io::Error) -> Error {
    Error::Config { path: path.to_owned(), line: None, reason: error.kind().to_string() }
}

/// A JSON object in the order in which it was written.
#[derive(Default)]
struct Object(Vec<(String, Node)>);

enum Node {
    /// As it was read.
    Kept(Box<RawValue>),
    Text(String),
    Object(Object),
}

/// A credentials file as a text to be changed.
struct Document(Object);

impl Document {
    fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let mut top = Object::parse(path, text)?;
        for (key, node) in &mut top.0 {
            if let ("auths", Node::Kept(raw)) = (key.as_str(), &*node) {
                *node = Node::Object(Object::parse(path, raw.get())?);
            }
        }
        Ok(Self(top))
    }

    fn auths(&mut self) -> &mut Object {
        let fields = &mut self.0.0;
        let at = fields.iter().position(|(key, node)| key == "auths" && matches!(node, Node::Object(_)));
        let at = at.unwrap_or_else(|| {
            fields.push(("auths".to_owned(), Node::Object(Object::default())));
            fields.len() - 1
        });
        match &mut fields[at].1 {
            Node::Object(object) => object,
            Node::Kept(_) | Node::Text(_) => unreachable!("found or made as an object"),
        }
    }

    /// Replaces the file: a temporary one beside it, renamed over it. A link stays one.
    fn write(&self, path: &Path) -> Result<(), Error> {
        let mut bytes = Vec::new();
        let form = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        self.0
            .serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, form))
            .expect("texts and what was JSON can be written as JSON");
        bytes.push(b'\n');
        replace(&target_of(path), &bytes).map_err(|error| unusable(path, &error))
    }
}

/// Follows a link once, also one that leads to nothing yet.
fn target_of(path: &Path) -> PathBuf {
    let resolved = fs_err::canonicalize(path);
    let dangling = || Some(path.parent()?.join(fs_err::read_link(path).ok()?));
    resolved.ok().or_else(dangling).unwrap_or_else(|| path.to_owned())
}

fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    fs_err::create_dir_all(folder)?;
    // Such a file has the mode 0600 from the beginning.
    let mut file = tempfile::Builder::new().prefix(".config-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    if let Ok(before) = fs_err::metadata(path) {
        // Under sudo the file stays its user's. Whoever may not give it away owns it already.
        let _ = std::os::unix::fs::fchown(file.as_file(), Some(before.uid()), Some(before.gid()));
    }
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

impl Object {
    fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        if matches!(text.trim(), "" | "null") {
            return Ok(Self::default());
        }
        serde_json::from_str(text).map_err(|error| Error::Config {
            path: path.to_owned(),
            line: Some(error.line()),
            reason: "this is no JSON object".into(),
        })
    }

    fn set(&mut self, key: &str, node: Node) {
        match self.0.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = node,
            None => self.0.push((key.to_owned(), node)),
        }
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut fields = Vec::new();
                while let Some((key, raw)) = map.next_entry::<String, Box<RawValue>>()? {
                    fields.push((key, Node::Kept(raw)));
                }
                Ok(Object(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, node) in &self.0 {
            match node {
                Node::Kept(raw) => map.serialize_entry(key, raw)?,
                Node::Text(text) => map.serialize_entry(key, text)?,
                Node::Object(object) => map.serialize_entry(key, object)?,
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::Credentials;
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs_err::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_not_understood_stays_in_its_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let before = "{\n\t\"zeta\": {\"b\": 1.50, \"a\": [1,2]},\n\t\"auths\": {\n\t\t\"b.example\": {\"auth\": \"dTox\", \"email\": \"e\"},\n\t\t\"https://a.example/v1/\": {}\n\t},\n\t\"alpha\": null\n}";
        fs_err::write(&path, before).unwrap();
        assert_eq!(save_login(&path, "c.example", "u", "p:w").unwrap(), Kept::InTheFile);
        let with = "{\n\t\"zeta\": {\"b\": 1.50, \"a\": [1,2]},\n\t\"auths\": {\n\t\t\"b.example\": {\"auth\": \"dTox\", \"email\": \"e\"},\n\t\t\"https://a.example/v1/\": {},\n\t\t\"c.example\": {\n\t\t\t\"auth\": \"dTpwOnc=\"\n\t\t}\n\t},\n\t\"alpha\": null\n}\n";
        assert_eq!(fs_err::read_to_string(&path).unwrap(), with);
        assert_eq!(mode(&path), 0o600);
        assert!(erase_login(&path, "c.example").unwrap());
        assert!(!erase_login(&path, "c.example").unwrap(), "it is gone");
        assert_eq!(fs_err::read_to_string(&path).unwrap(), format!("{before}\n"));
        assert!(erase_login(&path, "a.example").unwrap(), "also in the old form");
    }

    #[test]
    fn docker_hub_is_filed_as_docker_does_and_the_folder_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/config.json");
        save_login(&path, "docker.io", "u", "p").unwrap();
        let text = fs_err::read_to_string(&path).unwrap();
        assert!(text.contains(r#""https://index.docker.io/v1/": {"#), "{text}");
        assert!(
            Credentials::load(std::slice::from_ref(&path))
                .unwrap()
                .find("docker.io", "library/x")
                .unwrap()
                .is_some()
        );
        assert!(erase_login(&path, "docker.io").unwrap());
    }

    #[test]
    fn a_link_stays_one_and_what_is_no_object_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (link, real) = (folder.path().join("config.json"), folder.path().join("real.json"));
        std::os::unix::fs::symlink("real.json", &link).unwrap();
        save_login(&link, "a.example", "u", "p").unwrap();
        save_login(&link, "b.example", "u", "p").unwrap();
        assert!(fs_err::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs_err::read_to_string(&real).unwrap().contains("b.example"));
        fs_err::write(&real, "[s3cret]").unwrap();
        let error = save_login(&link, "a.example", "u", "p").unwrap_err().to_string();
        assert!(!error.contains("s3cret"), "{error}");
        assert_eq!(fs_err::read_to_string(&real).unwrap(), "[s3cret]");
    }
}
