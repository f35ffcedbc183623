//! `--secret`: docker's comma-separated `key=value` form, and reading the value.

use std::io::Read as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::str::FromStr;

use kiln::secret::{MAX_SIZE, Secret};

use super::output::split_csv;
use super::report::{Failure, tell};

/// One `--secret`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretArg {
    pub(crate) id: String,
    source: Source,
}

/// Where the value is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    File(PathBuf),
    Variable(String),
    /// In the variable of this name if it is set, else in the file of this name.
    Either(String),
}

impl FromStr for SecretArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut id, mut file, mut variable, mut kind) = (None, None, None, None);
        for field in split_csv(text)? {
            let (key, value) =
                field.split_once('=').ok_or_else(|| format!("`{field}` is not of the form key=value"))?;
            let slot = match key.to_ascii_lowercase().as_str() {
                "id" => &mut id,
                "src" | "source" => &mut file,
                "env" => &mut variable,
                "type" => &mut kind,
                _ => return Err(format!("`{key}` is none of id, src, env, type")),
            };
            *slot = Some(value.to_owned()).filter(|value| !value.is_empty());
        }
        let id = id.ok_or("id= is missing")?;
        let source = match (kind.as_deref(), variable, file) {
            (None | Some("file" | "env"), Some(variable), _) => Source::Variable(variable),
            // As with docker: `type=env,src=NAME`.
            (Some("env"), None, name) => Source::Variable(name.unwrap_or_else(|| id.clone())),
            (None | Some("file"), None, Some(file)) => Source::File(file.into()),
            (Some("file"), None, None) => Source::File(PathBuf::from(&id)),
            (None, None, None) => Source::Either(id.clone()),
            (Some(other), ..) => return Err(format!("type={other} is neither file nor env")),
        };
        Ok(Self { id, source })
    }
}

impl SecretArg {
    /// Reads the value into memory.
    pub(crate) fn read(&self) -> Result<Secret, Failure> {
        let id = &self.id;
        let value = match &self.source {
            Source::File(path) => self.read_file(path.clone())?,
            Source::Variable(name) => match std::env::var_os(name) {
                Some(value) => value.into_vec(),
                None => {
                    tell!("warning: --secret id={id}: the variable `{name}` is not set; the secret is empty");
                    Vec::new()
                }
            },
            Source::Either(name) => match std::env::var_os(name) {
                Some(value) => value.into_vec(),
                None => self.read_file(PathBuf::from(name))?,
            },
        };
        if value.len() > MAX_SIZE {
            return Err(Failure::plain(format!(
                "--secret id={id}: the value has more than {} KiB",
                MAX_SIZE / 1024
            )));
        }
        Ok(Secret::new(value))
    }

    fn read_file(&self, path: PathBuf) -> Result<Vec<u8>, Failure> {
        let explain = |error: std::io::Error| Failure::plain(format!("--secret id={}: {error}", self.id));
        let file = fs_err::File::open(path).map_err(explain)?;
        let mut value = Vec::new();
        // One byte more than allowed is enough to know that it is too much.
        file.take(MAX_SIZE as u64 + 1).read_to_end(&mut value).map_err(explain)?;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_secrets() {
        let file = |path: &str| Source::File(path.into());
        let variable = |name: &str| Source::Variable(name.into());
        for (text, id, source) in [
            ("id=a,src=f", "a", file("f")),
            ("id=a,source=f", "a", file("f")),
            ("type=file,id=a,src=f", "a", file("f")),
            ("type=file,id=a", "a", file("a")),
            ("id=a,env=V", "a", variable("V")),
            ("id=a,type=env", "a", variable("a")),
            ("id=a,type=env,src=V", "a", variable("V")),
            ("ID=a", "a", Source::Either("a".into())),
            (r#"id=a,"src=with,comma""#, "a", file("with,comma")),
        ] {
            assert_eq!(text.parse(), Ok(SecretArg { id: id.into(), source }), "{text}");
        }
        for wrong in ["", "src=f", "id=", "a", "id=a,dst=b", "id=a,type=file2"] {
            assert!(wrong.parse::<SecretArg>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_value_has_a_largest_size() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let argument: SecretArg = format!("id=a,src={}", file.path().display()).parse().unwrap();
        fs_err::write(file.path(), vec![b'x'; MAX_SIZE]).unwrap();
        assert_eq!(argument.read().unwrap().expose().len(), MAX_SIZE);
        fs_err::write(file.path(), vec![b'x'; MAX_SIZE + 1]).unwrap();
        assert!(argument.read().is_err());
    }
}
