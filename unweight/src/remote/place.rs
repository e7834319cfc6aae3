//! Places of objects: URLs, and how messages name them.

use std::path::PathBuf;
use std::{fmt, io};

use object_store::path::Path;
use url::Url;

use super::problem::{RemoteError, RemoteProblem};

/// The scheme of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    S3,
    Gcs,
    Azure,
    Http,
    File,
}

/// The place of an object. It has no `Debug`: its query may be a signature.
pub(super) struct Place {
    pub(super) scheme: Scheme,
    pub(super) url: Url,
}

impl Place {
    /// Checks the form of a URL.
    ///
    /// # Errors
    /// A [`RemoteError`], which has nothing of a text that is no URL.
    pub(super) fn parse(text: &str) -> io::Result<Place> {
        let refused = |shown: &str, why| RemoteError::at(shown, RemoteProblem::Url(why));
        let Ok(url) = Url::parse(text) else {
            return Err(refused(
                "URL",
                "it cannot be parsed; expected scheme://bucket/key",
            ));
        };
        let scheme = match url.scheme() {
            "s3" | "s3a" => Scheme::S3,
            "gs" => Scheme::Gcs,
            "az" | "azure" | "abfs" | "abfss" => Scheme::Azure,
            "http" | "https" => Scheme::Http,
            "file" => Scheme::File,
            _ => {
                let why = "expected the scheme s3, gs, az, https, http or file";
                return Err(refused(&shown(&url), why));
            }
        };
        let place = Place { scheme, url };
        place
            .require_form()
            .map_err(|why| refused(&place.shown(), why))?;
        Ok(place)
    }

    fn require_form(&self) -> Result<(), &'static str> {
        let Place { scheme, url } = self;
        let is_abfs = url.scheme().starts_with("abfs");
        if url.password().is_some() || !(url.username().is_empty() || is_abfs) {
            return Err("it has a user name or a password; use a signed URL instead");
        }
        if *scheme != Scheme::Http && url.query().is_some() {
            return Err("only http and https URLs may have a query; write ? as %3F");
        }
        if url.fragment().is_some() {
            return Err("it has a fragment; write # as %23");
        }
        if *scheme != Scheme::File && !url.has_host() {
            return Err("expected scheme://bucket/key");
        }
        match url.path().trim_matches('/') {
            "" => Err("it names no object; add a path"),
            _ => Ok(()),
        }
    }

    /// The path of the object in its bucket or on its server.
    pub(super) fn path(&self) -> Result<Path, RemoteProblem> {
        let path = Path::from_url_path(self.url.path());
        path.map_err(|_| RemoteProblem::Url("its path has an empty part, `.` or `..`"))
    }

    /// The path of a `file` URL.
    pub(super) fn local_path(&self) -> io::Result<PathBuf> {
        let why = RemoteProblem::Url("expected file:///path of this machine");
        let path = self.url.to_file_path();
        path.map_err(|()| RemoteError::at(&self.shown(), why))
    }

    /// The place for messages.
    pub(super) fn shown(&self) -> String {
        shown(&self.url)
    }
}

/// A URL without user, password, query and fragment. Control characters are encoded in URLs.
fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map_or(String::new(), |port| format!(":{port}"));
    let path: &dyn fmt::Display = &url.path();
    format!("{}://{host}{port}{path}", url.scheme())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_places_without_secrets() {
        let shown = |url: &str| Place::parse(url).unwrap().shown();
        assert_eq!(shown("s3://bucket/a/b.unw"), "s3://bucket/a/b.unw");
        let signed = "https://host:8443/a.unw?X-Amz-Signature=secret";
        assert_eq!(shown(signed), "https://host:8443/a.unw");
        assert_eq!(shown("file:///a/b.unw"), "file:///a/b.unw");
    }

    #[test]
    fn refuses_urls_that_name_no_object_and_keeps_their_secrets() {
        for url in [
            "https://user:secret@host/a",
            "https://secret@host/a",
            "s3://bucket/a?secret",
            "s3://bucket/a#secret",
            "https://host:secret/a",
            "ftp://user:secret@host/a",
            "s3://bucket",
            "s3:///key",
            "https://host/",
        ] {
            let Err(error) = Place::parse(url) else {
                panic!("accepts {url}");
            };
            assert!(
                !format!("{error} {error:?}").contains("secret"),
                "{error:?}"
            );
        }
    }
}
