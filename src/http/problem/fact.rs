//! What a problem says beside its words: numbers, ids, times, and which fields were wrong.

use serde::Serialize;
use serde::ser::Serializer;

use super::Problem;
use crate::domain::{OrderId, ProductId, Shortage, Timestamp};
use crate::http::words::{availability_word, rfc3339, uuid_of};

/// A number or a name that helps the client. Kept as it is and spelled only once, into the body: in a sale nearly
/// every answer is a refusal.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(crate) enum Fact {
    Nothing,
    Number(u64),
    Text(String),
    Id(#[serde(serialize_with = "spell_id")] u128),
    Time(#[serde(serialize_with = "spell_time")] Timestamp),
    Errors(Vec<FieldError>),
    Short(Vec<ShortLine>),
}

/// A product that is short, as told to the client.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ShortLine {
    #[serde(serialize_with = "spell_id")]
    product_id: u128,
    requested: u32,
    available: u64,
    availability: &'static str,
    holds: u64,
    earliest_deadline: Option<String>,
}

/// A field of a body or a query with a bad value.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct FieldError {
    pub(crate) field: String,
    pub(crate) detail: String,
}

/// Gathers what is wrong with the fields of a body, so that all of them are named at once.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    errors: Vec<FieldError>,
}

impl Fields {
    /// The value, or its fault kept for [`Fields::done`].
    pub(crate) fn take<T>(&mut self, field: &str, parsed: Result<T, String>) -> Option<T> {
        parsed
            .map_err(|detail| {
                self.errors.push(FieldError {
                    field: field.into(),
                    detail,
                });
            })
            .ok()
    }

    /// What was made of the fields, if each of them was right.
    pub(crate) fn done<T>(self, made: Option<T>) -> Result<T, Problem> {
        match made {
            Some(made) if self.errors.is_empty() => Ok(made),
            _ => Err(Problem::invalid(self.errors)),
        }
    }
}

impl From<&Shortage> for ShortLine {
    fn from(short: &Shortage) -> Self {
        Self {
            product_id: short.product.get(),
            requested: short.requested,
            available: short.available,
            availability: availability_word(short.availability),
            holds: short.holds,
            earliest_deadline: short.earliest_deadline.map(rfc3339),
        }
    }
}

impl From<u64> for Fact {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Fact {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<usize> for Fact {
    fn from(number: usize) -> Self {
        Self::Number(u64::try_from(number).unwrap_or(u64::MAX))
    }
}

impl From<Box<str>> for Fact {
    fn from(text: Box<str>) -> Self {
        Self::Text(text.into())
    }
}

impl From<ProductId> for Fact {
    fn from(id: ProductId) -> Self {
        Self::Id(id.get())
    }
}

impl From<OrderId> for Fact {
    fn from(id: OrderId) -> Self {
        Self::Id(id.get())
    }
}

impl From<Timestamp> for Fact {
    fn from(time: Timestamp) -> Self {
        Self::Time(time)
    }
}

impl<T: Into<Self>> From<Option<T>> for Fact {
    fn from(fact: Option<T>) -> Self {
        fact.map_or(Self::Nothing, Into::into)
    }
}

fn spell_id<S: Serializer>(id: &u128, serializer: S) -> Result<S::Ok, S::Error> {
    uuid_of(*id).serialize(serializer)
}

fn spell_time<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    rfc3339(*time).serialize(serializer)
}
