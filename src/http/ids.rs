//! Ids in paths.

use uuid::Uuid;

use super::problem::Problem;

/// An id that is no UUID names nothing, like one that is unknown: 404.
pub(super) fn parse(text: &str, what: &str) -> Result<u128, Problem> {
    Uuid::try_parse(text)
        .map(|id| id.as_u128())
        .map_err(|_malformed| Problem::not_found(what))
}
