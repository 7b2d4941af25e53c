//! Clients for buckets and hosts, set up by the environment.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::{ClientConfigKey, ClientOptions, ObjectStore, RetryConfig};

use super::address::{Address, Kind};

/// Longest time of one request, where the environment says nothing: a block over a line of a megabit a second.
const REQUEST: Duration = Duration::from_secs(30);

/// Where machines in a cloud ask for their credentials.
const METADATA: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 169, 254)), 80);

/// TLS by `ring`, for which nothing but a C compiler is needed.
pub(super) fn install_tls() {
    // Whoever was first has chosen.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A client for the bucket or host of `address`; an error in words.
pub(super) fn connect(address: &Address, patience: Duration) -> Result<Arc<dyn ObjectStore>, String> {
    find_credentials(address.kind)?;
    // How often is up to the time.
    let retry = RetryConfig { max_retries: usize::MAX, retry_timeout: patience, ..RetryConfig::default() };
    let request = REQUEST.min(patience.max(Duration::from_secs(1)));
    let name = address.base.split_once("://").map_or("", |(_, name)| name);
    let store: object_store::Result<Arc<dyn ObjectStore>> = match address.kind {
        Kind::S3 => {
            let mut builder = AmazonS3Builder::from_env().with_bucket_name(name).with_retry(retry);
            if std::env::var_os("AWS_TIMEOUT").is_none() {
                let key = AmazonS3ConfigKey::Client(ClientConfigKey::Timeout);
                builder = builder.with_config(key, format!("{}s", request.as_secs()));
            }
            builder.build().map(|store| Arc::new(store) as _)
        }
        Kind::Google => {
            let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(name).with_retry(retry);
            builder.build().map(|store| Arc::new(store) as _)
        }
        Kind::Azure => {
            let builder = MicrosoftAzureBuilder::from_env().with_url(&address.base).with_retry(retry);
            builder.build().map(|store| Arc::new(store) as _)
        }
        Kind::Http => {
            let options = ClientOptions::new().with_allow_http(true).with_timeout(request);
            let builder = HttpBuilder::new().with_url(&address.base).with_client_options(options);
            builder.with_retry(retry).build().map(|store| Arc::new(store) as _)
        }
    };
    store.map_err(|e| format!("cannot be asked for: {e}; {}", credentials(address.kind)))
}

/// What the environment must say.
pub(super) fn credentials(kind: Kind) -> &'static str {
    match kind {
        Kind::S3 => {
            "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION (and AWS_SESSION_TOKEN for keys that end), or AWS_SKIP_SIGNATURE=true for a public bucket; AWS_ENDPOINT_URL for another provider than Amazon, with AWS_ALLOW_HTTP=true if it begins with http://"
        }
        Kind::Google => {
            "set GOOGLE_APPLICATION_CREDENTIALS to a file of credentials, or GOOGLE_SKIP_SIGNATURE=true for a public bucket"
        }
        Kind::Azure => {
            "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN, or AZURE_SKIP_SIGNATURE=true for a public container"
        }
        Kind::Http => "no user names and passwords are sent to web servers",
    }
}

/// An error at once where there are no credentials: the client would ask the machine for some as long as for data.
fn find_credentials(kind: Kind) -> Result<(), String> {
    let is_there = |name: &str| match kind {
        Kind::S3 => {
            let words = ["KEY", "TOKEN", "ROLE", "CREDENTIALS", "SKIP_SIGNATURE", "METADATA"];
            name.starts_with("AWS_") && words.iter().any(|word| name.contains(word))
        }
        Kind::Google => name.starts_with("GOOGLE_"),
        Kind::Azure => {
            let words = ["KEY", "TOKEN", "SAS", "CLIENT", "CLI", "SKIP_SIGNATURE"];
            name.starts_with("IDENTITY_")
                || name.starts_with("AZURE_") && words.iter().any(|word| name.contains(word))
        }
        Kind::Http => true,
    };
    let named =
        std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).any(|name| is_there(&name));
    let found = named
        || kind == Kind::Http
        || kind == Kind::Google && google_file().is_some_and(|file| file.is_file());
    match found || TcpStream::connect_timeout(&METADATA, Duration::from_secs(2)).is_ok() {
        true => Ok(()),
        false => Err(format!("there are no credentials in the environment: {}", credentials(kind))),
    }
}

/// Where Google's tools leave credentials.
fn google_file() -> Option<PathBuf> {
    let home = PathBuf::from(std::env::var_os("HOME")?);
    Some(home.join(".config/gcloud/application_default_credentials.json"))
}
