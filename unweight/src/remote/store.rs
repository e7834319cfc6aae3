//! Stores of each scheme, with the settings of the environment and those of the caller.

use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig};

use super::RemoteOptions;
use super::place::{Place, Scheme};
use super::problem::RemoteProblem;

type Built = Result<Box<dyn ObjectStore>, RemoteProblem>;

/// The store of a place.
///
/// # Errors
/// [`RemoteProblem::Settings`], [`RemoteProblem::Url`].
pub(super) fn build(place: &Place, options: &RemoteOptions) -> Built {
    // The provider of a program that chose another one stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match place.scheme {
        Scheme::S3 => s3(place, options),
        Scheme::Gcs => gcs(place, options),
        Scheme::Azure => azure(place, options),
        Scheme::Http => http(place, options),
        Scheme::File => Err(RemoteProblem::Url("expected a URL of a store")),
    }
}

/// A function for each builder, as they share no trait. The caller's settings replace those of the
/// environment, and those of the client are ours unless somebody has set them.
macro_rules! configured {
    ($builder:ty, $key:ident, $place:expr, $options:expr, $prefix:expr) => {{
        let mut builder = <$builder>::from_env().with_url($place.url.as_str());
        for (name, value) in client_settings($options) {
            let key = $key::Client(name);
            let is_set = match name {
                // An allowance for a whole request breaks long reads on slow networks.
                ClientConfigKey::Timeout => false,
                _ => builder.get_config_value(&key).is_some(),
            };
            if !is_set {
                builder = builder.with_config(key, value);
            }
        }
        for (name, value) in &$options.settings {
            let key: $key = name.parse().map_err(|_| RemoteProblem::Settings($prefix))?;
            builder = builder.with_config(key, value);
        }
        builder.with_retry(retry($options))
    }};
}

fn s3(place: &Place, options: &RemoteOptions) -> Built {
    let mut builder = configured!(AmazonS3Builder, AmazonS3ConfigKey, place, options, "AWS_");
    // Who names an endpoint without TLS means it.
    let endpoints = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint];
    let endpoint = endpoints
        .iter()
        .find_map(|key| builder.get_config_value(key));
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
        builder = builder.with_allow_http(true);
    }
    finish(builder.build(), "AWS_")
}

fn gcs(place: &Place, options: &RemoteOptions) -> Built {
    let builder = configured!(
        GoogleCloudStorageBuilder,
        GoogleConfigKey,
        place,
        options,
        "GOOGLE_"
    );
    finish(builder.build(), "GOOGLE_")
}

fn azure(place: &Place, options: &RemoteOptions) -> Built {
    let builder = configured!(
        MicrosoftAzureBuilder,
        AzureConfigKey,
        place,
        options,
        "AZURE_"
    );
    finish(builder.build(), "AZURE_")
}

fn http(place: &Place, options: &RemoteOptions) -> Built {
    // The query stays, as the signature of the URL. The path is added to each request.
    let mut url = place.url.clone();
    url.set_path("");
    let mut client = ClientOptions::new().with_allow_http(place.url.scheme() == "http");
    for (name, value) in client_settings(options) {
        client = client.with_config(name, value);
    }
    let builder = HttpBuilder::new().with_url(url).with_client_options(client);
    let store = builder.with_retry(retry(options)).build();
    finish(store, "http")
}

fn finish<S: ObjectStore>(store: object_store::Result<S>, prefix: &'static str) -> Built {
    match store {
        Ok(store) => Ok(Box::new(store)),
        // The error may name a setting together with its value.
        Err(_) => Err(RemoteProblem::Settings(prefix)),
    }
}

/// The limit is on silence, not on the time of a request.
fn client_settings(options: &RemoteOptions) -> [(ClientConfigKey, String); 2] {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let seconds = |time: Duration| format!("{} ms", time.as_millis().max(1));
    [
        (ClientConfigKey::Timeout, seconds(DAY)),
        (ClientConfigKey::ReadTimeout, seconds(options.patience)),
    ]
}

fn retry(options: &RemoteOptions) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
            base: 2.0,
        },
        max_retries: options.retries,
        retry_timeout: options.patience,
    }
}
