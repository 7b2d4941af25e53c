//! URLs as the store and the key that they mean.

use std::io;
use std::path::Path;

use object_store::path::Path as Key;

use super::unreachable_error;

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Amazon's S3, and what speaks its language.
    S3,
    /// Google Cloud Storage.
    Google,
    /// Azure's blobs.
    Azure,
    /// A web server.
    Http,
}

/// A place in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) kind: Kind,
    /// Scheme and bucket or host: `s3://bucket`.
    pub(super) base: String,
    /// The rest, without a slash at its ends; as it is for a store, percent-encoded for a web server.
    pub(super) key: String,
}

impl Address {
    /// `.` and `..` are resolved, for a store has no such folders.
    pub(super) fn parse(path: &Path) -> io::Result<Self> {
        let wrong = |problem: &str| Err(unreachable_error(problem.into()));
        let Some((scheme, rest)) = path.to_str().and_then(|url| url.split_once("://")) else {
            return wrong("is no URL in UTF-8");
        };
        let kind = match scheme {
            "s3" => Kind::S3,
            "gs" => Kind::Google,
            "az" | "abfs" | "abfss" => Kind::Azure,
            _ => Kind::Http,
        };
        let (host, key) = rest.split_once('/').unwrap_or((rest, ""));
        if host.is_empty() {
            return wrong(
                "has no bucket or host: expected s3://BUCKET/FOLDER, https://HOST/FILE.tar or the like",
            );
        }
        if kind == Kind::Http && (host.contains('@') || key.contains(['?', '#'])) {
            return wrong(
                "has a password, a query or a fragment, which would be written into the records of a run: expected a plain URL",
            );
        }
        let mut parts = Vec::new();
        for part in key.split('/') {
            match part {
                "" | "." => {}
                ".." if parts.pop().is_none() => return wrong("leads out of its bucket or host by `..`"),
                ".." => {}
                part => parts.push(part),
            }
        }
        Ok(Address { kind, base: format!("{scheme}://{host}"), key: parts.join("/") })
    }

    /// As it is shown and looked up.
    pub(super) fn url(&self) -> String {
        if self.key.is_empty() { self.base.clone() } else { format!("{}/{}", self.base, self.key) }
    }

    /// The folder that it lies in.
    pub(super) fn parent(&self) -> Address {
        let key = self.key.rsplit_once('/').map_or("", |(folder, _)| folder);
        Address { key: key.into(), ..self.clone() }
    }

    /// The key as the client takes it.
    pub(super) fn object(&self) -> io::Result<Key> {
        let key = match self.kind {
            Kind::Http => Key::from_url_path(&self.key),
            Kind::S3 | Kind::Google | Kind::Azure => Key::parse(&self.key),
        };
        key.map_err(|e| unreachable_error(format!("is no key that can be asked for: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<(Kind, String, String), String> {
        let address = Address::parse(Path::new(url)).map_err(|e| e.to_string())?;
        Ok((address.kind, address.base.clone(), address.url()))
    }

    #[test]
    fn urls_are_taken_apart_and_put_together() {
        for (url, kind, base, whole) in [
            ("s3://b", Kind::S3, "s3://b", "s3://b"),
            ("s3://b/", Kind::S3, "s3://b", "s3://b"),
            ("gs://b/a b/ü/", Kind::Google, "gs://b", "gs://b/a b/ü"),
            (
                "abfss://c@a.dfs.core.windows.net/k",
                Kind::Azure,
                "abfss://c@a.dfs.core.windows.net",
                "abfss://c@a.dfs.core.windows.net/k",
            ),
            ("http://h:80/x/./y/../z.tar", Kind::Http, "http://h:80", "http://h:80/x/z.tar"),
        ] {
            assert_eq!(parse(url), Ok((kind, base.into(), whole.into())), "{url}");
        }
        for (url, problem) in [
            ("s3://", "no bucket"),
            ("s3:///key", "no bucket"),
            ("s3://b/../c", "leads out"),
            ("https://me:secret@h/x.tar", "a password"),
            ("https://h/x.tar?token=1", "a query"),
        ] {
            assert!(parse(url).unwrap_err().contains(problem), "{url}");
        }
    }

    #[test]
    fn keys_are_as_they_are_and_web_paths_are_decoded() {
        let object = |url: &str| Address::parse(Path::new(url)).unwrap().object().unwrap().to_string();
        assert_eq!(object("s3://b/a%20b/c"), "a%20b/c");
        assert_eq!(object("http://h/a%20b/c"), "a b/c");
    }
}
