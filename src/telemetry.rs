//! Logs: one line an event, on standard error, readable alone and searchable by field.

use tracing_subscriber::EnvFilter;

/// The HTTP library calls it an error when somebody sends bytes that are no request. It is none of ours, and whoever
/// likes could fill the log with it; a filter that names the library gets it back.
const NOT_OUR_ERRORS: &str = "actix_http=off";

/// Starts logging by a filter such as `info` or `layby=debug`.
pub fn start(filter: &str) -> anyhow::Result<()> {
    let wanted = if filter.contains("actix_http") {
        filter.to_owned()
    } else {
        format!("{filter},{NOT_OUR_ERRORS}")
    };
    let filter = EnvFilter::try_new(wanted)
        .map_err(|error| anyhow::anyhow!("the log filter `{filter}` is not right: {error}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init()
        .map_err(|error| anyhow::anyhow!("logging cannot start: {error}"))
}
