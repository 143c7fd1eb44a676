//! The way in: to whom we say who we are, before a registry lets us have anything.
//!
//! A registry that is not for everybody answers the first question with a challenge. *Basic* wants a name and a password
//! with every request. *Bearer* names an address, the realm, at which one gets a token for them that is good for a while;
//! the password then goes nowhere else. Docker's own registry does so: its tokens are from another host.
//!
//! But that address is a stranger's word. Who follows it anywhere sends passwords to whoever is named there, or without
//! TLS to everybody between; and fetches for the registry what only this host reaches, such as the keys that clouds keep
//! for their machines at 169.254.169.254, and hands it over as a token. Clients had these holes for years (CVE-2020-15157,
//! GHSA-xf85-363p-868w). So here the realm is asked without TLS only where the registry is, is not inside this host unless
//! the registry is, sends us nowhere else; and is told only a password that is for it: that of the registry, if it is the
//! registry's host or in its domain, or its own.
//!
//! Man page: the distribution project's "Token Authentication Specification". Look at it:
//! `curl -i https://HOST/v2/`

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use http_auth::{ChallengeParser, ChallengeRef};
use oci_client::RegistryOperation;
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_spec::distribution::Reference;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;

use crate::credentials::{self, Credentials};
use crate::refusal::tame;
use crate::remote::USER_AGENT;

/// As long as a token is good that does not say how long.
const GOOD_FOR: u64 = 60;
/// One that says it is good for longer is asked for again after this.
const LONGEST: u64 = 3600;
/// So often may an address of the registry's lead to another one of its own.
const MOST_REDIRECTS: usize = 5;

/// Why we do not come in.
#[derive(Debug)]
pub(crate) enum Wrong {
    /// What the registry did, or what is between.
    Client(OciDistributionError),
    /// What we do not do, in words of ours.
    Told(String),
}

impl From<reqwest::Error> for Wrong {
    fn from(error: reqwest::Error) -> Self {
        Self::Client(error.into())
    }
}

/// What opens the door, and for how long.
pub(crate) struct Pass {
    pub(crate) auth: RegistryAuth,
    /// `None`: for ever.
    pub(crate) good_for: Option<Duration>,
}

/// Before which door we stand.
pub(crate) struct Entrance<'a> {
    pub(crate) name: &'a Reference,
    /// It is asked without TLS.
    pub(crate) plain: bool,
    /// It is on this host.
    pub(crate) here: bool,
    pub(crate) connect: Duration,
    pub(crate) credentials: Option<&'a Credentials>,
}

/// What it wants.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Nothing,
    Basic,
    Bearer { realm: String, service: Option<String> },
}

/// What a token server answers: it has two words for the same.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Entrance<'_> {
    /// Asks for a way in.
    ///
    /// # Errors
    /// See [`Wrong`].
    pub(crate) async fn pass(&self, what: RegistryOperation) -> Result<Pass, Wrong> {
        let client = self.client()?;
        let registry = self.url()?;
        let answer = client.get(registry.join("v2/").map_err(words)?).send().await?;
        let forever = |auth| Ok(Pass { auth, good_for: None });
        match challenge(answer.headers()) {
            Challenge::Bearer { realm, service } => {
                let realm = self.realm(&realm, &registry).map_err(words)?;
                let known = self.known_to(&realm, &registry).await?;
                let scope = match what {
                    RegistryOperation::Pull => format!("repository:{}:pull", self.name.repository()),
                    RegistryOperation::Push => format!("repository:{}:pull,push", self.name.repository()),
                };
                let mut asked = client.get(realm.clone()).query(&[("scope", scope)]);
                if let Some(service) = service {
                    asked = asked.query(&[("service", service)]);
                }
                if let Some(Credentials { user, password, .. }) = &known {
                    asked = asked.basic_auth(user, Some(password));
                }
                token(&realm, asked.send().await?).await
            }
            Challenge::Basic if self.credentials.is_some() => forever(basic(self.credentials)),
            Challenge::Nothing if answer.status().is_redirection() && self.credentials.is_some() => {
                Err(words("it sends us to another host, for which the credentials are not (name that host)"))
            }
            Challenge::Basic | Challenge::Nothing => forever(RegistryAuth::Anonymous),
        }
    }

    /// One that goes nowhere else by itself.
    fn client(&self) -> Result<Client, Wrong> {
        let policy = Policy::custom(|attempt: Attempt<'_>| {
            let same = attempt.previous().first().is_some_and(|first| {
                first.host_str() == attempt.url().host_str() && first.scheme() == attempt.url().scheme()
            });
            match same && attempt.previous().len() <= MOST_REDIRECTS {
                true => attempt.follow(),
                false => attempt.stop(),
            }
        });
        let client = Client::builder().user_agent(USER_AGENT).connect_timeout(self.connect).redirect(policy);
        Ok(client.build()?)
    }

    fn url(&self) -> Result<Url, Wrong> {
        let scheme = if self.plain { "http" } else { "https" };
        Url::parse(&format!("{scheme}://{}/", self.name.resolve_registry())).map_err(words)
    }

    /// The realm, if we go there.
    fn realm(&self, realm: &str, registry: &Url) -> Result<Url, String> {
        let wrong = |why: &str| Err(format!("its tokens are from {}, {why}", tame(realm)));
        let Ok(url) = Url::parse(realm) else { return wrong("which is no address") };
        let Some(host) = url.host_str() else { return wrong("which is no address of a host's") };
        if !url.username().is_empty() || url.password().is_some() {
            return wrong("where another name is given than ours");
        }
        match url.scheme() {
            "https" => {}
            "http" if self.plain => {}
            _ => return wrong("which is not asked by TLS, as the registry is"),
        }
        if is_inside(host) && !self.here && Some(host) != registry.host_str() {
            return wrong("which is inside this host or beside it, and the registry is not");
        }
        Ok(url)
    }

    /// Who we are to the realm.
    async fn known_to(&self, realm: &Url, registry: &Url) -> Result<Option<Credentials>, Wrong> {
        let Some(known) = self.credentials else { return Ok(None) };
        let (Some(there), Some(host)) = (realm.host_str(), registry.host_str()) else { return Ok(None) };
        if is_its_own(there, host) {
            return Ok(Some(known.clone()));
        }
        let address = realm.port().map_or_else(|| there.to_owned(), |port| format!("{there}:{port}"));
        let place = Reference::with_tag(address, self.name.repository().to_owned(), "latest".to_owned());
        credentials::find(&place).await.map_err(words)?.map(Some).ok_or_else(|| {
            words(format!(
                "its tokens are from {}, and the credentials from {} are not for that host (log in there too, if it is to \
                 have them)",
                tame(there),
                known.from.display()
            ))
        })
    }
}

fn basic(known: Option<&Credentials>) -> RegistryAuth {
    known.map_or(RegistryAuth::Anonymous, |known| {
        RegistryAuth::Basic(known.user.clone(), known.password.clone())
    })
}

/// The first that we understand; a token rather than the password.
fn challenge(headers: &HeaderMap) -> Challenge {
    let lines = headers.get_all(WWW_AUTHENTICATE).into_iter().filter_map(|line| line.to_str().ok());
    let all: Vec<ChallengeRef<'_>> = lines.flat_map(|line| ChallengeParser::new(line).flatten()).collect();
    let is = |scheme: &'static str| move |it: &&ChallengeRef<'_>| it.scheme.eq_ignore_ascii_case(scheme);
    let bearer = all.iter().filter(is("Bearer")).find_map(|it| {
        let parameter = |name: &str| {
            let mut all = it.params.iter();
            all.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_unescaped())
        };
        Some(Challenge::Bearer { realm: parameter("realm")?, service: parameter("service") })
    });
    bearer.unwrap_or_else(|| match all.iter().any(|it| is("Basic")(&it)) {
        true => Challenge::Basic,
        false => Challenge::Nothing,
    })
}

async fn token(realm: &Url, answer: Response) -> Result<Pass, Wrong> {
    let host = tame(realm.host_str().unwrap_or_default());
    match answer.status() {
        StatusCode::OK => {}
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            let (code, url, message) = (status.as_u16(), String::new(), String::new());
            return Err(Wrong::Client(OciDistributionError::ServerError { code, url, message }));
        }
        status => return Err(words(format!("{host}, asked for a token, answers {}", status.as_u16()))),
    }
    let not_understood = || words(format!("{host}, asked for a token, answers what is none"));
    let text = answer.bytes().await?;
    let Answer { token, access_token, expires_in } =
        serde_json::from_slice(&text).map_err(|_| not_understood())?;
    let token = token.or(access_token).filter(|token| !token.is_empty());
    // It becomes a line of a request.
    let token = token.filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic()));
    Ok(Pass {
        auth: RegistryAuth::Bearer(token.ok_or_else(not_understood)?),
        good_for: Some(Duration::from_secs(expires_in.unwrap_or(GOOD_FOR).clamp(1, LONGEST))),
    })
}

/// Whether a host is this one, or an address that means something on its own wire only.
fn is_inside(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(it)) => it.is_loopback() || it.is_link_local() || it.is_unspecified(),
        Ok(IpAddr::V6(it)) => {
            it.is_loopback() || it.is_unspecified() || it.is_unicast_link_local() || is_cloud(it)
        }
        Err(_) => bare == "localhost" || bare.ends_with(".localhost"),
    }
}

/// Where one cloud keeps for version 6 what all keep at 169.254.169.254.
fn is_cloud(address: Ipv6Addr) -> bool {
    address.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
}

/// Whether a host is the registry's, or in its domain: auth.docker.io is index.docker.io's.
fn is_its_own(host: &str, registry: &str) -> bool {
    let domain = |name: &str| {
        let labels: Vec<&str> = name.rsplitn(3, '.').take(2).collect();
        (labels.len() == 2).then(|| labels.join("."))
    };
    let is_number = |name: &str| name.starts_with('[') || name.parse::<IpAddr>().is_ok();
    host == registry
        || !is_number(host)
            && !is_number(registry)
            && domain(host).is_some()
            && domain(host) == domain(registry)
}

fn words(why: impl ToString) -> Wrong {
    Wrong::Told(why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn realm(registry: &str, plain: bool, realm: &str) -> Result<Url, String> {
        let name: Reference = format!("{registry}/me/it:1").parse().expect("name");
        let here = crate::remote::is_here(registry);
        let entrance =
            Entrance { name: &name, plain, here, connect: Duration::from_secs(1), credentials: None };
        entrance.realm(realm, &entrance.url().expect("address"))
    }

    #[test]
    fn for_a_token_we_go_where_the_registry_could_be() {
        for (registry, plain, to) in [
            ("example.com", false, "https://tokens.example.org/token"),
            ("example.com", false, "https://10.1.2.3/token"),
            ("example.com", true, "http://tokens.example.org/token"),
            ("127.0.0.1:5000", true, "http://127.0.0.1:5001/token"),
            ("127.0.0.1:5000", true, "https://tokens.example.org/token"),
        ] {
            assert_eq!(realm(registry, plain, to).map(|it| it.to_string()), Ok(to.to_owned()), "{registry}");
        }
    }

    #[test]
    fn for_a_token_we_do_not_go_where_only_this_host_is_or_without_tls() {
        for (plain, to, why) in [
            (false, "http://example.com/token", "not asked by TLS"),
            (true, "ftp://example.com/token", "not asked by TLS"),
            (false, "file:///etc/passwd", "no address of a host's"),
            (false, "/token", "no address"),
            (false, "https://root:toor@example.com/token", "another name"),
            (false, "https://127.0.0.1/token", "inside this host"),
            (true, "http://169.254.169.254/latest", "inside this host"),
            (true, "http://[::ffff:169.254.169.254]/", "inside this host"),
            (true, "http://2852039166/", "inside this host"),
            (true, "http://[fd00:ec2::254]/", "inside this host"),
            (true, "http://[fe80::1]/", "inside this host"),
            (true, "http://[::1]:5000/", "inside this host"),
            (true, "http://0.0.0.0/", "inside this host"),
            (true, "http://localhost:5000/", "inside this host"),
        ] {
            let error = realm("example.com", plain, to).expect_err(to);
            assert!(error.contains(why), "{to}: {error}");
        }
    }

    #[test]
    fn a_hosts_own_are_those_of_its_domain() {
        for (host, registry, own) in [
            ("auth.docker.io", "index.docker.io", true),
            ("gitlab.com", "registry.gitlab.com", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("example.com", "example.com", true),
            ("localhost", "localhost", true),
            ("example.org", "example.com", false),
            ("notdocker.io", "docker.io", false),
            ("10.0.0.1", "127.0.0.1", false),
            ("1.0.0.1", "9.9.0.1", false),
            ("com", "example.com", false),
        ] {
            assert_eq!(is_its_own(host, registry), own, "{host} {registry}");
        }
    }

    #[test]
    fn a_token_is_preferred_to_a_password() {
        let headers = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(WWW_AUTHENTICATE, line.parse().expect("header"));
            }
            challenge(&headers)
        };
        let bearer = Challenge::Bearer { realm: "https://h/t".into(), service: Some("s, t".into()) };
        let both = [r#"Basic realm="x""#, r#"bearer realm="https://h/t",service="s, t""#];
        assert_eq!(headers(&both), bearer);
        assert_eq!(headers(&[&both.join(", ")]), bearer);
        assert_eq!(headers(&both[..1]), Challenge::Basic);
        for none in [&[][..], &["Negotiate"], &["Bearer service=\"s\""], &["=,=\"", "\u{e4}"]] {
            assert_eq!(headers(none), Challenge::Nothing, "{none:?}");
        }
    }
}
