//! Where a redirect leads (reliability.md D4): to http or https only, and credentials stay with their origin.
//!
//! Which addresses it may lead to is [`crate::networks`]'s rule, once the next host is resolved.

use super::HttpError;
use url::Url;

/// The next URL. Credentials in `url` go on to the same scheme, host and port only; credentials that the redirect brings
/// are dropped: nobody else says who we are.
pub(crate) fn redirect(url: &Url, location: &str) -> Result<Url, HttpError> {
    let mut next = url.join(location).map_err(|_| HttpError::Url { url: location.to_owned() })?;
    if !matches!(next.scheme(), "http" | "https") {
        return Err(HttpError::Scheme { scheme: next.scheme().to_owned() });
    }
    let (user, password) = match next.origin() == url.origin() {
        true => (url.username(), url.password()),
        false => ("", None),
    };
    // Both fail for URLs without a host, and an http URL has one.
    let _ = next.set_username(user);
    let _ = next.set_password(password);
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_to_http_only_and_credentials_stay_with_their_origin() {
        let from = Url::parse("https://me:secret@t.example/announce?key=1").unwrap();
        for (location, expected) in [
            ("/other?x", Some("https://me:secret@t.example/other?x")),
            ("https://t.example/b", Some("https://me:secret@t.example/b")),
            ("https://t.example:443/b", Some("https://me:secret@t.example/b")),
            ("https://t.example:8443/b", Some("https://t.example:8443/b")),
            ("http://t.example/b", Some("http://t.example/b")),
            ("//u.example/b", Some("https://u.example/b")),
            ("https://eve:pw@u.example/b", Some("https://u.example/b")),
            ("https://eve:pw@t.example/b", Some("https://me:secret@t.example/b")),
            ("file:///etc/passwd", None),
            ("ftp://u.example/", None),
            ("gopher://u.example/", None),
            ("javascript:alert(1)", None),
            ("http://", None),
        ] {
            let next = redirect(&from, location).ok();
            assert_eq!(next.as_ref().map(Url::as_str), expected, "{location}");
        }
    }
}
